//! OData around the presences: query options, context strings, links.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use http::{HeaderMap, header::HOST, uri::Authority};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{matched::Matched, refusal::Refusal, state::HttpState};
use crate::{presence::UserId, service::Input};

/// What is left as it is of an id in a link or a context.
const IN_LINK: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// The properties that `$select` takes.
pub(super) const PROPERTIES: [&str; 7] = [
    "id",
    "availability",
    "activity",
    "outOfOfficeSettings",
    "statusMessage",
    "sequenceNumber",
    "workLocation",
];

/// `$select`: which properties of a presence the answer has.
#[derive(Debug)]
pub(super) struct Select(Option<Vec<&'static str>>);

/// The options of a list: `$select`, and which page of which size.
#[derive(Debug)]
pub(super) struct ListOptions {
    pub(super) select: Select,
    /// `$top`.
    pub(super) page_size: Input<u32>,
    /// `$skiptoken`, from the link to the page.
    pub(super) page_token: Input<String>,
}

impl<S: Sync> FromRequestParts<S> for Select {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let [select] = options(parts, ["$select"])?;
        Self::parse(select)
    }
}

impl<S: Sync> FromRequestParts<S> for ListOptions {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let [select, top, token] = options(parts, ["$select", "$top", "$skiptoken"])?;
        let given = |text: Option<String>| text.map_or(Input::Missing, Input::text);
        Ok(Self { select: Select::parse(select)?, page_size: given(top).parse(), page_token: given(token) })
    }
}

/// `ids`: the users that are asked for.
#[derive(Debug)]
pub(super) struct UserIds(pub(super) Input<Vec<Input<String>>>);

impl<S: Sync> FromRequestParts<S> for UserIds {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let lists: Vec<_> = query.filter(|(name, _)| name == "ids").map(|(_, list)| list).collect();
        let ids = match lists.as_slice() {
            [] => return Ok(Self(Input::Missing)),
            // Split once it is decoded: what browsers make of a list has its commas encoded.
            [list] => list.split(',').map(ToOwned::to_owned).map(Input::text).collect(),
            // Input several times, each is one id, which may hold a comma.
            ids => ids.iter().map(|id| Input::text(id.to_string())).collect(),
        };
        Ok(Self(Input::Value(ids)))
    }
}

/// No options at all.
#[derive(Debug)]
pub(super) struct NoOptions;

impl<S: Sync> FromRequestParts<S> for NoOptions {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let [] = options(parts, [])?;
        Ok(Self)
    }
}

/// The values of the query options that are allowed; others of OData's are
/// refused, for the answer would not be what was asked for. What does not begin
/// with `$` is none of them.
fn options<const N: usize>(parts: &Parts, allowed: [&str; N]) -> Result<[Option<String>; N], Refusal> {
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        let slot = allowed.iter().position(|of| *of == name).and_then(|place| values.get_mut(place));
        match slot {
            Some(slot @ None) => *slot = Some(value.into_owned()),
            Some(Some(_)) => return Err(Refusal::field(&name, "stands there twice")),
            None if name.starts_with('$') => {
                let what = match allowed.join(", ").as_str() {
                    "" => "is not supported here".to_owned(),
                    allowed => format!("is not supported here; use {allowed}"),
                };
                return Err(Refusal::field(&name, &what));
            }
            None => {}
        }
    }
    Ok(values)
}

impl Select {
    fn parse(text: Option<String>) -> Result<Self, Refusal> {
        let Some(text) = text else { return Ok(Self(None)) };
        let mut selected = Vec::new();
        for name in text.split(',').map(str::trim) {
            if name == "*" {
                return Ok(Self(None));
            }
            let Some(property) = PROPERTIES.iter().find(|property| **property == name) else {
                let allowed = PROPERTIES.join(", ");
                let what = format!("must name properties among {allowed}, not {name:?}");
                return Err(Refusal::field("$select", &what));
            };
            selected.push(*property);
        }
        Ok(Self(Some(selected)))
    }

    /// The selected properties; `None` for all.
    pub(super) fn properties(&self) -> Option<&[&'static str]> {
        self.0.as_deref()
    }

    /// As a context string names it: `(availability,activity)`.
    fn suffix(&self) -> String {
        self.0.as_ref().map_or_else(String::new, |selected| format!("({})", selected.join(",")))
    }
}

/// The URL that the paths begin with, as the caller wrote it: scheme, host and
/// version. Links and contexts begin with it, too.
#[derive(Debug)]
pub(super) struct ServiceRoot {
    /// `http://localhost:8080/v1.0`.
    url: String,
    /// Whether the presence was found below `/communications`.
    communications: bool,
}

impl<S: Sync> FromRequestParts<S> for ServiceRoot
where
    Arc<HttpState>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = parts.extensions.get::<Matched>();
        let version = path.map_or("", |path| path.version);
        let encrypted = Arc::<HttpState>::from_ref(state).encrypted;
        let scheme = if encrypted { "https" } else { forwarded_scheme(&parts.headers) };
        let host = authority(parts);
        let host = host.as_ref().map_or("", Authority::as_str);
        Ok(Self {
            url: format!("{scheme}://{host}{version}"),
            communications: path.is_some_and(|path| path.communications),
        })
    }
}

impl ServiceRoot {
    /// The context of one presence.
    pub(super) fn entity_context(&self, user_id: &UserId, select: &Select) -> String {
        let (url, select) = (&self.url, select.suffix());
        if self.communications {
            return format!("{url}/$metadata#communications/presences{select}/$entity");
        }
        let id = utf8_percent_encode(user_id.as_str(), IN_LINK);
        format!("{url}/$metadata#users('{id}')/presence{select}/$entity")
    }

    /// The context of a page of presences.
    pub(super) fn list_context(&self, select: &Select) -> String {
        format!("{}/$metadata#communications/presences{}", self.url, select.suffix())
    }

    /// The context of presences that were asked for by their ids.
    pub(super) fn collection_context(&self) -> String {
        format!("{}/$metadata#Collection(microsoft.graph.presence)", self.url)
    }

    /// The page behind `user_id`.
    pub(super) fn next_link(&self, user_id: &UserId, page_size: &Input<u32>, select: &Select) -> String {
        let mut link = format!("{}/communications/presences?", self.url);
        if let Input::Value(size) = page_size {
            link = format!("{link}$top={size}&");
        }
        if let Some(selected) = &select.0 {
            link = format!("{link}$select={}&", selected.join(","));
        }
        format!("{link}$skiptoken={}", utf8_percent_encode(user_id.as_str(), IN_LINK))
    }
}

/// The host that the caller asked.
pub(super) fn authority(parts: &Parts) -> Option<Authority> {
    let header = || parts.headers.get(HOST)?.to_str().ok()?.parse().ok();
    parts.uri.authority().cloned().or_else(header)
}

/// `https` if a proxy in front of us says that it was asked so.
fn forwarded_scheme(headers: &HeaderMap) -> &'static str {
    match headers.get("x-forwarded-proto").map(|value| value.as_bytes().eq_ignore_ascii_case(b"https")) {
        Some(true) => "https",
        _ => "http",
    }
}
