//! Whose forwarding fields count.

use std::fmt;
use std::net::IpAddr;

/// A set of peers: networks, peers on Unix sockets, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    indifferent: bool,
    all: bool,
    unix: bool,
    /// IPv4 networks: address and mask.
    v4: Vec<(u32, u32)>,
    /// IPv6 networks: address and mask.
    v6: Vec<(u128, u128)>,
}

impl Default for Trust {
    /// This machine: `127.0.0.1`, `::1` and Unix sockets.
    fn default() -> Self {
        Self {
            indifferent: false,
            all: false,
            unix: true,
            v4: vec![(u32::from_be_bytes([127, 0, 0, 1]), u32::MAX)],
            v6: vec![(1, u128::MAX)],
        }
    }
}

impl Trust {
    /// Nobody.
    pub fn nobody() -> Self {
        Self { indifferent: false, all: false, unix: false, v4: Vec::new(), v6: Vec::new() }
    }

    /// Nothing is concluded from forwarding fields, and nothing is done to them: they are the application's concern.
    pub fn indifferent() -> Self {
        Self { indifferent: true, ..Self::nobody() }
    }

    /// Whether forwarding fields are none of our business.
    pub fn is_indifferent(&self) -> bool {
        self.indifferent
    }

    /// A list, separated by commas, of addresses, networks in CIDR form, `unix` (peers on Unix sockets) and
    /// `*` (everybody). Bits of a network's address behind its prefix do not matter.
    pub fn parse(text: &str) -> Result<Self, NotAPeer> {
        let mut trust = Self::nobody();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            trust.add(entry).ok_or_else(|| NotAPeer(entry.to_owned()))?;
        }
        Ok(trust)
    }

    fn add(&mut self, entry: &str) -> Option<()> {
        match entry {
            "*" => self.all = true,
            "unix" => self.unix = true,
            _ => {
                let (address, prefix) = match entry.split_once('/') {
                    Some((address, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => {
                        (address, Some(bits.parse().ok()?))
                    }
                    Some(_) => return None,
                    None => (entry, None),
                };
                self.add_network(address.parse().ok()?, prefix)?;
            }
        }
        Some(())
    }

    /// Adds a network; without a prefix one address. None where the prefix is longer than the address.
    fn add_network(&mut self, address: IpAddr, prefix: Option<u8>) -> Option<()> {
        match address {
            IpAddr::V4(address) => {
                let bits = prefix.unwrap_or(32);
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits.into())?).unwrap_or(0);
                self.v4.push((u32::from(address) & mask, mask));
            }
            IpAddr::V6(address) => {
                let bits = prefix.unwrap_or(128);
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits.into())?).unwrap_or(0);
                self.v6.push((u128::from(address) & mask, mask));
                // ::ffff:10.0.0.0/104 names IPv4 addresses, which are compared as such.
                if let (Some(v4), 96..) = (address.to_ipv4_mapped(), bits) {
                    self.add_network(IpAddr::V4(v4), Some(bits - 96))?;
                }
            }
        }
        Some(())
    }

    /// Whether a peer is trusted; without an address it is one on a Unix socket.
    pub fn peer(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.address(address),
            None => self.all || self.unix,
        }
    }

    /// Whether an address is trusted. IPv4 addresses in IPv6 form count as IPv4.
    pub fn address(&self, address: IpAddr) -> bool {
        self.all
            || match address.to_canonical() {
                IpAddr::V4(address) => self.v4.iter().any(|(net, mask)| u32::from(address) & mask == *net),
                IpAddr::V6(address) => self.v6.iter().any(|(net, mask)| u128::from(address) & mask == *net),
            }
    }
}

/// An entry of a list of peers that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAPeer(pub String);

impl fmt::Display for NotAPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is neither an address, a network such as 10.0.0.0/8, `unix` nor `*`",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NotAPeer {}
