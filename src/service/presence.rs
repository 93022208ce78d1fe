//! What a caller is told of a user.

use super::Caller;
use crate::presence::{
    Pair, SequenceNumber, StatusMessage, Timestamp, User, UserId, WorkLocation, WorkLocationSource,
    presence_of,
};

/// What a user is shown as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The user.
    pub user_id: UserId,
    /// What is shown.
    pub pair: Pair,
    /// When it last changed.
    pub sequence_number: SequenceNumber,
    /// What the user has to say; its times only for the user.
    pub status_message: Option<StatusMessage>,
    /// Where the user works, and who says so.
    pub work_location: Option<(WorkLocation, WorkLocationSource)>,
}

impl Presence {
    /// All there is to know at `now`.
    pub(super) fn whole(user_id: UserId, user: &User, now: Timestamp) -> Self {
        Self {
            user_id,
            pair: presence_of(user, now),
            sequence_number: user.sequence_number(now),
            status_message: user.status_message_at(now).cloned(),
            work_location: user.work_location().map(|(location, source)| (location.clone(), source)),
        }
    }

    /// What `caller` may know: of another user's status message only the text.
    /// Graph: setStatusMessage.
    pub(super) fn shown_to(caller: &Caller, user_id: UserId, user: &User, now: Timestamp) -> Self {
        let own = caller.is(&user_id);
        let mut presence = Self::whole(user_id, user, now);
        if let Some(message) = presence.status_message.as_mut().filter(|_| !own) {
            (message.published_at, message.expires_at) = (None, None);
        }
        presence
    }
}
