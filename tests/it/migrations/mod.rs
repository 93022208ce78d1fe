//! Migrations keep older data, and older code runs on the new schema. The rules are in
//! `migrations/README.md`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr, SqliteConnection};

use crate::support::{
    client::{Api, Client, Outcome},
    database::{Engine, TestDatabase},
    on_every_engine,
    process::{Process, command},
};

on_every_engine![
    a_migration_keeps_older_data,
    older_statements_are_valid_on_the_newest_schema,
    writes_of_older_code_are_valid_on_the_newest_schema,
];

/// The files of the folder, by the number in their names.
fn numbered(folder: &str, prefix: &str) -> BTreeMap<usize, PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let numbered = paths.filter_map(|path| {
        let rest = path.file_name()?.to_str()?.strip_prefix(prefix)?;
        Some((rest.get(..4)?.parse().ok()?, path.clone()))
    });
    numbered.collect()
}

/// A database with all migrations, and the files of its engine.
struct Migrated {
    engine: Engine,
    database: TestDatabase,
    /// All migrations, by version.
    migrations: BTreeMap<usize, PathBuf>,
    /// The writes of the code of each version.
    written: BTreeMap<usize, PathBuf>,
}

impl Migrated {
    /// Makes a database with all migrations.
    async fn new(engine: Engine) -> Self {
        let name = name(engine);
        let migrated = Self {
            engine,
            database: TestDatabase::new(engine).await,
            migrations: numbered(&format!("migrations/{name}"), ""),
            written: numbered(&format!("tests/it/migrations/{name}"), ""),
        };
        migrated.migrate();
        migrated
    }

    /// Runs `presenced migrate`.
    fn migrate(&self) {
        let output = command().args(["migrate", "--database-url", &self.database.url]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes the schema that of an older version, without rows.
    async fn go_back_to(&self, version: usize) {
        for table in TABLES {
            self.execute(format!("drop table {table}")).await;
        }
        self.execute(format!("delete from _sqlx_migrations where version > {version}")).await;
        for (_, file) in self.migrations.range(..=version) {
            self.execute(fs::read_to_string(file).unwrap()).await;
        }
    }

    /// Runs the writes of the code up to this version.
    async fn write(&self, version: usize) {
        for (_, file) in self.written.range(..=version) {
            self.execute(fs::read_to_string(file).unwrap()).await;
        }
    }

    async fn execute(&self, sql: String) {
        let (sql, url) = (AssertSqlSafe(sql), self.database.url.as_str());
        match self.engine {
            Engine::Postgres => PgConnection::connect(url).await.unwrap().execute(sql).await.map(drop),
            Engine::Sqlite => SqliteConnection::connect(url).await.unwrap().execute(sql).await.map(drop),
        }
        .unwrap();
    }

    async fn texts(&self, sql: String) -> Vec<String> {
        let (query, url) = (AssertSqlSafe(sql), self.database.url.as_str());
        match self.engine {
            Engine::Postgres => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(query).fetch_all(&mut connection).await
            }
            Engine::Sqlite => {
                let mut connection = SqliteConnection::connect(url).await.unwrap();
                sqlx::query_scalar(query).fetch_all(&mut connection).await
            }
        }
        .unwrap()
    }

    /// The columns of each table that exists.
    async fn columns(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        for table in TABLES {
            let names = match self.engine {
                Engine::Postgres => format!(
                    "select column_name::text from information_schema.columns where table_name = '{table}' \
                     order by ordinal_position"
                ),
                Engine::Sqlite => format!("select name from pragma_table_info('{table}')"),
            };
            let names = self.texts(names).await;
            if !names.is_empty() {
                all.push((table, names.join(", ")));
            }
        }
        all
    }

    /// The content of these columns.
    async fn rows(&self, columns: &[(&'static str, String)]) -> Vec<String> {
        let array = if self.engine == Engine::Postgres { "json_build_array" } else { "json_array" };
        let mut rows = Vec::new();
        for (table, names) in columns {
            rows.extend(self.texts(format!("select cast({array}({names}) as text) from {table}")).await);
        }
        rows.sort();
        rows
    }

    /// Checks that the present code returns the data of this version.
    async fn is_readable(&self, version: usize) {
        let process = Process::start(&self.database.url, &["--no-migrate"]).await;
        let client = Client::new(Api::Http, process.grpc, process.http);
        let call = if version < 2 { "Busy/InACall" } else { "Away/Away \"back soon\" Office@desk-7 Manual" };
        for (user, shown) in
            [("call", call), ("talk", "DoNotDisturb/Presenting"), ("gone", "Offline/Offline")]
        {
            assert_eq!(
                client.get(user).await,
                Outcome::Presences(vec![format!("{user} {shown}")]),
                "{version}"
            );
        }
    }
}

const TABLES: [&str; 2] = ["presence_sessions", "presence_users"];

const fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "postgres",
        Engine::Sqlite => "sqlite",
    }
}

async fn a_migration_keeps_older_data(engine: Engine) {
    let migrated = Migrated::new(engine).await;
    let newest = *migrated.migrations.keys().last().unwrap();
    for before in 1..newest {
        migrated.go_back_to(before).await;
        migrated.write(before).await;
        let columns = migrated.columns().await;
        let rows = migrated.rows(&columns).await;
        assert!(rows.len() >= 3, "{rows:?}");
        migrated.migrate();
        assert_eq!(migrated.rows(&columns).await, rows, "from {before} to {newest}");
        migrated.is_readable(before).await;
    }
}

async fn older_statements_are_valid_on_the_newest_schema(engine: Engine) {
    let migrated = Migrated::new(engine).await;
    let kept = numbered("tests/golden/statements", &format!("{}-", name(engine)));
    for file in kept.values() {
        let text = fs::read_to_string(file).unwrap();
        let statements: Vec<_> = text.split("\n;\n").filter(|text| !text.is_empty()).collect();
        assert!(statements.len() >= 8, "{}: {} statements", file.display(), statements.len());
        for statement in statements {
            let (sql, url) = (AssertSqlSafe(statement).into_sql_str(), migrated.database.url.as_str());
            let prepared = match engine {
                Engine::Postgres => PgConnection::connect(url).await.unwrap().prepare(sql).await.map(drop),
                Engine::Sqlite => SqliteConnection::connect(url).await.unwrap().prepare(sql).await.map(drop),
            };
            assert!(prepared.is_ok(), "{}: {statement}: {prepared:?}", file.display());
        }
    }
    assert_eq!(kept.keys().last(), migrated.migrations.keys().last(), "the newest statements are among them");
}

async fn writes_of_older_code_are_valid_on_the_newest_schema(engine: Engine) {
    let migrated = Migrated::new(engine).await;
    let newest = *migrated.migrations.keys().last().unwrap();
    migrated.write(newest).await;
    migrated.is_readable(newest).await;
}
