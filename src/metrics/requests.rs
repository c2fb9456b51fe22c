//! Requests by API: how many, how many failed, how long they took.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

#[derive(Clone, Debug)]
struct ApiMetrics {
    count: Counter,
    errors: Counter,
    seconds: Histogram,
}

type Seconds = Family<ApiLabel, Histogram, fn() -> Histogram>;

/// Requests by API. The first request of an API makes its series.
#[derive(Debug)]
pub struct RequestMetrics {
    names: BTreeMap<i16, &'static str>,
    counts: Family<ApiLabel, Counter>,
    errors: Family<ApiLabel, Counter>,
    seconds: Seconds,
}

/// 0.1 ms to 6.5 s in steps of two: from an answer out of memory to a long poll.
fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_1, 2.0, 17))
}

impl RequestMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let names = kafka_wire::API_DESCRIPTORS
            .iter()
            .map(|api| (api.api_key.value(), api.request.name))
            .map(|(key, name)| (key, name.strip_suffix("Request").unwrap_or(name)))
            .collect();
        let counts = Family::<ApiLabel, Counter>::default();
        let errors = Family::<ApiLabel, Counter>::default();
        let seconds: Seconds = Family::new_with_constructor(buckets);
        registry.register("requests", "Requests answered", counts.clone());
        registry.register("request_errors", "Requests answered with an error", errors.clone());
        registry.register_with_unit(
            "request_duration",
            "From the whole request read to its answer handed to the socket",
            Unit::Seconds,
            seconds.clone(),
        );
        Self { names, counts, errors, seconds }
    }

    fn of(&self, api_key: i16) -> ApiMetrics {
        let label = ApiLabel { api: self.names.get(&api_key).copied().unwrap_or("other") };
        ApiMetrics {
            count: self.counts.get_or_create(&label).clone(),
            errors: self.errors.get_or_create(&label).clone(),
            seconds: self.seconds.get_or_create(&label).clone(),
        }
    }

    /// Counts one answered request of the API with this key.
    pub fn observe(&self, api_key: i16, took: Duration, failed: bool) {
        let api = self.of(api_key);
        api.count.inc();
        if failed {
            api.errors.inc();
        }
        api.seconds.observe(took.as_secs_f64());
    }
}
