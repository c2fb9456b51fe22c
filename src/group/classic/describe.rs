//! What a group shows of itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::{ExpiryView, GroupListing, GroupSummary, MemberSummary, subscription};
use super::{ClassicGroup, GroupState, Member, Phase};

impl ClassicGroup {
    /// Id, protocol type and state.
    #[must_use]
    pub fn listing(&self) -> GroupListing {
        GroupListing {
            group: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            state: self.state(),
        }
    }

    /// Everything. Metadata and shares are shown of a stable group only, as Kafka does: between
    /// generations they mean nothing.
    #[must_use]
    pub fn summary(&self) -> GroupSummary {
        let stable = matches!(self.phase, Phase::Stable);
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_else(|| Arc::from(""));
        let member = |(id, member): (&Arc<str>, &Member)| MemberSummary {
            id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(&protocol),
            assignment: if stable { member.assignment.clone() } else { bytes::Bytes::new() },
        };
        GroupSummary {
            listing: self.listing(),
            generation: self.generation,
            members: self.members.iter().map(member).collect(),
            protocol,
        }
    }

    /// What decides about the retention of the group's offsets.
    #[must_use]
    pub fn expiry_view(&self) -> ExpiryView {
        ExpiryView {
            state: self.state(),
            state_since: self.state_since,
            has_protocol_type: self.protocol_type.is_some(),
            subscribed: self.subscribed_topics(),
        }
    }

    /// The topics of a stable consumer group, `None` if they cannot be told.
    fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        let consumer = self.protocol_type.as_deref() == Some(subscription::CONSUMER);
        if !consumer || self.state() != GroupState::Stable {
            return None;
        }
        let protocol = self.protocol.as_deref()?;
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol);
            all.extend(subscription::topics(&metadata)?.into_iter().map(str::to_owned));
        }
        Some(all)
    }
}
