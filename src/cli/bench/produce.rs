//! `jackdaw bench produce`: how much and how fast a cluster takes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;

use super::args::ProduceBench;
use super::body::Bodies;
use super::feed::{Budget, Feed, Paced};
use super::fleet::{self, Producer, RunClock, Shared};
use super::load::{Load, LoadOptions, Values};
use super::progress::{Goal, Progress};
use super::report::{
    Amount, grouped, latency_row, merged, milliseconds, processor_time, row, trouble_json,
    trouble_rows,
};
use super::schedule::Schedule;
use super::tally::Tally;
use super::topic;
use super::view::View;
use crate::cli::args::Connect;
use crate::cli::client::BATCH_OF_REQUEST_MAX;
use crate::cli::output::{Table, print, print_json};

/// How long a run is that has no end.
const SECONDS: f64 = 10.0;
/// Batches of a request, bytes: what brokers take by default, and what clients send.
pub(super) const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Values of records that wait or are in flight at a fixed rate before none are added, bytes.
pub(super) const OPEN_BYTES_MAX: usize = 32 << 20;

pub(super) async fn run(args: ProduceBench, connect: &Connect) -> anyhow::Result<()> {
    let acks: i16 = if args.acks == "all" { -1 } else { args.acks.parse()? };
    anyhow::ensure!(acks == -1 || !args.idempotent, "--idempotent needs --acks all");
    let (client, partitions) = topic::open(connect, &args.common).await?;
    let view = Rc::new(View::new(&client, &args.common.topic));
    let client = Rc::new(Mutex::new(client));
    let shared = Rc::new(Shared {
        clock: Rc::new(RunClock::new()),
        view: view.clone(),
        topic: args.common.topic.clone(),
        acks,
        in_flight_max: args.in_flight as usize,
        request_timeout: Duration::from_millis(args.request_timeout),
    });
    let seconds = args.seconds.or(args.records.is_none().then_some(SECONDS));
    let warm_up = Duration::from_secs_f64(args.common.warmup);
    let time = seconds.map(Duration::from_secs_f64);
    let budget = Rc::new(Budget::new(warm_up, args.records, time));
    let tally = Rc::new(RefCell::new(Tally::default()));
    let producers = producers(&args, connect, &partitions, &budget, &tally)?;
    let mut progress = Progress::new(match (args.records, time) {
        (Some(records), _) => Goal::Count(records),
        (None, Some(time)) => Goal::Time(warm_up + time),
        (None, None) => Goal::None,
    });
    let before = processor_time();
    let idempotent = args.idempotent;
    fleet::run(&shared, &producers, &client, &budget, idempotent, |now| {
        let tally = tally.borrow();
        let records = tally.records + tally.warm_up_records;
        progress.show(now, records, |per_s| {
            let rate = grouped(per_s.round() as u64);
            let p99 = milliseconds(tally.latencies.quantile_us(0.99));
            format!("{rate} records/s, p99 {p99} ms, {} lost", tally.lost())
        });
    })
    .await?;
    drop(progress);
    let used = processor_time() - before;
    report(&args, connect.json, &tally.borrow(), partitions.len(), view.leading().len(), used)?;
    outcome(&tally.borrow())
}

fn producers(
    args: &ProduceBench,
    connect: &Connect,
    partitions: &[i32],
    budget: &Rc<Budget>,
    tally: &Rc<RefCell<Tally>>,
) -> anyhow::Result<Vec<Rc<Producer>>> {
    let bodies = Bodies::new(args.record_size, args.batch_size, args.compression)?;
    let batch_max = u64::from(bodies.records_max());
    let bodies = Rc::new(RefCell::new(bodies));
    let shares = args.connections as usize;
    let open_records = OPEN_BYTES_MAX / args.record_size.max(1) / shares;
    let options = LoadOptions {
        values: Values::Fixed,
        request_bytes_max: REQUEST_BYTES_MAX,
        request_batches_max: BATCH_OF_REQUEST_MAX,
        open_records_max: (open_records as u64).max(2 * batch_max),
        patience: connect.patience(),
    };
    let producer = |share| {
        let feed = match args.rate {
            None => Feed::Greedy,
            Some(rate) => {
                let schedule = Schedule::new(rate, share, shares);
                let linger = Duration::from_secs_f64(args.linger / 1000.0);
                Feed::Paced(Paced::new(schedule, linger, share % partitions.len()))
            }
        };
        let (budget, bodies, tally) = (budget.clone(), bodies.clone(), tally.clone());
        Producer::new(Load::new(options.clone(), partitions, feed, budget, bodies, tally))
    };
    Ok((0..shares).map(producer).collect())
}

fn report(
    args: &ProduceBench,
    as_json: bool,
    tally: &Tally,
    partitions: usize,
    brokers: usize,
    used: Duration,
) -> anyhow::Result<()> {
    let warm_up = Duration::from_secs_f64(args.common.warmup);
    let amount = Amount::acknowledged(tally, args.record_size, warm_up);
    if as_json {
        let about = json!({
            "bench": "produce",
            "topic": args.common.topic,
            "partitions": partitions,
            "brokers": brokers,
            "settings": {
                "record_bytes": args.record_size,
                "batch_bytes": args.batch_size,
                "linger_ms": args.linger,
                "rate_records_per_s": args.rate,
                "acks": args.acks,
                "idempotent": args.idempotent,
                "connections": args.connections,
                "in_flight": args.in_flight,
                "compression": args.compression.to_string(),
                "warmup_s": args.common.warmup,
            },
            "batches": tally.batches,
            "requests": tally.requests,
            "wire_bytes": tally.wire_bytes,
            "latency_us": tally.latencies.json(),
            "client_cpu_s": super::report::rounded(used.as_secs_f64(), 3),
        });
        return print_json(&merged(merged(about, amount.json()), trouble_json(tally)));
    }
    let mut table = Table::default();
    let verb = if args.acks == "0" { "sent" } else { "acknowledged" };
    amount.rows(&mut table, verb);
    latency_row(&mut table, "latency", &tally.latencies);
    let (batches, requests) = (grouped(tally.batches), grouped(tally.requests));
    let cpu = used.as_secs_f64();
    row(&mut table, "batches", format!("{batches}; {requests} requests, with the warm-up"));
    row(&mut table, "this client", format!("{cpu:.2} s of processor time"));
    trouble_rows(&mut table, tally);
    Ok(print(&table.render())?)
}

/// A failure if a record is not known to be stored.
pub(super) fn outcome(tally: &Tally) -> anyhow::Result<()> {
    let lost = tally.lost();
    anyhow::ensure!(lost == 0, "{} record(s) failed or had no answer", grouped(lost));
    Ok(())
}
