//! The part of a presence that a caller can see.

use super::Caller;
use crate::presence::Presence;

impl Presence {
    /// Removes what `caller` must not see: the times of another user's status message. Graph:
    /// setStatusMessage.
    pub(super) fn visible_to(mut self, caller: &Caller) -> Self {
        let own = caller.is_user(&self.user_id);
        if let Some(message) = self.status_message.as_mut().filter(|_| !own) {
            (message.published_at, message.expires_at) = (None, None);
        }
        self
    }
}
