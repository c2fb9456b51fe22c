//! Whether a replica may vote, which one without its log must not.

/// What a replica is in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suffrage {
    /// It has no log and never had one: it votes once it was [initialized](crate::Group::initialize).
    #[default]
    New,
    /// It may have forgotten a vote: it takes no part before every other voter has told its term.
    Unproven,
    /// It had a log, which is gone: it receives the leader's, and neither votes nor campaigns.
    Refilling {
        /// The index up to which everything must be here before it votes again; `None` while no
        /// leader has told.
        end: Option<u64>,
    },
    /// It votes and may lead.
    Voter,
}

impl Suffrage {
    /// Whether the replica is without the log that it once had.
    pub fn is_refilling(self) -> bool {
        matches!(self, Self::Refilling { .. })
    }
}
