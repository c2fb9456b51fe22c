//! Shares the process's file descriptors out: to segments, to connections, and to all the rest.
//!
//! ```text
//! limit (raised to what the process may have)
//! └─ others: sled, listeners, peers, folders being synced, spares of the storage │ segments │ connections
//! ```
//! **Invariant:** connections leave descriptors for segments and for syncs, however many clients come.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::NodeConfig;

/// Most open segments that nobody asked for: each has an index mapped, of which Linux allows a process
/// 65,530 (`vm.max_map_count`).
const SEGMENTS_MAX: usize = 16_384;

/// The configuration, with the numbers of segments and connections that may be open at a time.
pub(super) fn shared_out(mut config: NodeConfig) -> NodeConfig {
    let limit = raise_limit();
    let wanted = (config.storage.open_segments_max, config.limits.connections_max);
    let (segments, connections) = share(limit, wanted.0, wanted.1);
    if connections < wanted.1 || segments < wanted.0 {
        tracing::warn!(
            limit,
            segments,
            connections,
            "the limit of open files is too low for what is configured: raise it (`ulimit -Hn`)"
        );
    }
    config.storage.open_segments_max = segments;
    config.limits.connections_max = connections;
    config
}

/// Segments and connections that may be open; for segments, 0 leaves the number to us.
fn share(limit: usize, segments: usize, connections: usize) -> (usize, usize) {
    let others = (limit / 8).clamp(40, 1_024);
    let left = limit.saturating_sub(others).max(2);
    let segments = match segments {
        0 => left.saturating_sub(connections).max(left / 4).min(SEGMENTS_MAX),
        wanted => wanted.min(left / 4 * 3),
    };
    let segments = segments.max(1);
    (segments, connections.min(left - segments))
}

/// Takes all the descriptors that the system grants; how many there are.
fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_descriptors_are_enough_for_all_and_few_are_shared() {
        assert_eq!(share(1 << 20, 0, 10_000), (SEGMENTS_MAX, 10_000));
        assert_eq!(share(usize::MAX, 0, 10_000), (SEGMENTS_MAX, 10_000));
        assert_eq!(share(20_000, 0, 10_000), (8_976, 10_000));
        assert_eq!(share(1_024, 0, 10_000), (224, 672));
        assert_eq!(share(1_024, 0, 100), (796, 100));
        assert_eq!(share(1_024, 50, 10_000), (50, 846));
        assert_eq!(share(1_024, 100_000, 10_000), (672, 224));
    }

    #[test]
    fn the_parts_are_never_more_than_the_whole() {
        for limit in 0..3_000 {
            for wanted in [0, 1, 10, 1_000, 1_000_000] {
                let (segments, connections) = share(limit, wanted, 10_000);
                assert!(segments > 0 && connections > 0, "{limit} {wanted}");
                assert!(limit < 48 || segments + connections + 40 <= limit, "{limit} {wanted}");
            }
        }
    }
}
