//! Single values: spans of time, ports, addresses. Each refusal says what to write.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Why a value is refused, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) rule: String,
    pub(crate) fix: String,
}

impl Complaint {
    pub(crate) fn new(rule: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { rule: rule.into(), fix: fix.into() }
    }
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a span of time: numbers with the units d, h, m, s, the greatest first, each once: `8h`, `90s`, `1h30m`.
///
/// # Errors
/// A sentence part that says what to write.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    const FIX: &str = "write a number with a unit, the greatest unit first: \"8h\", \"90s\", \"1h30m\"";
    if let Ok(seconds) = text.parse::<u64>() {
        return Err(format!("write the unit too: \"{}\"", show_span(Duration::from_secs(seconds))));
    }
    let (mut seconds, mut rest, mut units) = (0u64, text, UNITS.as_slice());
    if text.is_empty() {
        return Err(FIX.to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| FIX.to_owned())?;
        let unit = rest[digits..].chars().next().ok_or_else(|| FIX.to_owned())?;
        let index = units.iter().position(|(letter, _)| *letter == unit).ok_or_else(|| FIX.to_owned())?;
        let length = number.checked_mul(units[index].1).and_then(|length| seconds.checked_add(length));
        seconds = length.ok_or_else(|| "write a shorter span".to_owned())?;
        units = &units[index + 1..];
        rest = &rest[digits + 1..];
    }
    Ok(Duration::from_secs(seconds))
}

/// The shortest text that [`parse_span`] reads as `span`, less its fraction of a second.
#[must_use]
pub fn show_span(span: Duration) -> String {
    let mut rest = span.as_secs();
    let mut out = String::new();
    for (letter, length) in UNITS {
        // "24h" reads better than "1d" and is what the documents say.
        if length == 86_400 && rest < 2 * length {
            continue;
        }
        if rest >= length {
            out.push_str(&format!("{}{letter}", rest / length));
            rest %= length;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// Reads `"50000-59999"`.
pub(crate) fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, Complaint> {
    const EXAMPLE: &str = "write the lowest and the highest port with a hyphen: \"50000-59999\"";
    let Some((low, high)) = text.split_once('-') else {
        return match text.trim().parse::<u16>() {
            Ok(port) if port > 0 => {
                Err(Complaint::new("one port is no range", format!("write \"{port}-{port}\"")))
            }
            _ => Err(Complaint::new("this is no range of ports", EXAMPLE)),
        };
    };
    let port = |text: &str| -> Result<u16, Complaint> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Complaint::new(format!("`{text}` is no port"), EXAMPLE));
        }
        match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(Complaint::new(format!("{text} is no port"), "ports go from 1 to 65535")),
        }
    };
    let (low, high) = (port(low)?, port(high)?);
    if low > high {
        return Err(Complaint::new("the range ends before it begins", format!("write \"{high}-{low}\"")));
    }
    Ok(low..=high)
}

/// Reads an IP address with a port. `port_usual` is proposed where the port is missing.
pub(crate) fn parse_endpoint(text: &str, port_usual: u16) -> Result<SocketAddr, Complaint> {
    const EXAMPLE: &str = "write an IP address and a port: \"0.0.0.0:3478\" or \"[::]:3478\"";
    if let Ok(endpoint) = text.parse::<SocketAddr>() {
        return Ok(endpoint);
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        let endpoint = SocketAddr::new(ip, port_usual);
        return Err(Complaint::new("the port is missing", format!("write \"{endpoint}\"")));
    }
    if text.is_empty() {
        return Err(Complaint::new("the address is empty", EXAMPLE));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<u16>() {
            Ok(port) => Complaint::new("the IP address is missing", format!("write \"0.0.0.0:{port}\"")),
            Err(_) => Complaint::new(format!("`{text}` is no address"), EXAMPLE),
        });
    };
    if port.parse::<u16>().is_err() {
        return Err(Complaint::new(format!("`{port}` is no port"), "ports go from 1 to 65535"));
    }
    if host.is_empty() || host == "*" {
        return Err(Complaint::new(
            "the IP address is missing",
            format!(
                "write \"0.0.0.0:{port}\" for every IPv4 address, \"[::]:{port}\" for every IPv6 address"
            ),
        ));
    }
    if host.trim_start_matches('[').contains(':') {
        return Err(Complaint::new(
            format!("`{text}` is no address"),
            format!("an IPv6 address stands in brackets: \"[2001:db8::1]:{port}\""),
        ));
    }
    Err(Complaint::new(format!("`{host}` is no IP address, and names are not looked up"), EXAMPLE))
}

/// Reads an IP address.
pub(crate) fn parse_ip(text: &str) -> Result<IpAddr, Complaint> {
    const EXAMPLE: &str = "write an IP address: \"203.0.113.7\" or \"2001:db8::7\"";
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    if let Ok(endpoint) = text.parse::<SocketAddr>() {
        return Err(Complaint::new(
            "a relay address has no port; the ports are those of `relay.ports`",
            format!("write \"{}\"", endpoint.ip()),
        ));
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Err(Complaint::new(
            "brackets stand around an address with a port only",
            format!("write \"{ip}\""),
        ));
    }
    if let Some((bind, external)) = mapping(text) {
        return Err(Complaint::new(
            "a mapping is written as a table here",
            format!("write {{ bind = \"{bind}\", external = \"{external}\" }}"),
        ));
    }
    Err(Complaint::new(format!("`{text}` is no IP address"), EXAMPLE))
}

/// The parts of coturn's `public/private`, in the order (private, public).
fn mapping(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (external, bind) = text.split_once('/')?;
    Some((bind.parse().ok()?, external.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("8h", 28_800),
            ("90s", 90),
            ("10m", 600),
            ("1h30m", 5_400),
            ("1d", 86_400),
            ("1d2h3m4s", 93_784),
            ("0s", 0),
            ("0h0m", 0),
        ] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "h",
            "8",
            "8 h",
            "8H",
            "30m1h",
            "1h1h",
            "-1h",
            "1.5h",
            "1h30",
            "8hours",
            "8h ",
            " 8h",
            "∞",
            "1w",
            "99999999999999999999h",
            "18446744073709551615h",
            "+1h",
        ] {
            assert!(parse_span(text).is_err(), "{text:?} was taken");
        }
        assert_eq!(parse_span("3600").unwrap_err(), "write the unit too: \"1h\"");
    }

    #[test]
    fn a_span_that_is_shown_reads_the_same() {
        for seconds in [0, 1, 59, 60, 61, 3_600, 5_400, 86_400, 90_061, 172_800, 172_801, u64::MAX] {
            let span = Duration::from_secs(seconds);
            assert_eq!(parse_span(&show_span(span)), Ok(span), "{seconds}");
        }
        assert_eq!(show_span(Duration::from_secs(86_400)), "24h");
    }

    #[test]
    fn ports() {
        assert_eq!(parse_ports("50000-59999"), Ok(50_000..=59_999));
        assert_eq!(parse_ports("5 - 5"), Ok(5..=5));
        assert_eq!(parse_ports("1-65535"), Ok(1..=65_535));
        for text in ["", "-", "5-", "-5", "0-5", "5-65536", "a-b", "9-5", "1-2-3", "+1-5", "50000:59999"] {
            assert!(parse_ports(text).is_err(), "{text:?} was taken");
        }
        assert_eq!(parse_ports("9-5").unwrap_err().fix, "write \"5-9\"");
    }

    #[test]
    fn endpoints() {
        assert!(parse_endpoint("0.0.0.0:3478", 3478).is_ok());
        assert!(parse_endpoint("[::]:3478", 3478).is_ok());
        for (text, fix) in [
            ("0.0.0.0", "write \"0.0.0.0:3478\""),
            ("::", "write \"[::]:3478\""),
            ("[::]", "write \"[::]:3478\""),
            ("3478", "write \"0.0.0.0:3478\""),
            ("2001:db8::zz:1", "an IPv6 address stands in brackets: \"[2001:db8::1]:1\""),
            ("1.2.3.4:99999", "ports go from 1 to 65535"),
        ] {
            assert_eq!(parse_endpoint(text, 3478).unwrap_err().fix, fix, "{text}");
        }
        for text in ["", ":3478", "*:3478", "turn.example.net:3478", "1.2.3:3478", "[::]:", "é:1"] {
            assert!(parse_endpoint(text, 3478).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn ips() {
        assert!(parse_ip("203.0.113.7").is_ok());
        assert_eq!(parse_ip("203.0.113.7:80").unwrap_err().fix, "write \"203.0.113.7\"");
        assert_eq!(parse_ip("[2001:db8::7]").unwrap_err().fix, "write \"2001:db8::7\"");
        assert_eq!(
            parse_ip("203.0.113.7/10.0.0.5").unwrap_err().fix,
            "write { bind = \"10.0.0.5\", external = \"203.0.113.7\" }"
        );
        assert!(parse_ip("eth0").is_err());
    }
}
