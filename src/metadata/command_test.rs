//! Golden bytes of every command: a change here is a change of what is on users' disks.

use expect_test::{Expect, expect};

use super::*;
use crate::metadata::record::*;
use crate::model::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

fn check(command: Command, golden: Expect) {
    let envelope = Envelope { request: None, fence: None, command };
    let bytes = envelope.to_bytes();
    let hex = |row: &[u8]| row.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    golden.assert_eq(&bytes.chunks(32).map(hex).collect::<Vec<_>>().join("\n"));
    assert_eq!(Envelope::from_bytes(&bytes).unwrap(), envelope);
}

#[test]
fn golden_brokers_and_topics() {
    check(
        Command::RegisterBroker(BrokerRegistration {
            id: BrokerId(1),
            host: "h".into(),
            port: 9092,
            admin: Some(("a".into(), 8092)),
            rack: Some("r".into()),
            incarnation: 300,
        }),
        expect!["0100000002016884470101619c3f010172ac02"],
    );
    check(
        Command::CreateTopic(NewTopic {
            name: "t".into(),
            id: TopicId(5),
            partitions: vec![vec![BrokerId(1), BrokerId(2)]],
            configs: BTreeMap::from([("k".into(), "v".into())]),
        }),
        expect!["010000010174050102020401016b0176"],
    );
    check(Command::DeleteTopic { id: TopicId(5) }, expect!["0100000205"]);
    check(
        Command::CreatePartitions { id: TopicId(5), from: 1, partitions: vec![vec![BrokerId(2)]] },
        expect!["010000030501010104"],
    );
    check(
        Command::AlterConfigs {
            resource: ConfigResource::Topic(TopicId(5)),
            changes: BTreeMap::from([("k".into(), None), ("l".into(), Some("v".into()))]),
        },
        expect!["01000004000502016b00016c010176"],
    );
    check(Command::AllocateProducerIds { broker: BrokerId(1) }, expect!["0100000502"]);
}

#[test]
fn golden_groups_and_offsets() {
    check(
        Command::PutGroup {
            record: GroupRecord {
                group: "g".into(),
                protocol_type: Some("consumer".into()),
                generation: 2,
                protocol: Some("range".into()),
                leader: Some("m".into()),
                assigned: true,
                state_since: Timestamp(9),
                members: vec![MemberRecord {
                    id: "m".into(),
                    instance_id: Some("i".into()),
                    client_id: "c".into(),
                    client_host: "/127.0.0.1".into(),
                    session_timeout_ms: 45_000,
                    rebalance_timeout_ms: 300_000,
                    subscription: vec![0, 1],
                    assignment: vec![0, 2],
                }],
            },
            expected: Some(1),
        },
        expect![[r#"
            0100000601670108636f6e73756d657204010572616e676501016d011201016d
            01016901630a2f3132372e302e302e3190bf05c0cf240200010200020101"#]],
    );
    check(
        Command::DeleteGroup { group: "g".into(), generation: Some(2), with_offsets: true },
        expect!["010000070167010401"],
    );
    check(
        Command::CommitOffsets(vec![GroupCommit {
            group: "g".into(),
            offsets: vec![OffsetCommit {
                topic: "t".into(),
                topic_id: TopicId(5),
                partition: PartitionIndex(0),
                committed: CommittedOffset {
                    offset: Offset(10),
                    leader_epoch: LeaderEpoch(-1),
                    metadata: "x".into(),
                    committed_at: Timestamp(9),
                },
            }],
        }]),
        expect!["0100000801016701017405001401017812"],
    );
    check(
        Command::DeleteOffsets {
            group: "g".into(),
            offsets: vec![(OffsetKey { topic: "t".into(), partition: PartitionIndex(3) }, None)],
        },
        expect!["0100000901670101740600"],
    );
}

#[test]
fn golden_request_id_and_reply() {
    let envelope = Envelope {
        request: Some(RequestId(1)),
        fence: Some(7),
        command: Command::DeleteTopic { id: TopicId(2) },
    };
    expect!["[01, 01, 01, 01, 07, 02, 02]"]
        .assert_eq(&format!("{:02x?}", &envelope.to_bytes()[..]));
    let reply = CommandReply::Refused(Refusal::TopicExists("t".into()));
    expect!["[01, 01, 00, 01, 74]"].assert_eq(&format!("{:02x?}", &reply.to_bytes()[..]));
    assert_eq!(CommandReply::from_bytes(&reply.to_bytes()).unwrap(), reply);
}

#[test]
fn bytes_of_anything_else_are_errors() {
    let bytes =
        Envelope { request: None, fence: None, command: Command::DeleteTopic { id: TopicId(2) } }
            .to_bytes();
    assert!(matches!(Envelope::from_bytes(b""), Err(CodecError::Empty)));
    assert!(matches!(Envelope::from_bytes(b"\x02\x00"), Err(CodecError::Version(2))));
    assert!(matches!(Envelope::from_bytes(&bytes[..2]), Err(CodecError::Malformed(_))));
    let longer = [&bytes[..], b"\x00"].concat();
    assert!(matches!(Envelope::from_bytes(&longer), Err(CodecError::Trailing(1))));
}
