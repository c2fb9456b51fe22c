//! A search in a long sorted list of numbers that grow about evenly.
//!
//! Segments hold about as many records each: a straight line from the first beginning to the last one says
//! nearly where to look. What lies far from there is not touched, of however many there are.
//!
//! **Invariant:** the answer of a binary search. Where the line is wrong it takes twice as many steps at
//! most.

/// How many of `sorted` are at most `key`. `number` places them on the line, as near as it can.
pub(super) fn count_upto<T: Copy + Ord>(sorted: &[T], key: T, number: impl Fn(T) -> f64) -> usize {
    let (Some(&first), Some(&last)) = (sorted.first(), sorted.last()) else { return 0 };
    if key < first {
        return 0;
    }
    if key >= last {
        return sorted.len();
    }
    let (begin, end) = (number(first), number(last));
    let share = (number(key) - begin) / (end - begin);
    let guess = ((share * (sorted.len() - 1) as f64) as usize).min(sorted.len() - 1);
    let (above, upto) = if sorted[guess] <= key {
        reach(guess, |step| guess.saturating_add(step).min(sorted.len() - 1), |at| sorted[at] > key)
    } else {
        let (from, to) = reach(guess, |step| guess.saturating_sub(step), |at| sorted[at] <= key);
        (to, from)
    };
    above + 1 + sorted[above + 1..upto].partition_point(|other| *other <= key)
}

/// Goes on from `from`, each time twice as far, until `is_there`: the last place before, and the first where it is.
fn reach(
    from: usize,
    place: impl Fn(usize) -> usize,
    is_there: impl Fn(usize) -> bool,
) -> (usize, usize) {
    let (mut before, mut step) = (from, 1);
    loop {
        let at = place(step);
        if is_there(at) {
            return (before, at);
        }
        (before, step) = (at, step * 2);
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn check(sorted: &[i64], key: i64) {
        let expected = sorted.partition_point(|other| *other <= key);
        assert_eq!(
            count_upto(sorted, key, |number| number as f64),
            expected,
            "{key} in {sorted:?}"
        );
    }

    #[test]
    fn finds_what_a_binary_search_finds() {
        let mut random = StdRng::seed_from_u64(7);
        for length in (0..40).chain([1_000]) {
            for skew in [0, 4, 40] {
                let mut at = random.random_range(-100..100);
                let sorted: Vec<i64> = (0..length)
                    .map(|_| {
                        // Even, or with leaps, and with some that are equal.
                        let leap = if skew > 0 { 1 << random.random_range(0..skew) } else { 10 };
                        at += random.random_range(0..=leap);
                        at
                    })
                    .collect();
                for _ in 0..50 {
                    check(&sorted, random.random_range(-110..=at + 10));
                }
                for number in &sorted {
                    (-1..=1).for_each(|by| check(&sorted, number + by));
                }
            }
        }
        check(&[i64::MIN, -1, 0, i64::MAX], 0);
        check(&[5; 9], 5);
    }
}
