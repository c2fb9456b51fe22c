//! What a run shows while it works: steps on standard error, with a spinner on a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of a run.
#[derive(Debug)]
pub struct Screen {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Screen {
    /// On standard error; only steps that went wrong if `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}").expect("a valid template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { bar, quiet }
    }

    /// Without a spinner, for runs in which another command writes to the terminal.
    #[must_use]
    pub fn plain(quiet: bool) -> Self {
        Self { bar: None, quiet }
    }

    /// What is being done now; shown on a terminal only.
    pub fn doing(&self, what: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.into());
        }
    }

    /// A step that is done.
    pub fn done(&self, what: impl AsRef<str>) {
        match &self.bar {
            Some(bar) => bar.println(what.as_ref()),
            None if self.quiet => {}
            None => eprintln!("{}", what.as_ref()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
