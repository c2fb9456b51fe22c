//! Incremental fetch sessions (KIP-227): what a consumer fetches, remembered between requests.
//!
//! A consumer of many partitions names them once; later requests name changes only, and later
//! answers hold only partitions with news. Kafka's `FetchSession` and `FetchSessionCache`.
//!
//! **Invariant:** the cache holds at most its slots; a session is evicted only when it has not been
//! used for [`EVICTION_MS`] milliseconds. A full cache makes clients sessionless, never refused.
//! **Invariant:** a session whose epoch a request does not match is left as it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::handlers::context::TopicRef;
use crate::handlers::lock;
use crate::model::Timestamp;

/// Idle time after which another client may take a session's slot
/// (`min.incremental.fetch.session.eviction.ms`).
const EVICTION_MS: i64 = 120_000;

/// One partition that a consumer wants, as its last request stated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FetchTarget {
    /// Its topic.
    pub(super) topic: TopicRef,
    /// Its index.
    pub(super) partition: i32,
    /// The next offset to read.
    pub(super) fetch_offset: i64,
    /// Most bytes to answer with.
    pub(super) max_bytes: i32,
    /// The leader epoch that the client knows, −1 to skip the check.
    pub(super) current_leader_epoch: i32,
    /// Epoch of the last record that the client read, −1 to skip the check for divergence.
    pub(super) last_fetched_epoch: i32,
}

/// What a partition's last answer said, to tell news from none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The high watermark.
    pub(super) high_watermark: i64,
    /// The log start offset.
    pub(super) log_start_offset: i64,
}

#[derive(Debug)]
struct Remembered {
    target: FetchTarget,
    told: Option<Told>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    used: Timestamp,
    next_turn: u64,
    /// In the order in which they are served: a partition that sent records goes to the back.
    turns: BTreeMap<u64, Remembered>,
    places: HashMap<(TopicRef, i32), u64>,
}

/// Why a request does not fit a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionError {
    /// FETCH_SESSION_ID_NOT_FOUND.
    NotFound,
    /// INVALID_FETCH_SESSION_EPOCH.
    Epoch,
    /// FETCH_SESSION_TOPIC_ID_ERROR: names and ids mixed in one session.
    TopicId,
}

/// What one request fetches.
#[derive(Debug)]
pub(super) struct FetchPlan {
    /// 0 where there is no session.
    pub(super) session_id: i32,
    /// Whether partitions without news are left out of the answer.
    pub(super) incremental: bool,
    /// The partitions, in the order in which they get their share of the bytes.
    pub(super) targets: Vec<FetchTarget>,
    session: Option<Arc<Mutex<Session>>>,
}

/// The session fields of a fetch request.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionRequest {
    /// 0 for none.
    pub(super) id: i32,
    /// −1 ends or declines a session, 0 asks for a new one, above 0 continues.
    pub(super) epoch: i32,
    /// Whether the request's version names topics by id.
    pub(super) by_id: bool,
}

/// All sessions of this broker.
#[derive(Debug)]
pub struct SessionCache {
    slots: usize,
    sessions: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
}

impl SessionCache {
    /// A cache of at most `slots` sessions (`max.incremental.fetch.session.cache.slots`).
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self { slots, sessions: Mutex::default() }
    }

    /// Decides what a request fetches, and opens, continues or ends its session.
    ///
    /// # Errors
    /// [`SessionError`] where the request continues a session that is not there or elsewhere.
    pub(super) fn begin(
        &self,
        request: SessionRequest,
        targets: Vec<FetchTarget>,
        forgotten: &[(TopicRef, i32)],
        now: Timestamp,
    ) -> Result<FetchPlan, SessionError> {
        if request.epoch <= 0 {
            if request.id != 0 {
                lock(&self.sessions).remove(&request.id);
            }
            let open = request.epoch == 0 && !targets.is_empty();
            let opened = if open { self.open(request.by_id, &targets, now) } else { None };
            let (session_id, session) = opened.map_or((0, None), |(id, s)| (id, Some(s)));
            return Ok(FetchPlan { session_id, incremental: false, targets, session });
        }
        let found = lock(&self.sessions).get(&request.id).map(Arc::clone);
        let session = found.ok_or(SessionError::NotFound)?;
        let targets = lock(&session).advance(request, targets, forgotten, now)?;
        Ok(FetchPlan { session_id: request.id, incremental: true, targets, session: Some(session) })
    }

    fn open(
        &self,
        by_id: bool,
        targets: &[FetchTarget],
        now: Timestamp,
    ) -> Option<(i32, Arc<Mutex<Session>>)> {
        let mut sessions = lock(&self.sessions);
        if sessions.len() >= self.slots {
            let oldest = sessions
                .iter()
                .map(|(id, session)| (lock(session).used, *id))
                .min()
                .filter(|(used, _)| now.0 - used.0 > EVICTION_MS)?;
            sessions.remove(&oldest.1);
        }
        let id = std::iter::repeat_with(|| rand::random_range(1..=i32::MAX))
            .find(|id| !sessions.contains_key(id))?;
        let session = Arc::new(Mutex::new(Session::new(by_id, targets, now)));
        sessions.insert(id, Arc::clone(&session));
        Some((id, session))
    }
}

impl Session {
    fn new(by_id: bool, targets: &[FetchTarget], now: Timestamp) -> Self {
        let mut session = Self {
            epoch: 1,
            by_id,
            used: now,
            next_turn: 0,
            turns: BTreeMap::new(),
            places: HashMap::new(),
        };
        for target in targets {
            session.put(target.clone());
        }
        session
    }

    fn put(&mut self, target: FetchTarget) {
        let key = (target.topic.clone(), target.partition);
        if let Some(remembered) = self.places.get(&key).and_then(|turn| self.turns.get_mut(turn)) {
            remembered.target = target;
            return;
        }
        self.places.insert(key, self.next_turn);
        self.turns.insert(self.next_turn, Remembered { target, told: None });
        self.next_turn += 1;
    }

    fn advance(
        &mut self,
        request: SessionRequest,
        targets: Vec<FetchTarget>,
        forgotten: &[(TopicRef, i32)],
        now: Timestamp,
    ) -> Result<Vec<FetchTarget>, SessionError> {
        if request.epoch != self.epoch {
            return Err(SessionError::Epoch);
        }
        if request.by_id != self.by_id {
            return Err(SessionError::TopicId);
        }
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        self.used = now;
        for key in forgotten {
            if let Some(turn) = self.places.remove(key) {
                self.turns.remove(&turn);
            }
        }
        for target in targets {
            self.put(target);
        }
        Ok(self.turns.values().map(|remembered| remembered.target.clone()).collect())
    }
}

impl FetchPlan {
    /// Notes what a partition is about to be told; returns whether that is news, which an
    /// incremental answer must contain. Records and errors always are.
    pub(super) fn tell(
        &self,
        target: &FetchTarget,
        told: Told,
        has_records: bool,
        failed: bool,
    ) -> bool {
        let Some(session) = &self.session else {
            return true;
        };
        let mut session = lock(session);
        let key = (target.topic.clone(), target.partition);
        let Some(turn) = session.places.get(&key).copied() else {
            return true;
        };
        let Some(remembered) = session.turns.get_mut(&turn) else {
            return true;
        };
        // After an error everything is news again.
        let before = std::mem::replace(&mut remembered.told, (!failed).then_some(told));
        if has_records && let Some(remembered) = session.turns.remove(&turn) {
            let last = session.next_turn;
            session.next_turn += 1;
            session.turns.insert(last, remembered);
            session.places.insert(key, last);
        }
        !self.incremental || has_records || failed || before != Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicId;

    fn target(partition: i32) -> FetchTarget {
        FetchTarget {
            topic: TopicRef::Id(TopicId(1)),
            partition,
            fetch_offset: 0,
            max_bytes: 100,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn ask(id: i32, epoch: i32) -> SessionRequest {
        SessionRequest { id, epoch, by_id: true }
    }

    const NOW: Timestamp = Timestamp(1_000_000);
    const TOLD: Told = Told { high_watermark: 5, log_start_offset: 0 };

    #[test]
    fn later_requests_name_changes_only_and_later_answers_hold_news_only() {
        let cache = SessionCache::new(2);
        let plan = cache.begin(ask(0, 0), vec![target(0), target(1)], &[], NOW).unwrap();
        assert!(plan.session_id > 0 && !plan.incremental);
        assert!(plan.tell(&plan.targets[0], TOLD, false, false));
        let id = plan.session_id;

        let mut moved = target(1);
        moved.fetch_offset = 9;
        let plan = cache.begin(ask(id, 1), vec![moved.clone()], &[], NOW).unwrap();
        assert_eq!(plan.targets, [target(0), moved.clone()]);
        assert!(!plan.tell(&target(0), TOLD, false, false), "nothing new");
        assert!(plan.tell(&moved, TOLD, true, false));

        let gone = [(TopicRef::Id(TopicId(1)), 0)];
        let plan = cache.begin(ask(id, 2), vec![], &gone, NOW).unwrap();
        assert_eq!(plan.targets, [moved]);
    }

    #[test]
    fn partitions_that_sent_records_go_to_the_back() {
        let cache = SessionCache::new(2);
        let plan = cache.begin(ask(0, 0), vec![target(0), target(1)], &[], NOW).unwrap();
        plan.tell(&target(0), TOLD, true, false);
        let plan = cache.begin(ask(plan.session_id, 1), vec![], &[], NOW).unwrap();
        assert_eq!(plan.targets, [target(1), target(0)]);
    }

    #[test]
    fn wrong_ids_epochs_and_kinds_are_refused() {
        let cache = SessionCache::new(2);
        assert_eq!(cache.begin(ask(7, 1), vec![], &[], NOW).unwrap_err(), SessionError::NotFound);
        let id = cache.begin(ask(0, 0), vec![target(0)], &[], NOW).unwrap().session_id;
        assert_eq!(cache.begin(ask(id, 5), vec![], &[], NOW).unwrap_err(), SessionError::Epoch);
        let by_name = SessionRequest { id, epoch: 1, by_id: false };
        assert_eq!(cache.begin(by_name, vec![], &[], NOW).unwrap_err(), SessionError::TopicId);
        assert!(cache.begin(ask(id, 1), vec![], &[], NOW).is_ok(), "the session is unharmed");
    }

    #[test]
    fn a_full_cache_declines_until_a_session_is_old() {
        let cache = SessionCache::new(1);
        let first = cache.begin(ask(0, 0), vec![target(0)], &[], NOW).unwrap();
        assert_eq!(cache.begin(ask(0, 0), vec![target(0)], &[], NOW).unwrap().session_id, 0);
        let later = Timestamp(NOW.0 + EVICTION_MS + 1);
        let second = cache.begin(ask(0, 0), vec![target(0)], &[], later).unwrap();
        assert!(second.session_id > 0);
        let gone = cache.begin(ask(first.session_id, 1), vec![], &[], later);
        assert_eq!(gone.unwrap_err(), SessionError::NotFound);
        assert_eq!(lock(&cache.sessions).len(), 1);
    }

    #[test]
    fn a_final_epoch_ends_the_session() {
        let cache = SessionCache::new(1);
        let id = cache.begin(ask(0, 0), vec![target(0)], &[], NOW).unwrap().session_id;
        let plan = cache.begin(ask(id, -1), vec![target(0)], &[], NOW).unwrap();
        assert_eq!((plan.session_id, plan.targets.len()), (0, 1));
        assert!(lock(&cache.sessions).is_empty());
    }

    #[test]
    fn an_error_makes_everything_news_again() {
        let cache = SessionCache::new(1);
        let id = cache.begin(ask(0, 0), vec![target(0)], &[], NOW).unwrap().session_id;
        let plan = cache.begin(ask(id, 1), vec![], &[], NOW).unwrap();
        plan.tell(&target(0), TOLD, false, true);
        let plan = cache.begin(ask(id, 2), vec![], &[], NOW).unwrap();
        assert!(plan.tell(&target(0), TOLD, false, false));
    }
}
