//! Batching: calls that arrive while a statement runs share the next statement.
//!
//! Each method of the store has a bounded queue and a dispatcher. The dispatcher takes the
//! waiting calls, up to a limit, and runs them as one statement in a separate task. While the
//! maximum of concurrent statements runs, the next batch collects. There is no timer, so an
//! idle server adds no latency.
//!
//! Rules:
//!
//! 1. A caller gets its result after the batch committed.
//! 2. The clock is read once per statement. That instant is `now` for the whole batch.
//! 3. A caller that stopped waiting before its statement begins is skipped. If it stops
//!    later, the statement still completes, because it runs in a separate task. A caller that
//!    may give up before the statement completes gets an error at once.
//! 4. A call with several items is applied as a whole or not at all.
//! 5. A batch has the calls of one group ([`Store::group`]), which on Citus is a shard.
//! 6. A batch writes one value to a row. A call that sets another value waits for the next batch, so
//!    that the history has both.
//! 7. A call joins a batch only if its items fit, and no large call joins small ones. After a large call
//!    the small ones precede other large ones, so a burst of large calls delays a small one by one
//!    statement.
//! 8. The rare methods use the same queues, with one call per statement and one statement at
//!    a time.
//! 9. On invalid data each call is retried alone, so that an invalid row fails only its own
//!    call. A conflict is retried once. Any other error fails the whole batch.

mod batcher;
mod runner;
mod statement;

use std::sync::Arc;

use crate::{clock::Clock, store::Store, telemetry::Metrics};

pub use batcher::{BatchError, Batcher, Limits};
pub use runner::{CALL_TIMEOUT, Results};
pub use statement::{
    AuthorChunk, ClearSessions, CountUsers, CreateSubscriptions, CurrentHolds, DeleteSubscriptions,
    EraseAuthor, EraseUser, ExportUser, ExtendSessions, HistoryOf, ListPage, ListSubscriptionPage, Load,
    LoadHistories, ReadSubscriptions, SetSessions, Statement, UpdateSubscriptions, UpdateUsers,
};

/// The batchers of one worker, one for each method of its store.
#[derive(Debug)]
pub struct Batches {
    /// The batcher of [`Store::set_sessions`].
    pub set_sessions: Batcher<SetSessions>,
    /// The batcher of [`Store::clear_sessions`].
    pub clear_sessions: Batcher<ClearSessions>,
    /// The batcher of [`Store::extend_sessions`].
    pub extend_sessions: Batcher<ExtendSessions>,
    /// The batcher of [`Store::current_holds`].
    pub current_holds: Batcher<CurrentHolds>,
    /// The batcher of [`Store::update_user`].
    pub update_user: Batcher<UpdateUsers>,
    /// The batcher of [`Store::erase_author`].
    pub erase_author: Batcher<EraseAuthor>,
    /// The batcher of [`Store::erase_user`].
    pub erase_user: Batcher<EraseUser>,
    /// The batcher of [`Store::export_user`].
    pub export_user: Batcher<ExportUser>,
    /// The batcher of [`crate::store::SubscriptionStore::create_subscription`].
    pub create_subscription: Batcher<CreateSubscriptions>,
    /// The batcher of [`crate::store::SubscriptionStore::subscription`].
    pub subscription: Batcher<ReadSubscriptions>,
    /// The batcher of [`crate::store::SubscriptionStore::subscriptions`].
    pub subscriptions: Batcher<ListSubscriptionPage>,
    /// The batcher of [`crate::store::SubscriptionStore::update_subscription`].
    pub update_subscription: Batcher<UpdateSubscriptions>,
    /// The batcher of [`crate::store::SubscriptionStore::delete_subscription`].
    pub delete_subscription: Batcher<DeleteSubscriptions>,
    /// The batchers of the methods that read.
    pub reads: Reads,
}

/// The batchers of the methods that read.
#[derive(Debug)]
pub struct Reads {
    /// The batcher of [`Store::load`].
    pub load: Batcher<Load>,
    /// The batcher of [`Store::load_history`].
    pub load_history: Batcher<LoadHistories>,
    /// The batcher of [`Store::list_users`].
    pub list_users: Batcher<ListPage>,
    /// The batcher of [`Store::count_users`].
    pub count_users: Batcher<CountUsers>,
}

impl Reads {
    /// Returns the number of connections that the batchers use; see
    /// [`Batches::connections`].
    #[must_use]
    pub fn connections(limits: Limits) -> u32 {
        u32::from(limits.concurrent_statements) + 2
    }

    /// Waits until a dispatcher ends, which only a defect causes, and returns its statement's name.
    pub async fn ended(&self) -> &'static str {
        tokio::select! {
            name = self.load.ended() => name,
            name = self.load_history.ended() => name,
            name = self.list_users.ended() => name,
            name = self.count_users.ended() => name,
        }
    }

    /// Starts the dispatchers of reads from a read replica. Their statements have separate
    /// names in metrics and logs.
    #[must_use]
    pub fn start_on_replica(
        store: &Arc<dyn Store>,
        clock: &Clock,
        metrics: &Metrics,
        limits: Limits,
    ) -> Self {
        let names = ["replica_load", "replica_load_history", "replica_list_users", "replica_count_users"];
        Self::start(names, store, clock, metrics, limits)
    }

    fn start(
        names: [&'static str; 4],
        store: &Arc<dyn Store>,
        clock: &Clock,
        metrics: &Metrics,
        limits: Limits,
    ) -> Self {
        let rare = Limits { batch_max: 1, concurrent_statements: 1, ..limits };
        let [load, load_history, list_users, count_users] = names;
        let one = Limits { concurrent_statements: 1, ..limits };
        Self {
            load: Batcher::start_as(load, store, clock, metrics, limits),
            load_history: Batcher::start_as(load_history, store, clock, metrics, one),
            list_users: Batcher::start_as(list_users, store, clock, metrics, rare),
            count_users: Batcher::start_as(count_users, store, clock, metrics, rare),
        }
    }
}

impl Batches {
    /// Returns the number of connections that the batchers use: one for each concurrent
    /// statement of the three hot methods, one for held sessions, for which no client waits, one for
    /// the history, and one that the rare methods share.
    #[must_use]
    pub fn connections(limits: Limits) -> u32 {
        u32::from(limits.concurrent_statements) * 3 + 3
    }

    /// Waits until a dispatcher ends, which only a defect causes, and returns its statement's name.
    pub async fn ended(&self) -> &'static str {
        tokio::select! {
            name = self.set_sessions.ended() => name,
            name = self.clear_sessions.ended() => name,
            name = self.extend_sessions.ended() => name,
            name = self.current_holds.ended() => name,
            name = self.update_user.ended() => name,
            name = self.erase_author.ended() => name,
            name = self.erase_user.ended() => name,
            name = self.export_user.ended() => name,
            name = self.create_subscription.ended() => name,
            name = self.subscription.ended() => name,
            name = self.subscriptions.ended() => name,
            name = self.update_subscription.ended() => name,
            name = self.delete_subscription.ended() => name,
            name = self.reads.ended() => name,
        }
    }

    /// Starts the dispatchers on the current runtime. They end when the batches are dropped.
    #[must_use]
    pub fn start(store: &Arc<dyn Store>, clock: &Clock, metrics: &Metrics, limits: Limits) -> Self {
        let extend = Limits { concurrent_statements: 1, ..limits };
        let rare = Limits { batch_max: 1, ..extend };
        let names = [Load::NAME, LoadHistories::NAME, ListPage::NAME, CountUsers::NAME];
        Self {
            set_sessions: Batcher::start(store, clock, metrics, limits),
            clear_sessions: Batcher::start(store, clock, metrics, limits),
            extend_sessions: Batcher::start(store, clock, metrics, extend),
            current_holds: Batcher::start(store, clock, metrics, extend),
            update_user: Batcher::start(store, clock, metrics, rare),
            erase_author: Batcher::start(store, clock, metrics, rare),
            erase_user: Batcher::start(store, clock, metrics, rare),
            export_user: Batcher::start(store, clock, metrics, rare),
            create_subscription: Batcher::start(store, clock, metrics, rare),
            subscription: Batcher::start(store, clock, metrics, rare),
            subscriptions: Batcher::start(store, clock, metrics, rare),
            update_subscription: Batcher::start(store, clock, metrics, rare),
            delete_subscription: Batcher::start(store, clock, metrics, rare),
            reads: Reads::start(names, store, clock, metrics, limits),
        }
    }
}
