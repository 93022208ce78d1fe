//! Conversions of the messages of `ListPresences` and `CountPresences`.

use super::{
    convert::{availability, page_size, view},
    pb,
};
use crate::{
    presence::Availability,
    service::{Count, Input, ListPresences, Page},
};

impl From<pb::ListPresencesRequest> for ListPresences {
    fn from(request: pb::ListPresencesRequest) -> Self {
        Self {
            availabilities: availabilities(request.availabilities),
            page_size: page_size(request.page_size),
            page_token: Input::text(request.page_token),
            view: view(request.view),
        }
    }
}

impl From<Page> for pb::ListPresencesResponse {
    fn from(page: Page) -> Self {
        Self {
            presences: page.presences.into_iter().map(Into::into).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }
    }
}

impl From<Count> for pb::CountPresencesResponse {
    fn from(count: Count) -> Self {
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        Self { count: number(count.count), users_read: number(count.users_read) }
    }
}

/// A set of availabilities; missing if it is empty.
pub(super) fn availabilities(numbers: Vec<i32>) -> Input<Vec<Input<Availability>>> {
    if numbers.is_empty() {
        return Input::Missing;
    }
    let read = |number: i32| match availability(number) {
        // An item of a list is not missing.
        Input::Missing => Input::Unreadable(number.to_string()),
        given => given,
    };
    Input::Value(numbers.into_iter().map(read).collect())
}
