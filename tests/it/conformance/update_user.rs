use std::time::Duration;

use presenced::{
    presence::{
        Pair, PlaceId, PreferredPresence, StatusMessage, Timestamp, User, WorkLocation, WorkLocationType,
    },
    store::{Author, Change, StoreError, UpdateUser},
};
use uuid::Uuid;

use super::{HOUR, MINUTE, Subject, key, key_of, start};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    a_set_replaces_the_value,
    a_clear_removes_the_value,
    clearing_a_missing_value_changes_nothing,
    a_kept_part_is_unchanged,
    all_changes_apply_or_none_does,
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

/// Returns an update that sets every part.
fn everything() -> UpdateUser {
    UpdateUser {
        preferred: Change::Set((Pair::AWAY, HOUR)),
        status_message: Change::Set(("hi".to_owned(), Some(start() + HOUR))),
        manual_location: Change::Set(office()),
        automatic_location: Change::Set(REMOTE),
        ..UpdateUser::new(key("u", "x").user, Author::default())
    }
}

fn nothing() -> UpdateUser {
    UpdateUser::new(key("u", "x").user, Author::default())
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
        changed_at: Some(now),
    }
}

async fn update(subject: &Subject, now: Timestamp, update: UpdateUser) -> User {
    subject.store.update_user(now, &update).await.unwrap();
    subject.user(now, "u").await
}

async fn a_set_replaces_the_value(engine: Engine) {
    let subject = Subject::new(engine).await;
    assert_eq!(update(&subject, start(), everything()).await, whole(start()));
    let later = start() + MINUTE;
    let other = UpdateUser {
        preferred: Change::Set((Pair::PREFERRED[5], 2 * HOUR)),
        status_message: Change::Set(("bye".to_owned(), None)),
        manual_location: Change::Set(REMOTE),
        automatic_location: Change::Set(office()),
        ..nothing()
    };
    let user = update(&subject, later, other).await;
    let preferred = PreferredPresence { pair: Pair::PREFERRED[5], expires_at: later + 2 * HOUR };
    assert_eq!(user.preferred, Some(preferred));
    let message = StatusMessage { content: "bye".to_owned(), published_at: Some(later), expires_at: None };
    assert_eq!(user.status_message, Some(message));
    assert_eq!((user.manual_location, user.automatic_location), (Some(REMOTE), Some(office())));
    assert_eq!(user.changed_at, Some(later));
}

async fn a_clear_removes_the_value(engine: Engine) {
    let subject = Subject::new(engine).await;
    update(&subject, start(), everything()).await;
    let later = start() + MINUTE;
    let user = update(
        &subject,
        later,
        UpdateUser {
            preferred: Change::Clear,
            status_message: Change::Clear,
            manual_location: Change::Clear,
            automatic_location: Change::Clear,
            ..nothing()
        },
    )
    .await;
    assert_eq!(user, User { changed_at: Some(later), ..User::default() });
}

async fn clearing_a_missing_value_changes_nothing(engine: Engine) {
    let subject = Subject::new(engine).await;
    let clear = || UpdateUser { preferred: Change::Clear, manual_location: Change::Clear, ..nothing() };
    assert_eq!(update(&subject, start(), clear()).await, User::default());
    let message = UpdateUser { status_message: Change::Set(("hi".to_owned(), None)), ..nothing() };
    let before = update(&subject, start() + MINUTE, message).await;
    assert_eq!(update(&subject, start() + 2 * MINUTE, clear()).await, before);
}

async fn a_kept_part_is_unchanged(engine: Engine) {
    let subject = Subject::new(engine).await;
    update(&subject, start(), everything()).await;
    let at = |minutes| start() + minutes * MINUTE;
    let user = update(&subject, at(1), UpdateUser { preferred: Change::Clear, ..nothing() }).await;
    let mut expected = User { preferred: None, changed_at: Some(at(1)), ..whole(start()) };
    assert_eq!(user, expected);
    let set = UpdateUser { manual_location: Change::Set(REMOTE), ..nothing() };
    expected.manual_location = Some(REMOTE);
    expected.changed_at = Some(at(2));
    assert_eq!(update(&subject, at(2), set).await, expected);
    let both =
        UpdateUser { status_message: Change::Clear, automatic_location: Change::Set(office()), ..nothing() };
    expected.status_message = None;
    expected.automatic_location = Some(office());
    expected.changed_at = Some(at(3));
    assert_eq!(update(&subject, at(3), both).await, expected, "a clear and a set together");
}

async fn all_changes_apply_or_none_does(engine: Engine) {
    let subject = Subject::new(engine).await;
    let before = update(&subject, start(), everything()).await;
    let bad = UpdateUser {
        preferred: Change::Set((Pair::OFFLINE, HOUR)),
        status_message: Change::Set(("bye".to_owned(), None)),
        ..nothing()
    };
    subject.store.update_user(start() + MINUTE, &bad).await.unwrap_err();
    assert_eq!(subject.user(start() + MINUTE, "u").await, before);
}

async fn changed_at_moves_forward_on_every_update(engine: Engine) {
    let subject = Subject::new(engine).await;
    let message =
        |text: &str| UpdateUser { status_message: Change::Set((text.to_owned(), None)), ..nothing() };
    let later = start() + HOUR;
    assert_eq!(update(&subject, later, message("a")).await.changed_at, Some(later));
    assert_eq!(update(&subject, later, message("b")).await.changed_at, Some(later + TICK));
    assert_eq!(update(&subject, start(), message("c")).await.changed_at, Some(later + 2 * TICK));
    let clear = UpdateUser { status_message: Change::Clear, ..nothing() };
    assert_eq!(update(&subject, start(), clear).await.changed_at, Some(later + 3 * TICK));
}

async fn an_update_affects_only_its_tenant(engine: Engine) {
    let subject = Subject::new(engine).await;
    let foreign = UpdateUser { user: key_of(Uuid::max(), "u", "x").user, ..everything() };
    assert_eq!(update(&subject, start(), foreign.clone()).await, User::default());
    update(&subject, start(), everything()).await;
    let clear = UpdateUser { user: foreign.user, preferred: Change::Clear, ..nothing() };
    assert_eq!(update(&subject, start(), clear).await, whole(start()));
}

async fn a_pair_that_cannot_be_preferred_is_invalid_data(engine: Engine) {
    let subject = Subject::new(engine).await;
    let bad = UpdateUser { preferred: Change::Set((Pair::OF_SESSION[1], HOUR)), ..nothing() };
    let error = subject.store.update_user(start(), &bad).await.unwrap_err();
    assert!(matches!(error, StoreError::Data(_)), "{error:?}");
}
