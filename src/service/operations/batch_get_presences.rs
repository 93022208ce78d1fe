//! Reads the presences of several users. Graph: getPresencesByUserId.

use crate::{
    presence::USER_IDS_MAX,
    service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service},
};

impl Service {
    /// The presences of up to 650 users at one instant: one for each distinct user id, in the
    /// order of the request.
    pub async fn batch_get_presences(
        &self,
        caller: &Caller,
        from: ReadFrom,
        user_ids: Input<Vec<Input<String>>>,
    ) -> Result<Vec<Presence>, Error> {
        let user_ids = Self::validate_user_ids(user_ids, USER_IDS_MAX)?;
        let users = self.load_users(caller, Operation::BatchGetPresences, from, user_ids).await?;
        let presences = users.into_iter();
        Ok(presences
            .map(|(user_id, user, now)| Presence::compute(user_id, &user, now).visible_to(caller))
            .collect())
    }
}
