//! One timer for the deadlines of all groups and for the sweep of expired offsets.
//!
//! **Invariant:** a group has at least one entry that is not later than its earliest deadline; more
//! entries, or earlier ones, only cost a look.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use super::super::Tick;
use super::groups::Slot;
use super::{Inner, lock};

#[derive(Default)]
pub(super) struct Timers {
    due: BinaryHeap<Reverse<(Tick, Arc<str>)>>,
    pub(super) sweep_at: Option<Tick>,
}

impl Timers {
    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.sweep_at = None;
    }

    fn pop_due(&mut self, now: Tick) -> Option<Arc<str>> {
        if self.due.peek().is_none_or(|Reverse((tick, _))| *tick > now) {
            return None;
        }
        self.due.pop().map(|Reverse((_, id))| id)
    }

    fn next(&self) -> Option<Tick> {
        self.due.peek().map(|Reverse((tick, _))| *tick).into_iter().chain(self.sweep_at).min()
    }
}

impl Inner {
    /// Enters the group's deadline if it is earlier than what is entered.
    pub(super) fn arm_timer(&self, slot: &mut Slot) {
        let Some(wake) = slot.group.wake() else { return };
        if slot.armed.is_some_and(|armed| armed <= wake) {
            return;
        }
        slot.armed = Some(wake);
        let mut timers = lock(&self.timers);
        let is_first = timers.next().is_none_or(|next| wake < next);
        timers.due.push(Reverse((wake, slot.id.clone())));
        if is_first {
            self.timer_wake.notify_one();
        }
    }

    pub(super) async fn run_timer(self: &Arc<Self>) {
        loop {
            let next = self.fire_due();
            let now = self.ticks.now();
            let until_next = async {
                match next {
                    // Ticks are whole milliseconds: one more spares a wake-up just before.
                    Some(next) => {
                        let ms = next.0.saturating_sub(now.0) + 1;
                        tokio::time::sleep(Duration::from_millis(ms)).await;
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                () = self.timer_wake.notified() => {}
                () = until_next => {}
            }
        }
    }

    /// Lets every group act whose time has come; returns when the next one wants to.
    pub(super) fn fire_due(self: &Arc<Self>) -> Option<Tick> {
        let now = self.ticks.now();
        loop {
            let due = lock(&self.timers).pop_due(now);
            let Some(id) = due else { break };
            // An error means that the role or the group is gone, and its deadlines with it.
            let _gone = self.with_group(&id, false, |slot, now, fx| {
                slot.armed = None;
                slot.group.tick(now, fx);
            });
        }
        let mut timers = lock(&self.timers);
        if timers.sweep_at.is_some_and(|at| at <= now) {
            timers.sweep_at = Some(self.next_sweep());
            self.sweep_wake.notify_one();
        }
        timers.next()
    }

    pub(super) fn next_sweep(&self) -> Tick {
        self.ticks.now().after_ms(self.options.offsets_retention_check_ms.max(1).into())
    }
}
