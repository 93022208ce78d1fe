use presenced::{
    presence::{Timestamp, UserId},
    store::ListUsers,
};
use uuid::Uuid;

use super::{HOUR, IN_A_CALL, MINUTE, Subject, key, key_of, message, set, start, update};
use crate::support::{database::Engine, on_every_engine};

on_every_engine![
    users_are_in_byte_order_of_their_ids_each_once,
    pages_neither_skip_nor_repeat_users,
    only_users_of_the_tenant_with_a_live_session_are_listed_and_counted,
    with_ended_ones_every_user_with_a_row_is_listed,
];

async fn list(subject: &Subject, now: Timestamp, after: &str, limit: u32) -> Vec<String> {
    let list =
        ListUsers { tenant_id: Uuid::nil(), after: UserId::parse(after).ok(), include_ended: false, limit };
    let users = subject.store.list_users(now, &list).await.unwrap();
    users.into_iter().map(|user| user.to_string()).collect()
}

async fn users_are_in_byte_order_of_their_ids_each_once(engine: Engine) {
    let subject = Subject::new(engine).await;
    for user in ["b", "B", "a", "~", "!", "a.", "a'"] {
        let sets = [set(user, "1", IN_A_CALL, HOUR), set(user, "2", IN_A_CALL, HOUR)];
        subject.set(start(), &sets).await;
    }
    assert_eq!(list(&subject, start(), "", 100).await, ["!", "B", "a", "a'", "a.", "b", "~"]);
}

async fn pages_neither_skip_nor_repeat_users(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets: Vec<_> = (10..35).map(|user| set(&user.to_string(), "a", IN_A_CALL, HOUR)).collect();
    subject.set(start(), &sets).await;
    assert_eq!(list(&subject, start(), "", 3).await, ["10", "11", "12"]);
    assert_eq!(list(&subject, start(), "12", 3).await, ["13", "14", "15"]);
    // Other users that come or go do not move a user to another page.
    subject.clear(start(), &[key("11", "a"), key("15", "a")]).await;
    subject.set(start(), &[set("09", "a", IN_A_CALL, HOUR)]).await;
    assert_eq!(list(&subject, start(), "15", 3).await, ["16", "17", "18"]);
    assert_eq!(list(&subject, start(), "32", 3).await, ["33", "34"]);
    assert!(list(&subject, start(), "34", 3).await.is_empty());
}

async fn only_users_of_the_tenant_with_a_live_session_are_listed_and_counted(engine: Engine) {
    let subject = Subject::new(engine).await;
    let mut foreign = set("foreign", "a", IN_A_CALL, HOUR);
    foreign.key = key_of(Uuid::max(), "foreign", "a");
    let sets = [
        set("short", "a", IN_A_CALL, 5 * MINUTE),
        set("gone", "a", IN_A_CALL, HOUR),
        set("here", "a", IN_A_CALL, HOUR),
        set("here", "b", IN_A_CALL, HOUR),
        foreign,
    ];
    subject.set(start(), &sets).await;
    subject.clear(start(), &[key("gone", "a")]).await;
    let count = async |now| subject.store.count_users(now, &Uuid::nil()).await.unwrap();
    assert_eq!(list(&subject, start(), "", 9).await, ["here", "short"]);
    assert_eq!(count(start()).await, 2);
    assert_eq!(list(&subject, start() + 5 * MINUTE, "", 9).await, ["here"]);
    assert_eq!(count(start() + 5 * MINUTE).await, 1);
    assert_eq!(count(start() + HOUR).await, 0);
}

async fn with_ended_ones_every_user_with_a_row_is_listed(engine: Engine) {
    let subject = Subject::new(engine).await;
    let sets = ["a", "c", "e", "g"].map(|user| set(user, "1", IN_A_CALL, HOUR));
    subject.set(start(), &sets).await;
    subject.set(start(), &[set("c", "2", IN_A_CALL, MINUTE), set("d", "1", IN_A_CALL, MINUTE)]).await;
    subject.clear(start(), &[key("e", "1"), key("marked", "1")]).await;
    for user in ["B", "c", "h"] {
        subject.store.update_user(start(), &update(user, message("hi"))).await.unwrap();
    }
    let mut foreign = set("foreign", "a", IN_A_CALL, HOUR);
    foreign.key = key_of(Uuid::max(), "foreign", "a");
    subject.set(start(), &[foreign]).await;
    let all = async |after: &str, limit| {
        let after = UserId::parse(after).ok();
        let list = ListUsers { tenant_id: Uuid::nil(), after, include_ended: true, limit };
        let users = subject.store.list_users(start() + 2 * HOUR, &list).await.unwrap();
        users.into_iter().map(|user| user.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(all("", 99).await, ["B", "a", "c", "d", "e", "g", "h", "marked"]);
    assert_eq!(all("", 3).await, ["B", "a", "c"]);
    assert_eq!(all("c", 3).await, ["d", "e", "g"]);
    assert_eq!(all("g", 3).await, ["h", "marked"]);
    assert!(all("marked", 3).await.is_empty());
}
