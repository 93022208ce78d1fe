//! Shared parts of the tests.

pub mod authority;
pub mod client;
pub mod collector;
pub mod contract;
pub mod database;
pub mod events;
pub mod golden;
pub mod lists;
pub mod metrics;
pub mod pgbouncer;
pub mod receiver;
pub mod server;
pub mod tokens;
pub mod wait;
pub mod words;

pub use presenced_tools::{process, proxy};

/// Runs each of the named functions as a test of every engine.
macro_rules! on_every_engine {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() {
                super::$name($crate::support::database::Engine::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() {
                super::$name($crate::support::database::Engine::Postgres).await;
            })+
        }
    };
}
pub(crate) use on_every_engine;

/// Reads a number from the environment, for tests that can run longer.
pub fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// Returns whether the line has this pattern, in which `…` stands for any text.
pub fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}
