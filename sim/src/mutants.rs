//! Known bugs, put back one at a time: each has to be found.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::cli::Arguments;
use crate::parent::each;

/// What names the bug to the nodes.
pub(crate) const VARIABLE: &str = "JACKDAW_MUTANT";
/// Seeds within which a bug has to be found.
const SEEDS_MAX: u64 = 150;

/// Each bug by the name that it has in the code, and what it is.
const MUTANTS: [(&str, &str); 14] = [
    ("ack-before-sync", "a replica counts what it has not synced"),
    ("answered-when-proposed", "a producer is answered before a majority has its batch"),
    ("vote-not-synced", "a vote counts before it is on the disk"),
    ("vote-forgotten", "votes are not written at all"),
    ("stable-store-not-synced", "the store of votes does not sync its files"),
    ("leader-resumes", "a restarted leader goes on in its old term"),
    ("endless-lease", "a leader that lost its majority serves on"),
    ("new-leader-serves-at-once", "a new leader serves before it knows what is committed"),
    ("uncommitted-served", "consumers get what is not committed"),
    ("offset-commit-not-awaited", "an offset commit is answered before it is committed"),
    ("duplicates-admitted", "a batch that was sent again is appended again"),
    ("cache-not-truncated", "entries that were cut off stay in the cache"),
    ("closed-segment-not-synced", "a sync leaves out segments that were closed since"),
    ("segment-name-not-synced", "the name of a new segment is not put on the disk"),
];

/// Puts each bug back until a seed finds it; whether all were found.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(
        cfg!(feature = "mutants"),
        "this build has no mutants: build it with `--features jackdaw-sim/mutants`"
    );
    let first = arguments.first.unwrap_or(1);
    let mut all_found = true;
    println!("| mutant | what it is | seed that found it | by |\n|---|---|---|---|");
    let wanted = MUTANTS
        .iter()
        .filter(|(name, _)| arguments.mutant.as_ref().is_none_or(|mutant| mutant == name));
    for (name, what) in wanted {
        let begun = Instant::now();
        let mut found = None;
        each(arguments, Some(name), first..first + SEEDS_MAX, |ended| {
            if !ended.passed {
                found = Some((ended.seed, evidence(&ended.said)));
            }
            found.is_none()
        })?;
        match found {
            Some((seed, by)) => println!("| `{name}` | {what} | {seed} | {by} |"),
            None => {
                all_found = false;
                println!("| `{name}` | {what} | **none of {SEEDS_MAX}** | |");
            }
        }
        eprintln!("{name}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    Ok(all_found)
}

/// What a seed says is wrong, in a few words.
fn evidence(said: &str) -> String {
    let wrong = said.lines().find_map(|line| {
        let checker = line.strip_prefix("  ").filter(|line| line.contains("case(s)"));
        checker.and_then(|line| line.split(':').next()).map(|name| format!("`{name}`"))
    });
    let panicked = || {
        let mut lines = said.lines().skip_while(|line| !line.contains("panicked at"));
        lines.nth(1).map(|line| format!("panic: {}", line.chars().take(100).collect::<String>()))
    };
    let last = || said.lines().last().unwrap_or("no word").trim().to_owned();
    wrong.or_else(panicked).unwrap_or_else(last).replace('|', "/")
}
