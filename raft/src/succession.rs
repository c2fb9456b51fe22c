//! Elections: whose group has lost its leader, who stands for it, and when.
//!
//! Groups have no timers. One task looks at what has changed ([`crate::stir`]): at a group or at its leadership, at all
//! groups where it is a peer; and, while they have none, at those without a leader:
//!
//! ```text
//! led ──► leader gone, or group vacant ──► release the lease ──► stand, when it is this node's turn
//!  ▲                                                                │ again, ever more rarely
//!  └────────────────────── somebody leads ◄─────────────────────────┘
//! ```
//! The voters that live stand one after the other, a different one first for each group, so that a dead
//! node's groups spread over the survivors and votes are not split. A node stands for a bounded number of
//! groups at a time, in the order in which they are due: on a busy machine thousands of elections at once would all
//! take longer than others wait for them.
//!
//! **Invariant:** as long as a leader lives and says that it leads, no voter that hears it helps anybody
//! to depose it ([`admit`]), however long its group was idle: that is what makes it safe to answer
//! reads on the word of peers ([`crate::Group::is_confirmed`]).
//! Deliberately elsewhere: whose turn it is when ([`crate::turns`]), the rules of votes (openraft), and
//! whether peers live ([`crate::transport`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::adapter::GroupSignals;
use crate::canvass::{Candidate, stand_for_all};
use crate::group::Group;
use crate::id::{GroupId, NodeId};
use crate::leadership::{Leaderships, Outlook, Standing};
use crate::registry::Registry;
use crate::status::GroupStatus;
use crate::stir::{Stir, Stirred};
use crate::transport::Transport;
use crate::turns::{Grace, Orphan, Pace, Step, Watch, decide, turn};

/// Elections that a node may have under way.
pub(crate) const UNDER_WAY_MAX: usize = 256;
/// Between two looks, so that a storm of changes costs one look, not one each.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
/// The pause is so many times what the look took where that is longer, up to the maximum: looking must
/// not become what a node of thousands of groups mostly does.
const LOOK_PAUSE_FACTOR: u32 = 39;
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Pauses that were not needed lately make up for so much: the look that finds a peer lost is not to delay the one that
/// finds it gone.
const LOOK_CREDIT: Duration = Duration::from_millis(200);

/// Heartbeats of nodes after which a new leader's group needs none of its own.
const VOUCHED_AFTER: u32 = 3;

/// What the task works with.
pub(crate) struct Succession {
    pub(crate) transport: Arc<Transport>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) leaderships: Arc<Leaderships>,
    /// What changed that may matter.
    pub(crate) stir: Arc<Stir>,
}

/// A group that this node is due to stand for.
struct Due {
    candidate: Candidate,
    orphan: Orphan,
    turn: u32,
    pace: Pace,
}

impl Succession {
    /// Runs until the node stops.
    pub(crate) async fn run(self) {
        let mut stopped = self.transport.stopped();
        let mut watches = HashMap::new();
        let (mut next, mut owed, mut looked) = (None, Duration::ZERO, Instant::now());
        loop {
            tokio::select! {
                () = self.stir.stirred() => {}
                () = sleep_until(next) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let begun = Instant::now();
            next = self.look(&mut watches);
            owed = owed.saturating_sub(begun - looked);
            looked = Instant::now();
            owed += (LOOK_PAUSE_FACTOR * (looked - begun)).min(LOOK_PAUSE_MAX);
            tokio::time::sleep(owed.saturating_sub(LOOK_CREDIT).max(LOOK_PAUSE)).await;
        }
    }

    /// Looks at the groups that have changed, and at those that are not led; when to look again where nothing
    /// changes before.
    fn look(&self, watches: &mut HashMap<GroupId, Watch>) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        // In this order: a peer that changes after the first is seen by the next look.
        let groups = self.changed_or_orphaned(watches);
        let outlook = self.leaderships.outlook()?;
        let mut due_to_stand = Vec::new();
        let (mut under_way, mut leaderless) = (0, 0);
        let heartbeat = self.transport.timing().heartbeat();
        let grace = Grace::of(self.transport.timing());
        for group in &groups {
            let (id, role) = (group.id(), group.known_role());
            let old = watches.get(&id).copied();
            if role.is_leader {
                let is_outdated = self.leaderships.is_outdated(id, role.term);
                note(watches, id, old, look_at_leader(group, is_outdated));
                if is_outdated {
                    next = Some(earlier(next, Instant::now() + heartbeat));
                }
                continue;
            }
            let rival = group.take_rival();
            let standing_of = |leader, term| self.leaderships.standing(&outlook, id, leader, term);
            if is_led(standing_of(role.leader, role.term)) {
                note(watches, id, old, Watch::Led);
                continue;
            }
            // It is dearer to look at, and newer.
            let status = group.status().borrow();
            if group.has_ended() || status.is_leader {
                watches.remove(&id);
                continue;
            }
            let standing = standing_of(status.leader, status.term);
            let (me, preferred) = (self.transport.me(), group.preferred());
            // Without a majority nobody is elected; a connection wakes this.
            let may_win = outlook.sees_majority(&status.voters);
            leaderless += usize::from(may_win);
            let may_lead = |node| may_win && outlook.may_lead(node);
            let turn = || turn(id, me, preferred, &status, may_lead);
            let of = (status.term, standing);
            let pace = Pace::of(&status, preferred);
            let (watch, step, due) = decide(old, of, turn, rival, (grace, pace), Instant::now());
            next = due.map_or(next, |due| Some(earlier(next, due)));
            match (watch, step) {
                (Watch::Orphan(orphan), Step::Stand { turn }) => {
                    let (group, followed) = (group.clone(), Followed::of(&status));
                    let candidate = Candidate { group, followed };
                    due_to_stand.push(Due { candidate, orphan, turn, pace });
                }
                (Watch::Orphan(orphan), step) => {
                    under_way += usize::from(orphan.is_under_way(Instant::now()));
                    if step == Step::Release {
                        self.let_vote(group.clone(), Followed::of(&status));
                    }
                }
                (Watch::Led | Watch::Leads | Watch::Outdated, _) => {}
            }
            note(watches, id, old, watch);
        }
        // Elections come first, and are over soon.
        let due = match due_to_stand.is_empty() && under_way == 0 {
            true => self.look_at_own(watches, &outlook),
            false => Some(Instant::now() + heartbeat),
        };
        next = due.map_or(next, |due| Some(earlier(next, due)));
        let now = Instant::now();
        due_to_stand.sort_by_key(|due| due.orphan.stand);
        let load = due_to_stand.len() + under_way;
        let mut may_begin = UNDER_WAY_MAX.saturating_sub(under_way);
        let mut candidates = Vec::new();
        for Due { candidate, mut orphan, turn, pace } in due_to_stand {
            let id = candidate.group.id();
            if !orphan.gives_way(pace, turn, leaderless, now) && may_begin > 0 {
                may_begin -= 1;
                orphan.stands(pace.under(load), turn, now);
                next = Some(earlier(next, orphan.stand));
                candidates.push(candidate);
            } else {
                // It is looked at again in its turn, or when some of the others have ended.
                next = Some(earlier(next, orphan.stand.max(now + LOOK_PAUSE)));
                // Until it stands it may vote.
                if orphan.take_release(now) {
                    self.let_vote(candidate.group, candidate.followed);
                }
            }
            watches.insert(id, Watch::Orphan(orphan));
        }
        if !candidates.is_empty() {
            let (leaderships, transport) = (self.leaderships.clone(), self.transport.clone());
            tokio::spawn(stand_for_all(leaderships, transport, candidates));
        }
        next
    }

    /// The groups that may be other than they were at the last look, and those without a leader. Forgets those that
    /// are not open any more.
    fn changed_or_orphaned(&self, watches: &mut HashMap<GroupId, Watch>) -> Vec<Group> {
        let mut ids = match self.stir.take() {
            Stirred::All => {
                let groups = self.registry.all();
                if watches.len() > groups.len() {
                    let open: HashSet<_> = groups.iter().map(Group::id).collect();
                    watches.retain(|id, _| open.contains(id));
                }
                return groups;
            }
            Stirred::Some(ids) => ids,
        };
        let is_due = |watch: &Watch| matches!(watch, Watch::Orphan(_) | Watch::Outdated);
        ids.extend(watches.iter().filter(|(_, watch)| is_due(watch)).map(|(id, _)| *id));
        let groups = self.registry.open_of(ids.iter().copied());
        if groups.len() < ids.len() {
            groups.iter().for_each(|group| _ = ids.remove(&group.id()));
            ids.iter().for_each(|id| _ = watches.remove(id));
        }
        groups
    }

    /// Looks at the groups that this node has come to lead, or whose voters were away; when to do so again.
    fn look_at_own(
        &self,
        watches: &mut HashMap<GroupId, Watch>,
        outlook: &Outlook,
    ) -> Option<Instant> {
        let own = watches.iter().filter(|(_, watch)| **watch == Watch::Leads).map(|(id, _)| *id);
        let due = self.registry.open_of(own).into_iter().filter_map(|group| {
            let due = self.keep_informed(&group, outlook);
            if due.is_none() {
                watches.insert(group.id(), Watch::Led);
            }
            due
        });
        due.min()
    }

    /// Voters of an idle group that were away are asked anew whether they follow, so that whoever wants to know finds
    /// this node confirmed, and are told what is committed: nothing else would. When to look at the group again.
    fn keep_informed(&self, group: &Group, outlook: &Outlook) -> Option<Instant> {
        let is_informed = group.is_vouched_for() && group.has_told();
        if is_informed || !outlook.sees_majority(&group.voters()) {
            return None;
        }
        let timing = self.transport.timing();
        let (leads_for, soon) =
            (group.leads_since()?.elapsed(), VOUCHED_AFTER * timing.heartbeat());
        if leads_for < soon {
            return Some(Instant::now() + (soon - leads_for));
        }
        let group = group.clone();
        tokio::spawn(async move { group.beat().await });
        Some(Instant::now() + timing.peer_dead())
    }

    /// Not awaited: a group waits for its disk, and the others must not.
    fn let_vote(&self, group: Group, followed: Followed) {
        let leaderships = self.leaderships.clone();
        tokio::spawn(async move { release(&leaderships, &group, followed).await });
    }
}

/// Looks at a group that this node leads, as far as it knows.
fn look_at_leader(group: &Group, is_outdated: bool) -> Watch {
    // Who asked before this one led bears upon no later election.
    group.take_rival();
    if !is_outdated {
        return Watch::Leads;
    }
    // Somebody leads a later term: whoever is asked to confirm this one says so.
    let group = group.clone();
    tokio::spawn(async move { group.beat().await });
    Watch::Outdated
}

/// Lets this replica vote for another than the one who led it; whether it may.
async fn release(leaderships: &Leaderships, group: &Group, followed: Followed) -> bool {
    !group.abstains()
        && group.disable_lease(followed.leader, followed.term).await
        && followed.is_free(leaderships, group.id())
}

/// Whoever is heard of again before the voters are asked for their votes ends the attempt.
/// `is_wanted`: a majority would elect this node.
pub(crate) async fn stand(
    leaderships: Arc<Leaderships>,
    group: Group,
    followed: Followed,
    is_wanted: bool,
) {
    if release(&leaderships, &group, followed).await {
        tracing::debug!(group = %group.id(), term = followed.term, is_wanted, "standing for election");
        group.campaign(Some(followed), is_wanted).await;
    }
}

/// Whom a replica takes for its leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    leader: Option<NodeId>,
    term: u64,
}

impl Followed {
    fn of(status: &GroupStatus) -> Self {
        Self { leader: status.leader, term: status.term }
    }

    /// How the leader stands; `None` once the node has stopped.
    fn standing(self, leaderships: &Leaderships, group: GroupId) -> Option<Standing> {
        let outlook = leaderships.outlook()?;
        Some(leaderships.standing(&outlook, group, self.leader, self.term))
    }

    /// As [`is_free`](Self::is_free), for a replica that has voted. Where it is not, the replica abstains for a while, and
    /// its node's connections to this leader and to later ones before that vote end: what it has told them over those
    /// counts no longer, however long their heartbeats come back.
    pub(crate) fn is_free_or_abstain(
        self,
        leaderships: &Leaderships,
        group: GroupId,
        signals: &GroupSignals,
    ) -> bool {
        let is_free = self.is_free(leaderships, group);
        if !is_free {
            signals.abstain();
            leaderships.part(group, self.leader, self.term..signals.voted.load(Ordering::Acquire));
        }
        is_free
    }

    /// Whether neither this leader nor a later one is there, or may be.
    fn is_free(self, leaderships: &Leaderships, group: GroupId) -> bool {
        let standing = self.standing(leaderships, group);
        standing.is_some_and(|standing| !is_led(standing))
    }
}

/// Why a candidate's question is put to a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Admitted {
    /// Its leader agrees: it hands over, or is this node and not sure that it leads.
    Agreed,
    /// Nobody leads it.
    Free(Followed),
}

impl Admitted {
    /// Whether it is still so. To be asked once the replica has voted, and before anybody learns of it: what a
    /// leader that came back has sent meanwhile was answered. Where it is not, the replica abstains for a while: it has
    /// voted, and follows that leader no more.
    pub(crate) fn holds(self, leaderships: &Leaderships, group: &Group) -> bool {
        match self {
            Self::Agreed => true,
            Self::Free(followed) => {
                followed.is_free_or_abstain(leaderships, group.id(), group.signals())
            }
        }
    }
}

fn is_led(standing: Standing) -> bool {
    matches!(standing, Standing::Led | Standing::Unclear)
}

/// Remembers a group, mostly as it was.
fn note(watches: &mut HashMap<GroupId, Watch>, id: GroupId, old: Option<Watch>, new: Watch) {
    if old != Some(new) {
        watches.insert(id, new);
    }
}

fn earlier(known: Option<Instant>, other: Instant) -> Instant {
    known.map_or(other, |known| known.min(other))
}

/// Whether nobody leads `group`, as far as this node can tell, and its replica may vote at once.
pub(crate) fn is_vacant(leaderships: &Leaderships, outlook: &Outlook, group: &Group) -> bool {
    let status = group.status().borrow();
    let standing = leaderships.standing(outlook, group.id(), status.leader, status.term);
    let is_vacant = matches!(standing, Standing::Gone | Standing::Vacant);
    is_vacant && !status.is_leader && !group.abstains()
}

/// Whether a candidate's question may be put to this node's replica of `group`. Releases the lease of
/// a leader that is gone.
pub(crate) async fn admit(leaderships: &Leaderships, group: &Group) -> Option<Admitted> {
    let status = group.status().borrow();
    let followed = Followed::of(&status);
    if status.is_leader {
        return (!group.is_confirmed()).then_some(Admitted::Agreed);
    }
    let is_admitted = match followed.standing(leaderships, group.id())? {
        Standing::Led | Standing::Unclear => false,
        Standing::Gone | Standing::Vacant => release(leaderships, group, followed).await,
        Standing::Unclaimed => !group.abstains(),
    };
    is_admitted.then_some(Admitted::Free(followed))
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
