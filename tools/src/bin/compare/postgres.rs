//! The database: its processor time, and its throughput with `pgbench`.

use std::{
    env, fs,
    io::Write,
    process::{Command, Stdio},
};

use presenced_tools::machine::{cpu_seconds_with_children, median};
use sqlx::{Connection, PgConnection, Row};
use tempfile::NamedTempFile;
use tokio::runtime;

/// The numbers of clients to try with `pgbench`.
const CLIENTS: [u32; 6] = [4, 8, 16, 32, 64, 128];

/// The statement of a set, for one session.
const UPSERT: &str = r"
insert into presence_sessions as s
    (tenant_id, user_id, session_id, availability, activity,
     opened_at, started_at, changed_at, set_at, expires_at, observed_at, observed_by_caller)
select '00000000-0000-0000-0000-000000000000'::uuid, 'bench-' || :user, 'bench', 'Busy', 'InACall',
       at.now, at.now, at.now, at.now, at.now + 3600000, at.now, false
from (select (extract(epoch from now()) * 1000)::bigint as now) as at
on conflict (tenant_id, user_id, session_id) do update set
    availability = excluded.availability,
    activity     = excluded.activity,
    set_at       = excluded.set_at,
    expires_at   = excluded.expires_at,
    cleared_at   = null,
    changed_at   = case
        when s.availability <> excluded.availability
          or s.activity <> excluded.activity
          or s.cleared_at is not null
          or s.expires_at <= excluded.set_at
          or (s.availability = 'Available' and s.set_at + 300000 <= excluded.set_at)
          or excluded.expires_at < s.expires_at
        then greatest(excluded.changed_at, s.changed_at + 1)
        else s.changed_at
    end;
";

/// The statement of a get, for one user.
const SELECT: &str = r"
select s.session_id, s.availability, s.activity, s.set_at, s.changed_at, s.expires_at, s.cleared_at, p.*
from presence_sessions as s
left join presence_users as p on p.tenant_id = s.tenant_id and p.user_id = s.user_id
where s.tenant_id = '00000000-0000-0000-0000-000000000000' and s.user_id = 'bench-' || :user;
";

/// A statement for `pgbench`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Statement {
    Upsert,
    Select,
}

/// A database of the server that `scripts/with-postgres` started.
pub(crate) struct Postgres {
    /// The URL of this database.
    pub(crate) url: String,
    postmaster: u32,
    runtime: runtime::Runtime,
}

impl Postgres {
    /// Creates a database.
    pub(crate) fn create(name: &str) -> Self {
        let url = env::var("PRESENCE_TEST_DATABASE_URL").expect("run scripts/bench, which starts PostgreSQL");
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let backend = runtime.block_on(async {
            let mut connection = PgConnection::connect(&url).await.expect("PostgreSQL accepts connections");
            let statement = format!("create database {name}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
            sqlx::query("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap().get::<i32, _>(0)
        });
        let status =
            fs::read_to_string(format!("/proc/{backend}/status")).expect("PostgreSQL is on this machine");
        let postmaster = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
        let postmaster = postmaster.trim().parse().unwrap();
        let url = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
        Self { url, postmaster, runtime }
    }

    /// Executes statements.
    pub(crate) fn execute(&self, statements: &str) {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
        });
    }

    /// Returns the first row of the result as texts.
    pub(crate) fn query(&self, statement: &str) -> Vec<String> {
        self.runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let row = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).fetch_one(&mut connection).await.unwrap();
            (0..row.len()).map(|column| row.try_get_unchecked(column).unwrap()).collect()
        })
    }

    /// The processor time of all processes of the server in seconds, including ended ones.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds_with_children(self.postmaster)
    }

    /// Runs `pgbench`. Returns statements per second, and the median latency in milliseconds.
    pub(crate) fn pgbench(&self, statement: Statement, clients: u32, users: u32, seconds: f64) -> (f64, f64) {
        let text = match statement {
            Statement::Upsert => UPSERT,
            Statement::Select => SELECT,
        };
        let mut script = NamedTempFile::new().unwrap();
        write!(script, "\\set user random(0, {})\n{}", users - 1, text.trim().replace('\n', " ")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let log = format!("--log-prefix={}", folder.path().join("log").display());
        let output = Command::new("pgbench")
            .args(["--no-vacuum", "--protocol", "prepared", "--log", "--sampling-rate", "0.05", &log])
            .args(["--client", &clients.to_string(), "--jobs", &clients.min(2).to_string()])
            .args(["--time", &format!("{:.0}", seconds.max(1.0)), "--file"])
            .args([script.path().as_os_str(), self.url.as_ref()])
            .stderr(Stdio::inherit())
            .output()
            .expect("pgbench is installed with PostgreSQL");
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate =
            output.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        let mut micros = Vec::new();
        for file in fs::read_dir(folder.path()).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            micros.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
        }
        (rate.unwrap_or_else(|| panic!("pgbench failed: {output}")), median(micros) / 1_000.0)
    }

    /// The number of clients with which `pgbench` is fastest.
    pub(crate) fn best_clients(&self, statement: Statement, users: u32, seconds: f64) -> u32 {
        let rates = CLIENTS.map(|clients| (self.pgbench(statement, clients, users, seconds).0, clients));
        rates.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
    }
}
