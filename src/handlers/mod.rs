//! Typed requests in, typed responses out: one file per API.
//!
//! Each API's file holds `handle(…, body: XRequest) -> XResponse` over `kafka-wire`'s types. The
//! dispatcher is one line per API, with [`typed`] or [`deferred`] around that function; an API of two
//! stages (produce: enqueued, committed) takes [`Request::decode`] and builds its [`Outcome`]
//! itself:
//!
//! ```text
//! Metadata  => typed(request, |meta, body| async move {
//!     metadata::handle(ctx, &meta, body).await
//! }).await,
//! JoinGroup => deferred(request, |meta, body| async move {
//!     join_group::handle(&groups, &caller, body).await
//! }),
//! ```
//!
//! **Invariant:** a handler never touches a socket; `server` never looks into a message.
//! **Invariant:** what outlives a request is copied: a slice of the frame would keep the whole frame in
//! memory.

pub mod api_versions;
mod auto_creation;
mod config_resource;
mod context;
pub mod create_partitions;
pub mod create_topics;
mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
mod dispatcher;
pub mod elect_leaders;
pub mod errors;
mod farewell;
mod fetch;
pub mod find_coordinator;
mod group_caller;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
mod leader_wait;
pub mod leave_group;
pub mod list_groups;
mod list_offsets;
pub mod metadata;
mod metadata_context;
mod metadata_port;
pub mod offset_commit;
pub mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod producer_ids;
mod records;
mod redirects;
mod request;
pub mod sync_group;
mod typed;
mod wire;

#[cfg(test)]
mod fake_port;
#[cfg(test)]
mod group_tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use context::{Context, Rooms};
pub use dispatcher::Dispatcher;
pub use fetch::SessionCache;
pub use group_caller::GroupCaller;
pub use metadata_context::{BrokerInfo, MetadataContext};
pub use metadata_port::{Answers, MetadataPort};
pub use records::{RecordSource, Records};
pub use redirects::Redirects;
pub use request::{
    CloseReason, ConnectionState, Outcome, Reply, Request, RequestHandler, RequestMeta, Response,
    Software,
};
pub use typed::{deferred, typed};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while these locks are held; a poisoned one is still consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
