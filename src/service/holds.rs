//! Counts the streams that hold a session, and limits them: on a replica, and of each application.
//!
//! Each of them writes to the database every half of its grace without a call, so the rate limit
//! does not bound them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::metrics::gauge::Gauge;
use uuid::Uuid;

use super::{Caller, Error};
use crate::{presence::SessionId, settings::StreamSettings};

/// The tenant and the application of a caller.
type Application = (Uuid, Option<SessionId>);

/// The streams of a replica that hold a session. Clones share one count.
#[derive(Clone, Debug)]
pub struct Holds(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    open: Mutex<Open>,
    max: u32,
    application_max: u32,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Open {
    all: u32,
    /// Without applications that have none.
    by_application: HashMap<Application, u32>,
}

/// The place of an open stream. Dropping it makes room for another one.
#[derive(Debug)]
pub(super) struct HoldPlace {
    shared: Arc<Shared>,
    application: Application,
}

impl Holds {
    /// No streams; `gauge` shows their number.
    #[must_use]
    pub fn new(settings: &StreamSettings, gauge: Gauge) -> Self {
        let (max, application_max) = (settings.holds_max, settings.application_holds_max);
        Self(Arc::new(Shared { open: Mutex::default(), max, application_max, gauge }))
    }

    /// Takes a place for a stream of the caller. The error is a limit that is reached.
    pub(super) fn open(&self, caller: &Caller) -> Result<HoldPlace, Error> {
        let shared = &self.0;
        let (tenant_id, application_id) = caller.application();
        let application = (tenant_id, application_id.cloned());
        let mut open = shared.open();
        if open.all >= shared.max {
            return Err(Error::too_many_holds(shared.max));
        }
        let of_application = open.by_application.get(&application).copied().unwrap_or_default();
        if of_application >= shared.application_max {
            return Err(Error::too_many_holds_of_application(shared.application_max));
        }
        open.all += 1;
        open.by_application.insert(application.clone(), of_application + 1);
        shared.gauge.inc();
        Ok(HoldPlace { shared: Arc::clone(shared), application })
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HoldPlace {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        open.all -= 1;
        if let Some(left) = open.by_application.get_mut(&self.application) {
            *left -= 1;
            if *left == 0 {
                open.by_application.remove(&self.application);
            }
        }
        self.shared.gauge.dec();
    }
}
