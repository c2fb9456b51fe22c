//! The pre-vote of many groups in one message.
//!
//! ```text
//! canvass:  u32 count | count × (group 20 B, u64 term, last: log id?)
//!   answer: a byte per group, in their order: 1 where this voter would vote for the asker
//! log id?:  u8 0, or u8 1 | u64 term | u64 index
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, Decoder, put_log_id_option};
use crate::id::{GroupId, LogId};

/// What a candidate says of itself in one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidacy {
    pub(crate) group: GroupId,
    /// The one it would stand in.
    pub(crate) term: u64,
    /// The last entry of its log.
    pub(crate) last: Option<LogId>,
}

/// Which of these groups a voter would elect the asker for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Canvass(pub(crate) Vec<Candidacy>);

/// For each group that was asked about, whether it would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CanvassAnswer(pub(crate) Vec<bool>);

impl Canvass {
    /// A node stands for no more at a time; the answer is not to hold up others.
    pub(crate) const GROUPS_MAX: usize = 1_024;
    const ROW_MIN: usize = GroupId::LEN + 9;

    pub(crate) fn len_max(&self) -> usize {
        4 + self.0.len() * (Self::ROW_MIN + 16)
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u32(u32::try_from(self.0.len()).expect("a node holds fewer groups"));
        for Candidacy { group, term, last } in &self.0 {
            out.put_slice(&group.to_bytes());
            out.put_u64(*term);
            put_log_id_option(out, *last);
        }
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let count = input.u32("canvass count")? as usize;
        if count > Self::GROUPS_MAX || count > input.remaining() / Self::ROW_MIN {
            return Err(DecodeError("canvass count"));
        }
        let mut rows = Vec::with_capacity(count);
        for _ in 0..count {
            let group = input.group("canvass group")?;
            let term = input.u64("canvass term")?;
            rows.push(Candidacy { group, term, last: input.log_id_option("canvass last")? });
        }
        input.end("canvass end")?;
        Ok(Self(rows))
    }
}

impl CanvassAnswer {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.extend(self.0.iter().map(|granted| u8::from(*granted)));
    }

    /// The answer to a question about `count` groups.
    pub(crate) fn decode(body: Bytes, count: usize) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        if input.remaining() != count {
            return Err(DecodeError("canvass answer length"));
        }
        let granted = (0..count).map(|_| input.flag("canvass granted"));
        granted.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId { topic: 1, partition: 2 };
    const GROUP_BYTES: [u8; 20] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];

    #[test]
    fn questions() {
        let last = Some(LogId { term: 2, index: 9 });
        let rows =
            [(3, None), (4, last)].map(|(term, last)| Candidacy { group: GROUP, term, last });
        let canvass = Canvass(rows.to_vec());
        let golden = [
            &[0, 0, 0, 2][..],
            &GROUP_BYTES,
            &[0, 0, 0, 0, 0, 0, 0, 3, 0],
            &GROUP_BYTES,
            &[0, 0, 0, 0, 0, 0, 0, 4, 1],
            &[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9],
        ];
        let golden = golden.concat();
        let mut out = BytesMut::new();
        canvass.encode(&mut out);
        assert_eq!(&out[..], golden);
        assert!(golden.len() <= canvass.len_max());
        for len in 0..golden.len() {
            let cut = Bytes::copy_from_slice(&golden[..len]);
            assert!(Canvass::decode(cut).is_err(), "cut at {len}");
        }
        assert!(Canvass::decode([&golden[..], &[0]].concat().into()).is_err());
        assert_eq!(Canvass::decode(golden.into()), Ok(canvass));
        assert!(Canvass::decode(Bytes::from_static(&[255, 255, 255, 255])).is_err());
        let many = Canvass(vec![rows[0]; Canvass::GROUPS_MAX + 1]);
        let mut out = BytesMut::new();
        many.encode(&mut out);
        assert!(Canvass::decode(out.freeze()).is_err(), "more than anybody asks about");
    }

    #[test]
    fn answers() {
        let answer = CanvassAnswer(vec![true, false]);
        let mut out = BytesMut::new();
        answer.encode(&mut out);
        assert_eq!(&out[..], [1, 0]);
        assert!(CanvassAnswer::decode(out.clone().freeze(), 3).is_err());
        assert!(CanvassAnswer::decode(Bytes::from_static(&[1, 2]), 2).is_err());
        assert_eq!(CanvassAnswer::decode(out.freeze(), 2), Ok(answer));
    }
}
