//! Which brokers hold the replicas of new partitions, and which of them leads.
//!
//! **Invariant:** pure; the same input gives the same placement. Within one topic, brokers differ
//! by at most one in replicas and by at most one in preferred leaderships (racks of equal size, or
//! no racks); no partition has two replicas on one broker; if all brokers have racks, replicas of
//! a partition share a rack only when there are more replicas than racks.
//!
//! Replica sets come first, each of the brokers that have fewest replicas so far, and leaders
//! second, along augmenting paths: a leader chosen greedily can leave a later partition only
//! brokers that lead enough already.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::BrokerId;

/// A broker that may take replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The broker.
    pub id: BrokerId,
    /// Its rack, if set.
    pub rack: Option<String>,
}

/// Fewer brokers than replicas asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The target replication factor of {wanted} cannot be reached because only {available} \
     broker(s) are registered."
)]
pub struct TooFewBrokers {
    /// Replicas asked for.
    pub wanted: usize,
    /// Brokers there.
    pub available: usize,
}

/// Places `count` partitions of `replication` replicas each, beside the topic's `existing` ones.
///
/// Equally good brokers are taken in the order of `candidates`, so the caller puts those first
/// that should get more (the least loaded of the cluster).
///
/// # Errors
/// [`TooFewBrokers`]. `replication` must not be 0.
pub fn place(
    candidates: &[Candidate],
    existing: &[Vec<BrokerId>],
    count: usize,
    replication: usize,
) -> Result<Vec<Vec<BrokerId>>, TooFewBrokers> {
    assert!(replication > 0, "the controller refuses a replication factor of 0");
    if replication > candidates.len() {
        return Err(TooFewBrokers { wanted: replication, available: candidates.len() });
    }
    let mut board = Board::new(candidates, existing);
    let sets: Vec<Vec<usize>> = (0..count).map(|_| board.next_set(replication)).collect();
    let leaders = choose_leaders(&sets, &board.leading);
    let order = |(set, leader): (Vec<usize>, usize)| {
        let followers = set.iter().copied().filter(|slot| *slot != leader);
        std::iter::once(leader).chain(followers).map(|slot| candidates[slot].id).collect()
    };
    Ok(sets.into_iter().zip(leaders).map(order).collect())
}

/// Replicas and leaderships of one topic per candidate, while it is being placed.
struct Board {
    /// Rack number of each candidate; each broker is its own if any has none.
    rack: Vec<usize>,
    /// Candidates per rack.
    rack_size: Vec<usize>,
    replicas: Vec<usize>,
    rack_replicas: Vec<usize>,
    leading: Vec<usize>,
    sets: usize,
}

impl Board {
    fn new(candidates: &[Candidate], existing: &[Vec<BrokerId>]) -> Self {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for candidate in candidates {
            let next = names.len();
            names.entry(candidate.rack.as_deref().unwrap_or_default()).or_insert(next);
        }
        let all_have_racks = candidates.iter().all(|candidate| candidate.rack.is_some());
        let rack_of = |(slot, candidate): (usize, &Candidate)| match &candidate.rack {
            Some(name) if all_have_racks => names[name.as_str()],
            _ => slot,
        };
        let rack: Vec<usize> = candidates.iter().enumerate().map(rack_of).collect();
        let racks = rack.iter().max().map_or(0, |last| last + 1);
        let mut board = Self {
            rack_size: vec![0; racks],
            replicas: vec![0; candidates.len()],
            rack_replicas: vec![0; racks],
            leading: vec![0; candidates.len()],
            rack,
            sets: existing.len(),
        };
        for rack in &board.rack {
            board.rack_size[*rack] += 1;
        }
        let slots: BTreeMap<BrokerId, usize> =
            candidates.iter().enumerate().map(|(slot, c)| (c.id, slot)).collect();
        for replicas in existing {
            for slot in replicas.iter().filter_map(|id| slots.get(id)) {
                board.add_replica(*slot);
            }
            if let Some(slot) = replicas.first().and_then(|id| slots.get(id)) {
                board.leading[*slot] += 1;
            }
        }
        board
    }

    fn add_replica(&mut self, slot: usize) {
        self.replicas[slot] += 1;
        self.rack_replicas[self.rack[slot]] += 1;
    }

    /// The replicas of the next partition.
    fn next_set(&mut self, replication: usize) -> Vec<usize> {
        let brokers = self.replicas.len();
        // Equal counts are broken in an order that turns by one broker with every full round, so
        // that a broker shares partitions with all others and not always with the same few.
        let turn = (self.sets * replication / brokers) % brokers;
        self.sets += 1;
        let mut in_rack = vec![0; self.rack_size.len()];
        let mut set: Vec<usize> = Vec::with_capacity(replication);
        for _ in 0..replication {
            let free = (0..brokers).filter(|slot| !set.contains(slot));
            let best = free.min_by_key(|&slot| {
                let rack = self.rack[slot];
                // Fill of the rack in 1/size units without dividing: racks of unequal size get
                // replicas in proportion once every rack holds one.
                let fill = self.rack_replicas[rack] * 1000 / self.rack_size[rack];
                let place = (slot + brokers - turn) % brokers;
                (in_rack[rack], fill, self.replicas[slot], place)
            });
            let slot = best.expect("there are at least as many brokers as replicas");
            in_rack[self.rack[slot]] += 1;
            self.add_replica(slot);
            set.push(slot);
        }
        set
    }
}

/// Picks one broker of each set so that leaderships are as even as the sets allow.
///
/// Starts with the least-leading member of each set, then, while some chain of partitions can pass
/// a leadership from a broker to one that leads two fewer, passes it along.
fn choose_leaders(sets: &[Vec<usize>], leading: &[usize]) -> Vec<usize> {
    let mut leading = leading.to_vec();
    let mut leader: Vec<usize> = Vec::with_capacity(sets.len());
    for set in sets {
        let least = set.iter().copied().min_by_key(|slot| leading[*slot]);
        let slot = least.expect("a set has at least one replica");
        leading[slot] += 1;
        leader.push(slot);
    }
    let mut donors: BTreeSet<(usize, usize)> =
        leading.iter().enumerate().map(|(slot, count)| (*count, slot)).collect();
    while let Some((count, donor)) = donors.pop_last() {
        if let Some((taker, path)) = find_path(sets, &leader, &leading, donor) {
            for (partition, to) in path {
                leader[partition] = to;
            }
            donors.remove(&(leading[taker], taker));
            leading[donor] = count - 1;
            leading[taker] += 1;
            donors.insert((leading[donor], donor));
            donors.insert((leading[taker], taker));
        }
    }
    leader
}

/// Hand-overs (partition, new leader) that take one leadership from `donor` and give one to the
/// returned broker, which leads at least two fewer. Breadth first, so the shortest chain.
fn find_path(
    sets: &[Vec<usize>],
    leader: &[usize],
    leading: &[usize],
    donor: usize,
) -> Option<(usize, Vec<(usize, usize)>)> {
    let mut led_by: Vec<Vec<usize>> = vec![Vec::new(); leading.len()];
    for (partition, slot) in leader.iter().enumerate() {
        led_by[*slot].push(partition);
    }
    let mut reached: Vec<Option<(usize, usize)>> = vec![None; leading.len()];
    let mut queue = VecDeque::from([donor]);
    while let Some(slot) = queue.pop_front() {
        if leading[slot] + 2 <= leading[donor] {
            let (mut path, mut at) = (Vec::new(), slot);
            while at != donor {
                let (partition, from) = reached[at].expect("every queued broker was reached");
                path.push((partition, at));
                at = from;
            }
            return Some((slot, path));
        }
        for &partition in &led_by[slot] {
            for &next in sets[partition].iter().filter(|next| **next != donor) {
                if reached[next].is_none() {
                    reached[next] = Some((partition, slot));
                    queue.push_back(next);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brokers(count: i32, racks: Option<i32>) -> Vec<Candidate> {
        let rack = |id: i32| racks.map(|racks| format!("r{}", id % racks));
        (0..count).map(|id| Candidate { id: BrokerId(id), rack: rack(id) }).collect()
    }

    fn spread(brokers: &[Candidate], ids: impl Iterator<Item = BrokerId>) -> usize {
        let mut counts: BTreeMap<BrokerId, usize> =
            brokers.iter().map(|broker| (broker.id, 0)).collect();
        ids.for_each(|id| *counts.entry(id).or_default() += 1);
        counts.values().max().unwrap() - counts.values().min().unwrap()
    }

    #[test]
    fn three_brokers_share_six_partitions() {
        let placed = place(&brokers(3, None), &[], 6, 3).unwrap();
        let leaders: Vec<i32> = placed.iter().map(|replicas| replicas[0].0).collect();
        let mut sorted = leaders.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 0, 1, 1, 2, 2], "{placed:?}");
    }

    #[test]
    fn too_few_brokers_are_refused_in_kafkas_words() {
        let refused = place(&brokers(1, None), &[], 1, 3).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "The target replication factor of 3 cannot be reached because only 1 broker(s) are \
             registered."
        );
    }

    #[test]
    fn the_first_candidate_leads_a_single_partition() {
        let mut order = brokers(4, None);
        order.rotate_left(2);
        assert_eq!(place(&order, &[], 1, 2).unwrap(), [[BrokerId(2), BrokerId(3)]]);
    }

    #[test]
    fn a_rack_less_broker_switches_racks_off() {
        let mut some = brokers(4, Some(1));
        some[3].rack = None;
        assert_eq!(spread(&some, place(&some, &[], 8, 2).unwrap().into_iter().flatten()), 0);
    }

    proptest! {
        #[test]
        fn even_distinct_and_rack_aware(
            per_rack in 1_i32..4,
            racks in 1_i32..5,
            use_racks: bool,
            partitions in 0_usize..40,
            replication in 1_usize..7,
        ) {
            let all = brokers(per_rack * racks, use_racks.then_some(racks));
            let replication = replication.min(all.len());
            let placed = place(&all, &[], partitions, replication).unwrap();
            prop_assert_eq!(placed.len(), partitions);
            for replicas in &placed {
                let distinct: BTreeSet<_> = replicas.iter().collect();
                prop_assert_eq!(distinct.len(), replication);
                if use_racks {
                    let used: BTreeSet<_> = replicas.iter().map(|id| id.0 % racks).collect();
                    prop_assert_eq!(used.len(), replication.min(racks as usize));
                }
            }
            prop_assert!(spread(&all, placed.iter().flatten().copied()) <= 1, "{:?}", placed);
            let leaders = placed.iter().map(|replicas| replicas[0]);
            prop_assert!(spread(&all, leaders) <= 1, "{:?}", placed);
        }

        #[test]
        fn growing_keeps_the_balance(first in 1_usize..9, more in 1_usize..9, n in 1_i32..6) {
            let all = brokers(n, None);
            let replication = 2.min(all.len());
            let mut placed = place(&all, &[], first, replication).unwrap();
            placed.extend(place(&all, &placed, more, replication).unwrap());
            prop_assert!(spread(&all, placed.iter().flatten().copied()) <= 1, "{:?}", placed);
        }

        #[test]
        fn uneven_racks_still_separate_replicas(sizes in prop::collection::vec(1_i32..4, 2..4)) {
            let mut all = Vec::new();
            for (rack, size) in sizes.iter().enumerate() {
                for n in 0..*size {
                    let id = BrokerId(rack as i32 * 10 + n);
                    all.push(Candidate { id, rack: Some(rack.to_string()) });
                }
            }
            for replicas in place(&all, &[], 12, 2).unwrap() {
                prop_assert_ne!(replicas[0].0 / 10, replicas[1].0 / 10);
            }
        }
    }
}
