//! Asks one node, again and again, where the partitions that it leads end.

use std::collections::BTreeMap;
use std::time::Duration;

use jackdaw_chaos::history::{Answer, Event};
use tokio::time::sleep;

use super::ledger::{Ledger, now_us};
use crate::client::{End, Session};
use crate::setup::Setup;

const PAUSE: Duration = Duration::from_millis(100);

/// Asks `node` until the load is over. Equal answers in a row are one.
pub(super) async fn run(mut session: Session, node: i32, setup: Setup, ledger: Ledger) {
    let partitions: Vec<i32> = (0..setup.partitions).collect();
    let mut open: BTreeMap<i32, Answer> = BTreeMap::new();
    while !ledger.is_load_ending() {
        let asked_us = now_us();
        let ends = session.ends(node, &partitions).await.unwrap_or_default();
        let came_us = now_us();
        let mut before = std::mem::take(&mut open);
        for End { partition, epoch, offset } in ends {
            let same = |answer: &Answer| (answer.epoch, answer.high_watermark) == (epoch, offset);
            let answer = match before.remove(&partition) {
                Some(answer) if same(&answer) => Answer { last_us: asked_us, ..answer },
                other => {
                    other.into_iter().for_each(|over| ledger.record(Event::Answer(over)));
                    Answer {
                        node,
                        partition,
                        epoch,
                        high_watermark: offset,
                        first_us: came_us,
                        last_us: asked_us,
                    }
                }
            };
            open.insert(partition, answer);
        }
        before.into_values().for_each(|over| ledger.record(Event::Answer(over)));
        sleep(PAUSE).await;
    }
    open.into_values().for_each(|over| ledger.record(Event::Answer(over)));
}
