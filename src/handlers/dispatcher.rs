//! One line per API: which handler answers it, and whether the connection reads on meanwhile.
//!
//! **Invariant:** the match is exhaustive over the API table: an API that is offered is answered.
//! **Invariant:** what may wait for other members, a quorum or the disk is deferred. (A leader that was just elected is
//! waited for in place, for a moment: the connection's next request would find it no readier.)

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::api_versions::Features;
use super::{
    ConnectionState, Context, GroupCaller, Outcome, Reply, Request, RequestHandler, RequestMeta,
    deferred, typed,
};
use super::{
    api_versions, create_partitions, create_topics, delete_records, delete_topics,
    describe_cluster, describe_configs, describe_groups, elect_leaders, fetch, find_coordinator,
    heartbeat, incremental_alter_configs, init_producer_id, join_group, leave_group, list_groups,
    list_offsets, metadata, offset_commit, offset_fetch, offset_for_leader_epoch, produce,
    sync_group,
};
use crate::protocol::ApiKey;

/// Answers the requests of all connections.
pub struct Dispatcher {
    context: Context,
    features: Features,
}

/// An API that answers from memory: `(ctx, request) => handler call`.
macro_rules! now {
    ($request:ident, $body:ident => $answer:expr) => {
        typed($request, |_, $body| async move { $answer }).await
    };
}

/// An API whose answer may take a while.
macro_rules! later {
    ($request:ident, $body:ident => $answer:expr) => {
        deferred($request, move |_, $body| async move { $answer })
    };
}

impl Dispatcher {
    /// A dispatcher over running rooms.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context, features: Features::default() }
    }

    async fn dispatch(&self, connection: &ConnectionState, request: Request) -> Outcome {
        let ctx = self.context.clone();
        let who = caller(&request.meta);
        let v = request.meta.version;
        match request.meta.api_key {
            ApiKey::ApiVersions => api_versions::handle(connection, &request, &self.features),
            ApiKey::Produce => produce::begin(&ctx, request).await,
            ApiKey::Fetch => fetch::begin(&ctx, request),
            ApiKey::ListOffsets => {
                now!(request, body => list_offsets::handle(&ctx, v, body).await)
            }
            ApiKey::OffsetForLeaderEpoch => {
                now!(request, body => offset_for_leader_epoch::handle(&ctx, body).await)
            }
            ApiKey::FindCoordinator => {
                now!(request, body => find_coordinator::handle(&ctx, v, body).await)
            }
            ApiKey::Heartbeat => now!(request, body => heartbeat::handle(&ctx.groups, body).await),
            ApiKey::ListGroups => {
                now!(request, body => list_groups::handle(&ctx.groups, body).await)
            }
            ApiKey::DescribeGroups => {
                now!(request, body => describe_groups::handle(&ctx.groups, &who, body).await)
            }
            ApiKey::LeaveGroup => {
                now!(request, body => leave_group::handle(&ctx.groups, &who, body).await)
            }
            ApiKey::JoinGroup => {
                later!(request, body => join_group::handle(&ctx.groups, &who, body).await)
            }
            ApiKey::SyncGroup => {
                later!(request, body => sync_group::handle(&ctx.groups, &who, body).await)
            }
            ApiKey::OffsetCommit => {
                later!(request, body => offset_commit::handle(&ctx.groups, &who, body).await)
            }
            ApiKey::OffsetFetch => {
                later!(request, body => offset_fetch::handle(&ctx.groups, &who, body).await)
            }
            ApiKey::Metadata => {
                let farewell = connection.farewells().begin();
                later!(request, body => metadata::handle(&ctx.metadata, farewell, v, body).await)
            }
            ApiKey::CreateTopics => {
                later!(request, body => create_topics::handle(&ctx.metadata, v, body).await)
            }
            ApiKey::DeleteRecords => {
                later!(request, body => delete_records::handle(&ctx, body).await)
            }
            ApiKey::DeleteTopics => {
                later!(request, body => delete_topics::handle(&ctx.metadata, v, body).await)
            }
            ApiKey::CreatePartitions => {
                later!(request, body => create_partitions::handle(&ctx.metadata, body).await)
            }
            ApiKey::ElectLeaders => {
                later!(request, body => elect_leaders::handle(&ctx.metadata, body).await)
            }
            ApiKey::DescribeConfigs => {
                now!(request, body => describe_configs::handle(&ctx.metadata, v, body).await)
            }
            ApiKey::IncrementalAlterConfigs => {
                later!(request, body => {
                    incremental_alter_configs::handle(&ctx.metadata, body).await
                })
            }
            ApiKey::DescribeCluster => {
                now!(request, body => describe_cluster::handle(&ctx.metadata, v, body).await)
            }
            ApiKey::InitProducerId => {
                later!(request, body => init_producer_id::handle(&ctx.metadata, body).await)
            }
        }
    }
}

fn caller(meta: &RequestMeta) -> GroupCaller {
    GroupCaller {
        version: meta.version,
        client_id: meta.client_id.clone().unwrap_or_default(),
        client_host: Arc::from(meta.client_host()),
    }
}

impl RequestHandler for Dispatcher {
    fn handle<'a>(
        &'a self,
        connection: &'a ConnectionState,
        request: Request,
    ) -> BoxFuture<'a, Outcome> {
        let (begun, key) = (Instant::now(), request.meta.api_key.code());
        let metrics = Arc::clone(&self.context.metrics);
        let counted = move |reply: Reply| {
            let failed = matches!(reply, Reply::Close(_));
            metrics.requests.observe(key, begun.elapsed(), failed);
            reply
        };
        Box::pin(async move {
            match self.dispatch(connection, request).await {
                Outcome::Ready(reply) => Outcome::Ready(counted(reply)),
                Outcome::Pending(answer) => {
                    Outcome::Pending(Box::pin(async move { counted(answer.await) }))
                }
            }
        })
    }
}
