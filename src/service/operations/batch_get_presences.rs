//! Reads the presences of several users. Graph: getPresencesByUserId.

use crate::{
    presence::USER_IDS_MAX,
    service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service, View},
};

impl Service {
    /// The presences of up to 650 users at one instant: one for each distinct user id, in the
    /// order of the request.
    pub async fn batch_get_presences(
        &self,
        caller: &Caller,
        from: ReadFrom,
        user_ids: Input<Vec<Input<String>>>,
        view: Input<View>,
    ) -> Result<Vec<Presence>, Error> {
        let (user_ids, view) = self.validate_user_ids(user_ids, USER_IDS_MAX, view)?;
        self.presences(caller, Operation::BatchGetPresences, from, user_ids, view).await
    }
}
