//! What `jackdaw bench` takes, and its help.

use clap::{Args, Subcommand, ValueEnum};

use crate::model::compression::Compression;

/// Most connections that a run may ask for.
const CONNECTIONS_MAX: u64 = 10_000;

/// The four measurements.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "All of them work with any cluster that speaks Kafka's protocol: name it with --bootstrap.\n\
    Units: k is 1,000 and KiB 1,024 bytes; MB is 1,000,000 bytes. Ctrl-C ends a run early, with its report."
)]
pub(in crate::cli) enum BenchCommand {
    /// Produce as fast as it goes, or at a fixed rate: throughput and latency.
    Produce(ProduceBench),
    /// Read as fast as it goes: throughput.
    Consume(ConsumeBench),
    /// Produce at a fixed rate and consume in the same process: latency from end to end.
    E2e(E2eBench),
    /// Write to every partition all the time: the longest time without an acknowledgement.
    Failover(FailoverBench),
}

/// What all that produce share.
#[derive(Clone, Debug, Args)]
pub(super) struct Common {
    /// The topic.
    pub(super) topic: String,
    /// Run before anything is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    pub(super) warmup: f64,
    /// Make the topic with so many partitions if it is not there.
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(1..))]
    pub(super) partitions: Option<i32>,
    /// Replicas of each partition of a topic that is made; the cluster's default if absent.
    #[arg(long, short = 'r', requires = "partitions", value_parser = clap::value_parser!(i16).range(1..))]
    pub(super) replication_factor: Option<i16>,
}

/// `jackdaw bench produce`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    jackdaw bench produce load --partitions 12 --replication-factor 3 --seconds 30 --warmup 5\n  \
    jackdaw bench produce load --rate 10000 --linger 0 --seconds 60 --json\n  \
    jackdaw bench produce load --connections 200 --batch-size 1 --linger 0 --record-size 100\n  \
    jackdaw bench produce load --bootstrap kafka:9092 --idempotent --compression lz4\n\n\
    Latency counts from when a record was due to its acknowledgement: at a fixed rate from its place in\n\
    the schedule, however late it was sent; without a rate from when its batch was made. Errors that a\n\
    new leader or a moment mends are retried for --timeout seconds. The exit code is 1 if a record failed\n\
    or nobody knows what became of it.")]
pub(in crate::cli) struct ProduceBench {
    #[command(flatten)]
    pub(super) common: Common,
    /// Stop after so many records (after the warm-up).
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) records: Option<u64>,
    /// Stop after so long (after the warm-up); 10 if neither this nor --records is given.
    #[arg(long, short = 's', value_parser = positive_seconds)]
    pub(super) seconds: Option<f64>,
    /// Size of each record's value.
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = bytes)]
    pub(super) record_size: usize,
    /// A batch is full at this size, before compression; it holds at least one record.
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = bytes)]
    pub(super) batch_size: usize,
    /// How long a batch waits for more records, at a fixed rate.
    #[arg(long, value_name = "MS", default_value_t = 5.0, value_parser = milliseconds)]
    pub(super) linger: f64,
    /// Send so many records per second, over all connections; as fast as it goes if absent.
    #[arg(long, value_name = "RECORDS/S", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Who must have a record before it counts: all, 1 (the leader), 0 (nobody).
    #[arg(long, default_value = "all", value_parser = ["all", "-1", "1", "0"])]
    pub(super) acks: String,
    /// No duplicates and no reordering by retries. Needs acks=all.
    #[arg(long)]
    pub(super) idempotent: bool,
    /// Independent producers, each with a connection to every broker that leads a partition.
    #[arg(long, short = 'c', value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) connections: u64,
    /// Requests under way per connection.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(super) in_flight: u64,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    pub(super) compression: Compression,
    /// Give up a connection that owes an answer for so long, and send again over another.
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(super) request_timeout: u64,
}

/// `jackdaw bench consume`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    jackdaw bench consume load                              all there is, to where it ends now\n  \
    jackdaw bench consume load --bytes 4000000000 --fetch-size 4MiB\n  \
    jackdaw bench consume load --from end --seconds 30 --connections 100 --json\n\n\
    Records are counted by the headers of their batches, and not decoded; bytes are those of whole batches,\n\
    as they are stored.")]
pub(in crate::cli) struct ConsumeBench {
    /// The topic.
    pub(super) topic: String,
    /// Stop after so many bytes, over all connections.
    #[arg(long, value_name = "BYTES")]
    pub(super) bytes: Option<u64>,
    /// Stop after so many records, over all connections.
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(super) records: Option<u64>,
    /// Stop after so long (after the warm-up).
    #[arg(long, short = 's', value_parser = positive_seconds)]
    pub(super) seconds: Option<f64>,
    /// beginning or end.
    #[arg(long, short = 'o', value_enum, default_value_t = Begin::Beginning)]
    pub(super) from: Begin,
    /// Most bytes of one partition in one answer.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = bytes)]
    pub(super) fetch_size: usize,
    /// Independent consumers, each of which reads everything.
    #[arg(long, short = 'c', value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub(super) connections: u64,
    /// Check the CRC of every batch, as applications' clients do.
    #[arg(long)]
    pub(super) check_crc: bool,
    /// Read so long before anything is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    pub(super) warmup: f64,
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Begin {
    Beginning,
    End,
}

impl Begin {
    /// As on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Beginning => "beginning",
            Self::End => "end",
        }
    }
}

/// `jackdaw bench e2e`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    jackdaw bench e2e load --partitions 12 --replication-factor 3 --rate 1000 --seconds 60 --warmup 5\n  \
    jackdaw bench e2e load --rate 10000 --record-size 100 --json\n\n\
    Each record carries when it was due. The consumer begins at the end of the topic and subtracts that from\n\
    when it has the record, by the same clock. acks=all.")]
pub(in crate::cli) struct E2eBench {
    #[command(flatten)]
    pub(super) common: Common,
    /// Records per second.
    #[arg(long, value_name = "RECORDS/S", default_value_t = 1000.0, value_parser = rate)]
    pub(super) rate: f64,
    /// How long (after the warm-up).
    #[arg(long, short = 's', default_value_t = 10.0, value_parser = positive_seconds)]
    pub(super) seconds: f64,
    /// Size of each record's value, at least 16.
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = bytes)]
    pub(super) record_size: usize,
    /// A batch is full at this size, before compression.
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = bytes)]
    pub(super) batch_size: usize,
    /// How long a batch waits for more records.
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = milliseconds)]
    pub(super) linger: f64,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    pub(super) compression: Compression,
    /// Give up a connection that owes an answer for so long, and send again over another.
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(super) request_timeout: u64,
}

/// `jackdaw bench failover`.
#[derive(Debug, Args)]
#[command(
    after_help = "It breaks nothing itself. Start it, and in another shell kill what leads, for instance\n  \
    jackdaw bench failover orders --partitions 12 --replication-factor 3 --seconds 30\n  \
    kill -9 $(cat target/cluster/node1/jackdaw.pid)\n\
    then read how long each partition took no records, and from when on. Kill once per run: only the longest\n\
    gap of each partition is told. A gap has at least the length of the interval.\n\n\
    For a node that falls silent instead (kill -STOP, a pulled cable) --request-timeout decides when the\n\
    client looks for another."
)]
pub(in crate::cli) struct FailoverBench {
    #[command(flatten)]
    pub(super) common: Common,
    /// A record for each partition so often. acks=all, idempotent.
    #[arg(long, value_name = "MS", default_value_t = 20.0, value_parser = interval)]
    pub(super) interval: f64,
    /// How long (after the warm-up); until Ctrl-C if absent.
    #[arg(long, short = 's', value_parser = positive_seconds)]
    pub(super) seconds: Option<f64>,
    /// Size of each record's value.
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = bytes)]
    pub(super) record_size: usize,
    /// Give up a connection that owes an answer for so long, and send again over another.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(super) request_timeout: u64,
}

fn interval(text: &str) -> Result<f64, String> {
    milliseconds(text)
        .and_then(|value| (value >= 1.0).then_some(value).ok_or_else(|| "at least 1 ms".to_owned()))
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=86_400.0).contains(&value) => Ok(value),
        _ => Err("0 to 86400 seconds".to_owned()),
    }
}

pub(super) fn positive_seconds(text: &str) -> Result<f64, String> {
    seconds(text).and_then(|value| {
        (value > 0.0).then_some(value).ok_or_else(|| "more than 0 seconds".to_owned())
    })
}

fn milliseconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=60_000.0).contains(&value) => Ok(value),
        _ => Err("0 to 60000 ms".to_owned()),
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.001..=1e8).contains(&value) => Ok(value),
        _ => Err("0.001 to 100000000 records per second".to_owned()),
    }
}

/// A number of bytes, with k, m, KiB, MiB as units.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "k" | "kB" | "KB" => 1_000,
        "K" | "KiB" => 1 << 10,
        "m" | "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        other => return Err(format!("{other} is no unit: k, KiB, MB, MiB")),
    };
    match digits.parse::<usize>() {
        Ok(count) if count <= (256 << 20) / unit => Ok(count * unit),
        _ => Err("a number of bytes up to 256 MiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_read_as_the_help_says() {
        assert_eq!(bytes("1024"), Ok(1024));
        assert_eq!(
            (bytes("16KiB"), bytes("1MB"), bytes("2M")),
            (Ok(16_384), Ok(1_000_000), Ok(2 << 20))
        );
        for wrong in ["", "k", "-1", "1.5", "10XB", "300MiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert!(rate("0").is_err() && rate("NaN").is_err() && rate("1e3") == Ok(1000.0));
        assert!(positive_seconds("0").is_err() && seconds("0").is_ok());
    }
}
