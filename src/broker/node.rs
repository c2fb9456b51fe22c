//! A node from its configuration to its end.
//!
//! ```text
//! sockets ─ data folder ─ key-value store ─ Raft node ─ metadata group ─ partitions ─ coordinator
//!         ─ Kafka server ─ admin server                      (stopped in the reverse order)
//! ```
//!
//! **Invariant:** a node that cannot start says why in one sentence, and has changed nothing that
//! another start would miss.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jackdaw_raft::{
    Bound, ClusterId, GroupId, HardStateStore, LogPort as _, Network, NodeId, NodeOptions,
    RaftNode, Room, Timing,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::admin_backend::LiveAdmin;
use super::compaction::Compactor;
use super::descriptors;
use super::group_store::MetadataGroups;
use super::hard_states::HardStates;
use super::listeners::Listeners;
use super::options;
use super::quarantine::Troubles;
use super::reconciler::{OPENING_MAX, Reconciler};
use super::retention::Retention;
use super::short_logs;
use super::sparing::Sparing;
use super::surroundings::Surroundings;
use crate::admin;
use crate::config::{NodeConfig, StorageConfig};
use crate::group::{Coordinator, CoordinatorParts, MonotonicTicks, Term};
use crate::handlers::{Context, Dispatcher, MetadataContext, Redirects, Rooms, SessionCache};
use crate::metadata::{BrokerRegistration, KvPairs, Metadata, MetadataLog, MetadataOptions};
use crate::metrics::Metrics;
use crate::model::Clock;
use crate::partition::{self, PartitionSet, PurgeSender};
use crate::server::Server;
use crate::storage::kv::Kv;
use crate::storage::{self, DataDir, LogError, Storage, read_identity};

/// Longest time for which leaderships are handed over before a stop: thousands take seconds.
const HAND_OVER_MAX: Duration = Duration::from_secs(15);
/// Longest time for which clients are then told who leads instead.
const REDIRECT_MAX: Duration = Duration::from_secs(1);
/// Longest time for which requests are then answered while peers still take this node for there.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest time for which the admin endpoint answers what it was asked before.
const ADMIN_ANSWER_MAX: Duration = Duration::from_secs(2);
/// Fetch sessions that a node remembers (`max.incremental.fetch.session.cache.slots`).
const FETCH_SESSIONS: usize = 1_000;

/// Runs a node until it is told to stop (SIGTERM or SIGINT).
///
/// # Errors
/// One sentence that says why the node cannot start.
pub fn serve(config: NodeConfig) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = StopSignals::listen()?;
        let node = tokio::select! {
            node = Node::start(config, Surroundings::default()) => node?,
            // It leads nothing yet, and what it has written a start after a kill finds as well.
            () = signals.any() => return Ok(()),
        };
        signals.any().await;
        node.stop().await;
        Ok(())
    })
}

/// SIGTERM and SIGINT, from the moment when they are listened for.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::info!("stopping");
    }
}

/// What lies on the disk.
struct Disk {
    data_dir: Arc<DataDir>,
    storage: Storage,
    kv: Kv,
    hard_states: Arc<HardStates>,
    metadata_log: Arc<MetadataLog>,
}

/// Longest wait for the cluster's metadata before clients are served.
const KNOWN_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at the free space of the data folder's volume.
const SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// A running node; [`Node::stop`] ends it.
pub struct Node {
    disk: Disk,
    raft: RaftNode,
    partitions: Arc<PartitionSet>,
    stopping: watch::Sender<bool>,
    /// Clients that have yet to find new leaders.
    redirects: Arc<Redirects>,
    /// Servers, which end by themselves once `stopping` is set.
    servers: Vec<JoinHandle<()>>,
    /// Tasks without an end of their own.
    tasks: Vec<JoinHandle<()>>,
}

impl Disk {
    /// Opens everything under the data folder. Blocks. Nothing that an attempt left behind keeps the next
    /// one from succeeding.
    fn open(config: &NodeConfig, surroundings: &Surroundings) -> Result<Self> {
        let data_dir = DataDir::open(&config.data_dir, &config.cluster, config.node_id)?;
        let storage = Storage::new(options::storage(config, surroundings.storage.clone()));
        let kv = Kv::open(&data_dir.kv_dir(), &storage)?;
        let hard_states = HardStates::open(&data_dir, &storage, &kv)?;
        if config.nodes.len() == 1 {
            let (dir, group) = (data_dir.metadata_dir(), GroupId::METADATA);
            short_logs::accept_loss(&dir, group, &hard_states)?;
        }
        let metadata_log = open_metadata_log(config, &data_dir, &storage, &kv, &hard_states)?;
        Ok(Self {
            data_dir: Arc::new(data_dir),
            storage,
            kv,
            hard_states,
            metadata_log: Arc::new(metadata_log),
        })
    }
}

/// Opens everything under the data folder; on a disk without any room, once there is some.
async fn open_disk(config: &NodeConfig, surroundings: &Surroundings) -> Result<Disk> {
    let mut is_waiting = false;
    loop {
        let opened = jackdaw_raft::blocking(|| Disk::open(config, surroundings));
        match opened {
            Err(error) if is_full(&error) => {
                if !is_waiting {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the disk is full, and the node cannot start: it waits until there is room; \
                         nothing has to be restarted"
                    );
                }
                is_waiting = true;
                tokio::time::sleep(SPACE_INTERVAL).await;
            }
            opened => return opened,
        }
    }
}

fn is_full(error: &anyhow::Error) -> bool {
    let of_log = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<LogError>().is_some_and(LogError::is_full)
    };
    let of_system = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(storage::is_full)
    };
    error.chain().any(|cause| of_log(cause) || of_system(cause))
}

impl Node {
    /// Starts a node, which then runs in tasks of this runtime.
    ///
    /// # Errors
    /// One sentence that says why the node cannot start.
    pub async fn start(config: NodeConfig, surroundings: Surroundings) -> Result<Self> {
        let config = descriptors::shared_out(config);
        let listeners = surroundings.bind.bind(&config.listeners).await?;
        let registration = registration(&config, &listeners)?;
        let disk = open_disk(&config, &surroundings).await?;
        let partitions = Arc::<PartitionSet>::default();
        let raft = start_raft(&config, &surroundings, &disk, &partitions, listeners.peer).await?;
        let metadata = open_metadata(&config, &disk, &raft).await?;
        let mut node = Self {
            disk,
            raft,
            partitions,
            stopping: watch::Sender::new(false),
            redirects: Arc::default(),
            servers: Vec::new(),
            tasks: Vec::new(),
        };
        let on_disk = short_logs::on_disk(&node.partitions, &node.disk.metadata_log);
        let hard_states = Arc::clone(&node.disk.hard_states);
        node.tasks.push(tokio::spawn(hard_states.run(on_disk)));

        let troubles = Arc::new(Mutex::new(Troubles::new()));
        let (rounds, reconciled) = watch::channel(0);
        let registered = node.register(&metadata, &registration);
        let metrics = Arc::new(Metrics::new(config.node_id.0));
        let clock = surroundings.clock;
        let purges = node.retain(&config, &metrics, &clock);
        node.compact(&config, &metrics, &clock);
        let reconciler = Reconciler {
            broker: config.node_id,
            metadata: metadata.clone(),
            cluster: config.cluster.clone(),
            data_dir: Arc::clone(&node.disk.data_dir),
            storage: node.disk.storage.clone(),
            log_options: options::log(&config),
            raft: node.raft.clone(),
            hard_states: node.disk.hard_states.clone(),
            partitions: Arc::clone(&node.partitions),
            purges,
            troubles: Arc::clone(&troubles),
            damaged: Arc::default(),
            registered: registered.clone(),
            rounds,
            opening: Semaphore::new(OPENING_MAX),
        };
        node.tasks.push(tokio::spawn(reconciler.run()));

        let context = node.context(&config, &metadata, registration, Arc::clone(&metrics), clock);
        let server = Server::new(options::server(&config), Arc::new(Dispatcher::new(context)));
        let stopping = node.stopping.subscribe();
        let storage = node.disk.storage.clone();
        let (kafka, serving) = (Sparing { inner: listeners.kafka, storage }, server.clone());
        let known = known(registered.clone(), reconciled.clone());
        node.servers.push(tokio::spawn(async move {
            // Connections queue meanwhile: whoever starts a broker and asks at once gets an answer
            // that holds. Without a quorum clients are told so in the end.
            drop(tokio::time::timeout(KNOWN_WAIT, known).await);
            serving.serve(kafka, stopping).await;
        }));

        let backend = LiveAdmin {
            cluster: config.cluster.clone(),
            metadata,
            raft: node.raft.clone(),
            partitions: Arc::clone(&node.partitions),
            server,
            space: Arc::clone(node.disk.storage.space()),
            troubles,
            registered,
            reconciled,
        };
        node.watch_space();
        if let Some(listener) = listeners.admin {
            node.serve_admin(listener, backend, metrics);
        }
        tracing::info!(
            node = %config.node_id,
            kafka = %config.listeners.kafka,
            admin = %config.listeners.admin,
            data = %config.data_dir.display(),
            "serving"
        );
        Ok(node)
    }

    /// Appends look at the free space as they take it; this looks whether some came back, and takes
    /// what the store will need.
    fn watch_space(&mut self) {
        let (space, kv) = (Arc::clone(self.disk.storage.space()), self.disk.kv.clone());
        self.tasks.push(tokio::spawn(async move {
            loop {
                tokio::time::sleep(SPACE_INTERVAL).await;
                jackdaw_raft::blocking(|| {
                    space.tend();
                    kv.take_room();
                });
            }
        }));
    }

    /// Deletes old records; where partitions say that they have some to purge.
    fn retain(
        &mut self,
        config: &NodeConfig,
        metrics: &Arc<Metrics>,
        clock: &Arc<dyn Clock>,
    ) -> PurgeSender {
        let retention = Retention {
            interval: Duration::from_millis(config.storage.retention_check_interval_ms),
            partitions: Arc::clone(&self.partitions),
            clock: Arc::clone(clock),
            storage: self.disk.storage.clone(),
            metrics: Arc::clone(metrics),
        };
        let (purges, queue) = mpsc::unbounded_channel();
        self.tasks.push(tokio::spawn(retention.clone().purge(queue)));
        self.tasks.push(tokio::spawn(retention.run()));
        purges
    }

    /// Compacts the logs of topics that ask for it.
    fn compact(&mut self, config: &NodeConfig, metrics: &Arc<Metrics>, clock: &Arc<dyn Clock>) {
        let StorageConfig { compaction_map_bytes, compaction_bytes_per_second, .. } =
            config.storage;
        let compactor = Compactor {
            interval: Duration::from_millis(config.storage.compaction_interval_ms),
            map_bytes_max: usize::try_from(compaction_map_bytes).unwrap_or(usize::MAX),
            bytes_per_second: compaction_bytes_per_second,
            partitions: Arc::clone(&self.partitions),
            clock: Arc::clone(clock),
            metrics: Arc::clone(metrics),
        };
        self.tasks.push(tokio::spawn(compactor.run()));
    }

    /// Keeps this broker registered; tells when it first was. From then on its image holds everything
    /// that was committed before this start.
    fn register(
        &mut self,
        metadata: &Metadata,
        registration: &BrokerRegistration,
    ) -> watch::Receiver<bool> {
        let (told, registered) = watch::channel(false);
        let (metadata, registration) = (metadata.clone(), registration.clone());
        self.tasks.push(tokio::spawn(async move {
            if metadata.register(&registration).await.is_err() {
                return;
            }
            told.send_replace(true);
            metadata.stay_registered(registration).await;
        }));
        registered
    }

    fn context(
        &mut self,
        config: &NodeConfig,
        metadata: &Metadata,
        registration: BrokerRegistration,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Context {
        let groups = MetadataGroups(metadata.clone());
        let coordinator = Coordinator::new(CoordinatorParts {
            options: options::groups(config),
            store: Arc::new(groups.clone()),
            topics: Arc::new(groups),
            clock: Arc::clone(&clock),
            ticks: Arc::new(MonotonicTicks::default()),
        });
        self.coordinate(metadata, coordinator.clone());
        let info = options::broker_info(config, registration);
        Context::new(Rooms {
            metadata: MetadataContext::new(Arc::new(metadata.clone()), info),
            partitions: Arc::clone(&self.partitions),
            groups: coordinator,
            redirects: Arc::clone(&self.redirects),
            fetch_sessions: SessionCache::new(FETCH_SESSIONS),
            clock,
            metrics,
        })
    }

    /// Coordinates groups whenever this node leads the metadata group and has caught up.
    fn coordinate(&mut self, metadata: &Metadata, coordinator: Coordinator) {
        let (leading, term) = watch::channel(None);
        let mut role = metadata.group().role();
        self.tasks.push(tokio::spawn(async move {
            loop {
                let now = *role.borrow_and_update();
                leading.send_replace(now.ready.then_some(Term(now.term)));
                if role.changed().await.is_err() {
                    return;
                }
            }
        }));
        self.tasks.push(tokio::spawn(async move { coordinator.run(term).await }));
    }

    fn serve_admin(
        &mut self,
        listener: tokio::net::TcpListener,
        backend: LiveAdmin,
        metrics: Arc<Metrics>,
    ) {
        let mut stopping = self.stopping.subscribe();
        let stop = async move {
            // A dropped sender is a node that is gone: stop too.
            drop(stopping.wait_for(|stopping| *stopping).await);
        };
        let mut overdue = self.stopping.subscribe();
        self.servers.push(tokio::spawn(async move {
            tokio::select! {
                served = admin::serve(listener, Arc::new(backend), metrics, stop) => {
                    if let Err(error) = served {
                        tracing::error!(%error, "the admin endpoint ended");
                    }
                }
                // Who does not finish a request does not keep the node.
                () = async {
                    drop(overdue.wait_for(|stopping| *stopping).await);
                    tokio::time::sleep(ADMIN_ANSWER_MAX).await;
                } => tracing::info!("requests to the admin endpoint stay unanswered"),
            }
        }));
    }

    /// Stops in order: leaderships are handed over, requests answered, files closed.
    pub async fn stop(self) {
        // Clients are told who leads now while they can still be answered.
        if self.raft.hand_over(HAND_OVER_MAX).await {
            drop(tokio::time::timeout(REDIRECT_MAX, self.redirects.end()).await);
        }
        self.stopping.send_replace(true);
        // A server that panicked has ended too.
        let mut served = futures_util::future::join_all(self.servers);
        let is_served = tokio::time::timeout(ANSWER_MAX, &mut served).await.is_ok();
        // What could not be handed over is without a leader from here on: not until clients have gone that take
        // their time, or all files are closed.
        self.raft.leave().await;
        if !is_served {
            served.await;
        }
        for task in &self.tasks {
            task.abort();
        }
        for partition in self.partitions.all() {
            partition.close().await;
        }
        self.disk.metadata_log.stop_waiting();
        self.raft.shutdown().await;
        if let Err(error) = self.disk.close(&self.partitions) {
            tracing::warn!(%error, "the next start will take longer: closing failed");
        }
        tracing::info!("stopped");
    }
}

impl Disk {
    fn close(&self, partitions: &Arc<PartitionSet>) -> Result<()> {
        self.hard_states.close(&*short_logs::on_disk(partitions, &self.metadata_log))?;
        self.kv.flush()?;
        Ok(self.metadata_log.close()?)
    }
}

/// Resolves once this broker is registered and has opened its partitions.
async fn known(mut registered: watch::Receiver<bool>, mut reconciled: watch::Receiver<u64>) {
    // A sender is dropped only when the node stops.
    drop(registered.wait_for(|registered| *registered).await);
    drop(reconciled.wait_for(|rounds| *rounds > 0).await);
}

fn registration(config: &NodeConfig, listeners: &Listeners) -> Result<BrokerRegistration> {
    let admin = listeners.admin.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?;
    Ok(BrokerRegistration {
        id: config.node_id,
        host: config.listeners.advertised_host.clone(),
        port: config.listeners.advertised_port.unwrap_or(listeners.kafka_address.port()),
        admin: admin.map(|admin| (admin.ip().to_string(), admin.port())),
        rack: None,
        incarnation: rand::random(),
    })
}

async fn start_raft(
    config: &NodeConfig,
    surroundings: &Surroundings,
    disk: &Disk,
    partitions: &Arc<PartitionSet>,
    listener: Box<dyn Bound>,
) -> Result<RaftNode> {
    let peers = config.nodes.iter().map(|(id, node)| (NodeId(id.0 as u64), node.peer.clone()));
    let cluster = ClusterId::new(config.cluster.clone()).context("the cluster's name is empty")?;
    let mut raft = NodeOptions::new(NodeId(config.node_id.0 as u64), cluster, peers.collect());
    let (space, partitions) = (Arc::clone(disk.storage.space()), Arc::downgrade(partitions));
    // The metadata group goes on whatever happens: it is what deletes topics.
    raft.room = Some(Room::new(move |incoming| {
        incoming.group == GroupId::METADATA
            || space.has_room_for_replication()
            || partitions.upgrade().is_some_and(|all| partition::fits_full_disk(&all, incoming))
    }));
    let storage = disk.storage.clone();
    raft.network = Network::new(Sparing { inner: surroundings.network.clone(), storage });
    raft.has_io_thread = surroundings.has_threads;
    raft.timing = Timing {
        heartbeat_ms: config.raft.heartbeat_ms,
        peer_dead_ms: config.raft.peer_dead_ms,
        settle_ms: config.raft.settle_ms,
        ..raft.timing
    };
    raft.limits.catch_up_bytes_per_s = config.raft.catch_up_bytes_per_s;
    let listener = Sparing { inner: listener, storage: disk.storage.clone() };
    let hard_states = disk.hard_states.clone();
    RaftNode::start(raft, listener, hard_states).await.context("the Raft node cannot start")
}

/// Opens the metadata group's log; one that is damaged, or begins behind the copy of the metadata, is set
/// aside where other nodes have it, and refilled by its group.
fn open_metadata_log(
    config: &NodeConfig,
    data_dir: &DataDir,
    storage: &Storage,
    kv: &Kv,
    hard_states: &HardStates,
) -> Result<MetadataLog> {
    let dir = data_dir.metadata_dir();
    let durable_index = hard_states.durable_index(GroupId::METADATA)?;
    let open = || {
        // A log that is gone altogether is not one that ends too early.
        let hint = read_identity(&dir)?.and(durable_index);
        MetadataLog::open(&dir, &config.cluster, storage, hint)
    };
    let is_alone = config.nodes.len() == 1;
    let error = match open() {
        Ok(log) if log.state()?.purged <= KvPairs::open(kv)?.applied()? => return Ok(log),
        Ok(_) if is_alone => bail!(
            "the copy of the metadata in {} is gone or old, and the log in {} does not reach back to \
             it: restore the former from a copy",
            data_dir.kv_dir().display(),
            dir.display()
        ),
        Ok(log) => {
            log.close()?;
            data_dir.set_aside(&dir, "it begins behind the copy of the metadata")?;
            return Ok(open()?);
        }
        Err(error) => error,
    };
    if error.is_damage() && !is_alone && has_voted(hard_states)? {
        data_dir.set_aside(&dir, &error.to_string())?;
        return Ok(open()?);
    }
    let restore = "restore the data folder from a copy".to_owned();
    let advice = match is_alone {
        true => short_logs::advice(&error, &dir, restore),
        false => restore + ", or start the node with an empty one while the other nodes are up",
    };
    Err(error).context(advice)
}

/// Whether this node may have voted in the metadata group, and so has had its log.
fn has_voted(hard_states: &dyn HardStateStore) -> Result<bool> {
    let state = hard_states.load(GroupId::METADATA)?;
    Ok(state.vote.is_some() || state.unproven)
}

async fn open_metadata(config: &NodeConfig, disk: &Disk, raft: &RaftNode) -> Result<Metadata> {
    let store = Arc::new(KvPairs::open(&disk.kv)?);
    let options = MetadataOptions {
        broker: config.node_id,
        voters: config.nodes.keys().copied().collect(),
        defaults: options::topic_defaults(config),
        statics: options::statics(config),
    };
    let log = disk.metadata_log.clone();
    let has_voted = has_voted(&*disk.hard_states)?;
    if config.nodes.len() == 1 && has_voted && log.state()?.last.is_none() {
        bail!(
            "the metadata log in {} is gone, and no other node has it: restore the folder from a \
             copy",
            disk.data_dir.metadata_dir().display()
        );
    }
    let metadata = Metadata::open(raft.clone(), log, store, options).await?;
    raft.serve_calls(Arc::new(metadata.clone()));
    Ok(metadata)
}
