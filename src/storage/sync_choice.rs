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
/// A volume whose sync was found dear is left alone for so many times what one takes; twice as long each time that it
/// is found so again. It may have been one slow moment, as when hundreds of groups elect at once: then thousands of
/// files wait, and syncing them one by one is what takes long.
const PAUSE_FACTOR: f64 = 4.0;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// What syncs have cost lately.
#[derive(Debug, Default)]
pub(super) struct SyncChoice {
    /// Seconds per file when several are synced at a time.
    file: Option<f64>,
    volume: Line,
    /// How often in a row it was tried and found dear.
    dear: u32,
    /// When the volume is tried again although it was dear.
    retry_at: Option<Instant>,
}

impl SyncChoice {
    /// Whether to sync the volume for `files` files that wait.
    pub(super) fn is_volume(&mut self, files: usize, now: Instant) -> bool {
        if files < FILES_MIN {
            return false;
        }
        let volume = self.volume.at(files as f64);
        let (Some(file), Some(volume)) = (self.file, volume) else { return true };
        if volume < file * files as f64 {
            (self.dear, self.retry_at) = (0, None);
            return true;
        }
        let retry_at = *self.retry_at.get_or_insert_with(|| now + pause(volume, self.dear));
        if now < retry_at {
            return false;
        }
        self.dear += 1;
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
        self.volume.note(files.max(1) as f64, took.as_secs_f64());
    }
}

/// After a sync of the volume that takes so many seconds, and was dear as often before.
fn pause(volume: f64, dear: u32) -> Duration {
    let seconds = PAUSE_FACTOR * volume * 2_f64.powi(dear.min(31) as i32);
    Duration::from_secs_f64(seconds.min(PAUSE_MAX.as_secs_f64())).max(PAUSE_MIN)
}

/// Seconds of a sync of the volume by its files: a journal's commit, and something per file. Fitted
/// to what was measured, of which older counts less.
#[derive(Debug, Default)]
struct Line {
    weight: f64,
    files: f64,
    seconds: f64,
    files_squared: f64,
    product: f64,
}

impl Line {
    fn note(&mut self, files: f64, seconds: f64) {
        let keep = 1.0 - WEIGHT;
        self.weight = self.weight * keep + 1.0;
        self.files = self.files * keep + files;
        self.seconds = self.seconds * keep + seconds;
        self.files_squared = self.files_squared * keep + files * files;
        self.product = self.product * keep + files * seconds;
    }

    fn at(&self, files: f64) -> Option<f64> {
        if self.weight == 0.0 {
            return None;
        }
        let (mean_files, mean) = (self.files / self.weight, self.seconds / self.weight);
        let spread = self.files_squared / self.weight - mean_files * mean_files;
        let together = self.product / self.weight - mean_files * mean;
        // Neither part is below zero; without any spread all of it is the fixed part.
        let slope = if spread > 1.0 { together / spread } else { 0.0 };
        let slope = slope.clamp(0.0, mean / mean_files);
        Some((mean + slope * (files - mean_files)).max(0.0))
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
        // 20 files take 2.5 ms one by one, and the volume at least what its smallest round took.
        choice.note_volume(6 * MS, 100);
        assert!(!choice.is_volume(20, now));
        assert!(choice.is_volume(100, now));
    }

    #[test]
    fn a_few_dear_rounds_do_not_speak_for_the_large_ones() {
        let mut choice = SyncChoice::default();
        choice.note_file(MS, 8);
        for _ in 0..50 {
            choice.note_volume(10 * MS, 20);
        }
        choice.note_volume(20 * MS, 1_000);
        choice.note_volume(10 * MS, 20);
        assert!(choice.is_volume(1_000, Instant::now()));
    }

    #[test]
    fn one_slow_moment_does_not_speak_for_the_next() {
        let now = Instant::now();
        let mut choice = SyncChoice::default();
        choice.note_file(MS, 8);
        choice.note_volume(100 * MS, 100);
        assert!(!choice.is_volume(100, now));
        assert!(!choice.is_volume(100, now + 399 * MS));
        assert!(choice.is_volume(100, now + 401 * MS));
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
        assert_eq!(pauses, [8, 16, 32, 64, 128, 256, 512, 600]);
        // The other writer has gone.
        for _ in 0..40 {
            choice.note_volume(2 * MS, 100);
        }
        assert!(choice.is_volume(100, now));
    }
}
