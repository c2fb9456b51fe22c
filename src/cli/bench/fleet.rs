//! All producers of a run at work: their connections, their pace, and what they need to know.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::feed::Budget;
use super::link::Link;
use super::load::{Load, Wake};
use super::timer::Timer;
use super::view::View;
use crate::cli::client::{Client, producer_id};

/// How often deadlines and the end of the run are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Every so many looks what has waited for too long is given up.
const EXPIRE_EVERY: u32 = 25;

/// The time since the start of the run, for which all connections are made first.
pub(super) struct RunClock(Cell<Instant>);

impl RunClock {
    pub(super) fn new() -> Self {
        Self(Cell::new(Instant::now()))
    }

    /// The run starts now.
    pub(super) fn start(&self) {
        self.0.set(Instant::now());
    }

    pub(super) fn now(&self) -> Duration {
        self.0.get().elapsed()
    }
}

/// What all producers of a run share.
pub(super) struct Shared {
    pub(super) clock: Rc<RunClock>,
    pub(super) view: Rc<View>,
    pub(super) topic: String,
    pub(super) acks: i16,
    /// Requests in flight per connection.
    pub(super) in_flight_max: usize,
    /// A connection that owes an answer for so long is given up.
    pub(super) request_timeout: Duration,
}

/// One producer.
pub(super) struct Producer {
    pub(super) load: RefCell<Load>,
    links: RefCell<BTreeMap<i32, Rc<Link>>>,
    /// Something came to an end.
    room: Notify,
    /// A producer id may be needed.
    torn: Notify,
}

impl Producer {
    pub(super) fn new(load: Load) -> Rc<Self> {
        let (room, torn) = (Notify::new(), Notify::new());
        Rc::new(Self { load: RefCell::new(load), links: RefCell::default(), room, torn })
    }

    fn wake_links(&self) {
        self.links.borrow().values().for_each(|link| link.wake.notify_one());
    }

    /// An answer may have made room, and may have asked for metadata.
    pub(super) fn after_answer(&self, shared: &Shared) {
        self.room.notify_one();
        if self.load.borrow().wants_metadata {
            shared.view.ask();
        }
    }

    /// Gets a new producer id after a batch was given up. Never ends.
    async fn renew(self: Rc<Self>, client: Rc<Mutex<Client>>) -> anyhow::Result<()> {
        loop {
            self.torn.notified().await;
            if !self.load.borrow().wants_identity() {
                continue;
            }
            match producer_id(&mut *client.lock().await).await {
                Ok(identity) => self.load.borrow_mut().identify(identity, false),
                // It is asked for again soon.
                Err(failure) if failure.is_retriable() => {}
                Err(failure) => return Err(failure.into()),
            }
            self.wake_links();
        }
    }

    /// Takes records from the schedule when they are due.
    async fn pace(self: Rc<Self>, shared: Rc<Shared>) -> anyhow::Result<()> {
        let timer = Timer::new()?;
        loop {
            let wake = self.load.borrow_mut().advance(shared.clock.now());
            self.wake_links();
            match wake {
                Wake::At(at) => timer.sleep(at.saturating_sub(shared.clock.now())).await?,
                Wake::Room => self.room.notified().await,
                Wake::Never => return Ok(()),
            }
        }
    }
}

/// Makes `producers` send until all their records have come to an end; `look` is called now and then.
/// Ctrl-C ends the budget.
///
/// # Errors
/// A broker cannot be reached at the start, or does not speak the protocol.
pub(super) async fn run(
    shared: &Rc<Shared>,
    producers: &[Rc<Producer>],
    client: &Rc<Mutex<Client>>,
    budget: &Budget,
    is_idempotent: bool,
    mut look: impl FnMut(Duration),
) -> anyhow::Result<()> {
    for producer in producers {
        producer.load.borrow_mut().learn(&shared.view.leaders());
        if is_idempotent {
            let identity = producer_id(&mut *client.lock().await).await?;
            producer.load.borrow_mut().identify(identity, true);
        }
    }
    let mut work = JoinSet::new();
    connect(shared, producers, &mut work).await?;
    shared.clock.start();
    for producer in producers {
        work.spawn_local(producer.clone().pace(shared.clone()));
        work.spawn_local(producer.clone().renew(client.clone()));
    }
    let (view, keeper) = (shared.view.clone(), client.clone());
    work.spawn_local(async move {
        view.keep(&keeper).await;
        Ok(())
    });
    let mut changes = shared.view.changes();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut is_interrupted = false;
    loop {
        tokio::select! {
            _ = changes.changed() => learn(shared, producers, &mut work),
            Some(ended) = work.join_next() => ended??,
            _ = &mut interrupted, if !is_interrupted => {
                is_interrupted = true;
                budget.stop();
            }
            _ = tick.tick() => {
                ticks = ticks.wrapping_add(1);
                let now = shared.clock.now();
                look_after(shared, producers, now, ticks.is_multiple_of(EXPIRE_EVERY));
                look(now);
                if producers.iter().all(|producer| producer.load.borrow().is_done()) {
                    return Ok(());
                }
            }
        }
    }
}

/// Opens every connection, then sets them to work, which begins when they are first woken.
async fn connect(
    shared: &Rc<Shared>,
    producers: &[Rc<Producer>],
    work: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut links = Vec::new();
    for producer in producers {
        for broker in shared.view.leading() {
            links.push((producer, broker, Rc::new(Link::new(broker))));
        }
    }
    let pipes = try_join_all(links.iter().map(|(_, _, link)| link.open(shared))).await?;
    for ((producer, broker, link), pipe) in links.into_iter().zip(pipes) {
        producer.links.borrow_mut().insert(broker, link.clone());
        work.spawn_local(link.run(shared.clone(), producer.clone(), Some(pipe)));
    }
    Ok(())
}

/// Passes new metadata on; brokers that lead for the first time get connections.
fn learn(shared: &Rc<Shared>, producers: &[Rc<Producer>], work: &mut JoinSet<anyhow::Result<()>>) {
    let leaders = shared.view.leaders();
    for producer in producers {
        producer.load.borrow_mut().learn(&leaders);
        for broker in shared.view.leading() {
            producer.links.borrow_mut().entry(broker).or_insert_with(|| {
                let link = Rc::new(Link::new(broker));
                work.spawn_local(link.clone().run(shared.clone(), producer.clone(), None));
                link
            });
        }
        producer.wake_links();
        producer.after_answer(shared);
    }
}

fn look_after(shared: &Shared, producers: &[Rc<Producer>], now: Duration, expire: bool) {
    for producer in producers {
        if expire {
            producer.load.borrow_mut().expire(now);
            producer.torn.notify_one();
        }
        // Ends a run by time where nothing is in flight that would.
        producer.load.borrow_mut().look(now);
        for link in producer.links.borrow().values() {
            if link.is_overdue(now, shared.request_timeout) {
                link.wake.notify_one();
            }
        }
    }
}
