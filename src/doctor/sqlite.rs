//! SQLite: its file, directory, disk and journal.

use std::path::Path;

use rustix::{
    fs::{Access, access, statvfs},
    io::Errno,
};

use super::{
    database::{URL, schema, unreached},
    history,
    report::{Fault, Finding},
    subscriptions,
};
use crate::{
    clock::Clock,
    settings::Settings,
    store::{Schema, SqliteFile, SqliteInspector},
};

const MIB: u64 = 1_024 * 1_024;

/// The free disk space below which the doctor warns. A million sessions take a third of
/// it, and the write-ahead log may take as much under load.
const FREE_MIN_BYTES: u64 = 1_024 * MIB;

pub(super) async fn check(settings: &Settings, clock: &Clock, sqlite: &SqliteInspector) -> Vec<Finding> {
    let place = sqlite.describe();
    let Some(file) = sqlite.file() else {
        let detail = format!("{place}: all sessions are lost when the service stops");
        return vec![Finding::warn("database", detail, "give --database-url sqlite://FILE or postgres://…")];
    };
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        return vec![unusable_folder(&place, folder, error)];
    }
    let mut findings = Vec::new();
    if file.exists() {
        // SQLite would open a read-only file, and leave new files beside it.
        match access(file, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) => match sqlite.inspect().await {
                Ok(found) => {
                    findings.extend(check_file(settings, &place, file, &found));
                    if history::is_readable(&found.schema) {
                        let before = history::old_before(settings, clock.now());
                        findings.push(match sqlite.history(before, history::OLD_SPANS).await {
                            Ok(found) => history::check(settings, found),
                            Err(error) => unreached(URL, &place, &error),
                        });
                        let (now, max) = (clock.now(), subscriptions::READ);
                        let before = subscriptions::failed_before(now);
                        findings.extend(match sqlite.failing_subscriptions(now, before, max).await {
                            Ok(failing) => subscriptions::check(&failing),
                            Err(error) => vec![unreached(URL, &place, &error)],
                        });
                    }
                }
                Err(error) => findings.push(unreached(URL, &place, &error)),
            },
            Err(error) => findings.push(unwritable(file, &error.to_string())),
        }
    } else {
        findings.push(Finding::ok("database", format!("{place}, created when the service starts")));
        findings.push(schema(&Schema::of_new_file(), settings.no_migrate));
    }
    findings.push(disk(folder));
    findings.extend(network_file_system(folder));
    findings
}

fn unusable_folder(place: &str, folder: &Path, error: Errno) -> Finding {
    let folder = folder.display();
    let (because, advice) = if error == Errno::NOENT {
        ("no directory", format!("create the directory {folder}, or give another file in --database-url"))
    } else {
        let advice = format!(
            "allow the user of the service to write to {folder}: SQLite creates files beside the database"
        );
        ("cannot create files in", advice)
    };
    Finding::fail(Fault::Database, "database", format!("{place}: {because} {folder}: {error}"), advice)
}

fn unwritable(file: &Path, because: &str) -> Finding {
    let file = file.display();
    Finding::fail(
        Fault::Database,
        "writes",
        format!("{file} is not writable: {because}"),
        format!("allow the user of the service to write to {file}, and remove mode=ro from --database-url"),
    )
}

fn check_file(settings: &Settings, place: &str, file: &Path, found: &SqliteFile) -> Vec<Finding> {
    let SqliteFile { version, journal, schema: found_schema, read_only } = found;
    let writes = read_only
        .as_ref()
        .map_or_else(|| Finding::ok("writes", "allowed"), |because| unwritable(file, because));
    let journal = match journal.as_str() {
        "wal" => "wal".to_owned(),
        other => format!("{other}; the service changes it to wal at start"),
    };
    vec![
        Finding::ok("database", format!("{place}, version {version}")),
        schema(found_schema, settings.no_migrate),
        writes,
        Finding::ok("journal", journal),
    ]
}

fn disk(folder: &Path) -> Finding {
    match statvfs(folder) {
        Ok(disk) => free_space(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => {
            let detail = format!("the free space in {} is unknown: {error}", folder.display());
            Finding::warn("disk", detail, "make sure that the disk does not fill up")
        }
    }
}

fn free_space(free: u64) -> Finding {
    let detail = format!("{} MiB free", free / MIB);
    if free >= FREE_MIN_BYTES {
        return Finding::ok("disk", detail);
    }
    Finding::warn("disk", format!("only {detail}"), "free some space: on a full disk every write fails")
}

/// Warns of a network file system: SQLite's locks and shared memory do not work there.
#[cfg(target_os = "linux")]
fn network_file_system(folder: &Path) -> Option<Finding> {
    /// The magic numbers of file systems in linux/magic.h.
    const NETWORK: [(u64, &str); 8] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x7461_636f, "OCFS2"),
    ];
    // The width of the type differs between processors; an upper half is only the sign.
    let kind = u64::try_from(rustix::fs::statfs(folder).ok()?.f_type).ok()? & 0xffff_ffff;
    let (_, name) = NETWORK.iter().find(|(magic, _)| *magic == kind)?;
    let detail =
        format!("{} is on a network file system ({name}), which SQLite does not support", folder.display());
    Some(Finding::warn("disk", detail, "move the file to a local disk, or use PostgreSQL"))
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_: &Path) -> Option<Finding> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_almost_full_disk_is_a_warning() {
        assert_eq!(free_space(FREE_MIN_BYTES), Finding::ok("disk", "1024 MiB free"));
        let advice = "free some space: on a full disk every write fails";
        assert_eq!(free_space(3 * MIB), Finding::warn("disk", "only 3 MiB free", advice));
    }
}
