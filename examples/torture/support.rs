//! What the tests have already.

use std::sync::OnceLock;

#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/it/support/process.rs"]
pub mod process;
#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/it/support/proxy.rs"]
pub mod proxy;

static BINARY: OnceLock<String> = OnceLock::new();

/// The binary that is tested from now on.
pub fn test(binary: String) {
    BINARY.set(binary).unwrap();
}

/// The binary that is tested.
pub fn binary() -> &'static str {
    BINARY.get().unwrap()
}
