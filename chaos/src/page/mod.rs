//! A history as one HTML page without anything outside of it: what was found, and a time line of throughput,
//! latency, faults and leaders.
//!
//! ```text
//! mod        the document: verdict, figures, findings, table of faults
//! time_line  the drawing (SVG)
//! series     throughput and latency by time
//! ```

mod series;
mod time_line;

use std::fmt::Write as _;

use crate::history::History;
use crate::run::Report;

const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn page(report: &Report, history: &History) -> String {
    let verdict = if report.passed { "passed" } else { "failed" };
    let mut text = String::new();
    // A String takes every write.
    let _ = write!(
        text,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{verdict}: {command}</title>\n<style>\n{STYLE}</style>\n\
         <h1 class=\"{verdict}\">{verdict}</h1>\n<p><code>{command}</code></p>\n\
         <p>{sent} sends: {acknowledged} acknowledged, {refused} refused, {unknown} unknown. \
         Time to the acknowledgement: {latency}.</p>\n",
        command = escaped(&report.repeat),
        sent = report.sent,
        acknowledged = report.acknowledged,
        refused = report.refused,
        unknown = report.unknown,
        latency = report.latency_ms,
    );
    for finding in &report.findings {
        let _ = writeln!(text, "<pre>{}</pre>", escaped(&finding.to_string()));
    }
    for missed in &report.missed {
        let _ = writeln!(text, "<pre>{}</pre>", escaped(missed));
    }
    text += &time_line::draw(history);
    text += &faults(report);
    text
}

fn faults(report: &Report) -> String {
    let mut text =
        "<table>\n<tr><th>fault<th>nodes<th>begin, s<th>lasts, s<th>longest write gap, ms\
                    <th>acknowledged meanwhile\n"
            .to_owned();
    for fault in &report.faults {
        let gap = fault.write_gap_ms.map_or_else(String::new, |ms| format!("{ms:.0}"));
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{:?}<td>{:.1}<td>{:.1}<td>{gap}<td>{}",
            escaped(&fault.fault),
            fault.nodes,
            fault.begin_ms / 1e3,
            fault.duration_ms / 1e3,
            fault.acknowledged
        );
    }
    text + "</table>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::Expectation;
    use crate::history::Event;

    #[test]
    fn a_page_holds_findings_and_refers_to_nothing_outside() {
        let mut history = History::default();
        let fault = "kill <leader>".to_owned();
        history.push(Event::FaultBegin {
            fault: fault.clone(),
            nodes: vec![2],
            majority: true,
            write_gap_max_us: None,
            at_us: 1_000_000,
        });
        history.push(Event::FaultEnd { fault, at_us: 2_000_000 });
        let expected = Expectation { acknowledged_min: 1, acknowledged_in_fault_min: 0 };
        let page = page(&Report::of(&history, false, expected), &history);
        assert!(page.contains("<h1 class=\"failed\">"), "{page}");
        assert!(page.contains("too_few_acknowledged"), "{page}");
        assert!(page.contains("kill &lt;leader&gt;") && !page.contains("kill <leader>"));
        for outside in ["http:", "https:", "src=", "href=", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
