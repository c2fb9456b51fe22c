//! Commands of the system that volumes and hosts are made with.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Runs a command to its end.
///
/// # Errors
/// It cannot be run, or fails: with what it said.
pub(super) fn tool(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} ended with {}: {}", output.status, said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_the_command_said() {
        let error = tool(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("sh ended with") && error.contains("no such thing"), "{error}");
    }
}
