//! Whether many files are put on the disk one by one, in parallel, or by one sync of the volume.
//!
//! One `syncfs(2)` is by far the cheapest for hundreds of dirty files, and dear where others write to
//! the same volume. Which holds is measured, not configured.
//!
//! **Invariant:** pure: the caller measures and tells the time.

use std::time::{Duration, Instant};

/// Below this many files a sync of the volume is not considered.
const FILES_MIN: usize = 16;
/// Weight of a new measurement.
const WEIGHT: f64 = 0.2;
/// How long a volume whose sync was found dear is left alone; doubles each time.
const PAUSE_MIN: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// What syncs have cost lately.
#[derive(Debug)]
pub(super) struct SyncChoice {
    /// Seconds per file when several are synced at a time.
    file: Option<f64>,
    /// Files and seconds of a sync of the volume.
    volume: Option<(f64, f64)>,
    pause: Duration,
    /// When the volume is tried again although it was dear.
    retry_at: Option<Instant>,
}

impl Default for SyncChoice {
    fn default() -> Self {
        Self { file: None, volume: None, pause: PAUSE_MIN, retry_at: None }
    }
}

impl SyncChoice {
    /// Whether to sync the volume for `files` files that wait.
    pub(super) fn is_volume(&mut self, files: usize, now: Instant) -> bool {
        if files < FILES_MIN {
            return false;
        }
        let (Some(file), Some((of, took))) = (self.file, self.volume) else { return true };
        // Part of the cost is the journal's commit, however few files there are.
        let volume = took * (files as f64 / of).max(0.25);
        if volume < file * files as f64 {
            (self.pause, self.retry_at) = (PAUSE_MIN, None);
            return true;
        }
        let retry_at = *self.retry_at.get_or_insert(now + self.pause);
        if now < retry_at {
            return false;
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.retry_at = None;
        true
    }

    /// A file's sync took `took` while `active` ran at a time, itself included.
    pub(super) fn note_file(&mut self, took: Duration, active: usize) {
        let cost = took.as_secs_f64() / active.max(1) as f64;
        self.file = Some(self.file.map_or(cost, |old| old + WEIGHT * (cost - old)));
    }

    /// A sync of the volume took `took` for `files` files.
    pub(super) fn note_volume(&mut self, took: Duration, files: usize) {
        let new = (files.max(1) as f64, took.as_secs_f64());
        self.volume = Some(self.volume.map_or(new, |(of, old)| {
            // What the old one would have been for as many files, mixed with the new one.
            let scaled = old * (new.0 / of).max(0.25);
            (new.0, scaled + WEIGHT * (new.1 - scaled))
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn few_files_are_synced_one_by_one() {
        let mut choice = SyncChoice::default();
        choice.note_volume(Duration::ZERO, 100);
        choice.note_file(MS, 1);
        assert!(!choice.is_volume(FILES_MIN - 1, Instant::now()));
    }

    #[test]
    fn the_volume_is_tried_once_and_kept_while_it_is_cheaper() {
        let now = Instant::now();
        let mut choice = SyncChoice::default();
        choice.note_file(MS, 8);
        assert!(choice.is_volume(1_000, now));
        choice.note_volume(14 * MS, 1_000);
        assert!(choice.is_volume(1_000, now));
        // 20 files: 2.5 ms one by one, and a quarter of the volume's 14 ms.
        assert!(!choice.is_volume(20, now));
        assert!(choice.is_volume(100, now));
    }

    #[test]
    fn a_dear_volume_is_left_alone_for_longer_and_longer() {
        let mut now = Instant::now();
        let mut choice = SyncChoice::default();
        choice.note_file(MS, 8);
        choice.note_volume(Duration::from_secs(2), 100);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let begun = now;
            while !choice.is_volume(100, now) {
                now += Duration::from_secs(1);
            }
            choice.note_volume(Duration::from_secs(2), 100);
            pauses.push((now - begun).as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
        // The other writer has gone.
        for _ in 0..40 {
            choice.note_volume(2 * MS, 100);
        }
        assert!(choice.is_volume(100, now));
    }
}
