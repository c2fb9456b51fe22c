//! `jackdaw bench failover`: how long each partition takes no records while somebody breaks the cluster.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::args::FailoverBench;
use super::body::Bodies;
use super::feed::{Budget, Feed, Ticks};
use super::fleet::{self, Producer, RunClock, Shared};
use super::gaps::{Gap, Gaps};
use super::load::{Load, LoadOptions, Values};
use super::produce::{REQUEST_BYTES_MAX, outcome};
use super::progress::{Goal, Progress};
use super::report::{
    grouped, latency_row, merged, milliseconds, processor_time, rounded, row, trouble_json,
    trouble_rows,
};
use super::tally::Tally;
use super::topic;
use super::view::View;
use crate::cli::args::Connect;
use crate::cli::client::BATCH_OF_REQUEST_MAX;
use crate::cli::output::{Table, print, print_json};
use crate::model::{Clock as _, SystemClock, Timestamp};

/// Partitions shown in the table, those with the longest gaps.
const SHOWN: usize = 12;

pub(super) async fn run(args: FailoverBench, connect: &Connect) -> anyhow::Result<()> {
    let (client, partitions) = topic::open(connect, &args.common).await?;
    let view = Rc::new(View::new(&client, &args.common.topic));
    let client = Rc::new(Mutex::new(client));
    let shared = Rc::new(Shared {
        clock: Rc::new(RunClock::new()),
        view,
        topic: args.common.topic.clone(),
        acks: -1,
        in_flight_max: 5,
        request_timeout: Duration::from_millis(args.request_timeout),
    });
    let warm_up = Duration::from_secs_f64(args.common.warmup);
    let time = args.seconds.map(Duration::from_secs_f64);
    let budget = Rc::new(Budget::new(warm_up, None, time));
    let tally = Rc::new(RefCell::new(Tally::default()));
    let gaps = Rc::new(RefCell::new(Gaps::new(partitions.len(), warm_up)));
    let producer = producer(&args, connect, &partitions, (&budget, &tally, &gaps))?;
    let mut progress = Progress::new(time.map_or(Goal::None, |time| Goal::Time(warm_up + time)));
    let (before, started_at) = (processor_time(), SystemClock.now());
    let producers = std::slice::from_ref(&producer);
    fleet::run(&shared, producers, &client, &budget, true, |now| {
        let tally = tally.borrow();
        progress.show(now, tally.records, |per_s| {
            let longest = milliseconds(gaps.borrow().longest().as_micros() as u64);
            format!("{} records/s, longest gap {longest} ms", grouped(per_s.round() as u64))
        });
    })
    .await?;
    drop(progress);
    let end = budget.until().min(shared.clock.now());
    gaps.borrow_mut().close(end, Duration::from_secs_f64(args.interval / 500.0));
    let used = processor_time() - before;
    let gaps = gaps.borrow();
    let found: Vec<(i32, Gap, u64)> =
        partitions.iter().zip(gaps.all()).map(|(at, (gap, acks))| (*at, gap, acks)).collect();
    report(&args, connect.json, &tally.borrow(), found, (started_at, used))?;
    outcome(&tally.borrow())
}

fn producer(
    args: &FailoverBench,
    connect: &Connect,
    partitions: &[i32],
    (budget, tally, gaps): (&Rc<Budget>, &Rc<RefCell<Tally>>, &Rc<RefCell<Gaps>>),
) -> anyhow::Result<Rc<Producer>> {
    let bodies = Rc::new(RefCell::new(Bodies::new(args.record_size, 1, Default::default())?));
    let options = LoadOptions {
        values: Values::Fixed,
        request_bytes_max: REQUEST_BYTES_MAX,
        request_batches_max: BATCH_OF_REQUEST_MAX,
        open_records_max: u64::MAX,
        patience: connect.patience(),
    };
    let feed = Feed::Ticks(Ticks::new(Duration::from_secs_f64(args.interval / 1000.0)));
    let mut load = Load::new(options, partitions, feed, budget.clone(), bodies, tally.clone());
    load.watch(gaps.clone());
    Ok(Producer::new(load))
}

fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1000.0, 3)
}

/// The `share`-quantile of the lengths, which are sorted, largest last: the smallest that so many do not
/// exceed.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.max(1) - 1).copied().unwrap_or_default()
}

fn report(
    args: &FailoverBench,
    as_json: bool,
    tally: &Tally,
    mut found: Vec<(i32, Gap, u64)>,
    (started_at, used): (Timestamp, Duration),
) -> anyhow::Result<()> {
    let mut lengths: Vec<Duration> = found.iter().map(|(_, gap, _)| gap.length).collect();
    lengths.sort_unstable();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| quantile(&lengths, share));
    if as_json {
        let partition = |(partition, gap, acks): &(i32, Gap, u64)| -> Value {
            json!({
                "partition": partition,
                "longest_gap_ms": ms(gap.length),
                "gap_from_s": rounded(gap.from.as_secs_f64(), 3),
                "gap_from_unix_ms": started_at.0 + gap.from.as_millis() as i64,
                "gap_ended": !gap.is_open,
                "acknowledgements": acks,
            })
        };
        let about = json!({
            "bench": "failover",
            "topic": args.common.topic,
            "settings": {
                "interval_ms": args.interval,
                "record_bytes": args.record_size,
                "request_timeout_ms": args.request_timeout,
                "warmup_s": args.common.warmup,
            },
            "records": tally.records,
            "longest_gap_ms": { "p50": ms(p50), "p99": ms(p99), "max": ms(max) },
            "partitions": found.iter().map(partition).collect::<Vec<_>>(),
            "latency_us": tally.latencies.json(),
            "client_cpu_s": rounded(used.as_secs_f64(), 3),
        });
        return print_json(&merged(about, trouble_json(tally)));
    }
    let mut table = Table::default();
    row(&mut table, "acknowledged", format!("{} records", grouped(tally.records)));
    let [p50, p99, max] = [p50, p99, max].map(|gap| milliseconds(gap.as_micros() as u64));
    let over = format!("over {} partition(s)", found.len());
    row(&mut table, "longest gap", format!("p50 {p50}  p99 {p99}  max {max}  ms, {over}"));
    latency_row(&mut table, "latency", &tally.latencies);
    row(&mut table, "this client", format!("{:.2} s of processor time", used.as_secs_f64()));
    trouble_rows(&mut table, tally);
    found.sort_by_key(|(_, gap, _)| std::cmp::Reverse(gap.length));
    let mut longest = Table::new(&["PARTITION", "LONGEST GAP", "FROM", "ACKNOWLEDGEMENTS"]);
    for (partition, gap, acks) in found.iter().take(SHOWN) {
        let length = milliseconds(gap.length.as_micros() as u64);
        let open = if gap.is_open { ", not over" } else { "" };
        longest.row([
            partition.to_string(),
            format!("{length} ms{open}"),
            format!("{:.3} s", gap.from.as_secs_f64()),
            grouped(*acks),
        ]);
    }
    Ok(print(&format!("{}\n{}", table.render(), longest.render()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_over_partitions_are_lengths_that_were_seen() {
        let lengths: Vec<Duration> = (1..=12).map(Duration::from_millis).collect();
        let of = |share| quantile(&lengths, share).as_millis();
        assert_eq!((of(0.5), of(0.99), of(1.0)), (6, 12, 12));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
        assert_eq!(quantile(&lengths[..1], 0.5).as_millis(), 1);
    }
}
