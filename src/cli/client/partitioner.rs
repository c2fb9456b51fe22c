//! Which partition a record goes to: by its key as Kafka's Java client does, or round by round.

/// Chooses partitions for one topic.
#[derive(Clone, Debug)]
pub(super) struct Partitioner {
    count: u32,
    next: u32,
}

impl Partitioner {
    /// For a topic with `count` partitions, which is at least one.
    pub(super) fn new(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        Self { count, next: 0 }
    }

    /// The partition of a key: murmur2, made positive, modulo the count.
    pub(super) fn of_key(&self, key: &[u8]) -> i32 {
        ((murmur2(key) & 0x7fff_ffff) % self.count) as i32
    }

    /// The partition for the next batch of records without a key.
    pub(super) fn rotate(&mut self) -> i32 {
        let chosen = self.next % self.count;
        self.next = self.next.wrapping_add(1);
        chosen as i32
    }
}

/// `org.apache.kafka.common.utils.Utils.murmur2`, seed 0x9747b28c.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * index);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_kafka_does() {
        // From Kafka's own UtilsTest.testMurmur2.
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn records_without_a_key_go_round() {
        let mut partitioner = Partitioner::new(3);
        let chosen: Vec<i32> = (0..4).map(|_| partitioner.rotate()).collect();
        assert_eq!(chosen, [0, 1, 2, 0]);
        assert_eq!(partitioner.of_key(b"abc"), partitioner.of_key(b"abc"));
    }
}
