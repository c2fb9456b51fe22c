//! A member of a group, and an id that waits to become one.

use std::sync::Arc;

use bytes::Bytes;

use super::super::{JoinRequest, Tick};
use super::Token;

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// Preferred first.
    pub(super) protocols: Vec<(Arc<str>, Bytes)>,
    /// Loaded from a record, which keeps the selected protocol's metadata only.
    pub(super) is_partial: bool,
    pub(super) assignment: Bytes,
    /// Lowest leads when a leader is missing.
    pub(super) arrival: u64,
    /// Has not yet been told a generation, so it cannot send heartbeats.
    pub(super) is_new: bool,
    pub(super) session_deadline: Tick,
    /// The waiting JoinGroup.
    pub(super) joining: Option<Joining>,
    /// The waiting SyncGroup.
    pub(super) syncing: Option<Token>,
    /// Was told the generation and has not synced since.
    pub(super) owes_sync: bool,
}

/// A JoinGroup that waits for its answer.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) token: Token,
    /// Of a static member that came back to a stable group.
    pub(super) takeover: Option<Takeover>,
}

/// A static member that takes its predecessor's place without a rebalance (KIP-345).
#[derive(Debug)]
pub(super) struct Takeover {
    /// The write that carries the new member id.
    pub(super) version: u64,
    /// The leader to name in the answer.
    pub(super) leader: Arc<str>,
    /// v9+ and the member leads: it gets the members, but shall not assign (KIP-814).
    pub(super) skip_assignment: bool,
}

/// An id that was given out with MEMBER_ID_REQUIRED.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) expires: Tick,
    pub(super) arrival: u64,
}

impl Member {
    pub(super) fn new(request: &JoinRequest, arrival: u64) -> Self {
        Self {
            instance_id: request.instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: request.protocols.clone(),
            is_partial: false,
            assignment: Bytes::new(),
            arrival,
            is_new: true,
            session_deadline: Tick(0),
            joining: None,
            syncing: None,
            owes_sync: false,
        }
    }

    /// Takes over what a rejoin says.
    pub(super) fn update(&mut self, request: &JoinRequest) {
        self.client_id = request.client_id.clone();
        self.client_host = request.client_host.clone();
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = request.rebalance_timeout_ms;
        self.protocols = request.protocols.clone();
        self.is_partial = false;
    }

    /// Whether a rejoin brings nothing new. Of a member that was loaded only the selected protocol
    /// is known, and only that one is compared.
    pub(super) fn matches(&self, protocols: &[(Arc<str>, Bytes)]) -> bool {
        if self.is_partial {
            self.protocols.iter().all(|known| protocols.contains(known))
        } else {
            self.protocols == protocols
        }
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| &**name == protocol)
    }

    /// Its metadata under `protocol`, empty if it has none.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| &**name == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn protocol_bytes(&self) -> usize {
        protocol_bytes(&self.protocols)
    }

    /// A member whose request waits here lives, whatever its timer says; but a new one may have
    /// gone without ever learning its id, so its first join is bounded.
    pub(super) fn is_alive(&self, now: Tick) -> bool {
        self.session_deadline > now || self.waits()
    }

    /// Whether the session timer is suspended.
    pub(super) fn waits(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }
}

/// Bytes that the metadata of these protocols holds.
pub(super) fn protocol_bytes(protocols: &[(Arc<str>, Bytes)]) -> usize {
    protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum()
}
