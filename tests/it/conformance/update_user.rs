use std::time::Duration;

use presenced::{
    presence::{
        Pair, PlaceId, PreferredPresence, StatusMessage, Timestamp, User, WorkLocation, WorkLocationType,
    },
    store::{Change, StoreError, UpdateUser, UserChange},
};
use uuid::Uuid;

use super::{HOUR, MINUTE, Subject, key_of, message, set, start, update};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_set_replaces_the_value,
    a_clear_removes_the_value,
    clearing_a_missing_value_changes_nothing,
    the_other_parts_and_a_kept_location_are_unchanged,
    a_preference_is_not_older_than_the_latest_change_of_a_session,
    changed_at_moves_forward_on_every_update,
    an_update_affects_only_its_tenant,
    a_pair_that_cannot_be_preferred_is_invalid_data,
];

const TICK: Duration = Duration::from_millis(1);

fn office() -> WorkLocation {
    let place_id = Some(PlaceId::parse("desk-1").unwrap());
    WorkLocation { location_type: WorkLocationType::Office, place_id }
}

const REMOTE: WorkLocation = WorkLocation { location_type: WorkLocationType::Remote, place_id: None };

/// Returns changes that set every part.
fn everything() -> [UserChange; 3] {
    [
        UserChange::Preferred(Some((Pair::AWAY, HOUR))),
        UserChange::StatusMessage(Some(("hi".to_owned(), Some(start() + HOUR)))),
        UserChange::Locations { manual: Change::Set(office()), automatic: Change::Set(REMOTE) },
    ]
}

/// Returns changes that clear every part.
const fn clear_everything() -> [UserChange; 3] {
    [
        UserChange::Preferred(None),
        UserChange::StatusMessage(None),
        UserChange::Locations { manual: Change::Clear, automatic: Change::Clear },
    ]
}

/// Returns the user after [`everything`] was applied at `now`.
fn whole(now: Timestamp) -> User {
    User {
        sessions: Vec::new(),
        preferred: Some(PreferredPresence { pair: Pair::AWAY, expires_at: now + HOUR }),
        status_message: Some(StatusMessage {
            content: "hi".to_owned(),
            published_at: Some(now),
            expires_at: Some(start() + HOUR),
        }),
        manual_location: Some(office()),
        automatic_location: Some(REMOTE),
        // Each of the three changes moves it.
        changed_at: Some(now + 2 * TICK),
        sessions_ended_at: None,
    }
}

async fn apply(subject: &Subject, now: Timestamp, changes: impl IntoIterator<Item = UserChange>) -> User {
    for change in changes {
        subject.store.update_user(now, &update("u", change)).await.unwrap();
    }
    subject.user(now, "u").await
}

async fn a_set_replaces_the_value(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(apply(&subject, start(), everything()).await, whole(start()));
    let later = start() + MINUTE;
    let others = [
        UserChange::Preferred(Some((Pair::PREFERRED[5], 2 * HOUR))),
        message("bye"),
        UserChange::Locations { manual: Change::Set(REMOTE), automatic: Change::Set(office()) },
    ];
    let user = apply(&subject, later, others).await;
    let preferred = PreferredPresence { pair: Pair::PREFERRED[5], expires_at: later + 2 * HOUR };
    assert_eq!(user.preferred, Some(preferred));
    let message = StatusMessage { content: "bye".to_owned(), published_at: Some(later), expires_at: None };
    assert_eq!(user.status_message, Some(message));
    assert_eq!((user.manual_location, user.automatic_location), (Some(REMOTE), Some(office())));
    assert_eq!(user.changed_at, Some(later + 2 * TICK));
}

async fn a_clear_removes_the_value(engine: Engine) {
    let subject = Subject::new(engine).await;
    apply(&subject, start(), everything()).await;
    let later = start() + MINUTE;
    let user = apply(&subject, later, clear_everything()).await;
    assert_eq!(user, User { changed_at: Some(later + 2 * TICK), ..User::default() });
}

async fn clearing_a_missing_value_changes_nothing(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(apply(&subject, start(), clear_everything()).await, User::default());
    let before = apply(&subject, start() + MINUTE, [message("hi")]).await;
    let [preferred, _, locations] = clear_everything();
    assert_eq!(apply(&subject, start() + 2 * MINUTE, [preferred, locations]).await, before);
}

async fn the_other_parts_and_a_kept_location_are_unchanged(engine: Engine) {
    let subject = Subject::new(engine).await;
    apply(&subject, start(), everything()).await;
    let at = |minutes| start() + minutes * MINUTE;
    let user = apply(&subject, at(1), [UserChange::Preferred(None)]).await;
    let mut expected = User { preferred: None, changed_at: Some(at(1)), ..whole(start()) };
    assert_eq!(user, expected);
    let set = UserChange::Locations { manual: Change::Set(REMOTE), automatic: Change::Keep };
    expected.manual_location = Some(REMOTE);
    expected.changed_at = Some(at(2));
    assert_eq!(apply(&subject, at(2), [set]).await, expected);
    let clear = UserChange::Locations { manual: Change::Keep, automatic: Change::Clear };
    expected.automatic_location = None;
    expected.changed_at = Some(at(3));
    assert_eq!(apply(&subject, at(3), [clear]).await, expected);
}

async fn a_preference_is_not_older_than_the_latest_change_of_a_session(engine: Engine) {
    let subject = Subject::new(engine).await;
    // Another replica, whose clock is slightly ahead.
    let ahead = start() + 5 * TICK;
    subject.set(ahead, &[set("u", "a", Pair::AVAILABLE, HOUR)]).await;
    let before = subject.user(ahead, "u").await.sequence_number(ahead);
    let user = apply(&subject, start(), [UserChange::Preferred(Some((Pair::AWAY, HOUR)))]).await;
    assert_eq!(user.changed_at, Some(ahead));
    assert!(user.sequence_number(start()) >= before);
}

async fn changed_at_moves_forward_on_every_update(engine: Engine) {
    let subject = Subject::new(engine).await;
    let later = start() + HOUR;
    assert_eq!(apply(&subject, later, [message("a")]).await.changed_at, Some(later));
    assert_eq!(apply(&subject, later, [message("b")]).await.changed_at, Some(later + TICK));
    assert_eq!(apply(&subject, start(), [message("c")]).await.changed_at, Some(later + 2 * TICK));
    let clear = [UserChange::StatusMessage(None)];
    assert_eq!(apply(&subject, start(), clear).await.changed_at, Some(later + 3 * TICK));
}

async fn an_update_affects_only_its_tenant(engine: Engine) {
    let subject = Subject::new(engine).await;
    let foreign = async |change| {
        let update = UpdateUser { user: key_of(Uuid::max(), "u", "x").user, ..update("u", change) };
        subject.store.update_user(start(), &update).await.unwrap();
    };
    foreign(message("foreign")).await;
    assert_eq!(subject.user(start(), "u").await, User::default());
    apply(&subject, start(), everything()).await;
    foreign(UserChange::Preferred(None)).await;
    assert_eq!(subject.user(start(), "u").await, whole(start()));
}

async fn a_pair_that_cannot_be_preferred_is_invalid_data(engine: Engine) {
    let subject = Subject::new(engine).await;
    let bad = update("u", UserChange::Preferred(Some((Pair::OF_SESSION[1], HOUR))));
    let error = subject.store.update_user(start(), &bad).await.unwrap_err();
    assert!(matches!(error, StoreError::Data(_)), "{error:?}");
}
