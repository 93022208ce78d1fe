//! Lists the users that have a live session. An extension: Graph's metadata
//! names it, its documentation does not.

use crate::service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service, validate::Checks};
use crate::{
    presence::{USER_IDS_MAX, UserId},
    store::ListUsers,
};

/// The users on a page for which no size is given.
const PAGE_SIZE_DEFAULT: u32 = 100;

/// A page of presences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of the user ids, byte by byte.
    pub presences: Vec<Presence>,
    /// The user behind whom the next page begins; `None` on the last page.
    pub next: Option<UserId>,
}

impl Service {
    /// A page of the users with a live session: 1 to 650, 100 if no size is
    /// given, behind the user `after`. A user who is there all the time is on
    /// one page and no more, whatever else changes.
    pub async fn list_presences(
        &self,
        caller: &Caller,
        from: ReadFrom,
        page_size: Input<u32>,
        after: Input<String>,
    ) -> Result<Page, Error> {
        let mut checks = Checks::new();
        let size = checks.page_size(page_size, PAGE_SIZE_DEFAULT, USER_IDS_MAX);
        let after = checks.page_token(after);
        let limit = checks.finish(size)?;
        let tenant_id = caller.may_to_all(Operation::ListPresences)?;
        // One more than fits tells whether there is another page.
        let list = ListUsers { tenant_id, after, limit: limit + 1 };
        let (_, mut pages) = self.read(from, |reads| &reads.list_users, vec![list]).await?;
        let mut user_ids = pages.pop().unwrap_or_default();
        let size = usize::try_from(limit).unwrap_or(USER_IDS_MAX);
        let next = if user_ids.len() > size {
            user_ids.truncate(size);
            user_ids.last().cloned()
        } else {
            None
        };
        let users = self.load_users(caller, Operation::ListPresences, from, user_ids).await?;
        // The last session of one may have ended since the list was made.
        let online = users.into_iter().filter(|(_, user, _)| !user.sessions.is_empty());
        let presences =
            online.map(|(user_id, user, now)| Presence::whole(user_id, &user, now).shown_to(caller));
        Ok(Page { presences: presences.collect(), next })
    }
}
