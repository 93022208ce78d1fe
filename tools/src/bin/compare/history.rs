//! The cost of history: sets with history beside sets without it, and reads of the history beside
//! reads of the presence.

use presenced_tools::{
    machine::median,
    process::{Process, command},
};

use crate::{
    opening::{Pair, print_head},
    postgres::Postgres,
    subject::{Sample, Width, bench, measure},
    table::print_machine,
};

const WIDE: Width = Width { connections: 16, streams: 32 };
const MEDIUM: Width = Width { connections: 16, streams: 8 };
const ALONE: Width = Width { connections: 1, streams: 1 };
const USERS: &str = "20000";
/// The users with a long history, and the changes of each.
const FEW_USERS: &str = "1000";
const DAY: u32 = 500;

/// The service on a database of its own.
struct Server {
    service: Process,
    database: Postgres,
}

impl Server {
    fn start(name: &str, history: &str) -> Self {
        let database = Postgres::create(name);
        let mut command = command();
        command.args(["--history", history]);
        Self { service: Process::start_blocking(command, &database.url), database }
    }

    fn measure(&self, width: Width, seconds: f64, arguments: &[&str]) -> Sample {
        measure(&self.service, Some(&self.database), width, seconds, arguments)
    }

    /// The bytes that are written to the write-ahead log.
    fn log_bytes(&self) -> f64 {
        self.database.query("select (pg_current_wal_insert_lsn() - '0/0')::text")[0].parse().unwrap()
    }
}

/// Measures all pairs, and prints them.
pub(crate) fn run(quick: bool) {
    let (rounds, seconds) = if quick { (3, 1.0) } else { (15, 2.0) };
    let (on, off) = (Server::start("history_on", "168h"), Server::start("history_off", "0s"));
    print_machine(&on.database);
    println!("{rounds} rounds, in turn; medians; ratios are medians of the rounds' ratios\n");
    print_head();
    for server in [&on, &off] {
        bench(server.service.grpc, WIDE, 1.0, &["--operation", "set", "--users", USERS, "--load"]);
        server.database.execute("vacuum analyze");
    }
    for (name, changes) in [("refreshing", &[][..]), ("changing", &["--changes"][..])] {
        let arguments = [&["--operation", "set", "--users", USERS][..], changes].concat();
        let mut pair = Pair::default();
        let mut log = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            for (server, samples, log) in
                [(&on, &mut pair.above, &mut log.0), (&off, &mut pair.below, &mut log.1)]
            {
                let before = server.log_bytes();
                let sample = server.measure(MEDIUM, seconds, &arguments);
                log.push((server.log_bytes() - before) / (sample.per_second * seconds));
                samples.push(sample);
            }
        }
        pair.print(&format!("{name} with history, 128 callers"), "without history");
        println!("  log bytes a set: {:.0} and {:.0}\n", median(log.0), median(log.1));
    }
    let [bytes, spans] = ["pg_total_relation_size('presence_history')", "count(*)"].map(|figure| {
        let text = &on.database.query(&format!("select ({figure})::text from presence_history limit 1"))[0];
        text.parse::<f64>().unwrap()
    });
    println!("{:.0} bytes for each of {spans:.0} spans, with indexes\n", bytes / spans);
    read(&on, rounds, seconds);
}

/// Measures reads of users with a history.
fn read(server: &Server, rounds: u32, seconds: f64) {
    let mut pair = Pair::default();
    for _ in 0..rounds {
        for (operation, samples) in [("get-full", &mut pair.above), ("get", &mut pair.below)] {
            samples.push(server.measure(WIDE, seconds, &["--operation", operation, "--users", USERS]));
        }
    }
    pair.print("reading a presence with PRESENCE_VIEW_FULL", "with PRESENCE_VIEW_BASIC");

    server.database.execute("truncate presence_history");
    for _ in 0..DAY {
        let arguments = ["--each-user", "--operation", "set", "--users", FEW_USERS, "--changes"];
        server.measure(MEDIUM, 1.0, &arguments);
    }
    server.database.execute("vacuum analyze");
    let mut pair = Pair::default();
    for _ in 0..rounds {
        for (operation, samples) in [("history", &mut pair.above), ("get", &mut pair.below)] {
            samples.push(server.measure(ALONE, seconds, &["--operation", operation, "--users", FEW_USERS]));
        }
    }
    pair.print("listing a day with some 400 changes, 1 caller", "reading a presence");
}
