//! Presences and enum values as the words that both APIs share.

use std::fmt::Write as _;

use presenced::grpc::pb::{self, Activity, Availability};
use serde_json::Value;

/// A presence as text: see `Outcome::Presences`.
pub fn words(presence: &pb::Presence) -> String {
    let availability = word(presence.availability().as_str_name(), "AVAILABILITY_");
    let activity = word(presence.activity().as_str_name(), "ACTIVITY_");
    let mut words = format!("{} {availability}/{activity}", presence.user_id);
    if let Some(message) = &presence.status_message {
        write!(words, " {:?}", message.content).unwrap();
    }
    if let Some(location) = &presence.work_location {
        let kind = word(location.work_location_type().as_str_name(), "WORK_LOCATION_TYPE_");
        let place = location.place_id.as_ref().map_or_else(String::new, |place| format!("@{place}"));
        let source = word(location.source().as_str_name(), "WORK_LOCATION_SOURCE_");
        write!(words, " {kind}{place} {source}").unwrap();
    }
    words
}

/// Like [`words`], from Graph's JSON.
pub fn json_words(body: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut words =
        format!("{} {}/{}", text(&body["id"]), text(&body["availability"]), text(&body["activity"]));
    if let Some(content) = body["statusMessage"]["message"]["content"].as_str() {
        write!(words, " {content:?}").unwrap();
    }
    let location = &body["workLocation"];
    if location["source"] != "none" {
        let place = location["placeId"].as_str().map_or_else(String::new, |place| format!("@{place}"));
        let capital = |value: &Value| {
            let word = text(value);
            word[..1].to_uppercase() + &word[1..]
        };
        let [kind, source] = [&location["workLocationType"], &location["source"]].map(capital);
        write!(words, " {kind}{place} {source}").unwrap();
    }
    words
}

/// Converts `ACTIVITY_IN_A_CALL` to `InACall`.
pub fn word(name: &str, prefix: &str) -> String {
    pascal(name.strip_prefix(prefix).unwrap())
}

/// Converts `IN_A_CALL` to `InACall`.
fn pascal(name: &str) -> String {
    let word = |word: &str| word[..1].to_owned() + &word[1..].to_lowercase();
    name.split('_').map(word).collect()
}

/// The number of an enum value: 0 for an empty word, 99 for an unknown one.
pub fn availability_number(word: &str) -> i32 {
    let all = (1..99).filter_map(|number| Availability::try_from(number).ok());
    number_of(word, all.map(|value| (value.into(), value.as_str_name())), "AVAILABILITY_")
}

/// The number of an enum value: 0 for an empty word, 99 for an unknown one.
pub fn activity_number(word: &str) -> i32 {
    let all = (1..99).filter_map(|number| Activity::try_from(number).ok());
    number_of(word, all.map(|value| (value.into(), value.as_str_name())), "ACTIVITY_")
}

pub fn number_of(word: &str, mut all: impl Iterator<Item = (i32, &'static str)>, prefix: &str) -> i32 {
    if word.is_empty() {
        return 0;
    }
    let found = all.find(|(_, name)| pascal(name.strip_prefix(prefix).unwrap()).eq_ignore_ascii_case(word));
    found.map_or(99, |(number, _)| number)
}
