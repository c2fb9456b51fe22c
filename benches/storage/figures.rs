//! Figures and how they are printed.

use std::time::Duration;

/// What a figure has to be.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// Prints figures as they are known, and remembers which ones are not what they have to be.
pub(crate) struct Report {
    json: bool,
    scenario: &'static str,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, scenario: "", missed: Vec::new() }
    }

    pub(crate) fn begin(&mut self, scenario: &'static str, what: &str) {
        self.scenario = scenario;
        if !self.json {
            println!("\n{scenario}: {what}");
        }
    }

    /// A figure in some unit.
    pub(crate) fn figure(&self, name: &str, value: f64, unit: &str) {
        if self.json {
            println!(
                r#"{{"scenario":"{}","figure":"{name}","value":{value},"unit":"{unit}"}}"#,
                self.scenario
            );
        } else {
            println!("  {name:<52} {} {unit}", human(value));
        }
    }

    /// A figure that has a bar.
    pub(crate) fn against(&mut self, bar: Bar, name: &str, value: f64, unit: &str) {
        let (bar, is_met) = match bar {
            Bar::AtLeast(bar) => (bar, value >= bar),
            Bar::AtMost(bar) => (bar, value <= bar),
        };
        self.figure(&format!("{name} (bar: {bar})"), value, unit);
        if !is_met {
            self.missed.push(format!("{}: {name}: {value:.3} {unit}, bar {bar}", self.scenario));
        }
    }

    /// The figures that have missed their bars.
    pub(crate) fn missed(&self) -> &[String] {
        &self.missed
    }

    pub(crate) fn micros(&self, name: &str, value: Duration) {
        self.figure(name, value.as_secs_f64() * 1e6, "µs");
    }
}

fn human(value: f64) -> String {
    match value.abs() {
        v if v >= 1_000.0 => format!("{value:>12.0}"),
        v if v >= 10.0 => format!("{value:>12.1}"),
        _ => format!("{value:>12.3}"),
    }
}

/// The middle one.
pub(crate) fn median<T: PartialOrd + Copy>(values: &mut [T]) -> T {
    percentile(values, 50.0)
}

pub(crate) fn percentile<T: PartialOrd + Copy>(values: &mut [T], percent: f64) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).expect("no NaN was measured"));
    values[((values.len() - 1) as f64 * percent / 100.0).round() as usize]
}
