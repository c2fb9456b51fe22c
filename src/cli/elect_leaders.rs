//! `jackdaw topic elect-leaders`: leadership goes to the preferred replicas.

use kafka_wire::elect_leaders_request::TopicPartitions;
use kafka_wire::elect_leaders_response::PartitionResult;
use kafka_wire::{ElectLeadersRequest, ElectLeadersResponse};
use kafka_wire_core::StrBytes;
use serde::Serialize;

use super::args::Connect;
use super::client::{Client, check};
use super::output::{Table, print, print_json};
use crate::protocol::ErrorCode;

/// What became of one partition.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Outcome {
    topic: String,
    partition: i32,
    #[serde(skip)]
    code: i16,
    /// Whether the preferred replica leads now.
    elected: bool,
    /// Kafka's name of the reason why no election was held.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Elects in one partition of a topic, in all of them, or in every partition there is.
///
/// # Errors
/// A refusal of the whole, or a partition that needed an election and had none.
pub(super) async fn run(
    connect: &Connect,
    name: Option<String>,
    partition: Option<i32>,
) -> anyhow::Result<()> {
    let mut client = connect.client().await?;
    let mut request = ElectLeadersRequest::default();
    // A tenth is left for the way back.
    let patience = connect.patience() * 9 / 10;
    request.timeout_ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    request.topic_partitions = match name {
        Some(name) => Some(vec![wanted(&mut client, name, partition).await?]),
        None => None,
    };
    let deadline = client.deadline();
    let answer = client.call_controller(&request, 2, deadline).await?;
    check(answer.error_code, "elect leaders", None)?;
    let outcomes = outcomes(answer);
    if connect.json {
        print_json(&outcomes)?
    } else {
        print(&render(&outcomes))?
    }
    match outcomes.iter().filter(|outcome| is_failure(outcome)).count() {
        0 => Ok(()),
        failed => anyhow::bail!(
            "{failed} of {} partition(s) did not get their preferred leader",
            outcomes.len()
        ),
    }
}

async fn wanted(
    client: &mut Client,
    name: String,
    partition: Option<i32>,
) -> anyhow::Result<TopicPartitions> {
    let mut wanted = TopicPartitions::default();
    wanted.topic = StrBytes::from(name.as_str());
    wanted.partitions = match partition {
        Some(index) => vec![index],
        None => {
            client.look(Some(std::slice::from_ref(&name))).await?;
            let known = client.topics.get(&name).map(|topic| topic.partitions.keys().copied());
            known.into_iter().flatten().collect()
        }
    };
    Ok(wanted)
}

fn outcomes(answer: ElectLeadersResponse) -> Vec<Outcome> {
    let topics = answer.replica_election_results.into_iter();
    let outcomes = topics.flat_map(|topic| {
        let name = topic.topic.to_string();
        topic.partition_result.into_iter().map(move |result| outcome(&name, result))
    });
    outcomes.collect()
}

fn outcome(topic: &str, result: PartitionResult) -> Outcome {
    let code = result.error_code;
    let name = || match ErrorCode::from_code(code) {
        Some(known) => known.name(),
        None => format!("error {code}"),
    };
    let elected = code == ErrorCode::None.code();
    Outcome {
        topic: topic.to_owned(),
        partition: result.partition_id,
        code,
        elected,
        error: (!elected).then(name),
        message: result.error_message.filter(|_| !elected).map(|message| message.to_string()),
    }
}

/// A partition that needs no election is as it should be.
fn is_failure(outcome: &Outcome) -> bool {
    !outcome.elected && outcome.code != ErrorCode::ElectionNotNeeded.code()
}

fn render(outcomes: &[Outcome]) -> String {
    if outcomes.is_empty() {
        return "every partition is led by its preferred replica\n".to_owned();
    }
    let mut table = Table::new(&["PARTITION", "OUTCOME"]);
    for outcome in outcomes {
        let error = outcome.error.as_deref().unwrap_or_default();
        let text = match (outcome.elected, &outcome.message) {
            (true, _) => "elected".to_owned(),
            (false, _) if !is_failure(outcome) => "led by its preferred replica".to_owned(),
            (false, Some(message)) => format!("{error}: {message}"),
            (false, None) => error.to_owned(),
        };
        table.row([format!("{}-{}", outcome.topic, outcome.partition), text]);
    }
    let elected = outcomes.iter().filter(|outcome| outcome.elected).count();
    format!("{}{elected} leader(s) elected\n", table.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(index: i32, code: i16, message: Option<&str>) -> Outcome {
        let mut result = PartitionResult::default();
        (result.partition_id, result.error_code) = (index, code);
        result.error_message = message.map(StrBytes::from);
        outcome("t", result)
    }

    #[test]
    fn what_needs_no_election_is_no_failure() {
        let outcomes = [
            answered(0, 0, Some("")),
            answered(1, 84, Some("not needed")),
            answered(2, 80, Some("node 3 is down")),
        ];
        let failed: Vec<_> = outcomes.iter().map(is_failure).collect();
        assert_eq!(failed, [false, false, true]);
        let text = "PARTITION  OUTCOME\nt-0        elected\nt-1        led by its preferred replica\n\
                    t-2        PREFERRED_LEADER_NOT_AVAILABLE: node 3 is down\n\
                    1 leader(s) elected\n";
        assert_eq!(render(&outcomes), text);
        assert!(render(&[]).contains("every partition"));
        let json = serde_json::to_value(&outcomes[0]).unwrap();
        assert_eq!(json.get("error"), None);
    }
}
