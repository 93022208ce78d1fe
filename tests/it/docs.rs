//! `docs/graph.md` names a test for each of its rows, and the tests are there;
//! `docs/watching.md` shows clients as they are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every source file below the folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_row_of_the_tables_of_graph_md_names_a_test_that_is_there() {
    let root = Path::new(ROOT);
    let mut files = Vec::new();
    sources(&root.join("tests"), &mut files);
    sources(&root.join("src"), &mut files);
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();

    let markdown = fs::read_to_string(root.join("docs/graph.md")).unwrap();
    let (mut rows, mut names) = (0, 0);
    for line in markdown.lines().filter(|line| line.starts_with("| ") && !line.ends_with("shown by |")) {
        let covered_by = line.trim_end_matches('|').rsplit('|').next().unwrap();
        let tests: Vec<&str> = covered_by.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test in {line}");
        for test in tests {
            // A function, or a case of the API table.
            let known = text.contains(&format!("fn {test}(")) || text.contains(&format!("\"{test}\""));
            assert!(known, "{test} in {line}");
            names += 1;
        }
        rows += 1;
    }
    assert!(rows >= 68, "{rows}");
    println!("docs/graph.md: {rows} rows, {names} tests named, all there");
}

/// The clients that `docs/watching.md` shows, each in the language of its block.
const CLIENTS: [(&str, &str); 6] = [
    ("examples/watch.rs", "rust"),
    ("docs/watching/watch.py", "python"),
    ("docs/watching/watch.mjs", "js"),
    ("docs/watching/node.mjs", "js"),
    ("docs/watching/index.html", "html"),
    ("docs/watching/watch.sh", "sh"),
];

#[test]
fn every_client_is_shown_as_it_is() {
    let root = Path::new(ROOT);
    let document = fs::read_to_string(root.join("docs/watching.md")).unwrap();
    let mut shown = document.clone();
    for (file, language) in CLIENTS {
        let text = fs::read_to_string(root.join(file)).unwrap();
        // The block begins as the file does.
        let start = format!("```{language}\n{}\n", text.lines().next().unwrap());
        let (before, rest) = shown.split_once(&start).unwrap_or_else(|| panic!("{file} is not shown"));
        let after = rest.split_once("\n```\n").unwrap().1;
        shown = format!("{before}```{language}\n{text}```\n{after}");
    }
    if env::var_os("PRESENCE_TEST_BLESS").is_some_and(|bless| !bless.is_empty()) {
        fs::write(root.join("docs/watching.md"), &shown).unwrap();
    }
    assert!(shown == document, "docs/watching.md shows another text: renew it with PRESENCE_TEST_BLESS=1");
    let files = fs::read_dir(root.join("docs/watching")).unwrap().count();
    assert_eq!(files, CLIENTS.len() - 1, "every file of docs/watching is shown");
}
