//! What the configuration accepts and how it refuses.

use super::*;

fn refuse(text: &str) -> String {
    NodeConfig::parse(text, Some(Path::new("n.toml")), &[]).unwrap_err().to_string()
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn no_file_is_a_one_node_broker_on_loopback() {
    let config = NodeConfig::load(None, &[]).unwrap();
    assert_eq!(config, NodeConfig::default());
    assert_eq!(config.listeners.kafka, "127.0.0.1:9092".parse().unwrap());
    assert_eq!(config.listeners.peer, "127.0.0.1:7092".parse().unwrap());
    assert_eq!(config.listeners.admin, "127.0.0.1:8092".parse().unwrap());
    assert_eq!(config.listeners.advertised_host, "127.0.0.1");
    assert_eq!(config.data_dir, PathBuf::from("data"));
    assert!(config.is_single_node());
    assert_eq!(config.topics.replication_factor, 1);
}

#[test]
fn the_commented_file_names_every_key_with_its_default() {
    let path = repository("config/node.toml");
    assert_eq!(NodeConfig::load(Some(&path), &[]).unwrap(), NodeConfig::default());
    let text = std::fs::read_to_string(&path).unwrap();
    let written: toml::Table = toml::from_str(&text).unwrap();
    let known = toml::Table::try_from(FileConfig::default()).unwrap();
    for (key, value) in &known {
        let there = written.get(key).unwrap_or_else(|| panic!("{key} is missing"));
        for inner in value.as_table().into_iter().flat_map(toml::Table::keys) {
            assert!(there.get(inner).is_some(), "{key}.{inner} is missing");
        }
    }
}

#[test]
fn the_three_node_files_agree_about_the_cluster() {
    let configs: Vec<NodeConfig> = (1..=3)
        .map(|n| repository(&format!("config/three-node/node{n}.toml")))
        .map(|path| NodeConfig::load(Some(&path), &[]).unwrap())
        .collect();
    for (index, config) in configs.iter().enumerate() {
        let n = index + 1;
        assert_eq!(config.node_id, BrokerId(n as i32));
        assert_eq!(config.data_dir, PathBuf::from(format!("target/cluster/node{n}/data")));
        assert_eq!(config.nodes, configs[0].nodes);
        assert_eq!(config.cluster, configs[0].cluster);
        assert_eq!(config.nodes[&config.node_id].peer, config.listeners.peer.to_string());
        assert_eq!(config.listeners.kafka.port(), 9091 + n as u16);
        assert_eq!(config.listeners.admin.port(), 8091 + n as u16);
        assert_eq!(config.topics.replication_factor, 3);
    }
}

#[test]
fn a_typo_names_the_key_the_line_and_what_was_meant() {
    assert_eq!(
        refuse("cluster = \"a\"\n[listeners]\nkafkaa = \"127.0.0.1:1\"\n"),
        "n.toml line 3: `listeners.kafkaa` is not a known key; did you mean `listeners.kafka`?"
    );
    assert_eq!(
        refuse("[[nodes]]\nid = 1\nper = \"a:1\"\n"),
        "n.toml line 3: `nodes[0].per` is not a known key; did you mean `nodes[0].peer`?"
    );
}

#[test]
fn wrong_types_and_wrong_syntax_name_the_line() {
    let wrong = refuse("node_id = 1\ninsecure = \"yes\"\n");
    assert!(wrong.starts_with("n.toml line 2: `insecure` has a wrong value"), "{wrong}");
    let broken = refuse("node_id = 1\ncluster = \n");
    assert!(broken.starts_with("n.toml line 2: "), "{broken}");
}

#[test]
fn semantic_faults_name_the_line_too() {
    for (text, says) in [
        ("node_id = -1", "n.toml line 1: `node_id` is negative"),
        ("cluster = \"a b\"", "n.toml line 1: `cluster` cannot be \"a b\""),
        (
            "\n[listeners]\nadmin = \"localhost:1\"",
            "n.toml line 3: `listeners.admin` is not an addr",
        ),
        ("[listeners]\nkafka = \"0.0.0.0:9092\"", "neither TLS nor SASL"),
        ("[listeners]\npeer = \"127.0.0.1:9092\"", "another listener has already"),
        ("insecure = true\n[listeners]\nkafka = \"0.0.0.0:9092\"", "advertised_host` is needed"),
        ("nodes = [{ id = 2, peer = \"a:1\" }]", "does not list this node, 1: only 2"),
        ("[topics]\nreplication_factor = 2", "cannot be 2 with 1 node(s)"),
        ("[raft]\nheartbeat_ms = 1", "n.toml line 2: `raft.heartbeat_ms` cannot be 1; use 10 to"),
    ] {
        let said = refuse(text);
        assert!(said.contains(says), "{text:?} → {said}");
    }
}

#[test]
fn an_open_bind_is_possible_when_it_is_said_to_be_insecure() {
    let text =
        "insecure = true\n[listeners]\nkafka = \"0.0.0.0:9092\"\nadvertised_host = \"db1\"\n";
    let config = NodeConfig::parse(text, None, &[]).unwrap();
    assert_eq!(config.listeners.advertised_host, "db1");
}

#[test]
fn overrides_win_over_the_file_and_are_checked_alike() {
    let set = |text: &str| vec![text.to_owned()];
    let text = "[storage]\nsegment_bytes = 1048576\n";
    let config = NodeConfig::parse(text, None, &set("storage.segment_bytes=2097152")).unwrap();
    assert_eq!(config.storage.segment_bytes, 2_097_152);
    let config = NodeConfig::parse("", None, &set("listeners.kafka=127.0.0.1:19092")).unwrap();
    assert_eq!(config.listeners.kafka.port(), 19092);
    let config = NodeConfig::parse("", None, &set("cluster=7")).unwrap();
    assert_eq!(config.cluster, "7");
    for (text, says) in [
        ("storage.segment_byte=1", "did you mean `storage.segment_bytes`?"),
        ("node_id", "has no value"),
        ("node_id=x", "`--set node_id` has a wrong value"),
        ("raft.heartbeat_ms=1", "`--set raft.heartbeat_ms` cannot be 1"),
    ] {
        let said = NodeConfig::parse("", Some(Path::new("n.toml")), &set(text)).unwrap_err();
        let said = said.to_string();
        assert!(said.contains(says) && !said.contains("n.toml"), "{text} → {said}");
    }
}
