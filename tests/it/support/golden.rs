//! Golden files: texts that tests compare with the output of the code.

use std::{fs, path::Path};

/// Checks that the file, relative to the project's folder, holds this text.
#[track_caller]
pub fn is_golden(file: &str, text: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("PRESENCE_TEST_BLESS").is_some() {
        fs::write(&golden, text).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(text, expected, "{file}: if the change is intended, run the test with PRESENCE_TEST_BLESS=1");
}
