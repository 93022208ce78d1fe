//! The hot methods of the store, as the batcher sees them.

use async_trait::async_trait;

use crate::{
    presence::{Session, Timestamp},
    store::{SessionKey, SetSession, Store, StoreError, UserKey},
};

/// A method of the store that takes members in a slice and answers each.
#[async_trait]
pub trait Statement: Send + Sync + 'static {
    /// Its name in metrics and logs: the store's method.
    const NAME: &'static str;
    /// What it does one thing to.
    type Member: Send + Sync + 'static;
    /// What it says of one member.
    type Answer: Send + 'static;

    /// Runs it; one answer for each member, in order.
    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[Self::Member],
    ) -> Result<Vec<Self::Answer>, StoreError>;
}

/// [`Store::set_sessions`].
#[derive(Debug)]
pub struct SetSessions;

#[async_trait]
impl Statement for SetSessions {
    const NAME: &'static str = "set_sessions";
    type Member = SetSession;
    type Answer = ();

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[SetSession],
    ) -> Result<Vec<()>, StoreError> {
        store.set_sessions(now, members).await?;
        Ok(vec![(); members.len()])
    }
}

/// [`Store::clear_sessions`]: whether the call ended the session.
#[derive(Debug)]
pub struct ClearSessions;

#[async_trait]
impl Statement for ClearSessions {
    const NAME: &'static str = "clear_sessions";
    type Member = SessionKey;
    type Answer = bool;

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[SessionKey],
    ) -> Result<Vec<bool>, StoreError> {
        store.clear_sessions(now, members).await
    }
}

/// [`Store::load`]: the user's live sessions.
#[derive(Debug)]
pub struct Load;

#[async_trait]
impl Statement for Load {
    const NAME: &'static str = "load";
    type Member = UserKey;
    type Answer = Vec<Session>;

    async fn execute(
        store: &dyn Store,
        now: Timestamp,
        members: &[UserKey],
    ) -> Result<Vec<Vec<Session>>, StoreError> {
        store.load(now, members).await
    }
}
