//! How a call ended, by what the routers saw of it.

use std::time::Duration;

use crate::testbed::Relay;
use crate::testbed::Verdict;

use super::addresses::Side;
use super::flow::Flow;
use super::flow::Flows;
use super::flow::Road;

/// How the call went, and when its data first passed both ways at both sides. That is not known where both sides hide it in
/// TLS.
#[must_use]
pub fn judge(flows: &Flows) -> (Verdict, Option<Duration>) {
    let (Some(left), Some(right)) = (flows.main(Side::Left), flows.main(Side::Right)) else {
        return (Verdict::Failed, None);
    };
    let is_readable = |side: &[&Flow; 2]| !side.iter().any(|flow| flow.road.is_opaque());
    let sides = Side::BOTH.into_iter().zip([left, right]).filter(|(_, flows)| is_readable(flows));
    let met = sides.filter_map(|(side, _)| flows.met(side)).max();
    (verdict(&[left, right].concat()), met)
}

fn verdict(flows: &[&Flow]) -> Verdict {
    if flows.iter().all(|flow| flow.road == Road::Direct) {
        return Verdict::Direct;
    }
    Verdict::Relayed(flows.iter().filter_map(|flow| relay(flow)).max().unwrap_or(Relay::Udp))
}

const fn relay(flow: &Flow) -> Option<Relay> {
    match flow.road {
        Road::Server(relay) => Some(relay),
        Road::Direct | Road::ToRelay | Road::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::nat::Packet;
    use crate::nat::Protocol;
    use crate::nat::TcpFlags;
    use crate::testbed::real_lab::gate::Way;

    /// Data of 50 packets each way between each side and its other end, one in 20 ms.
    fn judged(left: Option<(&str, &[u8])>, right: Option<(&str, &[u8])>) -> (Verdict, Option<Duration>) {
        let mut flows = Flows::default();
        for (side, end) in Side::BOTH.into_iter().zip([left, right]) {
            let Some((far, payload)) = end else { continue };
            let (name, address) = far.split_once(' ').unwrap();
            let protocol = if name == "udp" { Protocol::Udp } else { Protocol::Tcp(TcpFlags::ACK) };
            let near = SocketAddr::new(side.external().into(), 4_000);
            let far = address.parse().unwrap();
            for number in 0..50 {
                let at = Duration::from_millis(20 * number + 1_000 * side.index() as u64);
                let packet = Packet { protocol, source: near, destination: far, fragment: None };
                flows.note(at, side, Way::Out, &packet, 100, payload);
                let packet = Packet { source: far, destination: near, ..packet };
                flows.note(at, side, Way::In, &packet, 100, payload);
            }
        }
        judge(&flows)
    }

    #[test]
    fn the_less_direct_of_two_relays_counts_and_a_peer_of_a_relay_uses_none() {
        const MEDIA: &[u8] = &[0x80; 20];
        const CHANNEL: &[u8] = &[0x40, 0, 0, 4, 0x80, 0, 0, 0];
        const RECORD: &[u8] = &[23, 3, 3, 0, 1, 0];
        let second = Some(Duration::from_secs(1));
        let udp = Some(("udp 192.0.2.1:3478", CHANNEL));
        let tcp = Some(("tcp 192.0.2.1:3478", CHANNEL));
        let tls = Some(("tcp 192.0.2.1:443", RECORD));
        let proxy = Some(("tcp 192.0.2.9:8080", RECORD));
        let relay = Some(("udp 192.0.2.1:50000", MEDIA));
        let (to_left, to_right) = (Some(("udp 203.0.113.1:4", MEDIA)), Some(("udp 198.51.100.1:4", MEDIA)));
        let of = |relay| Verdict::Relayed(relay);
        assert_eq!(judged(to_right, to_left), (Verdict::Direct, second));
        assert_eq!(judged(udp, relay), (of(Relay::Udp), second));
        assert_eq!(judged(relay, tcp), (of(Relay::Tcp), second));
        assert_eq!(judged(udp, tls), (of(Relay::Tls), Some(Duration::ZERO)));
        assert_eq!(judged(proxy, tls), (of(Relay::Proxy), None));
        assert_eq!(judged(to_right, None), (Verdict::Failed, None));
        // One side sends by its relay and hears at its own address.
        let mut flows = Flows::default();
        let ways = [
            (Side::Left, Way::Out, "192.0.2.1:50000", MEDIA),
            (Side::Left, Way::In, "192.0.2.1:3478", CHANNEL),
            (Side::Right, Way::Out, "192.0.2.1:3478", CHANNEL),
            (Side::Right, Way::In, "192.0.2.1:3478", CHANNEL),
        ];
        for (side, way, far, payload) in ways {
            let (near, far) = (SocketAddr::new(side.external().into(), 4_000), far.parse().unwrap());
            let (source, destination) = if way == Way::Out { (near, far) } else { (far, near) };
            let packet = Packet { protocol: Protocol::Udp, source, destination, fragment: None };
            flows.note(Duration::ZERO, side, way, &packet, 100, payload);
        }
        assert_eq!(judge(&flows), (of(Relay::Udp), Some(Duration::ZERO)));
        assert_eq!(judged(None, None), (Verdict::Failed, None));
    }
}
