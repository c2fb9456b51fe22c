//! Pre-votes (Raft dissertation, section 9.6) of many groups at once: a voter is asked about all of them in one
//! message. With thousands of groups, asking about each by itself takes a good part of a failover.
//!
//! ```text
//! due to stand ─► one question per voter ─┬─ a majority would: stand
//!                                         └─ else: openraft's own pre-vote of the group, judged in full
//! ```
//!
//! **Invariant:** only a hint. A voter says yes where it would say so to openraft's pre-vote without a look at more
//! than this node knows already; and the vote itself is judged in full ([`crate::inbound`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::group::Group;
use crate::id::{GroupId, NodeId};
use crate::leadership::{Leaderships, Outlook};
use crate::registry::Registry;
use crate::succession::{Followed, UNDER_WAY_MAX, is_vacant, stand};
use crate::transport::{Link, LinkError, Transport};
use crate::turns::Rival;
use crate::wire::{Candidacy, Canvass, CanvassAnswer, Kind, Outgoing};

/// For the answer, which comes from memory; without it each group asks for itself.
const ANSWER: Duration = Duration::from_millis(150);

const _: () = assert!(UNDER_WAY_MAX <= Canvass::GROUPS_MAX);

/// A group that this node is due to stand for, and whom its replica follows.
pub(crate) struct Candidate {
    pub(crate) group: Group,
    pub(crate) followed: Followed,
}

struct Asking {
    candidate: Option<Candidate>,
    /// Voters that are yet to say yes, for a majority with this one.
    missing: usize,
}

/// Stands for all groups that a majority would elect this node for, and has the others find out by themselves.
pub(crate) async fn stand_for_all(
    leaderships: Arc<Leaderships>,
    transport: Arc<Transport>,
    candidates: Vec<Candidate>,
) {
    let mut questions = BTreeMap::<NodeId, (Vec<usize>, Vec<Candidacy>)>::new();
    let mut all = Vec::new();
    // Who may not lead would only hold up those who may.
    let candidates = candidates.into_iter().filter(|candidate| candidate.group.may_lead());
    for (place, candidate) in candidates.enumerate() {
        let voters = candidate.group.voters();
        if let Some(candidacy) = candidate.group.candidacy() {
            for voter in voters.iter().filter(|voter| **voter != transport.me()) {
                let (places, rows) = questions.entry(*voter).or_default();
                places.push(place);
                rows.push(candidacy);
            }
        }
        all.push(Asking { candidate: Some(candidate), missing: voters.len() / 2 });
    }
    let begin = |asking: &mut Asking, is_wanted| {
        if let Some(Candidate { group, followed }) = asking.candidate.take() {
            tokio::spawn(stand(leaderships.clone(), group, followed, is_wanted));
        }
    };
    let asked = questions.into_iter().map(|(voter, (places, rows))| {
        let link = transport.link(voter);
        async move { (places, ask(link, Canvass(rows)).await) }
    });
    let mut answers: FuturesUnordered<_> = asked.collect();
    while let Some((places, answer)) = answers.next().await {
        // Without one, the groups ask for themselves.
        let granted = answer.map_or_else(|_| Vec::new(), |CanvassAnswer(granted)| granted);
        for (place, _) in places.into_iter().zip(granted).filter(|(_, granted)| *granted) {
            let asking = &mut all[place];
            asking.missing = asking.missing.saturating_sub(1);
            if asking.missing == 0 {
                begin(asking, true);
            }
        }
    }
    all.iter_mut().for_each(|asking| begin(asking, false));
}

async fn ask(link: Option<Arc<Link>>, canvass: Canvass) -> Result<CanvassAnswer, LinkError> {
    let link = link.ok_or(LinkError::Closed)?;
    let mut frame = Outgoing::new(Kind::Canvass, GroupId::METADATA, canvass.len_max());
    canvass.encode(frame.body());
    let pending = link.ask_urgent(frame, ANSWER)?;
    let answer = tokio::time::timeout(ANSWER, pending).await;
    let answer = answer.unwrap_or(Err(LinkError::Timeout))?;
    Ok(CanvassAnswer::decode(answer.body, canvass.0.len())?)
}

/// What this node's replicas say to a peer that would stand.
pub(crate) fn answer(
    registry: &Registry,
    leaderships: &Leaderships,
    Canvass(rows): &Canvass,
) -> CanvassAnswer {
    let outlook = leaderships.outlook();
    let would_elect = |candidacy: &Candidacy| {
        let (Some(group), Some(outlook)) = (registry.get(candidacy.group), &outlook) else {
            return false;
        };
        if !group.votes() || !is_up_for_election(leaderships, outlook, &group) {
            return false;
        }
        let grants = group.would_vote(candidacy.term, candidacy.last);
        if grants {
            group.note_rival(Rival::Fit);
        } else if group.candidacy().is_some_and(|own| candidacy.last < own.last) {
            group.note_rival(Rival::Behind);
            leaderships.stir(group.id());
        }
        grants
    };
    CanvassAnswer(rows.iter().map(would_elect).collect())
}

/// Whether the leader that a replica follows is gone, or agrees, as far as this node knows without asking the group.
pub(crate) fn is_up_for_election(
    leaderships: &Leaderships,
    outlook: &Outlook,
    group: &Group,
) -> bool {
    group.has_abdicated() || is_vacant(leaderships, outlook, group)
}
