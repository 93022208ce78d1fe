//! All attacks at once.

use std::time::Duration;

use presenced_tools::{
    machine::peak_memory,
    process::{Process, command},
};

use super::{Line, unless};
use crate::{
    attacks::Attack,
    report::{cost_alone, round, stop},
};

/// The memory that the service may use, in MiB.
const BUDGET: u64 = 256;
/// The most that it may have at any time.
const PEAK_MAX: u64 = 200;

pub(super) fn check(length: Duration) -> Line {
    let mut service = command();
    service.args(["--memory-max-bytes", &(BUDGET * 1_024 * 1_024).to_string()]);
    let mut service = Process::start_blocking(service, "sqlite::memory:");
    let alone = cost_alone(&service);
    let attacks = Attack::all();
    let round = round(&service, &attacks, length, alone);
    let peak = peak_memory(service.id());
    let (code, _) = stop(&mut service);
    Line {
        tried: format!(
            "{} attacks at once for {} s, at a budget of {BUDGET} MiB",
            attacks.len(),
            length.as_secs()
        ),
        figure: format!(
            "VmHWM {peak} MiB; healthy client's p99 {:.1} ms, {:.1} ms with the control; {} errors of it; \
             processor time {:.1} s of the attackers, {:.1} s of the service",
            round.client.percentile(99),
            round.control.percentile(99),
            round.client.errors,
            round.seen.cpu,
            round.service_cpu
        ),
        wrong: unless([(peak < PEAK_MAX, "too much memory"), (code == Some(0), "the exit code is not 0")]),
    }
}
