//! `jackdaw group`: which groups there are, who is in them, how far behind they are.

use std::collections::{BTreeMap, BTreeSet};

use kafka_wire::describe_groups_response::DescribedGroup;
use kafka_wire::{DescribeGroupsRequest, ListGroupsRequest};
use kafka_wire_core::StrBytes;
use serde::Serialize;

use super::args::{Connect, GroupCommand};
use super::client::{Client, assignment, check, committed, list_offsets};
use super::output::{Table, or_dash, print, print_json};

pub(super) async fn run(command: GroupCommand, connect: &Connect) -> anyhow::Result<()> {
    match command {
        GroupCommand::List => list(connect).await,
        GroupCommand::Describe { group } => describe(connect, &group).await,
    }
}

#[derive(Serialize)]
struct Listed {
    group: String,
    protocol_type: String,
    state: String,
}

async fn list(connect: &Connect) -> anyhow::Result<()> {
    let mut client = connect.client().await?;
    // Each broker lists the groups that it coordinates.
    let requests =
        client.brokers.keys().map(|node| (*node, ListGroupsRequest::default())).collect();
    let deadline = client.deadline();
    let mut groups = BTreeMap::new();
    let (mut asked, mut failures) = (0, Vec::new());
    for (node, answer) in client.call_each(requests, 5, deadline).await {
        let checked = answer.and_then(|answer| {
            check(answer.error_code, format!("groups of node {node}"), None)?;
            Ok(answer)
        });
        match checked {
            Err(failure) => failures.push((node, failure)),
            Ok(answer) => {
                asked += 1;
                for group in answer.groups {
                    let listed = Listed {
                        group: group.group_id.to_string(),
                        protocol_type: group.protocol_type.to_string(),
                        state: group.group_state.to_string(),
                    };
                    groups.insert(listed.group.clone(), listed);
                }
            }
        }
    }
    for (node, failure) in failures {
        if asked == 0 {
            return Err(failure.into());
        }
        eprintln!("warning: node {node} did not list its groups: {failure}");
    }
    let groups: Vec<Listed> = groups.into_values().collect();
    if connect.json {
        return print_json(&groups);
    }
    let mut table = Table::new(&["GROUP", "TYPE", "STATE"]);
    for group in groups {
        table.row([group.group, group.protocol_type, group.state]);
    }
    Ok(print(&table.render())?)
}

#[derive(Serialize)]
struct Described {
    group: String,
    state: String,
    protocol: String,
    coordinator: i32,
    members: Vec<Member>,
    partitions: Vec<Progress>,
}

#[derive(Serialize)]
struct Member {
    member: String,
    client: String,
    host: String,
    partitions: Vec<String>,
}

#[derive(Serialize)]
struct Progress {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    high_watermark: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
}

async fn describe(connect: &Connect, name: &str) -> anyhow::Result<()> {
    let mut client = connect.client().await?;
    let coordinator = client.coordinator(name).await?;
    let mut request = DescribeGroupsRequest::default();
    request.groups = vec![StrBytes::from(name)];
    let deadline = client.deadline();
    let answer = client.call(coordinator, &request, 5, deadline).await?;
    let group = answer.groups.into_iter().next().unwrap_or_default();
    check(group.error_code, format!("describe group {name:?}"), group.error_message.as_deref())?;
    let (members, owners) = members(&group)?;
    let committed = committed(&mut client, name, None).await?;
    if &*group.group_state == "Dead" && committed.is_empty() {
        anyhow::bail!("there is no group {name:?}; see `jackdaw group list`");
    }
    let partitions = progress(&mut client, &committed, &owners).await?;
    let described = Described {
        group: name.to_owned(),
        state: group.group_state.to_string(),
        protocol: group.protocol_data.to_string(),
        coordinator,
        members,
        partitions,
    };
    if connect.json { print_json(&described) } else { Ok(print(&render(&described))?) }
}

type Owners = BTreeMap<(String, i32), String>;

fn members(group: &DescribedGroup) -> anyhow::Result<(Vec<Member>, Owners)> {
    let mut owners = BTreeMap::new();
    let mut members = Vec::new();
    for member in &group.members {
        let owned = assignment(member.member_assignment.clone())?;
        let partitions = owned.iter().map(|(topic, index)| format!("{topic}-{index}")).collect();
        owners.extend(owned.into_iter().map(|owned| (owned, member.member_id.to_string())));
        members.push(Member {
            member: member.member_id.to_string(),
            client: member.client_id.to_string(),
            host: member.client_host.to_string(),
            partitions,
        });
    }
    Ok((members, owners))
}

async fn progress(
    client: &mut Client,
    committed: &BTreeMap<(String, i32), i64>,
    owners: &Owners,
) -> anyhow::Result<Vec<Progress>> {
    let wanted: BTreeSet<(String, i32)> = committed.keys().chain(owners.keys()).cloned().collect();
    let mut by_topic: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (topic, index) in &wanted {
        by_topic.entry(topic.clone()).or_default().push(*index);
    }
    client.look(None).await?;
    let mut ends = BTreeMap::new();
    for (topic, indexes) in &by_topic {
        // Offsets outlive their topic, and a partition may have no leader: then there is no lag.
        let led: Vec<i32> =
            indexes.iter().filter(|index| client.leader(topic, **index).is_ok()).copied().collect();
        for (index, end) in list_offsets(client, topic, &led, -1).await? {
            ends.insert((topic.clone(), index), end);
        }
    }
    let progress = wanted.into_iter().map(|key| {
        let (at, end) = (committed.get(&key).copied(), ends.get(&key).copied());
        Progress {
            committed: at,
            high_watermark: end,
            lag: at.zip(end).map(|(at, end)| (end - at).max(0)),
            member: owners.get(&key).cloned(),
            topic: key.0,
            partition: key.1,
        }
    });
    Ok(progress.collect())
}

fn render(group: &Described) -> String {
    let mut text = format!(
        "group {}, {}, {} member(s), coordinated by node {}\n",
        group.group,
        group.state,
        group.members.len(),
        group.coordinator
    );
    let mut table = Table::new(&["PARTITION", "COMMITTED", "HIGH", "LAG", "MEMBER"]);
    for one in &group.partitions {
        table.row([
            format!("{}-{}", one.topic, one.partition),
            or_dash(one.committed),
            or_dash(one.high_watermark),
            or_dash(one.lag),
            or_dash(one.member.as_ref()),
        ]);
    }
    text.push_str(&table.render());
    text
}
