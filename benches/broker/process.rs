//! A broker process of the bench's own, and what `/proc` says of it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A one-node broker on free ports, ended and removed with this.
pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let on =
            std::env::var_os("JACKDAW_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::tempdir_in(on).unwrap();
        let held: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|l| l.local_addr().unwrap().port()).collect();
        drop(held);
        let mut command = Command::new(env!("CARGO_BIN_EXE_jackdaw"));
        command.arg("serve").arg("--set").arg(format!("data_dir={}", folder.path().display()));
        for (name, port) in ["kafka", "peer", "admin"].iter().zip(&ports) {
            command.arg("--set").arg(format!("listeners.{name}=127.0.0.1:{port}"));
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let broker = Self { child, port: ports[0], folder };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", broker.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the broker does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        broker
    }

    /// The `.log` files of a topic's partition, in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find_logs(self.folder.path(), &mut found);
        found.retain(|path| std::fs::metadata(path).unwrap().len() > 10 << 20);
        found.sort();
        found
    }

    /// CPU time of all its threads that still run.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks.map(|task| cpu_of(&task.unwrap().path())).sum()
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find_logs(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_logs(&path, found);
        } else if path.extension().is_some_and(|e| e == "log") {
            found.push(path);
        }
    }
}

/// CPU time of a thread by its folder in `/proc`.
pub(crate) fn cpu_of(task: &Path) -> Duration {
    // A thread may have ended since it was listed.
    let stat = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}
