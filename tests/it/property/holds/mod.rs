//! Random interleavings of streams that hold a session, plain calls by other callers, and lost
//! responses, compared with a model of the states that may be shown: no acknowledged state is undone,
//! and a stream hears at once that it lost its session.

mod interleaving;
mod model;
mod report;
mod stream;

use std::{future::pending, time::Duration};

use fastrand::Rng;
use futures_util::{StreamExt, stream::iter};
use presenced::{
    app::{App, Drain},
    clock::{Clock, Stopwatch},
};
use tokio::time::sleep;

use crate::support::{
    client::{Api, Client},
    database::{Engine, TestDatabase},
    number, on_every_engine,
    proxy::{Network, Proxy},
    server::{settings, start},
};
use interleaving::{Interleaving, Replica};
use report::{Report, percentile};

on_every_engine![no_acknowledged_state_is_undone_by_a_stream_that_lost_its_session];

/// The maximum number of interleavings at once.
const AT_ONCE_MAX: usize = 50;
/// The limit for the time until a stream hears that it lost its session: of 99 in 100, on the other
/// replica.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// The replicas on one database, and the network between the first one and the database.
struct Bench {
    apps: Vec<App>,
    replicas: Vec<Replica>,
    network: Option<Proxy>,
    stopwatch: Stopwatch,
    _database: TestDatabase,
}

impl Bench {
    /// Starts two replicas on PostgreSQL, the first of which may lose its database; one on SQLite.
    async fn start(engine: Engine, has_faults: bool) -> Self {
        let database = TestDatabase::new(engine).await;
        let (mut urls, mut network) = (vec![database.url.clone()], None);
        if engine == Engine::Postgres {
            if has_faults {
                let (proxy, url) = Proxy::to(&database.url).await;
                urls = vec![url];
                network = Some(proxy);
            }
            urls.push(database.url.clone());
        }
        let (mut apps, mut replicas) = (Vec::new(), Vec::new());
        for url in urls {
            let app = start(&settings(&url, &[]), Clock::new()).await;
            let addresses = app.addresses();
            let clients = [Api::Grpc, Api::Http].map(|api| Client::new(api, addresses.grpc, addresses.http));
            replicas.push(Replica { addresses, clients });
            apps.push(app);
        }
        Self { apps, replicas, network, stopwatch: Stopwatch::start(), _database: database }
    }

    /// Runs interleavings, each for a user of its own.
    async fn run(&self, interleavings: usize, random: &mut Rng) -> Report {
        let seeds: Vec<_> = (0..interleavings).map(|number| (number, random.u64(..))).collect();
        let runs = iter(seeds).map(|(number, seed)| {
            Interleaving::new(&self.replicas, format!("u{number}"), seed, self.stopwatch).run()
        });
        let reports = runs.buffer_unordered((interleavings / 3).clamp(1, AT_ONCE_MAX)).collect::<Vec<_>>();
        let faults = async {
            match &self.network {
                Some(network) => break_often(network, random.fork()).await,
                None => pending().await,
            }
        };
        let reports = tokio::select! {
            reports = reports => reports,
            () = faults => unreachable!("the faults do not end"),
        };
        Report::of_all(reports)
    }

    async fn stop(self) {
        if let Some(network) = &self.network {
            network.set(Network::Up);
        }
        for app in self.apps {
            assert_eq!(app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
        }
    }
}

/// Breaks the network again and again, each time for less than a second.
async fn break_often(network: &Proxy, mut random: Rng) {
    let faults = [
        Network::Cut,
        Network::Reset,
        Network::Hung,
        Network::HoldingSync,
        Network::Slow(Duration::from_millis(20)),
    ];
    loop {
        sleep(Duration::from_millis(random.u64(500..1_500))).await;
        network.set(random.choice(faults).unwrap());
        sleep(Duration::from_millis(random.u64(50..800))).await;
        network.set(Network::Up);
    }
}

async fn no_acknowledged_state_is_undone_by_a_stream_that_lost_its_session(engine: Engine) {
    let mut interleavings = number("PRESENCE_TEST_HOLDS", 1_000);
    if engine == Engine::Sqlite {
        // With one replica fewer things happen at once.
        interleavings /= 2;
    }
    let seed = u64::try_from(number("PRESENCE_TEST_HOLDS_SEED", fastrand::usize(..))).unwrap();
    println!("{engine:?}: PRESENCE_TEST_HOLDS_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    // The database of a fifth fails often. SQLite's is in the service.
    let with_faults = if engine == Engine::Postgres { interleavings / 5 } else { 0 };

    let bench = Bench::start(engine, false).await;
    let report = bench.run(interleavings - with_faults, &mut random).await;
    report.print(engine, "on a healthy network", bench.stopwatch.elapsed());
    for heard in &report.heard {
        let p99 = percentile(heard, 99);
        assert!(p99 <= HEARD_WITHIN, "{p99:?} until 99 in 100 streams heard that they lost their session");
    }
    bench.stop().await;

    if with_faults > 0 {
        let bench = Bench::start(engine, true).await;
        let report = bench.run(with_faults, &mut random).await;
        report.print(engine, "with a broken database", bench.stopwatch.elapsed());
        // Few of the calls of a short run may meet a fault.
        assert!(report.unavailable > 0 || with_faults < 1_000, "no fault had an effect");
        bench.stop().await;
    }
}
