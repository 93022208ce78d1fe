//! A store that a test controls.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use async_trait::async_trait;
use presenced::{
    presence::{Pair, Timestamp, User, UserId},
    store::{
        ClaimSubscriptions, ClearOutcome, ClearSession, CreateOutcome, CreateSubscription, ExtendSession,
        HistoryStats, Hold, Lease, ListSubscriptions, ListUsers, LoadHistory, PoolUse, ReleaseSubscriptions,
        SessionKey, SessionRow, SetOutcome, SetSession, SigningKeyRow, Store, StoreError, StoredHistory,
        Subscription, SubscriptionKey, SubscriptionStore, UpdateSubscription, UpdateUser, UserKey, UserRow,
    },
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};
use uuid::Uuid;

use crate::support::server::START;

/// A store whose statements wait for a permit, and fail as configured.
#[derive(Debug)]
pub struct FakeStore {
    /// One permit for each statement that may complete.
    pub gate: Semaphore,
    /// How long a statement takes after that.
    pub takes: Duration,
    /// The errors of the next statements; without one they succeed.
    pub errors: Mutex<VecDeque<StoreError>>,
    /// The user ids of each statement that started.
    pub started: mpsc::Sender<Vec<String>>,
    /// The number of users that a list has.
    pub listed: usize,
}

impl FakeStore {
    async fn statement(&self, users: Vec<String>) -> Result<(), StoreError> {
        self.started.try_send(users).unwrap();
        self.gate.acquire().await.unwrap().forget();
        sleep(self.takes).await;
        self.errors.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Store for FakeStore {
    /// Fails for `Offline`, as a constraint of a database does.
    async fn set_sessions(&self, _: Timestamp, sets: &[SetSession]) -> Result<Vec<SetOutcome>, StoreError> {
        self.statement(sets.iter().map(|set| set.key.user.user_id.to_string()).collect()).await?;
        if sets.iter().any(|set| set.pair == Pair::OFFLINE) {
            return Err(StoreError::Data("an invalid row".into()));
        }
        Ok(vec![SetOutcome::Set; sets.len()])
    }

    async fn clear_sessions(
        &self,
        _: Timestamp,
        clears: &[ClearSession],
    ) -> Result<Vec<ClearOutcome>, StoreError> {
        self.statement(clears.iter().map(|clear| clear.key.user.user_id.to_string()).collect()).await?;
        let outcome = |position| if position == 0 { ClearOutcome::Cleared } else { ClearOutcome::NotLive };
        Ok((0..clears.len()).map(outcome).collect())
    }

    async fn extend_sessions(
        &self,
        now: Timestamp,
        held: &[ExtendSession],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.statement(held.iter().map(|set| set.key.user.user_id.to_string()).collect()).await?;
        Ok(vec![Some(now); held.len()])
    }

    async fn current_holds(&self, holds: &[Hold]) -> Result<Vec<bool>, StoreError> {
        Ok(vec![true; holds.len()])
    }

    async fn load(&self, _: Timestamp, users: &[UserKey]) -> Result<Vec<User>, StoreError> {
        self.statement(users.iter().map(|user| user.user_id.to_string()).collect()).await?;
        Ok(vec![User::default(); users.len()])
    }

    async fn update_user(&self, _: Timestamp, update: &UpdateUser) -> Result<(), StoreError> {
        self.statement(vec![update.user.user_id.to_string()]).await
    }

    async fn list_users(&self, _: Timestamp, list: &ListUsers) -> Result<Vec<UserId>, StoreError> {
        self.statement(Vec::new()).await?;
        let first = list.after.as_ref().map_or(0, |after| after.as_str().parse::<usize>().unwrap() + 1);
        let users = (first..self.listed).take(list.limit.try_into().unwrap());
        Ok(users.map(|user| UserId::parse(&format!("{user:08}")).unwrap()).collect())
    }

    async fn count_users(&self, _: Timestamp, _: &Uuid) -> Result<u64, StoreError> {
        self.statement(Vec::new()).await?;
        Ok(0)
    }

    async fn scan_sessions(
        &self,
        _: Timestamp,
        _: Option<&SessionKey>,
        _: u32,
    ) -> Result<Vec<SessionRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn remove_sessions(&self, _: Timestamp, _: &[SessionRow]) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn scan_users(
        &self,
        _: Timestamp,
        _: Option<&UserKey>,
        _: u32,
    ) -> Result<Vec<UserRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn remove_users(&self, _: &[UserRow]) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn load_history(&self, _: Timestamp, load: &LoadHistory) -> Result<Vec<StoredHistory>, StoreError> {
        Ok(vec![StoredHistory::default(); load.users.len()])
    }

    async fn remove_spans(&self, _: Timestamp, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn erase_author(
        &self,
        _: &UserKey,
        _: Option<&UserId>,
        _: u32,
    ) -> Result<Option<UserId>, StoreError> {
        Ok(None)
    }

    async fn erase_user(&self, _: &UserKey) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn export_user(&self, _: &UserKey) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn history_stats(&self) -> Result<HistoryStats, StoreError> {
        Ok(HistoryStats::default())
    }

    async fn take_lease(&self, _: Timestamp, _: &Lease) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn database_time(&self) -> Result<Timestamp, StoreError> {
        Ok(START)
    }

    fn pool_use(&self) -> PoolUse {
        PoolUse::default()
    }

    async fn close(&self) {}
}

/// It has no subscriptions.
#[async_trait]
impl SubscriptionStore for FakeStore {
    async fn create_subscription(
        &self,
        _: Timestamp,
        _: &CreateSubscription,
    ) -> Result<CreateOutcome, StoreError> {
        Ok(CreateOutcome::TenantFull)
    }

    async fn subscription(
        &self,
        _: Timestamp,
        _: &SubscriptionKey,
    ) -> Result<Option<Subscription>, StoreError> {
        Ok(None)
    }

    async fn subscriptions(
        &self,
        _: Timestamp,
        _: &ListSubscriptions,
    ) -> Result<Vec<Subscription>, StoreError> {
        Ok(Vec::new())
    }

    async fn update_subscription(
        &self,
        _: Timestamp,
        _: &UpdateSubscription,
    ) -> Result<Option<Subscription>, StoreError> {
        Ok(None)
    }

    async fn delete_subscription(&self, _: &SubscriptionKey) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn claim_subscriptions(
        &self,
        _: Timestamp,
        _: &ClaimSubscriptions,
    ) -> Result<Vec<Subscription>, StoreError> {
        Ok(Vec::new())
    }

    async fn release_subscriptions(&self, _: Timestamp, _: &ReleaseSubscriptions) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove_expired_subscriptions(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn add_signing_key(&self, _: &SigningKeyRow, _: Timestamp) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn remove_signing_keys(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}
