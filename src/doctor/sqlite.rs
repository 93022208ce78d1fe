//! An SQLite file: its folder, its disk, its journal.

use std::path::Path;

use rustix::{
    fs::{Access, access, statvfs},
    io::Errno,
};

use super::{
    Fault, Finding,
    database::{URL, schema, unreached},
};
use crate::{
    settings::Settings,
    store::{Schema, SqliteFile, SqliteInspector},
};

const MIB: u64 = 1_024 * 1_024;

/// Less free disk space than this is little: a million sessions take a third of it,
/// and so may the write-ahead log under load.
const FREE_MIN_BYTES: u64 = 1_024 * MIB;

pub(super) async fn check(settings: &Settings, sqlite: &SqliteInspector) -> Vec<Finding> {
    let place = sqlite.describe();
    let Some(file) = sqlite.file() else {
        let detail = format!("{place}: all that is kept ends with the service");
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
        // SQLite would open a file that can only be read, and leave others beside it.
        match access(file, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) => match sqlite.inspect().await {
                Ok(found) => findings.extend(of_file(settings, &place, file, &found)),
                Err(error) => findings.push(unreached(URL, &place, &error)),
            },
            Err(error) => findings.push(unwritable(file, &error.to_string())),
        }
    } else {
        findings.push(Finding::ok("database", format!("{place}, made when the service starts")));
        findings.push(schema(&Schema::of_new_file(), settings.no_migrate));
    }
    findings.push(disk(folder));
    findings.extend(network(folder));
    findings
}

fn unusable_folder(place: &str, folder: &Path, error: Errno) -> Finding {
    let folder = folder.display();
    let (because, advice) = if error == Errno::NOENT {
        ("there is no folder", format!("make the folder {folder}, or give another file in --database-url"))
    } else {
        let advice = format!(
            "let the user as whom the service runs write to {folder}; SQLite makes files beside its own"
        );
        ("no file can be made in", advice)
    };
    Finding::fail(Fault::Database, "database", format!("{place}: {because} {folder}: {error}"), advice)
}

fn unwritable(file: &Path, because: &str) -> Finding {
    let file = file.display();
    Finding::fail(
        Fault::Database,
        "writes",
        format!("{file} can't be written: {because}"),
        format!("let the user as whom the service runs write to {file}, without mode=ro in --database-url"),
    )
}

fn of_file(settings: &Settings, place: &str, file: &Path, found: &SqliteFile) -> Vec<Finding> {
    let SqliteFile { version, journal, schema: standing, read_only } = found;
    let writes = read_only
        .as_ref()
        .map_or_else(|| Finding::ok("writes", "allowed"), |because| unwritable(file, because));
    let journal = match journal.as_str() {
        "wal" => "wal".to_owned(),
        other => format!("{other}; the service makes it wal when it starts"),
    };
    vec![
        Finding::ok("database", format!("{place}, version {version}")),
        schema(standing, settings.no_migrate),
        writes,
        Finding::ok("journal", journal),
    ]
}

fn disk(folder: &Path) -> Finding {
    match statvfs(folder) {
        Ok(disk) => room(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => {
            let detail = format!("how much is free below {} is not known: {error}", folder.display());
            Finding::warn("disk", detail, "see to it that it does not fill up")
        }
    }
}

fn room(free: u64) -> Finding {
    let detail = format!("{} MiB free", free / MIB);
    if free >= FREE_MIN_BYTES {
        return Finding::ok("disk", detail);
    }
    Finding::warn("disk", format!("only {detail}"), "make room: on a full disk every write is refused")
}

/// SQLite's locks and its shared memory do not work across machines.
#[cfg(target_os = "linux")]
fn network(folder: &Path) -> Option<Finding> {
    /// What file systems call themselves in linux/magic.h.
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
    // Its width differs by processor, and the upper half, if any, is its sign.
    let kind = u64::try_from(rustix::fs::statfs(folder).ok()?.f_type).ok()? & 0xffff_ffff;
    let (_, name) = NETWORK.iter().find(|(magic, _)| *magic == kind)?;
    let detail = format!(
        "{} is on a network file system ({name}), which SQLite does not get on with",
        folder.display()
    );
    Some(Finding::warn("disk", detail, "put the file on a disk of this machine, or use PostgreSQL"))
}

#[cfg(not(target_os = "linux"))]
fn network(_: &Path) -> Option<Finding> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_almost_full_is_warned_of() {
        assert_eq!(room(FREE_MIN_BYTES), Finding::ok("disk", "1024 MiB free"));
        let advice = "make room: on a full disk every write is refused";
        assert_eq!(room(3 * MIB), Finding::warn("disk", "only 3 MiB free", advice));
    }
}
