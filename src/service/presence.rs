//! What a caller is told of a user.

use super::Caller;
use crate::presence::Presence;

impl Presence {
    /// What `caller` may know: of another user's status message only the text.
    /// Graph: setStatusMessage.
    pub(super) fn shown_to(mut self, caller: &Caller) -> Self {
        let own = caller.is(&self.user_id);
        if let Some(message) = self.status_message.as_mut().filter(|_| !own) {
            (message.published_at, message.expires_at) = (None, None);
        }
        self
    }
}
