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
    error::describe,
};

/// A migration: its version, name and SQL.
///
/// The migrations are listed by hand, because the macro crate of `sqlx::migrate!` would
/// build both drivers a second time, including SQLite's C code.
type Listed = (i64, &'static str, &'static str);

const POSTGRES: [Listed; 1] = [(1, "initial", include_str!("../../migrations/postgres/0001_initial.sql"))];
const SQLITE: [Listed; 1] = [(1, "initial", include_str!("../../migrations/sqlite/0001_initial.sql"))];

/// The prefix of the name of a breaking migration. A binary that does not know the migration
/// refuses the database.
const BREAKING_PREFIX: &str = "breaking";

const APPLIED: &str =
    "select version, description, checksum from _sqlx_migrations where success order by version";

const WRITE_NO_ROW: &str = "update presence_sessions set cleared_at = cleared_at where false";

/// Applies the missing migrations under an advisory lock.
pub(super) async fn migrate_postgres(options: &PgConnectOptions) -> Result<(), OpenError> {
    let mut connection = connect_first(PgConnection::connect_with(options)).await?;
    refuse_earlier(&read_postgres(&mut connection).await?)?;
    apply(&POSTGRES, &mut connection).await?;
    connection.close().await.map_err(unreachable)
}

/// Applies the missing migrations in one transaction that locks out other writers, because
/// sqlx takes no lock of its own on SQLite.
pub(super) async fn migrate_sqlite(options: &SqliteConnectOptions) -> Result<(), OpenError> {
    let mut connection = connect_first(SqliteConnection::connect_with(options)).await?;
    let mut transaction = connection.begin_with("begin immediate").await.map_err(unreachable)?;
    refuse_earlier(&read_sqlite(&mut transaction).await?)?;
    apply(&SQLITE, &mut *transaction).await?;
    transaction.commit().await.map_err(unreachable)?;
    connection.close().await.map_err(unreachable)
}

async fn apply<C: Migrate>(listed: &[Listed], connection: &mut C) -> Result<(), OpenError> {
    let mut migrator = Migrator::with_migrations(listed.iter().map(migration).collect());
    // `check` handles a newer database.
    migrator.set_ignore_missing(true);
    migrator.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(error @ sqlx::Error::Database(_)) => {
            OpenError::Incompatible(format!("a migration failed: {}", describe(&error)))
        }
        MigrateError::Execute(error) => unreachable(error),
        error => OpenError::Incompatible(error.to_string()),
    })
}

fn migration((version, name, sql): &Listed) -> Migration {
    let sql = AssertSqlSafe(*sql).into_sql_str();
    Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
}

/// Fails if an earlier development version made the schema.
fn refuse_earlier(schema: &Schema) -> Result<(), OpenError> {
    match schema {
        Schema::Earlier => compatible(Schema::Earlier),
        _ => Ok(()),
    }
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

/// An applied migration: its version, name and checksum.
type Applied = (i64, String, Vec<u8>);

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
    /// An earlier development version of presenced made the schema. This binary can't use it.
    Earlier,
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
    let theirs = applied.last().map_or(0, |(version, ..)| *version);
    let differs = |(version, _, checksum): &Applied| {
        let listed = listed.iter().find(|(listed, ..)| listed == version);
        listed.is_some_and(|listed| *migration(listed).checksum != **checksum)
    };
    if applied.iter().any(differs) {
        return Schema::Earlier;
    }
    let breaking =
        applied.iter().find(|(version, name, _)| *version > ours && name.starts_with(BREAKING_PREFIX));
    match breaking {
        Some((version, name, _)) => Schema::Breaking { theirs, ours, version: *version, name: name.clone() },
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
        Schema::Earlier => Err(OpenError::Incompatible(
            "an earlier development version of presenced made this database, and this version can't read it: use \
             another database, or remove the tables whose names begin with presence_ and the table _sqlx_migrations"
                .to_owned(),
        )),
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

    fn refusal(listed: &[Listed], applied: &[(i64, &str)]) -> Option<String> {
        let applied = applied.iter().map(|(version, name)| {
            let known = listed.iter().find(|(listed, ..)| listed == version);
            let checksum = known.map_or_else(Vec::new, |listed| migration(listed).checksum.to_vec());
            (*version, (*name).to_owned(), checksum)
        });
        let applied: Vec<Applied> = applied.collect();
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
    fn a_changed_migration_is_refused() {
        let applied = [(1, "a".to_owned(), migration(&(1, "a", "select 1")).checksum.to_vec())];
        assert_eq!(compare(&[(1, "a", "select 1")], &applied), Schema::Same(1));
        assert_eq!(compare(&[(1, "a", "select 2")], &applied), Schema::Earlier);
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
}
