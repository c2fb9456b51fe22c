//! Commits a group's offsets, and asks for them.

use std::time::Duration;

use jackdaw_chaos::history::{Commit, Committed, Event};
use tokio::time::sleep;

use super::ledger::{Ledger, now_us};
use crate::client::Session;
use crate::setup::Setup;

const GROUP: &str = "g";
const PAUSE: Duration = Duration::from_millis(150);

/// Commits where the tail stands, until the load is over; then asks once more.
pub(super) async fn run(mut session: Session, setup: Setup, ledger: Ledger) {
    let partitions: Vec<i32> = (0..setup.partitions).collect();
    loop {
        let is_last = ledger.is_load_ending();
        if !is_last {
            commit(&mut session, &ledger).await;
        }
        let asked = ask(&mut session, &partitions, &ledger).await;
        if is_last && asked {
            return;
        }
        sleep(PAUSE).await;
    }
}

async fn commit(session: &mut Session, ledger: &Ledger) {
    let offsets: Vec<(i32, i64)> = ledger.positions().iter().map(|(p, o)| (*p, *o)).collect();
    let begin_us = now_us();
    if offsets.is_empty() || session.commit(GROUP, &offsets).await.is_err() {
        return;
    }
    for (partition, offset) in offsets {
        ledger.record(Event::Commit(Commit {
            group: GROUP.to_owned(),
            member: String::new(),
            assignment: 0,
            partition,
            offset,
            begin_us,
            end_us: now_us(),
        }));
    }
}

async fn ask(session: &mut Session, partitions: &[i32], ledger: &Ledger) -> bool {
    let begin_us = now_us();
    let Ok(offsets) = session.committed(GROUP, partitions).await else { return false };
    for (partition, offset) in offsets {
        let group = GROUP.to_owned();
        ledger.record(Event::Committed(Committed { group, partition, offset, begin_us }));
    }
    true
}
