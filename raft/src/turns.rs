//! When a node stands for election: a pure function of what it remembers of a group, and of what it sees now.
//!
//! The voters that live have turns, one after the other, a different one first for each group. Who has just been
//! ready to vote for another waits for that election to end; who has refused another for what that one's log lacks
//! stands at once ([`Rival`]): two that stand at the same moment split the votes. For the same reason nobody stands
//! where it is another's turn while many groups are without a leader.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::adapter::VOTE;
use crate::id::{GroupId, NodeId};
use crate::leadership::Standing;
use crate::options::Timing;
use crate::status::GroupStatus;

/// Between the turns of two voters: about two round trips and syncs of a busy machine.
const TURN: Duration = Duration::from_millis(60);
/// While so many groups or more are without a leader, a node does not stand where it is another's turn: that one has as
/// many to stand for, and may not have come to this one yet.
const MANY: usize = 32;
/// But for no longer: some may never be led.
const HELD_BACK_MAX: Duration = VOTE;
/// What is added to the pause before another attempt for each election that is due or under way at once: they share the
/// machine, and an attempt that is only slow is not to be begun anew.
const ELECTION: Duration = Duration::from_millis(1);
/// Between two attempts of the same voter; doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// The same two, where one voter of a new group is preferred: it may be one of thousands that are made
/// at once, and a second candidate only makes it slower.
const TURN_NEW: Duration = Duration::from_secs(1);
const RETRY_NEW: Duration = Duration::from_secs(1);

/// What is remembered of a group between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Nothing is to be done before it changes.
    Led,
    /// This node leads it, and may have to tell voters.
    Leads,
    /// This node leads it in a term that somebody else has overtaken.
    Outdated,
    Orphan(Orphan),
}

/// A voter that has asked for this one's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// It gets it: the election is under way.
    Fit,
    /// Its log lacks what this one's has: it cannot win, and this one may.
    Behind,
}

/// A group without a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    /// The term, and what is known of its leader. Where either changes, as by an election, there is time
    /// anew for others to lead.
    of: (u64, Standing),
    /// When this replica may vote; `None` once that was seen to.
    release: Option<Instant>,
    /// When this node stands, if it has a vote.
    pub(crate) stand: Instant,
    /// When it did last.
    stood: Option<Instant>,
    /// How often it has.
    attempts: u32,
    /// Whose turn it was cannot win.
    is_next: bool,
    /// Since when this node gives way to whose turn it is.
    held: Option<Instant>,
}

impl Orphan {
    /// Whether an attempt may still succeed.
    pub(crate) fn is_under_way(&self, now: Instant) -> bool {
        self.stood.is_some_and(|stood| now < stood + VOTE)
    }

    /// Makes way for another, or takes its place.
    fn heed(&mut self, rival: Rival, pace: Pace, now: Instant) {
        match rival {
            Rival::Fit => self.stand = self.stand.max(now + pace.retry),
            // This one's own election is no worse than another of it.
            Rival::Behind if self.is_under_way(now) => {}
            Rival::Behind => {
                // Not before anybody may.
                let soonest = self.release.map_or(now, |release| release.max(now));
                (self.stand, self.is_next) = (self.stand.min(soonest), true);
            }
        }
    }

    /// Whether this replica is to be told that it may vote from now on: said once. Where its leader is gone or there
    /// is none, it finds so when it is asked for its vote ([`crate::succession::admit`]).
    pub(crate) fn take_release(&mut self, now: Instant) -> bool {
        let may_vote = self.release.take_if(|release| now >= *release).is_some();
        may_vote && self.of.1 == Standing::Unclaimed
    }

    /// This node stands now; when it would again.
    pub(crate) fn stands(&mut self, pace: Pace, turn: u32, now: Instant) {
        let pause = (pace.retry * 2_u32.pow(self.attempts.min(8))).min(RETRY_LAST);
        self.stand = now + pause.mul_f64(rand::random_range(0.75..1.25)) + pace.wait(turn);
        self.attempts += 1;
        (self.release, self.is_next, self.held) = (None, false, None);
        self.stood = Some(now);
    }

    /// Where `leaderless` groups wait for a leader and it is another's turn: whether that one is given time anew.
    pub(crate) fn gives_way(
        &mut self,
        pace: Pace,
        turn: u32,
        leaderless: usize,
        now: Instant,
    ) -> bool {
        let was_held = self.held.is_some_and(|held| now >= held + HELD_BACK_MAX);
        if turn == 0 || leaderless < MANY || was_held {
            return false;
        }
        self.held.get_or_insert(now);
        self.stand = now + pace.wait(turn);
        true
    }
}

/// For how long a group may be without anybody who says that they lead it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grace {
    /// A leader of this moment may not have said so yet.
    vacant: Duration,
    /// Beyond that, its lease may rest on what this voter has just confirmed
    /// ([`crate::Group::is_confirmed`]).
    unclaimed: Duration,
}

impl Grace {
    pub(crate) fn of(timing: &Timing) -> Self {
        Self { vacant: 2 * timing.heartbeat(), unclaimed: timing.peer_dead() }
    }
}

/// How fast voters follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    turn: Duration,
    retry: Duration,
}

impl Pace {
    const USUAL: Self = Self { turn: TURN, retry: RETRY_FIRST };
    const NEW: Self = Self { turn: TURN_NEW, retry: RETRY_NEW };

    pub(crate) fn of(status: &GroupStatus, preferred: Option<NodeId>) -> Self {
        // The first entry holds the first members; the next one is of the first leader.
        let is_new = status.last.is_none_or(|last| last == 0);
        if is_new && preferred.is_some() { Self::NEW } else { Self::USUAL }
    }

    fn wait(self, turn: u32) -> Duration {
        self.turn * turn
    }

    /// Where `elections` are due or under way at once.
    pub(crate) fn under(self, elections: usize) -> Self {
        let elections = u32::try_from(elections).unwrap_or(u32::MAX);
        Self { retry: self.retry.saturating_add(ELECTION.saturating_mul(elections)), ..self }
    }
}

/// What to do about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// Whoever led it does not say so any more, although it lives: this replica may vote.
    Release,
    /// Stand for election as soon as it can be.
    Stand {
        turn: u32,
    },
}

/// This node's place among the voters that stand, 0 for the first; `None` where it does not.
pub(crate) fn turn(
    group: GroupId,
    me: NodeId,
    preferred: Option<NodeId>,
    status: &GroupStatus,
    may_lead: impl Fn(NodeId) -> bool,
) -> Option<u32> {
    let voters: &BTreeSet<NodeId> = &status.voters;
    let live: Vec<_> = voters.iter().copied().filter(|node| may_lead(*node)).collect();
    if !live.contains(&me) {
        return None;
    }
    let offset = group.spread() as usize % live.len();
    let others = live.iter().cycle().skip(offset).take(live.len());
    let preferred = preferred.filter(|node| live.contains(node));
    let order =
        preferred.into_iter().chain(others.copied().filter(|node| Some(*node) != preferred));
    order.into_iter().position(|node| node == me).map(|place| place as u32)
}

/// What becomes of a group that this node does not lead, and when to look at it again.
pub(crate) fn decide(
    old: Option<Watch>,
    of: (u64, Standing),
    turn: impl FnOnce() -> Option<u32>,
    rival: Option<Rival>,
    (grace, pace): (Grace, Pace),
    now: Instant,
) -> (Watch, Step, Option<Instant>) {
    let grace = match (old, of.1) {
        (_, Standing::Led | Standing::Unclear) => return (Watch::Led, Step::Nothing, None),
        (_, Standing::Gone) => Duration::ZERO,
        // At the start of a node there is no candidate that is about to win.
        (None, Standing::Vacant) => Duration::ZERO,
        (_, Standing::Vacant) => grace.vacant,
        (_, Standing::Unclaimed) => grace.unclaimed,
    };
    let turn = turn();
    let mut orphan = match old {
        Some(Watch::Orphan(orphan)) if orphan.of == of => orphan,
        old => {
            let (release, wait) = (now + grace, pace.wait(turn.unwrap_or(0)));
            let new = Orphan {
                of,
                release: Some(release),
                stand: release + wait,
                stood: None,
                attempts: 0,
                is_next: false,
                held: None,
            };
            match old {
                // Elections change the term: the next attempt is no earlier for it.
                Some(Watch::Orphan(old)) if old.attempts > 0 => {
                    Orphan { of, release: new.release, stand: new.stand.max(old.stand), ..old }
                }
                _ => new,
            }
        }
    };
    if let Some(rival) = rival {
        orphan.heed(rival, pace, now);
    }
    if let Some(turn) = turn
        && now >= orphan.stand
    {
        let turn = if orphan.is_next { 0 } else { turn };
        return (Watch::Orphan(orphan), Step::Stand { turn }, None);
    }
    let step = if orphan.take_release(now) { Step::Release } else { Step::Nothing };
    let due = turn.map(|_| orphan.release.unwrap_or(orphan.stand));
    (Watch::Orphan(orphan), step, due)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const DEAD: Duration = Duration::from_millis(600);
    const GRACE: Grace = Grace { vacant: Duration::from_millis(200), unclaimed: DEAD };
    const USUAL: (Grace, Pace) = (GRACE, Pace::USUAL);
    const GROUP: GroupId = GroupId { topic: 7, partition: 0 };

    /// As [`decide`]; where the node is due to stand, it does.
    fn decide_and_stand(
        old: Option<Watch>,
        of: (u64, Standing),
        turn: Option<u32>,
        timing: (Grace, Pace),
        now: Instant,
    ) -> (Watch, Step) {
        let (mut watch, step, _) = decide(old, of, || turn, None, timing, now);
        if let (Watch::Orphan(orphan), Step::Stand { turn }) = (&mut watch, step) {
            orphan.stands(timing.1, turn, now);
        }
        (watch, step)
    }

    fn status(voters: &[u64]) -> GroupStatus {
        let voters = Arc::new(voters.iter().map(|id| NodeId(*id)).collect());
        GroupStatus { voters, ..GroupStatus::default() }
    }

    fn places(preferred: Option<u64>, dead: &[u64]) -> Vec<Option<u32>> {
        let status = status(&[1, 2, 3]);
        let preferred = preferred.map(NodeId);
        let place =
            |me| turn(GROUP, NodeId(me), preferred, &status, |node| !dead.contains(&node.0));
        (1..=4).map(place).collect()
    }

    #[test]
    fn every_voter_has_a_turn_of_its_own() {
        for preferred in [None, Some(1), Some(2), Some(3), Some(9)] {
            let mut found = places(preferred, &[]);
            assert_eq!(found.pop(), Some(None), "a node without a vote");
            if let Some(first @ 1..=3) = preferred {
                assert_eq!(found[first as usize - 1], Some(0));
            }
            found.sort();
            assert_eq!(found, [Some(0), Some(1), Some(2)], "preferred: {preferred:?}");
        }
    }

    #[test]
    fn the_dead_have_no_turn() {
        let found = places(Some(1), &[1]);
        assert_eq!(found[0], None);
        let mut live = found[1..3].to_vec();
        live.sort();
        assert_eq!(live, [Some(0), Some(1)]);
    }

    #[test]
    fn first_turns_are_spread_over_the_voters() {
        let status = status(&[1, 2, 3]);
        let mut first = [0; 3];
        for partition in 0..300 {
            let group = GroupId { topic: 7, partition };
            for me in 1..=3 {
                if turn(group, NodeId(me), None, &status, |_| true) == Some(0) {
                    first[me as usize - 1] += 1;
                }
            }
        }
        assert_eq!(first.iter().sum::<u32>(), 300);
        assert!(first.iter().all(|count| (70..=130).contains(count)), "{first:?}");
    }

    #[tokio::test]
    async fn a_dead_leader_is_succeeded_at_once_and_a_silent_one_after_a_grace() {
        let now = Instant::now();
        let gone = (5, Standing::Gone);
        let (_, step) = decide_and_stand(Some(Watch::Led), gone, Some(0), USUAL, now);
        assert_eq!(step, Step::Stand { turn: 0 });
        let (second, step) = decide_and_stand(Some(Watch::Led), gone, Some(1), USUAL, now);
        assert_eq!(step, Step::Nothing, "it may vote, and finds so when it is asked");
        let (_, step) = decide_and_stand(Some(second), gone, Some(1), USUAL, now + TURN);
        assert_eq!(step, Step::Stand { turn: 1 });
        let silent = (5, Standing::Unclaimed);
        let (watch, step) = decide_and_stand(Some(Watch::Led), silent, Some(0), USUAL, now);
        assert_eq!(step, Step::Nothing);
        let leased = now + DEAD - Duration::from_millis(1);
        let (watch, step) = decide_and_stand(Some(watch), silent, Some(0), USUAL, leased);
        assert_eq!(step, Step::Nothing, "what was confirmed just now still counts");
        let (_, step) = decide_and_stand(Some(watch), silent, Some(0), USUAL, now + DEAD);
        assert_eq!(step, Step::Stand { turn: 0 });
        let (second, _) = decide_and_stand(Some(Watch::Led), silent, Some(1), USUAL, now);
        let (second, step) = decide_and_stand(Some(second), silent, Some(1), USUAL, now + DEAD);
        assert_eq!(step, Step::Release, "voters may vote before it is their own turn");
        let (_, step) = decide_and_stand(Some(second), silent, Some(1), USUAL, now + DEAD);
        assert_eq!(step, Step::Nothing, "they are told once");
        let (watch, step) = decide_and_stand(None, (0, Standing::Vacant), Some(0), USUAL, now);
        assert_eq!(step, Step::Stand { turn: 0 }, "a new group");
        let (watch, step) =
            decide_and_stand(Some(watch), (0, Standing::Vacant), Some(0), USUAL, now);
        assert_eq!(step, Step::Nothing, "not again at once");
        let late = now + DEAD * 100;
        let (_, step) = decide_and_stand(Some(watch), (1, Standing::Led), Some(0), USUAL, late);
        assert_eq!(step, Step::Nothing);
    }

    #[tokio::test]
    async fn a_rival_that_may_win_is_given_time_and_one_that_cannot_is_followed_at_once() {
        let (now, gone) = (Instant::now(), (5, Standing::Gone));
        let meet = |old, rival, now| {
            let (watch, step, _) = decide(Some(old), gone, || Some(1), rival, USUAL, now);
            (watch, step)
        };
        let (waiting, step) = meet(Watch::Led, Some(Rival::Fit), now);
        assert_eq!(step, Step::Nothing);
        let (waiting, step) = meet(waiting, None, now + TURN);
        assert_eq!(step, Step::Nothing);
        let (_, step) = meet(waiting, None, now + RETRY_FIRST);
        assert_eq!(step, Step::Stand { turn: 1 });
        let (next, step) = meet(waiting, Some(Rival::Behind), now + TURN);
        assert_eq!(step, Step::Stand { turn: 0 }, "as if it had been its turn");
        let (_, step) = meet(next, None, now + TURN);
        assert_eq!(step, Step::Stand { turn: 0 }, "also where it could not stand before");
        let (_, step) = meet(Watch::Led, Some(Rival::Behind), now);
        assert_eq!(step, Step::Stand { turn: 0 });
        let (silent, behind) = ((5, Standing::Unclaimed), Some(Rival::Behind));
        let (_, step, _) = decide(Some(Watch::Led), silent, || Some(1), behind, USUAL, now);
        assert_eq!(step, Step::Nothing, "nobody may yet");
    }

    #[tokio::test]
    async fn attempts_become_rarer_but_never_end() {
        let mut now = Instant::now();
        let mut watch = None;
        let mut stood = Vec::new();
        for _ in 0..20_000 {
            let (next, step) = decide_and_stand(watch, (0, Standing::Vacant), Some(0), USUAL, now);
            watch = Some(next);
            if matches!(step, Step::Stand { .. }) {
                stood.push(now);
            }
            now += Duration::from_millis(5);
        }
        assert!((45..=75).contains(&stood.len()), "{} attempts in 100 s", stood.len());
        let last = stood.windows(2).last().unwrap();
        assert!(last[1] - last[0] <= RETRY_LAST.mul_f64(1.3));
    }

    #[tokio::test]
    async fn a_term_that_an_election_began_brings_the_next_attempt_no_nearer() {
        let now = Instant::now();
        let gone = |term| (term, Standing::Gone);
        let (watch, _) = decide_and_stand(Some(Watch::Led), gone(5), Some(0), USUAL, now);
        let (watch, step) = decide_and_stand(Some(watch), gone(6), Some(0), USUAL, now);
        assert_eq!(step, Step::Nothing);
        let Watch::Orphan(orphan) = watch else { panic!("{watch:?}") };
        assert!(orphan.is_under_way(now) && orphan.attempts == 1, "{orphan:?}");
        let early = now + RETRY_FIRST.mul_f64(0.7);
        let (watch, step) = decide_and_stand(Some(watch), gone(7), Some(0), USUAL, early);
        assert_eq!(step, Step::Nothing);
        let late = now + RETRY_FIRST.mul_f64(1.3);
        let (_, step) = decide_and_stand(Some(watch), gone(7), Some(0), USUAL, late);
        assert_eq!(step, Step::Stand { turn: 0 });
        let (watch, _) = decide_and_stand(Some(watch), (7, Standing::Led), Some(0), USUAL, late);
        let (_, step) = decide_and_stand(Some(watch), gone(7), Some(0), USUAL, late);
        assert_eq!(step, Step::Stand { turn: 0 }, "a leader that came and went begins anew");
    }

    #[tokio::test]
    async fn the_second_voter_of_a_new_group_leaves_the_preferred_one_time() {
        let now = Instant::now();
        let vacant = (0, Standing::Vacant);
        let members = GroupStatus { last: Some(0), ..status(&[1, 2, 3]) };
        let pace = (GRACE, Pace::of(&members, Some(NodeId(1))));
        let (first, step) = decide_and_stand(None, vacant, Some(0), pace, now);
        assert_eq!(step, Step::Stand { turn: 0 }, "the preferred one stands at once");
        let (_, step) = decide_and_stand(Some(first), vacant, Some(0), pace, now + RETRY_NEW / 2);
        assert_eq!(step, Step::Nothing, "its first election may take a while");
        let (second, step) = decide_and_stand(None, vacant, Some(1), pace, now);
        assert_eq!(step, Step::Nothing);
        let (second, step) =
            decide_and_stand(Some(second), vacant, Some(1), pace, now + TURN_NEW / 2);
        assert_eq!(step, Step::Nothing);
        let (_, step) = decide_and_stand(Some(second), vacant, Some(1), pace, now + TURN_NEW);
        assert_eq!(step, Step::Stand { turn: 1 }, "the preferred one does not come");

        let led_once = GroupStatus { last: Some(1), ..members.clone() };
        assert_eq!(Pace::of(&led_once, Some(NodeId(1))), Pace::USUAL);
        assert_eq!(Pace::of(&members, None), Pace::USUAL);
    }

    #[tokio::test]
    async fn where_many_are_without_a_leader_whose_turn_it_is_has_time_again_and_again() {
        let now = Instant::now();
        let (watch, _) =
            decide_and_stand(Some(Watch::Led), (5, Standing::Gone), Some(1), USUAL, now);
        let Watch::Orphan(mut orphan) = watch else { panic!("{watch:?}") };
        assert!(!orphan.gives_way(Pace::USUAL, 0, MANY, now), "its own turn");
        assert!(!orphan.gives_way(Pace::USUAL, 1, MANY - 1, now), "few");
        let begun = now + TURN;
        let mut now = begun;
        while orphan.gives_way(Pace::USUAL, 1, MANY, now) {
            assert_eq!(orphan.stand, now + TURN);
            now = orphan.stand;
        }
        assert!((begun + HELD_BACK_MAX..begun + HELD_BACK_MAX + TURN).contains(&now));
        orphan.stands(Pace::USUAL, 1, now);
        assert!(orphan.gives_way(Pace::USUAL, 1, MANY, orphan.stand), "the same once more");
    }

    #[tokio::test]
    async fn an_attempt_among_many_has_longer_before_the_next_one() {
        let now = Instant::now();
        let gone = (5, Standing::Gone);
        let pause_of_first = |pace: Pace| {
            let (watch, _, _) = decide(Some(Watch::Led), gone, || Some(0), None, USUAL, now);
            let Watch::Orphan(mut orphan) = watch else { panic!("{watch:?}") };
            orphan.stands(pace, 0, now);
            orphan.stand - now
        };
        assert!(pause_of_first(Pace::USUAL.under(12)) < 2 * RETRY_FIRST);
        assert!(
            pause_of_first(Pace::USUAL.under(1_000))
                >= (RETRY_FIRST + 1_000 * ELECTION).mul_f64(0.75)
        );
    }
}
