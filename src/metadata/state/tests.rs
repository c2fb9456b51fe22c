//! What commands do to the state, and that the state survives its encoding.

use proptest::prelude::*;

use super::*;
use crate::metadata::record::*;
use crate::model::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

fn new_topic(name: &str, id: u128, partitions: usize) -> NewTopic {
    NewTopic {
        name: name.into(),
        id: TopicId(id),
        partitions: vec![vec![BrokerId(1), BrokerId(2)]; partitions],
        configs: BTreeMap::new(),
    }
}

fn group(id: &str, generation: i32) -> GroupRecord {
    GroupRecord {
        group: id.into(),
        protocol_type: Some("consumer".into()),
        generation,
        protocol: Some("range".into()),
        leader: Some("m-1".into()),
        assigned: true,
        state_since: Timestamp(5),
        members: Vec::new(),
    }
}

fn commit(topic: &str, partition: i32, offset: i64) -> OffsetCommit {
    OffsetCommit {
        topic: topic.into(),
        topic_id: TopicId::ZERO,
        partition: PartitionIndex(partition),
        committed: CommittedOffset {
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(3),
            metadata: "m".into(),
            committed_at: Timestamp(9),
        },
    }
}

fn commits(group: &str, offsets: Vec<OffsetCommit>) -> Command {
    Command::CommitOffsets(vec![GroupCommit { group: group.into(), offsets }])
}

fn restored(state: &State) -> State {
    State::from_pairs(state.pairs()).unwrap()
}

#[test]
fn a_name_is_taken_once_and_must_not_collide() {
    let mut state = State::new();
    assert_eq!(state.apply(Command::CreateTopic(new_topic("a.b", 1, 2))), CommandReply::Done);
    assert!(matches!(
        state.apply(Command::CreateTopic(new_topic("a.b", 2, 2))),
        CommandReply::Refused(Refusal::TopicExists(_))
    ));
    let refused = state.apply(Command::CreateTopic(new_topic("a_b", 2, 2)));
    assert_eq!(
        refused.accepted().unwrap_err().to_string(),
        "Topic 'a_b' collides with existing topic: a.b"
    );
    assert!(matches!(
        state.apply(Command::CreateTopic(new_topic("other", 1, 2))),
        CommandReply::Refused(Refusal::Conflict)
    ));
    assert_eq!(state.apply(Command::DeleteTopic { id: TopicId(1) }), CommandReply::Done);
    assert_eq!(state.apply(Command::CreateTopic(new_topic("a_b", 2, 2))), CommandReply::Done);
}

#[test]
fn partitions_are_added_to_the_count_that_was_planned_for() {
    let mut state = State::new();
    state.apply(Command::CreateTopic(new_topic("t", 1, 2)));
    let grow =
        Command::CreatePartitions { id: TopicId(1), from: 2, partitions: vec![vec![BrokerId(3)]] };
    assert_eq!(state.apply(grow.clone()), CommandReply::Done);
    assert_eq!(state.image().topic("t").unwrap().partitions.len(), 3);
    assert_eq!(state.apply(grow), CommandReply::Refused(Refusal::Conflict));
}

#[test]
fn a_retried_request_is_applied_once() {
    let mut state = State::new();
    let request = Some(RequestId(7));
    let allocate = Command::AllocateProducerIds { broker: BrokerId(1) };
    let first = state.apply_once(1, Envelope { request, fence: None, command: allocate.clone() });
    assert_eq!(first, CommandReply::ProducerIds { first: ProducerId(0), count: 1000 });
    let mut state = restored(&state);
    assert_eq!(
        state.apply_once(1, Envelope { request, fence: None, command: allocate.clone() }),
        first
    );
    let other = state.apply_once(1, Envelope { request: None, fence: None, command: allocate });
    assert_eq!(other, CommandReply::ProducerIds { first: ProducerId(1000), count: 1000 });
}

#[test]
fn the_request_window_forgets_the_oldest() {
    let mut state = State::new();
    for n in 0..requests::REQUESTS_KEPT + 2 {
        let command = Command::DeleteTopic { id: TopicId(1) };
        let request = Some(RequestId(u128::from(n)));
        state.apply_once(1, Envelope { request, fence: None, command });
    }
    assert_eq!(state.reply_of(RequestId(1)), None);
    assert!(state.reply_of(RequestId(2)).is_some());
    assert_eq!(state.pairs().count() as u64, requests::REQUESTS_KEPT);
}

#[test]
fn a_group_is_written_only_by_who_knows_its_version() {
    let mut state = State::new();
    let put = |generation, expected| Command::PutGroup { record: group("g", generation), expected };
    let stale = CommandReply::Refused(Refusal::StaleGroup("g".into()));
    assert_eq!(state.apply(put(1, Some(0))), CommandReply::GroupVersion(1));
    assert_eq!(state.apply(put(1, Some(0))), stale);
    assert_eq!(state.apply(put(2, Some(1))), CommandReply::GroupVersion(2));
    assert_eq!(state.apply(put(3, None)), CommandReply::GroupVersion(3));
    let delete = |generation| Command::DeleteGroup {
        group: "g".into(),
        generation: Some(generation),
        with_offsets: false,
    };
    assert_eq!(state.apply(delete(2)), stale);
    assert_eq!(state.apply(delete(3)), CommandReply::Done);
    assert_eq!(state.apply(delete(3)), CommandReply::Refused(Refusal::UnknownGroup("g".into())));
}

#[test]
fn a_command_counts_only_in_the_term_that_it_names() {
    let mut state = State::new();
    let command = Command::PutGroup { record: group("g", 1), expected: None };
    let envelope = Envelope { request: None, fence: Some(3), command };
    let fenced = CommandReply::Refused(Refusal::Fenced);
    assert_eq!(state.apply_once(4, envelope.clone()), fenced);
    assert!(state.group("g").is_none());
    assert_eq!(state.apply_once(3, envelope), CommandReply::GroupVersion(1));
}

#[test]
fn a_group_with_offsets_goes_only_with_them() {
    let mut state = State::new();
    state.apply(Command::CreateTopic(new_topic("t", 1, 1)));
    state.apply(commits("g", vec![commit("t", 0, 4)]));
    let delete =
        |with_offsets| Command::DeleteGroup { group: "g".into(), generation: None, with_offsets };
    assert!(state.apply(delete(false)).accepted().is_err());
    state.apply(Command::PutGroup { record: group("g", 1), expected: None });
    let refused = state.apply(delete(false));
    assert_eq!(refused, CommandReply::Refused(Refusal::GroupNotEmpty("g".into())));
    let key = OffsetKey { topic: "t".into(), partition: PartitionIndex(0) };
    let only = |offset| Command::DeleteOffsets {
        group: "g".into(),
        offsets: vec![(key.clone(), Some(commit("t", 0, offset).committed))],
    };
    state.apply(only(3));
    assert!(state.offsets("g").is_some());
    let mut other = state.clone();
    other.apply(only(4));
    assert!(other.offsets("g").is_none());
    assert_eq!(state.apply(delete(true)), CommandReply::Done);
    assert!(state.offsets("g").is_none() && state.group("g").is_none());
}

#[test]
fn offsets_live_and_die_with_their_topic() {
    let mut state = State::new();
    state.apply(Command::CreateTopic(new_topic("t", 1, 2)));
    state.apply(Command::CreateTopic(new_topic("u", 2, 1)));
    let mut stale = commit("t", 0, 1);
    stale.topic_id = TopicId(99);
    let reply = state.apply(commits(
        "g",
        vec![commit("t", 0, 10), commit("t", 2, 1), commit("x", 0, 1), stale, commit("u", 0, 4)],
    ));
    assert_eq!(reply, CommandReply::Offsets(vec![vec![true, false, false, false, true]]));
    assert_eq!(state.offsets("g").unwrap().len(), 2);
    state.apply(Command::DeleteTopic { id: TopicId(1) });
    let left: Vec<_> = state.offsets("g").unwrap().keys().map(|key| key.topic.clone()).collect();
    assert_eq!(left, ["u"]);
    state.apply(Command::DeleteTopic { id: TopicId(2) });
    assert!(state.offsets("g").is_none());
    assert_eq!(restored(&state).offsets("g"), None);
}

#[test]
fn bad_pairs_are_errors() {
    let bad = |key: &[u8], value: &[u8]| State::from_pairs([(key.to_vec(), value.to_vec())]);
    assert!(matches!(bad(b"", b""), Err(PairsError::Key(_))));
    assert!(matches!(bad(b"b123", b""), Err(PairsError::Key(_))));
    assert!(matches!(bad(b"c", b""), Err(PairsError::Value { .. })));
    assert!(matches!(bad(b"p", b"\x02\x00"), Err(PairsError::Value { .. })));
    assert!(matches!(bad(b"o\xff\xffx", b"\x01"), Err(PairsError::Key(_))));
}

/// Commands over so few names that they meet.
fn any_command() -> impl Strategy<Value = Command> {
    let id = 1_u128..5;
    let name = prop::sample::select(vec!["a", "b", "a.c", "a_c", ".."]);
    let group_id = prop::sample::select(vec!["g", "h"]);
    prop_oneof![
        (name.clone(), id.clone(), 0_usize..3)
            .prop_map(|(name, id, n)| Command::CreateTopic(new_topic(name, id, n))),
        id.clone().prop_map(|id| Command::DeleteTopic { id: TopicId(id) }),
        (id.clone(), 0_u32..4).prop_map(|(id, from)| Command::CreatePartitions {
            id: TopicId(id),
            from,
            partitions: vec![vec![BrokerId(2), BrokerId(1)]],
        }),
        (id, prop::option::of("[a-z]{1,3}")).prop_map(|(id, value)| Command::AlterConfigs {
            resource: match id {
                1 => ConfigResource::Cluster,
                2 => ConfigResource::Broker(BrokerId(2)),
                _ => ConfigResource::Topic(TopicId(id)),
            },
            changes: BTreeMap::from([("retention.ms".to_owned(), value)]),
        }),
        (0_i32..3, 0_u128..3).prop_map(|(id, incarnation)| Command::RegisterBroker(
            BrokerRegistration {
                id: BrokerId(id),
                host: "h".into(),
                port: 9092,
                admin: None,
                rack: Some("r".into()),
                incarnation,
            }
        )),
        Just(Command::AllocateProducerIds { broker: BrokerId(1) }),
        (group_id.clone(), prop::option::of(0_u64..4))
            .prop_map(|(id, expected)| Command::PutGroup { record: group(id, 1), expected }),
        (group_id.clone(), any::<bool>()).prop_map(|(id, with_offsets)| Command::DeleteGroup {
            group: id.into(),
            generation: None,
            with_offsets,
        }),
        (group_id.clone(), name.clone(), 0_i32..3, 0_i64..9)
            .prop_map(|(id, topic, p, offset)| commits(id, vec![commit(topic, p, offset)])),
        (group_id, name, 0_i32..3).prop_map(|(id, topic, p)| Command::DeleteOffsets {
            group: id.into(),
            offsets: vec![(OffsetKey { topic: topic.into(), partition: PartitionIndex(p) }, None)],
        }),
    ]
}

proptest! {
    /// A store that writes only the changes ends with the same pairs as a snapshot; a state read
    /// back from them is the same state; the same commands give the same bytes.
    #[test]
    fn changes_pairs_and_state_agree(
        commands in prop::collection::vec((any_command(), prop::option::of(0_u128..9)), 0..60),
    ) {
        let (mut state, mut twin) = (State::new(), State::new());
        let mut store = BTreeMap::new();
        for (command, request) in commands {
            let envelope = Envelope { request: request.map(RequestId), fence: None, command };
            let bytes = envelope.to_bytes();
            let reply = state.apply_once(1, envelope);
            for (key, value) in state.take_changes() {
                match value {
                    Some(value) => drop(store.insert(key, value)),
                    None => drop(store.remove(&key)),
                }
            }
            prop_assert_eq!(twin.apply_once(1, Envelope::from_bytes(&bytes).unwrap()), reply);
        }
        let _ = twin.take_changes();
        let pairs: Vec<_> = state.pairs().collect();
        prop_assert_eq!(twin.pairs().collect::<Vec<_>>(), pairs.clone());
        prop_assert_eq!(store, pairs.iter().cloned().collect::<BTreeMap<_, _>>());
        prop_assert_eq!(State::from_pairs(pairs).unwrap(), state);
    }
}
