//! Why a configuration was refused, in one sentence that says what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// A refused configuration.
///
/// Displayed as `FILE line N: KEY: what is wrong; what to do`, without the parts that do not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, if the fault is in one.
    pub file: Option<PathBuf>,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// The key in dotted form, empty when the fault is the file as a whole.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub advice: String,
}

impl ConfigError {
    /// A fault of `key`; where it stands is added by whoever knows.
    pub(super) fn new(
        key: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            file: None,
            line: None,
            key: key.into(),
            problem: problem.into(),
            advice: advice.into(),
        }
    }

    pub(super) fn at_line(mut self, line: Option<usize>) -> Self {
        self.line = self.line.or(line);
        self
    }

    pub(super) fn in_file(mut self, file: Option<&Path>) -> Self {
        self.file = self.file.or_else(|| file.map(Path::to_path_buf));
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(f, " line {line}")?;
            }
            f.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        write!(f, "{}", self.problem)?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
