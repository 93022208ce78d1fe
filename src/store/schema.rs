//! The schema: the list of migrations, applying them, and refusing a database that this
//! binary can't use. The rules are in `migrations/README.md`.

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, SqlSafeStr, SqliteConnection,
    error::DatabaseError,
    migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use tracing::warn;

use super::{
    OpenError,
    connection::{connect_first, unreachable},
};

/// A migration: its version, name and SQL.
///
/// The migrations are listed by hand, because the macro crate of `sqlx::migrate!` would
/// build both drivers a second time, including SQLite's C code.
type Listed = (i64, &'static str, &'static str);

const POSTGRES: [Listed; 3] = [
    (1, "sessions", include_str!("../../migrations/postgres/0001_sessions.sql")),
    (2, "users", include_str!("../../migrations/postgres/0002_users.sql")),
    (3, "sessions_bounded", include_str!("../../migrations/postgres/0003_sessions_bounded.sql")),
];
const SQLITE: [Listed; 3] = [
    (1, "sessions", include_str!("../../migrations/sqlite/0001_sessions.sql")),
    (2, "users", include_str!("../../migrations/sqlite/0002_users.sql")),
    (3, "sessions_bounded", include_str!("../../migrations/sqlite/0003_sessions_bounded.sql")),
];

/// The prefix of the name of a breaking migration. A binary that does not know the migration
/// refuses the database.
const BREAKING_PREFIX: &str = "breaking";

const APPLIED: &str = "select version, description from _sqlx_migrations where success order by version";

const WRITE_NO_ROW: &str = "update presence_sessions set cleared_at = cleared_at where false";

/// Applies the missing migrations under an advisory lock.
pub(super) async fn migrate_postgres(options: &PgConnectOptions) -> Result<(), OpenError> {
    let mut connection = connect_first(PgConnection::connect_with(options)).await?;
    apply(&POSTGRES, &mut connection).await?;
    connection.close().await.map_err(unreachable)
}

/// Applies the missing migrations in one transaction that locks out other writers, because
/// sqlx takes no lock of its own on SQLite.
pub(super) async fn migrate_sqlite(options: &SqliteConnectOptions) -> Result<(), OpenError> {
    let mut connection = connect_first(SqliteConnection::connect_with(options)).await?;
    let mut transaction = connection.begin_with("begin immediate").await.map_err(unreachable)?;
    apply(&SQLITE, &mut *transaction).await?;
    transaction.commit().await.map_err(unreachable)?;
    connection.close().await.map_err(unreachable)
}

async fn apply<C: Migrate>(listed: &[Listed], connection: &mut C) -> Result<(), OpenError> {
    let migrations = listed.iter().map(|(version, name, sql)| {
        let sql = AssertSqlSafe(*sql).into_sql_str();
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // `check` handles a newer database.
    migrator.set_ignore_missing(true);
    migrator.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(sqlx::Error::Database(error)) => {
            OpenError::Incompatible(format!("a migration failed: {error}"))
        }
        MigrateError::Execute(error) => unreachable(error),
        error => OpenError::Incompatible(error.to_string()),
    })
}

/// See [`super::Database::check`].
pub(super) async fn check_postgres(options: &PgConnectOptions) -> Result<(), OpenError> {
    let mut connection = connect_first(PgConnection::connect_with(options)).await?;
    compatible(read_postgres(&mut connection).await?)
}

/// Compares the database's schema with this binary's.
pub(super) async fn read_postgres(connection: &mut PgConnection) -> Result<Schema, OpenError> {
    let applied = sqlx::query_as(APPLIED).fetch_all(connection).await;
    Ok(compare(&POSTGRES, &empty_without_table(applied)?))
}

/// See [`super::Database::check`].
pub(super) async fn check_sqlite(options: &SqliteConnectOptions) -> Result<(), OpenError> {
    let mut connection = connect_first(SqliteConnection::connect_with(options)).await?;
    compatible(read_sqlite(&mut connection).await?)?;
    check_writable(&mut connection).await.map_err(unreachable)
}

/// Compares the database's schema with this binary's.
pub(super) async fn read_sqlite(connection: &mut SqliteConnection) -> Result<Schema, OpenError> {
    let applied = sqlx::query_as(APPLIED).fetch_all(connection).await;
    Ok(compare(&SQLITE, &empty_without_table(applied)?))
}

/// Fails if the file can't be written, because every later write would fail. (`begin
/// immediate` does not fail on such a file.)
pub(super) async fn check_writable(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(WRITE_NO_ROW).execute(connection).await.map(drop)
}

/// Without the table of migrations, no migration was applied.
fn empty_without_table(applied: Result<Vec<Applied>, sqlx::Error>) -> Result<Vec<Applied>, OpenError> {
    const POSTGRES_UNDEFINED_TABLE: &str = "42P01";
    const SQLITE_ERROR: &str = "1";

    match applied {
        Err(sqlx::Error::Database(error)) if is_code(&*error, &[POSTGRES_UNDEFINED_TABLE, SQLITE_ERROR]) => {
            Ok(Vec::new())
        }
        applied => applied.map_err(unreachable),
    }
}

fn is_code(error: &dyn DatabaseError, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.contains(&&*code))
}

/// An applied migration: its version and name.
type Applied = (i64, String);

/// The database's schema version compared with this binary's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Both versions are the same.
    Same(i64),
    /// The database lacks migrations. `theirs` is 0 if it had none.
    Older {
        /// The database's version.
        theirs: i64,
        /// This binary's version.
        ours: i64,
    },
    /// The database has unknown migrations that only add to the schema. This binary can use
    /// it.
    Newer {
        /// The database's version.
        theirs: i64,
        /// This binary's version.
        ours: i64,
    },
    /// The database has an unknown breaking migration. This binary can't use it.
    Breaking {
        /// The database's version.
        theirs: i64,
        /// This binary's version.
        ours: i64,
        /// The version of the breaking migration.
        version: i64,
        /// The name of the breaking migration.
        name: String,
    },
}

impl Schema {
    /// Returns the comparison for an SQLite file that does not exist yet.
    #[must_use]
    pub fn of_new_file() -> Self {
        compare(&SQLITE, &[])
    }
}

/// Compares the `applied` migrations of a database with the `listed` ones of a binary.
fn compare(listed: &[Listed], applied: &[Applied]) -> Schema {
    let ours = listed.last().map_or(0, |(version, ..)| *version);
    let theirs = applied.last().map_or(0, |(version, _)| *version);
    let breaking =
        applied.iter().find(|(version, name)| *version > ours && name.starts_with(BREAKING_PREFIX));
    match breaking {
        Some((version, name)) => Schema::Breaking { theirs, ours, version: *version, name: name.clone() },
        None if theirs < ours => Schema::Older { theirs, ours },
        None if theirs > ours => Schema::Newer { theirs, ours },
        None => Schema::Same(ours),
    }
}

/// Fails if this binary can't use the schema. Logs a warning if the schema is newer.
fn compatible(schema: Schema) -> Result<(), OpenError> {
    match schema {
        Schema::Same(_) => Ok(()),
        Schema::Older { theirs, ours } => Err(OpenError::Incompatible(format!(
            "the database has schema version {theirs}, this binary needs version {ours}: run `presenced migrate`"
        ))),
        Schema::Breaking { theirs, ours, version, name } => Err(OpenError::Incompatible(format!(
            "the database has schema version {theirs}, this binary knows versions up to {ours}, and version {version} \
             ({name}) breaks compatibility with older binaries: upgrade presenced"
        ))),
        Schema::Newer { theirs, ours } => {
            warn!(
                database = theirs,
                binary = ours,
                "the database's schema is newer than this binary, but compatible"
            );
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::store::{postgres, sqlite};

    fn refusal(listed: &[Listed], applied: &[(i64, &str)]) -> Option<String> {
        let applied: Vec<Applied> =
            applied.iter().map(|(version, name)| (*version, (*name).to_owned())).collect();
        compatible(compare(listed, &applied)).err().map(|error| error.to_string())
    }

    #[test]
    fn an_older_database_is_refused_with_both_versions() {
        let refusal = refusal(&[(1, "a", ""), (2, "b", "")], &[(1, "a")]).unwrap();
        assert!(refusal.contains("has schema version 1, this binary needs version 2"), "{refusal}");
    }

    #[test]
    fn a_newer_database_is_accepted_unless_a_migration_is_breaking() {
        assert_eq!(refusal(&[(1, "a", "")], &[(1, "a"), (2, "b")]), None);
        let refusal = refusal(&[(1, "a", "")], &[(1, "a"), (2, "breaking drop"), (3, "c")]).unwrap();
        assert!(refusal.contains("has schema version 3, this binary knows versions up to 1"), "{refusal}");
    }

    #[test]
    fn every_migration_file_is_listed_under_its_own_name() {
        for (engine, listed) in [("postgres", POSTGRES), ("sqlite", SQLITE)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
            let files: BTreeSet<String> = fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            let names =
                listed.map(|(version, name, _)| format!("{version:04}_{}.sql", name.replace(' ', "_")));
            assert_eq!(files, BTreeSet::from(names));
        }
    }

    /// `tests/it/migrations/` runs the golden statements on newer schemas.
    #[test]
    fn the_statements_match_the_golden_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let engines =
            [("postgres", POSTGRES, &postgres::STATEMENTS[..]), ("sqlite", SQLITE, &sqlite::STATEMENTS)];
        for (engine, listed, statements) in engines {
            let text: String = statements.iter().flat_map(|statement| [statement.trim(), "\n;\n"]).collect();
            let (version, ..) = listed.last().unwrap();
            let golden = root.join(format!("tests/golden/statements/{engine}-{version:04}.sql"));
            if std::env::var_os("PRESENCE_TEST_BLESS").is_some() {
                fs::write(&golden, &text).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(text, expected, "for an intended change, run the test with PRESENCE_TEST_BLESS=1");
        }
    }

    #[test]
    fn every_statement_is_listed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for engine in ["postgres", "sqlite"] {
            let files = fs::read_dir(root.join("src/store").join(engine)).unwrap();
            // The statements of doctor always run in the binary that has the schema.
            let paths = files.map(|file| file.unwrap().path()).filter(|path| !path.ends_with("inspect.rs"));
            let source: String = paths.map(|path| fs::read_to_string(path).unwrap()).collect();
            let (_, listed) = source.split_once("STATEMENTS: [&str; ").unwrap();
            let listed = listed.split("];").next().unwrap();
            for text in source.split("const ").skip(1) {
                let Some((name, _)) = text.split_once(": &str = ") else { continue };
                let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
                // The name of the notification channel is no statement.
                if is_name && name != "CHANNEL" {
                    let listed = listed.split([' ', ':', ',', '\n']).any(|word| word == name);
                    assert!(listed, "{engine}: {name} is not in STATEMENTS");
                }
            }
        }
    }
}
