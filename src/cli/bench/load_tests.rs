//! A producer against scripted answers.

use super::*;
use crate::cli::bench::feed::Paced;
use crate::cli::bench::schedule::Schedule;
use crate::model::compression::Compression;
use crate::model::record_batch::validate;

const MS: Duration = Duration::from_millis(1);
const NOT_LEADER: i16 = 6;
const OUT_OF_ORDER: i16 = 45;
const INVALID_RECORD: i16 = 87;

struct Run {
    load: Load,
    tally: Rc<RefCell<Tally>>,
}

/// Two partitions of broker 1 and one of broker 2; batches of four records.
fn run(feed: Feed, budget: Budget, idempotent: bool) -> Run {
    let bodies = Bodies::new(100, 4 * 110 + HEADER_BYTES, Compression::None).unwrap();
    assert_eq!(bodies.records_max(), 4);
    let options = LoadOptions {
        values: Values::Fixed,
        request_bytes_max: 1 << 20,
        request_batches_max: 100,
        open_records_max: 24,
        patience: 1000 * MS,
    };
    let tally = Rc::new(RefCell::new(Tally::default()));
    let bodies = Rc::new(RefCell::new(bodies));
    let mut load = Load::new(options, &[0, 1, 2], feed, Rc::new(budget), bodies, tally.clone());
    load.learn(&BTreeMap::from([(0, 1), (1, 1), (2, 2)]));
    if idempotent {
        load.identify((ProducerId(9), ProducerEpoch(0)), true);
    }
    Run { load, tally }
}

impl Run {
    /// The next request to a broker: partition, records, sequence of each batch.
    fn take(&mut self, broker: i32, now: Duration) -> (Vec<(i32, i32, i32)>, Vec<Sent>) {
        let Some(request) = self.load.take(broker, now, Timestamp(5)).unwrap() else {
            return (Vec::new(), Vec::new());
        };
        let look = |(partition, sealed): &(i32, Sealed)| {
            let header = validate(&[&sealed.header[..], &sealed.records].concat()).unwrap();
            (*partition, header.record_count, header.base_sequence)
        };
        let batches = request.batches.iter().map(look).collect();
        (batches, request.sent.into_iter().map(|(_, sent)| sent).collect())
    }

    fn answer(&mut self, sent: &[Sent], code: i16, now: Duration) {
        sent.iter().for_each(|sent| self.load.settle(*sent, Answer::Code(code), now));
    }
}

fn records(count: u64) -> Budget {
    Budget::new(Duration::ZERO, Some(count), None)
}

#[test]
fn as_fast_as_it_goes_each_partition_gets_full_batches_until_all_is_sent() {
    let mut run = run(Feed::Greedy, records(18), true);
    let (first, sent) = run.take(1, MS);
    assert_eq!(first, [(0, 4, 0), (1, 4, 0)]);
    let (second, _) = run.take(1, MS);
    assert_eq!(second, [(0, 4, 4), (1, 4, 4)]);
    assert_eq!(run.take(2, MS).0, [(2, 2, 0)], "two are left");
    assert_eq!(run.take(1, MS).0, []);
    run.answer(&sent, 0, 2 * MS);
    run.load.look(3 * MS);
    assert!(!run.load.is_done(), "answers are owed");
    assert_eq!((run.tally.borrow().records, run.tally.borrow().batches), (8, 2));
}

#[test]
fn a_moved_leader_gets_the_same_batches_in_order_after_metadata_was_asked() {
    let mut run = run(Feed::Greedy, records(16), true);
    let (_, first) = run.take(1, MS);
    let (_, second) = run.take(1, MS);
    run.answer(&first, NOT_LEADER, 2 * MS);
    assert!(run.load.wants_metadata);
    run.answer(&second, NOT_LEADER, 2 * MS);
    assert_eq!(run.take(1, MS).0, [], "held");
    run.load.learn(&BTreeMap::from([(0, 2), (1, 2), (2, 2)]));
    let (again, sent) = run.take(2, 3 * MS);
    assert_eq!(again, [(0, 4, 0), (1, 4, 0)]);
    run.answer(&sent, 0, 4 * MS);
    let (rest, sent) = run.take(2, 4 * MS);
    assert_eq!(rest, [(0, 4, 4), (1, 4, 4)]);
    // The second came before the first was known: it is in the log all the same.
    run.answer(&sent, ErrorCode::DuplicateSequenceNumber.code(), 5 * MS);
    run.load.look(5 * MS);
    assert!(run.load.is_done());
    let tally = run.tally.borrow();
    assert_eq!((tally.records, tally.lost()), (16, 0));
    assert_eq!(tally.sent_again[&refusal(NOT_LEADER)], 4);
}

#[test]
fn out_of_order_means_again_behind_others_and_the_end_of_the_sequence_in_front() {
    let mut run = run(Feed::Greedy, records(8), true);
    run.load.learn(&BTreeMap::from([(0, 1)]));
    let (_, first) = run.take(1, MS);
    let (_, second) = run.take(1, MS);
    run.answer(&second, OUT_OF_ORDER, MS);
    assert_eq!(run.tally.borrow().lost(), 0);
    run.answer(&first, OUT_OF_ORDER, MS);
    assert_eq!(run.tally.borrow().failed[&refusal(OUT_OF_ORDER)], 4);
    assert!(run.load.wants_identity());
    run.load.identify((ProducerId(10), ProducerEpoch(0)), false);
    let (again, sent) = run.take(1, MS);
    assert_eq!(again, [(0, 4, 0)]);
    run.answer(&sent, 0, MS);
    run.load.look(MS);
    assert!(run.load.is_done());
}

#[test]
fn a_refusal_is_a_failure_and_silence_until_the_end_is_uncertain() {
    let mut run = run(Feed::Greedy, records(12), false);
    let (_, sent) = run.take(1, MS);
    run.answer(&sent[..1], INVALID_RECORD, MS);
    run.load.settle(sent[1], Answer::Lost, MS);
    // Never sent: nobody leads it.
    run.load.learn(&BTreeMap::from([(2, 2)]));
    assert!(run.load.wants_metadata);
    let (_, sent) = run.take(2, 2 * MS);
    run.answer(&sent, 77, MS);
    run.load.expire(500 * MS);
    assert!(!run.load.is_done());
    run.load.expire(1500 * MS);
    run.load.look(1500 * MS);
    assert!(run.load.is_done());
    let tally = run.tally.borrow();
    assert_eq!((tally.uncertain, tally.failed.len(), tally.lost()), (4, 2, 12));
}

#[test]
fn what_cannot_be_sent_in_time_is_bounded_and_told() {
    let budget = Budget::new(Duration::ZERO, None, Some(100 * MS));
    let paced = Paced::new(Schedule::new(1000.0, 0, 1), Duration::ZERO, 0);
    let mut run = run(Feed::Paced(paced), budget, false);
    assert_eq!(run.load.advance(Duration::ZERO), Wake::At(MS));
    assert_eq!(run.load.advance(90 * MS), Wake::Room, "24 records are open");
    let (_, mut sent) = run.take(1, 91 * MS);
    sent.extend(run.take(2, 91 * MS).1);
    run.answer(&sent, 0, 91 * MS);
    // From when each was due, not from when it was sent.
    assert_eq!(
        run.tally.borrow().latencies.json()["max"].as_u64().unwrap().abs_diff(91_000) / 100,
        0
    );
    let answered = run.tally.borrow().records;
    run.load.look(100 * MS);
    assert_eq!(run.tally.borrow().left_out, 100 - 24 - answered);
    assert_eq!(run.load.advance(200 * MS), Wake::Never);
    assert!(!run.load.is_done(), "some are still to be sent");
}
