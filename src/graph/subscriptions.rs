//! Subscriptions to change notifications. `/openapi.json` publishes the doc comments of the types.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    body::{BulkJson, Json, boolean, text},
    matched::Matched,
    odata::{ServiceRoot, options},
    refusal::Refusal,
    resource::resource,
    responses::{iso_duration, json, utc},
    state::HttpState,
};
use crate::{
    presence::{parse_duration, parse_instant},
    server::LongWait,
    service::{Caller, CertificateInput, CreateSubscription, Input, ListSubscriptions, UpdateSubscription},
    store::{NotificationFormat, Subscription},
};

/// The version of TLS that the service uses at least. Graph: latestSupportedTlsVersion.
const TLS_VERSION: &str = "v1_2";

/// The subscription to make. Graph: subscription.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CreateSubscriptionRequest)]
pub(super) struct CreateSubscriptionBody {
    /// Must be `updated`.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, example = "updated")]
    change_type: Input<String>,
    /// The URL that receives notifications: https, on the public internet unless the service allows
    /// others, without a user and a fragment, at most 2,048 characters.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, example = "https://example.com/notify")]
    notification_url: Input<String>,
    /// The URL that receives lifecycle notifications.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, example = "https://example.com/lifecycle")]
    lifecycle_notification_url: Input<String>,
    /// The users: `communications/presences/{id}`, `communications/presences?$filter=id in ('{id}', …)` with
    /// up to 650 ids, or `communications/presences` for all users of the tenant, which is an extension.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, example = "/communications/presences/fa8bf3dc-eca7-46b7-bad1-db199b62afc3")]
    resource: Input<String>,
    /// When the subscription ends: a date and time with an offset, at most an hour from now, or what the
    /// service is set to.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = String, required = true, format = DateTime, example = "2026-11-22T18:00:00Z")]
    expiration_date_time: Input<String>,
    /// A text that each notification repeats: at most 128 characters.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, max_length = 128, example = "secret")]
    client_state: Input<String>,
    /// Whether notifications have the presence, encrypted.
    #[serde(default, deserialize_with = "boolean")]
    #[schema(value_type = Option<bool>)]
    include_resource_data: Input<bool>,
    /// The certificate that encrypts presences: X.509 in DER and base64, with an RSA key of 2048 to 4096
    /// bits. Required with `includeResourceData`.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>)]
    encryption_certificate: Input<String>,
    /// Your name of the certificate: at most 128 characters. Required with `includeResourceData`.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, max_length = 128, example = "2026-11")]
    encryption_certificate_id: Input<String>,
    /// For how long a lower availability must last before it is sent: an ISO 8601 duration up to PT1M.
    /// The default is PT0S. An extension.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, example = "PT5S")]
    settle_duration: Input<String>,
    /// Has no effect: the service uses TLS 1.2 or later.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, example = "v1_2")]
    #[expect(dead_code, reason = "SDKs send it; it is known and has no effect")]
    latest_supported_tls_version: Input<String>,
}

impl From<CreateSubscriptionBody> for CreateSubscription {
    fn from(body: CreateSubscriptionBody) -> Self {
        Self {
            format: NotificationFormat::Graph,
            users: resource(body.resource),
            change_type: body.change_type,
            url: body.notification_url,
            lifecycle_url: body.lifecycle_notification_url,
            client_state: body.client_state,
            expires_at: body.expiration_date_time.parse_with(parse_instant),
            certificate: CertificateInput {
                include_presences: body.include_resource_data,
                certificate: body.encryption_certificate,
                certificate_id: body.encryption_certificate_id,
            },
            settle: body.settle_duration.parse_with(|text| parse_duration(text).ok()),
            signing_keys: Vec::new(),
        }
    }
}

/// The change of a subscription, which also authorizes it again. Graph: update subscription.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UpdateSubscriptionRequest)]
pub(super) struct UpdateSubscriptionBody {
    /// When the subscription ends, as when it was made.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T19:00:00Z")]
    expiration_date_time: Input<String>,
    /// Another certificate, if notifications have presences.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>)]
    encryption_certificate: Input<String>,
    /// Your name of that certificate.
    #[serde(default, deserialize_with = "text")]
    #[schema(value_type = Option<String>, max_length = 128, example = "2026-12")]
    encryption_certificate_id: Input<String>,
}

/// A subscription; it never has the certificate. Graph: subscription.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Subscription)]
pub(super) struct SubscriptionJson {
    /// The OData context of the response. Only the response with a single subscription has it.
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    /// The id of the subscription.
    id: String,
    resource: String,
    /// The application that made it; null if its token named none.
    application_id: Option<String>,
    change_type: &'static str,
    client_state: Option<String>,
    /// A list has the URL without its query, which can contain a secret.
    notification_url: String,
    lifecycle_notification_url: Option<String>,
    #[schema(example = "2026-11-22T18:00:00.0000000Z")]
    expiration_date_time: String,
    /// The user for whom it was made, or else the application.
    creator_id: Option<String>,
    include_resource_data: bool,
    latest_supported_tls_version: &'static str,
    encryption_certificate_id: Option<String>,
    /// For how long a lower availability must last. An extension.
    #[schema(example = "PT0S")]
    settle_duration: String,
}

/// Subscriptions. Graph: collection of subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subscriptions)]
pub(super) struct SubscriptionsJson {
    /// The OData context of the response.
    #[serde(rename = "@odata.context")]
    context: String,
    /// The URL of the next page; omitted on the last page.
    #[serde(rename = "@odata.nextLink", skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
    /// The subscriptions, in the order of their ids.
    value: Vec<SubscriptionJson>,
}

impl From<Subscription> for SubscriptionJson {
    fn from(Subscription { key, created_by, request, expires_at, .. }: Subscription) -> Self {
        let application_id = created_by.application_id.map(|id| id.to_string());
        let user_id = created_by.user_id.map(|id| id.to_string());
        Self {
            context: None,
            id: key.subscription_id.to_string(),
            resource: request.resource,
            creator_id: user_id.or_else(|| application_id.clone()),
            application_id,
            change_type: "updated",
            client_state: request.client_state,
            notification_url: request.url,
            lifecycle_notification_url: request.lifecycle_url,
            expiration_date_time: utc(expires_at),
            include_resource_data: request.certificate.is_some(),
            latest_supported_tls_version: TLS_VERSION,
            encryption_certificate_id: request.certificate.map(|certificate| certificate.id),
            settle_duration: iso_duration(request.settle_time),
        }
    }
}

/// The subscription that the path names.
#[derive(Debug)]
pub(super) struct SubscriptionId(Input<String>);

impl<S: Sync> FromRequestParts<S> for SubscriptionId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let id = parts.extensions.get().and_then(|matched: &Matched| matched.id.clone());
        Ok(Self(id.map_or(Input::Missing, Input::text)))
    }
}

/// The query options of a list of subscriptions.
#[derive(Debug)]
pub(super) struct PageOptions(ListSubscriptions);

impl<S: Sync> FromRequestParts<S> for PageOptions {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let [top, token] = options(parts, ["$top", "$skiptoken"]);
        let input = |text: Option<String>| text.map_or(Input::Missing, Input::text);
        Ok(Self(ListSubscriptions { page_size: input(top).parse(), page_token: input(token) }))
    }
}

fn single(root: &ServiceRoot, subscription: Subscription) -> Result<Response, Refusal> {
    let context = Some(root.subscription_context());
    json(&SubscriptionJson { context, ..subscription.into() })
}

pub(super) async fn create_subscription(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    wait: Option<Extension<LongWait>>,
    root: ServiceRoot,
    BulkJson(body): BulkJson<CreateSubscriptionBody>,
) -> Result<Response, Refusal> {
    if let Some(Extension(wait)) = wait {
        wait.begin();
    }
    let (subscription, _) = state.service.create_subscription(&caller, body.into()).await?;
    Ok((StatusCode::CREATED, single(&root, subscription)?).into_response())
}

pub(super) async fn get_subscription(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    root: ServiceRoot,
    SubscriptionId(id): SubscriptionId,
) -> Result<Response, Refusal> {
    single(&root, state.service.get_subscription(&caller, id).await?)
}

pub(super) async fn list_subscriptions(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    root: ServiceRoot,
    PageOptions(request): PageOptions,
) -> Result<Response, Refusal> {
    let size = match request.page_size {
        Input::Value(size) => format!("$top={size}&"),
        Input::Missing | Input::Unreadable(_) => String::new(),
    };
    let page = state.service.list_subscriptions(&caller, request).await?;
    json(&SubscriptionsJson {
        context: root.subscriptions_context(),
        next_link: page.next.map(|token| root.next_page(&format!("{size}$skiptoken={token}"))),
        value: page.subscriptions.into_iter().map(Into::into).collect(),
    })
}

pub(super) async fn update_subscription(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    root: ServiceRoot,
    SubscriptionId(subscription_id): SubscriptionId,
    Json(body): Json<UpdateSubscriptionBody>,
) -> Result<Response, Refusal> {
    let request = UpdateSubscription {
        subscription_id,
        expires_at: body.expiration_date_time.parse_with(parse_instant),
        certificate: body.encryption_certificate,
        certificate_id: body.encryption_certificate_id,
        signing_keys: Vec::new(),
    };
    single(&root, state.service.update_subscription(&caller, request).await?)
}

pub(super) async fn reauthorize_subscription(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    SubscriptionId(subscription_id): SubscriptionId,
) -> Result<StatusCode, Refusal> {
    let request = UpdateSubscription { subscription_id, ..UpdateSubscription::default() };
    state.service.update_subscription(&caller, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete_subscription(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    SubscriptionId(id): SubscriptionId,
) -> Result<StatusCode, Refusal> {
    state.service.delete_subscription(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
