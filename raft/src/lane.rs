//! Receives one peer's entries for one group: feeds them to the group in order and answers each.
//!
//! A sender numbers its streams. A new number begins a new session; what is left of an older one is
//! dropped, as its sender no longer listens. After an answer other than a match, a session is over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::adapter::{AppendError, AppendRequest, AppendResult, Fatal};
use crate::adapter::{from_log_id, from_vote, to_entry, to_log_id, to_vote};
use crate::group::Group;
use crate::id::GroupId;
use crate::options::{Incoming, Room};
use crate::registry::Registry;
use crate::transport::Link;
use crate::wire::{AppendAnswer, AppendMessage, Kind, Outgoing, Status};

/// Longest wait for a group that a peer replicates to before it is open here.
const OPEN_WAIT: Duration = Duration::from_secs(1);

/// Told to a leader whose entries differ from what was committed here.
pub(crate) const CONTRADICTED: &str = "other entries were committed here";

/// One append on its way to the group.
pub(crate) struct LaneItem {
    pub(crate) id: u64,
    pub(crate) message: AppendMessage,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// One peer's way to one group.
pub(crate) struct Lane {
    registry: Arc<Registry>,
    link: Arc<Link>,
    group: GroupId,
    room: Option<Room>,
}

/// A request's id, and its share of the budget.
type Unanswered = (u64, OwnedSemaphorePermit);

struct Session {
    group: Group,
    number: u32,
    over: bool,
    input: Option<mpsc::UnboundedSender<AppendRequest>>,
    unanswered: VecDeque<Unanswered>,
    output: BoxStream<'static, Result<AppendResult, Fatal>>,
}

impl Lane {
    /// Where to send appends to. The lane, which runs in `runtime`, ends when that is dropped.
    pub(crate) fn open(
        runtime: &Handle,
        registry: Arc<Registry>,
        link: Arc<Link>,
        group: GroupId,
        room: Option<Room>,
    ) -> mpsc::UnboundedSender<LaneItem> {
        let (sender, items) = mpsc::unbounded_channel();
        runtime.spawn(Self { registry, link, group, room }.run(items));
        sender
    }

    async fn run(self, mut items: mpsc::UnboundedReceiver<LaneItem>) {
        let mut session: Option<Session> = None;
        loop {
            let output = match &mut session {
                Some(session) if !session.over => session.output.next().left_future(),
                _ => std::future::pending().right_future(),
            };
            tokio::select! {
                biased;
                answer = output => {
                    if let Some(session) = &mut session {
                        self.answered(session, answer);
                    }
                }
                item = items.recv() => {
                    let Some(item) = item else { return };
                    self.feed(&mut session, item).await;
                }
            }
        }
    }

    async fn feed(&self, session: &mut Option<Session>, item: LaneItem) {
        let number = item.message.session;
        if session.as_ref().is_none_or(|session| session.number != number) {
            *session = self.begin(number).await;
        }
        let Some(session) = session else {
            return refuse(&self.link, item.id, Status::UnknownGroup, "the group is not open");
        };
        if session.group.contradicts(&item.message) {
            return self.end(session, Some((item.id, item.permit)), CONTRADICTED);
        }
        let entries = item.message.entries.as_slice();
        let is_behind_others = !session.unanswered.is_empty();
        let incoming = Incoming { group: self.group, entries, is_behind_others };
        let room = self.room.as_ref().filter(|_| !entries.is_empty());
        if room.is_some_and(|room| !room.is_there(incoming)) {
            return self.end(session, Some((item.id, item.permit)), "there is no room for entries");
        }
        if let Some(input) = &session.input {
            session.unanswered.push_back((item.id, item.permit));
            // A group that is shutting down no longer reads; its output says so.
            let _ = input.send(request(item.message));
        }
    }

    async fn begin(&self, number: u32) -> Option<Session> {
        let group = self.registry.wait(self.group, OPEN_WAIT).await?;
        let (input, requests) = mpsc::unbounded_channel();
        let requests = stream::unfold(requests, |mut requests| async move {
            requests.recv().await.map(|request| (request, requests))
        });
        let output = Box::pin(group.raft().stream_append(requests));
        let unanswered = VecDeque::new();
        Some(Session { group, number, over: false, input: Some(input), unanswered, output })
    }

    fn answered(&self, session: &mut Session, answer: Option<Result<AppendResult, Fatal>>) {
        let next = session.unanswered.pop_front();
        match (answer, next) {
            (Some(Ok(result)), Some((id, _permit))) => {
                session.over = result.is_err();
                answer_append(&self.link, Kind::Append, self.group, id, result);
            }
            (answer, next) => {
                let fatal = answer.and_then(Result::err).map(|fatal| fatal.to_string());
                let reason = fatal.as_deref().unwrap_or("the group stopped");
                self.end(session, next, reason);
            }
        }
        if session.over {
            session.input = None;
            session.unanswered.clear();
        }
    }

    /// Ends a session: what of it has no answer yet is refused, with `one` more.
    fn end(&self, session: &mut Session, one: Option<Unanswered>, reason: &str) {
        (session.over, session.input) = (true, None);
        for (id, _permit) in session.unanswered.drain(..).chain(one) {
            refuse(&self.link, id, Status::Failed, reason);
        }
    }
}

/// openraft's request of a received message.
pub(crate) fn request(message: AppendMessage) -> AppendRequest {
    AppendRequest {
        vote: to_vote(message.vote),
        prev_log_id: message.prev.map(to_log_id),
        entries: message.entries.into_iter().map(to_entry).collect(),
        leader_commit: message.commit.map(to_log_id),
    }
}

/// Answers an append or a probe.
pub(crate) fn answer_append(
    link: &Link,
    kind: Kind,
    group: GroupId,
    id: u64,
    result: AppendResult,
) {
    let answer = match result {
        Ok(matched) => AppendAnswer::Matched(matched.as_ref().map(from_log_id)),
        Err(AppendError::Conflict(at)) => AppendAnswer::Conflict(from_log_id(&at)),
        Err(AppendError::HigherVote(vote)) => AppendAnswer::HigherVote(from_vote(&vote)),
    };
    let mut frame = Outgoing::new(kind, group, 18);
    answer.encode(&mut frame);
    link.answer(id, Status::Ok, frame);
}

/// Answers that a request cannot be served.
pub(crate) fn refuse(link: &Link, id: u64, status: Status, reason: &str) {
    let cut = (0..=reason.len().min(1_024)).rev().find(|end| reason.is_char_boundary(*end));
    let reason = &reason[..cut.unwrap_or(0)];
    let mut frame = Outgoing::new(Kind::Call, GroupId::METADATA, reason.len());
    frame.body().extend_from_slice(reason.as_bytes());
    link.answer(id, status, frame);
}
