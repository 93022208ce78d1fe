//! `/me`: the user of the access token, as the token's claims describe it. No database is read, and only
//! the claims that [`Profile`] has leave the service.

use axum::{Extension, extract::FromRequestParts, http::request::Parts, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    odata::{ServiceRoot, options},
    refusal::Refusal,
    responses::{json, reduced},
    unknown::{COLLECTED_MAX, Unknown, UnknownName},
};
use crate::{
    presence::UserId,
    service::{Caller, Profile},
};

/// The properties of a user.
pub(super) const USER_PROPERTIES: [&str; 4] = ["id", "displayName", "userPrincipalName", "mail"];

/// The user of the access token; `$select` reduces the properties. Graph: user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(super) struct UserJson<'a> {
    /// The OData context of the response.
    #[serde(rename = "@odata.context")]
    #[schema(required = false)]
    context: String,
    /// The user id, from the claim oid; a GUID in lower case.
    #[schema(required = false)]
    id: &'a str,
    /// The name of the user, from the claim name.
    display_name: Option<&'a str>,
    /// The name with which the user signs in, from the claim `preferred_username` or upn.
    user_principal_name: Option<&'a str>,
    /// The email address, from the claim email.
    mail: Option<&'a str>,
}

/// `$select`: the properties of a user that the response has; `None` for all.
///
/// Graph's user has properties that no claim has, such as `jobTitle`. An application that selects one
/// can do without it, so it is not refused, but named as an unknown property.
#[derive(Debug)]
pub(super) struct SelectOfUser(Option<Vec<&'static str>>);

impl<S: Sync> FromRequestParts<S> for SelectOfUser {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let [text] = options(parts, ["$select"]);
        let Some(text) = text else { return Ok(Self(None)) };
        let (mut selected, mut unknown, mut all) = (Vec::new(), Vec::new(), false);
        for name in text.split(',').map(str::trim) {
            match USER_PROPERTIES.iter().find(|property| property.eq_ignore_ascii_case(name)) {
                Some(property) if selected.contains(property) => {}
                Some(property) => selected.push(*property),
                None if name == "*" => all = true,
                None if name.is_empty() => {
                    let allowed = USER_PROPERTIES.join(", ");
                    let problem = format!("must name properties, such as {allowed}, got an empty name");
                    return Err(Refusal::field("$select", &problem));
                }
                None => unknown.push(name),
            }
        }
        if let Some(collected) = Unknown::of(&parts.extensions) {
            let unknown = unknown.into_iter().take(COLLECTED_MAX);
            collected.add(unknown.map(|name| UnknownName::selected(name, &USER_PROPERTIES)).collect())?;
        }
        Ok(Self(Some(selected).filter(|_| !all)))
    }
}

/// The user of the access token. As in Graph, an application's token has no `me`.
pub(super) fn user(caller: Option<&Caller>) -> Result<(&UserId, &Profile), Refusal> {
    match caller {
        Some(caller) if caller.is_authenticated() => caller.user().ok_or_else(|| {
            Refusal::bad_request("/me request is only valid with delegated authentication flow.")
        }),
        _ => Err(Refusal::unauthenticated(
            "/me needs an access token, and authentication is off. Name the user in the path, as in \
             /users/{id}/presence.",
        )),
    }
}

pub(super) async fn get_me(
    Extension(caller): Extension<Caller>,
    root: ServiceRoot,
    SelectOfUser(selected): SelectOfUser,
) -> Result<Response, Refusal> {
    let (user_id, profile) = user(Some(&caller))?;
    let user = UserJson {
        context: root.user_context(selected.as_deref()),
        id: user_id.as_str(),
        display_name: profile.display_name.as_deref(),
        user_principal_name: profile.user_principal_name.as_deref(),
        mail: profile.mail.as_deref(),
    };
    match selected {
        Some(selected) => json(&reduced(&user, &selected)),
        None => json(&user),
    }
}
