//! Histograms with the buckets that the service uses.

use prometheus_client::metrics::histogram::Histogram;

/// From a tenth of a millisecond, less than a durable write takes, to the 3 s within
/// which every call returns.
const SECONDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0];
const MEMBERS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0];

pub(super) fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// From a few milliseconds to the time after which a receiver that was away is an incident.
const MINUTES: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

pub(super) fn minutes() -> Histogram {
    Histogram::new(MINUTES)
}

pub(super) fn members() -> Histogram {
    Histogram::new(MEMBERS)
}
