//! The inputs that fuzzing kept, through the functions that were fuzzed: none
//! panics, and no answer is the service's fault.

use std::{fs, path::Path};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// What a target does with an input.
type Run = fn(&[u8]);

/// Every kept input of a target.
fn run(target: &str, run: Run) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    for input in &inputs {
        println!("{}", input.display());
        run(&fs::read(input).unwrap());
    }
    inputs.len()
}

#[test]
fn no_kept_input_is_answered_with_a_fault() {
    let targets: [(&str, Run); 6] = [
        ("json", targets::json),
        ("paths", targets::paths),
        ("batch", targets::batch),
        ("protobuf", targets::protobuf),
        ("durations", targets::durations),
        ("tokens", targets::tokens),
    ];
    for (target, function) in targets {
        let inputs = run(target, function);
        assert!(inputs >= 10, "{target}: {inputs}");
        println!("{target}: {inputs} inputs, none answered with a fault");
    }
}
