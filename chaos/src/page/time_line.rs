//! The drawing: throughput, latency, faults and each partition's leader over the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::escaped;
use super::series::{Series, end_us};
use crate::history::History;

/// Units of the drawing: where the time begins, how wide it is, how high a chart and a row are.
const LEFT: f64 = 130.0;
const WIDTH: f64 = 900.0;
const CHART: f64 = 110.0;
const ROW: f64 = 13.0;
const SPACE: f64 = 24.0;
/// Node ids with a colour of their own.
const COLOURS: i32 = 5;

/// The drawing as SVG.
pub(super) fn draw(history: &History) -> String {
    let series = Series::of(history);
    let mut drawing = Drawing::new(history);
    drawing.chart("acknowledged per second", &[("one", &series.throughput)], series.step_us);
    let latencies = [("one", &series.p50_ms), ("two", &series.p99_ms)];
    drawing.chart("latency, ms (p50, p99)", &latencies, series.step_us);
    drawing.faults(history);
    drawing.leaders(history);
    drawing.finish(history)
}

struct Drawing {
    body: String,
    /// Where the next part begins.
    y: f64,
    per_us: f64,
}

impl Drawing {
    fn new(history: &History) -> Self {
        Self { body: String::new(), y: SPACE, per_us: WIDTH / end_us(history).max(1) as f64 }
    }

    fn x(&self, at_us: u64) -> f64 {
        LEFT + at_us as f64 * self.per_us
    }

    fn text(&mut self, x: f64, y: f64, text: &str) {
        // A String takes every write, here and below.
        let _ = writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(text));
    }

    fn chart(&mut self, title: &str, lines: &[(&str, &Vec<f64>)], step_us: u64) {
        let values = lines.iter().flat_map(|(_, values)| values.iter());
        let max = values.copied().fold(1.0, f64::max);
        let (top, bottom) = (self.y, self.y + CHART);
        self.text(LEFT, top - 6.0, title);
        self.text(4.0, top + 10.0, &format!("{max:.0}"));
        self.text(4.0, bottom, "0");
        let _ = writeln!(
            self.body,
            "<path class=\"axis\" d=\"M{LEFT} {top}V{bottom}H{}\"/>",
            LEFT + WIDTH
        );
        for (class, values) in lines {
            let mut points = String::new();
            for (at, value) in values.iter().enumerate() {
                let (x, y) = (self.x(at as u64 * step_us), bottom - value / max * CHART);
                let _ = write!(points, "{x:.1},{y:.1} ");
            }
            let _ = writeln!(self.body, "<polyline class=\"{class}\" points=\"{points}\"/>");
        }
        self.y = bottom + SPACE * 1.5;
    }

    fn bar(&mut self, class: &str, (begin_us, end_us): (u64, u64), y: f64, title: &str) {
        let (x, width) = (self.x(begin_us), (end_us - begin_us) as f64 * self.per_us);
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{}\">\
             <title>{}</title></rect>",
            width.max(1.0),
            ROW - 3.0,
            escaped(title)
        );
    }

    /// A row for each kind of fault.
    fn faults(&mut self, history: &History) {
        let mut rows = BTreeMap::<&str, Vec<_>>::new();
        for span in &history.faults {
            rows.entry(&span.fault).or_default().push(span);
        }
        for (fault, spans) in rows {
            self.text(4.0, self.y + ROW - 4.0, fault);
            for span in spans {
                let times = (span.begin_us, span.end_us.unwrap_or(span.begin_us));
                let title = format!("{fault} of node(s) {:?}", span.nodes);
                self.bar("fault", times, self.y, &title);
            }
            self.y += ROW;
        }
        self.y += SPACE;
    }

    /// A row for each partition whose leaders are known.
    fn leaders(&mut self, history: &History) {
        let partitions = tenures(history);
        let nodes: BTreeSet<i32> = partitions.values().flatten().map(|tenure| tenure.0).collect();
        for (at, node) in nodes.into_iter().enumerate() {
            let x = LEFT + at as f64 * 80.0;
            let _ = writeln!(
                self.body,
                "<rect class=\"{}\" x=\"{x}\" y=\"{:.1}\" width=\"10\" height=\"10\"/>",
                colour(node),
                self.y
            );
            self.text(x + 15.0, self.y + 9.0, &format!("node {node}"));
        }
        self.y += SPACE;
        for (partition, tenures) in partitions {
            self.text(4.0, self.y + ROW - 4.0, &format!("leader of {partition}"));
            for (node, times) in tenures {
                self.bar(&colour(node), times, self.y, &format!("node {node}"));
            }
            self.y += ROW;
        }
    }

    fn finish(self, history: &History) -> String {
        let mut bands = String::new();
        for span in &history.faults {
            let (x, end) = (self.x(span.begin_us), self.x(span.end_us.unwrap_or(span.begin_us)));
            let _ = writeln!(
                bands,
                "<rect class=\"band\" x=\"{x:.1}\" y=\"{SPACE}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                end - x,
                CHART * 2.0 + SPACE * 1.5
            );
        }
        let seconds = end_us(history) as f64 / 1e6;
        format!(
            "<svg viewBox=\"0 0 {:.0} {:.0}\" role=\"img\">\n<title>{seconds:.0} seconds</title>\n\
             {bands}{}<text x=\"{LEFT}\" y=\"{y:.0}\">0 s</text>\
             <text x=\"{:.0}\" y=\"{y:.0}\" text-anchor=\"end\">{seconds:.0} s</text>\n</svg>\n",
            LEFT + WIDTH + 10.0,
            self.y + SPACE,
            self.body,
            LEFT + WIDTH,
            y = self.y + ROW,
        )
    }
}

/// The class of a node's colour.
fn colour(node: i32) -> String {
    format!("n{}", (node - 1).rem_euclid(COLOURS) + 1)
}

/// A node, and from when to when it answered as a leader, µs.
type Tenure = (i32, (u64, u64));

/// By partition, which node answered as its leader and when.
fn tenures(history: &History) -> BTreeMap<i32, Vec<Tenure>> {
    let mut answers: Vec<_> = history.answers.iter().collect();
    answers.sort_unstable_by_key(|answer| answer.first_us);
    let mut partitions = BTreeMap::<i32, Vec<Tenure>>::new();
    for answer in answers {
        let end_us = answer.last_us.max(answer.first_us);
        let tenures = partitions.entry(answer.partition).or_default();
        match tenures.last_mut() {
            Some((node, times)) if *node == answer.node => times.1 = times.1.max(end_us),
            _ => tenures.push((answer.node, (answer.first_us, end_us))),
        }
    }
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Answer, Event};

    #[test]
    fn answers_of_one_leader_are_one_tenure() {
        let mut history = History::default();
        for (node, first_us, last_us) in [(1, 10, 20), (2, 50, 40), (1, 30, 35)] {
            let (partition, epoch, high_watermark) = (3, 1, 0);
            let answer = Answer { node, partition, epoch, high_watermark, first_us, last_us };
            history.push(Event::Answer(answer));
        }
        assert_eq!(tenures(&history)[&3], [(1, (10, 35)), (2, (50, 50))]);
    }
}
