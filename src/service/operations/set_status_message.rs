//! Publishes a status message. Graph: setStatusMessage.

use crate::service::{Caller, Error, Input, Operation, Service, validate::Checks};
use crate::{
    presence::Timestamp,
    store::{Change, UpdateUser},
};

/// A status message, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStatusMessage {
    /// Required.
    pub user_id: Input<String>,
    /// Required: up to 280 characters. An empty one takes the message away.
    pub content: Input<String>,
    /// `text` if missing, and nothing else. Graph: bodyType.
    pub content_type: Input<String>,
    /// When the message ends; never if missing.
    pub expiry: Expiry,
}

/// When a status message ends, as a caller sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// An instant.
    At(Input<Timestamp>),
    /// A local time in a time zone, which is UTC if missing. Graph:
    /// dateTimeTimeZone.
    Local {
        /// Required.
        date_time: Input<String>,
        /// As Windows or IANA name it.
        time_zone: Input<String>,
    },
}

impl Service {
    /// Shows the message to whoever reads the user's presence.
    pub async fn set_status_message(&self, caller: &Caller, request: SetStatusMessage) -> Result<(), Error> {
        let mut checks = Checks::new();
        let user_id = checks.user_id(request.user_id);
        checks.status_content_type(&request.content_type);
        let content = checks.status_content(request.content);
        let expires_at = checks.status_expiry(request.expiry, self.clock.now());
        let (user_id, content) = checks.finish(user_id.zip(content))?;
        let user = caller.may(Operation::SetStatusMessage, user_id)?;
        let status_message =
            if content.is_empty() { Change::Clear } else { Change::Set((content, expires_at)) };
        let update = UpdateUser { status_message, ..UpdateUser::new(user) };
        Ok(self.batches.update_user.call_one(update).await?)
    }
}
