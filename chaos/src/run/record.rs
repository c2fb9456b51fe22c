//! `record`: a history of a cluster that somebody else runs and breaks, and what the checkers find in it.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::load::{Cast, Load};
use super::report::READER;
use super::{Report, Screen};
use crate::checkers::Expectation;
use crate::history::{Event, History, Recorder};
use crate::workload::{create_topic_with, read_all};

const REPLICAS: i32 = 3;
/// An acknowledgement then means that a majority of the replicas has the record.
const CONFIGS: [(&str, &str); 1] = [("min.insync.replicas", "2")];
/// Bound on waiting for writes before the first fault and after the last.
const RESUME_DEADLINE: Duration = Duration::from_secs(60);
/// Bound on reading everything back.
const READ_DEADLINE: Duration = Duration::from_secs(180);
/// Below these a recorded history proves nothing.
const RECORDED: Expectation = Expectation { acknowledged_min: 500, acknowledged_in_fault_min: 1 };

/// Works on a topic of its own at `bootstrap` until standard input ends.
///
/// # Errors
/// The file exists, the topic cannot be made, a line is no mark, or nothing can be written or read any more.
pub fn record(
    bootstrap: &str,
    path: &Path,
    rate_per_s: u32,
    screen: &Screen,
) -> Result<(Report, History)> {
    let run = format!("x{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
    let command = format!("jackdaw-chaos check {}", path.display());
    let recorder = Arc::new(Recorder::create(path, &run, 0, &command)?);
    let topic = format!("chaos-{run}");
    let cast = Cast::ALL;
    create_topic_with(bootstrap, &topic, cast.partitions, REPLICAS, &CONFIGS)?;
    let load = Load::start(cast, bootstrap, &topic, rate_per_s, &recorder)?;
    load.progress().wait_every_partition(0, RESUME_DEADLINE)?;
    load.wait_commits(1)?;
    screen.done(format!("{topic} is written to"));
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        recorder.record(&mark(&line, recorder.now_us())?);
        screen.done(line);
    }
    // A client that does not go on is told beside what the checkers find, since one often explains the other.
    let resumed = load.progress().wait_every_partition(recorder.now_us(), RESUME_DEADLINE);
    let read = load.committed().map(drop);
    let mut missed = load.finish();
    missed.extend([resumed, read].into_iter().filter_map(Result::err).map(|e| format!("{e:#}")));
    let partitions: Vec<i32> = (0..cast.partitions).collect();
    read_all(bootstrap, &topic, &partitions, READER, &recorder, READ_DEADLINE)?;
    let history = recorder.finish()?;
    let mut report = Report { missed, ..Report::of(&history, true, RECORDED) };
    report.passed = report.findings.is_empty() && report.missed.is_empty();
    Ok((report, history))
}

/// `begin NAME NODE…`, `begin-all NAME NODE…` without a majority, or `end NAME`.
fn mark(line: &str, at_us: u64) -> Result<Event> {
    let mut words = line.split_whitespace();
    let (kind, name) = (words.next().unwrap_or_default(), words.next());
    let fault = name.with_context(|| format!("`{line}` names no fault"))?.to_owned();
    let majority = match kind {
        "begin" => true,
        "begin-all" => false,
        "end" => return Ok(Event::FaultEnd { fault, at_us }),
        _ => bail!("`{line}` begins neither with begin nor with begin-all nor with end"),
    };
    let nodes = words.map(str::parse).collect::<Result<_, _>>();
    let nodes = nodes.with_context(|| format!("`{line}`: nodes are numbers"))?;
    Ok(Event::FaultBegin { fault, nodes, majority, write_gap_max_us: None, at_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read() {
        let Event::FaultBegin { fault, nodes, majority, .. } = mark("begin kill 2 3", 7).unwrap()
        else {
            panic!("no begin")
        };
        assert_eq!((fault.as_str(), nodes, majority), ("kill", vec![2, 3], true));
        assert!(matches!(
            mark("begin-all power-cut", 7).unwrap(),
            Event::FaultBegin { majority: false, .. }
        ));
        assert_eq!(
            mark("end kill", 9).unwrap(),
            Event::FaultEnd { fault: "kill".into(), at_us: 9 }
        );
        for wrong in ["", "begin", "stop kill", "begin kill two"] {
            assert!(mark(wrong, 0).is_err(), "{wrong}");
        }
    }
}
