//! The notifications of a subscription, in either form.

use std::sync::Arc;

use super::message::{BuildError, Message};
use crate::{
    notify::{
        Body, Certificate, Order, PayloadError, RichContent, ServiceKey, SigningKey, graph_body,
        graph_reauthorization, service_body, service_reauthorization, signatures,
    },
    presence::{Presence, PresenceTimes, Timestamp},
    store::{NotificationFormat, Subscription},
};

/// The secrets of a subscription, ready to use.
#[derive(Debug)]
pub(super) struct Secrets {
    certificate: Option<Certificate>,
    signing_keys: Vec<SigningKey>,
}

impl Secrets {
    /// Reads the secrets. They were checked when the subscription was made. The error says which cannot be
    /// read.
    pub(super) fn of(subscription: &Subscription) -> Result<Self, String> {
        let certificate = subscription.request.certificate.as_ref();
        let certificate = certificate.map(|certificate| Certificate::parse_stored(&certificate.base64));
        let certificate =
            certificate.transpose().map_err(|error| format!("the stored certificate {error}"))?;
        let keys = subscription.request.signing_keys.iter().map(|key| SigningKey::parse(key));
        let signing_keys =
            keys.collect::<Result<_, _>>().map_err(|error| format!("a stored signing key {error}"))?;
        Ok(Self { certificate, signing_keys })
    }

    /// The notification about presences, as many as fit. Returns the number of them that it has.
    pub(super) fn notification(
        &self,
        subscription: &Subscription,
        order: Order,
        presences: &[Arc<Presence>],
        key: Option<&ServiceKey>,
        now: Timestamp,
    ) -> Result<(Message, usize), BuildError> {
        let Body { json, presences } = match subscription.request.format {
            NotificationFormat::Graph => self.graph(subscription, presences, key, now)?,
            NotificationFormat::Service => {
                let timed: Vec<_> = presences.iter().map(|presence| with_time(presence)).collect();
                service_body(subscription, order, &timed, now)?
            }
        };
        Ok((self.signed(subscription, order, json, now), presences))
    }

    fn graph(
        &self,
        subscription: &Subscription,
        presences: &[Arc<Presence>],
        key: Option<&ServiceKey>,
        now: Timestamp,
    ) -> Result<Body, BuildError> {
        let presences = presences.iter().map(Arc::as_ref);
        let Some((certificate, stored)) =
            self.certificate.as_ref().zip(subscription.request.certificate.as_ref())
        else {
            return Ok(graph_body(subscription, presences, None)?);
        };
        let application = subscription.created_by.application_id.as_ref().map_or("", |id| id.as_str());
        let key = key.ok_or(BuildError::NoServiceKey)?;
        let token = key.validation_token(subscription.key.tenant_id, application, now);
        let validation_token = &*token.map_err(PayloadError::from)?;
        let rich = RichContent { certificate, certificate_id: &stored.id, validation_token };
        Ok(graph_body(subscription, presences, Some(rich))?)
    }

    /// The notification that asks the subscriber to authorize the subscription again.
    pub(super) fn reauthorization(
        &self,
        subscription: &Subscription,
        order: Order,
        now: Timestamp,
    ) -> Result<Message, BuildError> {
        let body = match subscription.request.format {
            NotificationFormat::Graph => graph_reauthorization(subscription)?,
            NotificationFormat::Service => service_reauthorization(subscription, now)?,
        };
        Ok(self.signed(subscription, order, body, now))
    }

    /// Adds the headers of Standard Webhooks, if the subscription has keys.
    fn signed(&self, subscription: &Subscription, order: Order, body: Vec<u8>, now: Timestamp) -> Message {
        if self.signing_keys.is_empty() {
            return Message { body, headers: Vec::new() };
        }
        let Order { generation, count } = order;
        let id = format!("{}-{generation}-{count}", subscription.key.subscription_id);
        let timestamp = now.as_millis().div_euclid(1_000);
        let signature = signatures(&self.signing_keys, &id, timestamp, &body);
        let headers = vec![
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature),
        ];
        Message { body, headers }
    }
}

/// The presence with the time of its last change. The history, which says since when the pair is shown, is
/// not read for a notification.
fn with_time(presence: &Presence) -> Presence {
    let change_time = Some(presence.sequence_number.changed_at());
    Presence { times: Some(PresenceTimes { change_time, ..PresenceTimes::default() }), ..presence.clone() }
}
