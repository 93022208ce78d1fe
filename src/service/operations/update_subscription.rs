//! Changes a subscription, and authorizes it again. Graph: update subscription, reauthorize.

use crate::{
    presence::Timestamp,
    service::{Caller, Error, Input, Operation, Service},
    store::{EncryptionCertificate, Subscription, SubscriptionRequest, UpdateSubscription as Change},
};

/// A change of a subscription, as a caller sent it.
#[derive(Debug, Default)]
pub struct UpdateSubscription {
    /// Required.
    pub subscription_id: Input<String>,
    /// When it ends; unchanged if missing.
    pub expires_at: Input<Timestamp>,
    /// Another certificate; unchanged if missing. Only if the subscription has one.
    pub certificate: Input<String>,
    /// The name of that certificate; unchanged if missing.
    pub certificate_id: Input<String>,
    /// The keys that sign notifications; unchanged if there are none.
    pub signing_keys: Vec<String>,
}

impl Service {
    /// Changes a subscription of the caller's application. It is authorized by the caller's token from
    /// then on, also if nothing else changes.
    pub async fn update_subscription(
        &self,
        caller: &Caller,
        request: UpdateSubscription,
    ) -> Result<Subscription, Error> {
        let UpdateSubscription { subscription_id, expires_at, certificate, certificate_id, signing_keys } =
            request;
        let (mut validator, now) = (self.validator(), self.clock.now());
        let subscription_id = validator.subscription_id(subscription_id);
        let age_max = self.subscriptions.limits.age_max;
        let expires_at = (expires_at != Input::Missing)
            .then(|| validator.subscription_end(expires_at, None, now, age_max))
            .flatten();
        let certificate =
            (certificate != Input::Missing).then(|| validator.certificate_text(certificate, now)).flatten();
        let certificate_id = validator.certificate_id(certificate_id);
        let signing_keys = validator.signing_keys(signing_keys);
        let (subscription_id, signing_keys) = validator.finish(subscription_id.zip(signing_keys))?;
        let found = self.own_subscription(caller, Operation::UpdateSubscription, subscription_id).await?;
        let changed = changed(&found.request, certificate, certificate_id, signing_keys);
        let change = Change {
            key: found.key,
            expires_at,
            authorized_until: caller.expires_at(),
            request: Some(changed).filter(|changed| *changed != found.request),
        };
        self.batches.update_subscription.call_one(change).await?.ok_or_else(Error::subscription_not_found)
    }
}

/// The request with other secrets. A subscription without presences stays without a certificate.
fn changed(
    before: &SubscriptionRequest,
    certificate: Option<String>,
    certificate_id: Option<String>,
    signing_keys: Vec<String>,
) -> SubscriptionRequest {
    let mut request = before.clone();
    if let Some(EncryptionCertificate { base64, id }) = &mut request.certificate {
        *base64 = certificate.unwrap_or_else(|| base64.clone());
        *id = certificate_id.unwrap_or_else(|| id.clone());
    }
    if !signing_keys.is_empty() {
        request.signing_keys = signing_keys;
    }
    request
}
