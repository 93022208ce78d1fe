//! Sets a user's status message. Graph: setStatusMessage.

use crate::{
    service::{Caller, Error, Expiry, Field, Input, Operation, Service},
    store::UserChange,
};

/// A status message, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStatusMessage {
    /// Required.
    pub user_id: Input<String>,
    /// Required: up to 280 characters. An empty text clears the message.
    pub content: Input<String>,
    /// Only `text` is supported, which is also the default. Graph: bodyType.
    pub content_type: Input<String>,
    /// When the message expires; never if missing.
    pub expiry: Expiry,
}

impl Service {
    /// Replaces the status message, which readers of the user's presence see, or clears it.
    pub async fn set_status_message(&self, caller: &Caller, request: SetStatusMessage) -> Result<(), Error> {
        let mut validator = self.validator();
        let user_id = validator.user_id(request.user_id);
        validator.status_content_type(request.content_type);
        let content = validator.text(Field::Content, request.content);
        let expires_at = validator.status_expiry(request.expiry, self.clock.now());
        let (user_id, content) = validator.finish(user_id.zip(content))?;
        let (operation, message) = if content.is_empty() {
            (Operation::ClearStatusMessage, None)
        } else {
            (Operation::SetStatusMessage, Some((content, expires_at)))
        };
        let user = caller.authorize(operation, user_id)?;
        self.update_user(caller, user, UserChange::StatusMessage(message)).await
    }
}
