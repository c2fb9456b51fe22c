//! Work on files that nobody waits for, on a thread of its own: what retention has freed is deleted, and
//! files that will be needed are made. Where there are [`Workers`], they do it.
//!
//! **Invariant:** a job is no promise, unless it keeps the [`Storage`](super::Storage) of which this is a
//! part: what it did not come to is made up for when the log is opened, or done by whoever needs it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::locks::lock;
use super::workers::{Job, Workers};

/// A job and when it is due.
type Task = (Instant, Job);

/// The thread, which begins with the first job and ends with the last log.
#[derive(Default)]
pub(super) struct Background {
    queue: Mutex<Option<mpsc::Sender<Task>>>,
    workers: Option<Arc<dyn Workers>>,
    /// Jobs are done at once by whoever asks: a test wants the same order every time.
    inline: bool,
}

impl Background {
    /// With a thread, unless `workers` are to do it.
    pub(super) fn new(workers: Option<Arc<dyn Workers>>) -> Self {
        Self { workers, ..Self::default() }
    }

    /// Without a thread.
    #[cfg(test)]
    pub(super) fn inline() -> Self {
        Self { inline: true, ..Self::default() }
    }

    /// Whether things are to be done one after the other, in the same order every time.
    pub(super) fn is_inline(&self) -> bool {
        self.inline || self.workers.is_some()
    }

    /// Does `job` soon, after those that were asked for before.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        if self.inline {
            job();
            return Ok(());
        }
        self.at(Duration::ZERO, Box::new(job))
    }

    /// Does `job` when `time` is over and what is being done then is done; never if the last log is
    /// closed before.
    pub(super) fn run_after(
        &self,
        time: Duration,
        job: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        match self.inline {
            // Nothing happens but what is asked for.
            true => Ok(()),
            false => self.at(time, Box::new(job)),
        }
    }

    fn at(&self, time: Duration, job: Job) -> io::Result<()> {
        match (&self.workers, Instant::now().checked_add(time)) {
            (Some(workers), _) => {
                workers.run_after(time, job);
                Ok(())
            }
            (None, Some(due)) => self.send((due, job)),
            // In some hundred years.
            (None, None) => Ok(()),
        }
    }

    fn send(&self, task: Task) -> io::Result<()> {
        let mut queue = lock(&self.queue);
        if queue.is_none() {
            *queue = Some(start()?);
        }
        // The thread ends only after this sender.
        if let Some(queue) = &*queue {
            let _ = queue.send(task);
        }
        Ok(())
    }
}

fn start() -> io::Result<mpsc::Sender<Task>> {
    let (sender, tasks) = mpsc::channel();
    std::thread::Builder::new().name("jackdaw-files".to_owned()).spawn(move || work(&tasks))?;
    Ok(sender)
}

fn work(tasks: &mpsc::Receiver<Task>) {
    let mut waiting: BTreeMap<(Instant, u64), Job> = BTreeMap::new();
    for number in 0.. {
        let (due, job) = loop {
            let now = Instant::now();
            let received = match waiting.first_entry() {
                Some(first) if first.key().0 <= now => {
                    first.remove()();
                    continue;
                }
                Some(first) => tasks.recv_timeout(first.key().0 - now),
                None => tasks.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(task) => break task,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        };
        waiting.insert((due, number), job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_done_in_order_and_end_with_their_owner() {
        let background = Background::default();
        let (tell, told) = mpsc::channel();
        for n in 0..10 {
            let tell = tell.clone();
            background.run(move || tell.send(n).unwrap()).unwrap();
        }
        drop((background, tell));
        assert_eq!(told.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_due_earlier_is_done_earlier_and_the_rest_is_dropped() {
        let background = Background::default();
        let (tell, told) = mpsc::channel();
        for ms in [3_600_000, 20, 1, 10] {
            let tell = tell.clone();
            let job = move || tell.send(ms).unwrap();
            background.run_after(Duration::from_millis(ms), job).unwrap();
        }
        drop(tell);
        assert_eq!(told.iter().take(3).collect::<Vec<_>>(), [1, 10, 20]);
        drop(background);
        assert_eq!(told.recv(), Err(mpsc::RecvError), "its sender goes with the job");
    }
}
