//! Opens or refreshes several sessions at once.

use crate::{
    presence::REQUESTS_MAX,
    service::{Caller, Error, Field, Operation, Received, Rule, Service, SetPresence, validator::Validator},
};

impl Service {
    /// Opens or refreshes up to 1,000 sessions: all of them, or none if a request is invalid. The
    /// result is durable when this returns.
    pub async fn batch_set_presences(
        &self,
        caller: &Caller,
        requests: Vec<SetPresence>,
    ) -> Result<(), Error> {
        let mut validator = Validator::new();
        let number = requests.len();
        if number == 0 {
            validator.add(Field::Requests, Rule::NotEmpty { of: "request" }, None);
        }
        if number > REQUESTS_MAX {
            let rule = Rule::Items { max: REQUESTS_MAX };
            validator.add(Field::Requests, rule, Some(Received::Text(number.to_string())));
            return validator.finish(None);
        }
        let mut sets = Vec::with_capacity(number);
        for (index, request) in requests.into_iter().enumerate() {
            validator.start_item(index);
            sets.extend(request.validate(&mut validator));
        }
        let sets = validator.finish(Some(sets))?.into_iter();
        let sets: Result<_, _> =
            sets.map(|set| set.authorize(caller, Operation::BatchSetPresences)).collect();
        self.batches.set_sessions.call(sets?).await?;
        Ok(())
    }
}
