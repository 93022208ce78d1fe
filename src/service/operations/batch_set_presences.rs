//! Opens or refreshes many sessions at once.

use crate::presence::REQUESTS_MAX;
use crate::service::{
    Caller, Error, Field, Operation, Reason, Service, SetPresence,
    validate::{Checks, REQUIRED},
};

impl Service {
    /// Opens or refreshes all the sessions, or none; durable once this returns.
    pub async fn batch_set_presences(
        &self,
        caller: &Caller,
        requests: Vec<SetPresence>,
    ) -> Result<(), Error> {
        let mut checks = Checks::new();
        let given = requests.len();
        if given == 0 {
            checks.refuse(Field::Requests, Reason::FieldRequired, REQUIRED);
        }
        if given > REQUESTS_MAX {
            let allowed = format!("must be {REQUESTS_MAX} at most, not {given}");
            checks.refuse(Field::Requests, Reason::TooMany, allowed);
            return checks.finish(None);
        }
        let mut sets = Vec::with_capacity(given);
        for (index, request) in requests.into_iter().enumerate() {
            checks.request(index);
            sets.extend(request.check(&mut checks));
        }
        let sets = checks.finish(Some(sets))?.into_iter();
        let sets: Result<_, _> =
            sets.map(|set| set.authorize(caller, Operation::BatchSetPresences)).collect();
        self.batches.set_sessions.call(sets?).await?;
        Ok(())
    }
}
