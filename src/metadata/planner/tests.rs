//! What the planner makes of requests, and Kafka's words for what it refuses.

use super::*;
use crate::metadata::change::{AlterConfigs, ConfigOp, ConfigTarget};
use crate::metadata::record::BrokerRegistration;

struct Cluster {
    image: Arc<MetadataImage>,
    alive: BTreeSet<BrokerId>,
    statics: ConfigMap,
}

fn cluster(brokers: i32, alive: &[i32]) -> Cluster {
    let mut image = MetadataImage::default();
    for id in (1..=brokers).map(BrokerId) {
        let host = "h".to_owned();
        let registration =
            BrokerRegistration { id, host, port: 1, admin: None, rack: None, incarnation: 1 };
        image.brokers.insert(id, registration);
    }
    let alive = alive.iter().copied().map(BrokerId).collect();
    Cluster { image: Arc::new(image), alive, statics: ConfigMap::new() }
}

impl Cluster {
    fn planner(&self) -> Planner<'_> {
        let defaults = TopicDefaults { partitions: 2, replication_factor: 3 };
        Planner::new(self.image.clone(), &self.alive, defaults, &self.statics)
    }
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreateTopic {
    CreateTopic { name: name.into(), partitions, replication_factor, ..CreateTopic::default() }
}

fn create(planner: &mut Planner<'_>, topic: CreateTopic) -> Result<NewTopic, String> {
    match planner.plan(Change::CreateTopic(topic)) {
        Ok(Command::CreateTopic(topic)) => Ok(topic),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.to_string()),
    }
}

#[test]
fn defaults_fill_what_is_left_open() {
    let cluster = cluster(3, &[1, 2, 3]);
    let planned = create(&mut cluster.planner(), topic("t", -1, -1)).unwrap();
    assert_eq!(planned.partitions.len(), 2);
    assert!(planned.partitions.iter().all(|replicas| replicas.len() == 3));
    assert!(!planned.id.is_zero());
}

#[test]
fn changes_of_one_request_see_one_another() {
    let cluster = cluster(3, &[1, 2, 3]);
    let mut planner = cluster.planner();
    let first = create(&mut planner, topic("a.b", 1, 1)).unwrap();
    let second = create(&mut planner, topic("c", 1, 1)).unwrap();
    assert_ne!(first.partitions, second.partitions, "leaders spread over topics");
    assert_eq!(
        create(&mut planner, topic("a_b", 1, 1)).unwrap_err(),
        "Topic 'a_b' collides with existing topic: a.b"
    );
    assert_eq!(create(&mut planner, topic("c", 1, 1)).unwrap_err(), "Topic 'c' already exists.");
    let delete = Change::DeleteTopic(TopicSelector::Name("c".into()));
    assert_eq!(planner.plan(delete.clone()), Ok(Command::DeleteTopic { id: second.id }));
    assert_eq!(planner.plan(delete), Err(Refusal::UnknownTopic("c".into())));
}

#[test]
fn refusals_say_what_kafka_says() {
    let cluster = cluster(3, &[1, 2, 3]);
    let says = |topic| create(&mut cluster.planner(), topic).unwrap_err();
    assert_eq!(
        says(topic("t", 0, 1)),
        "Number of partitions was set to an invalid non-positive value."
    );
    assert_eq!(
        says(topic("t", 1, 0)),
        "Replication factor must be larger than 0, or -1 to use the default value."
    );
    assert_eq!(
        says(topic("t", 1, 4)),
        "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be \
         reached because only 3 broker(s) are registered."
    );
    assert_eq!(says(topic("t", 10_001, 1)), "Excessively large number of partitions per request.");
    let mut with_null = topic("t", 1, 1);
    with_null.configs = vec![("retention.ms".into(), None)];
    assert_eq!(says(with_null), "Null value not supported for topic configs: retention.ms");
}

#[test]
fn manual_assignments_are_checked() {
    let cluster = cluster(3, &[1, 2]);
    let assigned = |assignments: &[(i32, &[i32])]| {
        let mut wanted = topic("t", -1, -1);
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        wanted.assignments =
            assignments.iter().map(|(p, list)| (PartitionIndex(*p), ids(list))).collect();
        create(&mut cluster.planner(), wanted)
    };
    let good = assigned(&[(1, &[2, 1]), (0, &[1, 3])]).unwrap();
    assert_eq!(good.partitions, [[BrokerId(1), BrokerId(3)], [BrokerId(2), BrokerId(1)]]);
    for (assignments, text) in [
        (&[(0, &[][..])][..], "an empty replica list."),
        (&[(0, &[9])], "broker 9, but no such broker is registered."),
        (&[(0, &[1, 1])], "the broker 1 more than once."),
        (&[(0, &[1]), (0, &[2])], "multiple manual partition assignments for partition 0"),
        (&[(1, &[1])], "consecutive 0-based"),
        (&[(0, &[1]), (1, &[1, 2])], "not consistent with previous partitions"),
        (&[(0, &[3])], "for partition 0 are fenced"),
    ] {
        let refused = assigned(assignments).unwrap_err();
        assert!(refused.contains(text), "{refused}");
    }
}

#[test]
fn dead_brokers_take_replicas_only_where_needed_and_then_their_share_of_all() {
    let cluster = cluster(4, &[2, 3, 4]);
    let planned = create(&mut cluster.planner(), topic("t", 8, 3)).unwrap();
    assert!(planned.partitions.iter().flatten().all(|id| *id != BrokerId(1)));
    let planned = create(&mut cluster.planner(), topic("t", 8, 4)).unwrap();
    assert!(planned.partitions.iter().all(|replicas| replicas.contains(&BrokerId(1))));
    let preferred = planned.partitions.iter().filter(|replicas| replicas[0] == BrokerId(1)).count();
    assert_eq!(preferred, 2, "it leads its share once it is back");
}

#[test]
fn partitions_only_grow() {
    let cluster = cluster(3, &[1, 2, 3]);
    let mut planner = cluster.planner();
    create(&mut planner, topic("t", 2, 2)).unwrap();
    let mut grow = |count, assignments| {
        let wanted = CreatePartitions { topic: "t".into(), count, assignments };
        planner.plan(Change::CreatePartitions(wanted)).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(grow(2, None).unwrap_err(), "Topic already has 2 partition(s).");
    assert_eq!(
        grow(1, None).unwrap_err(),
        "The topic t currently has 2 partition(s); 1 would not be an increase."
    );
    assert_eq!(
        grow(4, Some(vec![vec![BrokerId(1), BrokerId(2)]])).unwrap_err(),
        "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."
    );
    assert!(grow(3, Some(vec![vec![BrokerId(1)]])).unwrap_err().contains("not consistent"));
    let Ok(Command::CreatePartitions { from, partitions, .. }) = grow(5, None) else { panic!() };
    assert_eq!((from, partitions.len()), (2, 3));
}

#[test]
fn configs_are_altered_by_operation() {
    let cluster = cluster(1, &[1]);
    let mut planner = cluster.planner();
    create(&mut planner, topic("t", 1, 1)).unwrap();
    let mut alter = |target: ConfigTarget, key: &str, op: ConfigOp| {
        let ops = BTreeMap::from([(key.to_owned(), op)]);
        match planner.plan(Change::AlterConfigs(AlterConfigs { target, ops })) {
            Ok(Command::AlterConfigs { mut changes, .. }) => Ok(changes.remove(key).unwrap()),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.to_string()),
        }
    };
    let t = || ConfigTarget::Topic("t".into());
    assert_eq!(alter(t(), "retention.ms", ConfigOp::Set("5".into())), Ok(Some("5".into())));
    assert_eq!(alter(t(), "retention.ms", ConfigOp::Delete), Ok(None));
    assert_eq!(
        alter(t(), "cleanup.policy", ConfigOp::Append("delete".into())),
        Ok(Some("delete".into()))
    );
    assert_eq!(
        alter(t(), "retention.ms", ConfigOp::Append("5".into())).unwrap_err(),
        "Can't APPEND to key retention.ms because its type is not LIST."
    );
    let refused = alter(t(), "cleanup.policy", ConfigOp::Subtract("delete".into())).unwrap_err();
    assert!(refused.starts_with("Invalid value  for configuration cleanup.policy"), "{refused}");
    let nowhere = ConfigTarget::Topic("x".into());
    assert_eq!(
        alter(nowhere, "retention.ms", ConfigOp::Delete).unwrap_err(),
        "The topic 'x' does not exist."
    );
    let refused = alter(ConfigTarget::Broker(BrokerId(7)), "log.retention.ms", ConfigOp::Delete);
    assert_eq!(refused.unwrap_err(), "Broker 7 is not registered.");
    assert_eq!(
        alter(ConfigTarget::Cluster, "message.max.bytes", ConfigOp::Set("9".into())),
        Ok(Some("9".into()))
    );
}
