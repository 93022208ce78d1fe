//! Thousands of connections that do everything at random, with a restart of the service every
//! minute, beside writers with a ledger.

mod crowd;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use presenced_tools::{
    ledger::{Ledger, Writers},
    machine::{memory, peak_memory},
    process::{Process, set_binary},
};
use tokio::{
    runtime,
    task::spawn_blocking,
    time::{sleep, sleep_until, timeout},
};

use crate::report::{metrics, stop, value};
use crowd::Crowd;

/// The flags of the service. The budget is that of the container in `docker-compose.yml`.
const FLAGS: [&str; 4] = ["--drain-timeout", "20s", "--memory-max-bytes", "268435456"];
/// The growth of memory that is allowed.
const GROWTH_MAX: f64 = 1.1;
/// The minute whose memory is compared with that of the last one.
const COMPARED: usize = 3;
/// The writes that must succeed again after a restart, and the time for that.
const WRITES_AFTER: (usize, Duration) = (200, Duration::from_mins(1));
/// The time that a reader has to notice a cut.
const NOTICE: Duration = Duration::from_secs(1);

/// The arguments of the soak.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Binary of the server.
    binary: PathBuf,
    /// Number of restarts.
    #[arg(long, default_value_t = 10)]
    minutes: usize,
    /// Time in seconds after which each process gets SIGTERM.
    #[arg(long, default_value_t = 60)]
    restart_every: u64,
    /// Number of connections.
    #[arg(long, default_value_t = 2_000)]
    connections: usize,
}

/// The results of one process.
#[derive(Debug)]
struct Minute {
    memory: u64,
    peak: u64,
    lost: usize,
    drained: bool,
    /// Readers that saw their response cut while the process stopped, and before.
    cut: [usize; 2],
    exit: Option<i32>,
}

impl Minute {
    /// A log line that claims more than readers saw.
    const fn is_wrongly_drained(&self) -> bool {
        self.drained && self.cut[0] > 0
    }
}

impl Arguments {
    /// Returns whether everything held.
    pub(crate) fn run(self) -> bool {
        set_binary(&self.binary);
        runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(self.soak())
    }

    async fn soak(self) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("presence.db").display());
        let mut process = Process::start(&url, &FLAGS).await;
        let ledger = Arc::new(Ledger::default());
        let crowd = Crowd::start(self.connections, process.grpc, process.http);
        println!(
            "{} connections; SIGTERM and a start on the same ports every {} s\n\n| process | memory, MiB | peak | \
             connections | writes | lost | exit | drained | readers complete | cut in the drain | cut before |\n\
             |---|---|---|---|---|---|---|---|---|---|---|",
            self.connections, self.restart_every
        );
        let mut minutes = Vec::new();
        for number in 1..=self.minutes {
            let minute;
            (minute, process) = self.minute(process, &url, &ledger, &crowd, number).await;
            minutes.push(minute);
        }
        let counts = crowd.counts().into_iter().map(|(what, times)| format!("{what}: {times}"));
        println!("\n{}", counts.collect::<Vec<_>>().join("; "));
        result(&minutes, &ledger)
    }

    /// Runs one process to its end. Returns the next one.
    async fn minute(
        &self,
        process: Process,
        url: &str,
        ledger: &Arc<Ledger>,
        crowd: &Crowd,
        number: usize,
    ) -> (Minute, Process) {
        let (started, length) = (tokio::time::Instant::now(), Duration::from_secs(self.restart_every));
        let (grpc, http, complete) = (process.grpc, process.http, crowd.complete());
        let writers = Writers::start(ledger, grpc, number);
        sleep_until(started + length * 5 / 6).await;
        let sample = (memory(process.id()), peak_memory(process.id()));
        let admin = process.admin;
        let open = spawn_blocking(move || metrics(admin)).await.unwrap();
        let open =
            ["grpc", "http"].map(|api| value(&open, &format!("presence_connections{{api=\"{api}\"}}")));
        // In every second drain no client holds it up on purpose, so that it can complete.
        crowd.set_polite(number.is_multiple_of(2));
        sleep_until(started + length).await;

        let terminated = Instant::now();
        let mut process = process;
        let (exit, log) = spawn_blocking(move || stop(&mut process)).await.unwrap();
        let ended = Instant::now();
        let process = Process::start_at(grpc, http, url, &FLAGS).await;
        crowd.set_polite(false);
        let (more, patience) = WRITES_AFTER;
        let enough = ledger.acknowledged() + more;
        timeout(patience, ledger.reaches(enough)).await.expect("writes are acknowledged after a restart");
        writers.stop().await;
        let lost = ledger.lost(grpc).await;
        sleep(NOTICE).await;
        let cuts = crowd.take_cuts();
        let in_drain = cuts.iter().filter(|at| (terminated..ended + NOTICE).contains(at)).count();
        let minute = Minute {
            memory: sample.0,
            peak: sample.1,
            lost,
            drained: log.contains("drained: every response was sent completely"),
            cut: [in_drain, cuts.len() - in_drain],
            exit,
        };
        println!(
            "| {number} | {} | {} | {} | {} | {lost} | {exit:?} after {:.1?} | {} | {} | {} | {} |",
            minute.memory,
            minute.peak,
            open.iter().sum::<u64>(),
            ledger.acknowledged(),
            ended - terminated,
            if minute.drained { "yes" } else { "no" },
            crowd.complete() - complete,
            minute.cut[0],
            minute.cut[1],
        );
        (minute, process)
    }
}

/// Prints what must hold. Returns whether it did.
#[expect(clippy::cast_precision_loss, reason = "sizes are small")]
fn result(minutes: &[Minute], ledger: &Ledger) -> bool {
    let lost: usize = minutes.iter().map(|minute| minute.lost).sum();
    let wrongly = minutes.iter().filter(|minute| minute.is_wrongly_drained()).count();
    let drained = minutes.iter().filter(|minute| minute.drained).count();
    let cut: usize = minutes.iter().map(|minute| minute.cut[1]).sum();
    let (early, late) =
        (minutes[(COMPARED - 1).min(minutes.len() - 1)].memory, minutes[minutes.len() - 1].memory);
    let exits = minutes.iter().filter(|minute| minute.exit == Some(0)).count();
    let mut held = true;
    for (holds, text) in [
        (
            lost == 0 && ledger.wrong() == 0,
            format!(
                "{lost} acknowledged writes lost of {}, {} wrong; {} failed attempts",
                ledger.acknowledged(),
                ledger.wrong(),
                ledger.failed()
            ),
        ),
        (wrongly == 0, format!("{wrongly} of {drained} \"drained\" lines wrong")),
        (cut == 0, format!("{cut} responses cut while the service ran")),
        (exits == minutes.len(), format!("{exits} of {} processes ended with 0", minutes.len())),
        (
            late as f64 <= early as f64 * GROWTH_MAX,
            format!(
                "{early} MiB in process {}, {late} MiB in process {}",
                COMPARED.min(minutes.len()),
                minutes.len()
            ),
        ),
    ] {
        println!("{text}: {}", if holds { "yes" } else { "NO" });
        held &= holds;
    }
    held
}
