//! How many files the process may have open: a few per partition and one per connection.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Below this a node with some hundred partitions and clients runs out.
const FEW: u64 = 4_096;

/// Raises the limit as far as the system lets a process raise its own, and warns where that is low.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "the limit of open files stays as it was");
    }
    // `None`: unlimited.
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < FEW) {
        tracing::warn!(
            limit,
            "few files may be open, one is needed per connection and a few per partition: raise it \
             with `ulimit -Hn` or, under systemd, LimitNOFILE"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_system_allows() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
