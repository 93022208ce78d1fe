//! Attacks and checks for a short time, against a debug build.

use std::time::Duration;

use presenced_tools::process::Process;
use tokio::time::timeout;

use crate::{
    attacks::{Attack, Notes, Target, attack},
    checks::{Check, run},
    report::{metrics, stop, value},
};

/// The time that each attack has. A debug build may be slow, and other tests run at the same time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Attacks until what must be seen is seen. Panics if it is not, or if anything is wrong.
async fn must_hold(kind: Attack) {
    let mut process = Process::start("sqlite::memory:", &[]).await;
    let (notes, expected) = (Notes::default(), kind.expected());
    let seen = expected.seen.expect("the attack counts something");
    let attack = attack(kind, Target { grpc: process.grpc, http: process.http }, &notes);
    let is_seen = async {
        while !notes.seen().counts.contains_key(seen) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = attack => {}
        ended = timeout(PATIENCE, is_seen) => assert!(ended.is_ok(), "{:?}", notes.seen()),
    }
    assert!(notes.seen().faults.is_empty(), "{:?}", notes.seen());
    let counted = expected.metric.map(|name| (name, value(&metrics(process.admin), name)));
    let (code, log) = stop(&mut process);
    assert!(counted.is_none_or(|(_, value)| value > 0), "{counted:?}");
    assert!(expected.log.is_none_or(|text| log.contains(text)), "{log}");
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn foreign_pages_are_refused() {
    must_hold(Attack::Pages).await;
}

#[tokio::test]
async fn names_of_other_hosts_are_refused() {
    must_hold(Attack::Rebinding).await;
}

#[tokio::test]
async fn two_addresses_as_authority_are_refused_counted_and_logged() {
    must_hold(Attack::Authority).await;
}

#[tokio::test]
async fn a_long_path_is_refused_with_an_error() {
    must_hold(Attack::RequestLine).await;
}

#[test]
fn slow_readers_are_drained() {
    assert!(run(&[Check::Drain], PATIENCE));
}
