//! All nodes of one cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::ports::Reservation;
use super::volume::Volume;
use super::{ClusterOptions, ClusterView, Folder, Network, Node, NodeId, PartitionView};

/// Between two looks at the cluster.
const POLL: Duration = Duration::from_millis(20);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    // Fields drop in this order: the processes end before their hosts, folder and ports are given back.
    nodes: Vec<Node>,
    network: Option<Network>,
    folder: PathBuf,
    temporary: Option<TempDir>,
    _reservation: Reservation,
}

impl Cluster {
    /// Writes the configuration, starts every node and waits until each is ready.
    ///
    /// # Errors
    /// A folder cannot be written, or a node does not become ready by the deadline.
    pub fn start(options: &ClusterOptions, deadline: Duration) -> Result<Self> {
        let mut cluster = Self::prepare(options)?;
        cluster.start_all()?;
        cluster.wait_ready(deadline)?;
        Ok(cluster)
    }

    /// Writes the configuration without starting anything.
    ///
    /// # Errors
    /// A folder cannot be written.
    pub fn prepare(options: &ClusterOptions) -> Result<Self> {
        let (folder, temporary) = make_folder(&options.folder)?;
        let network =
            if options.hosts { Some(Network::make(options.nodes as NodeId)?) } else { None };
        let reservation = match &network {
            Some(network) => Reservation::on_hosts(network, options.nodes),
            None => Reservation::take(options.ports, options.nodes)?,
        };
        let mut nodes = Vec::new();
        for id in 1..=options.nodes as NodeId {
            let home = folder.join(format!("node{id}"));
            fs::create_dir_all(&home)?;
            fs::write(home.join("node.toml"), options.node_toml(id, &reservation))?;
            let mut node = Node::new(id, reservation.of(id), home, options.binary.clone());
            if let Some(network) = &network {
                node = node.on_host(network);
            }
            if let Some(mib) = options.volume_mib {
                node.volume = Some(Volume::make(&node.data_dir(), mib)?);
            }
            nodes.push(node);
        }
        Ok(Self { nodes, network, folder, temporary, _reservation: reservation })
    }

    /// The nodes, by id.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes, by id.
    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// Node `id`.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.iter().find(|node| node.id == id).expect("the cluster has this node")
    }

    /// Node `id`.
    ///
    /// # Panics
    /// There is none.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).expect("the cluster has this node")
    }

    /// The nodes' hosts.
    ///
    /// # Errors
    /// They have no hosts of their own.
    pub fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("the nodes have no hosts of their own")
    }

    /// Where everything of this cluster is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a client is told to connect to: all nodes, comma-separated.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<_> =
            self.nodes.iter().map(|node| node.ports.kafka.to_string()).collect();
        addresses.join(",")
    }

    /// Keeps the folder after the cluster is dropped, and says where it is.
    pub fn keep(&mut self) -> &Path {
        if let Some(temporary) = self.temporary.take() {
            let _path = temporary.keep();
        }
        &self.folder
    }

    /// Starts the nodes that do not run, without waiting until they are ready.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            if node.pid().is_none() {
                node.start()?;
            }
        }
        Ok(())
    }

    /// Waits until every node is ready; gives the time waited.
    ///
    /// # Errors
    /// One ends, or is not ready by the deadline.
    pub fn wait_ready(&mut self, deadline: Duration) -> Result<Duration> {
        let begin = Instant::now();
        for node in &mut self.nodes {
            node.wait_ready(deadline.saturating_sub(begin.elapsed()))?;
        }
        Ok(begin.elapsed())
    }

    /// `kill -9` of every running node at once.
    ///
    /// # Errors
    /// One cannot be signalled.
    pub fn kill_all(&mut self) -> Result<()> {
        let running = self.nodes.iter().filter(|node| node.pid().is_some());
        let running: Vec<NodeId> = running.map(|node| node.id).collect();
        for id in &running {
            self.node(*id).signal_kill()?;
        }
        for id in running {
            self.node_mut(id).kill()?;
        }
        Ok(())
    }

    /// Cuts the power of these nodes at once and ends their processes; what their disks then hold is
    /// mounted again.
    ///
    /// # Errors
    /// One does not run, or has no volume of its own.
    pub fn cut_power(&mut self, ids: &[NodeId]) -> Result<()> {
        // Stopped first, so that none of them acts between the first cut and the last.
        for id in ids {
            self.node(*id).pause()?;
        }
        for id in ids {
            let volume = self.node(*id).volume.as_ref();
            volume.with_context(|| format!("node {id} has no volume of its own"))?.cut()?;
        }
        for id in ids {
            let node = self.node_mut(*id);
            node.kill()?;
            if let Some(volume) = &node.volume {
                volume.mount_again()?;
            }
        }
        Ok(())
    }

    /// SIGTERM to every running node; each must end with exit code 0.
    ///
    /// # Errors
    /// One ends otherwise, or not by the deadline.
    pub fn stop_all(&mut self, deadline: Duration) -> Result<()> {
        let begin = Instant::now();
        for node in &mut self.nodes {
            if node.pid().is_some() {
                let status = node.terminate(deadline.saturating_sub(begin.elapsed()))?;
                ensure!(status.success(), "node {} ended with {status}", node.id);
            }
        }
        Ok(())
    }

    /// The view of the first node that answers.
    ///
    /// # Errors
    /// None answers.
    pub fn view(&self) -> Result<ClusterView> {
        let mut last = None;
        for node in self.nodes.iter().filter(|node| node.pid().is_some()) {
            match node.view() {
                Ok(view) => return Ok(view),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no node runs")?)
    }

    /// Waits until some node's view satisfies `condition`, and gives that view.
    ///
    /// # Errors
    /// The deadline passes; `what` says what was waited for.
    pub fn wait_view(
        &self,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&ClusterView) -> bool,
    ) -> Result<ClusterView> {
        let begin = Instant::now();
        loop {
            let view = self.view();
            match view {
                Ok(view) if condition(&view) => return Ok(view),
                _ if begin.elapsed() < deadline => thread::sleep(POLL),
                Ok(view) => bail!("not within {deadline:?}: {what}; the last view is {view:?}"),
                Err(error) => return Err(error.context(format!("waiting until {what}"))),
            }
        }
    }

    /// Waits until every partition of `topic` has a leader that runs, and gives the partitions.
    ///
    /// # Errors
    /// The deadline passes.
    pub fn wait_led(&self, topic: &str, deadline: Duration) -> Result<Vec<PartitionView>> {
        self.wait_led_without(&[], topic, deadline)
    }

    /// As [`wait_led`](Self::wait_led) by others than `absent`, nodes that run but do not work.
    ///
    /// # Errors
    /// The deadline passes.
    pub fn wait_led_without(
        &self,
        absent: &[NodeId],
        topic: &str,
        deadline: Duration,
    ) -> Result<Vec<PartitionView>> {
        let asked = |node: &&Node| node.pid().is_some() && !absent.contains(&node.id);
        let works = |id: NodeId| self.nodes.iter().filter(asked).any(|node| node.id == id);
        let begin = Instant::now();
        loop {
            let views = self.nodes.iter().filter(asked).map(Node::view);
            let view = views.filter_map(Result::ok).find(|view| {
                let partitions = view.partitions(topic);
                let led = |partition: &PartitionView| partition.leader.is_some_and(works);
                !partitions.is_empty() && partitions.iter().all(led)
            });
            match view {
                Some(view) => return Ok(view.partitions(topic).to_vec()),
                None if begin.elapsed() < deadline => thread::sleep(POLL),
                None => bail!("not every partition of {topic} has a leader after {deadline:?}"),
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the cluster's folder is kept: {}", self.keep().display());
        }
    }
}

fn make_folder(folder: &Folder) -> Result<(PathBuf, Option<TempDir>)> {
    match folder {
        Folder::Kept(path) => {
            fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
            Ok((path.canonicalize()?, None))
        }
        Folder::TemporaryIn(parent) => {
            fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
            let made = tempfile::Builder::new().prefix("jackdaw-").tempdir_in(parent)?;
            Ok((made.path().canonicalize()?, Some(made)))
        }
    }
}
