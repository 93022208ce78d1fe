//! The operations: one file each in `operations/`, named as its RPC.
//!
//! An operation validates the request, authorizes the caller, and calls the store. The APIs
//! decode a request into a type of this module, call one method of [`Service`], and encode its
//! result. This module decides what a caller can see.

mod caller;
mod error;
mod error_causes;
mod field;
mod history;
mod hold_message;
mod hold_stream;
mod holds;
mod input;
mod operations;
mod page_token;
mod permission;
mod presence;
mod profile;
mod rates;
mod reason;
mod replica;
mod selection;
mod stream_end;
mod streams;
mod subscription_errors;
mod subscription_rules;
mod subscriptions;
mod terms;
mod users;
mod validator;
mod violation;
mod watched;

use std::future::pending;

use tokio::sync::Semaphore;

use crate::{batch::Batches, clock::Clock};

pub use crate::{
    presence::Presence,
    store::{ClearOutcome, SetOutcome},
};

pub use caller::{Caller, Grant, Permissions, SessionIds};
pub use error::{Error, Kind, VIOLATIONS_MAX};
pub use field::{Field, Path};
pub use history::{PRESENCES_IN_TURN, View};
pub use hold_message::HoldPresence;
pub use hold_stream::HoldEvent;
pub use holds::Holds;
pub use input::{Expiry, Input, InputSettings};
pub use operations::{
    COUNTS_AT_ONCE, ClearPresence, Count, CreateSubscription, Explanation, HistoryPage, Interval,
    ListPresenceHistory, ListPresences, ListSubscriptions, Page, SetLocation, SetPresence, SetStatusMessage,
    SetUserPreferredPresence, SubscriptionPage, UpdateSubscription, WAIT_MAX, WaitForPresence, WatchEvent,
};
pub use permission::{Operation, Permission};
pub use profile::Profile;
pub use rates::Rates;
pub use reason::Reason;
pub use replica::{ReadFrom, Replica, ReplicaHealth};
pub use streams::Streams;
pub use subscription_rules::{CertificateInput, SubscribedUsers};
pub use subscriptions::{SubscriptionLimits, Subscriptions};
pub use violation::{Received, Rule, Violation};
pub use watched::WatchedUsers;

/// The operations of one worker.
#[derive(Debug)]
pub struct Service {
    batches: Batches,
    /// The read replica of the database, if there is one.
    replica: Option<Replica>,
    /// The time for validation.
    clock: Clock,
    streams: Streams,
    input: InputSettings,
    subscriptions: Subscriptions,
    /// The turns of counts that read many users.
    counts: Semaphore,
}

impl Service {
    /// Operations on the store behind `batches`.
    #[must_use]
    pub const fn new(
        batches: Batches,
        replica: Option<Replica>,
        clock: Clock,
        streams: Streams,
        input: InputSettings,
        subscriptions: Subscriptions,
    ) -> Self {
        let counts = Semaphore::const_new(COUNTS_AT_ONCE);
        Self { batches, replica, clock, streams, input, subscriptions, counts }
    }

    /// Waits until the dispatcher of a batcher ends, after which its calls fail. Returns the name of
    /// its statement.
    pub async fn batcher_ended(&self) -> &'static str {
        let replica = async {
            match &self.replica {
                Some(replica) => replica.reads.ended().await,
                None => pending().await,
            }
        };
        tokio::select! {
            name = self.batches.ended() => name,
            name = replica => name,
        }
    }
}
