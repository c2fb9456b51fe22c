//! The reference ports pass openraft's storage suite.

use std::sync::Arc;

use crate::GroupId;
use crate::testing::{MemHardState, MemLog, MemMachine, Ports, conformance};

#[tokio::test]
async fn ports_in_memory_conform() {
    let ports = || {
        Ok(Ports {
            log: Arc::new(MemLog::default()),
            machine: Arc::new(MemMachine::default()),
            hard: Arc::new(MemHardState::default()),
            guard: (),
        })
    };
    conformance(GroupId { topic: 1, partition: 0 }, ports).await.unwrap();
}
