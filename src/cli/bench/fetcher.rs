//! Consumers that look at batches only: each has one Fetch under way per broker, and reads everything.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::FetchRequest;
use kafka_wire::fetch_request::{FetchPartition, FetchTopic};
use kafka_wire::fetch_response::PartitionData;
use kafka_wire_core::StrBytes;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::fleet::RunClock;
use super::view::View;
use crate::cli::client::{Client, ClientFailure, FETCH_BY_NAME, Pipe, check};
use crate::model::record_batch::{self, BatchHeader, HEADER_BYTES};

/// Wait before a broker that failed is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Room in an answer beside record bytes.
const ANSWER_SLACK_BYTES: usize = 64 << 20;

/// A batch as it arrived.
pub(super) struct Arrived<'a> {
    pub(super) header: &'a BatchHeader,
    pub(super) bytes: Bytes,
    pub(super) now: Duration,
}

/// Takes each batch. Control batches come too.
pub(super) type Sink = Rc<dyn Fn(Arrived<'_>) -> anyhow::Result<()>>;

/// How consumers fetch, and what they share.
pub(super) struct Fetching {
    pub(super) clock: Rc<RunClock>,
    pub(super) view: Rc<View>,
    pub(super) topic: String,
    /// Of one partition in one answer.
    pub(super) partition_bytes: i32,
    /// Of one answer; a batch that is larger comes all the same.
    pub(super) fetch_bytes: i32,
    /// How long a broker waits for records.
    pub(super) wait_ms: i32,
    pub(super) check_crc: bool,
    /// No answer for so long after the wait.
    pub(super) patience: Duration,
    pub(super) sink: Sink,
    /// Fetches answered.
    pub(super) fetches: Cell<u64>,
    /// Answers that were errors, or did not come.
    pub(super) troubles: Cell<u64>,
}

/// Where a consumer is in a partition, and where it stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) next: i64,
    pub(super) goal: i64,
}

/// One consumer.
pub(super) struct Fetcher {
    fetching: Rc<Fetching>,
    places: RefCell<BTreeMap<i32, Place>>,
    brokers: RefCell<Vec<i32>>,
}

impl Fetcher {
    pub(super) fn new(fetching: Rc<Fetching>, places: BTreeMap<i32, Place>) -> Rc<Self> {
        Rc::new(Self { fetching, places: RefCell::new(places), brokers: RefCell::default() })
    }

    /// Whether all that was wanted is there.
    pub(super) fn is_done(&self) -> bool {
        self.places.borrow().values().all(|place| place.next >= place.goal)
    }

    /// Connects to brokers that lead for the first time.
    fn spread(self: &Rc<Self>, work: &mut JoinSet<anyhow::Result<()>>) {
        for broker in self.fetching.view.leading() {
            if !self.brokers.borrow().contains(&broker) {
                self.brokers.borrow_mut().push(broker);
                work.spawn_local(self.clone().read(broker));
            }
        }
    }

    /// Reads what `broker` leads. Never ends.
    async fn read(self: Rc<Self>, broker: i32) -> anyhow::Result<()> {
        loop {
            let failure = self.serve(broker).await?;
            if !failure.is_retriable() {
                return Err(failure.into());
            }
            self.fetching.troubles.set(self.fetching.troubles.get() + 1);
            self.fetching.view.ask();
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn serve(&self, broker: i32) -> anyhow::Result<ClientFailure> {
        let fetching = &self.fetching;
        let Some(address) = fetching.view.address(broker) else {
            return Ok(ClientFailure::Unreachable { tried: vec![format!("node {broker}")] });
        };
        let answer_bytes_max = fetching.fetch_bytes.unsigned_abs() as usize + ANSWER_SLACK_BYTES;
        let deadline = Instant::now() + fetching.patience;
        let mut pipe = match Pipe::open(&address, answer_bytes_max, deadline).await {
            Ok(pipe) => pipe,
            Err(failure) => return Ok(failure),
        };
        let version = match pipe.version::<FetchRequest>(FETCH_BY_NAME) {
            Ok(version) => version,
            Err(failure) => return Ok(failure),
        };
        let mut changes = fetching.view.changes();
        let mut turn = 0;
        loop {
            changes.mark_unchanged();
            let mut wanted = self.wanted(broker);
            if wanted.is_empty() {
                // Others lead all of it, or it is done.
                changes.changed().await?;
                continue;
            }
            // An answer is filled from the front: each partition has its turn there.
            turn = (turn + 1) % wanted.len();
            wanted.rotate_left(turn);
            let response = match self.fetch(&mut pipe, version, wanted).await {
                Ok(response) => response,
                Err(failure) => return Ok(failure),
            };
            fetching.fetches.set(fetching.fetches.get() + 1);
            let now = fetching.clock.now();
            for data in response.responses.into_iter().flat_map(|topic| topic.partitions) {
                if let Err(failure) = self.take(data, now)? {
                    return Ok(failure);
                }
            }
        }
    }

    fn wanted(&self, broker: i32) -> Vec<FetchPartition> {
        let leaders = self.fetching.view.leaders();
        let places = self.places.borrow();
        let open = places.iter().filter(|(partition, place)| {
            place.next < place.goal && leaders.get(partition) == Some(&broker)
        });
        let wanted = |(partition, place): (&i32, &Place)| {
            let mut wanted = FetchPartition::default();
            wanted.partition = *partition;
            (wanted.current_leader_epoch, wanted.last_fetched_epoch) = (-1, -1);
            wanted.log_start_offset = -1;
            wanted.fetch_offset = place.next;
            wanted.partition_max_bytes = self.fetching.partition_bytes;
            wanted
        };
        open.map(wanted).collect()
    }

    async fn fetch(
        &self,
        pipe: &mut Pipe,
        version: i16,
        wanted: Vec<FetchPartition>,
    ) -> Result<kafka_wire::FetchResponse, ClientFailure> {
        let fetching = &self.fetching;
        let mut topic = FetchTopic::default();
        topic.topic = StrBytes::from(fetching.topic.as_str());
        topic.partitions = wanted;
        let mut request = FetchRequest::default();
        (request.replica_id, request.max_wait_ms) = (-1, fetching.wait_ms);
        (request.min_bytes, request.max_bytes) = (1, fetching.fetch_bytes);
        // No fetch session: id 0, epoch −1.
        (request.session_id, request.session_epoch) = (0, -1);
        request.topics = vec![topic];
        let correlation = pipe.queue_request(&request, version)?;
        let wait = Duration::from_millis(fetching.wait_ms.unsigned_abs().into());
        let deadline = Instant::now() + wait + fetching.patience;
        loop {
            match timeout_at(deadline, pipe.turn()).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(frame))) => {
                    let response = pipe.decode::<FetchRequest>(frame, version, correlation)?;
                    check(response.error_code, format!("fetch {}", fetching.topic), None)?;
                    return Ok(response);
                }
                Ok(Err(error)) => return Err(pipe.broken("Fetch", error)),
                Err(_) => {
                    let what = format!("Fetch of {}", fetching.topic);
                    return Err(ClientFailure::TimedOut { what, after: wait + fetching.patience });
                }
            }
        }
    }

    /// Takes a partition's part of an answer.
    fn take(
        &self,
        data: PartitionData,
        now: Duration,
    ) -> anyhow::Result<Result<(), ClientFailure>> {
        let (topic, partition) = (&self.fetching.topic, data.partition_index);
        if let Err(failure) = check(data.error_code, format!("fetch {topic}-{partition}"), None) {
            return Ok(Err(failure));
        }
        let mut places = self.places.borrow_mut();
        let Some(place) = places.get_mut(&partition) else { return Ok(Ok(())) };
        let mut rest = data.records.unwrap_or_default();
        while rest.len() >= HEADER_BYTES {
            let header = BatchHeader::parse(&rest)?;
            // The last one may be cut off: it comes again.
            if header.size_bytes() > rest.len() {
                break;
            }
            let bytes = rest.split_to(header.size_bytes());
            if self.fetching.check_crc {
                record_batch::validate_stored(&bytes)?;
            }
            if header.next_offset().0 > place.next {
                place.next = header.next_offset().0;
                (self.fetching.sink)(Arrived { header: &header, bytes, now })?;
            }
        }
        Ok(Ok(()))
    }
}

/// Makes `fetchers` read until `is_over`, which is asked now and then. The caller sets the clock.
///
/// # Errors
/// What the sink says; a refusal that nothing mends; a corrupt batch.
pub(super) async fn run(
    view: &Rc<View>,
    fetchers: &[Rc<Fetcher>],
    client: &Rc<Mutex<Client>>,
    mut is_over: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let mut work = JoinSet::new();
    let (keeper, shared_view) = (client.clone(), view.clone());
    work.spawn_local(async move {
        shared_view.keep(&keeper).await;
        Ok(())
    });
    let mut changes = view.changes();
    fetchers.iter().for_each(|fetcher| fetcher.spread(&mut work));
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = changes.changed() => {
                changed?;
                fetchers.iter().for_each(|fetcher| fetcher.spread(&mut work));
            }
            Some(ended) = work.join_next() => ended??,
            _ = tick.tick() => if is_over() {
                return Ok(());
            }
        }
    }
}
