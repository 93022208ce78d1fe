//! What the tests of both forms share.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    presence::{Author, Pair, Presence, Timestamp, User},
    store::{NotificationFormat, Subscription, SubscriptionKey, SubscriptionRequest},
};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_315_800_123);

pub(super) fn subscription(client_state: Option<&str>) -> Subscription {
    Subscription {
        key: SubscriptionKey { tenant_id: Uuid::from_u128(1), subscription_id: Uuid::from_u128(2) },
        created_by: Author::default(),
        request: SubscriptionRequest {
            format: NotificationFormat::Graph,
            user_ids: None,
            resource: "/communications/presences".to_owned(),
            url: String::new(),
            lifecycle_url: None,
            client_state: client_state.map(ToOwned::to_owned),
            certificate: None,
            settle_time: Duration::ZERO,
            signing_keys: Vec::new(),
        },
        created_at: NOW,
        expires_at: NOW,
        authorized: None,
        delivered_through: NOW,
        generation: 3,
        failing_since: None,
        last_error: None,
    }
}

pub(super) fn presence(user_id: &str) -> Presence {
    let presence = Presence::compute(user_id.parse().unwrap(), &User::default(), NOW);
    Presence { pair: Pair::OF_SESSION[1], ..presence }
}

pub(super) fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap()
}
