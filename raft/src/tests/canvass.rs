//! Pre-votes of many groups at once, with one of the two voters played by the test.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::cluster::*;
use super::peers::{lonely, right_hello, say_hello};
use crate::wire::{
    Announcement, Candidacy, Canvass, CanvassAnswer, Frame, FrameReader, Kind, Outgoing, Role,
    Status,
};
use crate::*;

/// Node 1, as node 2 sees it.
struct Played {
    socket: TcpStream,
    reader: FrameReader,
    asked: u64,
}

impl Played {
    async fn connect(home: &Home) -> Self {
        let (socket, answer) = say_hello(home, &right_hello()).await;
        assert_eq!(answer.refusal, None);
        Self { socket, reader: FrameReader::new(1 << 20), asked: 0 }
    }

    async fn send(&mut self, role: Role, id: u64, frame: Outgoing) {
        let (head, chunks) = frame.seal(role, Status::Ok, 1_000, id);
        assert!(chunks.is_empty());
        self.socket.write_all(&head).await.unwrap();
    }

    async fn send_body(&mut self, kind: Kind, role: Role, id: u64, body: &[u8]) {
        let mut frame = Outgoing::new(kind, GroupId::METADATA, body.len());
        frame.body().extend_from_slice(body);
        self.send(role, id, frame).await;
    }

    /// The next frame about anything but who lives.
    async fn next(&mut self) -> Frame {
        loop {
            let frame = match self.reader.next().unwrap() {
                Some(frame) => frame,
                None => {
                    let read = self.socket.read_buf(self.reader.buffer());
                    assert_ne!(within("bytes", read).await.unwrap(), 0, "it was closed");
                    continue;
                }
            };
            match frame.kind {
                Kind::Beat => {
                    self.send_body(Kind::BeatEcho, Role::Notice, 0, &frame.body).await;
                }
                Kind::Announcement | Kind::Incomplete => {}
                _ => return frame,
            }
        }
    }

    /// The first of these requests to come.
    async fn request(&mut self, kinds: &[Kind]) -> Frame {
        loop {
            let frame = self.next().await;
            if frame.role == Role::Request && kinds.contains(&frame.kind) {
                return frame;
            }
        }
    }

    /// Asks node 2 and returns what it says; nothing of what it asks is answered.
    async fn canvass(&mut self, rows: &[Candidacy]) -> Vec<bool> {
        let mut body = BytesMut::new();
        Canvass(rows.to_vec()).encode(&mut body);
        self.asked += 1;
        let id = self.asked;
        self.send_body(Kind::Canvass, Role::Request, id, &body).await;
        loop {
            let Frame { kind, role, id: of, status, body, .. } = self.next().await;
            if role == Role::Answer && of == id {
                assert_eq!((kind, status), (Kind::Canvass, Status::Ok));
                return CanvassAnswer::decode(body, rows.len()).unwrap().0;
            }
        }
    }

    async fn lead(&mut self, term: u64) {
        let announcement = Announcement { full: true, groups: vec![(GROUP, term, true)] };
        let mut body = BytesMut::new();
        announcement.encode(&mut body);
        self.send_body(Kind::Announcement, Role::Notice, 0, &body).await;
    }
}

/// Node 2 with a group of which node 1, played, is the other voter.
struct Pair {
    homes: Vec<Home>,
    node: RaftNode,
    one: Played,
    group: Group,
}

impl Pair {
    async fn start() -> Self {
        let (homes, node) = lonely().await;
        let one = Played::connect(&homes[1]).await;
        let group = homes[1].open(&node).await;
        // It has the group stand at once, in term 1.
        group.initialize([NodeId(1), NodeId(2)].into()).await.unwrap();
        Self { homes, node, one, group }
    }

    /// A candidacy with all that node 2 holds.
    fn with_all(&self, term: u64) -> Candidacy {
        Candidacy { group: GROUP, term, last: self.homes[1].log.state().unwrap().last }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_wanted_stands_and_who_is_not_has_its_group_ask() {
    for (is_wanted, then) in [(true, Kind::Vote), (false, Kind::PreVote)] {
        let mut pair = Pair::start().await;
        let asked = pair.one.request(&[Kind::Canvass]).await;
        let Canvass(rows) = Canvass::decode(asked.body).unwrap();
        assert_eq!(rows, [pair.with_all(2)]);
        pair.one.send_body(Kind::Canvass, Role::Answer, asked.id, &[u8::from(is_wanted)]).await;
        let next = pair.one.request(&[Kind::PreVote, Kind::Vote]).await;
        assert_eq!((next.kind, next.group), (then, GROUP));
        pair.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_the_group_asks() {
    let mut pair = Pair::start().await;
    pair.one.request(&[Kind::Canvass]).await;
    assert_eq!(pair.one.request(&[Kind::PreVote, Kind::Vote]).await.kind, Kind::PreVote);
    pair.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_says_yes_where_nobody_leads_and_nothing_would_be_lost() {
    let mut pair = Pair::start().await;
    let good = pair.with_all(1_000);
    let rows = [
        good,
        Candidacy { last: None, ..good },
        Candidacy { term: 0, ..good },
        Candidacy { group: GroupId { topic: 9, partition: 9 }, ..good },
        good,
    ];
    assert_eq!(pair.one.canvass(&rows).await, [true, false, false, false, true]);
    assert_eq!(pair.one.canvass(&[]).await, [false; 0]);
    pair.one.lead(500).await;
    assert_eq!(pair.one.canvass(&[good]).await, [false], "a leader lives");
    pair.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_voted_beside_a_living_leader_abstains_for_a_while() {
    let mut pair = Pair::start().await;
    let good = pair.with_all(1_000);
    assert_eq!(pair.one.canvass(&[good]).await, [true]);
    let since = Instant::now();
    pair.group.signals().abstain();
    assert_eq!(pair.one.canvass(&[good]).await, [false]);
    let again = async {
        while pair.one.canvass(&[good]).await == [false] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("it votes again", again).await;
    let dead = Duration::from_millis(Timing::default().peer_dead_ms);
    assert!(since.elapsed() >= dead, "a leader's lease may have run until then");
    pair.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_that_is_not_there_ends_the_connection() {
    let (homes, node) = lonely().await;
    let mut one = Played::connect(&homes[1]).await;
    one.send_body(Kind::Canvass, Role::Request, 1, &[255; 40]).await;
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = within("the end", one.socket.read_to_end(&mut rest)).await;
    let mut again = Played::connect(&homes[1]).await;
    assert_eq!(again.canvass(&[]).await, [false; 0]);
    node.shutdown().await;
}
