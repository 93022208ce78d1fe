//! `scripts/breaking`: a change of the proto files that breaks clients fails, unless it is listed with a reason.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A message, a field of it, and the change that the field's removal is.
const MESSAGE: &str = "message SetManualLocationRequest {";
const FIELD: &str = "  string place_id = 3;\n";
const REMOVAL: &str = "FIELD_NO_DELETE: Previously present field \"3\" with name \"place_id\" on message \
                       \"SetManualLocationRequest\" was deleted.";
const REASON: &str = "    No client could use it, because the service refused every value.\n";

/// A copy of the proto files, which are their own baseline.
struct Protos(TempDir);

impl Protos {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        copy(&Path::new(ROOT).join("proto"), folder.path());
        let protos = Self(folder);
        let (printed, passed) = protos.check(&["--renew"]);
        assert!(passed && printed.contains("is renewed"), "{printed}");
        protos
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces [`FIELD`] in [`MESSAGE`].
    fn replace_field(&self, with: &str) {
        let path = self.path("presence/v1/presence_service.proto");
        let text = fs::read_to_string(&path).unwrap();
        let (before, after) = text.split_once(MESSAGE).unwrap();
        assert!(after.contains(FIELD));
        fs::write(path, format!("{before}{MESSAGE}{}", after.replacen(FIELD, with, 1))).unwrap();
    }

    fn list(&self, text: &str) {
        fs::write(self.path("breaking.txt"), text).unwrap();
    }

    /// Runs the check. Returns what it printed, and whether it passed.
    fn check(&self, flags: &[&str]) -> (String, bool) {
        check(self.0.path(), flags)
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn check(folder: &Path, flags: &[&str]) -> (String, bool) {
    let script = Path::new(ROOT).join("scripts/breaking");
    let output = Command::new(script).args(flags).arg(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (String::from_utf8_lossy(&output.stdout).into_owned() + &errors, output.status.success())
}

#[test]
fn the_proto_files_break_no_client() {
    let (printed, passed) = check(&Path::new(ROOT).join("proto"), &[]);
    assert!(passed, "{printed}");
}

#[test]
fn an_addition_breaks_no_client() {
    let protos = Protos::new();
    protos.replace_field(&format!("{FIELD}  string colour = 99;\n"));
    let (printed, passed) = protos.check(&[]);
    assert!(passed, "{printed}");
}

#[test]
fn a_removed_field_needs_a_reason_and_after_the_first_release_has_none() {
    let protos = Protos::new();
    protos.replace_field("");
    let (printed, passed) = protos.check(&[]);
    assert!(!passed, "{printed}");
    assert!(printed.contains(REMOVAL), "{printed}");
    assert!(printed.contains("presence_service.proto:"), "{printed}");
    assert!(printed.contains("This breaks clients. Keep it, or add"), "{printed}");
    assert!(!protos.check(&["--renew"]).1, "what breaks clients does not become the baseline");

    for reason in ["", "    \n", "    Because.\n", "    It was never of any use\n"] {
        protos.list(&format!("{REMOVAL}\n{reason}"));
        let (printed, passed) = protos.check(&[]);
        assert!(!passed && printed.contains("must be a sentence"), "{reason:?}: {printed}");
    }
    protos.list(&format!("# A remark.\n\n{REMOVAL}\n{REASON}"));
    let (printed, passed) = protos.check(&[]);
    assert!(passed, "{printed}");

    // The first release removes the list.
    fs::remove_file(protos.path("breaking.txt")).unwrap();
    let (printed, passed) = protos.check(&[]);
    assert!(!passed && printed.contains("breaks clients of a released version"), "{printed}");
}

#[test]
fn the_list_has_only_changes_since_the_baseline() {
    let protos = Protos::new();
    protos.list(&format!("# A remark.\n{REMOVAL}\n{REASON}"));
    let (printed, passed) = protos.check(&[]);
    assert!(!passed && printed.contains("There is no such change any more."), "{printed}");

    protos.replace_field("");
    let (printed, passed) = protos.check(&["--renew"]);
    assert!(passed && printed.contains("is renewed"), "{printed}");
    assert_eq!(fs::read_to_string(protos.path("breaking.txt")).unwrap(), "# A remark.\n");
    let (printed, passed) = protos.check(&[]);
    assert!(passed, "{printed}");
}

/// The published module has the files of this service only. Google's are in a module of its own.
#[test]
fn the_module_has_a_name_and_the_files_of_the_service() {
    let output = Command::new("buf").args(["ls-files", "proto"]).current_dir(ROOT).output();
    let output = output.expect("run scripts/test, which installs buf, and add target/tools/bin to the PATH");
    let files = String::from_utf8(output.stdout).unwrap();
    let names = ["errors", "presence", "presence_service", "subscriptions"];
    let expected = names.map(|name| format!("proto/presence/v1/{name}.proto\n")).concat();
    assert_eq!(files, expected);
    let settings = fs::read_to_string(Path::new(ROOT).join("proto/buf.yaml")).unwrap();
    assert!(settings.contains("name: buf.build/presenced/presence\n"), "{settings}");
}
