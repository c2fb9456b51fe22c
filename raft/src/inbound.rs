//! Serves what peers ask of this node's groups.
//!
//! **Invariant:** the connection's reader is never held up: appends go to their group's lane, and
//! everything else that must wait runs in a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::adapter::{
    VoteRequest, VoteResponse, from_log_id, from_vote, handle_transfer, install_snapshot, probe,
    to_log_id, to_vote, vote_of,
};
use crate::call::CallSlot;
use crate::canvass::{self, is_up_for_election};
use crate::codec::DecodeError;
use crate::group::Group;
use crate::id::GroupId;
use crate::incomplete::Incomplete;
use crate::lane::{CONTRADICTED, Lane, LaneItem, answer_append, refuse, request};
use crate::leadership::Leaderships;
use crate::liveness;
use crate::options::Room;
use crate::registry::Registry;
use crate::succession::{self, Admitted};
use crate::transport::{FrameHandler, Inbound, Link, Transport};
use crate::turns::Rival;
use crate::wire::{
    Announcement, AppendMessage, Beat, Canvass, EndAnswer, Frame, Kind, Outgoing, Purpose, Role,
    SnapshotMessage, Status, TransferMessage, VoteAnswer, VoteMessage,
};

/// Longest wait for a group that a peer asks about before it is open here.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(1);

/// Why a replica without its log refuses.
const HEARD_AGAIN: &str = "the leader was heard again while this replica voted";
const LEAVING: &str = "the node is about to stop: it takes no leadership over";
const NO_VOTE: &str = "the replica's log is not complete: it takes no part in elections";

/// What the connections of a node serve from.
#[derive(Clone)]
pub(crate) struct NodeInbound {
    pub(crate) transport: Arc<Transport>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) leaderships: Arc<Leaderships>,
    pub(crate) incomplete: Arc<Incomplete>,
    pub(crate) calls: Arc<CallSlot>,
    pub(crate) room: Option<Room>,
    /// Where what peers ask for is done; their connections have another.
    pub(crate) runtime: Handle,
}

impl Inbound for NodeInbound {
    fn connected(&self, link: &Arc<Link>) -> Box<dyn FrameHandler> {
        if link.purpose() == Purpose::Main {
            self.leaderships.greet(link);
            self.incomplete.greet(link);
            if self.transport.is_leaving() {
                liveness::say_leaving(link);
            }
        }
        Box::new(Connection { node: self.clone(), link: link.clone(), lanes: HashMap::new() })
    }
}

/// One peer's requests.
struct Connection {
    node: NodeInbound,
    link: Arc<Link>,
    lanes: HashMap<GroupId, mpsc::UnboundedSender<LaneItem>>,
}

impl FrameHandler for Connection {
    fn handle(&mut self, frame: Frame, permit: OwnedSemaphorePermit) -> Result<(), DecodeError> {
        let Frame { id, group, .. } = frame;
        let expected = match frame.kind {
            Kind::Beat | Kind::BeatEcho | Kind::Announcement | Kind::Incomplete | Kind::Leaving => {
                Role::Notice
            }
            _ => Role::Request,
        };
        if frame.role != expected {
            return Err(DecodeError("frame role for its kind"));
        }
        if self.link.purpose() == Purpose::CatchUp && frame.kind != Kind::Append {
            return Err(DecodeError("other than entries on a connection to catch up"));
        }
        match frame.kind {
            Kind::Append => {
                let message = AppendMessage::decode(frame.body)?;
                self.append(group, LaneItem { id, message, permit });
            }
            Kind::Probe => self.probe(group, id, AppendMessage::decode(frame.body)?),
            Kind::Vote | Kind::PreVote => {
                let message = VoteMessage::decode(frame.body.clone())?;
                let asked = Asked { link: self.link.clone(), permit, frame };
                self.node.runtime.spawn(vote(self.node.clone(), asked, message));
            }
            Kind::Canvass => {
                let canvass = Canvass::decode(frame.body.clone())?;
                let asked = Asked { link: self.link.clone(), permit, frame };
                let node = self.node.clone();
                self.node.runtime.spawn(async move {
                    let answer = canvass::answer(&node.registry, &node.leaderships, &canvass);
                    asked.answer(answer.0.len(), |body| answer.encode(body));
                });
            }
            Kind::Snapshot => {
                let message = SnapshotMessage::decode(frame.body.clone())?;
                let asked = Asked { link: self.link.clone(), permit, frame };
                self.node.runtime.spawn(snapshot(self.node.registry.clone(), asked, message));
            }
            Kind::Transfer => {
                let message = TransferMessage::decode(frame.body.clone())?;
                let asked = Asked { link: self.link.clone(), permit, frame };
                self.node.runtime.spawn(transfer(self.node.clone(), asked, message));
            }
            Kind::End => {
                let asked = Asked { link: self.link.clone(), permit, frame };
                self.node.runtime.spawn(end(self.node.registry.clone(), asked));
            }
            Kind::Call => {
                let (calls, link) = (self.node.calls.clone(), self.link.clone());
                self.node.runtime.spawn(async move {
                    calls.serve(&link, frame).await;
                    drop(permit);
                });
            }
            Kind::Beat => liveness::send(&self.link, Kind::BeatEcho, Beat::decode(frame.body)?),
            Kind::BeatEcho => {
                self.link.peer().echoed(&self.link, Beat::decode(frame.body)?.sent_us);
            }
            Kind::Announcement => {
                let announcement = Announcement::decode(frame.body)?;
                self.node.leaderships.announced(&self.link, &announcement);
            }
            Kind::Incomplete => {
                let announcement = Announcement::decode(frame.body)?;
                self.node.incomplete.announced(self.link.peer().id(), &announcement);
            }
            Kind::Leaving => self.link.peer().leaves(&self.link),
        }
        Ok(())
    }
}

impl Connection {
    fn append(&mut self, group: GroupId, item: LaneItem) {
        let NodeInbound { registry, room, runtime, .. } = &self.node;
        let open = || Lane::open(runtime, registry.clone(), self.link.clone(), group, room.clone());
        let lane = self.lanes.entry(group).or_insert_with(open);
        // A lane lives as long as this sender; it fails only while the runtime shuts down.
        let _ = lane.send(item);
    }

    fn probe(&self, group: GroupId, id: u64, message: AppendMessage) {
        let Some(found) = self.node.registry.get(group) else {
            return refuse(&self.link, id, Status::UnknownGroup, "the group is not open");
        };
        if found.contradicts(&message) {
            return refuse(&self.link, id, Status::Failed, CONTRADICTED);
        }
        let link = self.link.clone();
        let prev = message.prev;
        self.node.runtime.spawn(async move {
            match probe(found.raft(), request(message), prev).await {
                Ok(result) => answer_append(&link, Kind::Probe, group, id, result),
                Err(reason) => refuse(&link, id, Status::Failed, &reason),
            }
        });
    }
}

/// A request that a task answers. The permit counts it against the budget until then.
struct Asked {
    link: Arc<Link>,
    frame: Frame,
    permit: OwnedSemaphorePermit,
}

impl Asked {
    fn wait(&self) -> Duration {
        Duration::from_millis(u64::from(self.frame.deadline_ms)).min(OPEN_WAIT_MAX)
    }

    fn answer(self, body_len: usize, encode: impl FnOnce(&mut bytes::BytesMut)) {
        let mut frame = Outgoing::new(self.frame.kind, self.frame.group, body_len);
        encode(frame.body());
        self.link.answer(self.frame.id, Status::Ok, frame);
        drop(self.permit);
    }

    fn refuse(self, status: Status, reason: &str) {
        refuse(&self.link, self.frame.id, status, reason);
    }

    /// Lets go of the received bytes, once they are decoded.
    fn forget_body(&mut self) {
        self.frame.body = Bytes::new();
    }
}

async fn vote(node: NodeInbound, asked: Asked, message: VoteMessage) {
    let Some(group) = node.registry.wait(asked.frame.group, asked.wait()).await else {
        return asked.refuse(Status::UnknownGroup, "the group is not open");
    };
    if !group.may_vote(asked.wait()).await {
        return asked.refuse(Status::Failed, NO_VOTE);
    }
    let abdicated = group.has_abdicated();
    let would_elect = || {
        let outlook = node.leaderships.outlook();
        outlook.is_some_and(|it| is_up_for_election(&node.leaderships, &it, &group))
            && group.would_vote(message.vote.term, message.last)
    };
    if asked.frame.kind == Kind::PreVote && would_elect() {
        // Only a hint, for which a group's core need not be woken: the vote itself is judged in full.
        note_rival(&node, &group, Some(Rival::Fit));
        let answer = VoteAnswer { vote: message.vote, granted: true, last: None };
        return asked.answer(40, |body| answer.encode(body));
    }
    // A leader that hands over has agreed.
    let admitted = match message.transfer {
        true => Some(Admitted::Agreed),
        false => succession::admit(&node.leaderships, &group).await,
    };
    let Some(admitted) = admitted else {
        return match vote_of(group.raft()).await {
            Ok(vote) => {
                let answer = VoteAnswer { vote, granted: false, last: None };
                asked.answer(40, |body| answer.encode(body));
            }
            Err(reason) => asked.refuse(Status::Failed, &reason),
        };
    };
    let mut request = VoteRequest::new(to_vote(message.vote), message.last.map(to_log_id));
    request.leadership_transfer = message.transfer || abdicated;
    let answered = match asked.frame.kind {
        Kind::PreVote => group.raft().pre_vote(request).await,
        _ => group.raft().vote(request).await,
    };
    match answered {
        Ok(VoteResponse { vote_granted: true, .. })
            if !admitted.holds(&node.leaderships, &group) =>
        {
            asked.refuse(Status::Failed, HEARD_AGAIN);
        }
        Ok(VoteResponse { vote, vote_granted, last_log_id }) => {
            let last = last_log_id.as_ref().map(from_log_id);
            if !message.transfer {
                let rival = if vote_granted {
                    Some(Rival::Fit)
                } else {
                    (message.last < last).then_some(Rival::Behind)
                };
                note_rival(&node, &group, rival);
            }
            let answer = VoteAnswer { vote: from_vote(&vote), granted: vote_granted, last };
            asked.answer(40, |body| answer.encode(body));
        }
        Err(fatal) => asked.refuse(Status::Failed, &fatal.to_string()),
    }
}

/// A candidate other than this node has asked for its vote.
fn note_rival(node: &NodeInbound, group: &Group, rival: Option<Rival>) {
    let Some(rival) = rival else { return };
    group.note_rival(rival);
    if rival == Rival::Behind {
        node.leaderships.stir(group.id());
    }
}

async fn snapshot(registry: Arc<Registry>, mut asked: Asked, message: SnapshotMessage) {
    asked.forget_body();
    let Some(group) = registry.wait(asked.frame.group, asked.wait()).await else {
        return asked.refuse(Status::UnknownGroup, "the group is not open");
    };
    match install_snapshot(group.raft(), message).await {
        Ok(vote) => asked.answer(17, |body| SnapshotMessage::encode_answer(vote, body)),
        Err(reason) => asked.refuse(Status::Failed, &reason),
    }
}

async fn end(registry: Arc<Registry>, asked: Asked) {
    let Some(group) = registry.get(asked.frame.group) else {
        return asked.refuse(Status::UnknownGroup, "the group is not open");
    };
    let deadline = Duration::from_millis(u64::from(asked.frame.deadline_ms));
    match tokio::time::timeout(deadline, group.confirmed_end()).await {
        Ok(Ok(index)) => asked.answer(8, |body| EndAnswer { index }.encode(body)),
        Ok(Err(error)) => asked.refuse(Status::Failed, &error.to_string()),
        // No answer: the asker has given up at the same deadline.
        Err(_) => {}
    }
}

async fn transfer(node: NodeInbound, asked: Asked, message: TransferMessage) {
    let Some(group) = node.registry.get(asked.frame.group) else {
        return asked.refuse(Status::UnknownGroup, "the group is not open");
    };
    if !group.may_lead() {
        return asked.refuse(Status::Failed, NO_VOTE);
    }
    // The other voters only let go of the leader.
    if message.to == node.transport.me() {
        if node.transport.is_leaving() {
            return asked.refuse(Status::Failed, LEAVING);
        }
        let heartbeat = message.as_heartbeat();
        if group.contradicts(&heartbeat) {
            return asked.refuse(Status::Failed, CONTRADICTED);
        }
        // openraft counts nothing of the log as on disk that it has not written or heard of since it started.
        // Where the heartbeat is refused, so is the transfer.
        let _ = probe(group.raft(), request(heartbeat), message.last).await;
    }
    match handle_transfer(group.raft(), message).await {
        Ok(answer) => asked.answer(24, |body| answer.encode(body)),
        Err(reason) => asked.refuse(Status::Failed, &reason),
    }
}
