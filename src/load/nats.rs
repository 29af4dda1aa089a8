//! What stands before the agents of `load ice --nat`: between which places pairs are made, by which ways they reach the server,
//! and how they have to end.
//!
//! Each agent has NATs of its own, after the model of [`crate::nat`]; their external addresses are of this machine's loopback,
//! and so are the server and its relayed addresses. Nothing leaves the machine.

use std::net::IpAddr;
use std::time::Duration;

use crate::place::Place;
use crate::place::Relay;
use crate::place::Verdict;
use crate::place::Way;
use crate::place::Why;
use crate::place::derive_by;
use crate::proto::types::limits::ICE_SERVERS_MAX;

use super::Fault;
use super::fault::FaultKind;
use super::plan::Carrier;
use super::plan::Server;

/// What stands before the agents of [`super::plan::Mode::Ice`], and how they reach the server.
#[derive(Clone, Debug)]
pub struct Nats {
    /// Where the left and the right agent of a pair stand; pairs of agents take these in turn. Not empty.
    pub places: Vec<[Place; 2]>,
    /// Ways to the same server beside the plan's one. Each agent is given all of them, and its firewall lets some out.
    pub ways: Vec<Server>,
    /// How long a relayed pair may yet become direct, from its last change of path on, before it is judged.
    pub settling: Duration,
    /// Whether filters let everybody in: wrong NATs, by which a test sees that a wrong ending is found.
    pub is_unfiltered: bool,
}

/// By what a client reaches this server.
#[must_use]
pub fn way(server: &Server) -> Way {
    let relay = match server.carrier {
        _ if server.proxy.is_some() => Relay::Proxy,
        Carrier::Udp | Carrier::Dtls | Carrier::LegacyUdp => Relay::Udp,
        Carrier::Tcp | Carrier::LegacyTcp => Relay::Tcp,
        Carrier::Tls => Relay::Tls,
    };
    Way { relay, first_hop: server.first_hop() }
}

impl Nats {
    /// All ways to the server, the plan's one first.
    #[must_use]
    pub fn ways(&self, server: &Server) -> Vec<Way> {
        std::iter::once(server).chain(&self.ways).map(way).collect()
    }

    /// Why pairs between these places have to end as they do.
    #[must_use]
    pub fn why(&self, server: &Server, [left, right]: [Place; 2]) -> Why {
        derive_by(left, right, &self.ways(server))
    }

    /// Whether pairs can be made at all.
    ///
    /// # Errors
    /// [`FaultKind::Request`] where a server is not on loopback, a way cannot be modelled, or no pair could connect.
    pub fn check(&self, server: &Server) -> Result<(), Fault> {
        let wrong = |what: String| Fault::new(FaultKind::Request, what);
        let all = std::iter::once(server).chain(&self.ways);
        for each in all.clone() {
            let hops = [each.address, each.first_hop()];
            let is_here = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.is_loopback());
            if let Some(hop) = hops.into_iter().find(|hop| !is_here(hop.ip())) {
                return Err(wrong(format!(
                    "--nat: {hop} is not on this machine's loopback, and the NATs are there alone"
                ))
                .cure("load a server that listens at 127.0.0.1; conf/testbed/loopback.toml makes one"));
            }
            if matches!(each.carrier, Carrier::Dtls | Carrier::LegacyUdp | Carrier::LegacyTcp) {
                return Err(wrong(format!("--nat: {} is no way for agents between NATs", each.uri))
                    .cure("name the server over UDP, TCP or TLS"));
            }
        }
        if all.clone().count() > ICE_SERVERS_MAX {
            return Err(wrong(format!("--nat: an agent asks {ICE_SERVERS_MAX} servers at the most"))
                .cure("leave some of the URIs out"));
        }
        let has_udp = self.ways(server).iter().any(|way| way.relay == Relay::Udp);
        if !has_udp && let Some(place) = self.places.iter().flatten().find(|place| place.has_udp()) {
            return Err(wrong(format!(
                "--nat: no URI is over UDP, and without one nobody at {place} learns the address that its NAT gives it"
            ))
            .cure("write the server's URI over UDP too, such as turn:127.0.0.1"));
        }
        if self.places.iter().all(|places| self.why(server, *places).verdict() == Verdict::Failed) {
            return Err(wrong(
                "--nat: no pair can connect: between these places no way leads to the server".to_owned(),
            )
            .cure("write the server's other URIs too: ?transport=tcp, turns:HOST:443, or a --proxy"));
        }
        Ok(())
    }

    /// Which places are let out to none of the servers, one sentence each.
    #[must_use]
    pub fn cut_off(&self, server: &Server) -> Vec<String> {
        let ways = self.ways(server);
        let is_cut = |place: &Place| {
            self.places.iter().flatten().any(|there| there == place) && Way::best(*place, &ways).is_none()
        };
        let cure = |place: Place| match place {
            Place::Only443 => "a URI over TLS at port 443",
            Place::HttpProxy => "a --proxy, and a URI over TCP or TLS behind it",
            _ => "a URI over TCP or TLS",
        };
        let told = |place: Place| {
            format!(
                "{place} is let out to none of the given servers: pairs with it have to fail, unless there is {}.",
                cure(place)
            )
        };
        Place::ALL.into_iter().filter(is_cut).map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::plan::Trust;
    use super::super::plan::Who;
    use super::*;

    fn server(carrier: Carrier, address: &str) -> Server {
        let address: SocketAddr = address.parse().expect("a literal");
        Server {
            uri: format!("turn:{address}"),
            host: address.ip().to_string(),
            address,
            carrier,
            who: Who::Many(Vec::new()),
            trust: Trust::System,
            watch: None,
            proxy: None,
        }
    }

    fn nats(places: &[[Place; 2]], ways: Vec<Server>) -> Nats {
        Nats { places: places.to_vec(), ways, settling: Duration::ZERO, is_unfiltered: false }
    }

    #[test]
    fn what_cannot_be_is_a_sentence_before_the_run() {
        let (udp, tcp) = (server(Carrier::Udp, "127.0.0.1:3478"), server(Carrier::Tcp, "127.0.0.1:3478"));
        let (open, blocked, only) = (Place::Open, Place::UdpBlocked, Place::Only443);
        let far = server(Carrier::Udp, "192.0.2.1:3478");
        let many = vec![tcp.clone(); ICE_SERVERS_MAX];
        for (first, nats, says) in [
            (&far, nats(&[[open; 2]], vec![]), "192.0.2.1:3478 is not on this machine's loopback"),
            (&udp, nats(&[[open; 2]], vec![far.clone()]), "not on this machine's loopback"),
            (&udp, nats(&[[open; 2]], vec![server(Carrier::Dtls, "127.0.0.1:1")]), "no way for agents"),
            (&udp, nats(&[[open; 2]], many), "8 servers at the most"),
            (&tcp, nats(&[[blocked, open]], vec![]), "no URI is over UDP, and without one nobody at open"),
            (&udp, nats(&[[blocked; 2], [only; 2]], vec![]), "no pair can connect"),
            (&tcp, nats(&[[only; 2]], vec![]), "no pair can connect"),
        ] {
            let fault = nats.check(first).expect_err(says);
            assert!(fault.kind == FaultKind::Request && fault.what.contains(says), "{fault}");
            assert!(fault.cure.is_some(), "{fault}");
        }
        assert_eq!(nats(&[[blocked; 2]], vec![]).check(&tcp), Ok(()));
        assert_eq!(nats(&[[blocked, open], [only, open]], vec![tcp]).check(&udp), Ok(()));
    }

    #[test]
    fn who_is_cut_off_is_told_with_what_would_help() {
        let udp = server(Carrier::Udp, "127.0.0.1:3478");
        let all = nats(&Place::ALL.map(|place| [place, Place::Open]), vec![]);
        let told = all.cut_off(&udp);
        assert_eq!(told.len(), 3, "{told:?}");
        for (line, cure) in told.iter().zip(["over TCP or TLS", "TLS at port 443", "a --proxy"]) {
            assert!(line.contains("have to fail") && line.contains(cure), "{line}");
        }
        let tls = server(Carrier::Tls, "127.0.0.1:443");
        let with_tls = Nats { ways: vec![tls], ..all };
        assert_eq!(with_tls.cut_off(&udp).len(), 1);
        assert_eq!(with_tls.why(&udp, [Place::Only443, Place::Open]).verdict(), Verdict::Relayed(Relay::Tls));
    }
}
