//! Runs the fuzz targets on their corpora: no input may cause a panic or a fault of the
//! service.

use std::{fs, path::Path};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// A fuzz target.
type Target = fn(&[u8]);

/// Runs a target on its corpus, and returns the number of inputs.
fn run(name: &str, target: Target) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    for input in &inputs {
        println!("{}", input.display());
        target(&fs::read(input).unwrap());
    }
    inputs.len()
}

#[test]
fn no_input_of_a_corpus_causes_a_fault() {
    let targets: [(&str, Target); 6] = [
        ("json", targets::json),
        ("paths", targets::paths),
        ("batch", targets::batch),
        ("protobuf", targets::protobuf),
        ("durations", targets::durations),
        ("tokens", targets::tokens),
    ];
    for (name, target) in targets {
        let inputs = run(name, target);
        assert!(inputs >= 10, "{name}: {inputs}");
        println!("{name}: {inputs} inputs without a fault");
    }
}
