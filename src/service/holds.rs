//! Counts the streams that hold a session, and limits them: on a replica, and of each application.
//!
//! Each of them writes to the database every half of its grace without a call, so the rate limit
//! does not bound them.

use prometheus_client::metrics::gauge::Gauge;
use uuid::Uuid;

use super::{Caller, Error};
use crate::{
    presence::SessionId,
    settings::StreamSettings,
    watch::{Share, Shares},
};

/// The tenant and the application of a caller.
type Application = (Uuid, Option<SessionId>);

/// The streams of a replica that hold a session. Clones share one count.
#[derive(Clone, Debug)]
pub struct Holds {
    shares: Shares<Application>,
    gauge: Gauge,
}

/// The place of an open stream. Dropping it makes room for another one.
#[derive(Debug)]
pub(super) struct HoldPlace {
    gauge: Gauge,
    _share: Share<Application>,
}

impl Holds {
    /// No streams; `gauge` shows their number.
    #[must_use]
    pub fn new(settings: &StreamSettings, gauge: Gauge) -> Self {
        Self { shares: Shares::new(settings.holds_max, settings.application_holds_max), gauge }
    }

    /// Takes a place for a stream of the caller. The error is a limit that is reached.
    pub(super) fn open(&self, caller: &Caller) -> Result<HoldPlace, Error> {
        let (tenant_id, application_id) = caller.application();
        let share = self.shares.take((tenant_id, application_id.cloned()), 1);
        let share = share.map_err(Error::too_many_holds)?;
        self.gauge.inc();
        Ok(HoldPlace { gauge: self.gauge.clone(), _share: share })
    }
}

impl Drop for HoldPlace {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
