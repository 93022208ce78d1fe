//! Claiming subscriptions, reporting their delivery, and releasing them.

use std::time::Duration;

use presenced::{
    presence::Timestamp,
    store::{
        Authorized, ClaimSubscriptions, CreateSubscription, DeliveryReport, ReleaseSubscriptions,
        Subscription, SubscriptionKey, UpdateSubscription,
    },
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use uuid::Uuid;

use super::{
    HOUR, MINUTE, Subject, start,
    subscriptions::{subscribe, subscription_key},
};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_replica_keeps_what_it_has_until_another_one_takes_it_over,
    a_replica_takes_over_at_most_the_maximum_in_key_order,
    a_taken_subscription_has_the_next_generation,
    of_several_replicas_one_has_a_subscription,
    an_expired_subscription_is_not_claimed,
    a_claim_returns_whole_subscriptions_in_key_order,
    a_report_replaces_the_state_of_the_delivery,
    a_report_of_another_replica_or_generation_is_void,
    what_was_delivered_does_not_go_back,
    what_was_delivered_goes_back_after_the_clock_went_back,
    a_request_to_authorize_again_is_void_after_an_authorization,
    an_update_keeps_the_delivery_and_the_replica,
    a_release_applies_reports_and_lets_another_replica_take_over_at_once,
    a_replica_can_claim_again_after_a_release,
    a_claim_of_thousands_with_a_report_of_each_ends_in_time,
];

/// The duration of the leases.
pub const LEASE: Duration = Duration::from_secs(30);

/// A report of a subscription of the generation, which was delivered through its creation.
pub fn report(number: u128, generation: u64) -> DeliveryReport {
    DeliveryReport {
        key: subscription_key(number),
        generation,
        delivered_through: start(),
        failing_since: None,
        last_error: None,
        reauthorization_sent: None,
    }
}

/// A claim of the replica with this number.
pub fn claim_of(replica: u128, take_max: u32, reports: Vec<DeliveryReport>) -> ClaimSubscriptions {
    ClaimSubscriptions { owner: Uuid::from_u128(replica), lease: LEASE, take_max, reports }
}

/// The number and the generation of each subscription.
pub fn generations(subscriptions: &[Subscription]) -> Vec<(u128, u64)> {
    let pair =
        |subscription: &Subscription| (subscription.key.subscription_id.as_u128(), subscription.generation);
    subscriptions.iter().map(pair).collect()
}

impl Subject {
    /// Claims as the replica. Returns the number and the generation of each subscription that it then has.
    pub async fn claim(&self, now: Timestamp, replica: u128) -> Vec<(u128, u64)> {
        generations(&self.claim_with(now, replica, Vec::new()).await)
    }

    pub async fn claim_with(
        &self,
        now: Timestamp,
        replica: u128,
        reports: Vec<DeliveryReport>,
    ) -> Vec<Subscription> {
        self.store.claim_subscriptions(now, &claim_of(replica, 100, reports)).await.unwrap()
    }

    async fn subscribe(&self, numbers: impl IntoIterator<Item = u128>) {
        for number in numbers {
            self.create(start(), &subscribe(number)).await;
        }
    }

    /// Creates the subscription 1, of which the replica 9 has the first generation.
    async fn claimed(engine: Engine) -> Self {
        let subject = Self::new(engine).await;
        subject.subscribe([1]).await;
        assert_eq!(subject.claim(start(), 9).await, [(1, 1)]);
        subject
    }

    async fn release(&self, now: Timestamp, replica: u128, reports: Vec<DeliveryReport>) {
        let release = ReleaseSubscriptions { owner: Uuid::from_u128(replica), reports };
        self.store.release_subscriptions(now, &release).await.unwrap();
    }
}

async fn a_replica_keeps_what_it_has_until_another_one_takes_it_over(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    assert_eq!(subject.claim(start() + LEASE / 2, 9).await, [(1, 1)], "it renews the lease");
    assert_eq!(subject.claim(start() + LEASE, 8).await, []);
    // Its lease has ended, but no other replica asked.
    assert_eq!(subject.claim(start() + 3 * LEASE, 9).await, [(1, 1)]);
    assert_eq!(subject.claim(start() + 4 * LEASE, 8).await, [(1, 2)]);
    assert_eq!(subject.claim(start() + 4 * LEASE, 9).await, []);
}

async fn a_replica_takes_over_at_most_the_maximum_in_key_order(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.subscribe([4, 2, 5, 1, 3]).await;
    let foreign = SubscriptionKey { tenant_id: Uuid::max(), ..subscription_key(0) };
    subject.create(start(), &CreateSubscription { key: foreign, ..subscribe(0) }).await;
    let claim = async |replica, take_max| {
        let claim = claim_of(replica, take_max, Vec::new());
        generations(&subject.store.claim_subscriptions(start(), &claim).await.unwrap())
    };
    assert_eq!(claim(9, 0).await, []);
    assert_eq!(claim(9, 2).await, [(1, 1), (2, 1)]);
    assert_eq!(claim(8, 1).await, [(3, 1)]);
    assert_eq!(claim(9, 1).await, [(1, 1), (2, 1), (4, 1)]);
    assert_eq!(claim(9, 9).await, [(1, 1), (2, 1), (4, 1), (5, 1), (0, 1)], "then those of other tenants");
}

async fn a_taken_subscription_has_the_next_generation(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    for generation in 2..5 {
        let now = start() + u32::try_from(generation).unwrap() * LEASE;
        let replica = u128::from(generation % 2);
        assert_eq!(subject.claim(now, replica).await, [(1, generation)]);
        assert_eq!(subject.claim(now, replica).await, [(1, generation)], "a repetition changes nothing");
    }
    assert_eq!(subject.subscription(start(), 1).await.unwrap().generation, 4);
}

async fn of_several_replicas_one_has_a_subscription(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    let before = start() + LEASE.saturating_sub(Duration::from_millis(1));
    assert_eq!(subject.claim(before, 8).await, [], "the lease has not ended");
    assert_eq!(subject.claim(start() + LEASE, 8).await, [(1, 2)], "it ends at that time");
    assert_eq!(subject.claim(start() + LEASE, 7).await, []);
    assert_eq!(subject.claim(start() + LEASE, 9).await, []);
}

async fn an_expired_subscription_is_not_claimed(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    let create = CreateSubscription { expires_at: start() + 2 * HOUR, ..subscribe(2) };
    subject.create(start(), &create).await;
    let late = DeliveryReport { delivered_through: start() + HOUR, ..report(1, 1) };
    let claimed = subject.claim_with(start() + HOUR, 9, vec![late]).await;
    assert_eq!(generations(&claimed), [(2, 1)]);
    assert_eq!(subject.claim(start() + 2 * HOUR, 8).await, []);
    assert_eq!(subject.subscription(start(), 1).await.unwrap().delivered_through, start());
}

async fn a_claim_returns_whole_subscriptions_in_key_order(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.subscribe((1..20).rev()).await;
    for replica in [9, 9, 8] {
        let now = start() + (9 - u32::try_from(replica).unwrap()) * LEASE;
        let claimed = subject.claim_with(now, replica, vec![report(5, 1)]).await;
        let numbers: Vec<_> = generations(&claimed).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, (1..20).collect::<Vec<_>>());
        for subscription in claimed {
            let number = subscription.key.subscription_id.as_u128();
            assert_eq!(subject.subscription(now, number).await, Some(subscription));
        }
    }
}

async fn a_report_replaces_the_state_of_the_delivery(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    subject.subscribe([2]).await;
    let failing = DeliveryReport {
        delivered_through: start() + MINUTE,
        failing_since: Some(start() + MINUTE),
        last_error: Some("500: \"no\"".to_owned()),
        ..report(1, 1)
    };
    let claimed = subject.claim_with(start() + 2 * MINUTE, 9, vec![failing.clone()]).await;
    let state = |subscription: &Subscription| {
        (subscription.delivered_through, subscription.failing_since, subscription.last_error.clone())
    };
    let expected = (failing.delivered_through, failing.failing_since, failing.last_error);
    assert_eq!((state(&claimed[0]), state(&claimed[1])), (expected.clone(), (start(), None, None)));
    let claimed = subject.claim_with(start() + 2 * MINUTE, 9, Vec::new()).await;
    assert_eq!(state(&claimed[0]), expected, "without a report it stays");
    let again = DeliveryReport { delivered_through: start() + 2 * MINUTE, ..report(1, 1) };
    let claimed = subject.claim_with(start() + 2 * MINUTE, 9, vec![again]).await;
    assert_eq!(state(&claimed[0]), (start() + 2 * MINUTE, None, None));
}

async fn a_report_of_another_replica_or_generation_is_void(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    let now = start() + LEASE;
    let wrong = |generation| DeliveryReport {
        delivered_through: start() + MINUTE,
        failing_since: Some(start()),
        last_error: Some("wrong".to_owned()),
        reauthorization_sent: Some(start()),
        ..report(1, generation)
    };
    let before = subject.subscription(start(), 1).await.unwrap();
    subject.claim_with(start(), 9, vec![wrong(0)]).await;
    subject.claim_with(start(), 9, vec![wrong(2)]).await;
    subject.claim_with(start(), 8, vec![wrong(1)]).await;
    assert_eq!(subject.subscription(start(), 1).await, Some(before.clone()));
    // The statement that takes a subscription over applies no report of it.
    subject.claim_with(now, 8, vec![wrong(1)]).await;
    subject.claim_with(now, 9, vec![wrong(1), wrong(2)]).await;
    subject.release(now, 9, vec![wrong(2)]).await;
    let taken = Subscription { generation: 2, ..before };
    assert_eq!(subject.subscription(start(), 1).await, Some(taken.clone()));
    let foreign = SubscriptionKey { tenant_id: Uuid::max(), ..subscription_key(1) };
    subject.claim_with(now, 8, vec![DeliveryReport { key: foreign, ..wrong(2) }]).await;
    assert_eq!(subject.subscription(start(), 1).await, Some(taken));
}

async fn what_was_delivered_does_not_go_back(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    let delivered = async |minutes| {
        let delivered_through = start() + minutes * MINUTE;
        let reports = vec![DeliveryReport { delivered_through, ..report(1, 1) }];
        subject.claim_with(start() + 5 * MINUTE, 9, reports).await[0].delivered_through
    };
    assert_eq!(delivered(5).await, start() + 5 * MINUTE);
    assert_eq!(delivered(4).await, start() + 5 * MINUTE);
}

async fn what_was_delivered_goes_back_after_the_clock_went_back(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    let delivered = async |now, minutes| {
        let delivered_through = start() + minutes * MINUTE;
        let reports = vec![DeliveryReport { delivered_through, ..report(1, 1) }];
        subject.claim_with(now, 9, reports).await[0].delivered_through
    };
    assert_eq!(delivered(start() + 5 * MINUTE, 5).await, start() + 5 * MINUTE);
    assert_eq!(delivered(start() + 4 * MINUTE, 3).await, start() + 3 * MINUTE);
    assert_eq!(delivered(start() + 4 * MINUTE, 2).await, start() + 3 * MINUTE);
}

async fn a_request_to_authorize_again_is_void_after_an_authorization(engine: Engine) {
    let subject = Subject::new(engine).await;
    let until = start() + HOUR;
    let create = CreateSubscription { authorized_until: Some(until), ..subscribe(1) };
    subject.create(start(), &create).await;
    subject.claim(start(), 9).await;
    let sent = DeliveryReport { reauthorization_sent: Some(start()), ..report(1, 1) };
    let authorized = async |reports| subject.claim_with(start(), 9, reports).await[0].authorized;
    let first = Authorized { at: start(), until, reauthorization_sent: true };
    assert_eq!(authorized(vec![sent.clone()]).await, Some(first));
    assert_eq!(authorized(vec![report(1, 1)]).await, Some(first), "it stays sent");
    let key = subscription_key(1);
    let update = UpdateSubscription { key, expires_at: None, authorized_until: Some(until), request: None };
    subject.store.update_subscription(start() + MINUTE, &update).await.unwrap();
    let again = Authorized { at: start() + MINUTE, until, reauthorization_sent: false };
    assert_eq!(authorized(vec![sent]).await, Some(again));
}

async fn an_update_keeps_the_delivery_and_the_replica(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    let failing = DeliveryReport {
        delivered_through: start() + MINUTE,
        failing_since: Some(start() + MINUTE),
        last_error: Some("404".to_owned()),
        ..report(1, 1)
    };
    let before = subject.claim_with(start() + MINUTE, 9, vec![failing]).await.remove(0);
    let expires_at = start() + 2 * HOUR;
    let update = UpdateSubscription {
        key: subscription_key(1),
        expires_at: Some(expires_at),
        authorized_until: None,
        request: None,
    };
    let updated = subject.store.update_subscription(start() + MINUTE, &update).await.unwrap();
    assert_eq!(updated, Some(Subscription { expires_at, ..before }));
    assert_eq!(subject.claim(start() + MINUTE, 8).await, []);
    assert_eq!(subject.claim(start() + MINUTE, 9).await, [(1, 1)]);
}

async fn a_release_applies_reports_and_lets_another_replica_take_over_at_once(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    subject.subscribe([2, 3]).await;
    assert_eq!(subject.claim(start(), 9).await.len(), 3);
    subject.subscribe([4]).await;
    assert_eq!(subject.claim(start(), 7).await, [(4, 1)]);
    let delivered = DeliveryReport { delivered_through: start() + MINUTE, ..report(2, 1) };
    subject.release(start(), 9, vec![delivered]).await;
    let claimed = subject.claim_with(start(), 8, Vec::new()).await;
    assert_eq!(generations(&claimed), [(1, 2), (2, 2), (3, 2)], "the other replica keeps its own");
    assert_eq!(claimed[1].delivered_through, start() + MINUTE);
    assert_eq!(subject.claim(start(), 9).await, []);
}

async fn a_replica_can_claim_again_after_a_release(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    subject.subscribe([2]).await;
    subject.release(start(), 9, Vec::new()).await;
    assert_eq!(subject.subscription(start(), 2).await.unwrap().generation, 0, "a release takes none over");
    assert_eq!(subject.claim(start(), 9).await, [(1, 1), (2, 1)]);
    assert_eq!(subject.claim(start(), 8).await, []);
}

/// The number of subscriptions of which a claim took longer than a statement may, when it compared each one
/// with each report.
const MANY: u128 = 4_000;

/// Copies of the first subscription, up to the number [`MANY`].
const COPY: &str = "with recursive numbers (number) as (select 2 union all select number + 1 from numbers where number < 4000) \
     insert into presence_subscriptions (tenant_id, subscription_id, request, signing_keys, created_at, expires_at, \
     delivered_through, leased_until, generation) \
     select tenant_id, ID, request, signing_keys, created_at, expires_at, delivered_through, 0, 0 \
     from presence_subscriptions cross join numbers";

/// On PostgreSQL the connection has planned the statement when there was one subscription.
async fn a_claim_of_thousands_with_a_report_of_each_ends_in_time(engine: Engine) {
    let subject = Subject::claimed(engine).await;
    match engine {
        Engine::Postgres => {
            let id = "('00000000-0000-0000-0000-' || lpad(to_hex(number), 12, '0'))::uuid";
            let mut connection = PgConnection::connect(subject.url()).await.unwrap();
            connection.execute(AssertSqlSafe(COPY.replace("ID", id))).await.unwrap();
        }
        Engine::Sqlite => {
            let id = "printf('00000000-0000-0000-0000-%012x', number)";
            let mut connection = SqliteConnection::connect(subject.url()).await.unwrap();
            connection.execute(AssertSqlSafe(COPY.replace("ID", id))).await.unwrap();
        }
    }
    let claim = async |reports| {
        let claim = claim_of(9, u32::MAX, reports);
        subject.store.claim_subscriptions(start() + MINUTE, &claim).await.unwrap()
    };
    assert_eq!(claim(Vec::new()).await.len(), 4_000);
    let delivered = |number| DeliveryReport { delivered_through: start() + MINUTE, ..report(number, 1) };
    let claimed = claim((1..=MANY).map(delivered).collect()).await;
    assert_eq!(claimed.len(), 4_000);
    assert!(claimed.iter().all(|subscription| subscription.delivered_through == start() + MINUTE));
}
