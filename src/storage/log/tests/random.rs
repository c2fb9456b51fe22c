//! Numbers drawn from a seed.

/// Splitmix64, so that seeds mean the same for ever.
#[derive(Clone)]
pub(in crate::storage) struct Random(pub(in crate::storage) u64);

impl Random {
    pub(in crate::storage) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(in crate::storage) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(in crate::storage) fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}

/// The number in the environment variable `name`, or `default`.
pub(in crate::storage) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
