//! What makes a host's network bad without cutting it: at its own end of the cable, by nft(8) and tc(8).

use anyhow::Result;

use super::ip;

/// Bytes that a limited cable takes at once.
const BURST: &str = "16kb";
/// How long a packet waits before a limited cable drops it.
const QUEUE: &str = "200ms";

/// See the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// So many of 100 packets in each direction are lost.
    Loss(u32),
    /// No more than this is sent, kilobits per second.
    Rate(u32),
}

impl Hindrance {
    pub(super) fn put(self, host: &str) -> Result<()> {
        match self {
            Self::Rate(kbit) => {
                let rate = format!("{kbit}kbit");
                let shape = ["qdisc", "add", "dev", "eth0", "root", "tbf", "rate", &rate];
                let arguments = [&["netns", "exec", host, "tc"], &shape[..]].concat();
                ip(&[&arguments[..], &["burst", BURST, "latency", QUEUE]].concat())
            }
            Self::Loss(percent) => nft(host, &losing(percent)),
        }
    }

    /// Also where nothing was put.
    pub(super) fn take_away(host: &str) -> Result<()> {
        nft(host, NONE)?;
        // Without one there is nothing to delete, which is no error here.
        let _ = ip(&["netns", "exec", host, "tc", "qdisc", "del", "dev", "eth0", "root"]);
        Ok(())
    }
}

/// Rules without a hindrance.
const NONE: &str = "table inet hinder; delete table inet hinder;";

fn losing(percent: u32) -> String {
    let chain = |hook: &str| {
        let lose = format!("numgen random mod 100 < {percent} drop;");
        format!("chain {hook} {{ type filter hook {hook} priority 0; {lose} }};")
    };
    format!("{NONE} table inet hinder {{ {} {} }}", chain("input"), chain("output"))
}

fn nft(host: &str, rules: &str) -> Result<()> {
    ip(&["netns", "exec", host, "nft", rules])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_replace_those_before_and_work_both_ways() {
        let rules = losing(20);
        assert!(rules.starts_with(NONE), "{rules}");
        assert_eq!(rules.matches("numgen random mod 100 < 20 drop;").count(), 2, "{rules}");
    }
}
