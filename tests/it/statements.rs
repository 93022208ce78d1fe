//! The rules of Citus for the statements of PostgreSQL, checked without Citus. The script
//! `scripts/check-statements` has the rules.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{conformance::Subject, support::database::Engine};

/// Checks statements on a new database. Returns the output of the check, and whether it found no
/// fault.
async fn check(files: &[PathBuf]) -> (String, bool) {
    let subject = Subject::new(Engine::Postgres).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check-statements");
    let output = Command::new(script).arg(subject.url()).args(files).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !errors.contains("ModuleNotFoundError"),
        "pglast and psycopg: run scripts/test, which installs them, and add target/tools/bin to the PATH"
    );
    assert_eq!(errors, "");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

#[tokio::test]
async fn every_statement_keeps_the_rules_of_citus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    let (text, held) = check(&files).await;
    assert!(held, "{text}");
    assert!(text.contains(&format!("{} statements", files.len())), "{text}");
}

/// Statements that break a rule, with the text that names the fault, and one that breaks none.
const FAULTS: [(&str, &str); 10] = [
    ("select * from presence_sessions where to_timestamp(set_at) < $1", ""),
    ("select date_trunc('day', to_timestamp(set_at)) from presence_sessions", "date_trunc(text,timestamp"),
    ("select to_timestamp(set_at) < '2026-01-01'::date from presence_sessions", "timestamptz_lt_date"),
    ("select user_id || tenant_id from presence_sessions", "textanycat(text,anynonarray) is not immutable"),
    ("select to_timestamp(set_at)::text from presence_sessions", "timestamptz_out(timestamp"),
    ("select random() from presence_sessions", "random() is not immutable, and it is not one that may be"),
    ("select user_id from presence_sessions where now() is null", "now() is not immutable"),
    ("select user_id from presence_users where current_timestamp > $1", "SQLVALUEFUNCTION"),
    (
        "select user_id from (select user_id from presence_users for update) as u",
        "a lock of rows of presence_users",
    ),
    (
        "insert into presence_leases as l values ($1, $2, $3, $4) \
         on conflict (name) do update set taken_at = excluded.taken_at where l.until < $3",
        "the parameter $3 inside on conflict",
    ),
];

#[tokio::test]
async fn a_statement_that_breaks_a_rule_of_citus_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |(index, (statement, _)): (usize, &(&str, &str))| {
        let file = folder.path().join(format!("statement_{index}.sql"));
        fs::write(&file, statement).unwrap();
        file
    };
    let files: Vec<_> = FAULTS.iter().enumerate().map(write).collect();
    let (text, held) = check(&files).await;
    assert!(!held, "{text}");
    for (index, (statement, fault)) in FAULTS.iter().enumerate() {
        let prefix = format!("statement_{index}.sql: ");
        let found: Vec<_> = text.lines().filter(|line| line.starts_with(&prefix)).collect();
        match *fault {
            "" => assert_eq!(found, [""; 0], "{statement}"),
            fault => assert!(found.len() == 1 && found[0].contains(fault), "{statement}: {text}"),
        }
    }
}

/// A connection plans a statement once, perhaps while the table is empty. A scan of all users of a
/// tenant looks cheap then, and would be slow later.
#[tokio::test]
async fn a_plan_for_an_empty_table_looks_each_user_up_by_the_key() {
    let subject = Subject::new(Engine::Postgres).await;
    let mut connection = PgConnection::connect(subject.url()).await.unwrap();
    connection.execute("set plan_cache_mode = force_generic_plan; set enable_seqscan = off").await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let tenant = "'00000000-0000-0000-0000-000000000000'";
    for (name, arguments, scans) in [("load", "array['u']", 2), ("crowded_sessions", "array['u'], 1", 1)] {
        let text = fs::read_to_string(folder.join(format!("{name}.sql"))).unwrap();
        connection.execute(AssertSqlSafe(format!("prepare {name} as {text}"))).await.unwrap();
        let explain = AssertSqlSafe(format!("explain execute {name} ({tenant}, {arguments})"));
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
        let by_key = |line: &&String| line.contains("Index Cond: ((tenant_id = $1) AND (user_id = requested");
        assert_eq!(plan.iter().filter(by_key).count(), scans, "{plan:#?}");
    }
}
