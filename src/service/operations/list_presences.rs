//! Lists the users with a live session, or those of them who are shown with some availabilities. Graph's
//! metadata has this operation; its documentation does not.

use std::time::Duration;

use crate::{
    clock::Stopwatch,
    presence::{Availability, USER_IDS_MAX, USERS_READ_AT_ONCE, USERS_READ_PER_PRESENCE, UserId},
    service::{
        Caller, Error, Input, Operation, Presence, ReadFrom, Service, View,
        page_token::{token_after, user_before, wrong_token},
        selection::Selection,
    },
};

/// The number of presences on a page if the request has no size.
const PAGE_SIZE_DEFAULT: u32 = 100;

/// The time after which a page begins no further read, so that it is returned within the deadline of a
/// usual call.
const READ_TIME: Duration = Duration::from_secs(1);

/// A request for a page of presences, as a caller sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPresences {
    /// Only users who are shown with one of these; every user with a live session if missing.
    pub availabilities: Input<Vec<Input<Availability>>>,
    /// 1 to 650; 100 if missing.
    pub page_size: Input<u32>,
    /// The token of the page before.
    pub page_token: Input<String>,
    /// The fields of the presences.
    pub view: Input<View>,
}

/// A page of presences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The presences, in the byte order of their user ids.
    pub presences: Vec<Presence>,
    /// The token of the next page; `None` on the last page.
    pub next: Option<String>,
}

/// A valid request.
struct Query {
    selection: Selection,
    size: u32,
    view: View,
}

impl Service {
    /// A page of users with a live session that the request selects. A user who has a live session
    /// during the whole listing is on exactly one page, if the user is selected then.
    ///
    /// With availabilities, the page reads users until it is full, but at most
    /// [`USERS_READ_PER_PRESENCE`] for each presence that fits on it, and begins no further read after
    /// a second. So it can be short or empty although others follow.
    pub async fn list_presences(
        &self,
        caller: &Caller,
        from: ReadFrom,
        request: ListPresences,
    ) -> Result<Page, Error> {
        let mut validator = self.validator();
        let size = validator.page_size(request.page_size, PAGE_SIZE_DEFAULT, USER_IDS_MAX);
        let (view, selection) = (validator.view(request.view), validator.selection(request.availabilities));
        let ((size, view), selection) = validator.finish(size.zip(view).zip(selection))?;
        let tenant_id = caller.authorize_tenant(Operation::ListPresences)?;
        let query = format!("{tenant_id} {selection:?}");
        let after = match request.page_token {
            Input::Missing => None,
            Input::Value(token) => Some(user_before(&query, &token).ok_or_else(wrong_token)?),
            Input::Unreadable(_) => return Err(wrong_token()),
        };
        let (presences, last) = self.read_page(caller, from, after, &Query { selection, size, view }).await?;
        Ok(Page { presences, next: last.map(|last| token_after(&query, &last)) })
    }

    /// Reads the presences of a page, and the user after whom the next page begins, if there is one.
    async fn read_page(
        &self,
        caller: &Caller,
        from: ReadFrom,
        mut after: Option<UserId>,
        query: &Query,
    ) -> Result<(Vec<Presence>, Option<UserId>), Error> {
        let operation = Operation::ListPresences;
        let tenant_id = caller.authorize_tenant(operation)?;
        let Query { selection, size, view } = query;
        let (mut left, at_once, first_view) = match selection {
            Selection::Live => (*size, *size, *view),
            Selection::ShownAs(_) => (size * USERS_READ_PER_PRESENCE, USERS_READ_AT_ONCE, View::Basic),
        };
        let size = usize::try_from(*size).unwrap_or(USER_IDS_MAX);
        let (mut presences, reading) = (Vec::<Presence>::new(), Stopwatch::start());
        let next = 'page: loop {
            let limit = left.min(at_once);
            let (user_ids, others_follow) = self.list_users(from, tenant_id, after, limit).await?;
            let last = user_ids.last().cloned();
            left -= limit;
            for presence in self.presences(caller, operation, from, user_ids, first_view).await? {
                match presences.last() {
                    _ if !selection.has(presence.pair) => {}
                    Some(last) if presences.len() == size => break 'page Some(last.user_id.clone()),
                    _ => presences.push(presence),
                }
            }
            if !others_follow {
                break None;
            }
            if presences.len() == size || left == 0 || reading.elapsed() >= READ_TIME {
                break last;
            }
            after = last;
        };
        if first_view != *view {
            let user_ids = presences.into_iter().map(|presence| presence.user_id).collect();
            presences = self.presences(caller, operation, from, user_ids, *view).await?;
            // Another pair may be shown now.
            presences.retain(|presence| selection.has(presence.pair));
        }
        Ok((presences, next))
    }
}
