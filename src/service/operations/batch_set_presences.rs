//! Opens or refreshes several sessions at once.

use crate::service::{Caller, Error, Operation, Service, SetOutcome, SetPresence};

impl Service {
    /// Opens or refreshes up to 1,000 sessions: none if a request is invalid. Returns the outcome of
    /// each request, in order. The result is durable when this returns.
    pub async fn batch_set_presences(
        &self,
        caller: &Caller,
        requests: Vec<SetPresence>,
    ) -> Result<Vec<SetOutcome>, Error> {
        let now = self.clock.now();
        let sets =
            self.validator().requests(requests, |request, validator| request.validate(validator, now))?;
        let sets: Result<_, _> =
            sets.into_iter().map(|set| set.authorize(caller, Operation::BatchSetPresences)).collect();
        Ok(self.batches.set_sessions.call(sets?).await?.1)
    }
}
