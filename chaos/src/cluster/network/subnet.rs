//! Addresses for hosts: a /24 of 198.18.0.0/15, which is set aside for tests of networks (RFC 2544)
//! and so belongs to nobody whom the machine talks to.
//!
//! **Invariant:** two runs on a machine have different ones: each holds a socket with the name of its
//! subnet, which the kernel gives up when the process ends.

use std::io;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::{Result, bail};
use rand::Rng as _;

use crate::cluster::NodeId;

const SUBNETS: u16 = 512;
const ATTEMPTS: usize = 200;
/// This process's own.
const OWN: u8 = 254;

/// A subnet, reserved as long as this lives.
#[derive(Debug)]
pub(super) struct Subnet {
    number: u16,
    _lock: UnixListener,
}

impl Subnet {
    /// Reserves one at random.
    ///
    /// # Errors
    /// All that were tried are in use.
    pub(super) fn take() -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let number = rand::rng().random_range(0..SUBNETS);
            if let Ok(subnet) = Self::reserve(number) {
                return Ok(subnet);
            }
        }
        bail!("no free subnet of 198.18.0.0/15 in {ATTEMPTS} attempts")
    }

    fn reserve(number: u16) -> io::Result<Self> {
        let name = SocketAddr::from_abstract_name(format!("jackdaw-chaos/subnet/{number}"))?;
        Ok(Self { number, _lock: UnixListener::bind_addr(&name)? })
    }

    /// The address of a node's host.
    pub(super) fn host(&self, id: NodeId) -> Ipv4Addr {
        self.address(u8::try_from(id).expect("a cluster has few nodes"))
    }

    /// This process's own address.
    pub(super) fn own(&self) -> Ipv4Addr {
        self.address(OWN)
    }

    /// As in `198.18.7.1/24`.
    pub(super) fn with_prefix(&self, address: Ipv4Addr) -> String {
        format!("{address}/24")
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(198, 18 + high, low, last)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_subnet_is_one_run_s_until_it_is_given_back() {
        let taken = Subnet::take().unwrap();
        assert!(Subnet::reserve(taken.number).is_err());
        let number = taken.number;
        drop(taken);
        // A process that another test is about to start holds what it was born with until it becomes another.
        let begin = Instant::now();
        let again = loop {
            match Subnet::reserve(number) {
                Ok(again) => break again,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
            }
        };
        let [first, second, ..] = again.host(1).octets();
        assert_eq!((first, second & !1), (198, 18));
    }

    #[test]
    fn addresses_follow_from_the_number() {
        let Ok(last) = Subnet::reserve(SUBNETS - 1) else { return };
        assert_eq!(last.host(3), Ipv4Addr::new(198, 19, 255, 3));
        assert_eq!(last.with_prefix(last.own()), "198.19.255.254/24");
    }
}
