//! Readiness: it outlasts a slow response of the database, ends when the database stays away, and
//! returns within a second.

use std::{future::pending, net::SocketAddr, time::Duration};

use presenced::{
    admin::ask_readyz,
    app::{App, Drain},
    clock::Clock,
    clock::Stopwatch,
};
use tokio::time::sleep;

use crate::support::{
    database::{Engine, TestDatabase},
    proxy::{Network, Proxy},
    server::{settings, start},
    wait::eventually,
};

/// The time for which the database fails before the service is not ready.
const FAILING_MAX: Duration = Duration::from_secs(3);
/// The time in which the service must notice that the database is back.
const RECOVERY_MAX: Duration = Duration::from_secs(1);
/// The pause between two probes.
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// A service whose database is behind a proxy.
struct Bench {
    app: App,
    admin: SocketAddr,
    proxy: Proxy,
    _database: TestDatabase,
}

impl Bench {
    async fn new() -> Self {
        let database = TestDatabase::new(Engine::Postgres).await;
        let (proxy, url) = Proxy::to(&database.url).await;
        let app = start(&settings(&url, &[]), Clock::new()).await;
        let admin = app.addresses().admin;
        let bench = Self { app, admin, proxy, _database: database };
        bench.becomes(true).await;
        bench
    }

    async fn is_ready(&self) -> bool {
        ask_readyz(self.admin).await.unwrap().0
    }

    /// Waits until the service is ready or not. Returns the time that this took.
    async fn becomes(&self, ready: bool) -> Duration {
        let stopwatch = Stopwatch::start();
        eventually(&format!("ready: {ready}"), async || self.is_ready().await == ready).await;
        stopwatch.elapsed()
    }

    /// Probes for this long. Returns the number of probes that found the service not ready.
    async fn unready_probes(&self, time: Duration) -> usize {
        let stopwatch = Stopwatch::start();
        let mut unready = 0;
        while stopwatch.elapsed() < time {
            unready += usize::from(!self.is_ready().await);
            sleep(PROBE_PAUSE).await;
        }
        unready
    }

    async fn stop(self) {
        self.proxy.set(Network::Up);
        assert_eq!(self.app.stop(Duration::from_secs(10), pending()).await, Drain::Complete);
    }
}

#[tokio::test]
async fn a_slow_response_of_the_database_leaves_the_service_ready() {
    let bench = Bench::new().await;
    for (network, time) in [
        (Network::Hung, Duration::from_millis(2_200)),
        (Network::Cut, Duration::from_millis(1_500)),
        (Network::Slow(Duration::from_millis(80)), Duration::from_secs(6)),
    ] {
        bench.proxy.set(network);
        let mut unready = bench.unready_probes(time).await;
        bench.proxy.set(Network::Up);
        unready += bench.unready_probes(Duration::from_secs(3)).await;
        assert_eq!(unready, 0, "probes that were not ready, {network:?} for {time:?}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_database_that_stays_away_makes_the_service_not_ready_until_it_is_back() {
    let bench = Bench::new().await;
    for network in [Network::Cut, Network::Hung] {
        let (mut left, mut returned) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            bench.proxy.set(network);
            left.push(bench.becomes(false).await);
            // Each time at another moment of the interval.
            sleep(Duration::from_millis(200 * u64::try_from(left.len()).unwrap())).await;
            bench.proxy.set(Network::Up);
            returned.push(bench.becomes(true).await);
        }
        println!("{network:?}: not ready after {left:?}, ready after {returned:?}");
        for time in left {
            assert!(
                time > FAILING_MAX.mul_f64(0.9) && time < 3 * FAILING_MAX,
                "{network:?}: not ready after {time:?}"
            );
        }
        returned.sort_unstable();
        let [_, median, _] = returned[..] else { panic!("three recoveries") };
        assert!(median < RECOVERY_MAX, "{network:?}: ready after {returned:?}");
    }
    bench.stop().await;
}
