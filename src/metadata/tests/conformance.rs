//! openraft's storage suite over the metadata group's ports.

use std::sync::Arc;

use jackdaw_raft::GroupId;
use jackdaw_raft::testing::{MemHardState, Ports, conformance};

use super::node::fatal_to_panic;
use crate::metadata::{KvPairs, MetadataLog, MetadataMachine};
use crate::storage::kv::Kv;

#[tokio::test(flavor = "multi_thread")]
async fn ports_pass_the_suite() {
    conformance(GroupId::METADATA, || {
        let dir = tempfile::tempdir()?;
        let storage = fatal_to_panic();
        let kv = Kv::open(&dir.path().join("kv"), &storage)?;
        let log = MetadataLog::open(&dir.path().join("log"), "cluster", &storage, None)?;
        let machine = MetadataMachine::open(Arc::new(KvPairs::open(&kv)?))?;
        let hard = Arc::new(MemHardState::default());
        Ok(Ports { log: Arc::new(log), machine: Arc::new(machine), hard, guard: dir })
    })
    .await
    .unwrap();
}
