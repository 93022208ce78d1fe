//! `ExplainPresence` of an earlier instant, with its spans.

use presenced::grpc::pb::ExplainPresenceRequest;

use super::{
    MINUTE, Query, at, client, get, grpc, json_minutes, json_span, json_times, minutes, page, quoted, set,
    span, start, text, times,
};
use crate::{
    graph::TestApi,
    support::{
        client::{Outcome::Done, encode, json_words, words},
        database::Engine,
        on_every_engine,
    },
};

on_every_engine![
    an_earlier_instant_is_explained_the_same_after_later_changes,
    an_explanation_says_since_when_it_is_shown,
    an_explanation_has_what_applied_then,
    the_text_of_a_session_is_explained_and_listed,
    nothing_stored_is_explained_for_earlier_instants_too,
];

/// An explanation in a form that both APIs share.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Explained {
    presence: String,
    rule: String,
    deciding: Option<String>,
    text: String,
    /// The session, its text, and its set, change and expiry, in minutes.
    sessions: Vec<String>,
    spans: Vec<String>,
    read: String,
    next: String,
    sequence: String,
    /// The change time, the last active time and the start of the history.
    times: [String; 3],
}

async fn explain_at(api: &TestApi, user: &str, minute: Option<i64>) -> Explained {
    let request = ExplainPresenceRequest { user_id: user.to_owned(), at: minute.map(at) };
    let response = grpc(api.server.addresses).explain_presence(request).await.unwrap().into_inner();
    let presence = response.presence.as_ref().unwrap();
    let rule = response.rule().as_str_name().strip_prefix("DECIDING_RULE_").unwrap().replace('_', "");
    let sessions = response.sessions.iter().map(|session| {
        let times = [&session.set_time, &session.change_time, &session.expire_time];
        let times = times.map(|time| minutes(time.as_ref())).join(" ");
        format!("{}{} {times}", session.session_id, quoted(session.message.as_deref()))
    });
    let explained = Explained {
        presence: words(presence),
        rule: rule.to_lowercase(),
        deciding: response.deciding_session_id.clone(),
        text: response.explanation.clone(),
        sessions: sessions.collect(),
        spans: response.spans.iter().map(span).collect(),
        read: minutes(response.read_time.as_ref()),
        next: minutes(response.next_transition_time.as_ref()),
        sequence: presence.sequence_number.clone(),
        times: times(presence),
    };

    let mut path = format!("/v1.0/users/{}/presence/explain", encode(user));
    if let Some(minute) = minute {
        path = format!("{path}?at={}", text(minute));
    }
    let response = get(api, &path).await;
    assert_eq!(response.status, 200, "{}", response.body);
    let (body, presence) = (&response.body, &response.body["presence"]);
    let strings = |name: &str| body[name].as_str().map(ToOwned::to_owned);
    let sessions = body["sessions"].as_array().unwrap().iter().map(|session| {
        let times = ["setDateTime", "changeDateTime", "expireDateTime"];
        let times = times.map(|name| json_minutes(&session[name])).join(" ");
        let text = quoted(session["message"].as_str());
        format!("{}{text} {times}", session["sessionId"].as_str().unwrap())
    });
    let same = Explained {
        presence: json_words(presence),
        rule: strings("rule").unwrap().to_lowercase(),
        deciding: strings("decidingSessionId"),
        text: strings("explanation").unwrap(),
        sessions: sessions.collect(),
        spans: body["spans"].as_array().unwrap().iter().map(json_span).collect(),
        read: json_minutes(&body["readDateTime"]),
        next: json_minutes(&body["nextTransitionDateTime"]),
        sequence: presence["sequenceNumber"].as_str().unwrap().to_owned(),
        times: json_times(presence),
    };
    assert_eq!(explained, same, "both APIs, at {minute:?}");
    explained
}

async fn an_earlier_instant_is_explained_the_same_after_later_changes(engine: Engine) {
    let api = start(engine).await;
    let (server, client) = (&api.server, client(&api.server));
    set(server, "u", "desk", "Available/Available", "PT1H").await;
    set(server, "u", "phone", "Busy/InACall", "PT30M").await;
    assert_eq!(client.say("u", "Hi", "2026-11-22T03:30:00").await, Done);
    server.clock.advance(5 * MINUTE);
    let now = explain_at(&api, "u", None).await;
    let then = explain_at(&api, "u", Some(5)).await;
    assert_eq!((now.sequence.is_empty(), then.sequence.as_str()), (false, ""));
    assert_eq!((now.next.as_str(), then.next.as_str()), ("30", ""));
    assert_eq!(
        now.text,
        "The presence is Busy/InACall because session phone shows Busy/InACall: it has precedence over 1 other \
         session (DoNotDisturb > Busy > Available > AvailableInactive > Away). It has been shown since \
         2026-11-22T02:50:00.000Z. Without a write the presence changes to Away/Away at \
         2026-11-22T03:20:00.000Z."
    );
    assert_eq!(
        then.text,
        "At 2026-11-22T02:55:00.000Z the presence was Busy/InACall because session phone showed Busy/InACall: it \
         had precedence over 1 other session (DoNotDisturb > Busy > Available > AvailableInactive > Away). It was \
         shown from 2026-11-22T02:50:00.000Z until now."
    );
    assert_eq!(then.presence, "u Busy/InACall \"Hi\"");
    let shared = |explained: &Explained| {
        let Explained { presence, rule, deciding, sessions, spans, read, times, .. } = explained.clone();
        (presence, rule, deciding, sessions, spans, read, times)
    };
    assert_eq!(shared(&now), shared(&then));

    server.clock.advance(5 * MINUTE);
    assert_eq!(client.clear("u", "phone").await, Done);
    assert_eq!(client.say("u", "Bye", "").await, Done);
    assert_eq!(client.prefer("u", "Away/Away", "PT1H").await, Done);
    server.clock.advance(200 * MINUTE);
    set(server, "u", "desk", "DoNotDisturb/Presenting", "PT1H").await;
    let later = explain_at(&api, "u", Some(5)).await;
    assert_eq!(
        (&later.presence, &later.rule, &later.deciding, &later.read, &later.times),
        (&then.presence, &then.rule, &then.deciding, &then.read, &then.times)
    );
    assert_eq!((later.sequence.as_str(), later.next.as_str()), ("", ""));
    assert_eq!(later.text, then.text.replace("until now", "until 2026-11-22T03:00:00.000Z"));
    // The spans and sessions have their actual ends.
    assert_eq!(later.sessions, ["phone 0 0 10", "desk 0 0 60"]);
    let mut spans = later.spans.clone();
    spans.sort();
    assert_eq!(
        spans,
        [
            "message \"Hi\" 0..10 @0 changed",
            "session desk Available/Available 0..60 @0 expired",
            "session phone Busy/InACall 0..10 @0 cleared",
        ]
    );

    // The instant of a change is explained as what is shown from then on, and one before it is not.
    let [before, from] = [9, 10].map(|minute| explain_at(&api, "u", Some(minute)));
    assert_eq!(before.await.presence, "u Busy/InACall \"Hi\"");
    let from = from.await;
    assert_eq!((from.presence.as_str(), from.rule.as_str()), ("u Away/Away \"Bye\"", "preferredpresence"));
    assert!(
        from.text.contains("because the user preferred it, which overrode 1 live session."),
        "{}",
        from.text
    );
    let before = explain_at(&api, "u", Some(-10)).await;
    assert_eq!((before.presence.as_str(), before.rule.as_str()), ("u Offline/Offline", "nolivesession"));
}

async fn an_explanation_says_since_when_it_is_shown(engine: Engine) {
    let api = start(engine).await;
    let server = &api.server;
    set(server, "u", "desk", "Busy/InACall", "PT1H").await;
    server.clock.advance(20 * MINUTE);
    // Another session that shows the same continues the presence.
    set(server, "u", "phone", "Busy/InACall", "PT2H").await;
    server.clock.advance(80 * MINUTE);
    let now = explain_at(&api, "u", None).await;
    assert!(now.text.contains("It has been shown since 2026-11-22T02:50:00.000Z."), "{}", now.text);
    assert_eq!(now.times, ["0", "100", ""]);
    server.clock.advance(100 * MINUTE);
    let offline = explain_at(&api, "u", None).await;
    assert!(offline.text.contains("It has been shown since 2026-11-22T05:10:00.000Z."), "{}", offline.text);
    assert_eq!(offline.times, ["140", "140", ""]);
    let then = explain_at(&api, "u", Some(90)).await;
    let shown = "It was shown from 2026-11-22T02:50:00.000Z until 2026-11-22T05:10:00.000Z.";
    assert!(then.text.ends_with(shown), "{}", then.text);
    assert_eq!(then.times, ["0", "90", ""]);
}

async fn an_explanation_has_what_applied_then(engine: Engine) {
    let api = start(engine).await;
    let (server, client) = (&api.server, client(&api.server));
    set(server, "u", "desk", "Available/Available", "PT1H").await;
    assert_eq!(client.prefer("u", "Busy/Busy", "PT20M").await, Done);
    assert_eq!(client.locate("u", "Office@desk-1", true).await, Done);
    server.clock.advance(2 * MINUTE);
    assert_eq!(client.locate("u", "Remote", false).await, Done);
    server.clock.advance(2 * MINUTE);
    set(server, "u", "desk", "Available/Available", "PT1H").await;
    server.clock.advance(4 * MINUTE);
    let now = explain_at(&api, "u", None).await;
    let mut spans = now.spans.clone();
    spans.sort();
    assert_eq!(
        spans,
        [
            "locations office+remote 2.. @2",
            "preference Busy/Busy 0..20 @0",
            "session desk Available/Available 0..64 @4",
        ]
    );
    assert_eq!(now.presence, "u Busy/Busy Office@desk-1 Manual");
    server.clock.advance(40 * MINUTE);
    assert_eq!(client.clear_location("u", true).await, Done);
    let now = explain_at(&api, "u", None).await;
    assert_eq!(now.presence, "u Away/Away");
    assert_eq!(now.spans, ["session desk Available/Available 0..64 @4"]);
    let then = explain_at(&api, "u", Some(8)).await;
    assert_eq!(then.presence, "u Busy/Busy Office@desk-1 Manual");
    // The refresh at minute 4 restarted the fade.
    let faded = explain_at(&api, "u", Some(21)).await;
    assert_eq!(faded.presence, "u Away/Away Office@desk-1 Manual");
    assert_eq!(faded.times[0], "20");
}

async fn the_text_of_a_session_is_explained_and_listed(engine: Engine) {
    let api = start(engine).await;
    let (server, client) = (&api.server, client(&api.server));
    for text in ["bank", "boss"] {
        assert_eq!(client.set_text("u", "phone", "Busy/InACall", text).await, Done);
        server.clock.advance(2 * MINUTE);
        // A refresh continues the span.
        assert_eq!(client.set_text("u", "phone", "Busy/InACall", text).await, Done);
        server.clock.advance(3 * MINUTE);
    }
    let now = explain_at(&api, "u", None).await;
    assert_eq!(
        (now.presence.as_str(), now.sessions),
        ("u Busy/InACall \"boss\"", vec!["phone \"boss\" 7 5 67".to_owned()])
    );
    assert_eq!(client.clear("u", "phone").await, Done);
    server.clock.advance(5 * MINUTE);
    for (minute, text) in [(0, "bank"), (4, "bank"), (5, "boss"), (9, "boss")] {
        let then = explain_at(&api, "u", Some(minute)).await;
        assert_eq!(then.presence, format!("u Busy/InACall {text:?}"), "minute {minute}");
    }
    assert_eq!(explain_at(&api, "u", Some(10)).await.presence, "u Offline/Offline");
    let listed = page(&api, &Query { user: "u", parts: &["session"], ..Query::default() }).await;
    // A new text begins no interval, because the pair stays.
    assert_eq!(listed.shown, ["Offline/Offline 10..", "Busy/InACall 0..10", "Offline/Offline ..0"]);
    assert_eq!(
        listed.spans[1],
        [
            "session phone Busy/InACall \"boss\" 5..10 @7 cleared",
            "session phone Busy/InACall \"bank\" 0..5 @2 changed"
        ]
    );
}

async fn nothing_stored_is_explained_for_earlier_instants_too(engine: Engine) {
    const NOTHING: &str =
        "Nothing is stored for this id, so the presence is Offline/Offline. The id may be wrong.";
    let api = start(engine).await;
    api.server.clock.advance(10 * MINUTE);
    for minute in [None, Some(5), Some(10), Some(-100_000)] {
        let explained = explain_at(&api, "nobody", minute).await;
        assert_eq!(explained.text, NOTHING);
        assert_eq!(
            (explained.presence.as_str(), explained.rule.as_str()),
            ("nobody Offline/Offline", "nolivesession")
        );
        assert_eq!(explained.times, ["", "", ""]);
        assert!(explained.spans.is_empty());
    }
}
