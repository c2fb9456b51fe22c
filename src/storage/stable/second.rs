//! The thread that syncs the second copy while the first one is synced.
//!
//! Votes are synced hundreds of times a second while leaders are elected: a thread for each would cost as
//! much as its sync.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Syncs one of the second copy's files.
type Sync = dyn Fn(usize) -> io::Result<()> + Send;

/// The thread, which ends with this.
pub(super) struct Second {
    asked: Sender<usize>,
    done: Receiver<io::Result<()>>,
}

impl Second {
    /// Starts it; an error where no thread is to be had.
    pub(super) fn start(sync: Box<Sync>) -> io::Result<Self> {
        let (asked, files) = channel();
        let (tell, done) = channel();
        let run = move || {
            for file in files {
                if tell.send(sync(file)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("sync-votes".to_owned())
            .stack_size(256 << 10)
            .spawn(run)?;
        Ok(Self { asked, done })
    }

    /// Syncs a file of the second copy while `first` is done; what became of both.
    pub(super) fn beside<T>(&self, file: usize, first: impl FnOnce() -> T) -> (T, io::Result<()>) {
        let asked = self.asked.send(file);
        let first = first();
        let ended = || io::Error::other("the thread that syncs it has ended");
        let second =
            asked.map_err(|_| ended()).and_then(|()| self.done.recv().map_err(|_| ended()));
        (first, second.flatten())
    }
}
