//! The same seed is the same run, to the last message and the last line of every node's log.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Long enough for the first fault, and for what it leads to.
const UNTIL_MS: u64 = 6_500;

fn trace(seed: u64, until_ms: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let output = Command::new(env!("CARGO_BIN_EXE_jackdaw-sim"))
        .args(["--seed", &seed.to_string(), "--until", &until_ms.to_string()])
        .args(["--filter", "trace,openraft=off", "--trace"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (first, second) = (trace(1, UNTIL_MS), trace(1, UNTIL_MS));
    let differs = first.iter().zip(&second).position(|(one, other)| one != other);
    if let Some(line) = differs {
        panic!("line {line}:\n{}\n{}", first[line], second[line]);
    }
    assert_eq!(first.len(), second.len());
    // Of nodes, of the network and of clients, and of a fault.
    for part in ["jackdaw::broker", "turmoil: Send", "history: Send", "jackdaw_sim::run::injector"]
    {
        assert!(first.iter().any(|line| line.contains(part)), "nothing is traced of {part}");
    }
}

#[test]
fn other_seeds_are_other_runs() {
    assert_ne!(trace(1, 500), trace(3, 500));
}
