//! The operations on subscriptions, a part of the table of all operations.

use axum::routing::{delete, get, patch, post};
use utoipa::openapi::HttpMethod;

use super::{
    operation::{DEFAULT, HttpOperation, OperationResponse, QueryOption},
    schemas::register,
    subscriptions::{
        CreateSubscriptionBody, SubscriptionJson, SubscriptionsJson, UpdateSubscriptionBody,
        create_subscription, delete_subscription, get_subscription, list_subscriptions,
        reauthorize_subscription, update_subscription,
    },
};

const ALL: &str = "/subscriptions";
const ONE: &str = "/subscriptions/{id}";

/// The operations on subscriptions.
pub(super) const SUBSCRIPTION_OPERATIONS: [HttpOperation; 6] = [
    HttpOperation {
        name: "create_subscription",
        path: ALL,
        route: || post(create_subscription),
        summary: "Make a subscription",
        description: "From then on the service sends a notification to the notificationUrl when the presence of one \
                      of the users changes. First it sends `?validationToken=…` to both URLs, which must answer 200 \
                      with the token as text/plain within 10 s each. A notification is repeated until the URL \
                      answers 2xx, with the newest presences; 410 ends the subscription.",
        body: Some(register::<CreateSubscriptionBody>),
        response: OperationResponse::Created(register::<SubscriptionJson>),
        ..DEFAULT
    },
    HttpOperation {
        name: "list_subscriptions",
        method: HttpMethod::Get,
        path: ALL,
        route: || get(list_subscriptions),
        summary: "List subscriptions",
        description: "Those of the caller's application, and with Presence.Manage.All those of all applications of \
                      the tenant. A page can be short or empty and still have an @odata.nextLink.",
        response: OperationResponse::Json(register::<SubscriptionsJson>),
        query: &[QueryOption::SubscriptionsTop, QueryOption::SkipToken],
        ..DEFAULT
    },
    HttpOperation {
        name: "get_subscription",
        method: HttpMethod::Get,
        path: ONE,
        route: || get(get_subscription),
        summary: "Get a subscription",
        description: "That of another application is 404, unless the caller has Presence.Manage.All.",
        response: OperationResponse::Json(register::<SubscriptionJson>),
        ..DEFAULT
    },
    HttpOperation {
        name: "update_subscription",
        method: HttpMethod::Patch,
        path: ONE,
        route: || patch(update_subscription),
        summary: "Change a subscription",
        description: "Changes when it ends, or its certificate, and authorizes it with the access token of the call.",
        body: Some(register::<UpdateSubscriptionBody>),
        response: OperationResponse::Json(register::<SubscriptionJson>),
        ..DEFAULT
    },
    HttpOperation {
        name: "delete_subscription",
        method: HttpMethod::Delete,
        path: ONE,
        route: || delete(delete_subscription),
        summary: "End a subscription",
        description: "With Presence.Manage.All also that of another application. For a few seconds notifications of \
                      another replica can still arrive.",
        response: OperationResponse::NoContent,
        ..DEFAULT
    },
    HttpOperation {
        name: "reauthorize_subscription",
        path: "/subscriptions/{id}/reauthorize",
        route: || post(reauthorize_subscription),
        summary: "Authorize a subscription again",
        description: "The access token of the call authorizes it from then on. What changed meanwhile is sent.",
        response: OperationResponse::NoContent,
        ..DEFAULT
    },
];
