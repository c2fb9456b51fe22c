//! Consumers without a group: one that follows the load, one that reads everything at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use jackdaw_chaos::history::{Event, Poll, ReadTo};
use tokio::time::sleep;

use super::ledger::{Ledger, now_us};
use crate::client::{Fetched, Session};
use crate::setup::Setup;

const RETRY: Duration = Duration::from_millis(50);
const WAIT_MS: i32 = 200;

/// Follows all partitions until the load is over.
pub(super) async fn tail(mut session: Session, setup: Setup, ledger: Ledger) {
    let mut next: BTreeMap<i32, i64> = (0..setup.partitions).map(|at| (at, 0)).collect();
    while !ledger.is_load_ending() {
        let got = round(&mut session, &ledger, "tail", &mut next, None).await;
        ledger.positions().clone_from(&next);
        if got == 0 {
            sleep(RETRY).await;
        }
    }
}

/// Reads all partitions from the beginning to where they end.
pub(super) async fn read_all(mut session: Session, setup: Setup, ledger: Ledger) {
    let mut ends = BTreeMap::new();
    while ends.len() < setup.partitions as usize {
        for node in setup.nodes() {
            let open: Vec<i32> = (0..setup.partitions).filter(|p| !ends.contains_key(p)).collect();
            let asked_us = now_us();
            let Ok(found) = session.ends(node, &open).await else { continue };
            for found in found {
                let (partition, end) = (found.partition, found.offset);
                ends.insert(partition, end);
                let consumer = "reader".to_owned();
                ledger.record(Event::ReadTo(ReadTo { consumer, partition, end, asked_us }));
            }
        }
        sleep(RETRY).await;
    }
    let mut next: BTreeMap<i32, i64> = (0..setup.partitions).map(|at| (at, 0)).collect();
    loop {
        next.retain(|partition, offset| *offset < ends[partition]);
        if next.is_empty() {
            return ledger.all_is_read();
        }
        if round(&mut session, &ledger, "reader", &mut next, Some(&ends)).await == 0 {
            sleep(RETRY).await;
        }
    }
}

/// Fetches once from each leader, up to `ends`; how many records there were.
async fn round(
    session: &mut Session,
    ledger: &Ledger,
    consumer: &str,
    next: &mut BTreeMap<i32, i64>,
    ends: Option<&BTreeMap<i32, i64>>,
) -> usize {
    let from: Vec<(i32, i64)> = next.iter().map(|(at, offset)| (*at, *offset)).collect();
    let Ok(fetched) = session.fetch(&from, WAIT_MS).await else { return 0 };
    let mut count = 0;
    for Fetched { partition, error, records } in fetched {
        if ![0, 3, 5, 6, 9, 13, 74, 76, 78].contains(&error) {
            ledger.note_oddity(format!("fetch: error code {error}"));
        }
        for record in records {
            if ends.is_some_and(|ends| record.offset >= ends[&partition]) {
                break;
            }
            next.insert(partition, record.offset + 1);
            count += 1;
            ledger.record(Event::Poll(Poll {
                consumer: consumer.to_owned(),
                partition,
                offset: record.offset,
                value: record.value,
                assignment: 0,
                at_us: now_us(),
            }));
        }
    }
    count
}
