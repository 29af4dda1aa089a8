//! One line of a peer policy.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A prefix, with or without a range of ports: `10.1.0.0/16`, `10.1.0.0/16:5000-6000`, `10.1.2.3:53`,
/// `2001:db8::/32`, `[2001:db8::]/32:5000-6000`, `[2001:db8::1]:53`.
///
/// [`fmt::Display`] writes the canonical form, which reads back as the same rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    network: IpAddr,
    prefix_len: u8,
    ports: Option<(u16, u16)>,
}

/// Why a text is no rule, in words that tell the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError(pub(super) String);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RuleError {}

impl Rule {
    /// The address that the prefix begins with.
    #[must_use]
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// How many leading bits count: 0–32 or 0–128.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The first and last port, in order, each 1–65535; `None` for all.
    #[must_use]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        self.ports
    }

    /// Whether the prefix is a single address.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.prefix_len == bits_of(self.network)
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let parts = split(text)?;
        let network = parse_address(parts.address)?;
        let prefix_len = match parts.prefix_len {
            None => bits_of(network),
            Some(digits) => parse_prefix_len(digits, network)?,
        };
        let ports = parts.ports.map(parse_ports).transpose()?;
        refuse_mapped(network, prefix_len)?;
        let first = first_of(network, prefix_len);
        if first != network {
            let cure = Self { network: first, prefix_len, ports };
            let host = Self { network, prefix_len: bits_of(network), ports };
            return Err(RuleError(format!(
                "{network}/{prefix_len} has bits set behind its first {prefix_len}: \
                 write {cure} for the whole prefix, or {host} for the one address"
            )));
        }
        Ok(Self { network, prefix_len, ports })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpAddr::V6(network) if self.ports.is_some() => write!(f, "[{network}]")?,
            network => write!(f, "{network}")?,
        }
        if !self.is_host() {
            write!(f, "/{}", self.prefix_len)?;
        }
        match self.ports {
            None => Ok(()),
            Some((first, last)) if first == last => write!(f, ":{first}"),
            Some((first, last)) => write!(f, ":{first}-{last}"),
        }
    }
}

/// The pieces of a rule, unread.
struct Parts<'a> {
    address: &'a str,
    prefix_len: Option<&'a str>,
    ports: Option<&'a str>,
}

fn split(text: &str) -> Result<Parts<'_>, RuleError> {
    if text.is_empty() {
        return Err(RuleError("empty: write an address, or a prefix like 10.0.0.0/8".to_owned()));
    }
    if text.contains(char::is_whitespace) {
        return Err(RuleError(format!("`{}` has a space in it: leave it out", text.escape_debug())));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, tail)) = rest.split_once(']') else {
            return Err(RuleError(format!(
                "`{text}` opens a bracket and does not close it: add `]` behind the address"
            )));
        };
        if address.parse::<Ipv4Addr>().is_ok() {
            return Err(RuleError(format!("brackets are for IPv6 addresses: write {address}{tail}")));
        }
        return split_tail(text, address, tail);
    }
    // Without brackets two colons make it IPv6, whose colons belong to the address.
    if text.matches(':').count() < 2 {
        let end = text.find(['/', ':']).unwrap_or(text.len());
        return split_tail(text, &text[..end], &text[end..]);
    }
    let (address, prefix_len) = match text.split_once('/') {
        None => (text, None),
        Some((address, prefix_len)) => (address, Some(prefix_len)),
    };
    if let Some((prefix_len, ports)) = prefix_len.and_then(|tail| tail.split_once(':')) {
        return Err(RuleError(format!(
            "an IPv6 prefix with ports wants brackets: write [{address}]/{prefix_len}:{ports}"
        )));
    }
    Ok(Parts { address, prefix_len, ports: None })
}

/// Reads `tail`: nothing, `/16`, `:5000-6000` or both in this order.
fn split_tail<'a>(text: &str, address: &'a str, tail: &'a str) -> Result<Parts<'a>, RuleError> {
    let (prefix, ports) = match tail.split_once(':') {
        None => (tail, None),
        Some((prefix, ports)) => (prefix, Some(ports)),
    };
    if prefix.is_empty() {
        return Ok(Parts { address, prefix_len: None, ports });
    }
    let Some(prefix_len) = prefix.strip_prefix('/') else {
        return Err(RuleError(format!(
            "`{text}` goes on behind its address with `{prefix}`: only /LENGTH, :PORT or :FIRST-LAST may stand there"
        )));
    };
    Ok(Parts { address, prefix_len: Some(prefix_len), ports })
}

fn parse_address(text: &str) -> Result<IpAddr, RuleError> {
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    if let Some((address, _)) = text.split_once('%') {
        return Err(RuleError(format!("`{text}` names a network interface: write {address} alone")));
    }
    if text.contains(':') {
        return Err(RuleError(format!("`{text}` is no IPv6 address: expected something like 2001:db8::1")));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(RuleError(format!(
            "`{text}` is no IPv4 address: write four numbers of 0 to 255 without leading zeros, like 10.0.0.0"
        )));
    }
    if text.contains('-') && text.split('-').all(|end| end.parse::<IpAddr>().is_ok()) {
        return Err(RuleError(format!(
            "`{text}` is a range of addresses: write it as one or more prefixes, like 10.0.0.0/8"
        )));
    }
    Err(RuleError(format!(
        "`{text}` is no IP address; names are not looked up: write the address or prefix itself"
    )))
}

fn parse_prefix_len(digits: &str, network: IpAddr) -> Result<u8, RuleError> {
    let most = bits_of(network);
    match parse_number(digits) {
        Some(len) if len <= u16::from(most) => Ok(len as u8),
        _ if digits.parse::<Ipv4Addr>().is_ok() => {
            Err(RuleError(format!("`{digits}` is a netmask: write the number of its leading ones, like /24")))
        }
        _ => Err(RuleError(format!("`/{digits}` is no prefix length here: write /0 to /{most}"))),
    }
}

fn parse_ports(text: &str) -> Result<(u16, u16), RuleError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (parse_number(first), parse_number(last)) {
        (Some(first), Some(last)) if first > last => {
            Err(RuleError(format!("the ports {first}-{last} run backwards: write {last}-{first}")))
        }
        (Some(first), Some(last)) if first > 0 => Ok((first, last)),
        _ => Err(RuleError(format!("`:{text}` is no port: write :PORT or :FIRST-LAST, each of 1 to 65535"))),
    }
}

/// A decimal number without sign.
fn parse_number(digits: &str) -> Option<u16> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// A mapped prefix would never be asked about what its writer means by it.
fn refuse_mapped(network: IpAddr, prefix_len: u8) -> Result<(), RuleError> {
    let IpAddr::V6(v6) = network else { return Ok(()) };
    match (v6.to_ipv4_mapped(), prefix_len.checked_sub(96)) {
        (Some(v4), Some(v4_len)) if prefix_len > 96 || !v4.is_unspecified() => Err(RuleError(format!(
            "an IPv4 address inside an IPv6 one is judged by the rules for IPv4: write {v4}/{v4_len}"
        ))),
        _ => Ok(()),
    }
}

/// How many bits an address of this family has.
pub(super) const fn bits_of(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// `ip` with every bit behind the prefix cleared.
fn first_of(ip: IpAddr, prefix_len: u8) -> IpAddr {
    let behind = u32::from(bits_of(ip) - prefix_len);
    match ip {
        IpAddr::V4(ip) => {
            Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(behind).unwrap_or(0)).into()
        }
        IpAddr::V6(ip) => {
            Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(behind).unwrap_or(0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Rule>().expect_err(text).to_string()
    }

    #[test]
    fn canonical_forms_read_and_write_the_same() {
        for text in [
            "10.1.0.0/16",
            "10.1.0.0/16:5000-6000",
            "10.1.2.3",
            "10.1.2.3:53",
            "0.0.0.0/0",
            "0.0.0.0/0:1-65535",
            "2001:db8::/32",
            "[2001:db8::]/32:5000-6000",
            "[2001:db8::1]:53",
            "2001:db8::1",
            "::/0",
            "[::]/0:443",
            "64:ff9b::/96",
        ] {
            assert_eq!(text.parse::<Rule>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn other_spellings_are_read_and_written_in_canonical_form() {
        for (text, canonical) in [
            ("10.1.2.3/32", "10.1.2.3"),
            ("10.1.2.3:53-53", "10.1.2.3:53"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::]/32", "2001:db8::/32"),
            ("2001:DB8:0:0::1/128", "2001:db8::1"),
            ("[2001:db8::1]/128:53", "[2001:db8::1]:53"),
        ] {
            assert_eq!(text.parse::<Rule>().expect(text).to_string(), canonical);
        }
    }

    #[test]
    fn host_bits_are_an_error_that_tells_both_right_spellings() {
        assert_eq!(
            error("10.1.2.3/16:53"),
            "10.1.2.3/16 has bits set behind its first 16: \
             write 10.1.0.0/16:53 for the whole prefix, or 10.1.2.3:53 for the one address"
        );
        assert!(error("2001:db8::1/32").contains("write 2001:db8::/32 for"));
        assert!(error("1.0.0.0/0").contains("write 0.0.0.0/0 for"));
        assert!(error("::1/0").contains("write ::/0 for"));
    }

    #[test]
    fn each_error_tells_its_cure() {
        for (text, cure) in [
            ("", "write an address"),
            (" 10.0.0.0/8", "leave it out"),
            ("10.0.0.0 /8", "leave it out"),
            ("example.com", "names are not looked up"),
            ("localhost:53", "names are not looked up"),
            ("my-host", "names are not looked up"),
            ("10.0.0.0-example.com", "names are not looked up"),
            ("10.0.0/8", "four numbers"),
            ("10.0.0.256", "four numbers"),
            ("010.0.0.0/8", "without leading zeros"),
            ("10.0.0.0-10.0.0.9", "one or more prefixes"),
            ("10.0.0.0/255.0.0.0", "is a netmask"),
            ("10.0.0.0/33", "/0 to /32"),
            ("10.0.0.0/+8", "/0 to /32"),
            ("10.0.0.0/", "/0 to /32"),
            ("2001:db8::/129", "/0 to /128"),
            ("2001:db8::/32:5000", "write [2001:db8::]/32:5000"),
            ("2001:db8::g", "no IPv6 address"),
            ("fe80::1%eth0", "write fe80::1 alone"),
            ("[2001:db8::1", "add `]`"),
            ("[2001:db8::1]53", "only /LENGTH"),
            ("[10.0.0.1]:53", "write 10.0.0.1:53"),
            ("10.0.0.1:", "1 to 65535"),
            ("10.0.0.1:0", "1 to 65535"),
            ("10.0.0.1:65536", "1 to 65535"),
            ("10.0.0.1:-5", "1 to 65535"),
            ("10.0.0.1:+5", "1 to 65535"),
            ("10.0.0.1:5-", "1 to 65535"),
            ("10.0.0.1:1-2-3", "1 to 65535"),
            ("10.0.0.1:http", "1 to 65535"),
            ("10.0.0.1:600-500", "write 500-600"),
            ("10.0.0.1:53/8", "1 to 65535"),
            ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
            ("::ffff:10.0.0.1", "write 10.0.0.1/32"),
        ] {
            let message = error(text);
            assert!(message.contains(cure), "{text}: {message}");
        }
    }

    #[test]
    fn the_whole_mapped_prefix_may_be_named() {
        assert!("::ffff:0:0/96".parse::<Rule>().is_ok());
        assert!(error("::ffff:0:0/97").contains("write 0.0.0.0/1"), "half of it is IPv4's business");
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "\\PC{0,40}") {
            let _ = text.parse::<Rule>();
        }

        #[test]
        fn near_rules_are_judged(text in "[\\[\\]0-9a-f:./%-]{0,30}") {
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
            }
        }
    }
}
