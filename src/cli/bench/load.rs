//! One producer without its sockets: which batches go into which request, and what answers mean.
//!
//! **Invariant:** a record that was taken from the budget ends as acknowledged, failed or uncertain.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::body::Bodies;
use super::feed::{Budget, Feed, greedy};
use super::gaps::Gaps;
use super::lane::{Batch, Lane, Sealed};
use super::tally::{Tally, Trouble};
use crate::model::compression::CompressionError;
use crate::model::record_batch::HEADER_BYTES;
use crate::model::{ProducerEpoch, ProducerId, Timestamp};
use crate::protocol::ErrorCode;

/// What the values of records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// The same in each batch of a length.
    Fixed,
    /// Each begins with this mark and when it was due, ns since the start of the run, both big-endian.
    Stamped(u64),
}

/// How a producer sends.
#[derive(Clone, Debug)]
pub(super) struct LoadOptions {
    pub(super) values: Values,
    /// Batches of a request, before compression or after, bytes.
    pub(super) request_bytes_max: usize,
    /// Most batches in a request.
    pub(super) request_batches_max: usize,
    /// Records that wait or are in flight before none are taken from the schedule.
    pub(super) open_records_max: u64,
    /// A record that is not acknowledged so long after it was due is given up.
    pub(super) patience: Duration,
}

/// A batch on its way, as its request knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    lane: usize,
    number: u64,
}

/// Batches for one broker, none for a partition twice.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// Partition and bytes of each.
    pub(super) batches: Vec<(i32, Sealed)>,
    /// The same batches, to settle.
    pub(super) sent: Vec<(i32, Sent)>,
}

/// What a broker, or its silence, says about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Kafka's error code, 0 for none.
    Code(i16),
    /// The connection is gone, the answer not there.
    Lost,
}

/// When a producer has to be looked after again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    At(Duration),
    /// When something has come to an end.
    Room,
    Never,
}

/// The lanes that a broker leads, and whose turn it is.
#[derive(Debug, Default)]
struct Turn {
    lanes: Vec<usize>,
    next: usize,
}

/// A producer's lanes.
pub(super) struct Load {
    options: LoadOptions,
    lanes: Vec<Lane>,
    turns: BTreeMap<i32, Turn>,
    feed: Feed,
    feed_over: bool,
    budget: Rc<Budget>,
    bodies: Rc<RefCell<Bodies>>,
    tally: Rc<RefCell<Tally>>,
    gaps: Option<Rc<RefCell<Gaps>>>,
    batch_max: u32,
    open_batches: usize,
    open_records: u64,
    /// Metadata has to be asked before what is held goes on.
    pub(super) wants_metadata: bool,
}

impl Load {
    pub(super) fn new(
        options: LoadOptions,
        partitions: &[i32],
        feed: Feed,
        budget: Rc<Budget>,
        bodies: Rc<RefCell<Bodies>>,
        tally: Rc<RefCell<Tally>>,
    ) -> Self {
        let batch_max = bodies.borrow().records_max();
        Self {
            options,
            lanes: partitions.iter().map(|partition| Lane::new(*partition)).collect(),
            turns: BTreeMap::new(),
            feed,
            feed_over: false,
            budget,
            bodies,
            tally,
            gaps: None,
            batch_max,
            open_batches: 0,
            open_records: 0,
            wants_metadata: false,
        }
    }

    /// Tells `gaps` of each acknowledgement.
    pub(super) fn watch(&mut self, gaps: Rc<RefCell<Gaps>>) {
        self.gaps = Some(gaps);
    }

    /// Takes what metadata says: the leader of each partition that has one.
    pub(super) fn learn(&mut self, leaders: &BTreeMap<i32, i32>) {
        self.wants_metadata = false;
        self.turns.values_mut().for_each(|turn| turn.lanes.clear());
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let leader = leaders.get(&lane.partition).copied();
            lane.learn(leader);
            // Who has no leader gets one only by asking again.
            self.wants_metadata |= leader.is_none();
            if let Some(leader) = leader {
                self.turns.entry(leader).or_default().lanes.push(at);
            }
        }
    }

    /// Whether `broker` leads one of the lanes.
    pub(super) fn has_lanes(&self, broker: i32) -> bool {
        self.turns.get(&broker).is_some_and(|turn| !turn.lanes.is_empty())
    }

    /// Ends the run when the time is up, also where nothing would come to an end by itself. What was due
    /// and could not be taken in time is counted, and left out.
    pub(super) fn look(&mut self, now: Duration) {
        let until = self.budget.until();
        if self.feed_over || (now < until && !self.budget.is_over(now)) {
            return;
        }
        self.advance(now);
        if let (Feed::Paced(paced), false) = (&self.feed, self.feed_over) {
            let due = paced.schedule.due(until.saturating_sub(Duration::from_nanos(1)));
            self.tally.borrow_mut().left_out += due.saturating_sub(paced.taken());
        }
        self.feed_over = true;
    }

    /// Whether a producer id is needed for anything to go on.
    pub(super) fn wants_identity(&self) -> bool {
        self.lanes.iter().any(Lane::needs_identity)
    }

    /// Gives a producer id to all lanes at the start, later to those that need a new one.
    pub(super) fn identify(&mut self, identity: (ProducerId, ProducerEpoch), at_start: bool) {
        for lane in self.lanes.iter_mut().filter(|lane| at_start || lane.needs_identity()) {
            lane.identify(identity);
        }
    }

    /// Gives the lanes what is due at `now`, and says when more will be.
    pub(super) fn advance(&mut self, now: Duration) -> Wake {
        if self.feed_over {
            return Wake::Never;
        }
        let room = self.options.open_records_max.saturating_sub(self.open_records);
        let wake = match &mut self.feed {
            Feed::Greedy => {
                // Whoever can send takes for itself.
                self.feed_over |= self.budget.is_over(now);
                return Wake::Never;
            }
            Feed::Paced(paced) => {
                if room == 0 && !self.budget.is_over(now) {
                    return Wake::Room;
                }
                let before = paced.taken();
                let (begun, wake) =
                    paced.advance(now, &mut self.lanes, &self.budget, room, self.batch_max);
                self.open_batches += begun;
                self.open_records += paced.taken() - before;
                let behind = paced.schedule.due(now) > paced.taken();
                match wake {
                    Some(_) if behind => return Wake::Room,
                    wake => wake,
                }
            }
            Feed::Ticks(ticks) => {
                let (begun, wake) = ticks.advance(now, &mut self.lanes, &self.budget);
                self.open_batches += begun;
                self.open_records += begun as u64;
                wake
            }
        };
        self.feed_over |= wake.is_none();
        wake.map_or(Wake::Never, Wake::At)
    }

    /// The next request to `broker`, if there is something to send to it.
    ///
    /// # Errors
    /// Where the codec fails.
    pub(super) fn take(
        &mut self,
        broker: i32,
        now: Duration,
        wall: Timestamp,
    ) -> Result<Option<Request>, CompressionError> {
        let Some(mut turn) = self.turns.remove(&broker) else { return Ok(None) };
        let mut request = Request::default();
        let mut bytes = 0;
        for step in 0..turn.lanes.len() {
            let at = turn.lanes[(turn.next + step) % turn.lanes.len()];
            if matches!(self.feed, Feed::Greedy)
                && self.lanes[at].is_hungry(broker)
                && let Some(batch) = greedy(now, &self.budget, self.batch_max)
            {
                self.open_batches += 1;
                self.open_records += u64::from(batch.count);
                self.lanes[at].push(batch);
            }
            if !self.lanes[at].is_sendable(broker) {
                continue;
            }
            let sealed = self.seal(at, wall)?;
            bytes += HEADER_BYTES + sealed.records.len();
            let Some(number) = self.lanes[at].send(broker) else { continue };
            let partition = self.lanes[at].partition;
            request.batches.push((partition, sealed));
            request.sent.push((partition, Sent { lane: at, number }));
            let batches = request.batches.len();
            if bytes >= self.options.request_bytes_max
                || batches >= self.options.request_batches_max
            {
                turn.next = (turn.next + step + 1) % turn.lanes.len();
                break;
            }
        }
        self.turns.insert(broker, turn);
        let is_empty = request.batches.is_empty();
        self.tally.borrow_mut().requests += u64::from(!is_empty);
        Ok((!is_empty).then_some(request))
    }

    /// The bytes of the lane's next batch, made when it is first sent.
    fn seal(&mut self, at: usize, wall: Timestamp) -> Result<Sealed, CompressionError> {
        let Some((batch, sequenced)) = self.lanes[at].front() else {
            unreachable!("asked for a batch that is sendable")
        };
        if let Some(sealed) = &batch.sealed {
            return Ok(sealed.clone());
        }
        let body = match self.options.values {
            Values::Fixed => self.bodies.borrow_mut().of(batch.count)?,
            Values::Stamped(mark) => self.bodies.borrow().stamped(batch.count, |index| {
                let due_ns = batch.due_of(index).as_nanos() as u64;
                let mut stamp = [0; 16];
                stamp[..8].copy_from_slice(&mark.to_be_bytes());
                stamp[8..].copy_from_slice(&due_ns.to_be_bytes());
                stamp
            })?,
        };
        let sealed = Sealed { header: body.header(wall, sequenced), records: body.records };
        Ok(batch.sealed.insert(sealed).clone())
    }

    /// Takes a broker's word about a batch, or its silence.
    pub(super) fn settle(&mut self, sent: Sent, answer: Answer, now: Duration) {
        let lane = &mut self.lanes[sent.lane];
        let mut tally = self.tally.borrow_mut();
        let known = match answer {
            Answer::Code(code) => ErrorCode::from_code(code),
            Answer::Lost => None,
        };
        let ended = match (answer, known) {
            // An answer that was lost on its way: the batch is in the log.
            (Answer::Code(_), Some(ErrorCode::None | ErrorCode::DuplicateSequenceNumber)) => {
                let batch = lane.acknowledge(sent.number);
                if let Some(batch) = &batch {
                    tally.acknowledge(batch, now);
                    if let Some(gaps) = &self.gaps {
                        gaps.borrow_mut().acknowledge(sent.lane, now);
                    }
                }
                batch
            }
            (Answer::Lost, _) => {
                lane.send_again(sent.number, true);
                lane.hold();
                self.wants_metadata = true;
                return tally.send_again(Trouble::NoAnswer);
            }
            (_, Some(code)) if code.is_retriable() => {
                lane.send_again(sent.number, false);
                lane.hold();
                self.wants_metadata = true;
                return tally.send_again(refusal(code.code()));
            }
            // One before it has to be sent again, and then this one.
            (_, Some(ErrorCode::OutOfOrderSequenceNumber)) if !lane.is_oldest(sent.number) => {
                lane.send_again(sent.number, false);
                return tally.send_again(refusal(ErrorCode::OutOfOrderSequenceNumber.code()));
            }
            (Answer::Code(code), _) => {
                let batch = lane.fail(sent.number);
                if let Some(batch) = &batch {
                    tally.fail(batch, refusal(code));
                }
                batch
            }
        };
        drop(tally);
        self.end(ended.as_ref());
    }

    fn end(&mut self, batch: Option<&Batch>) {
        let Some(batch) = batch else { return };
        self.open_batches -= 1;
        self.open_records -= u64::from(batch.count);
    }

    /// Gives up what has waited for too long.
    pub(super) fn expire(&mut self, now: Duration) {
        let Some(before) = now.checked_sub(self.options.patience) else { return };
        for at in 0..self.lanes.len() {
            while let Some(batch) = self.lanes[at].expire(before) {
                self.tally.borrow_mut().fail(&batch, Trouble::NotSent);
                self.end(Some(&batch));
            }
        }
    }

    /// Whether every record has come to an end, and there will be no more.
    pub(super) fn is_done(&self) -> bool {
        self.feed_over && self.open_batches == 0
    }
}

fn refusal(code: i16) -> Trouble {
    let name =
        ErrorCode::from_code(code).map_or_else(|| format!("ERROR_{code}"), |known| known.name());
    Trouble::Refused(name)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
