//! Ends several sessions at once.

use crate::service::{Caller, ClearOutcome, ClearPresence, Error, Operation, Service};

impl Service {
    /// Ends up to 1,000 sessions: none if a request is invalid. Returns the outcome of each request,
    /// in order. The result is durable when this returns.
    pub async fn batch_clear_presences(
        &self,
        caller: &Caller,
        requests: Vec<ClearPresence>,
    ) -> Result<Vec<ClearOutcome>, Error> {
        let now = self.clock.now();
        let clears =
            self.validator().requests(requests, |request, validator| request.validate(validator, now))?;
        let clears: Result<_, _> =
            clears.into_iter().map(|clear| clear.authorize(caller, Operation::BatchClearPresences)).collect();
        Ok(self.batches.clear_sessions.call(clears?).await?.1)
    }
}
