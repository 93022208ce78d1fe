//! The errors of operations on subscriptions.

use super::{Error, Kind, Reason};

impl Error {
    /// There is no such subscription, or it belongs to another application.
    pub(super) fn subscription_not_found() -> Self {
        let public =
            "There is no such subscription of the application: it ended, was deleted, or never existed.";
        Self::new(Kind::NotFound, Reason::SubscriptionNotFound, public, None)
    }

    /// The receiver did not answer the validation request as it must; `answer` says how it did. Graph's
    /// text, and the answer.
    pub(super) fn receiver_not_validated(answer: &str) -> Self {
        let public = format!(
            "Subscription validation request failed. Notification endpoint must respond with 200 OK to \
             validation request. {answer}"
        );
        Self::new(Kind::InvalidArgument, Reason::ReceiverNotValidated, public, None)
    }

    /// The application has its maximum number of subscriptions.
    pub(super) fn application_has_too_many_subscriptions(max: u32) -> Self {
        let public = format!(
            "The application has {max} subscriptions, the maximum (--subscriptions-max). Delete those that are \
             not needed, or name several users in one."
        );
        Self::new(Kind::ResourceExhausted, Reason::TooManySubscriptions, public, None)
    }

    /// The tenant has its maximum number of subscriptions.
    pub(super) fn tenant_has_too_many_subscriptions(max: u32) -> Self {
        let public = format!(
            "The tenant has {max} subscriptions, the maximum (--tenant-subscriptions-max). Delete those that \
             are not needed, or name several users in one."
        );
        Self::new(Kind::ResourceExhausted, Reason::TooManySubscriptions, public, None)
    }

    /// Graph allows one subscription for each user and application. Graph's text.
    pub(super) fn subscription_exists() -> Self {
        let public = "A subscripton already exists. It must be deleted before a another can be made.";
        Self::new(Kind::AlreadyExists, Reason::SubscriptionExists, public, None)
    }
}
