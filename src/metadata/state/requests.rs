//! The window of recently applied requests, which makes a retry harmless.
//!
//! A request that is forwarded to the controller may be applied although its answer is lost (the
//! leader died, the connection broke). The forwarder then asks again under the same
//! [`RequestId`], and the state answers from this window instead of applying twice.
//!
//! **Invariant:** part of the replicated state: the same on every node. It holds the last
//! [`REQUESTS_KEPT`] requests in order of application; a retry happens within a request's
//! deadline (seconds), long before that many others have passed.

use std::collections::BTreeMap;

use crate::metadata::command::{CommandReply, RequestId};

/// How many requests are remembered.
pub(crate) const REQUESTS_KEPT: u64 = 4096;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestWindow {
    by_sequence: BTreeMap<u64, (RequestId, CommandReply)>,
    sequence_of: BTreeMap<RequestId, u64>,
}

impl RequestWindow {
    pub(super) fn reply(&self, request: RequestId) -> Option<&CommandReply> {
        self.sequence_of.get(&request).map(|sequence| &self.by_sequence[sequence].1)
    }

    /// Adds a request as the newest. Returns its sequence and that of the one it pushed out.
    pub(super) fn remember(
        &mut self,
        request: RequestId,
        reply: CommandReply,
    ) -> (u64, Option<u64>) {
        let sequence = self.by_sequence.last_key_value().map_or(0, |(last, _)| last + 1);
        self.restore(sequence, request, reply);
        let oldest = self.by_sequence.first_key_value().map_or(sequence, |(first, _)| *first);
        let dropped = (sequence - oldest >= REQUESTS_KEPT).then_some(oldest);
        if let Some((request, _)) = dropped.and_then(|oldest| self.by_sequence.remove(&oldest)) {
            self.sequence_of.remove(&request);
        }
        (sequence, dropped)
    }

    /// Puts back a remembered request.
    pub(super) fn restore(&mut self, sequence: u64, request: RequestId, reply: CommandReply) {
        self.by_sequence.insert(sequence, (request, reply));
        self.sequence_of.insert(request, sequence);
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&(RequestId, CommandReply)> {
        self.by_sequence.get(&sequence)
    }

    pub(super) fn sequences(&self) -> impl Iterator<Item = u64> {
        self.by_sequence.keys().copied()
    }
}
