//! Conversions of the messages about subscriptions.

use super::{
    convert::{duration, optional_instant, page_size, timestamp, watched_users},
    pb,
};
use crate::{
    notify::SigningKey,
    service::{
        CertificateInput, CreateSubscription, Input, ListSubscriptions, SubscribedUsers, SubscriptionPage,
        UpdateSubscription,
    },
    store::{NotificationFormat, Subscription},
};

impl From<pb::CreateSubscriptionRequest> for CreateSubscription {
    fn from(request: pb::CreateSubscriptionRequest) -> Self {
        let users = watched_users(request.everyone, request.user_ids);
        Self {
            format: NotificationFormat::Service,
            users: Input::Value(SubscribedUsers { resource: String::new(), users }),
            change_type: Input::Missing,
            url: Input::text(request.url),
            lifecycle_url: Input::Missing,
            client_state: Input::Missing,
            expires_at: optional_instant(request.expire_time),
            certificate: CertificateInput::default(),
            settle: request.settle_duration.map_or(Input::Missing, duration),
            signing_keys: request.signing_keys,
        }
    }
}

impl From<pb::UpdateSubscriptionRequest> for UpdateSubscription {
    fn from(request: pb::UpdateSubscriptionRequest) -> Self {
        Self {
            subscription_id: Input::text(request.subscription_id),
            expires_at: optional_instant(request.expire_time),
            signing_keys: request.signing_keys,
            ..Self::default()
        }
    }
}

impl From<pb::ListSubscriptionsRequest> for ListSubscriptions {
    fn from(request: pb::ListSubscriptionsRequest) -> Self {
        Self { page_size: page_size(request.page_size), page_token: Input::text(request.page_token) }
    }
}

impl From<SubscriptionPage> for pb::ListSubscriptionsResponse {
    fn from(page: SubscriptionPage) -> Self {
        Self {
            subscriptions: page.subscriptions.into_iter().map(Into::into).collect(),
            next_page_token: page.next.unwrap_or_default(),
        }
    }
}

impl From<Subscription> for pb::Subscription {
    fn from(subscription: Subscription) -> Self {
        let Subscription { key, created_by, request, authorized, .. } = subscription;
        let format = match request.format {
            NotificationFormat::Service => pb::NotificationFormat::Service,
            NotificationFormat::Graph => pb::NotificationFormat::Graph,
        };
        let public_key = |key: &String| SigningKey::parse(key).ok()?.public_key();
        Self {
            subscription_id: key.subscription_id.to_string(),
            everyone: request.user_ids.is_none(),
            user_ids: request.user_ids.into_iter().flatten().map(|user_id| user_id.to_string()).collect(),
            url: request.url,
            format: format.into(),
            settle_duration: prost_types::Duration::try_from(request.settle_time).ok(),
            public_keys: request.signing_keys.iter().filter_map(public_key).collect(),
            application_id: created_by.application_id.map_or_else(String::new, |id| id.to_string()),
            user_id: created_by.user_id.map_or_else(String::new, |id| id.to_string()),
            create_time: Some(timestamp(subscription.created_at)),
            expire_time: Some(timestamp(subscription.expires_at)),
            authorized_until_time: authorized.map(|authorized| timestamp(authorized.until)),
            delivered_through_time: Some(timestamp(subscription.delivered_through)),
            failing_since_time: subscription.failing_since.map(timestamp),
            last_error: subscription.last_error.unwrap_or_default(),
        }
    }
}
