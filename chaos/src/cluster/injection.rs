//! Errors and delays of a running process's system calls, by strace(1).
//!
//! **Invariant:** the process goes on undisturbed when an [`Injection`] is dropped.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The calls that make bytes durable.
const SYNCS: &str = "fdatasync,fsync,syncfs";
/// Bound on attaching.
const ATTACH_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// What syncs do instead of what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Fail with EIO, and write nothing.
    Fails,
    /// Begin late.
    Waits(Duration),
}

impl Sync {
    fn tampering(self) -> String {
        match self {
            Self::Fails => format!("inject={SYNCS}:error=EIO"),
            Self::Waits(time) => format!("inject={SYNCS}:delay_enter={}", time.as_micros()),
        }
    }
}

/// A strace at work.
#[derive(Debug)]
pub struct Injection(Child);

impl Injection {
    /// Attaches to a process.
    ///
    /// # Errors
    /// Without strace or the right to trace.
    pub(super) fn into(pid: u32, sync: Sync) -> Result<Self> {
        let child = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={SYNCS}")])
            .args(["-e", &sync.tampering(), "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("running strace")?;
        let mut injection = Self(child);
        injection.wait_attached(pid)?;
        Ok(injection)
    }

    fn wait_attached(&mut self, pid: u32) -> Result<()> {
        let begin = Instant::now();
        // A first failing sync may end the process at once, and strace with it.
        while is_alive(pid) && self.0.try_wait()?.is_none() {
            if is_traced(pid) {
                return Ok(());
            }
            if begin.elapsed() > ATTACH_DEADLINE {
                bail!("strace has not attached to process {pid} after {ATTACH_DEADLINE:?}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // SIGTERM, on which strace lets its processes go; an error says that it has ended.
        if let Some(pid) = Pid::from_raw(self.0.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

fn status(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

fn is_alive(pid: u32) -> bool {
    let status = status(pid);
    !status.is_empty() && !status.lines().any(|line| line.starts_with("State:\tZ"))
}

fn is_traced(pid: u32) -> bool {
    status(pid).lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_told_in_microseconds() {
        let late = Sync::Waits(Duration::from_millis(300));
        assert_eq!(late.tampering(), "inject=fdatasync,fsync,syncfs:delay_enter=300000");
        assert_eq!(Sync::Fails.tampering(), "inject=fdatasync,fsync,syncfs:error=EIO");
    }

    #[test]
    fn this_process_lives_and_another_does_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX), "ids are smaller");
    }
}
