//! What a checker found.

use std::fmt;

use serde::Serialize;

/// Examples kept per finding; the count tells the rest.
const EXAMPLES_MAX: usize = 5;

/// How bad it is. Either fails the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An invariant is broken.
    Broken,
    /// The run proves nothing.
    Unknown,
}

/// One invariant that does not hold, or cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The checker's file name.
    pub checker: &'static str,
    /// Broken or unknown.
    pub kind: Kind,
    /// How often.
    pub count: usize,
    /// The first few.
    pub examples: Vec<String>,
}

impl Finding {
    /// A finding over all of `cases`, none if there are none.
    pub(super) fn broken(checker: &'static str, cases: Vec<String>) -> Option<Self> {
        let count = cases.len();
        let examples: Vec<String> = cases.into_iter().take(EXAMPLES_MAX).collect();
        (count > 0).then_some(Self { checker, kind: Kind::Broken, count, examples })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.kind == Kind::Unknown { " (unknown)" } else { "" };
        write!(f, "{}{word}: {} case(s)", self.checker, self.count)?;
        for example in &self.examples {
            write!(f, "\n    {example}")?;
        }
        Ok(())
    }
}
