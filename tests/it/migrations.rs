//! The schema, and databases that this version can't use. The rules of migrations are in
//! `migrations/README.md`.

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::{
    conformance::{HOUR, IN_A_CALL, Subject, set, start},
    support::{
        database::{Engine, TestDatabase},
        on_every_engine,
        process::command,
    },
};

on_every_engine![
    a_database_of_an_earlier_development_version_is_refused,
    a_view_shows_the_times_as_timestamps,
];

/// Runs statements without parameters, and returns the text of the last one if it has one.
async fn query(engine: Engine, url: &str, sql: &'static str) -> Option<String> {
    let sql = AssertSqlSafe(sql);
    match engine {
        Engine::Postgres => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            sqlx::query_scalar(sql).fetch_optional(&mut connection).await.unwrap()
        }
        Engine::Sqlite => {
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            sqlx::query_scalar(sql).fetch_optional(&mut connection).await.unwrap()
        }
    }
}

async fn a_database_of_an_earlier_development_version_is_refused(engine: Engine) {
    let database = TestDatabase::new(engine).await;
    let migrate = || command().args(["migrate", "--database-url", &database.url]).output().unwrap();
    assert!(migrate().status.success());
    let change = match engine {
        Engine::Postgres => "update _sqlx_migrations set checksum = '\\x00'",
        Engine::Sqlite => "update _sqlx_migrations set checksum = x'00'",
    };
    query(engine, &database.url, change).await;
    let serve = || {
        let addresses =
            ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"];
        command().args(["serve", "--database-url", &database.url]).args(addresses).output().unwrap()
    };
    for output in [migrate(), serve()] {
        let text =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(69), "{text}");
        assert!(text.contains("an earlier development version of presenced made this database"), "{text}");
        assert!(text.contains("use another database, or remove the tables"), "{text}");
    }
}

async fn a_view_shows_the_times_as_timestamps(engine: Engine) {
    let subject = Subject::new(engine).await;
    subject.set(start(), &[set("u", "a", IN_A_CALL, HOUR)]).await;
    let sql = "select cast(expires_at as text) from presence_sessions_readable";
    let shown = query(engine, subject.url(), sql).await.unwrap();
    let expected = match engine {
        Engine::Postgres => "2026-11-22 03:50:00+00",
        Engine::Sqlite => "2026-11-22T03:50:00.000Z",
    };
    assert_eq!(shown, expected);
    let sql = "select cast(count(*) as text) from presence_users_readable";
    assert_eq!(query(engine, subject.url(), sql).await.as_deref(), Some("0"));
}
