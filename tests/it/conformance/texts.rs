//! The text of a session in its history, in an export, and after the user was erased.

use std::time::Duration;

use presenced::presence::{EndReason, SpanValue, Timestamp};

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, set, set_text, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    the_spans_of_a_session_have_its_text,
    the_texts_of_a_user_are_exported_until_the_user_is_erased,
];

fn at(minutes: u32) -> Timestamp {
    start() + minutes * MINUTE
}

async fn the_spans_of_a_session_have_its_text(engine: Engine) {
    let subject = Subject::new(engine).await;
    let text = |text: &str| set_text("u", "a", text, 5 * MINUTE);
    subject.set(at(0), &[text("bank")]).await;
    subject.set(at(1), &[text("boss")]).await;
    subject.set(at(2), &[set("u", "a", IN_A_CALL, 5 * MINUTE)]).await;
    subject.set(at(3), &[text("bank")]).await;
    subject.clear(at(4), &[key("u", "a")]).await;
    subject.set(at(5), &[text("home")]).await;
    subject.set(at(20), &[text("late")]).await;
    // The application `v` has 20 live sessions at most.
    for number in 0..21_u32 {
        let set = set_text("u", &format!("v:{number}"), &format!("{number}"), HOUR);
        subject.set(at(21) + number * Duration::from_secs(1), &[set]).await;
    }
    let live = subject.user(at(22), "u").await.sessions;
    assert_eq!(live.iter().filter(|session| session.message.is_some()).count(), 21);
    let now = start() + 24 * HOUR;
    let sessions = subject.store.scan_sessions(now, None, 50).await.unwrap();
    assert_eq!(subject.store.remove_sessions(now, &sessions).await.unwrap(), 22);
    let mut spans = subject.history(now, "u").await.spans;
    spans.truncate(7);
    let texts = spans.iter().map(|span| match &span.value {
        SpanValue::Session { message, .. } => (message.as_deref(), span.end.as_ref().unwrap().reason),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        texts.collect::<Vec<_>>(),
        [
            (Some("bank"), EndReason::Changed),
            (Some("boss"), EndReason::Changed),
            (None, EndReason::Changed),
            (Some("bank"), EndReason::Cleared),
            (Some("home"), EndReason::Expired),
            (Some("late"), EndReason::Expired),
            (Some("0"), EndReason::Evicted),
        ]
    );
}

async fn the_texts_of_a_user_are_exported_until_the_user_is_erased(engine: Engine) {
    let subject = Subject::new(engine).await;
    for (minute, text) in (0..).zip(["first", "second", "third"]) {
        subject.set(at(minute), &[set_text("u", "a", text, HOUR)]).await;
    }
    let user = key("u", "a").user;
    let export = subject.store.export_user(&user).await.unwrap();
    let rows: Vec<serde_json::Value> =
        export.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let columns = |table: &str, column: &str| -> Vec<_> {
        let rows = rows.iter().filter(|row| row["table"] == table);
        rows.map(|row| row[column].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(columns("presence_sessions", "message"), ["third"]);
    assert_eq!(columns("presence_sessions", "previous_message"), ["second"]);
    assert_eq!(columns("presence_history", "content"), ["first", "second"]);
    assert_eq!(subject.store.erase_user(&user).await.unwrap(), 3);
    assert_eq!(subject.store.export_user(&user).await.unwrap(), [""; 0]);
}
