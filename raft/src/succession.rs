//! Elections: whose group has lost its leader, who stands for it, and when.
//!
//! Groups have no timers. One task looks over all groups of the node whenever a peer, a leadership or a
//! group has changed, and while any group is without a leader:
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

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::group::Group;
use crate::id::{GroupId, NodeId};
use crate::leadership::{Leaderships, Outlook, Standing};
use crate::registry::Registry;
use crate::status::GroupStatus;
use crate::transport::Transport;
use crate::turns::{Grace, Orphan, Pace, Step, Watch, decide, turn};

/// Elections that a node may have under way.
const UNDER_WAY_MAX: usize = 256;
/// Between two looks over all groups, so that a storm of changes costs one look, not one each.
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
    /// Told of every change that may matter.
    pub(crate) wake: Arc<Notify>,
}

/// A group that this node is due to stand for.
struct Candidacy {
    group: Group,
    followed: Followed,
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
                () = self.wake.notified() => {}
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

    /// Looks over all groups; when to look again where nothing wakes the task before.
    fn look(&self, watches: &mut HashMap<GroupId, Watch>) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let outlook = self.leaderships.outlook()?;
        let groups = self.registry.all();
        let (mut due_to_stand, mut led) = (Vec::new(), Vec::new());
        let (mut under_way, mut leaderless) = (0, 0);
        let heartbeat = self.transport.timing().heartbeat();
        let grace = Grace::of(self.transport.timing());
        for group in &groups {
            let (id, role) = (group.id(), group.known_role());
            let old = watches.get(&id).copied();
            if role.is_leader {
                note(watches, id, old, Watch::Led);
                // Who asked before this one led bears upon no later election.
                group.take_rival();
                led.push(group);
                if self.leaderships.is_outdated(id, role.term) {
                    // Somebody leads a later term: whoever is asked to confirm this one says so.
                    let group = group.clone();
                    tokio::spawn(async move { group.beat().await });
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
                    due_to_stand.push(Candidacy { group, followed, orphan, turn, pace });
                }
                (Watch::Orphan(orphan), step) => {
                    under_way += usize::from(orphan.is_under_way(Instant::now()));
                    if step == Step::Release {
                        self.let_vote(group.clone(), Followed::of(&status));
                    }
                }
                (Watch::Led, _) => {}
            }
            note(watches, id, old, watch);
        }
        if watches.len() > groups.len() {
            watches.retain(|id, _| self.registry.get(*id).is_some());
        }
        // Elections come first, and are over soon.
        if due_to_stand.is_empty() && under_way == 0 {
            let due = led.iter().filter_map(|group| self.keep_informed(group, &outlook)).min();
            next = due.map_or(next, |due| Some(earlier(next, due)));
        } else {
            next = Some(earlier(next, Instant::now() + heartbeat));
        }
        let now = Instant::now();
        due_to_stand.sort_by_key(|candidacy| candidacy.orphan.stand);
        let load = due_to_stand.len() + under_way;
        let mut may_begin = UNDER_WAY_MAX.saturating_sub(under_way);
        for Candidacy { group, followed, mut orphan, turn, pace } in due_to_stand {
            if orphan.gives_way(pace, turn, leaderless, now) {
                next = Some(earlier(next, orphan.stand));
            } else if may_begin > 0 {
                may_begin -= 1;
                orphan.stands(pace.under(load), turn, now);
                next = Some(earlier(next, orphan.stand));
                tokio::spawn(stand(self.leaderships.clone(), group.clone(), followed));
            } else {
                // It is looked at again when some of the others have ended.
                next = Some(earlier(next, now + LOOK_PAUSE));
            }
            // Until it stands it may vote.
            if orphan.take_release(now) {
                self.let_vote(group.clone(), followed);
            }
            watches.insert(group.id(), Watch::Orphan(orphan));
        }
        next
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

/// Lets this replica vote for another than the one who led it; whether it may.
async fn release(leaderships: &Leaderships, group: &Group, followed: Followed) -> bool {
    group.disable_lease(followed.leader, followed.term).await
        && followed.is_free(leaderships, group)
}

/// What the leader sends until this node has voted for itself ends the attempt: openraft sees to that.
async fn stand(leaderships: Arc<Leaderships>, group: Group, followed: Followed) {
    if release(&leaderships, &group, followed).await {
        tracing::debug!(group = %group.id(), term = followed.term, "standing for election");
        group.elect().await;
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
    fn standing(self, leaderships: &Leaderships, group: &Group) -> Option<Standing> {
        let outlook = leaderships.outlook()?;
        Some(leaderships.standing(&outlook, group.id(), self.leader, self.term))
    }

    /// Whether neither this leader nor a later one is there, or may be.
    fn is_free(self, leaderships: &Leaderships, group: &Group) -> bool {
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
    /// leader that came back has sent meanwhile was answered.
    pub(crate) fn holds(self, leaderships: &Leaderships, group: &Group) -> bool {
        match self {
            Self::Agreed => true,
            Self::Free(followed) => followed.is_free(leaderships, group),
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
pub(crate) fn is_vacant(leaderships: &Leaderships, group: &Group) -> bool {
    let status = group.status().borrow();
    let standing = Followed::of(&status).standing(leaderships, group);
    !status.is_leader && matches!(standing, Some(Standing::Gone | Standing::Vacant))
}

/// Whether a candidate's question may be put to this node's replica of `group`. Releases the lease of
/// a leader that is gone.
pub(crate) async fn admit(leaderships: &Leaderships, group: &Group) -> Option<Admitted> {
    let status = group.status().borrow();
    let followed = Followed::of(&status);
    if status.is_leader {
        return (!group.is_confirmed()).then_some(Admitted::Agreed);
    }
    let is_admitted = match followed.standing(leaderships, group)? {
        Standing::Led | Standing::Unclear => false,
        Standing::Gone | Standing::Vacant => release(leaderships, group, followed).await,
        Standing::Unclaimed => true,
    };
    is_admitted.then_some(Admitted::Free(followed))
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
