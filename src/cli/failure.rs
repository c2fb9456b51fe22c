//! A failure on standard error: what happened, and what to do.

use std::io::ErrorKind;
use std::process::ExitCode;

use super::client::ClientFailure;

/// Prints `error` with a hint where there is one. A reader that went away (`| head`) is no failure.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).next();
    if io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
        && error.downcast_ref::<ClientFailure>().is_none()
    {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {}", sentence(error));
    if let Some(failure) = error.chain().find_map(|cause| cause.downcast_ref::<ClientFailure>()) {
        eprintln!("hint: {}", failure.hint());
    }
    ExitCode::FAILURE
}

/// The chain of causes in one line, without a cause that its effect already quotes.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("disk is full").context("cannot write x");
        assert_eq!(sentence(&error), "cannot write x: disk is full");
        let error = anyhow!("full").context("cannot write x: full");
        assert_eq!(sentence(&error), "cannot write x: full");
    }
}
