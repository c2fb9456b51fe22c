//! Clients that were told to look for a leader elsewhere: a node that stops serves on until they have found it.
//!
//! A client whose connection ends before it knows where its partitions have moved to looks for them on its own time:
//! librdkafka, up to a second later.

use std::time::Duration;

use tokio::sync::watch;

/// Without such an answer for so long, all have moved: clients that write or read get theirs within milliseconds,
/// and then ask who leads, by default 100 ms later (`retry.backoff.ms`).
const QUIET: Duration = Duration::from_millis(150);

/// Wakes whenever a client is told so.
#[derive(Debug, Default)]
pub struct Redirects(watch::Sender<()>);

impl Redirects {
    /// A client was told that this node does not lead what it asked for.
    pub(crate) fn note(&self) {
        self.0.send_replace(());
    }

    /// Resolves once no client was told so for a while from now on.
    pub async fn end(&self) {
        let mut told = self.0.subscribe();
        told.mark_unchanged();
        while tokio::time::timeout(QUIET, told.changed()).await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_once_nobody_is_told_any_more() {
        let redirects = Arc::new(Redirects::default());
        redirects.note();
        let begun = tokio::time::Instant::now();
        redirects.end().await;
        assert_eq!(begun.elapsed().as_millis() / 10, 15, "what was before does not count");

        let begun = tokio::time::Instant::now();
        let ended = tokio::spawn({
            let redirects = redirects.clone();
            async move { redirects.end().await }
        });
        for _ in 0..5 {
            tokio::time::sleep(QUIET / 2).await;
            redirects.note();
        }
        assert!(!ended.is_finished());
        ended.await.unwrap();
        assert_eq!(begun.elapsed().as_millis() / 10, 52, "150 ms after the last, at 375 ms");
    }
}
