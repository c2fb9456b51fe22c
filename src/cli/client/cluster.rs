//! The cluster as a client sees it: who leads what, and a connection to each broker.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::join_all;
use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::{FindCoordinatorRequest, MetadataRequest, MetadataResponse, RequestResponsePair};
use kafka_wire_core::StrBytes;
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::error::{ClientFailure, check};
use crate::protocol::ErrorCode;

/// Wait before asking again where a cluster was found without a leader.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Longest wait for one broker where another may answer as well.
const ATTEMPT: Duration = Duration::from_secs(2);

/// A partition as metadata describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The leader, if there is one.
    pub(crate) leader: Option<i32>,
    /// Its epoch.
    pub(crate) leader_epoch: i32,
    /// Nodes with a replica.
    pub(crate) replicas: Vec<i32>,
    /// Nodes whose replica is alive and caught up.
    pub(crate) in_sync: Vec<i32>,
}

/// A topic as metadata describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topic {
    /// Its id, 32 hexadecimal digits.
    pub(crate) id: String,
    /// Its partitions by index.
    pub(crate) partitions: BTreeMap<i32, Partition>,
}

/// Connections to a cluster, with what its metadata said last.
pub(crate) struct Client {
    bootstrap: Vec<String>,
    timeout: Duration,
    connections: HashMap<i32, Connection>,
    /// Brokers by id, as `host:port`.
    pub(crate) brokers: BTreeMap<i32, String>,
    /// The node that leads the metadata group.
    pub(crate) controller: Option<i32>,
    /// The cluster's id.
    pub(crate) cluster_id: String,
    /// Topics asked about last.
    pub(crate) topics: BTreeMap<String, Topic>,
}

impl Client {
    /// Reaches the first broker of `bootstrap` that answers and learns the others from it.
    ///
    /// # Errors
    /// None answers within `timeout`, which also bounds every later exchange.
    pub(crate) async fn connect(
        bootstrap: &[String],
        timeout: Duration,
    ) -> Result<Self, ClientFailure> {
        let mut client = Self {
            bootstrap: bootstrap.to_vec(),
            timeout,
            connections: HashMap::new(),
            brokers: BTreeMap::new(),
            controller: None,
            cluster_id: String::new(),
            topics: BTreeMap::new(),
        };
        client.ask_metadata(Some(&[]), false, client.deadline()).await?;
        Ok(client)
    }

    /// The deadline of an exchange that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Sends a request to the broker `node` and reads its answer. A broken connection is dropped.
    ///
    /// # Errors
    /// As [`ClientFailure`] says; an unknown `node` is unreachable.
    pub(crate) async fn call<R: RequestResponsePair>(
        &mut self,
        node: i32,
        request: &R,
        version_max: i16,
        deadline: Instant,
    ) -> Result<R::Response, ClientFailure> {
        let mut connection = self.take(node, deadline).await?;
        let response = connection.call(request, version_max, deadline).await?;
        self.connections.insert(node, connection);
        Ok(response)
    }

    /// Sends each request to its broker at once and returns the answers in the same order.
    pub(crate) async fn call_each<R: RequestResponsePair>(
        &mut self,
        requests: Vec<(i32, R)>,
        version_max: i16,
        deadline: Instant,
    ) -> Vec<(i32, Result<R::Response, ClientFailure>)> {
        let mut ready = Vec::new();
        for (node, request) in requests {
            ready.push((node, self.take(node, deadline).await, request));
        }
        let calls = ready.into_iter().map(async |(node, connection, request)| match connection {
            Err(error) => (node, None, Err(error)),
            Ok(mut connection) => {
                let response = connection.call(&request, version_max, deadline).await;
                (node, Some(connection), response)
            }
        });
        let mut answers = Vec::new();
        for (node, connection, response) in join_all(calls).await {
            if let (Some(connection), Ok(_)) = (connection, &response) {
                self.connections.insert(node, connection);
            }
            answers.push((node, response));
        }
        answers
    }

    /// Sends a request that has no answer.
    ///
    /// # Errors
    /// As [`ClientFailure`] says.
    pub(crate) async fn send<R: RequestResponsePair>(
        &mut self,
        node: i32,
        request: &R,
        version_max: i16,
    ) -> Result<(), ClientFailure> {
        let deadline = self.deadline();
        let mut connection = self.take(node, deadline).await?;
        connection.send(request, version_max, deadline).await?;
        self.connections.insert(node, connection);
        Ok(())
    }

    /// Sends a request to the controller, or to any broker where none is known: it forwards.
    /// Retried while the cluster has no leader for it.
    ///
    /// # Errors
    /// As [`ClientFailure`] says.
    pub(crate) async fn call_controller<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version_max: i16,
        deadline: Instant,
    ) -> Result<R::Response, ClientFailure> {
        loop {
            let node = self.controller.filter(|node| self.brokers.contains_key(node));
            let node = node.or_else(|| self.brokers.keys().next().copied()).unwrap_or(-1);
            let failure = match self.call(node, request, version_max, deadline).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            if !matches!(failure, ClientFailure::Unreachable { .. }) || Instant::now() >= deadline {
                return Err(failure);
            }
            self.controller = None;
            self.brokers.remove(&node);
            sleep(RETRY_AFTER).await;
            self.ask_metadata(Some(&[]), false, deadline).await?;
        }
    }

    async fn take(&mut self, node: i32, deadline: Instant) -> Result<Connection, ClientFailure> {
        if let Some(connection) = self.connections.remove(&node) {
            return Ok(connection);
        }
        let address = self.brokers.get(&node).ok_or_else(|| ClientFailure::Unreachable {
            tried: vec![format!("node {node} (not in the cluster's metadata)")],
        })?;
        Connection::open(address, deadline).await
    }

    /// Opens a further connection to `node`, for requests that wait long.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(super) async fn open(
        &self,
        node: i32,
        deadline: Instant,
    ) -> Result<Connection, ClientFailure> {
        let address = self.brokers.get(&node).ok_or_else(|| ClientFailure::Unreachable {
            tried: vec![format!("node {node} (not in the cluster's metadata)")],
        })?;
        Connection::open(address, deadline).await
    }

    /// Asks for metadata of `topics` (`None`: all), until each has a leader for every partition.
    ///
    /// # Errors
    /// A topic is unknown and `auto_create` does not make it, or the deadline passes.
    pub(crate) async fn refresh(
        &mut self,
        topics: Option<&[String]>,
        auto_create: bool,
    ) -> Result<(), ClientFailure> {
        let deadline = self.deadline();
        loop {
            let failure = match self.ask_metadata(topics, auto_create, deadline).await {
                Ok(response) => match self.learn(&response) {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            // A topic being made is unknown for a moment; one that nobody makes stays so.
            let is_unknown = failure.code() == Some(ErrorCode::UnknownTopicOrPartition);
            let hopeless = !failure.is_retriable() || (is_unknown && !auto_create);
            if hopeless || Instant::now() + RETRY_AFTER >= deadline {
                return Err(failure);
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// As [`Self::refresh`], but once, and partitions without a leader are no failure.
    ///
    /// # Errors
    /// No broker answers, or a topic is unknown.
    pub(crate) async fn look(&mut self, topics: Option<&[String]>) -> Result<(), ClientFailure> {
        let response = self.ask_metadata(topics, false, self.deadline()).await?;
        match self.learn(&response) {
            Err(ClientFailure::NoLeader { .. }) | Ok(()) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn ask_metadata(
        &mut self,
        topics: Option<&[String]>,
        auto_create: bool,
        deadline: Instant,
    ) -> Result<MetadataResponse, ClientFailure> {
        let mut request = MetadataRequest::default();
        request.allow_auto_topic_creation = auto_create;
        request.topics = topics.map(|names| {
            let topic = |name: &String| {
                let mut topic = MetadataRequestTopic::default();
                topic.name = Some(StrBytes::from(name.as_str()));
                topic
            };
            names.iter().map(topic).collect()
        });
        // Known brokers first, then the bootstrap list: after a failure any of them will do. The controller before
        // all others: it knows what was made a moment ago, even while others do not hear it.
        let mut known: Vec<i32> = self.brokers.keys().copied().collect();
        known.sort_by_key(|node| self.controller != Some(*node));
        let mut tried = Vec::new();
        // A node that is frozen, not dead, must not use up the time for asking the others.
        let patience = || deadline.min(Instant::now() + ATTEMPT);
        for node in known {
            match self.call(node, &request, 12, patience()).await {
                Ok(response) => return Ok(self.learn_brokers(response)),
                Err(ClientFailure::Unreachable { tried: more }) => tried.extend(more),
                Err(failure) => tried.push(failure.to_string()),
            }
        }
        for address in self.bootstrap.clone() {
            let response = match Connection::open(&address, patience()).await {
                Ok(mut connection) => connection.call(&request, 12, patience()).await,
                Err(failure) => Err(failure),
            };
            match response {
                Ok(response) => return Ok(self.learn_brokers(response)),
                Err(ClientFailure::Unreachable { tried: more }) => tried.extend(more),
                Err(failure @ ClientFailure::Protocol { .. }) => return Err(failure),
                Err(failure) => tried.push(failure.to_string()),
            }
        }
        tried.sort();
        tried.dedup();
        Err(ClientFailure::Unreachable { tried })
    }

    fn learn_brokers(&mut self, response: MetadataResponse) -> MetadataResponse {
        if !response.brokers.is_empty() {
            self.brokers = response
                .brokers
                .iter()
                .map(|broker| (broker.node_id, format!("{}:{}", broker.host, broker.port)))
                .collect();
            let known = &self.brokers;
            self.connections.retain(|node, _| known.contains_key(node));
        }
        self.controller = (response.controller_id >= 0).then_some(response.controller_id);
        self.cluster_id = response.cluster_id.as_deref().unwrap_or_default().to_owned();
        response
    }

    fn learn(&mut self, response: &MetadataResponse) -> Result<(), ClientFailure> {
        let mut missing = None;
        for answer in &response.topics {
            let name = answer.name.as_deref().unwrap_or_default().to_owned();
            check(answer.error_code, format!("metadata of {name:?}"), None)?;
            let mut topic = Topic { id: hex(answer.topic_id.as_bytes()), ..Topic::default() };
            for partition in &answer.partitions {
                let leader = (partition.leader_id >= 0).then_some(partition.leader_id);
                if leader.is_none() {
                    let index = partition.partition_index;
                    missing =
                        Some(ClientFailure::NoLeader { topic: name.clone(), partition: index });
                }
                topic.partitions.insert(
                    partition.partition_index,
                    Partition {
                        leader,
                        leader_epoch: partition.leader_epoch,
                        replicas: partition.replica_nodes.clone(),
                        in_sync: partition.isr_nodes.clone(),
                    },
                );
            }
            self.topics.insert(name, topic);
        }
        missing.map_or(Ok(()), Err)
    }

    /// The node that leads a partition, as of the last metadata.
    ///
    /// # Errors
    /// [`ClientFailure::NoLeader`].
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Result<i32, ClientFailure> {
        self.topics
            .get(topic)
            .and_then(|known| known.partitions.get(&partition))
            .and_then(|partition| partition.leader)
            .ok_or_else(|| ClientFailure::NoLeader { topic: topic.to_owned(), partition })
    }

    /// The node that coordinates `group`, waited for while there is none.
    ///
    /// # Errors
    /// A refusal, or the deadline passes.
    pub(crate) async fn coordinator(&mut self, group: &str) -> Result<i32, ClientFailure> {
        let deadline = self.deadline();
        let mut request = FindCoordinatorRequest::default();
        request.key = StrBytes::from(group);
        loop {
            // Up to version 3 the answer is one coordinator, which is all that is asked here.
            let answer = self.call_controller(&request, 3, deadline).await;
            let failure = match answer {
                Ok(found) => {
                    match check(
                        found.error_code,
                        format!("the coordinator of {group:?}"),
                        found.error_message.as_deref(),
                    ) {
                        Ok(()) => {
                            let address = format!("{}:{}", found.host, found.port);
                            self.brokers.insert(found.node_id, address);
                            return Ok(found.node_id);
                        }
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            if !failure.is_retriable() || Instant::now() + RETRY_AFTER >= deadline {
                return Err(failure);
            }
            sleep(RETRY_AFTER).await;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
