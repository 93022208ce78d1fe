//! `docs/graph.md` names an existing test for each of its rows; `docs/watching.md`, `docs/holding.md`
//! and `docs/clients.md` link every client; the documents link and name only existing files and headings.

use std::{
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every file below the folder with the extension.
fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|of_path| of_path == extension) {
            found.push(path);
        }
    }
}

#[test]
fn every_row_of_the_tables_of_graph_md_names_an_existing_test() {
    let root = Path::new(ROOT);
    let mut sources = Vec::new();
    files(&root.join("tests"), "rs", &mut sources);
    files(&root.join("src"), "rs", &mut sources);
    let text: String = sources.iter().map(|file| fs::read_to_string(file).unwrap()).collect();

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
    println!("docs/graph.md: {rows} rows, {names} tests named, all exist");
}

#[test]
fn every_client_to_copy_is_linked() {
    for (page, folder, example) in [
        ("watching.md", "watching", "watch.rs"),
        ("holding.md", "sessions", "session.rs"),
        ("clients.md", "clients", "client.rs"),
    ] {
        let docs = Path::new(ROOT).join("docs");
        let clients = fs::read_dir(docs.join(folder)).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut links: Vec<String> =
            clients.map(|entry| format!("({folder}/{})", name(entry.unwrap()))).collect();
        links.push(format!("(../examples/{example})"));
        assert!(links.len() >= 6, "{links:?}");
        let document = fs::read_to_string(docs.join(page)).unwrap();
        for link in links {
            assert!(document.contains(&link), "docs/{page} does not link {link}");
        }
    }
}

/// Every document that links another one.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
    let mut documents: Vec<PathBuf> = top.map(|name| root.join(name)).to_vec();
    for folder in ["docs", "migrations"] {
        files(&root.join(folder), "md", &mut documents);
    }
    documents.extend(["fuzz/README.md", "proto/README.md"].map(|name| root.join(name)));
    documents
}

/// The targets of the links in the text, without those of other hosts.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://"))
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|character| character.is_alphanumeric() || *character == '-').collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_to_an_existing_file_and_heading() {
    let mut checked = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", document.display());
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(&target).unwrap());
                assert!(anchors.iter().any(|known| known == anchor), "{}: {link}", document.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 50, "{checked}");
}

/// The paths of the project in backticks, without those that have a placeholder.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: [&str; 9] =
        ["deploy/", "docs/", "examples/", "fuzz/", "migrations/", "proto/", "scripts/", "src/", "tests/"];
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let paths = quoted.filter(|quoted| FOLDERS.iter().any(|folder| quoted.starts_with(folder)));
    let words = paths.filter_map(|path| path.split(' ').next());
    words.filter(|path| !["NAME", "GROUP", "ENGINE", "NNNN", "*"].iter().any(|part| path.contains(part)))
}

#[test]
fn every_path_in_a_document_exists() {
    let mut checked = 0;
    for document in documents() {
        for path in paths(&fs::read_to_string(&document).unwrap()) {
            assert!(Path::new(ROOT).join(path).exists(), "{}: {path}", document.display());
            checked += 1;
        }
    }
    assert!(checked >= 50, "{checked}");
}
