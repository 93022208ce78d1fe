//! The history and the explanation of a presence: query options and response bodies. Extensions:
//! Graph has neither.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    odata::options,
    responses::{PresenceJson, WorkLocationJson, utc},
    schemas::{shown_activity, shown_availability},
};
use crate::{
    presence::{
        Author, DecidingRule, Pair, Part, Session, Span, SpanEnd, SpanValue, Timestamp, WorkLocation,
        WorkLocationSource, parse_instant,
    },
    service::{Explanation, HistoryPage, Input, Interval, ListPresenceHistory},
};

/// The query options of an explanation.
#[derive(Debug)]
pub(super) struct ExplainOptions {
    pub(super) at: Input<Timestamp>,
}

/// The query options of a history, and their text for the link to the next page.
#[derive(Debug)]
pub(super) struct HistoryOptions {
    from: Option<String>,
    to: Option<String>,
    parts: Option<String>,
    top: Option<String>,
    token: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for ExplainOptions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let [at] = options(parts, ["at"]);
        Ok(Self { at: instant(at.as_ref()) })
    }
}

impl<S: Sync> FromRequestParts<S> for HistoryOptions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let [from, to, parts, top, token] = options(parts, ["from", "to", "parts", "$top", "$skiptoken"]);
        Ok(Self { from, to, parts, top, token })
    }
}

impl HistoryOptions {
    pub(super) fn for_user(&self, user_id: Input<String>) -> ListPresenceHistory {
        let text = |text: &Option<String>| text.clone().map_or(Input::Missing, Input::text);
        let parts = self.parts.iter().flat_map(|parts| parts.split(',')).map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        ListPresenceHistory {
            user_id,
            from: instant(self.from.as_ref()),
            to: instant(self.to.as_ref()),
            parts: parts.map(|part| Input::text(part.to_owned()).parse::<Part>()).collect(),
            page_size: text(&self.top).parse(),
            page_token: text(&self.token),
        }
    }

    /// The query of the next page.
    pub(super) fn next_query(&self, token: &str) -> String {
        let Self { from, to, parts, top, .. } = self;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("from", from), ("to", to), ("parts", parts), ("$top", top)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.append_pair("$skiptoken", token).finish()
    }
}

/// A date and time with an offset. A `+` that was not encoded arrives as a space.
fn instant(text: Option<&String>) -> Input<Timestamp> {
    let input = text.cloned().map_or(Input::Missing, Input::text);
    input.parse_with(|text| parse_instant(&text.replace(' ', "+")))
}

/// A page of what was shown of a user, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PresenceHistory)]
pub(super) struct HistoryJson {
    /// The URL of the next page; omitted on the last page.
    #[serde(rename = "@odata.nextLink", skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
    /// From when on the history is complete; omitted if nothing was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-15T09:00:00.0000000Z")]
    history_start_date_time: Option<String>,
    /// What was shown, without gaps.
    value: Vec<IntervalJson>,
}

/// A pair that was shown for some time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PresenceInterval)]
pub(super) struct IntervalJson {
    /// The availability, such as Busy.
    #[schema(schema_with = shown_availability)]
    availability: &'static str,
    /// The activity, such as InACall.
    #[schema(schema_with = shown_activity)]
    activity: &'static str,
    /// The first instant; omitted if it was before the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-22T09:00:00.0000000Z")]
    start_date_time: Option<String>,
    /// The first instant after it; omitted if it is still shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-22T10:00:00.0000000Z")]
    end_date_time: Option<String>,
    /// Why it was shown at its start, in a sentence. The wording can change.
    cause: String,
    /// The spans of the requested parts that overlap the interval, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<SpanJson>,
}

/// One value of a part of a presence, from one instant to another, and who set it.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HistorySpan)]
pub(super) struct SpanJson {
    /// The part: session, preference, message or locations.
    part: &'static str,
    /// The session id; omitted for other parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    /// The availability of a session or preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    availability: Option<&'static str>,
    /// The activity of a session or preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<&'static str>,
    /// The status message, or the text of a session; omitted without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// The location that the user chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    manual_location: Option<WorkLocationJson>,
    /// The location that was detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    automatic_location: Option<WorkLocationJson>,
    /// The first instant.
    #[schema(example = "2026-11-22T09:00:00.0000000Z")]
    start_date_time: String,
    /// The end of the span, or the expiry of a value that still applies; omitted if it applies
    /// without an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_date_time: Option<String>,
    /// The last set or refresh.
    set_date_time: String,
    /// The application that set the value; omitted without access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_by_application: Option<String>,
    /// The user for whom it acted; omitted if it acted for itself, or if the caller may not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_by_user: Option<String>,
    /// How the span ended: changed, cleared, expired or evicted; omitted while the value applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
    /// The application that changed or cleared the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by_application: Option<String>,
    /// The user for whom it did so.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by_user: Option<String>,
}

/// The explanation of a presence.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PresenceExplanation)]
pub(super) struct ExplanationJson {
    /// The presence, with all properties.
    presence: PresenceJson,
    /// The rule that decided: noLiveSession, preferredPresence, onlySession, precedence,
    /// latestChange or smallestSessionId.
    rule: &'static str,
    /// The session that decided; omitted if none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    deciding_session_id: Option<String>,
    /// The explanation in sentences. The wording can change.
    explanation: String,
    /// The live sessions, in order of precedence.
    sessions: Vec<SessionJson>,
    /// The instant that is explained.
    #[schema(example = "2026-11-22T09:00:00.0000000Z")]
    read_date_time: String,
    /// When the presence changes next without a write; omitted if it does not, and for an earlier
    /// instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_transition_date_time: Option<String>,
    /// Everything that applied at the instant, with its author.
    spans: Vec<SpanJson>,
}

/// A live session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub(super) struct SessionJson {
    /// The session id.
    session_id: String,
    /// The availability that was set.
    availability: &'static str,
    /// The activity that was set.
    activity: &'static str,
    /// The text that was set; omitted without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The availability that the session shows, which fades.
    shown_availability: &'static str,
    /// The activity that the session shows.
    shown_activity: &'static str,
    /// The last set or refresh.
    set_date_time: String,
    /// The last set that changed what watchers see.
    change_date_time: String,
    /// When the session expires; for an earlier instant, when it ended.
    expire_date_time: String,
}

/// The response with a page of history; `link` makes the URL of the next page from its token.
pub(super) fn history(page: HistoryPage, link: impl FnOnce(&str) -> String) -> HistoryJson {
    HistoryJson {
        next_link: page.next.as_deref().map(link),
        history_start_date_time: page.start.map(utc),
        value: page.intervals.into_iter().map(Into::into).collect(),
    }
}

impl From<Interval> for IntervalJson {
    fn from(interval: Interval) -> Self {
        let (availability, activity) = words(interval.pair);
        Self {
            availability,
            activity,
            start_date_time: interval.started_at.map(utc),
            end_date_time: interval.ended_at.map(utc),
            cause: interval.cause,
            spans: interval.spans.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Span> for SpanJson {
    fn from(span: Span) -> Self {
        let (set_by_application, set_by_user) = texts(&span.set_by);
        let mut json = Self {
            part: span.part().into(),
            start_date_time: utc(span.started_at),
            end_date_time: span.ended_at.map(utc),
            set_date_time: utc(span.set_at),
            set_by_application,
            set_by_user,
            ..Self::default()
        };
        if let Some(SpanEnd { reason, by }) = &span.end {
            json.end_reason = Some(reason.into());
            (json.ended_by_application, json.ended_by_user) = texts(by);
        }
        let mut show = |pair: Pair| {
            let (availability, activity) = words(pair);
            (json.availability, json.activity) = (Some(availability), Some(activity));
        };
        match span.value {
            SpanValue::Session { session_id, pair, message, .. } => {
                show(pair);
                json.content = message;
                json.session_id = Some(session_id.to_string());
            }
            SpanValue::Preferred(pair) => show(pair),
            SpanValue::StatusMessage(content) => json.content = Some(content),
            SpanValue::Locations { manual, automatic } => {
                let location = |location: Option<WorkLocation>, source| {
                    location.map(|location| Some((location, source)).into())
                };
                json.manual_location = location(manual, WorkLocationSource::Manual);
                json.automatic_location = location(automatic, WorkLocationSource::Automatic);
            }
        }
        json
    }
}

impl From<Explanation> for ExplanationJson {
    fn from(explanation: Explanation) -> Self {
        let now = explanation.now;
        let deciding = explanation.live.first();
        let deciding = deciding.filter(|_| explanation.rule != DecidingRule::PreferredPresence);
        let rule = match explanation.rule {
            DecidingRule::NoLiveSession => "noLiveSession",
            DecidingRule::PreferredPresence => "preferredPresence",
            DecidingRule::OnlySession => "onlySession",
            DecidingRule::Precedence => "precedence",
            DecidingRule::LatestChange => "latestChange",
            DecidingRule::SmallestSessionId => "smallestSessionId",
        };
        let presence = PresenceJson::from(explanation.presence);
        Self {
            presence: if explanation.is_past { presence.without_sequence_number() } else { presence },
            rule,
            deciding_session_id: deciding.map(|(session, _)| session.session_id.to_string()),
            explanation: explanation.text,
            sessions: explanation.live.iter().map(|(session, shown)| session_json(session, *shown)).collect(),
            read_date_time: utc(now),
            next_transition_date_time: explanation.next_transition.map(|transition| utc(transition.at)),
            spans: explanation.spans.into_iter().map(Into::into).collect(),
        }
    }
}

fn session_json(session: &Session, shown: Pair) -> SessionJson {
    let (availability, activity) = words(session.pair);
    let (shown_availability, shown_activity) = words(shown);
    SessionJson {
        session_id: session.session_id.to_string(),
        availability,
        activity,
        message: session.message.clone(),
        shown_availability,
        shown_activity,
        set_date_time: utc(session.set_at),
        change_date_time: utc(session.changed_at),
        expire_date_time: utc(session.expires_at),
    }
}

fn words(pair: Pair) -> (&'static str, &'static str) {
    (pair.availability.into(), pair.activity.into())
}

fn texts(author: &Author) -> (Option<String>, Option<String>) {
    let application = author.application_id.as_ref().map(ToString::to_string);
    (application, author.user_id.as_ref().map(ToString::to_string))
}

/// The number of rows that were removed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ErasedPresence)]
pub(super) struct ErasedJson {
    /// The number of rows.
    pub(super) removed_rows: u64,
}
