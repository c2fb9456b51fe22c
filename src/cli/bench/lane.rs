//! One partition's batches on their way: order, sequence numbers, and what is sent again.
//!
//! ```text
//!        push ┌─────────┐ send ┌───────────┐ acknowledge, fail
//!      ──────►│ waiting │─────►│ in flight │──────────────────►
//!             └─────────┘◄─────└───────────┘
//!                     send again
//! ```
//!
//! **Invariant:** a batch that was sent is sent again only as it was, unless its producer id was given up.
//! **Invariant:** with sequence numbers, no batch is sent while one before it has to be sent again, nor to
//! a new leader while the old one owes an answer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::body::{NOT_SEQUENCED, Sequenced};
use crate::model::record_batch::HEADER_BYTES;
use crate::model::{ProducerEpoch, ProducerId};

/// Batches of one producer that a broker remembers of a partition.
const SEQUENCED_IN_FLIGHT_MAX: usize = 5;

/// The bytes of a batch.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) header: [u8; HEADER_BYTES],
    pub(super) records: Bytes,
}

/// Records of one partition that travel together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Its place in the lane.
    pub(super) number: u64,
    /// The first record's place in the schedule.
    pub(super) first: u64,
    /// How many records.
    pub(super) count: u32,
    /// When the first one was due, since the start of the run.
    pub(super) due: Duration,
    /// From one record to the next, ns.
    pub(super) spacing_ns: f64,
    /// Due after the warm-up.
    pub(super) is_measured: bool,
    /// Nothing has to be waited for before it is sent.
    pub(super) is_ready: bool,
    /// It was sent, and the answer did not come.
    pub(super) is_unanswered: bool,
    sequenced: Option<Sequenced>,
    pub(super) sealed: Option<Sealed>,
}

impl Batch {
    /// `count` records whose first is due at `due`.
    pub(super) fn new(first: u64, count: u32, due: Duration, spacing_ns: f64) -> Self {
        Self {
            number: 0,
            first,
            count,
            due,
            spacing_ns,
            is_measured: true,
            is_ready: true,
            is_unanswered: false,
            sequenced: None,
            sealed: None,
        }
    }

    /// When record `index` of it was due.
    pub(super) fn due_of(&self, index: u32) -> Duration {
        self.due + Duration::from_nanos((f64::from(index) * self.spacing_ns) as u64)
    }
}

/// A partition, and what goes to it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) partition: i32,
    /// As metadata said last.
    pub(super) leader: Option<i32>,
    waiting: VecDeque<Batch>,
    in_flight: VecDeque<Batch>,
    /// To whom those in flight went.
    sent_to: i32,
    next_number: u64,
    identity: Option<(ProducerId, ProducerEpoch)>,
    next_sequence: i32,
    /// A batch came back with others behind it in flight.
    is_rewinding: bool,
    /// The sequence is torn: a new producer id is needed.
    needs_identity: bool,
    /// Nothing is sent before metadata was asked again.
    is_held: bool,
}

impl Lane {
    pub(super) fn new(partition: i32) -> Self {
        Self {
            partition,
            leader: None,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            sent_to: -1,
            next_number: 0,
            identity: None,
            next_sequence: 0,
            is_rewinding: false,
            needs_identity: false,
            is_held: false,
        }
    }

    /// Adds a batch behind all others.
    pub(super) fn push(&mut self, mut batch: Batch) {
        batch.number = self.next_number;
        self.next_number += 1;
        self.waiting.push_back(batch);
    }

    /// The last batch, if it still takes records.
    pub(super) fn open_batch(&mut self) -> Option<&mut Batch> {
        self.waiting.back_mut().filter(|batch| batch.sealed.is_none())
    }

    /// Batches that have not come to an end.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// What metadata says now; what was held goes on.
    pub(super) fn learn(&mut self, leader: Option<i32>) {
        self.leader = leader;
        self.is_held = false;
    }

    /// Sends nothing before metadata was asked again.
    pub(super) fn hold(&mut self) {
        self.is_held = true;
    }

    fn may_send(&self, broker: i32) -> bool {
        if self.leader != Some(broker) || self.is_held || self.needs_identity {
            return false;
        }
        let in_order = self.sent_to == broker
            && !self.is_rewinding
            && self.in_flight.len() < SEQUENCED_IN_FLIGHT_MAX;
        self.identity.is_none() || self.in_flight.is_empty() || in_order
    }

    /// Whether there is a batch to send to `broker` now.
    pub(super) fn is_sendable(&self, broker: i32) -> bool {
        self.waiting.front().is_some_and(|batch| batch.is_ready) && self.may_send(broker)
    }

    /// Whether a batch made now could be sent to `broker` at once, and there is none.
    pub(super) fn is_hungry(&self, broker: i32) -> bool {
        self.waiting.is_empty() && self.may_send(broker)
    }

    /// The batch to be sent next, with its producer id and sequence number.
    pub(super) fn front(&mut self) -> Option<(&mut Batch, Sequenced)> {
        let batch = self.waiting.front_mut()?;
        let Some((id, epoch)) = self.identity else { return Some((batch, NOT_SEQUENCED)) };
        let next = &mut self.next_sequence;
        let sequenced = *batch.sequenced.get_or_insert_with(|| {
            let first = *next;
            // Sequences wrap from i32::MAX to 0.
            *next = ((i64::from(first) + i64::from(batch.count)) & 0x7fff_ffff) as i32;
            (id, epoch, first)
        });
        Some((batch, sequenced))
    }

    /// Moves the front batch into flight to `broker`; its number.
    pub(super) fn send(&mut self, broker: i32) -> Option<u64> {
        let batch = self.waiting.pop_front()?;
        let number = batch.number;
        self.sent_to = broker;
        self.in_flight.push_back(batch);
        Some(number)
    }

    fn land(&mut self, number: u64) -> Option<Batch> {
        let at = self.in_flight.iter().position(|batch| batch.number == number)?;
        let batch = self.in_flight.remove(at);
        if self.in_flight.is_empty() {
            self.is_rewinding = false;
        }
        batch
    }

    /// Whether no batch before `number` is open.
    pub(super) fn is_oldest(&self, number: u64) -> bool {
        let open = self.waiting.iter().chain(&self.in_flight);
        open.map(|batch| batch.number).min() == Some(number)
    }

    /// The batch is in the log.
    pub(super) fn acknowledge(&mut self, number: u64) -> Option<Batch> {
        self.land(number)
    }

    /// The batch has to be sent again; `lost` if nobody knows what became of it.
    pub(super) fn send_again(&mut self, number: u64, lost: bool) {
        let Some(mut batch) = self.land(number) else { return };
        batch.is_unanswered |= lost;
        self.is_rewinding = !self.in_flight.is_empty();
        let at = self.waiting.partition_point(|other| other.number < number);
        self.waiting.insert(at, batch);
    }

    /// The batch in flight is given up.
    pub(super) fn fail(&mut self, number: u64) -> Option<Batch> {
        let batch = self.land(number)?;
        self.tear(&batch);
        Some(batch)
    }

    /// Gives up the first waiting batch if it was due before `before`.
    pub(super) fn expire(&mut self, before: Duration) -> Option<Batch> {
        let front = self.waiting.front()?;
        // One before it may still be answered.
        if front.due >= before || !self.in_flight.is_empty() {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        self.tear(&batch);
        Some(batch)
    }

    fn tear(&mut self, batch: &Batch) {
        self.needs_identity |= batch.sequenced.is_some();
    }

    /// Whether nothing can be sent before [`Self::identify`].
    pub(super) fn needs_identity(&self) -> bool {
        self.needs_identity && self.in_flight.is_empty()
    }

    /// Gives the lane a producer id, under which everything that waits is numbered anew.
    pub(super) fn identify(&mut self, identity: (ProducerId, ProducerEpoch)) {
        self.identity = Some(identity);
        (self.next_sequence, self.needs_identity) = (0, false);
        for batch in &mut self.waiting {
            (batch.sequenced, batch.sealed) = (None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(1);

    fn lane(sequenced: bool, batches: u64) -> Lane {
        let mut lane = Lane::new(0);
        lane.learn(Some(1));
        if sequenced {
            lane.identify((ProducerId(7), ProducerEpoch(0)));
        }
        for first in 0..batches {
            lane.push(Batch::new(first * 10, 10, AT, 0.0));
        }
        lane
    }

    /// Sends what may be sent to `broker`: number and sequence of each.
    fn send_all(lane: &mut Lane, broker: i32) -> Vec<(u64, i32)> {
        let mut sent = Vec::new();
        while lane.is_sendable(broker) {
            let (_, (_, _, sequence)) = lane.front().unwrap();
            sent.push((lane.send(broker).unwrap(), sequence));
        }
        sent
    }

    #[test]
    fn five_batches_with_a_sequence_are_in_flight_and_any_number_without() {
        let mut plain = lane(false, 9);
        assert_eq!(send_all(&mut plain, 2), [], "another broker leads");
        assert_eq!(send_all(&mut plain, 1).len(), 9);
        let mut lane = lane(true, 9);
        assert_eq!(send_all(&mut lane, 1), [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40)]);
        assert_eq!(lane.acknowledge(0).unwrap().count, 10);
        assert_eq!(send_all(&mut lane, 1), [(5, 50)]);
        assert!(lane.acknowledge(0).is_none(), "only once");
    }

    #[test]
    fn what_came_back_goes_first_and_alone_with_its_sequence() {
        let mut lane = lane(true, 4);
        assert_eq!(send_all(&mut lane, 1).len(), 4);
        lane.send_again(1, false);
        assert_eq!(send_all(&mut lane, 1), [], "others are in flight behind it");
        lane.acknowledge(0);
        lane.send_again(3, false);
        assert!(lane.is_oldest(1) && !lane.is_oldest(2));
        lane.send_again(2, false);
        assert_eq!(send_all(&mut lane, 1), [(1, 10), (2, 20), (3, 30)]);
    }

    #[test]
    fn a_new_leader_waits_for_the_answers_of_the_old_one() {
        let mut lane = lane(true, 7);
        send_all(&mut lane, 1);
        lane.learn(Some(2));
        assert_eq!(send_all(&mut lane, 2), []);
        for number in 0..5 {
            lane.send_again(number, true);
            lane.hold();
        }
        assert_eq!(send_all(&mut lane, 2), [], "held until metadata is known");
        lane.learn(Some(2));
        assert_eq!(send_all(&mut lane, 2)[0], (0, 0));
    }

    #[test]
    fn after_a_batch_is_given_up_the_rest_gets_a_new_id() {
        let mut lane = lane(true, 3);
        send_all(&mut lane, 1);
        assert_eq!(lane.fail(0).unwrap().number, 0);
        assert!(!lane.needs_identity(), "two are in flight");
        lane.send_again(1, false);
        lane.send_again(2, false);
        assert!(lane.needs_identity());
        assert_eq!(send_all(&mut lane, 1), []);
        lane.identify((ProducerId(8), ProducerEpoch(0)));
        assert_eq!(send_all(&mut lane, 1), [(1, 0), (2, 10)]);
    }

    #[test]
    fn only_what_is_late_expires_and_only_when_nothing_is_in_flight() {
        let mut lane = lane(false, 2);
        assert!(lane.expire(AT).is_none(), "due at that very time");
        assert_eq!(lane.expire(AT * 2).unwrap().number, 0);
        lane.send(1);
        lane.push(Batch::new(0, 1, AT, 0.0));
        assert!(lane.expire(AT * 2).is_none());
        lane.send_again(1, true);
        assert!(lane.expire(AT * 2).unwrap().is_unanswered);
    }

    #[test]
    fn a_lane_is_hungry_while_it_may_send_and_has_nothing() {
        let mut lane = lane(true, 0);
        assert!(lane.is_hungry(1) && !lane.is_hungry(2));
        lane.push(Batch::new(0, 1, AT, 0.0));
        assert!(!lane.is_hungry(1));
        assert_eq!((send_all(&mut lane, 1).len(), lane.len()), (1, 1));
        assert!(lane.is_hungry(1));
    }
}
