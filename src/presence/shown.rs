//! What a user is shown as at one instant.

use super::{
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
    #[must_use]
    pub fn whole(user_id: UserId, user: &User, now: Timestamp) -> Self {
        Self {
            user_id,
            pair: presence_of(user, now),
            sequence_number: user.sequence_number(now),
            status_message: user.status_message_at(now).cloned(),
            work_location: user.work_location().map(|(location, source)| (location.clone(), source)),
        }
    }

    /// Whether `other` shows the same: the sequence number alone, which also
    /// counts what nobody sees, makes no difference.
    #[must_use]
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        self.user_id == other.user_id
            && self.pair == other.pair
            && self.status_message == other.status_message
            && self.work_location == other.work_location
    }
}
