//! Counts the users with a live session, or those of them who are shown with some availabilities.

use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    presence::{Availability, USERS_READ_AT_ONCE, presence_of},
    service::{Caller, Error, Input, Operation, ReadFrom, Service, selection::Selection},
};

/// The counts that read the users of a tenant at the same time in a worker. The others wait for their
/// turn, so that lists do not wait for many of them.
pub const COUNTS_AT_ONCE: usize = 4;

/// The timeout of a count that reads the users of a tenant.
const COUNT_TIMEOUT: Duration = Duration::from_secs(20);

/// The number of users of a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The number of selected users.
    pub count: u64,
    /// The number of users that were read for that.
    pub users_read: u64,
}

impl Service {
    /// The number of users of the caller's tenant that have a live session, and are shown with one of
    /// the availabilities if the request has any.
    ///
    /// One statement counts all of them. What is shown is computed from the rows, so a count with
    /// availabilities reads every user with a live session, and has a longer timeout.
    pub async fn count_presences(
        &self,
        caller: &Caller,
        from: ReadFrom,
        availabilities: Input<Vec<Input<Availability>>>,
    ) -> Result<Count, Error> {
        let mut validator = self.validator();
        let selection = validator.selection(availabilities);
        let selection = validator.finish(selection)?;
        let tenant_id = caller.authorize_tenant(Operation::CountPresences)?;
        if selection == Selection::Live {
            let (_, mut counts) = self.read(from, |reads| &reads.count_users, vec![tenant_id]).await?;
            let count = counts.pop().unwrap_or_default();
            return Ok(Count { count, users_read: count });
        }
        tokio::select! {
            count = timeout(COUNT_TIMEOUT, self.count_shown(caller, tenant_id, from, &selection)) => {
                count.unwrap_or_else(|_| Err(Error::count_timed_out(COUNT_TIMEOUT)))
            }
            () = self.streams.stop.cancelled() => Err(Error::stopping()),
        }
    }

    /// Reads the users with a live session, and counts those that are selected.
    async fn count_shown(
        &self,
        caller: &Caller,
        tenant_id: Uuid,
        from: ReadFrom,
        selection: &Selection,
    ) -> Result<Count, Error> {
        let operation = Operation::CountPresences;
        let _turn = self.counts.acquire().await;
        let (mut total, mut after) = (Count::default(), None);
        loop {
            let (user_ids, others_follow) =
                self.list_users(from, tenant_id, after, USERS_READ_AT_ONCE).await?;
            after = user_ids.last().cloned();
            for (_, user, now) in self.load_users(caller, operation, from, user_ids).await? {
                total.users_read += 1;
                total.count += u64::from(selection.has(presence_of(&user, now)));
            }
            if !others_follow {
                return Ok(total);
            }
        }
    }
}
