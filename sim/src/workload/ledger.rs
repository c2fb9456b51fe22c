//! What all clients share: the history, and how far the run has come.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use jackdaw_chaos::history::{Event, History};
use tokio::sync::watch;

use crate::clock;

/// Stages of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Begun,
    TopicIsThere,
    LoadEnds,
    LoadIsOver,
    AllIsRead,
}

/// See the file's head. Clones share it.
#[derive(Clone)]
pub(crate) struct Ledger {
    history: Rc<RefCell<History>>,
    stage: watch::Sender<Stage>,
    /// What answers held that no workload expects, and how often.
    oddities: Rc<RefCell<BTreeMap<String, u64>>>,
    /// Where the tail stands, by partition.
    positions: Rc<RefCell<BTreeMap<i32, i64>>>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            history: Rc::default(),
            stage: watch::Sender::new(Stage::Begun),
            oddities: Rc::default(),
            positions: Rc::default(),
        }
    }

    /// Writes an event down.
    pub(crate) fn record(&self, event: Event) {
        tracing::debug!(target: "history", "{event:?}");
        self.history.borrow_mut().push(event);
    }

    /// Counts something odd, which does not fail the run.
    pub(crate) fn note_oddity(&self, what: String) {
        tracing::info!(target: "history", "odd: {what}");
        *self.oddities.borrow_mut().entry(what).or_default() += 1;
    }

    pub(crate) fn oddities(&self) -> BTreeMap<String, u64> {
        self.oddities.borrow().clone()
    }

    /// What was written down so far.
    pub(crate) fn history(&self) -> std::cell::Ref<'_, History> {
        self.history.borrow()
    }

    pub(super) fn positions(&self) -> std::cell::RefMut<'_, BTreeMap<i32, i64>> {
        self.positions.borrow_mut()
    }

    pub(super) fn topic_is_there(&self) {
        self.reach(Stage::TopicIsThere);
    }

    /// Tells whoever loads the cluster to come to an end.
    pub(crate) fn end_load(&self) {
        self.reach(Stage::LoadEnds);
    }

    /// Nobody writes any more.
    pub(super) fn load_is_over(&self) {
        self.reach(Stage::LoadIsOver);
    }

    pub(super) fn all_is_read(&self) {
        self.reach(Stage::AllIsRead);
    }

    /// Whether the last reader came to the end.
    pub(crate) fn is_all_read(&self) -> bool {
        *self.stage.borrow() >= Stage::AllIsRead
    }

    /// Whether the topic was made.
    pub(crate) fn is_topic_there(&self) -> bool {
        *self.stage.borrow() >= Stage::TopicIsThere
    }

    pub(super) fn is_load_ending(&self) -> bool {
        *self.stage.borrow() >= Stage::LoadEnds
    }

    pub(super) async fn until_topic_is_there(&self) {
        self.until(Stage::TopicIsThere).await;
    }

    pub(super) async fn until_load_is_over(&self) {
        self.until(Stage::LoadIsOver).await;
    }

    fn reach(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let moved = stage > *now;
            *now = (*now).max(stage);
            moved
        });
    }

    async fn until(&self, stage: Stage) {
        let mut stages = self.stage.subscribe();
        stages.wait_for(|now| *now >= stage).await.expect("this ledger holds the sender");
    }
}

/// Now, µs since the simulation began.
pub(super) fn now_us() -> u64 {
    clock::now_us()
}
