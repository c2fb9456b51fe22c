//! `jackdaw bench consume`: how fast a cluster gives records away.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;

use super::args::{Begin, ConsumeBench};
use super::fetcher::{self, Arrived, Fetcher, Fetching, Place};
use super::fleet::RunClock;
use super::progress::{Goal, Progress};
use super::report::{Amount, grouped, merged, milliseconds, processor_time, rounded, row};
use super::topic;
use super::view::View;
use crate::cli::args::Connect;
use crate::cli::client::{Client, ClientFailure, list_offsets};
use crate::cli::output::{Table, print, print_json};

/// Most bytes of one answer, as Kafka's consumer asks for.
const FETCH_BYTES_MAX: i32 = 50 << 20;

/// What arrived so far.
#[derive(Debug, Default)]
struct Consumed {
    records: u64,
    bytes: u64,
    batches: u64,
    /// Before the warm-up was over.
    warm_up_bytes: u64,
    first: Option<Duration>,
    last: Duration,
}

impl Consumed {
    fn take(&mut self, arrived: &Arrived<'_>, warm_up: Duration) {
        self.first.get_or_insert(arrived.now);
        if arrived.now < warm_up {
            self.warm_up_bytes += arrived.bytes.len() as u64;
            return;
        }
        self.batches += 1;
        self.bytes += arrived.bytes.len() as u64;
        if !arrived.header.is_control() {
            self.records += u64::from(arrived.header.record_count.unsigned_abs());
        }
        self.last = arrived.now;
    }
}

pub(super) async fn run(args: ConsumeBench, connect: &Connect) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.from == Begin::Beginning
            || args.seconds.is_some()
            || args.records.or(args.bytes).is_some(),
        "--from end needs --seconds, --records or --bytes"
    );
    let (mut client, partitions) = topic::find(connect, &args.topic).await?;
    let places = places(&mut client, &args, &partitions).await?;
    let view = Rc::new(View::new(&client, &args.topic));
    let client = Rc::new(Mutex::new(client));
    let clock = Rc::new(RunClock::new());
    let warm_up = Duration::from_secs_f64(args.warmup);
    let consumed = Rc::new(RefCell::new(Consumed::default()));
    let counted = consumed.clone();
    let fetching = Rc::new(Fetching {
        clock: clock.clone(),
        view: view.clone(),
        topic: args.topic.clone(),
        partition_bytes: i32::try_from(args.fetch_size)?,
        fetch_bytes: FETCH_BYTES_MAX.max(i32::try_from(args.fetch_size)?),
        wait_ms: 500,
        check_crc: args.check_crc,
        patience: connect.patience(),
        sink: Rc::new(move |arrived| {
            counted.borrow_mut().take(&arrived, warm_up);
            Ok(())
        }),
        fetches: Cell::new(0),
        troubles: Cell::new(0),
    });
    let fetcher = |_| Fetcher::new(fetching.clone(), places.clone());
    let fetchers: Vec<Rc<Fetcher>> = (0..args.connections).map(fetcher).collect();
    let time = args.seconds.map(|seconds| warm_up + Duration::from_secs_f64(seconds));
    let mut progress = Progress::new(match (args.bytes, time) {
        (Some(bytes), _) => Goal::Count(bytes),
        (None, Some(time)) => Goal::Time(time),
        (None, None) => Goal::None,
    });
    let before = processor_time();
    clock.start();
    let work = fetcher::run(&view, &fetchers, &client, || {
        let (now, consumed) = (clock.now(), consumed.borrow());
        progress.show(now, consumed.bytes + consumed.warm_up_bytes, |per_s| {
            format!("{:.1} MB/s, {} records", per_s / 1e6, grouped(consumed.records))
        });
        time.is_some_and(|time| now >= time)
            || args.records.is_some_and(|max| consumed.records >= max)
            || args.bytes.is_some_and(|max| consumed.bytes >= max)
            || fetchers.iter().all(|fetcher| fetcher.is_done())
    });
    tokio::select! {
        done = work => done?,
        _ = tokio::signal::ctrl_c() => {}
    }
    drop(progress);
    let used = processor_time() - before;
    report(&args, connect.json, &consumed.borrow(), &fetching, (warm_up, used))
}

/// Where to begin, and where to stop if nothing else says: at what is the end now.
async fn places(
    client: &mut Client,
    args: &ConsumeBench,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Place>, ClientFailure> {
    let ends = list_offsets(client, &args.topic, partitions, -1).await?;
    let starts = match args.from {
        Begin::Beginning => list_offsets(client, &args.topic, partitions, -2).await?,
        Begin::End => ends.clone(),
    };
    let endless = args.seconds.is_some() || args.records.or(args.bytes).is_some();
    let place = |(partition, next): (&i32, &i64)| {
        let goal = if endless { i64::MAX } else { ends.get(partition).copied().unwrap_or(0) };
        (*partition, Place { next: *next, goal })
    };
    Ok(starts.iter().map(place).collect())
}

fn report(
    args: &ConsumeBench,
    as_json: bool,
    consumed: &Consumed,
    fetching: &Fetching,
    (warm_up, used): (Duration, Duration),
) -> anyhow::Result<()> {
    let elapsed = consumed.last.saturating_sub(warm_up);
    let amount = Amount { records: consumed.records, bytes: consumed.bytes, elapsed };
    let first_us = consumed.first.map(|first| first.as_micros() as u64);
    let (fetches, troubles) = (fetching.fetches.get(), fetching.troubles.get());
    if as_json {
        let about = json!({
            "bench": "consume",
            "topic": args.topic,
            "settings": {
                "from": args.from.name(),
                "fetch_bytes": args.fetch_size,
                "connections": args.connections,
                "check_crc": args.check_crc,
                "warmup_s": args.warmup,
            },
            "batches": consumed.batches,
            "fetches": fetches,
            "fetches_failed": troubles,
            "first_byte_us": first_us,
            "client_cpu_s": rounded(used.as_secs_f64(), 3),
        });
        return print_json(&merged(about, amount.json()));
    }
    let mut table = Table::default();
    amount.rows(&mut table, "read");
    if let Some(first_us) = first_us {
        row(&mut table, "first byte", format!("after {} ms", milliseconds(first_us)));
    }
    let (batches, fetches) = (grouped(consumed.batches), grouped(fetches));
    row(&mut table, "batches", format!("{batches}; {fetches} fetches, {troubles} of them again"));
    row(&mut table, "this client", format!("{:.2} s of processor time", used.as_secs_f64()));
    Ok(print(&table.render())?)
}
