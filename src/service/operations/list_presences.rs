//! Lists the users with a live session. Graph's metadata has this operation; its documentation
//! does not.

use crate::{
    presence::{Pair, USER_IDS_MAX, UserId},
    service::{Caller, Error, Input, Operation, Presence, ReadFrom, Service, View},
    store::ListUsers,
};

/// The number of users on a page if the request has no size.
const PAGE_SIZE_DEFAULT: u32 = 100;

/// A page of presences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The presences, in the byte order of their user ids.
    pub presences: Vec<Presence>,
    /// The token of the next page: the last user on this one. `None` on the last page.
    pub next: Option<UserId>,
}

impl Service {
    /// A page of 1 to 650 users with a live session, 100 if the request has no size, that follow
    /// the user `after`. A user who has a live session during the whole listing is on exactly one
    /// page.
    pub async fn list_presences(
        &self,
        caller: &Caller,
        from: ReadFrom,
        page_size: Input<u32>,
        after: Input<String>,
        view: Input<View>,
    ) -> Result<Page, Error> {
        let mut validator = self.validator();
        let size = validator.page_size(page_size, PAGE_SIZE_DEFAULT, USER_IDS_MAX);
        let after = validator.page_token(after);
        let view = validator.view(view);
        let (limit, view) = validator.finish(size.zip(view))?;
        let tenant_id = caller.authorize_tenant(Operation::ListPresences)?;
        // One more user than fits shows that there is another page.
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
        let mut presences = self.presences(caller, Operation::ListPresences, from, user_ids, view).await?;
        // A user's last session may have ended since the first statement.
        presences.retain(|presence| presence.pair != Pair::OFFLINE);
        Ok(Page { presences, next })
    }
}
