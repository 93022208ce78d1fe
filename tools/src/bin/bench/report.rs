//! The report of a benchmark.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;
use tonic::Code;

use crate::{
    load::{Measured, NO_RESPONSE, is_done},
    settings::{Api, Operation, Settings},
};

/// The percentiles of latency in the report.
const PERCENTILES: [f64; 6] = [50.0, 75.0, 90.0, 99.0, 99.9, 99.99];

/// The result of a benchmark.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Operation.
    operation: String,
    /// API and protocol.
    api: String,
    /// Address.
    target: String,
    /// Number of connections.
    connections: u32,
    /// Concurrent calls on each.
    streams: u16,
    /// Number of users.
    users: u32,
    /// Sessions or presences in one call.
    batch_size: u16,
    /// Calls due in a second; none in a closed loop.
    rate: Option<u32>,
    /// Length of the measurement.
    seconds: f64,
    /// Responses in a second.
    calls_per_second: f64,
    /// Sessions or presences of successful calls in a second.
    members_per_second: f64,
    /// Calls due during the measurement, by the code of the response.
    codes: BTreeMap<String, u64>,
    /// Failed calls.
    errors: u64,
    /// Time from the moment that a call was due to its response, in milliseconds.
    latency_ms: BTreeMap<String, f64>,
    /// Processor time of this process for one call, in microseconds.
    client_processor_us_per_call: f64,
}

impl Report {
    pub(crate) fn new(settings: &Settings, target: &str, measured: &Measured) -> Self {
        let Measured { length, calls, members, codes, latency, processor } = measured;
        let seconds = length.as_secs_f64();
        let clears = settings.operation == Operation::Clear;
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

    /// The number of failed calls.
    pub(crate) const fn errors(&self) -> u64 {
        self.errors
    }

    /// The report as one line of JSON.
    pub(crate) fn to_json(&self) -> String {
        // Every field has a representation in JSON.
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
        writeln!(f, "  responses   {}; {} errors", codes.join(", "), self.errors)?;
        writeln!(f, "  client cpu  {:.2} us per call", self.client_processor_us_per_call)?;
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
    // Counts stay far below the 53 bits of a double.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let number = number as f64;
    if of > 0.0 { number / of } else { 0.0 }
}

fn code_name(api: Api, code: u16) -> String {
    match api {
        _ if code == NO_RESPONSE => "no response".to_owned(),
        Api::Grpc => format!("{:?}", Code::from_i32(code.into())),
        Api::Http | Api::Http2 | Api::Webdis => code.to_string(),
    }
}

/// The name of the value on the command line.
fn name(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
