//! The state that the receiver of one subscription keeps.

use std::collections::HashMap;

use presenced_tools::pb::{Activity, Availability, Presence};
use serde::Deserialize;

/// What a user is shown with: availability, activity, and the text of the status message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown(String, String, Option<String>);

#[derive(Deserialize)]
struct Notification {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    generation: u64,
    count: u64,
    presences: Vec<Changed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    user_id: String,
    availability: String,
    activity: String,
    sequence_number: String,
    status_message: Option<Content>,
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

/// The newest presence of each user. A notification counts only if it comes after the last one in the order
/// of generation and count.
#[derive(Debug, Default)]
pub struct Applied {
    last: (u64, u64),
    users: HashMap<String, (Shown, String)>,
    /// Notifications.
    pub notifications: usize,
    /// Notifications that came after a later one.
    pub late: usize,
    /// Presences that the receiver had already.
    pub repetitions: usize,
    /// Presences that replaced a newer one.
    pub stale: usize,
}

impl Applied {
    /// Applies the body of a notification.
    pub fn apply(&mut self, body: &[u8]) {
        let Data { generation, count, presences } =
            serde_json::from_slice::<Notification>(body).expect("a notification").data;
        self.notifications += 1;
        if (generation, count) <= self.last {
            self.late += 1;
            return;
        }
        self.last = (generation, count);
        for changed in presences {
            let message = changed.status_message.map(|message| message.content);
            let shown = Shown(changed.availability, changed.activity, message);
            let before = self.users.insert(changed.user_id.clone(), (shown, changed.sequence_number));
            let (shown, number) = &self.users[&changed.user_id];
            match before {
                // The numbers have the same length, so their texts have their order.
                Some((_, newer)) if newer > *number => {
                    println!("{} {number} replaced {newer}", changed.user_id);
                    self.stale += 1;
                }
                Some(before) if before == (shown.clone(), number.clone()) => self.repetitions += 1,
                _ => {}
            }
        }
    }

    /// Describes the users who are shown otherwise than here. A user without a notification is offline.
    pub fn lost(&self, presences: &[Presence]) -> Vec<String> {
        let offline = Shown(
            Availability::Offline.as_str_name().to_owned(),
            Activity::Offline.as_str_name().to_owned(),
            None,
        );
        let differs = |presence: &Presence| {
            let message = presence.status_message.as_ref().map(|message| message.content.clone());
            let expected = Shown(
                presence.availability().as_str_name().to_owned(),
                presence.activity().as_str_name().to_owned(),
                message,
            );
            let known = self.users.get(&presence.user_id).map_or(&offline, |(shown, _)| shown);
            (*known != expected).then(|| {
                format!("{}: {known:?} instead of {expected:?}; last {:?}", presence.user_id, self.last)
            })
        };
        presences.iter().filter_map(differs).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(generation: u64, count: u64, availability: &str, number: &str) -> String {
        format!(
            r#"{{"data":{{"generation":{generation},"count":{count},"presences":[{{"userId":"a",
            "availability":"{availability}","activity":"ACTIVITY_AWAY","sequenceNumber":"{number}"}}]}}}}"#
        )
    }

    fn away() -> Presence {
        Presence {
            user_id: "a".to_owned(),
            availability: Availability::Away.into(),
            activity: Activity::Away.into(),
            ..Default::default()
        }
    }

    /// Without these tests, a run without losses would prove nothing.
    #[test]
    fn a_missing_notification_is_a_loss() {
        let mut applied = Applied::default();
        assert_eq!(applied.lost(&[away()]).len(), 1);
        applied.apply(body(1, 1, "AVAILABILITY_AWAY", "A2").as_bytes());
        assert_eq!(applied.lost(&[away()]).len(), 0);
        applied.apply(body(1, 2, "AVAILABILITY_BUSY", "A3").as_bytes());
        assert_eq!(applied.lost(&[away()]).len(), 1);
    }

    #[test]
    fn an_older_presence_in_a_later_notification_is_stale() {
        let mut applied = Applied::default();
        applied.apply(body(2, 1, "AVAILABILITY_AWAY", "A3").as_bytes());
        applied.apply(body(1, 9, "AVAILABILITY_BUSY", "A2").as_bytes());
        assert_eq!((applied.late, applied.stale), (1, 0));
        applied.apply(body(2, 2, "AVAILABILITY_BUSY", "A2").as_bytes());
        applied.apply(body(2, 3, "AVAILABILITY_BUSY", "A2").as_bytes());
        assert_eq!((applied.late, applied.stale, applied.repetitions), (1, 1, 1));
    }
}
