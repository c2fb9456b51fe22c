//! A history read back.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Answer, Commit, Committed, Event, Poll, ReadTo, Replica, Send, Span};

/// All operations of a run, each kind in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What random choices were drawn from.
    pub seed: u64,
    /// What repeats the run.
    pub command: String,
    /// Names of producers that rule out duplicates and reordering.
    pub idempotent: Vec<String>,
    /// Sends.
    pub sends: Vec<Send>,
    /// Polls.
    pub polls: Vec<Poll>,
    /// Acknowledged commits.
    pub commits: Vec<Commit>,
    /// Committed offsets read back.
    pub committed: Vec<Committed>,
    /// Up to where consumers read.
    pub read_to: Vec<ReadTo>,
    /// What replicas held at the end.
    pub replicas: Vec<Replica>,
    /// What nodes answered as leaders.
    pub answers: Vec<Answer>,
    /// Faults.
    pub faults: Vec<Span>,
    /// Whether the last line was cut, as when the recording process was killed.
    pub torn: bool,
}

impl History {
    /// Reads a file; a torn last line is left out and told by `torn`.
    ///
    /// # Errors
    /// The file cannot be read, or a line other than the last is no event.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    /// As [`read`](Self::read), from bytes.
    ///
    /// # Errors
    /// A line other than the last is no event.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut history = Self::default();
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            // Only a line feed completes a line: a cut number would still be JSON in places.
            match serde_json::from_slice(line) {
                Ok(event) if line.ends_with(b"\n") => history.push(event),
                Ok(_) => history.torn = true,
                Err(_) if lines.peek().is_none() => history.torn = true,
                Err(error) => bail!("line {}: {error}", number + 1),
            }
        }
        Ok(history)
    }

    /// Adds one event.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Run { seed, command, .. } => (self.seed, self.command) = (seed, command),
            Event::Producer { producer, idempotent } => {
                if idempotent {
                    self.idempotent.push(producer);
                }
            }
            Event::Send(send) => self.sends.push(send),
            Event::Poll(poll) => self.polls.push(poll),
            Event::Commit(commit) => self.commits.push(commit),
            Event::Committed(committed) => self.committed.push(committed),
            Event::ReadTo(read_to) => self.read_to.push(read_to),
            Event::Replica(replica) => self.replicas.push(replica),
            Event::Answer(answer) => self.answers.push(answer),
            Event::FaultBegin { fault, nodes, majority, write_gap_max_us, at_us } => {
                let (begin_us, end_us) = (at_us, None);
                self.faults.push(Span {
                    fault,
                    nodes,
                    majority,
                    write_gap_max_us,
                    begin_us,
                    end_us,
                });
            }
            Event::FaultEnd { fault, at_us } => {
                let mut open = self.faults.iter_mut().rev();
                if let Some(span) = open.find(|span| span.fault == fault && span.end_us.is_none()) {
                    span.end_us = Some(at_us);
                }
            }
        }
    }

    /// Whether `producer` rules out duplicates and reordering.
    #[must_use]
    pub fn is_idempotent(&self, producer: &str) -> bool {
        self.idempotent.iter().any(|known| known == producer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = concat!(
        r#"{"op":"producer","producer":"p0","idempotent":true}"#,
        "\n",
        r#"{"op":"poll","consumer":"c","partition":0,"offset":12,"value":"v","at_us":3}"#,
        "\n"
    );

    #[test]
    fn whole_lines_are_read() {
        let history = History::parse(TWO.as_bytes()).unwrap();
        assert!(history.is_idempotent("p0") && !history.torn);
        assert_eq!(history.polls[0].offset, 12);
    }

    #[test]
    fn a_cut_anywhere_in_the_last_line_loses_that_line_only() {
        let first = TWO.find('\n').unwrap() + 1;
        for cut in first + 1..TWO.len() {
            let history = History::parse(&TWO.as_bytes()[..cut]).unwrap();
            assert!(history.torn, "cut at {cut}");
            assert_eq!(history.polls, []);
            assert!(history.is_idempotent("p0"));
        }
    }

    #[test]
    fn a_bad_line_in_the_middle_is_an_error() {
        let error = History::parse(format!("{{\"op\":\n{TWO}").as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 1: "), "{error}");
    }

    #[test]
    fn a_fault_ends_the_last_one_of_its_name() {
        let mut history = History::default();
        for at_us in [1, 5] {
            let fault = "f".to_owned();
            history.push(Event::FaultBegin {
                fault: fault.clone(),
                nodes: vec![1],
                majority: true,
                write_gap_max_us: None,
                at_us,
            });
            history.push(Event::FaultEnd { fault, at_us: at_us + 1 });
        }
        let spans: Vec<_> =
            history.faults.iter().map(|span| (span.begin_us, span.end_us)).collect();
        assert_eq!(spans, [(1, Some(2)), (5, Some(6))]);
    }
}
