//! `jackdaw bench e2e`: from when a record was due until a consumer has it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;

use super::args::E2eBench;
use super::body::Bodies;
use super::feed::{Budget, Feed, Paced};
use super::fetcher::{self, Arrived, Fetcher, Fetching, Place};
use super::fleet::{self, Producer, RunClock, Shared};
use super::load::{Load, LoadOptions, Values};
use super::produce::{OPEN_BYTES_MAX, REQUEST_BYTES_MAX, outcome};
use super::progress::{Goal, Progress};
use super::report::{
    Amount, grouped, latency_row, merged, milliseconds, processor_time, rounded, row, trouble_json,
    trouble_rows,
};
use super::schedule::Schedule;
use super::tally::{Latencies, Tally};
use super::topic;
use super::view::View;
use crate::cli::args::Connect;
use crate::cli::client::{BATCH_OF_REQUEST_MAX, list_offsets};
use crate::cli::output::{Table, print, print_json};
use crate::model::records::RecordBatch;

/// Mark and time at the front of each value, bytes.
const STAMP_BYTES: usize = 16;
/// Largest batch when decompressed.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// How long consumers are waited for at the end.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// A fetch asks for no more than that at once.
const FETCH_BYTES: i32 = 16 << 20;

/// What consumers have seen of the run.
#[derive(Debug, Default)]
struct Seen {
    latencies: Latencies,
    /// The warm-up too.
    records: u64,
}

impl Seen {
    fn take(&mut self, arrived: Arrived<'_>, mark: u64, warm_up: Duration) -> anyhow::Result<()> {
        if arrived.header.is_control() {
            return Ok(());
        }
        let batch = RecordBatch::decode(&arrived.bytes, BATCH_BYTES_MAX)?;
        for record in &batch {
            let Some(stamp) = record?.value.and_then(|value| value.first_chunk::<STAMP_BYTES>())
            else {
                continue;
            };
            let number = |at| u64::from_be_bytes(std::array::from_fn(|byte| stamp[at + byte]));
            // Somebody else's records may lie between.
            if number(0) != mark {
                continue;
            }
            let due = Duration::from_nanos(number(8));
            self.records += 1;
            if due >= warm_up {
                self.latencies.record(arrived.now.saturating_sub(due), 1);
            }
        }
        Ok(())
    }
}

pub(super) async fn run(args: E2eBench, connect: &Connect) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.record_size >= STAMP_BYTES,
        "--record-size must be at least {STAMP_BYTES}: each record carries its time"
    );
    let (mut client, partitions) = topic::open(connect, &args.common).await?;
    let ends = list_offsets(&mut client, &args.common.topic, &partitions, -1).await?;
    let view = Rc::new(View::new(&client, &args.common.topic));
    let client = Rc::new(Mutex::new(client));
    let clock = Rc::new(RunClock::new());
    let warm_up = Duration::from_secs_f64(args.common.warmup);
    let budget = Rc::new(Budget::new(warm_up, None, Some(Duration::from_secs_f64(args.seconds))));
    let tally = Rc::new(RefCell::new(Tally::default()));
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mark = rand::random();
    let shared = Rc::new(Shared {
        clock: clock.clone(),
        view: view.clone(),
        topic: args.common.topic.clone(),
        acks: -1,
        in_flight_max: 5,
        request_timeout: Duration::from_millis(args.request_timeout),
    });
    let producers = [producer(&args, connect, &partitions, mark, (&budget, &tally))?];
    let fetching = fetching(&args, connect, &shared, mark, &seen);
    let place = |(partition, next)| (partition, Place { next, goal: i64::MAX });
    let places: BTreeMap<i32, Place> = ends.into_iter().map(place).collect();
    let fetchers = [Fetcher::new(fetching, places)];
    let mut progress = Progress::new(Goal::Time(warm_up + Duration::from_secs_f64(args.seconds)));
    let before = processor_time();
    let sending = fleet::run(&shared, &producers, &client, &budget, false, |now| {
        let (seen, tally) = (seen.borrow(), tally.borrow());
        progress.show(now, seen.records, |per_s| {
            let rate = grouped(per_s.round() as u64);
            let p99 = |latencies: &Latencies| milliseconds(latencies.quantile_us(0.99));
            let (sent, read) = (p99(&tally.latencies), p99(&seen.latencies));
            format!("{rate} records/s, p99 {sent} ms acknowledged, {read} ms read")
        });
    });
    let reading = fetcher::run(&view, &fetchers, &client, || false);
    tokio::pin!(reading);
    tokio::select! {
        sent = sending => sent?,
        failed = &mut reading => failed?,
    }
    let give_up = clock.now() + LAST_WAIT;
    let all_seen = async {
        while seen.borrow().records < acknowledged(&tally.borrow()) && clock.now() < give_up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = all_seen => {}
        failed = &mut reading => failed?,
    }
    drop(progress);
    let used = processor_time() - before;
    report(&args, connect.json, &tally.borrow(), &seen.borrow(), used)?;
    outcome(&tally.borrow())?;
    let missing = acknowledged(&tally.borrow()).saturating_sub(seen.borrow().records);
    anyhow::ensure!(missing == 0, "{missing} acknowledged record(s) did not come to the consumer");
    Ok(())
}

fn acknowledged(tally: &Tally) -> u64 {
    tally.records + tally.warm_up_records
}

fn producer(
    args: &E2eBench,
    connect: &Connect,
    partitions: &[i32],
    mark: u64,
    (budget, tally): (&Rc<Budget>, &Rc<RefCell<Tally>>),
) -> anyhow::Result<Rc<Producer>> {
    let bodies = Bodies::new(args.record_size, args.batch_size, args.compression)?;
    let batch_max = u64::from(bodies.records_max());
    let options = LoadOptions {
        values: Values::Stamped(mark),
        request_bytes_max: REQUEST_BYTES_MAX,
        request_batches_max: BATCH_OF_REQUEST_MAX,
        open_records_max: ((OPEN_BYTES_MAX / args.record_size) as u64).max(2 * batch_max),
        patience: connect.patience(),
    };
    let linger = Duration::from_secs_f64(args.linger / 1000.0);
    let feed = Feed::Paced(Paced::new(Schedule::new(args.rate, 0, 1), linger, 0));
    let bodies = Rc::new(RefCell::new(bodies));
    Ok(Producer::new(Load::new(options, partitions, feed, budget.clone(), bodies, tally.clone())))
}

fn fetching(
    args: &E2eBench,
    connect: &Connect,
    shared: &Shared,
    mark: u64,
    seen: &Rc<RefCell<Seen>>,
) -> Rc<Fetching> {
    let (seen, warm_up) = (seen.clone(), Duration::from_secs_f64(args.common.warmup));
    Rc::new(Fetching {
        clock: shared.clock.clone(),
        view: shared.view.clone(),
        topic: shared.topic.clone(),
        partition_bytes: FETCH_BYTES,
        fetch_bytes: FETCH_BYTES,
        wait_ms: 500,
        check_crc: false,
        patience: connect.patience(),
        sink: Rc::new(move |arrived| seen.borrow_mut().take(arrived, mark, warm_up)),
        fetches: Cell::new(0),
        troubles: Cell::new(0),
    })
}

fn report(
    args: &E2eBench,
    as_json: bool,
    tally: &Tally,
    seen: &Seen,
    used: Duration,
) -> anyhow::Result<()> {
    let warm_up = Duration::from_secs_f64(args.common.warmup);
    let amount = Amount::acknowledged(tally, args.record_size, warm_up);
    let missing = acknowledged(tally).saturating_sub(seen.records);
    if as_json {
        let about = json!({
            "bench": "e2e",
            "topic": args.common.topic,
            "settings": {
                "rate_records_per_s": args.rate,
                "record_bytes": args.record_size,
                "batch_bytes": args.batch_size,
                "linger_ms": args.linger,
                "compression": args.compression.to_string(),
                "warmup_s": args.common.warmup,
            },
            "produce_latency_us": tally.latencies.json(),
            "end_to_end_latency_us": seen.latencies.json(),
            "records_read": seen.records,
            "records_not_read": missing,
            "client_cpu_s": rounded(used.as_secs_f64(), 3),
        });
        return print_json(&merged(merged(about, amount.json()), trouble_json(tally)));
    }
    let mut table = Table::default();
    amount.rows(&mut table, "acknowledged");
    latency_row(&mut table, "produce", &tally.latencies);
    latency_row(&mut table, "end to end", &seen.latencies);
    row(&mut table, "not read", grouped(missing));
    row(&mut table, "this client", format!("{:.2} s of processor time", used.as_secs_f64()));
    trouble_rows(&mut table, tally);
    Ok(print(&table.render())?)
}
