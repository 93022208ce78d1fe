//! `presenced doctor`: whether a deployment is fit to be served with these very
//! settings, and what to do where it is not.
//!
//! Rules:
//!
//! 1. Nothing is changed: no migration, no write, no file that was not there.
//! 2. What the service would not start with, or not be of use with, fails; what it
//!    works with, but worse than it should, is warned of. Both say what to do.
//! 3. A check asks with the service's own code wherever there is some, so that the
//!    two can't come to differ.
//! 4. It ends within seconds, whatever hangs.

mod callers;
mod database;
mod files;
mod ports;
mod postgres;
mod report;
mod sqlite;
mod tls;

use tokio::join;

use crate::{clock::Clock, settings::Settings};

pub use report::{Fault, Finding, Report, Verdict};

/// Makes every check.
pub async fn examine(settings: &Settings, clock: &Clock) -> Report {
    let (database, callers, ports) =
        join!(database::check(settings, clock), callers::check(settings), ports::check(settings));
    let (tls, files) = (tls::check(settings, clock.now()), files::check(&settings.limits));
    Report::new([vec![together(settings)], database, callers, tls, ports, files].concat())
}

/// The settings taken together.
fn together(settings: &Settings) -> Finding {
    match settings.check() {
        Ok(()) => Finding::ok("settings", "they go together"),
        Err(error) => Finding::fail(Fault::Settings, "settings", error, "change the settings as it says"),
    }
}
