//! One `jackdaw serve` process: started, signalled, started again over the same data.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::volume::Volume;
use super::{ClusterView, Injection, Network, NodeId, NodePorts, Sync, http};

/// Between two looks at a process or at its endpoint.
const POLL: Duration = Duration::from_millis(5);
/// One HTTP request to a node; a view is a few kilobytes from memory.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Lines of a node's log that go into an error.
const LOG_LINES: usize = 15;

/// A node: its folder, its ports, and its process while it runs.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its sockets.
    pub ports: NodePorts,
    folder: PathBuf,
    pub(super) binary: PathBuf,
    /// What starts the binary: itself, or what runs it on the node's own host.
    launch: Vec<OsString>,
    /// What its next process finds in its environment besides ours.
    environment: Vec<(OsString, OsString)>,
    process: Option<Child>,
    /// Its data folder, if that is a volume of its own.
    pub(super) volume: Option<Volume>,
}

impl Node {
    pub(super) fn new(id: NodeId, ports: NodePorts, folder: PathBuf, binary: PathBuf) -> Self {
        let launch = vec![binary.clone().into()];
        let environment = Vec::new();
        Self { id, ports, folder, binary, launch, environment, process: None, volume: None }
    }

    /// The same on its host in `network`.
    pub(super) fn on_host(mut self, network: &Network) -> Self {
        self.launch = network.run_on(self.id, &self.binary);
        self
    }

    /// Where its data lives.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it printed, over all its starts.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("jackdaw.log")
    }

    /// Its own folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets what its next processes find in their environment besides ours.
    pub fn set_environment(&mut self, environment: Vec<(OsString, OsString)>) {
        self.environment = environment;
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Starts the process over whatever data the folder holds; does not wait until it is ready.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "node {} runs already", self.id);
        let log = self.append_log()?;
        let (program, arguments) = self.launch.split_first().context("nothing to start")?;
        let child = Command::new(program)
            .args(arguments)
            .args(["serve", "--config", "node.toml"])
            .current_dir(&self.folder)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        fs::write(self.folder.join("jackdaw.pid"), format!("{}\n", child.id()))?;
        self.process = Some(child);
        Ok(())
    }

    fn append_log(&self) -> Result<File> {
        let path = self.log_path();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))
    }

    /// Waits until `/health/ready` answers 200; gives the time waited.
    ///
    /// # Errors
    /// The process ends, or the deadline passes: with what it last said and logged.
    pub fn wait_ready(&mut self, deadline: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let mut last = String::from("nothing answered");
        while begin.elapsed() < deadline {
            if let Some(status) = self.exited()? {
                bail!("node {} ended with {status}:\n{}", self.id, self.log_tail());
            }
            match http::get(self.ports.admin, "/health/ready", REQUEST_TIMEOUT) {
                Ok(answer) if answer.status == 200 => return Ok(begin.elapsed()),
                Ok(answer) => last = answer.body,
                Err(error) => last = error.to_string(),
            }
            thread::sleep(POLL);
        }
        Err(anyhow!(
            "node {} is not ready after {deadline:?} ({last}):\n{}",
            self.id,
            self.log_tail()
        ))
    }

    /// The cluster as this node knows it.
    ///
    /// # Errors
    /// It does not answer, or not with a view.
    pub fn view(&self) -> Result<ClusterView> {
        let answer = http::get(self.ports.admin, "/api/v1/cluster", REQUEST_TIMEOUT)
            .with_context(|| format!("asking node {} for the cluster", self.id))?;
        ensure!(answer.status == 200, "node {}: {} {}", self.id, answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Fills its volume but for one part in `left_share`.
    ///
    /// # Errors
    /// It has no volume of its own.
    pub fn fill_volume(&self, left_share: u64) -> Result<()> {
        self.volume()?.fill(left_share)
    }

    /// Gives back what [`fill_volume`](Self::fill_volume) took.
    ///
    /// # Errors
    /// It has no volume of its own.
    pub fn empty_volume(&self) -> Result<()> {
        self.volume()?.empty()
    }

    /// Makes its volume read-only, as the kernel does after an error of the disk.
    ///
    /// # Errors
    /// It has no volume of its own.
    pub fn make_volume_read_only(&self) -> Result<()> {
        self.volume()?.make_read_only()
    }

    /// Mounts its volume anew; the node does not run.
    ///
    /// # Errors
    /// It has no volume of its own, or that is in use.
    pub fn mount_again(&self) -> Result<()> {
        self.volume()?.mount_again()
    }

    /// Makes its syncs fail or wait until the result is dropped.
    ///
    /// # Errors
    /// It does not run, or strace cannot be attached.
    pub fn inject(&self, sync: Sync) -> Result<Injection> {
        Injection::into(self.pid().context("the node does not run")?, sync)
    }

    fn volume(&self) -> Result<&Volume> {
        let volume = self.volume.as_ref();
        volume.with_context(|| format!("node {} has no volume of its own", self.id))
    }

    /// Waits until `/metrics` holds this line.
    ///
    /// # Errors
    /// The deadline passes.
    pub fn wait_metric(&self, line: &str, deadline: Duration) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < deadline {
            if self.has_metric(line) {
                return Ok(());
            }
            thread::sleep(POLL * 10);
        }
        bail!("node {} does not show {line} after {deadline:?}:\n{}", self.id, self.log_tail())
    }

    /// Whether `/metrics` holds this line now.
    #[must_use]
    pub fn has_metric(&self, line: &str) -> bool {
        let answer = http::get(self.ports.admin, "/metrics", REQUEST_TIMEOUT);
        answer.is_ok_and(|answer| answer.body.lines().any(|found| found == line))
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.reap()?;
        Ok(())
    }

    /// Sends SIGKILL without waiting, so that several nodes die at the same moment; `kill` or
    /// dropping the node reaps it.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal_kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// SIGSTOP: the process keeps its sockets and answers nothing.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and waits for the exit code.
    ///
    /// # Errors
    /// It does not run, or still does at the deadline.
    pub fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_end(deadline).context("after SIGTERM")
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It does not run, or still does at the deadline.
    pub fn wait_end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                self.process = None;
                self.remove_pid_file();
                return Ok(status);
            }
            if begin.elapsed() > deadline {
                bail!("node {} still runs after {deadline:?}:\n{}", self.id, self.log_tail());
            }
            thread::sleep(POLL);
        }
    }

    /// Whether the process was started and has not ended.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.is_some() && self.exited()?.is_none())
    }

    /// Resident memory, bytes (`VmRSS`).
    ///
    /// # Errors
    /// It does not run.
    pub fn resident_bytes(&self) -> Result<u64> {
        let pid = self.pid().context("the node does not run")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")).context("no VmRSS")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log_path())
    }

    fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let process = self.process.as_mut().context("the node does not run")?;
        Ok(process.try_wait()?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // The child is not reaped while we hold it, so its id cannot have passed to another process.
        let process = self.process.as_ref();
        let process = process.with_context(|| format!("node {} does not run", self.id))?;
        let pid = Pid::from_raw(process.id() as i32).context("process id 0")?;
        kill_process(pid, signal).with_context(|| format!("signalling node {}", self.id))
    }

    fn reap(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.wait()?;
            self.remove_pid_file();
        }
        Ok(())
    }

    fn remove_pid_file(&self) {
        // Only people read it, to find the process; a stale one misleads but breaks nothing.
        let _ = fs::remove_file(self.folder.join("jackdaw.pid"));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.process.is_some() {
            // SIGKILL also ends a stopped process. An error means that it ended by itself.
            let _ = self.signal(Signal::KILL);
            let _ = self.reap();
        }
    }
}

fn tail(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(LOG_LINES);
            format!("  {} ends:\n  | {}", path.display(), lines[from..].join("\n  | "))
        }
        Err(error) => format!("  {}: {error}", path.display()),
    }
}
