//! Throughput and size as the data grows.

use presenced_tools::{
    machine::{median, memory},
    process::{Process, command},
};

use crate::{
    postgres::Postgres,
    subject::{Width, bench, measure},
};

const WIDE: Width = Width { connections: 16, streams: 32 };
const BULK: Width = Width { connections: 4, streams: 2 };
const USERS: u32 = 100_000;
const ROWS: u64 = 10_000_000;
const ROUNDS: usize = 5;
const SECONDS: f64 = 8.0;
const REFRESHES: u64 = 5_000_000;
const SOAK_MINUTES: u32 = 10;

/// Compares sets of 100,000 active users in a table of ten million rows and in a table of their
/// own rows.
pub(crate) fn rows() {
    let (alone, among) = (Postgres::create("bench_alone"), Postgres::create("bench_among"));
    let services = [&alone, &among].map(|database| Process::start_blocking(command(), &database.url));
    bench(services[0].grpc, BULK, 0.5, &["--load"]);
    // The active users are bench-0 to bench-99999: spread over the table by the order of the
    // inserts, and over the index by their names.
    among.execute(&format!(
        "insert into presence_sessions
             (tenant_id, user_id, session_id, availability, activity,
              opened_at, started_at, changed_at, set_at, expires_at, observed_at, observed_by_caller)
         select '00000000-0000-0000-0000-000000000000', 'bench-' || (n * 7919 % {ROWS}), 'bench', 'Busy', 'InACall',
                at.now, at.now, at.now, at.now, at.now + 3600000, at.now, false
         from generate_series(0::int8, {ROWS} - 1) as n,
              (select (extract(epoch from now()) * 1000)::bigint as now) as at"
    ));
    for database in [&alone, &among] {
        database.execute("vacuum analyze");
        database.execute("checkpoint");
    }
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let [alone, among] = [(&services[0], &alone), (&services[1], &among)]
            .map(|(service, database)| measure(service, Some(database), WIDE, SECONDS, &[]).per_second);
        println!("round {round}: {alone:.0} sets a second alone, {among:.0} among {ROWS} rows");
        ratios.push(among / alone);
    }
    println!("{USERS} active users among {ROWS} rows / alone: {:.2} (target >= 0.8)", median(ratios));
}

/// Measures the table and its index during as many refreshes as a day has.
pub(crate) fn refreshes() {
    let database = Postgres::create("bench_refreshes");
    let service = Process::start_blocking(command(), &database.url);
    bench(service.grpc, BULK, 0.5, &["--load"]);
    database.execute("vacuum analyze");
    database.execute("checkpoint");
    let state = || {
        let row = database.query(
            "select pg_relation_size('presence_sessions')::text, pg_indexes_size('presence_sessions')::text,
                    n_tup_upd::text, n_tup_hot_upd::text, (pg_current_wal_lsn() - '0/0')::text
             from pg_stat_user_tables where relname = 'presence_sessions'",
        );
        row.iter().map(|text| text.parse::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let before = state();
    println!("{:>10} {:>10} {:>10} {:>10} {:>10}", "refreshes", "table MiB", "index MiB", "HOT", "WAL bytes");
    let mut now = before.clone();
    while now[2] - before[2] < REFRESHES as f64 {
        bench(service.grpc, WIDE, 20.0, &[]);
        now = state();
        let refreshes = now[2] - before[2];
        println!(
            "{refreshes:10.0} {:10.1} {:10.1} {:9.2}% {:10.0}",
            now[0] / 1_048_576.0,
            now[1] / 1_048_576.0,
            (now[3] - before[3]) / refreshes * 100.0,
            (now[4] - before[4]) / refreshes,
        );
    }
    println!(
        "before: table {:.1} MiB, index {:.1} MiB; WAL bytes are per set, with full pages after checkpoints",
        before[0] / 1_048_576.0,
        before[1] / 1_048_576.0
    );
}

/// Measures the service's memory under full load.
pub(crate) fn soak() {
    let database = Postgres::create("bench_soak");
    let service = Process::start_blocking(command(), &database.url);
    bench(service.grpc, BULK, 0.5, &["--load"]);
    for minute in 1..=SOAK_MINUTES {
        let sample =
            measure(&service, Some(&database), WIDE, 60.0, &["--operation", "mix", "--mix-sets", "50"]);
        println!("minute {minute}: {:.0} calls a second, {} MiB", sample.per_second, memory(service.id()));
    }
}
