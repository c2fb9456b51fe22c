//! A group whose members come and go: two stay, a third joins, works for a while, and leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::{GroupConsumer, GroupOptions};
use crate::history::Recorder;

/// How long the third member stays, and how long it is away.
const STAY: Duration = Duration::from_secs(6);
const AWAY: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// At work until it is finished or dropped.
#[derive(Debug)]
pub struct Churn {
    stop: Arc<AtomicBool>,
    staying: Vec<GroupConsumer>,
    guests: Option<JoinHandle<Result<()>>>,
}

impl Churn {
    /// Begins; `options` are those of every member but for its name, to which a number is added.
    ///
    /// # Errors
    /// The client refuses the options.
    pub fn start(options: &GroupOptions, recorder: &Arc<Recorder>) -> Result<Self> {
        let join = |number: usize| GroupConsumer::start(named(options, number), recorder.clone());
        let staying = vec![join(0)?, join(1)?];
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, options, recorder) = (stop.clone(), options.clone(), recorder.clone());
        let guests = thread::Builder::new()
            .name("group guests".to_owned())
            .spawn(move || come_and_go(&stopped, &options, &recorder))?;
        Ok(Self { stop, staying, guests: Some(guests) })
    }

    /// Ends the work of all members.
    ///
    /// # Errors
    /// A client broke down.
    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for member in self.staying.drain(..) {
            member.finish()?;
        }
        let guests = self.guests.take().expect("only finish takes it");
        guests.join().map_err(|_| anyhow!("the thread of a group's guests panicked"))?
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn named(options: &GroupOptions, number: usize) -> GroupOptions {
    GroupOptions { name: format!("{}{number}", options.name), ..options.clone() }
}

fn come_and_go(stop: &AtomicBool, options: &GroupOptions, recorder: &Arc<Recorder>) -> Result<()> {
    for number in 2.. {
        if stopped_within(stop, AWAY) {
            break;
        }
        // A new name for each, since each begins with a generation of its own.
        let guest = GroupConsumer::start(named(options, number), recorder.clone())?;
        let stopped = stopped_within(stop, STAY);
        guest.finish()?;
        if stopped {
            break;
        }
    }
    Ok(())
}

/// Waits for so long, or until it is to stop.
fn stopped_within(stop: &AtomicBool, time: Duration) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < time {
        if stop.load(Ordering::Relaxed) {
            return true;
        }
        thread::sleep(POLL);
    }
    stop.load(Ordering::Relaxed)
}
