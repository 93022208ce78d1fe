//! Makes a subscription to change notifications. Graph: create subscription.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    notify::{Url, generate_signing_key},
    presence::Timestamp,
    service::{
        Caller, CertificateInput, Error, Field, Input, Operation, Received, Rule, Service, SubscribedUsers,
        SubscriptionLimits, validator::Validator, watched::ValidUsers,
    },
    store::{
        self, CreateOutcome, ListSubscriptions, NotificationFormat, Subscription, SubscriptionKey,
        SubscriptionRequest,
    },
};

/// The text that a subscription of the gRPC API has as resource. Graph: resource.
const EVERYBODY: &str = "communications/presences";

/// A subscription to make, as a caller sent it.
#[derive(Debug)]
pub struct CreateSubscription {
    /// The form of its notifications.
    pub format: NotificationFormat,
    /// The users; required.
    pub users: Input<SubscribedUsers>,
    /// `updated`; required in the HTTP API.
    pub change_type: Input<String>,
    /// The receiver of notifications; required.
    pub url: Input<String>,
    /// The receiver of lifecycle notifications.
    pub lifecycle_url: Input<String>,
    /// A text that each notification repeats: 1 to 128 characters.
    pub client_state: Input<String>,
    /// When it ends; required in the HTTP API, else as late as possible.
    pub expires_at: Input<Timestamp>,
    /// The certificate with which presences are encrypted.
    pub certificate: CertificateInput,
    /// How long a lower availability must last: up to a minute, zero if missing.
    pub settle: Input<Duration>,
    /// Up to two keys that sign notifications of the format of this service; made if there are none.
    pub signing_keys: Vec<String>,
}

/// A valid [`CreateSubscription`].
struct Valid {
    request: SubscriptionRequest,
    url: Url,
    lifecycle_url: Option<Url>,
    expires_at: Timestamp,
}

impl Service {
    /// Makes a subscription after its receivers have said that they want it. Returns it, and the signing
    /// key if the service made one.
    ///
    /// The receivers have 10 s each, so a call can take longer than others.
    pub async fn create_subscription(
        self: &Arc<Self>,
        caller: &Caller,
        request: CreateSubscription,
    ) -> Result<(Subscription, Option<String>), Error> {
        let mut validator = self.validator();
        let valid = self.validate_subscription(request, &mut validator);
        let mut valid = validator.finish(valid)?;
        let tenant_id = caller.authorize_tenant(Operation::CreateSubscription)?;
        let SubscriptionLimits { application_max, tenant_max, one_of_each_user, .. } =
            self.subscriptions.limits;
        if one_of_each_user && self.has_subscription(caller, tenant_id).await? {
            return Err(Error::subscription_exists());
        }
        let needs_key =
            valid.request.format == NotificationFormat::Service && valid.request.signing_keys.is_empty();
        let made = needs_key.then(generate_signing_key).transpose();
        let made = made.map_err(|failure| Error::internal(failure.to_string()))?;
        valid.request.signing_keys.extend(made.clone());
        let urls: Vec<_> = [&valid.url].into_iter().chain(&valid.lifecycle_url).collect();
        self.validate_receivers(caller, &urls).await?;
        let created = self.batches.create_subscription.call_one(store::CreateSubscription {
            key: SubscriptionKey { tenant_id, subscription_id: Uuid::new_v4() },
            created_by: caller.author(),
            request: valid.request,
            expires_at: valid.expires_at,
            authorized_until: caller.expires_at(),
            application_max,
            tenant_max,
        });
        match created.await? {
            CreateOutcome::Created(subscription) => {
                self.subscriptions.created.notify_one();
                Ok((*subscription, made))
            }
            CreateOutcome::ApplicationFull => {
                Err(Error::application_has_too_many_subscriptions(application_max))
            }
            CreateOutcome::TenantFull => Err(Error::tenant_has_too_many_subscriptions(tenant_max)),
        }
    }

    /// The valid request; `None` if `validator` recorded a violation.
    fn validate_subscription(&self, given: CreateSubscription, validator: &mut Validator) -> Option<Valid> {
        let (now, receivers) = (self.clock.now(), &self.subscriptions.receivers);
        let is_graph = given.format == NotificationFormat::Graph;
        let users = validator.subscribed_users(given.users);
        if is_graph {
            validator.change_type(given.change_type);
        }
        let url = validator.receiver(Field::Url, given.url, receivers);
        let lifecycle_url = match given.lifecycle_url {
            Input::Missing => Some(None),
            given => validator.receiver(Field::LifecycleUrl, given, receivers).map(Some),
        };
        let client_state = validator.short_text(Field::ClientState, given.client_state);
        let age_max = self.subscriptions.limits.age_max;
        let latest = (!is_graph).then(|| now + age_max);
        let expires_at = validator.subscription_end(given.expires_at, latest, now, age_max);
        let certificate = validator.certificate(given.certificate, now);
        let settle_time = validator.settle(given.settle);
        let signing_keys = validator.signing_keys(given.signing_keys);
        let (resource, user_ids) = users?;
        let (url, lifecycle_url) = (url?, lifecycle_url?);
        let request = SubscriptionRequest {
            format: given.format,
            resource: named(resource, &user_ids),
            user_ids,
            url: url.to_string(),
            lifecycle_url: lifecycle_url.as_ref().map(Url::to_string),
            client_state,
            certificate,
            settle_time: settle_time?,
            signing_keys: signing_keys?,
        };
        Some(Valid { request, url, lifecycle_url, expires_at: expires_at? })
    }

    /// Whether the caller's application and user have a subscription.
    async fn has_subscription(&self, caller: &Caller, tenant_id: Uuid) -> Result<bool, Error> {
        let (_, application) = caller.application();
        let mut next =
            ListSubscriptions { tenant_id, application: Some(application.cloned()), after: None, limit: 100 };
        let author = caller.author();
        loop {
            let page = self.batches.subscriptions.call_one(next.clone()).await?;
            if page.iter().any(|subscription| subscription.created_by == author) {
                return Ok(true);
            }
            match page.last() {
                Some(last) => next.after = Some(last.key.subscription_id),
                None => return Ok(false),
            }
        }
    }
}

/// The users in Graph's terms, if the subscriber did not use them.
fn named(resource: String, user_ids: &ValidUsers) -> String {
    match user_ids {
        _ if !resource.is_empty() => resource,
        None => EVERYBODY.to_owned(),
        Some(user_ids) => {
            let quoted = user_ids.iter().map(|user_id| format!("'{}'", user_id.as_str().replace('\'', "''")));
            format!("{EVERYBODY}?$filter=id in ({})", quoted.collect::<Vec<_>>().join(","))
        }
    }
}

impl Validator {
    /// The kind of changes; required.
    fn change_type(&mut self, given: Input<String>) {
        let given = self.required(Field::ChangeType, given, Rule::ChangeType);
        if let Some(text) = given.filter(|text| !text.eq_ignore_ascii_case("updated")) {
            let received = Received::Text(format!("{text:?}"));
            self.add(Field::ChangeType, Rule::ChangeType, Some(received));
        }
    }
}
