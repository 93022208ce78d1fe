//! Texts that are kept in files.

use std::{fs, path::Path};

/// The text is what is kept in the file, which is named from the project's folder.
#[track_caller]
pub fn is_golden(file: &str, text: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("PRESENCE_TEST_BLESS").is_some() {
        fs::write(&golden, text).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(text, expected, "{file}: if it should change, run the test with PRESENCE_TEST_BLESS=1");
}
