//! The command line's shape and its help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::bench::BenchCommand;
use super::client::Client;
use super::consume::Start;
use super::format::Template;
use crate::model::compression::Compression;

/// Addresses tried where none is given: those of the example cluster.
const BOOTSTRAP: &str = "127.0.0.1:9092,127.0.0.1:9093,127.0.0.1:9094";
const ADMIN: &str = "127.0.0.1:8092,127.0.0.1:8093,127.0.0.1:8094";

/// A Kafka-protocol broker whose partitions are Raft groups, and the tools for it.
#[derive(Debug, Parser)]
#[command(
    name = "jackdaw",
    version,
    about = "A Kafka-protocol broker whose partitions are Raft groups, and the tools for it",
    after_help = "Examples:\n  \
        jackdaw serve                                   a broker on 127.0.0.1:9092, data in ./data\n  \
        jackdaw topic create orders --partitions 6\n  \
        echo hello | jackdaw produce orders\n  \
        jackdaw consume orders --from beginning --until-end\n  \
        jackdaw cluster status"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) connect: Connect,
}

/// How to reach the cluster, and how to print.
#[derive(Clone, Debug, Args)]
pub(super) struct Connect {
    /// Brokers to ask first, HOST:PORT with commas between.
    #[arg(
        long, short = 'b', global = true, value_name = "ADDRESSES", default_value = BOOTSTRAP,
        value_delimiter = ',', hide_default_value = true
    )]
    pub(super) bootstrap: Vec<String>,
    /// Admin endpoints to ask first (cluster status), HOST:PORT with commas between.
    #[arg(
        long, global = true, value_name = "ADDRESSES", default_value = ADMIN,
        value_delimiter = ',', hide_default_value = true
    )]
    pub(super) admin: Vec<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Give up after so many seconds.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds)]
    pub(super) timeout: f64,
}

impl Connect {
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }

    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.bootstrap, self.patience()).await?)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 86_400.0 => Ok(value),
        _ => Err("more than 0 and at most 86400 seconds".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a node.
    Serve(ServeArgs),
    /// Make, list, describe and delete topics, and their oldest records; elect their leaders.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Produce lines from standard input or a file, one record each.
    Produce(ProduceArgs),
    /// Print records.
    Consume(ConsumeArgs),
    /// Measure a cluster: throughput, latency, time without writes.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// List and describe consumer groups.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Look at the cluster.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Look at a data folder.
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    jackdaw serve                                         one node, 127.0.0.1:9092, ./data\n  \
    jackdaw serve --config config/three-node/node1.toml\n  \
    jackdaw serve --set listeners.kafka=127.0.0.1:19092 --set data_dir=/tmp/jackdaw")]
pub(super) struct ServeArgs {
    /// Configuration file; config/node.toml shows every key.
    #[arg(long, short = 'c', value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Override one key; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) overrides: Vec<String>,
    /// Check the configuration and stop.
    #[arg(long)]
    pub(super) check: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
    /// Make a topic.
    #[command(after_help = "Example:\n  jackdaw topic create orders --partitions 6 \
        --replication-factor 3 --config retention.ms=86400000")]
    Create {
        /// Its name.
        name: String,
        /// Partitions; the cluster's default if absent.
        #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Replicas of each partition; the cluster's default if absent.
        #[arg(long, short = 'r', value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// A topic setting; may be given more than once.
        #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
    },
    /// List topics.
    List,
    /// Show a topic's partitions with leaders, replicas and offsets.
    Describe {
        /// Its name.
        name: String,
    },
    /// Delete the oldest records of a topic.
    #[command(after_help = "Examples:\n  \
        jackdaw topic delete-records orders --before end\n  \
        jackdaw topic delete-records orders --partition 3 --before 1000")]
    DeleteRecords {
        /// Its name.
        name: String,
        /// The first offset to keep, or `end`: delete everything that is committed now.
        #[arg(long, value_name = "OFFSET", value_parser = before)]
        before: i64,
        /// In this partition only; in all of them if absent.
        #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
        partition: Option<i32>,
    },
    /// Have the preferred replica of each partition lead it, the first of those listed.
    ///
    /// Nodes do so by themselves a while after a restart; this does it now.
    #[command(after_help = "Examples:\n  \
        jackdaw topic elect-leaders                        every partition of every topic\n  \
        jackdaw topic elect-leaders orders\n  \
        jackdaw topic elect-leaders orders --partition 3")]
    ElectLeaders {
        /// A topic; all of them if absent.
        name: Option<String>,
        /// In this partition only; in all of them if absent.
        #[arg(long, short = 'p', requires = "name", value_parser = clap::value_parser!(i32).range(0..))]
        partition: Option<i32>,
    },
    /// Delete a topic and its records.
    Delete {
        /// Its name.
        name: String,
    },
}

/// An offset, −1 for the end.
fn before(text: &str) -> Result<i64, String> {
    match text.parse() {
        _ if text == "end" => Ok(-1),
        Ok(offset) if offset >= 0 => Ok(offset),
        _ => Err("an offset from 0 on, or `end`".to_owned()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "write it as KEY=VALUE".to_owned())
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    echo hello | jackdaw produce greetings\n  \
    jackdaw produce users --file users.tsv --key-separator '\\t' --compression zstd")]
pub(super) struct ProduceArgs {
    /// The topic; made if it is not there and the cluster allows that.
    pub(super) topic: String,
    /// Read lines from this file instead of standard input.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// What stands between key and value in a line; \t is a tab. Without it records have no key.
    #[arg(long, short = 'k', value_name = "TEXT")]
    pub(super) key_separator: Option<String>,
    /// Who must have the record before it counts: all (a majority, on disk), 1 (the leader), 0.
    #[arg(long, default_value = "all", value_parser = ["all", "-1", "1", "0"])]
    pub(super) acks: String,
    /// Send everything to this partition instead of choosing by key.
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: Option<i32>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    pub(super) compression: Compression,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    jackdaw consume orders --from beginning --until-end\n  \
    jackdaw consume orders --from timestamp:2026-01-31T12:00:00Z --format '%p %o %k %v\\n'\n  \
    jackdaw consume orders --group billing\n\n\
    Format: %t topic, %p partition, %o offset, %T timestamp in ms, %k key, %v value, %h headers, \
    %% a percent sign, \\n newline, \\t tab")]
pub(super) struct ConsumeArgs {
    /// The topic.
    pub(super) topic: String,
    /// Where to begin: beginning, end, an offset, or timestamp:T (ms since 1970, or a date as in
    /// 2026-01-31T12:00:00Z). With --group it holds where the group has committed nothing.
    #[arg(long, short = 'o', default_value = "end")]
    pub(super) from: Start,
    /// Read as a member of this group: partitions are shared, offsets committed.
    #[arg(long, short = 'g', conflicts_with = "partition")]
    pub(super) group: Option<String>,
    /// Read this partition only.
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: Option<i32>,
    /// Stop after so many records.
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(super) max_messages: Option<u64>,
    /// Stop where the partitions end now.
    #[arg(long, short = 'e')]
    pub(super) until_end: bool,
    /// How a record is printed.
    #[arg(long, short = 'F', default_value = "%v\\n")]
    pub(super) format: Template,
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// List the cluster's groups.
    List,
    /// Show a group's members, their partitions, and how far behind it is.
    Describe {
        /// Its name.
        group: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Show nodes, the metadata leader, every partition's leader, replicas and high watermark, and of
    /// those that lack a leader or a replica why, and what would repair them.
    #[command(after_help = "Examples:\n  \
        jackdaw cluster status\n  \
        jackdaw cluster status --json --admin 127.0.0.1:8092")]
    Status,
}

#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Check every CRC, offset and frame of a stopped node's data folder, and print per partition
    /// the range and a hash of its committed records, so that replicas can be compared.
    Verify {
        /// A node's data folder.
        data_dir: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_reach_the_example_cluster() {
        let arguments = Arguments::parse_from(["jackdaw", "cluster", "status", "--json"]);
        assert_eq!(arguments.connect.bootstrap.len(), 3);
        assert!(arguments.connect.json);
        assert!(Arguments::try_parse_from(["jackdaw", "topic", "create", "t", "-p", "0"]).is_err());
        assert!(Arguments::try_parse_from(["jackdaw", "topic", "list", "--timeout", "0"]).is_err());
        assert_eq!((before("end"), before("7")), (Ok(-1), Ok(7)));
        assert!(before("-1").is_err() && before("").is_err());
        let elect = ["jackdaw", "topic", "elect-leaders", "--partition", "1"];
        assert!(Arguments::try_parse_from(elect).is_err(), "a partition of which topic?");
    }
}
