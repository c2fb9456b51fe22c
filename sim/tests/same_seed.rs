//! The same seed is the same run, to the last message and the last line of every node's log.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Long enough for nodes to be lost and to come back.
const UNTIL_MS: &str = "9000";

fn trace(seed: u64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let output = Command::new(env!("CARGO_BIN_EXE_jackdaw-sim"))
        .args(["--seed", &seed.to_string(), "--until", UNTIL_MS])
        .args(["--filter", "trace,openraft=off", "--trace"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2] {
        let (first, second) = (trace(seed), trace(seed));
        let differs = first.iter().zip(&second).position(|(one, other)| one != other);
        if let Some(line) = differs {
            panic!("seed {seed}, line {line}:\n{}\n{}", first[line], second[line]);
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
        // Of nodes, of the network and of clients, and of a fault.
        for part in
            ["jackdaw::broker", "turmoil: Send", "history: Send", "jackdaw_sim::run::injector"]
        {
            assert!(first.iter().any(|line| line.contains(part)), "seed {seed} traces no {part}");
        }
    }
}

#[test]
fn other_seeds_are_other_runs() {
    assert_ne!(trace(1), trace(3));
}
