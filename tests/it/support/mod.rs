//! What the tests share.

pub mod authority;
pub mod client;
pub mod contract;
pub mod database;
pub mod pgbouncer;
pub mod process;
pub mod proxy;
pub mod server;
pub mod tokens;

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

/// A number from the environment, for tests that can be made longer.
pub fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// The `--batch-max` that all services are started with, if the environment names one.
pub fn batch_max() -> Option<String> {
    std::env::var("PRESENCE_TEST_BATCH_MAX").ok()
}
