//! A crash at each step of getting a lost log back.

use jackdaw_raft::Suffrage;

use super::*;

/// What a crash may leave of a replica that is being got back.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// The folder was set aside.
    Nothing,
    /// It is noted that the log is gone.
    Note,
    /// A part of the log is back.
    Part,
    /// All of it is, and the note was about to be removed.
    All,
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

async fn comes_back_from(left: Left) {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let partition = Arc::clone(nodes.0[leader].partition());
    produce_all(&partition, 0..20).await;
    let away = (leader + 1) % 3;
    let behind = Arc::clone(nodes.0[away].partition());
    until("it has the first records", || behind.high_watermark() == Offset(20)).await;
    drop(behind);
    nodes.0[away].stop().await;
    let part = copy(nodes.0[away].dir.path());
    nodes.restart(away).await;
    produce_all(&partition, 20..40).await;
    let behind = Arc::clone(nodes.0[away].partition());
    until("it has all records", || behind.high_watermark() == Offset(40)).await;
    drop(behind);
    nodes.0[away].stop().await;

    let hard = Arc::clone(&nodes.0[away].hard);
    let vote = hard.load(GROUP).unwrap().vote;
    if !matches!(left, Left::Nothing) {
        hard.save_refilling(GROUP, true).await.unwrap();
    }
    match left {
        Left::Nothing | Left::Note => nodes.0[away].dir = tempfile::tempdir().unwrap(),
        Left::Part => nodes.0[away].dir = part,
        Left::All => {}
    }
    produce_all(&partition, 40..45).await;
    nodes.restart(away).await;
    let back = Arc::clone(nodes.0[away].partition());
    let mut suffrage = back.group().suffrage();
    assert!(suffrage.borrow().is_refilling() || matches!(left, Left::All), "{left:?}");
    let member = suffrage.wait_for(|suffrage| *suffrage == Suffrage::Voter);
    drop(tokio::time::timeout(SOON, member).await.unwrap().unwrap());
    assert!(back.high_watermark() >= Offset(45), "{left:?}: a member before it had everything");
    let after = hard.load(GROUP).unwrap();
    assert!(
        !after.refilling && after.vote.map(|vote| vote.term) >= vote.map(|vote| vote.term),
        "{left:?}: {after:?}"
    );
    produce_all(&partition, 45..50).await;
    for node in &nodes.0 {
        let partition = node.partition();
        until("all have all", || partition.high_watermark() == Offset(50)).await;
    }
    nodes.stop().await;
    let records: Vec<_> = nodes.0.iter().map(|node| node.records(Offset(0), Offset(50))).collect();
    assert!(records.iter().all(|other| *other == records[0]), "{left:?}: {records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_leads_to_the_same_end() {
    for left in [Left::Nothing, Left::Note, Left::Part, Left::All] {
        comes_back_from(left).await;
    }
}
