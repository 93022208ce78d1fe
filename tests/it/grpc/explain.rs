//! The responses of `ExplainPresence`.

use presenced::grpc::pb::{
    Activity, Availability, DecidingRule, ExplainPresenceRequest, ExplainPresenceResponse,
    GetPresenceRequest, SetPresenceRequest, SetStatusMessageRequest, SetUserPreferredPresenceRequest,
};

use super::{MINUTE, busy, connect, set};
use crate::support::{
    client::words,
    database::Engine,
    on_every_engine,
    server::{START, Server},
};

on_every_engine![
    explain_presence_explains_sessions_and_rules,
    explain_presence_explains_the_preferred_presence_and_the_status_message,
    explain_presence_has_the_text_of_each_session,
];

/// The time at this number of minutes after the start.
#[expect(clippy::unnecessary_wraps, reason = "the fields of messages are optional")]
fn at(minutes: u32) -> Option<prost_types::Timestamp> {
    let millis = (START + minutes * MINUTE).as_millis();
    Some(prost_types::Timestamp { seconds: millis / 1_000, nanos: 0 })
}

async fn explain_presence_explains_sessions_and_rules(engine: Engine) {
    let server = Server::start(engine).await;
    let mut client = connect(&server).await;
    let explain = async || {
        let request = ExplainPresenceRequest { user_id: "u".into(), ..Default::default() };
        connect(&server).await.explain_presence(request).await.unwrap().into_inner()
    };
    let summary = |response: &ExplainPresenceResponse| {
        let deciding = response.deciding_session_id.clone().unwrap_or_default();
        (words(response.presence.as_ref().unwrap()), response.rule(), deciding)
    };

    let nothing = explain().await;
    assert_eq!(summary(&nothing), ("u Offline/Offline".into(), DecidingRule::NoLiveSession, String::new()));
    assert_eq!((nothing.next_transition_time, nothing.sessions.len(), nothing.read_time), (None, 0, at(0)));
    let expected = "Nothing is stored for this id, so the presence is Offline/Offline. The id may be wrong.";
    assert_eq!(nothing.explanation, expected);

    client.set_presence(set("u", "desk", Availability::Available, Activity::Available, 60)).await.unwrap();
    let only = explain().await;
    assert_eq!(summary(&only), ("u Available/Available".into(), DecidingRule::OnlySession, "desk".into()));
    assert_eq!((only.next_transition_time, only.sessions[0].fade_time), (at(5), at(5)));

    server.clock.advance(MINUTE);
    client.set_presence(set("u", "phone", Availability::Busy, Activity::InACall, 30)).await.unwrap();
    let busy = explain().await;
    assert_eq!(summary(&busy), ("u Busy/InACall".into(), DecidingRule::Precedence, "phone".into()));
    assert_eq!(busy.next_transition_time, at(31), "the fade of another session changes nothing");
    let phone = &busy.sessions[0];
    assert_eq!((phone.session_id.as_str(), phone.set_time, phone.change_time), ("phone", at(1), at(1)));
    assert_eq!((phone.fade_time, phone.expire_time), (None, at(31)));
    let expected = "The presence is Busy/InACall because session phone shows Busy/InACall: it has precedence over 1 \
                    other session (DoNotDisturb > Busy > Available > AvailableInactive > Away). It has been shown \
                    since 2026-11-22T02:51:00.000Z. Without a write the presence changes to Away/Away at 2026-11-22T03:21:00.000Z.";
    assert_eq!(busy.explanation, expected);

    server.clock.advance(5 * MINUTE);
    let desk = explain().await.sessions.remove(1);
    assert_eq!((desk.availability(), desk.activity()), (Availability::Available, Activity::Available));
    assert_eq!(
        (desk.shown_availability(), desk.shown_activity()),
        (Availability::Available, Activity::AvailableInactive)
    );
    assert_eq!((desk.fade_time, desk.expire_time), (at(10), at(60)));

    client.set_presence(set("u", "room", Availability::Busy, Activity::InAConferenceCall, 30)).await.unwrap();
    assert_eq!(
        summary(&explain().await),
        ("u Busy/InAConferenceCall".into(), DecidingRule::LatestChange, "room".into())
    );
    client.set_presence(set("u", "hall", Availability::Busy, Activity::InACall, 30)).await.unwrap();
    assert_eq!(
        summary(&explain().await),
        ("u Busy/InACall".into(), DecidingRule::SmallestSessionId, "hall".into())
    );
}

async fn explain_presence_explains_the_preferred_presence_and_the_status_message(engine: Engine) {
    let server = Server::start(engine).await;
    let mut client = connect(&server).await;
    let explain = async || {
        let request = ExplainPresenceRequest { user_id: "u".into(), ..Default::default() };
        connect(&server).await.explain_presence(request).await.unwrap().into_inner()
    };
    let prefer = SetUserPreferredPresenceRequest {
        user_id: "u".into(),
        availability: Availability::Offline.into(),
        activity: Activity::OffWork.into(),
        expiration_duration: Some(prost_types::Duration { seconds: 20 * 60, nanos: 0 }),
    };
    client.set_user_preferred_presence(prefer).await.unwrap();
    let waiting = explain().await;
    assert_eq!(waiting.rule(), DecidingRule::NoLiveSession);
    let preferred = waiting.preferred_presence.unwrap();
    assert_eq!((preferred.availability(), preferred.activity()), (Availability::Offline, Activity::OffWork));
    assert_eq!(preferred.expire_time, at(20));
    let expected = "The presence is Offline/Offline because the user has no live session. The preferred presence \
                    Offline/OffWork applies when the user has a live session, until 2026-11-22T03:10:00.000Z. \
                    Without a write the presence does not change.";
    assert_eq!(waiting.explanation, expected);

    client.set_presence(busy("u", "phone")).await.unwrap();
    let message = SetStatusMessageRequest {
        user_id: "u".into(),
        content: "In the workshop".into(),
        expire_time: at(10),
    };
    client.set_status_message(message).await.unwrap();
    let applied = explain().await;
    assert_eq!((applied.rule(), &applied.deciding_session_id), (DecidingRule::PreferredPresence, &None));
    assert_eq!((applied.sessions.len(), applied.next_transition_time), (1, at(10)));
    let expected = "The presence is Offline/OffWork because the user prefers it until 2026-11-22T03:10:00.000Z, which \
                    overrides 1 live session. It has been shown since 2026-11-22T02:50:00.000Z. Without a write the status message expires at \
                    2026-11-22T03:00:00.000Z.";
    assert_eq!(applied.explanation, expected);
    let shown = applied.presence.unwrap().status_message.unwrap();
    assert_eq!((shown.publish_time, shown.expire_time), (at(0), at(10)), "other reads omit the times");
    let request = GetPresenceRequest { user_id: "u".into(), ..Default::default() };
    let read = client.get_presence(request).await.unwrap().into_inner().presence.unwrap();
    let shown = read.status_message.unwrap();
    assert_eq!(
        (shown.content.as_str(), shown.publish_time, shown.expire_time),
        ("In the workshop", None, None)
    );

    server.clock.advance(10 * MINUTE);
    assert_eq!(explain().await.next_transition_time, at(20), "then the preferred presence expires");
    server.clock.advance(10 * MINUTE);
    let over = explain().await;
    assert_eq!((over.rule(), over.preferred_presence), (DecidingRule::OnlySession, None));
}

async fn explain_presence_has_the_text_of_each_session(engine: Engine) {
    let server = Server::start(engine).await;
    let mut client = connect(&server).await;
    let explain = async || {
        let request = ExplainPresenceRequest { user_id: "u".into(), ..Default::default() };
        connect(&server).await.explain_presence(request).await.unwrap().into_inner()
    };
    for (session, text) in [("desk", ""), ("phone", "bank"), ("desk", "")] {
        let request = set("u", session, Availability::Available, Activity::Available, 60);
        client.set_presence(SetPresenceRequest { message: text.into(), ..request }).await.unwrap();
        server.clock.advance(MINUTE);
    }
    let explained = explain().await;
    assert_eq!(words(explained.presence.as_ref().unwrap()), "u Available/Available \"bank\"");
    let shown = explained.presence.unwrap().status_message.unwrap();
    assert_eq!((shown.publish_time, shown.expire_time), (None, None));
    let texts: Vec<_> = explained.sessions.iter().map(|session| session.message.as_deref()).collect();
    assert_eq!(texts, [Some("bank"), None]);
    let texts: Vec<_> = explained.spans.iter().map(|span| span.content.as_deref()).collect();
    assert_eq!(texts, [Some("bank"), None]);
    assert_eq!(explained.next_transition_time, at(6), "then the other session decides");
    let next = "Without a write the status message changes at 2026-11-22T02:56:00.000Z.";
    assert!(explained.explanation.ends_with(next), "{}", explained.explanation);
    server.clock.advance(3 * MINUTE);
    assert_eq!(words(&explain().await.presence.unwrap()), "u Available/Available");
}
