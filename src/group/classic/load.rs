//! A group's way from one coordinator to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{GroupError, GroupOptions, GroupRecord, Now, Tick};
use super::writes::Writes;
use super::{ClassicGroup, Completing, Effects, Member, Phase};

impl ClassicGroup {
    /// The group as its last coordinator stored it. All sessions start over, so that a failover
    /// by itself rebalances nobody; a generation that waited for its leader goes on waiting.
    #[must_use]
    pub fn load(record: GroupRecord, options: Arc<GroupOptions>, now: Now) -> Self {
        let mut group = Self::new(record.group, options, record.state_since);
        group.protocol_type = record.protocol_type;
        group.protocol = record.protocol;
        group.generation = record.generation;
        group.leader = record.leader;
        group.writes = Writes::loaded();
        let mut members = BTreeMap::new();
        for stored in record.members {
            if let Some(instance) = &stored.instance_id {
                group.instances.insert(instance.clone(), stored.id.clone());
            }
            let protocol = group.protocol.clone().unwrap_or_else(|| Arc::from(""));
            let member = Member {
                instance_id: stored.instance_id,
                client_id: stored.client_id,
                client_host: stored.client_host,
                session_timeout_ms: stored.session_timeout_ms,
                rebalance_timeout_ms: stored.rebalance_timeout_ms,
                protocols: vec![(protocol, stored.subscription)],
                is_partial: true,
                assignment: stored.assignment,
                arrival: group.next_arrival(),
                is_new: false,
                session_deadline: Tick(0),
                joining: None,
                syncing: None,
                owes_sync: !record.assigned,
            };
            members.insert(stored.id, member);
        }
        group.members = members;
        let ids: Vec<Arc<str>> = group.members.keys().cloned().collect();
        for id in ids {
            group.renew_session(&id, now.tick);
        }
        if group.members.is_empty() {
            return group;
        }
        if record.assigned {
            group.phase = Phase::Stable;
        } else {
            group.phase = Phase::Completing(Completing::AwaitingLeader);
            group.expect_syncs(now);
        }
        group
    }

    /// A group of which only offsets are stored.
    #[must_use]
    pub fn load_offsets_only(id: Arc<str>, options: Arc<GroupOptions>, now: Now) -> Self {
        let mut group = Self::new(id, options, now.wall);
        group.writes = Writes::loaded();
        group
    }

    /// Something besides a record is stored of the group (offsets), so it is not to be forgotten.
    pub fn keep(&mut self) {
        if self.writes.is_untouched() {
            self.writes = Writes::loaded();
        }
    }

    /// This node stops coordinating: whoever waits has to look for the new coordinator.
    pub fn abandon(mut self, now: Now, fx: &mut Effects) {
        self.refuse_joins(GroupError::NotCoordinator, now, fx);
        self.refuse_syncs(GroupError::NotCoordinator, now, fx);
    }
}
