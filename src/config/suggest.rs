//! "Did you mean …?": the known word nearest to a mistyped one.

/// The candidate nearest to `word`, if it is near enough to be a slip of the fingers: at most a
/// third of its letters differ (Damerau–Levenshtein distance, adjacent swaps count once).
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut next = vec![i; right.len() + 1];
        for j in 1..=right.len() {
            let same = usize::from(left[i - 1] != right[j - 1]);
            next[j] = (row[j] + 1).min(next[j - 1] + 1).min(row[j - 1] + same);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_leaves_strangers_alone() {
        let known = ["node_id", "data_dir", "listeners", "cluster"];
        assert_eq!(nearest("nodeid", known), Some("node_id"));
        assert_eq!(nearest("data_dri", known), Some("data_dir"));
        assert_eq!(nearest("listener", known), Some("listeners"));
        assert_eq!(nearest("zookeeper", known), None);
    }

    #[test]
    fn a_swap_of_neighbours_counts_once() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kafka", "kafka"), 0);
        assert_eq!(distance("", "abc"), 3);
    }
}
