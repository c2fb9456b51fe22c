//! Throughput and latency of acknowledged sends by time.

use crate::history::{History, Outcome};

/// Steps of the time line, at most.
const STEPS_MAX: u64 = 400;
/// The shortest step, µs.
const STEP_MIN_US: u64 = 100_000;

/// Figures of equal steps of time.
#[derive(Debug, PartialEq)]
pub(super) struct Series {
    /// How long a step is, µs.
    pub(super) step_us: u64,
    /// Sends acknowledged in the step, per second.
    pub(super) throughput: Vec<f64>,
    /// Half of them took no longer, ms.
    pub(super) p50_ms: Vec<f64>,
    /// 99 of 100 of them took no longer, ms.
    pub(super) p99_ms: Vec<f64>,
}

/// When the last operation of a history ended, µs.
pub(super) fn end_us(history: &History) -> u64 {
    let sends = history.sends.iter().map(|send| send.end_us);
    let faults = history.faults.iter().map(|span| span.end_us.unwrap_or(span.begin_us));
    sends.chain(faults).max().unwrap_or(0)
}

impl Series {
    pub(super) fn of(history: &History) -> Self {
        let end_us = end_us(history);
        let step_us = (end_us / STEPS_MAX).max(STEP_MIN_US);
        let mut steps = vec![Vec::new(); (end_us / step_us) as usize + 1];
        for send in &history.sends {
            if matches!(send.outcome, Outcome::Ok { .. }) {
                steps[(send.end_us / step_us) as usize]
                    .push((send.end_us - send.begin_us) as f64 / 1e3);
            }
        }
        steps.iter_mut().for_each(|times| times.sort_unstable_by(f64::total_cmp));
        let rank = |share: f64| {
            let at = |times: &Vec<f64>| times.get((times.len() as f64 * share) as usize).copied();
            steps.iter().map(|times| at(times).unwrap_or(0.0)).collect()
        };
        let throughput =
            steps.iter().map(|times| times.len() as f64 * 1e6 / step_us as f64).collect();
        Self { step_us, throughput, p50_ms: rank(0.5), p99_ms: rank(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Event, Send};

    #[test]
    fn sends_count_where_they_are_acknowledged() {
        let mut history = History::default();
        for (n, (begin_us, end_us)) in
            [(90_000, 110_000), (100_000, 140_000)].into_iter().enumerate()
        {
            history.push(Event::Send(Send {
                producer: "p".into(),
                n: n as u64,
                value: n.to_string(),
                key: String::new(),
                partition: None,
                begin_us,
                end_us,
                outcome: Outcome::Ok { partition: 0, offset: 0 },
            }));
        }
        let series = Series::of(&history);
        assert_eq!((series.step_us, series.throughput), (100_000, vec![0.0, 20.0]));
        assert_eq!((series.p50_ms, series.p99_ms), (vec![0.0, 40.0], vec![0.0, 40.0]));
    }
}
