//! Creating, reading, changing and removing subscriptions.

use std::time::Duration;

use presenced::{
    presence::{Author, Timestamp, UserId},
    store::{
        Authorized, CreateOutcome, CreateSubscription, DeliveryReport, EncryptionCertificate,
        ListSubscriptions, NotificationFormat, Subscription, SubscriptionKey, SubscriptionRequest,
        UpdateSubscription,
    },
};
use uuid::Uuid;

use super::{HOUR, MINUTE, Subject, claims::report, history::author, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_new_subscription_is_delivered_through_now_and_no_replica_has_it,
    every_part_of_a_subscription_is_stored,
    a_subscription_with_a_token_was_authorized_now,
    nothing_is_created_beyond_the_limits,
    callers_without_an_application_count_as_one,
    a_create_of_an_existing_subscription_returns_that_one,
    an_expired_subscription_is_missing_and_counts_for_no_limit,
    subscriptions_are_listed_in_the_order_of_their_ids,
    pages_neither_skip_nor_repeat_subscriptions,
    only_those_of_the_given_application_are_listed,
    an_update_replaces_the_expiry_and_the_request_if_they_are_given,
    an_update_authorizes_the_subscription_again,
    a_missing_subscription_is_not_updated,
    a_deleted_subscription_is_missing,
    an_expired_subscription_is_deleted_too,
    expired_subscriptions_are_removed_and_no_others,
];

/// A subscription of the tenant without authentication.
pub fn subscription_key(number: u128) -> SubscriptionKey {
    SubscriptionKey { tenant_id: Uuid::nil(), subscription_id: Uuid::from_u128(number) }
}

/// A request for all users, without what is optional.
fn request() -> SubscriptionRequest {
    SubscriptionRequest {
        format: NotificationFormat::Graph,
        user_ids: None,
        resource: "/communications/presences".to_owned(),
        url: "https://receiver.example/hook".to_owned(),
        lifecycle_url: None,
        client_state: None,
        certificate: None,
        settle_time: Duration::ZERO,
        signing_keys: Vec::new(),
    }
}

/// A request with everything.
fn full_request() -> SubscriptionRequest {
    SubscriptionRequest {
        format: NotificationFormat::Service,
        user_ids: Some(["ada", "Bob@contoso.com"].map(|id| UserId::parse(id).unwrap()).into()),
        lifecycle_url: Some("https://receiver.example/life?code=%22".to_owned()),
        client_state: Some("\"state\" 'ü' \u{1f600}".to_owned()),
        certificate: Some(EncryptionCertificate { base64: "MIIB".to_owned(), id: "first".to_owned() }),
        settle_time: Duration::from_millis(1_500),
        signing_keys: vec!["whsec_new".to_owned(), "whsec_old".to_owned()],
        ..request()
    }
}

/// A subscription for an hour, without authentication and limits.
pub fn subscribe(number: u128) -> CreateSubscription {
    CreateSubscription {
        key: subscription_key(number),
        created_by: Author::default(),
        request: request(),
        expires_at: start() + HOUR,
        authorized_until: None,
        application_max: 100_000,
        tenant_max: 100_000,
    }
}

fn update(number: u128) -> UpdateSubscription {
    let key = subscription_key(number);
    UpdateSubscription { key, expires_at: None, authorized_until: None, request: None }
}

impl Subject {
    /// Creates a subscription, which succeeds.
    pub async fn create(&self, now: Timestamp, create: &CreateSubscription) -> Subscription {
        match self.store.create_subscription(now, create).await.unwrap() {
            CreateOutcome::Created(subscription) => *subscription,
            full => panic!("{full:?}"),
        }
    }

    pub async fn subscription(&self, now: Timestamp, number: u128) -> Option<Subscription> {
        self.store.subscription(now, &subscription_key(number)).await.unwrap()
    }

    /// Lists the subscriptions of a tenant. Returns their numbers.
    async fn listed(&self, now: Timestamp, list: &ListSubscriptions) -> Vec<u128> {
        let subscriptions = self.store.subscriptions(now, list).await.unwrap();
        assert!(subscriptions.iter().all(|subscription| subscription.key.tenant_id == list.tenant_id));
        subscriptions.iter().map(|subscription| subscription.key.subscription_id.as_u128()).collect()
    }
}

fn list(after: Option<u128>, limit: u32) -> ListSubscriptions {
    let after = after.map(Uuid::from_u128);
    ListSubscriptions { tenant_id: Uuid::nil(), application: None, after, limit }
}

async fn a_new_subscription_is_delivered_through_now_and_no_replica_has_it(engine: Engine) {
    let subject = Subject::new(engine).await;
    let created = subject.create(start(), &subscribe(1)).await;
    let expected = Subscription {
        key: subscription_key(1),
        created_by: Author::default(),
        request: request(),
        created_at: start(),
        expires_at: start() + HOUR,
        authorized: None,
        delivered_through: start(),
        generation: 0,
        failing_since: None,
        last_error: None,
    };
    assert_eq!(created, expected);
    assert_eq!(subject.subscription(start(), 1).await, Some(expected));
    assert_eq!(subject.subscription(start(), 2).await, None);
    let foreign = SubscriptionKey { tenant_id: Uuid::max(), ..subscription_key(1) };
    assert_eq!(subject.store.subscription(start(), &foreign).await.unwrap(), None);
    // Another replica takes it over at once, in the first generation.
    assert_eq!(subject.claim(start(), 9).await, [(1, 1)]);
}

async fn every_part_of_a_subscription_is_stored(engine: Engine) {
    let subject = Subject::new(engine).await;
    let created_by = author("app:laptop", Some("boss"));
    let create = CreateSubscription { created_by, request: full_request(), ..subscribe(1) };
    let created = subject.create(start(), &create).await;
    assert_eq!((&created.request, &created.created_by), (&create.request, &create.created_by));
    assert_eq!(subject.subscription(start(), 1).await, Some(created.clone()));
    assert_eq!(subject.store.subscriptions(start(), &list(None, 9)).await.unwrap(), [created]);
}

async fn a_subscription_with_a_token_was_authorized_now(engine: Engine) {
    let subject = Subject::new(engine).await;
    let until = start() + 5 * MINUTE;
    let create = CreateSubscription { authorized_until: Some(until), ..subscribe(1) };
    let authorized = Authorized { at: start() + MINUTE, until, reauthorization_sent: false };
    assert_eq!(subject.create(start() + MINUTE, &create).await.authorized, Some(authorized));
    assert_eq!(subject.subscription(start() + MINUTE, 1).await.unwrap().authorized, Some(authorized));
}

async fn nothing_is_created_beyond_the_limits(engine: Engine) {
    let subject = Subject::new(engine).await;
    let by = |number, tenant_id, application: &str| CreateSubscription {
        key: SubscriptionKey { tenant_id, ..subscription_key(number) },
        created_by: author(application, Some("any")),
        application_max: 2,
        tenant_max: 3,
        ..subscribe(number)
    };
    let outcome = async |create| subject.store.create_subscription(start(), &create).await.unwrap();
    for number in 1..=2 {
        subject.create(start(), &by(number, Uuid::nil(), "a")).await;
    }
    assert_eq!(outcome(by(3, Uuid::nil(), "a")).await, CreateOutcome::ApplicationFull);
    subject.create(start(), &by(4, Uuid::max(), "a")).await;
    subject.create(start(), &by(5, Uuid::nil(), "b")).await;
    assert_eq!(outcome(by(6, Uuid::nil(), "b")).await, CreateOutcome::TenantFull);
    assert_eq!(outcome(by(7, Uuid::nil(), "a")).await, CreateOutcome::ApplicationFull, "it is named first");
    assert_eq!(subject.listed(start(), &list(None, 9)).await, [1, 2, 5]);
}

async fn callers_without_an_application_count_as_one(engine: Engine) {
    let subject = Subject::new(engine).await;
    let by = |number, created_by| CreateSubscription { created_by, application_max: 1, ..subscribe(number) };
    subject.create(start(), &by(1, Author::default())).await;
    subject.create(start(), &by(2, author("a", None))).await;
    let user_id = Some(UserId::parse("u").unwrap());
    let other = by(3, Author { application_id: None, user_id });
    let outcome = subject.store.create_subscription(start(), &other).await.unwrap();
    assert_eq!(outcome, CreateOutcome::ApplicationFull);
}

async fn a_create_of_an_existing_subscription_returns_that_one(engine: Engine) {
    let subject = Subject::new(engine).await;
    let create = CreateSubscription { application_max: 1, tenant_max: 1, ..subscribe(1) };
    let created = subject.create(start(), &create).await;
    let other = CreateSubscription { expires_at: start() + 2 * HOUR, request: full_request(), ..create };
    assert_eq!(subject.create(start() + MINUTE, &other).await, created);
    assert_eq!(subject.subscription(start() + MINUTE, 1).await, Some(created));
}

async fn an_expired_subscription_is_missing_and_counts_for_no_limit(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.create(start(), &subscribe(1)).await;
    let (before, end) = (start() + HOUR.saturating_sub(Duration::from_millis(1)), start() + HOUR);
    assert!(subject.subscription(before, 1).await.is_some());
    assert_eq!(subject.listed(before, &list(None, 9)).await, [1]);
    assert_eq!(subject.subscription(end, 1).await, None);
    assert_eq!(subject.listed(end, &list(None, 9)).await, [0_u128; 0]);
    let expires_at = end + HOUR;
    let next = CreateSubscription { expires_at, application_max: 1, tenant_max: 1, ..subscribe(2) };
    let full = subject.store.create_subscription(before, &next).await.unwrap();
    assert_eq!(full, CreateOutcome::ApplicationFull);
    subject.create(end, &next).await;
}

async fn subscriptions_are_listed_in_the_order_of_their_ids(engine: Engine) {
    let subject = Subject::new(engine).await;
    for number in [5, u128::MAX, 1, 1 << 127, 3] {
        subject.create(start(), &subscribe(number)).await;
    }
    assert_eq!(subject.listed(start(), &list(None, 9)).await, [1, 3, 5, 1 << 127, u128::MAX]);
}

async fn pages_neither_skip_nor_repeat_subscriptions(engine: Engine) {
    let subject = Subject::new(engine).await;
    for number in 1..=5 {
        subject.create(start(), &subscribe(number)).await;
    }
    assert_eq!(subject.listed(start(), &list(None, 2)).await, [1, 2]);
    assert_eq!(subject.listed(start(), &list(Some(2), 2)).await, [3, 4]);
    assert_eq!(subject.listed(start(), &list(Some(4), 2)).await, [5]);
    assert_eq!(subject.listed(start(), &list(Some(5), 2)).await, [0_u128; 0]);
}

async fn only_those_of_the_given_application_are_listed(engine: Engine) {
    let subject = Subject::new(engine).await;
    for (number, created_by) in
        [(1, author("a", None)), (2, Author::default()), (3, author("b", None)), (4, author("a", Some("u")))]
    {
        subject.create(start(), &CreateSubscription { created_by, ..subscribe(number) }).await;
    }
    let of = async |application| {
        subject.listed(start(), &ListSubscriptions { application, ..list(None, 9) }).await
    };
    assert_eq!(of(Some(author("a", None).application_id)).await, [1, 4]);
    assert_eq!(of(Some(author("c", None).application_id)).await, [0_u128; 0]);
    assert_eq!(of(Some(None)).await, [2]);
    assert_eq!(of(None).await, [1, 2, 3, 4]);
}

async fn an_update_replaces_the_expiry_and_the_request_if_they_are_given(engine: Engine) {
    let subject = Subject::new(engine).await;
    let created = subject.create(start(), &subscribe(1)).await;
    let change = async |change: UpdateSubscription| {
        subject.store.update_subscription(start() + MINUTE, &change).await.unwrap().unwrap()
    };
    assert_eq!(change(update(1)).await, created);
    let later = Some(start() + 2 * HOUR);
    let expected = Subscription { expires_at: start() + 2 * HOUR, ..created };
    assert_eq!(change(UpdateSubscription { expires_at: later, ..update(1) }).await, expected);
    let expected = Subscription { request: full_request(), ..expected };
    assert_eq!(change(UpdateSubscription { request: Some(full_request()), ..update(1) }).await, expected);
    assert_eq!(subject.subscription(start() + MINUTE, 1).await, Some(expected));
}

async fn an_update_authorizes_the_subscription_again(engine: Engine) {
    let subject = Subject::new(engine).await;
    let create = CreateSubscription { authorized_until: Some(start() + 5 * MINUTE), ..subscribe(1) };
    subject.create(start(), &create).await;
    subject.claim(start(), 9).await;
    let report = DeliveryReport { reauthorization_sent: Some(start()), ..report(1, 1) };
    subject.claim_with(start(), 9, vec![report]).await;
    let authorized = async |now| subject.subscription(now, 1).await.unwrap().authorized;
    assert!(authorized(start()).await.unwrap().reauthorization_sent);
    let again = UpdateSubscription { authorized_until: Some(start() + 9 * MINUTE), ..update(1) };
    let updated = subject.store.update_subscription(start() + MINUTE, &again).await.unwrap().unwrap();
    let expected =
        Authorized { at: start() + MINUTE, until: start() + 9 * MINUTE, reauthorization_sent: false };
    assert_eq!(updated.authorized, Some(expected));
    assert_eq!(authorized(start()).await, Some(expected));
    let updated = subject.store.update_subscription(start() + MINUTE, &update(1)).await.unwrap().unwrap();
    assert_eq!(updated.authorized, None);
}

async fn a_missing_subscription_is_not_updated(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.create(start(), &subscribe(1)).await;
    let later = UpdateSubscription { expires_at: Some(start() + 9 * HOUR), ..update(1) };
    let foreign = SubscriptionKey { tenant_id: Uuid::max(), ..subscription_key(1) };
    for (now, change) in [
        (start(), UpdateSubscription { key: subscription_key(2), ..later.clone() }),
        (start(), UpdateSubscription { key: foreign, ..later.clone() }),
        (start() + HOUR, later),
    ] {
        assert_eq!(subject.store.update_subscription(now, &change).await.unwrap(), None);
    }
    assert_eq!(subject.subscription(start(), 1).await.unwrap().expires_at, start() + HOUR);
}

async fn a_deleted_subscription_is_missing(engine: Engine) {
    let subject = Subject::new(engine).await;
    for number in 1..=2 {
        subject.create(start(), &subscribe(number)).await;
    }
    let foreign = SubscriptionKey { tenant_id: Uuid::max(), ..subscription_key(1) };
    assert!(!subject.store.delete_subscription(&foreign).await.unwrap());
    assert!(subject.store.delete_subscription(&subscription_key(1)).await.unwrap());
    assert!(!subject.store.delete_subscription(&subscription_key(1)).await.unwrap());
    assert_eq!(subject.listed(start(), &list(None, 9)).await, [2]);
    assert_eq!(subject.claim(start(), 9).await, [(2, 1)]);
}

async fn an_expired_subscription_is_deleted_too(engine: Engine) {
    let subject = Subject::new(engine).await;
    let ended = CreateSubscription { expires_at: start(), ..subscribe(1) };
    subject.create(start(), &ended).await;
    assert_eq!(subject.subscription(start(), 1).await, None);
    assert!(subject.store.delete_subscription(&subscription_key(1)).await.unwrap());
}

async fn expired_subscriptions_are_removed_and_no_others(engine: Engine) {
    let subject = Subject::new(engine).await;
    for (number, hours) in [(1, 1), (2, 2), (3, 3)] {
        let create = CreateSubscription { expires_at: start() + hours * HOUR, ..subscribe(number) };
        subject.create(start(), &create).await;
    }
    assert_eq!(subject.store.remove_expired_subscriptions(start() + 2 * HOUR).await.unwrap(), 2);
    assert_eq!(subject.store.remove_expired_subscriptions(start() + 2 * HOUR).await.unwrap(), 0);
    assert_eq!(subject.listed(start(), &list(None, 9)).await, [3]);
}
