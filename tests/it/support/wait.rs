//! Waiting without a fixed delay: for a condition, or until a timer of the service fires.

use std::time::Duration;

use tokio::time::{advance, pause, resume, timeout};

/// The deadline of every condition. It is longer than any test needs on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// The pause between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Checks the condition until it holds. After [`DEADLINE`] the test fails with
/// `expected`, which says what did not happen.
pub async fn eventually(expected: &str, condition: impl AsyncFnMut() -> bool) {
    assert!(holds_in_time(condition).await, "not within {DEADLINE:?}: {expected}");
}

/// Checks the condition until it holds. Returns whether it did before [`DEADLINE`].
pub async fn holds_in_time(mut condition: impl AsyncFnMut() -> bool) -> bool {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    timeout(DEADLINE, holds).await.is_ok()
}

/// Moves tokio's clock of this test's runtime, so that timers fire at once.
///
/// In a test this runtime is the main runtime of a `Server`: it reads files again, checks
/// the database and cleans up. Workers have runtimes of their own, whose timers wait in
/// real time. A call of this runtime that is under way may time out.
pub async fn pass_time(by: Duration) {
    pause();
    advance(by).await;
    resume();
}
