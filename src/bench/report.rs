//! What a benchmark says.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;
use tonic::Code;

use super::load::{Measured, UNANSWERED, is_done};
use crate::settings::{BenchApi, BenchOperation, BenchSettings};

/// The share of calls that were answered as soon as a latency, in percent.
const PERCENTILES: [f64; 6] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99];

/// The result of a benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was called.
    operation: String,
    /// How.
    api: String,
    /// Where.
    target: String,
    /// Connections that were open.
    connections: u32,
    /// Calls under way on each.
    streams: u16,
    /// Users among which calls chose.
    users: u32,
    /// Sessions or presences in a call.
    batch_size: u16,
    /// Calls that were due in a second, if they were.
    rate: Option<u32>,
    /// How long it was measured.
    seconds: f64,
    /// Calls answered in a second.
    calls_per_second: f64,
    /// Sessions or presences in a second of which the answer was good.
    members_per_second: f64,
    /// Calls that were due while it was measured, by the code of their answer.
    codes: BTreeMap<String, u64>,
    /// Those that failed.
    errors: u64,
    /// From when a call was due to its answer, in milliseconds.
    latency_ms: BTreeMap<String, f64>,
    /// What a call cost this process, in microseconds of processor time.
    client_processor_us_per_call: f64,
}

impl Report {
    pub(super) fn new(settings: &BenchSettings, target: &str, measured: &Measured) -> Self {
        let Measured { length, calls, members, codes, latency, processor } = measured;
        let seconds = length.as_secs_f64();
        let clears = settings.operation == BenchOperation::Clear;
        let failed = codes.iter().filter(|(code, _)| !is_done(settings.api, clears, **code));
        let at = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1_000.0;
        let percentiles = PERCENTILES
            .iter()
            .map(|percent| (format!("p{percent}"), at(latency.value_at_quantile(percent / 100.0))));
        let ends = [("min".to_owned(), at(latency.min())), ("max".to_owned(), at(latency.max()))];
        let (connections, streams) = settings.width();
        Self {
            operation: name(&settings.operation),
            api: name(&settings.api),
            target: target.to_owned(),
            connections,
            streams,
            users: settings.users,
            batch_size: settings.batch_size.unwrap_or(1),
            rate: settings.rate,
            seconds,
            calls_per_second: ratio(*calls, seconds),
            members_per_second: ratio(*members, seconds),
            errors: failed.map(|(_, calls)| calls).sum(),
            codes: codes.iter().map(|(code, calls)| (code_name(settings.api, *code), *calls)).collect(),
            latency_ms: percentiles.chain(ends).collect(),
            client_processor_us_per_call: processor.as_secs_f64() * 1e6 / ratio(*calls, 1.0).max(1.0),
        }
    }

    /// Calls that failed.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // There is nothing in it that JSON does not have.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, api, target, connections, streams, users, batch_size, seconds, .. } = self;
        write!(f, "{operation}")?;
        if *batch_size > 1 {
            write!(f, " of {batch_size}")?;
        }
        writeln!(
            f,
            " over {api} at {target}, {users} users, {connections} connections with {streams} calls each, {}, \
             {seconds:.1} s",
            self.rate.map_or("closed loop".to_owned(), |rate| format!("{rate} calls/s due")),
        )?;
        writeln!(f, "  calls/s     {:.0}", self.calls_per_second)?;
        if *batch_size > 1 {
            writeln!(f, "  members/s   {:.0}", self.members_per_second)?;
        }
        let codes = self.codes.iter().map(|(code, calls)| format!("{calls} {code}")).collect::<Vec<_>>();
        writeln!(f, "  answers     {}; {} errors", codes.join(", "), self.errors)?;
        writeln!(f, "  client cpu  {:.2} us a call", self.client_processor_us_per_call)?;
        writeln!(f, "  latency, ms")?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str| {
            writeln!(f, "    {name:9} {:>10.3}", self.latency_ms.get(name).copied().unwrap_or_default())
        };
        row(f, "min")?;
        for percent in PERCENTILES {
            row(f, &format!("p{percent}"))?;
        }
        row(f, "max")
    }
}

fn ratio(number: u64, of: f64) -> f64 {
    // Counts stay far below what a double tells apart.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let number = number as f64;
    if of > 0.0 { number / of } else { 0.0 }
}

fn code_name(api: BenchApi, code: u16) -> String {
    match api {
        _ if code == UNANSWERED => "unanswered".to_owned(),
        BenchApi::Grpc => format!("{:?}", Code::from_i32(code.into())),
        BenchApi::Http | BenchApi::Http2 => code.to_string(),
    }
}

/// As on the command line.
fn name(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
