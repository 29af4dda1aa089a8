//! What is let out at all.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::packet::Protocol;

/// What the rules of a site let out. What comes back passes wherever the NAT lets it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Firewall {
    /// Everything.
    #[default]
    Open,
    /// No UDP.
    NoUdp,
    /// TCP to these ports alone, such as 443.
    OnlyTcpTo(Vec<u16>),
    /// TCP to this proxy alone.
    OnlyProxy(SocketAddr),
    /// Nothing to these addresses.
    Without(Vec<IpAddr>),
}

impl Firewall {
    /// Whether a packet may go out.
    #[must_use]
    pub fn lets_out(&self, protocol: Protocol, destination: SocketAddr) -> bool {
        let tcp = matches!(protocol, Protocol::Tcp(_));
        match self {
            Self::Open => true,
            Self::NoUdp => tcp,
            Self::OnlyTcpTo(ports) => tcp && ports.contains(&destination.port()),
            Self::OnlyProxy(proxy) => tcp && destination == *proxy,
            Self::Without(addresses) => !addresses.contains(&destination.ip()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::TcpFlags;
    use super::*;

    #[test]
    fn each_wall_has_its_hole() {
        let tcp = Protocol::Tcp(TcpFlags::SYN);
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let cases = [
            (Firewall::Open, [true, true, true, true]),
            (Firewall::NoUdp, [false, true, true, true]),
            (Firewall::OnlyTcpTo(vec![443]), [false, false, true, false]),
            (Firewall::OnlyProxy(at("192.0.2.9:8080")), [false, false, false, true]),
            (Firewall::Without(vec!["192.0.2.1".parse().unwrap()]), [false, false, false, true]),
        ];
        for (firewall, expected) in cases {
            let let_out = [
                firewall.lets_out(Protocol::Udp, at("192.0.2.1:3478")),
                firewall.lets_out(tcp, at("192.0.2.1:3478")),
                firewall.lets_out(tcp, at("192.0.2.1:443")),
                firewall.lets_out(tcp, at("192.0.2.9:8080")),
            ];
            assert_eq!(let_out, expected, "{firewall:?}");
        }
    }
}
