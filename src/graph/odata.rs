//! OData's parts of requests and responses: query options, contexts and links.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use http::{HeaderMap, header::HOST, uri::Authority};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    filter::Filter,
    matched::Matched,
    refusal::Refusal,
    state::HttpState,
    unknown::{COLLECTED_MAX, UnknownName},
};
use crate::{
    presence::UserId,
    service::{Input, ListPresences, View},
};

/// The characters of an id that are percent-encoded in links and contexts.
const ENCODED_IN_LINKS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// The properties that `$select` can name.
pub(super) const PROPERTIES: [&str; 7] = [
    "id",
    "availability",
    "activity",
    "outOfOfficeSettings",
    "statusMessage",
    "sequenceNumber",
    "workLocation",
];

/// The properties beyond Graph's, which need the history. `$select` can name them, and `Prefer:
/// include-extensions` adds them.
pub(super) const EXTENSIONS: [&str; 3] = ["lastChangeDateTime", "lastActiveDateTime", "historyStartDateTime"];

/// The preference that adds [`EXTENSIONS`].
const INCLUDE_EXTENSIONS: &str = "include-extensions";

/// The query option with the users to watch, which may be repeated.
pub(super) const IDS: &str = "ids";

/// The query options that OData defines.
const SYSTEM_OPTIONS: [&str; 15] = [
    "apply",
    "compute",
    "count",
    "deltatoken",
    "expand",
    "filter",
    "format",
    "index",
    "orderby",
    "schemaversion",
    "search",
    "select",
    "skip",
    "skiptoken",
    "top",
];

/// The properties of a presence that the response has: `$select` and the header `Prefer`.
#[derive(Debug)]
pub(super) struct Select {
    /// `$select`; `None` for all of Graph's.
    selected: Option<Vec<&'static str>>,
    /// Whether the caller prefers the extensions, too.
    extensions: bool,
}

/// The query options of a list.
#[derive(Debug)]
pub(super) struct ListOptions {
    pub(super) select: Select,
    /// `$top`.
    pub(super) page_size: Input<u32>,
    /// `$skiptoken`, which the link to a page includes.
    pub(super) page_token: Input<String>,
    /// `$filter`.
    pub(super) filter: Filter,
}

impl ListOptions {
    /// The request for the page.
    pub(super) fn request(&self) -> ListPresences {
        ListPresences {
            availabilities: self.filter.availabilities(),
            page_size: self.page_size.clone(),
            page_token: self.page_token.clone(),
            view: self.select.view(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Select {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let [select] = options(parts, ["$select"]);
        Self::parse(select, &parts.headers)
    }
}

impl<S: Sync> FromRequestParts<S> for ListOptions {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let [select, top, token, filter] = options(parts, ["$select", "$top", "$skiptoken", "$filter"]);
        let input = |text: Option<String>| text.map_or(Input::Missing, Input::text);
        Ok(Self {
            select: Select::parse(select, &parts.headers)?,
            page_size: input(top).parse(),
            page_token: input(token),
            filter: Filter(filter),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Filter {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let [filter] = options(parts, ["$filter"]);
        Ok(Self(filter))
    }
}

/// `ids`: the users to watch.
#[derive(Debug)]
pub(super) struct UserIds(pub(super) Input<Vec<Input<String>>>);

impl<S: Sync> FromRequestParts<S> for UserIds {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let lists: Vec<_> = query.filter(|(name, _)| is_same(name, IDS)).map(|(_, list)| list).collect();
        let ids = match lists.as_slice() {
            [] => return Ok(Self(Input::Missing)),
            // Split after decoding, as browsers encode the commas of a list.
            [list] => list.split(',').map(ToOwned::to_owned).map(Input::text).collect(),
            // Of several parameters, each is one id, which may contain a comma.
            ids => ids.iter().map(|id| Input::text(id.to_string())).collect(),
        };
        Ok(Self(Input::Value(ids)))
    }
}

/// The input that an operation reads; any other is unknown to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Whether the operation has a request body.
    pub(super) body: bool,
    /// The query options.
    pub(super) options: Vec<&'static str>,
    /// Whether the response has data, which a query option of OData may change.
    pub(super) has_data: bool,
}

/// The values of query options, which [`unknown_options`] has checked.
pub(super) fn options<const N: usize>(parts: &Parts, names: [&str; N]) -> [Option<String>; N] {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    names.map(|option| {
        let mut options = form_urlencoded::parse(query);
        options.find(|(name, _)| is_same(name, option)).map(|(_, value)| value.into_owned())
    })
}

/// Returns the names of query options that the operation does not know. Refuses options that are
/// given twice, and those of OData if the response has data: it would not be the requested one.
pub(super) fn unknown_options(query: &str, known: &Known) -> Result<Vec<UnknownName>, Refusal> {
    let Known { options: known, has_data, .. } = known;
    let (mut given, mut unknown) = (Vec::new(), Vec::new());
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        let option = known.iter().find(|option| is_same(&name, option));
        match option {
            Some(option) if *option != IDS && given.contains(option) => {
                return Err(Refusal::field(&name, "is given more than once"));
            }
            Some(option) => given.push(*option),
            // A parameter alias of OData.
            None if name.starts_with('@') => {}
            None if *has_data && is_of_odata(&name) => {
                let problem = match known.join(", ").as_str() {
                    "" => "is not supported by this operation".to_owned(),
                    known => format!("is not supported by this operation. Supported: {known}"),
                };
                return Err(Refusal::field(&name, &problem));
            }
            None if unknown.len() < COLLECTED_MAX => {
                let name = UnknownName::option(&name, known);
                if !unknown.contains(&name) {
                    unknown.push(name);
                }
            }
            None => {}
        }
    }
    Ok(unknown)
}

/// Whether two names are of the same query option: case and a `$` at the start do not matter.
fn is_same(name: &str, other: &str) -> bool {
    fn bare(name: &str) -> &str {
        name.strip_prefix('$').unwrap_or(name)
    }
    bare(name).eq_ignore_ascii_case(bare(other))
}

fn is_of_odata(name: &str) -> bool {
    name.starts_with('$') || SYSTEM_OPTIONS.iter().any(|option| is_same(name, option))
}

impl Select {
    fn parse(text: Option<String>, headers: &HeaderMap) -> Result<Self, Refusal> {
        let extensions = prefers_extensions(headers);
        let Some(text) = text else { return Ok(Self { selected: None, extensions }) };
        let mut selected = Vec::new();
        for name in text.split(',').map(str::trim) {
            if name == "*" {
                return Ok(Self { selected: None, extensions });
            }
            let known = PROPERTIES.iter().chain(&EXTENSIONS);
            let Some(property) = known.clone().find(|property| **property == name) else {
                let allowed = known.copied().collect::<Vec<_>>().join(", ");
                let problem = format!("must name properties among {allowed}, got {name:?}");
                return Err(Refusal::field("$select", &problem));
            };
            selected.push(*property);
        }
        Ok(Self { selected: Some(selected), extensions: false })
    }

    /// The selected properties; `None` for all.
    pub(super) fn properties(&self) -> Option<&[&'static str]> {
        self.selected.as_deref()
    }

    /// The view of a presence that has the properties.
    pub(super) fn view(&self) -> Input<View> {
        let selects = |selected: &Vec<_>| EXTENSIONS.iter().any(|extension| selected.contains(extension));
        let is_full = self.selected.as_ref().map_or(self.extensions, selects);
        Input::Value(if is_full { View::Full } else { View::Basic })
    }

    /// The selection in a context: `(availability,activity)`.
    fn suffix(&self) -> String {
        self.selected.as_ref().map_or_else(String::new, |selected| format!("({})", selected.join(",")))
    }
}

/// Whether a header `Prefer` has the preference.
fn prefers_extensions(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ';'])).any(|preference| {
        let preference = preference.trim();
        preference.eq_ignore_ascii_case(INCLUDE_EXTENSIONS)
    })
}

/// The URL of the API as the caller addressed it: scheme, host and version. Links and
/// contexts begin with it.
#[derive(Debug)]
pub(super) struct ServiceRoot {
    /// The URL of the requested resource, without the query.
    resource: String,
    /// `http://localhost:8080/v1.0`.
    url: String,
    /// Whether the path of the request is below `/communications`.
    communications: bool,
}

impl<S: Sync> FromRequestParts<S> for ServiceRoot
where
    Arc<HttpState>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let matched = parts.extensions.get::<Matched>();
        let version = matched.map_or("", |matched| matched.version);
        let encrypted = Arc::<HttpState>::from_ref(state).encrypted;
        let scheme = if encrypted { "https" } else { forwarded_scheme(&parts.headers) };
        let host = authority(parts);
        let host = host.as_ref().map_or("", Authority::as_str);
        let origin = format!("{scheme}://{host}");
        Ok(Self {
            url: format!("{origin}{version}"),
            resource: format!("{origin}{}", parts.uri.path()),
            communications: matched.is_some_and(|matched| matched.communications),
        })
    }
}

impl ServiceRoot {
    /// The link to another page of the requested resource.
    pub(super) fn next_page(&self, query: &str) -> String {
        format!("{}?{query}", self.resource)
    }

    /// The context of one presence.
    pub(super) fn entity_context(&self, user_id: &UserId, select: &Select) -> String {
        let (url, select) = (&self.url, select.suffix());
        if self.communications {
            return format!("{url}/$metadata#communications/presences{select}/$entity");
        }
        let id = utf8_percent_encode(user_id.as_str(), ENCODED_IN_LINKS);
        format!("{url}/$metadata#users('{id}')/presence{select}/$entity")
    }

    /// The context of a user, of whom the response has the `selected` properties; `None` for all.
    pub(super) fn user_context(&self, selected: Option<&[&str]>) -> String {
        let selected = selected.filter(|selected| !selected.is_empty());
        let select = selected.map_or_else(String::new, |selected| format!("({})", selected.join(",")));
        format!("{}/$metadata#users{select}/$entity", self.url)
    }

    /// The context of a subscription.
    pub(super) fn subscription_context(&self) -> String {
        format!("{}/$metadata#subscriptions/$entity", self.url)
    }

    /// The context of a page of subscriptions.
    pub(super) fn subscriptions_context(&self) -> String {
        format!("{}/$metadata#subscriptions", self.url)
    }

    /// The context of a page of presences.
    pub(super) fn list_context(&self, select: &Select) -> String {
        format!("{}/$metadata#communications/presences{}", self.url, select.suffix())
    }

    /// The context of presences read by id.
    pub(super) fn collection_context(&self) -> String {
        format!("{}/$metadata#Collection(microsoft.graph.presence)", self.url)
    }

    /// The link to the page of a list with this token.
    pub(super) fn next_link(&self, token: &str, options: &ListOptions) -> String {
        let mut link = format!("{}/communications/presences?", self.url);
        if let Input::Value(size) = options.page_size {
            link = format!("{link}$top={size}&");
        }
        if let Some(selected) = &options.select.selected {
            link = format!("{link}$select={}&", selected.join(","));
        }
        if let Some(filter) = options.filter.text() {
            link = format!("{link}$filter={}&", utf8_percent_encode(filter, ENCODED_IN_LINKS));
        }
        format!("{link}$skiptoken={token}")
    }
}

/// The host that the request names.
pub(super) fn authority(parts: &Parts) -> Option<Authority> {
    let header = || parts.headers.get(HOST)?.to_str().ok()?.parse().ok();
    parts.uri.authority().cloned().or_else(header)
}

/// `https` if a proxy says that its client used it.
fn forwarded_scheme(headers: &HeaderMap) -> &'static str {
    match headers.get("x-forwarded-proto").map(|value| value.as_bytes().eq_ignore_ascii_case(b"https")) {
        Some(true) => "https",
        _ => "http",
    }
}
