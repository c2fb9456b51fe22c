//! This broker's stock of producer ids, taken from the metadata group in blocks (KIP-730).
//!
//! **Invariant:** an id is given out at most once: blocks ascend, each is used from its start, and
//! what is left of one is lost when the broker stops. At most one block is being fetched.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::metadata_port::MetadataPort;
use crate::metadata::MetadataError;
use crate::model::ProducerId;

/// How long a block is waited for.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The next block is fetched when one in this many ids of the present one is left.
const AHEAD: i64 = 10;

/// Why there is no id.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoId {
    /// No block is to be had.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The block lies where ids have been given out.
    #[error("a block of producer ids {block:?} was allocated, but those below {end} are taken")]
    Block {
        /// As allocated.
        block: Range<i64>,
        /// End of the blocks before it.
        end: i64,
    },
}

/// Hands out producer ids.
pub(super) struct ProducerIds {
    port: Arc<dyn MetadataPort>,
    stock: Mutex<Stock>,
    /// Held while a block is being fetched.
    fetch: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Stock {
    current: Range<i64>,
    next: Option<Range<i64>>,
    /// Ids of `current` below which the next block is fetched ahead.
    low_water: i64,
    /// Every block so far ended at or below this.
    end: i64,
    fetching_ahead: bool,
}

impl Stock {
    fn take(&mut self) -> Option<ProducerId> {
        if self.current.is_empty() {
            self.current = self.next.take()?;
            self.low_water = (self.current.end - self.current.start) / AHEAD;
        }
        self.current.next().map(ProducerId)
    }

    /// Whether somebody should fetch the next block now; says so once per block.
    fn wants_next(&mut self) -> bool {
        let left = self.current.end - self.current.start;
        let wants = left <= self.low_water && self.next.is_none() && !self.fetching_ahead;
        self.fetching_ahead |= wants;
        wants
    }

    /// Adds a block, which must lie above all before it: a block given out twice would give two
    /// producers one identity, and one of them would lose records as duplicates.
    fn add(&mut self, block: Range<i64>) -> Result<(), NoId> {
        if block.is_empty() || block.start < self.end {
            return Err(NoId::Block { block, end: self.end });
        }
        self.end = block.end;
        assert!(self.next.is_none(), "a block is fetched only where there is no next one");
        self.next = Some(block);
        Ok(())
    }
}

impl ProducerIds {
    /// An empty stock.
    pub(super) fn new(port: Arc<dyn MetadataPort>) -> Arc<Self> {
        Arc::new(Self { port, stock: Mutex::default(), fetch: tokio::sync::Mutex::default() })
    }

    /// The next id.
    ///
    /// # Errors
    /// [`NoId`] where a new block is needed and cannot be had.
    pub(super) async fn next(self: &Arc<Self>) -> Result<ProducerId, NoId> {
        if let Some(id) = self.take() {
            return Ok(id);
        }
        loop {
            // Whoever comes second finds the block that the first has fetched.
            self.fetch_if_none().await?;
            if let Some(id) = self.take() {
                return Ok(id);
            }
        }
    }

    fn take(self: &Arc<Self>) -> Option<ProducerId> {
        let (id, ahead) = {
            let mut stock = self.stock();
            let id = stock.take()?;
            (id, stock.wants_next())
        };
        if ahead {
            let ids = self.clone();
            tokio::spawn(async move {
                if let Err(error) = ids.fetch_if_none().await {
                    tracing::warn!(%error, "the next block of producer ids is not to be had yet");
                }
                ids.stock().fetching_ahead = false;
            });
        }
        Some(id)
    }

    /// Fetches the next block unless one is there.
    async fn fetch_if_none(&self) -> Result<(), NoId> {
        let _one_at_a_time = self.fetch.lock().await;
        if self.stock().next.is_some() {
            return Ok(());
        }
        let block = self.port.allocate_producer_ids(BLOCK_TIMEOUT).await?;
        self.stock().add(block)
    }

    fn stock(&self) -> std::sync::MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "producer_ids_test.rs"]
mod tests;
