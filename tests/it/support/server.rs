//! The service in the test's process, on free ports, with a manual clock.

use std::{future::pending, time::Duration};

use clap::Parser;
use presenced::{
    app::{Addresses, App, Drain},
    clock::{Clock, ManualClock},
    presence::Timestamp,
    settings::{Cli, Settings},
};

use super::database::{Engine, TestDatabase};

/// 2026-11-22T02:50:00Z.
pub const START: Timestamp = Timestamp::from_millis(1_795_315_800_000);

pub struct Server {
    pub clock: ManualClock,
    pub addresses: Addresses,
    pub app: App,
    pub database: TestDatabase,
}

impl Server {
    /// Starts a server on a fresh database, with a manual clock.
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, &[]).await
    }

    /// Like [`Self::start`], with more flags.
    pub async fn start_with(engine: Engine, flags: &[&str]) -> Self {
        Self::start_tuned(engine, flags, |_| ()).await
    }

    /// Like [`Self::start_with`], with settings that `tune` has changed. Some have no flag.
    pub async fn start_tuned(engine: Engine, flags: &[&str], tune: impl FnOnce(&mut Settings)) -> Self {
        let database = TestDatabase::new(engine).await;
        let clock = ManualClock::new(START);
        let mut settings = settings(&database.url, flags);
        tune(&mut settings);
        let app = start(&settings, Clock::Manual(clock.clone())).await;
        Self { clock, addresses: app.addresses(), app, database }
    }

    pub fn graph(&self) -> String {
        format!("http://{}", self.addresses.http)
    }

    pub async fn stop(self) {
        assert_eq!(self.app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    }
}

/// Settings for this database and free ports, with more flags.
pub fn settings(url: &str, flags: &[&str]) -> Settings {
    let fixed =
        ["presenced", "--database-url", url, "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
    let fixed = [&fixed[..], &["--admin-addr", "127.0.0.1:0"], flags].concat();
    Cli::try_parse_from(fixed).expect("settings").settings
}

pub async fn start(settings: &Settings, clock: Clock) -> App {
    App::start(settings, clock).await.expect("the service starts")
}
