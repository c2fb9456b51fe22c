//! `jackdaw consume`: records on standard output, alone or as a member of a group.
//!
//! **Invariant:** an offset is committed only after its record was written out.

use std::collections::BTreeMap;
use std::io::{Write as _, stdout};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::ctrl_c;

use super::args::{Connect, ConsumeArgs};
use super::client::{Consumer, Fetched, GroupMember, Position};
use super::format;
use crate::protocol::ErrorCode;

/// Longest wait for records in one fetch, ms.
const WAIT_MS: i32 = 500;
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Where to begin, as the command line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start(Position);

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("{text:?} is none of beginning, end, OFFSET, timestamp:MS, timestamp:DATE");
        let position = match text.split_once(':') {
            None if text == "beginning" => Position::Beginning,
            None if text == "end" => Position::End,
            None => Position::Offset(text.parse().map_err(|_| wrong())?),
            Some(("offset", offset)) => Position::Offset(offset.parse().map_err(|_| wrong())?),
            Some(("timestamp", at)) => {
                let ms = at.parse().ok().or_else(|| date_ms(at)).ok_or_else(wrong)?;
                Position::Timestamp(ms)
            }
            Some(_) => return Err(wrong()),
        };
        match position {
            Position::Offset(value) | Position::Timestamp(value) if value < 0 => Err(wrong()),
            fine => Ok(Self(fine)),
        }
    }
}

/// `2026-01-31T12:00:00Z` (seconds and time may be left out) in ms since 1970.
fn date_ms(text: &str) -> Option<i64> {
    let (date, time) = text.trim_end_matches('Z').split_once('T').unwrap_or((text, "00:00:00"));
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute) = (time.next()??, time.next()??);
    let second = time.next().unwrap_or(Some(0))?;
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second);
    // Days from civil: years counted from March, so that the leap day comes last.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    fits.then_some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

/// What a run reads, and how far it has come.
struct Session<'a> {
    args: &'a ConsumeArgs,
    json: bool,
    reader: Consumer,
    member: Option<GroupMember>,
    /// After the last record written, by partition.
    done: BTreeMap<i32, i64>,
    /// Where to stop, by partition.
    goal: Option<BTreeMap<i32, i64>>,
    written: u64,
    committed_at: Instant,
}

pub(super) async fn run(args: ConsumeArgs, connect: &Connect) -> anyhow::Result<()> {
    let reader = Consumer::open(connect.client().await?, &args.topic).await?;
    let mut session = Session {
        args: &args,
        json: connect.json,
        reader,
        member: None,
        done: BTreeMap::new(),
        goal: None,
        written: 0,
        committed_at: Instant::now(),
    };
    let read = session.read().await;
    let left = session.leave().await;
    // A failure to read says more than what follows from it.
    read.and(left)
}

impl Session<'_> {
    async fn read(&mut self) -> anyhow::Result<()> {
        self.begin().await?;
        let interrupted = ctrl_c();
        tokio::pin!(interrupted);
        while !self.is_done() {
            if self.member.as_ref().is_some_and(GroupMember::must_rejoin) {
                self.rejoin().await?;
                continue;
            }
            let fetched = tokio::select! {
                fetched = self.reader.fetch(WAIT_MS) => fetched?,
                _ = &mut interrupted => return Ok(()),
            };
            self.write(&fetched)?;
            if self.committed_at.elapsed() >= COMMIT_EVERY {
                self.commit().await?;
            }
        }
        Ok(())
    }

    /// Finds out what to read and from where.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let partitions = match (&self.args.group, self.args.partition) {
            (Some(group), _) => {
                let topic = &self.args.topic;
                let member = GroupMember::join(&mut self.reader.client, group, topic).await?;
                let assigned = member.assigned.clone();
                self.member = Some(member);
                assigned
            }
            (None, Some(partition)) => {
                self.reader
                    .client
                    .leader(&self.args.topic, partition)
                    .with_context(|| format!("partition {partition} cannot be read"))?;
                vec![partition]
            }
            (None, None) => self.reader.partitions(),
        };
        self.position(&partitions).await
    }

    async fn position(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        let mut positions = match &self.member {
            Some(member) => member.committed(&mut self.reader.client).await?,
            None => BTreeMap::new(),
        };
        let fresh: Vec<i32> =
            partitions.iter().filter(|index| !positions.contains_key(index)).copied().collect();
        if !fresh.is_empty() {
            self.check_start(&fresh).await?;
            positions.extend(self.reader.offsets(&fresh, self.args.from.0).await?);
        }
        if self.args.until_end {
            self.goal = Some(self.reader.offsets(partitions, Position::End).await?);
        }
        self.reader.positions = positions;
        self.done.clear();
        Ok(())
    }

    /// An offset that no partition has come to is a slip, which would otherwise wait or end in silence.
    async fn check_start(&mut self, partitions: &[i32]) -> anyhow::Result<()> {
        let Position::Offset(from) = self.args.from.0 else { return Ok(()) };
        let ends = self.reader.offsets(partitions, Position::End).await?;
        let last = ends.values().copied().max().unwrap_or(0);
        let topic = &self.args.topic;
        anyhow::ensure!(
            from <= last,
            "offset {from} is beyond the end of {topic}, which is {last}: use a smaller one, or --from end"
        );
        Ok(())
    }

    async fn rejoin(&mut self) -> anyhow::Result<()> {
        self.commit().await?;
        let Some(member) = &mut self.member else { return Ok(()) };
        member.rejoin(&mut self.reader.client).await?;
        let assigned = member.assigned.clone();
        self.position(&assigned).await
    }

    fn is_done(&self) -> bool {
        if self.args.max_messages.is_some_and(|max| self.written >= max) {
            return true;
        }
        let Some(goal) = &self.goal else { return false };
        let positions = &self.reader.positions;
        goal.iter().all(|(index, end)| positions.get(index).is_none_or(|at| at >= end))
    }

    fn write(&mut self, fetched: &[Fetched]) -> anyhow::Result<()> {
        let mut out = Vec::new();
        let topic = &self.args.topic;
        for Fetched { partition, from, batch } in fetched {
            for record in batch {
                let record = record.with_context(|| format!("{topic}-{partition} is corrupt"))?;
                let beyond =
                    |goal: &BTreeMap<i32, i64>| goal.get(partition) <= Some(&record.offset.0);
                let enough = self.args.max_messages.is_some_and(|max| self.written >= max);
                if record.offset.0 < *from || enough || self.goal.as_ref().is_some_and(beyond) {
                    continue;
                }
                if self.json {
                    format::print_json(&mut out, topic, *partition, &record);
                } else {
                    self.args.format.print(&mut out, topic, *partition, &record);
                }
                self.written += 1;
                self.done.insert(*partition, record.offset.0 + 1);
            }
        }
        let mut stdout = stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()?;
        Ok(())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        self.committed_at = Instant::now();
        let (Some(member), false) = (&self.member, self.done.is_empty()) else { return Ok(()) };
        match member.commit(&mut self.reader.client, &self.done).await {
            Ok(()) => self.done.clear(),
            // The heartbeat notices the same and joins again; whoever owns the partition next
            // reads from the last commit.
            Err(failure)
                if matches!(
                    failure.code(),
                    Some(
                        ErrorCode::RebalanceInProgress
                            | ErrorCode::IllegalGeneration
                            | ErrorCode::UnknownMemberId
                    )
                ) => {}
            // A coordinator that moved is found again by joining.
            Err(failure) if failure.is_retriable() => {}
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        self.commit().await?;
        if let Some(member) = self.member.take() {
            member.leave(&mut self.reader.client).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_read_as_the_help_says() {
        let start = |text: &str| text.parse::<Start>().map(|start| start.0);
        assert_eq!(start("beginning"), Ok(Position::Beginning));
        assert_eq!(start("end"), Ok(Position::End));
        assert_eq!(start("42"), Ok(Position::Offset(42)));
        assert_eq!(start("offset:7"), Ok(Position::Offset(7)));
        assert_eq!(start("timestamp:1700000000000"), Ok(Position::Timestamp(1_700_000_000_000)));
        assert_eq!(start("timestamp:1970-01-02T00:00:01Z"), Ok(Position::Timestamp(86_401_000)));
        assert_eq!(start("timestamp:2024-02-29"), Ok(Position::Timestamp(1_709_164_800_000)));
        assert_eq!(
            start("timestamp:2026-01-31T12:00:00Z"),
            Ok(Position::Timestamp(1_769_860_800_000))
        );
        for wrong in ["", "begin", "-1", "timestamp:yesterday", "time:1", "timestamp:2024-13-01"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
    }
}
