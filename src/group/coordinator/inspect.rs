//! What can be asked of a coordinator without changing anything.

use super::super::{GroupError, GroupListing, GroupSummary, OffsetEntry, StoreError};
use super::groups::validate_stored_id;
use super::{Coordinator, lock};

impl Coordinator {
    /// All of a group's committed offsets, none of a group that does not exist.
    ///
    /// The store is asked even about a group that is not in memory: a coordinator that was deposed
    /// without having noticed must not tell a member that nothing is committed, since that member
    /// would then skip to the end or start all over.
    ///
    /// # Errors
    /// [`GroupError::NotCoordinator`], also of one that is cut off; [`GroupError::CoordinatorLoadInProgress`] while this node cannot
    /// make sure that it still coordinates. That is the one code on which clients ask again:
    /// librdkafka takes COORDINATOR_NOT_AVAILABLE here as final, and its consumer stands still.
    pub async fn offsets(&self, group: &str) -> Result<Vec<OffsetEntry>, GroupError> {
        validate_stored_id(group)?;
        let term = self.0.active_term()?;
        let offsets = self.0.unless_cut_off(self.0.store.offsets(term, group.into())).await?;
        offsets.map_err(|error| match error {
            StoreError::NotCoordinator => GroupError::NotCoordinator,
            StoreError::Unavailable | StoreError::Uncertain => {
                GroupError::CoordinatorLoadInProgress
            }
        })
    }

    /// The group in full, `None` if there is none.
    ///
    /// # Errors
    /// If this node does not coordinate.
    pub fn describe(&self, group: &str) -> Result<Option<GroupSummary>, GroupError> {
        let shard = lock(self.0.shard_of(group));
        self.0.current_term()?;
        Ok(shard.get(group).map(|slot| slot.group.summary()))
    }

    /// The groups that this node coordinates, in no particular order: none if it coordinates none.
    ///
    /// # Errors
    /// [`GroupError::CoordinatorLoadInProgress`].
    pub fn list(&self) -> Result<Vec<GroupListing>, GroupError> {
        match self.0.current_term() {
            Err(GroupError::NotCoordinator) => return Ok(Vec::new()),
            outcome => outcome?,
        };
        let mut listings = Vec::new();
        for shard in &self.0.shards {
            listings.extend(lock(shard).values().map(|slot| slot.group.listing()));
        }
        Ok(listings)
    }
}
