//! Histories for the checkers' tests.

use crate::history::{Answer, Commit, Committed, Event, History, Outcome, Poll, ReadTo, Send};

pub(super) fn ok(n: u64, partition: i32, offset: i64) -> Event {
    send(n, Outcome::Ok { partition, offset })
}

/// A send with a key of its partition.
pub(super) fn send(n: u64, outcome: Outcome) -> Event {
    Event::Send(Send {
        producer: "p".into(),
        n,
        value: format!("r-p-{n}"),
        key: format!(
            "k{}",
            if let Outcome::Ok { partition, .. } = outcome { partition } else { 0 }
        ),
        partition: None,
        begin_us: n * 100,
        end_us: n * 100 + 50,
        outcome,
    })
}

pub(super) fn poll(partition: i32, offset: i64, n: u64) -> Event {
    Event::Poll(Poll {
        consumer: "c".into(),
        partition,
        offset,
        value: format!("r-p-{n}"),
        assignment: 0,
        at_us: 10_000,
    })
}

/// A record polled by a consumer that had been given partitions so often.
pub(super) fn polled_by(consumer: &str, assignment: u64, offset: i64) -> Event {
    Event::Poll(Poll {
        consumer: consumer.into(),
        partition: 0,
        offset,
        value: format!("r-p-{offset}"),
        assignment,
        at_us: 10_000,
    })
}

pub(super) fn commit(offset: i64, end_us: u64) -> Event {
    commit_of("m", 1, offset, (end_us.saturating_sub(10), end_us))
}

/// An acknowledged commit of a member that had been given partitions so often.
pub(super) fn commit_of(
    member: &str,
    assignment: u64,
    offset: i64,
    (begin_us, end_us): (u64, u64),
) -> Event {
    Event::Commit(Commit {
        group: "g".into(),
        member: member.into(),
        assignment,
        partition: 0,
        offset,
        begin_us,
        end_us,
    })
}

pub(super) fn committed(offset: i64, begin_us: u64) -> Event {
    Event::Committed(Committed { group: "g".into(), partition: 0, offset, begin_us })
}

/// A node's answers for partition 0, when the first had come and when the last was asked for.
pub(super) fn answer(
    node: i32,
    epoch: i32,
    high_watermark: i64,
    (first_us, last_us): (u64, u64),
) -> Event {
    Event::Answer(Answer { node, partition: 0, epoch, high_watermark, first_us, last_us })
}

/// A fault from `begin_us` to `end_us` after which writes may stand still for 1 ms.
pub(super) fn fault(majority: bool, begin_us: u64, end_us: u64) -> [Event; 2] {
    let (fault, nodes) = ("f".to_owned(), vec![1]);
    let write_gap_max_us = Some(1000);
    [
        Event::FaultBegin {
            fault: fault.clone(),
            nodes,
            majority,
            write_gap_max_us,
            at_us: begin_us,
        },
        Event::FaultEnd { fault, at_us: end_us },
    ]
}

/// A send to partition 0 with its times.
pub(super) fn timed(n: u64, (begin_us, end_us): (u64, u64), outcome: Outcome) -> Event {
    let Event::Send(made) = send(n, outcome) else { unreachable!("a send is a send") };
    Event::Send(Send { partition: Some(0), begin_us, end_us, ..made })
}

pub(super) fn history(events: impl IntoIterator<Item = Event>) -> History {
    let mut history = History::default();
    history.push(Event::Producer { producer: "p".into(), idempotent: true });
    events.into_iter().for_each(|event| history.push(event));
    history
}

fn polled_again(offset: i64, n: u64) -> Event {
    let Event::Poll(made) = poll(0, offset, n) else { unreachable!("a poll is a poll") };
    Event::Poll(Poll { consumer: "d".into(), ..made })
}

/// Two partitions, two readers of the first, one refused send, one unknown send that is there and
/// one that is not.
pub(super) fn clean() -> History {
    let unknown = || Outcome::Info { error: "timed out".into() };
    history([
        ok(0, 0, 0),
        ok(1, 1, 0),
        ok(2, 0, 1),
        send(3, unknown()),
        send(4, unknown()),
        send(5, Outcome::Fail { error: "too large".into() }),
        ok(6, 0, 3),
        commit(2, 500),
        committed(2, 600),
        answer(1, 1, 2, (300, 400)),
        answer(2, 2, 4, (700, 900)),
        poll(0, 0, 0),
        poll(0, 1, 2),
        poll(0, 2, 3),
        poll(0, 3, 6),
        poll(1, 0, 1),
        polled_again(0, 0),
        Event::ReadTo(ReadTo { consumer: "c".into(), partition: 0, end: 4, asked_us: 20_000 }),
    ])
}
