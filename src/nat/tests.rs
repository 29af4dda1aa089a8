//! Every behaviour by a packet that shows it, and what must hold under any of them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::proto::types::Dice;
use crate::proto::types::Tick;
use crate::proto::types::limits::NAT_PORT_MIN;
use crate::proto::types::limits::NAT_SESSIONS_PER_MAPPING_MAX;

const INNER: &str = "10.0.0.2:5000";
const OUTER: &str = "203.0.113.1";
const REMOTES: [&str; 3] = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"];
const TCP: Protocol = Protocol::Tcp(TcpFlags::SYN);

fn nat(behaviour: Behaviour) -> Nat<Dice> {
    Nat::new(behaviour, vec![OUTER.parse().unwrap()], Dice::new(1))
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Tick {
    Tick::from_millis(seconds * 1_000)
}

fn packet(protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Packet {
    Packet { protocol, source, destination, fragment: None }
}

/// The external source of a packet from inside.
fn out(nat: &mut Nat<Dice>, now: Tick, inner: &str, remote: &str) -> SocketAddr {
    match nat.outbound(now, &packet(Protocol::Udp, at(inner), at(remote))) {
        Verdict::Pass { source, destination } if destination == at(remote) => source,
        other => panic!("{inner} to {remote}: {other:?}"),
    }
}

fn come(nat: &mut Nat<Dice>, now: Tick, remote: &str, outer: SocketAddr) -> Result<SocketAddr, Refused> {
    inside(nat.inbound(now, &packet(Protocol::Udp, at(remote), outer)), at(remote))
}

fn inside(verdict: Verdict, from: SocketAddr) -> Result<SocketAddr, Refused> {
    match verdict {
        Verdict::Pass { source, destination } if source == from => Ok(destination),
        Verdict::Drop(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_way_of_mapping_gives_a_new_port_when_it_should() {
    for (mapping, ports) in Dependence::ALL.into_iter().zip(1..) {
        let mut nat = nat(Behaviour { mapping, ports: PortChoice::Sequential, ..Behaviour::FULL_CONE });
        let seen = REMOTES.map(|remote| out(&mut nat, seconds(0), INNER, remote));
        assert_eq!(seen, REMOTES.map(|remote| out(&mut nat, seconds(1), INNER, remote)), "they stay");
        assert_eq!(BTreeSet::from(seen).len(), ports, "{mapping:?}");
        assert_eq!(nat.mappings(), ports);
    }
}

#[test]
fn each_way_of_filtering_lets_in_whom_it_should() {
    let passing = [[true, true, true], [true, true, false], [true, false, false]];
    for (filtering, passing) in Dependence::ALL.into_iter().zip(passing) {
        let mut nat = nat(Behaviour { filtering, ..Behaviour::FULL_CONE });
        let outer = out(&mut nat, seconds(0), INNER, REMOTES[0]);
        let came = REMOTES.map(|remote| come(&mut nat, seconds(1), remote, outer));
        let expected = passing.map(|passes| if passes { Ok(at(INNER)) } else { Err(Refused::Filtered) });
        assert_eq!(came, expected, "{filtering:?}");
        let other = SocketAddr::new(outer.ip(), outer.port() ^ 1);
        assert_eq!(come(&mut nat, seconds(1), REMOTES[0], other), Err(Refused::NoMapping));
    }
}

#[test]
fn a_mapping_lives_by_what_refreshes_it_and_dies_in_time() {
    // At 100 s one packet goes out, or one comes in; does what is sent at 150 s still find the mapping of 120 s?
    for (refresh, by_outbound, by_inbound) in
        [(Refresh::Outbound, true, false), (Refresh::Inbound, false, true), (Refresh::Both, true, true)]
    {
        for (outbound, lives) in [(true, by_outbound), (false, by_inbound)] {
            let mut nat = nat(Behaviour { refresh, ..Behaviour::PORT_RESTRICTED });
            let outer = out(&mut nat, seconds(0), INNER, REMOTES[0]);
            if outbound {
                assert_eq!(out(&mut nat, seconds(100), INNER, REMOTES[0]), outer);
            } else {
                assert_eq!(come(&mut nat, seconds(100), REMOTES[0], outer), Ok(at(INNER)));
            }
            let found = come(&mut nat, seconds(150), REMOTES[0], outer);
            let expected = if lives { Ok(at(INNER)) } else { Err(Refused::NoMapping) };
            assert_eq!(found, expected, "{refresh:?}, outbound {outbound}");
            assert_eq!(nat.mappings(), usize::from(lives));
        }
    }
}

#[test]
fn one_that_was_sent_to_long_ago_is_filtered_while_others_keep_the_mapping_alive() {
    let mut nat = nat(Behaviour::PORT_RESTRICTED);
    let outer = out(&mut nat, seconds(0), INNER, REMOTES[0]);
    for now in (0..600).step_by(60) {
        assert_eq!(out(&mut nat, seconds(now), INNER, REMOTES[2]), outer);
    }
    assert_eq!(come(&mut nat, seconds(599), REMOTES[2], outer), Ok(at(INNER)));
    assert_eq!(come(&mut nat, seconds(599), REMOTES[0], outer), Err(Refused::Filtered));
}

#[test]
fn a_port_is_kept_where_it_can_be_and_its_parity_where_it_cannot() {
    let mut nat = nat(Behaviour::FULL_CONE);
    assert_eq!(out(&mut nat, seconds(0), "10.0.0.2:5001", REMOTES[0]).port(), 5_001);
    for host in 3..30 {
        let port = out(&mut nat, seconds(0), &format!("10.0.0.{host}:5001"), REMOTES[0]).port();
        assert_ne!(port, 5_001);
        assert_eq!(port % 2, 1);
    }
    // A port below those that NATs give out is not kept.
    assert!(out(&mut nat, seconds(0), "10.0.0.2:80", REMOTES[0]).port() >= NAT_PORT_MIN);
}

#[test]
fn an_overloaded_port_goes_by_who_was_sent_to() {
    let mut nat = nat(Behaviour { ports: PortChoice::Overload, ..Behaviour::PORT_RESTRICTED });
    let outer = out(&mut nat, seconds(0), "10.0.0.2:5000", REMOTES[0]);
    assert_eq!(out(&mut nat, seconds(1), "10.0.0.3:5000", REMOTES[2]), outer);
    assert_eq!(come(&mut nat, seconds(2), REMOTES[0], outer), Ok(at("10.0.0.2:5000")));
    assert_eq!(come(&mut nat, seconds(2), REMOTES[2], outer), Ok(at("10.0.0.3:5000")));
    assert_eq!(come(&mut nat, seconds(2), "192.0.2.9:9", outer), Err(Refused::Filtered));
}

#[test]
fn ports_come_in_order_or_at_random() {
    let hosts = || (2..60).map(|host| format!("10.0.0.{host}:5000"));
    let behaviour = Behaviour { parity: false, ports: PortChoice::Sequential, ..Behaviour::FULL_CONE };
    let mut sequential = nat(behaviour);
    let ports: Vec<_> =
        hosts().map(|host| out(&mut sequential, seconds(0), &host, REMOTES[0]).port()).collect();
    assert!(ports.windows(2).all(|two| two[1] == two[0] + 1), "{ports:?}");

    let mut random = nat(Behaviour { ports: PortChoice::Random, ..behaviour });
    let ports: Vec<_> = hosts().map(|host| out(&mut random, seconds(0), &host, REMOTES[0]).port()).collect();
    assert_eq!(BTreeSet::from_iter(&ports).len(), ports.len());
    assert!(!ports.windows(2).any(|two| two[1] == two[0] + 1), "{ports:?}");
}

#[test]
fn a_host_has_its_share_of_ports_and_gets_them_back() {
    let behaviour = Behaviour { ports_per_host: 3, ..Behaviour::SYMMETRIC };
    let mut nat = nat(behaviour);
    for remote in REMOTES {
        out(&mut nat, seconds(0), INNER, remote);
    }
    let fourth = packet(Protocol::Udp, at(INNER), at("192.0.2.3:1"));
    assert_eq!(nat.outbound(seconds(1), &fourth), Verdict::Drop(Refused::NoPort));
    out(&mut nat, seconds(1), "10.0.0.3:5000", REMOTES[0]);
    // A minute later its first three are gone.
    assert!(matches!(nat.outbound(seconds(60), &fourth), Verdict::Pass { .. }));
    assert_eq!(nat.mappings(), 2);
}

#[test]
fn a_host_stays_at_one_external_address_where_addresses_are_paired() {
    let externals: Vec<IpAddr> = (1..=8).map(|host| format!("203.0.113.{host}").parse().unwrap()).collect();
    for (pooling, most) in [(Pooling::Paired, 1), (Pooling::Arbitrary, 8)] {
        let behaviour = Behaviour { pooling, ..Behaviour::SYMMETRIC };
        let mut nat = Nat::new(behaviour, externals.clone(), Dice::new(1));
        let seen: BTreeSet<_> = (1..100)
            .map(|port| out(&mut nat, seconds(0), INNER, &format!("192.0.2.1:{port}")).ip())
            .collect();
        assert_eq!(seen.len(), most, "{pooling:?}");
    }
}

#[test]
fn packets_for_its_own_address_turn_around_as_it_is_told() {
    for (hairpin, expected) in [
        (Hairpin::No, None),
        (Hairpin::InternalSource, Some("10.0.0.3:6000")),
        (Hairpin::ExternalSource, Some("203.0.113.1:6000")),
    ] {
        let mut nat = nat(Behaviour { hairpin, ..Behaviour::FULL_CONE });
        let outer = out(&mut nat, seconds(0), INNER, REMOTES[0]);
        let turned = nat.outbound(seconds(1), &packet(Protocol::Udp, at("10.0.0.3:6000"), outer));
        let expected = expected.map_or(Verdict::Drop(Refused::NoHairpin), |source| Verdict::Back {
            source: at(source),
            destination: at(INNER),
        });
        assert_eq!(turned, expected, "{hairpin:?}");
    }
}

fn flags(flags: TcpFlags) -> Protocol {
    Protocol::Tcp(flags)
}

/// Opens a connection through `nat` and returns its external endpoint.
fn open(nat: &mut Nat<Dice>, now: Tick) -> SocketAddr {
    let remote = at(REMOTES[0]);
    let Verdict::Pass { source: outer, .. } = nat.outbound(now, &packet(TCP, at(INNER), remote)) else {
        panic!("a SYN goes out");
    };
    let came = nat.inbound(now, &packet(flags(TcpFlags::SYN_ACK), remote, outer));
    assert_eq!(inside(came, remote), Ok(at(INNER)));
    let acknowledged = nat.outbound(now, &packet(flags(TcpFlags::ACK), at(INNER), remote));
    assert_eq!(acknowledged, Verdict::Pass { source: outer, destination: remote });
    outer
}

#[test]
fn an_open_connection_is_remembered_for_hours_and_a_half_open_one_for_minutes() {
    let segment = |flagged| packet(flags(flagged), at(INNER), at(REMOTES[0]));
    let mut nat = nat(Behaviour::PORT_RESTRICTED);
    let outer = open(&mut nat, seconds(0));
    assert!(matches!(nat.outbound(seconds(7_439), &segment(TcpFlags::ACK)), Verdict::Pass { .. }));
    let late = nat.outbound(seconds(7_439 + 7_440), &segment(TcpFlags::ACK));
    assert_eq!(late, Verdict::Drop(Refused::NoConnection));

    nat.forget();
    assert!(matches!(nat.outbound(seconds(0), &segment(TcpFlags::SYN)), Verdict::Pass { .. }));
    let answer = packet(flags(TcpFlags::SYN_ACK), at(REMOTES[0]), outer);
    assert_eq!(nat.inbound(seconds(240), &answer), Verdict::Drop(Refused::NoMapping));
}

#[test]
fn a_connection_that_closed_or_broke_is_remembered_for_minutes() {
    let remote = at(REMOTES[0]);
    for broken in [true, false] {
        let mut nat = nat(Behaviour::PORT_RESTRICTED);
        let outer = open(&mut nat, seconds(0));
        if broken {
            nat.inbound(seconds(1), &packet(flags(TcpFlags::RST), remote, outer));
        } else {
            nat.outbound(seconds(1), &packet(flags(TcpFlags::FIN), at(INNER), remote));
            assert_eq!(nat.mappings(), 1, "half closed is open");
            nat.inbound(seconds(1), &packet(flags(TcpFlags::FIN), remote, outer));
        }
        let late = packet(flags(TcpFlags::ACK), remote, outer);
        assert!(matches!(nat.inbound(seconds(240), &late), Verdict::Pass { .. }), "{broken}");
        assert_eq!(nat.inbound(seconds(480), &late), Verdict::Drop(Refused::NoMapping), "{broken}");
    }
}

#[test]
fn a_half_closed_connection_is_an_open_one() {
    let mut nat = nat(Behaviour::PORT_RESTRICTED);
    let outer = open(&mut nat, seconds(0));
    nat.outbound(seconds(1), &packet(flags(TcpFlags::FIN), at(INNER), at(REMOTES[0])));
    let more = packet(flags(TcpFlags::ACK), at(REMOTES[0]), outer);
    assert!(matches!(nat.inbound(seconds(7_000), &more), Verdict::Pass { .. }));
}

#[test]
fn nobody_calls_in_who_was_not_called_but_two_can_call_each_other() {
    let (mut left, mut right) = (nat(Behaviour::PORT_RESTRICTED), nat(Behaviour::PORT_RESTRICTED));
    right.renumber(vec!["203.0.113.2".parse().unwrap()]);
    let (inner_left, inner_right) = (at("10.0.0.2:5000"), at("10.1.0.2:6000"));
    let (outer_left, outer_right) = (at("203.0.113.1:5000"), at("203.0.113.2:6000"));
    // RFC 5382 § 4.2: both SYNs cross.
    let from_left = left.outbound(seconds(0), &packet(TCP, inner_left, outer_right));
    assert_eq!(from_left, Verdict::Pass { source: outer_left, destination: outer_right });
    let too_early = right.inbound(seconds(0), &packet(TCP, outer_left, outer_right));
    assert_eq!(too_early, Verdict::Drop(Refused::NoMapping));
    right.outbound(seconds(0), &packet(TCP, inner_right, outer_left));
    let crossed = left.inbound(seconds(0), &packet(TCP, outer_right, outer_left));
    assert_eq!(inside(crossed, outer_right), Ok(inner_left));
    let stranger = left.inbound(seconds(0), &packet(TCP, at("192.0.2.9:9"), outer_left));
    assert_eq!(stranger, Verdict::Drop(Refused::Filtered));
    for _ in 0..2 {
        let answer = packet(flags(TcpFlags::SYN_ACK), inner_left, outer_right);
        assert!(matches!(left.outbound(seconds(1), &answer), Verdict::Pass { .. }));
        let came = right.inbound(seconds(1), &packet(flags(TcpFlags::SYN_ACK), outer_left, outer_right));
        assert_eq!(inside(came, outer_left), Ok(inner_right));
    }
}

#[test]
fn a_segment_of_an_unknown_connection_goes_nowhere() {
    let mut nat = nat(Behaviour::FULL_CONE);
    let outer = open(&mut nat, seconds(0));
    nat.forget();
    for flagged in [TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST] {
        let outbound = nat.outbound(seconds(1), &packet(flags(flagged), at(INNER), at(REMOTES[0])));
        assert_eq!(outbound, Verdict::Drop(Refused::NoConnection));
    }
    let inbound = nat.inbound(seconds(1), &packet(flags(TcpFlags::ACK), at(REMOTES[0]), outer));
    assert_eq!(inbound, Verdict::Drop(Refused::NoMapping));
}

#[test]
fn udp_and_tcp_have_ports_of_their_own() {
    let mut nat = nat(Behaviour::FULL_CONE);
    let outer = open(&mut nat, seconds(0));
    assert_eq!(out(&mut nat, seconds(0), INNER, REMOTES[0]), outer);
    assert_eq!(nat.mappings(), 2);
    assert_eq!(come(&mut nat, seconds(100), REMOTES[0], outer), Ok(at(INNER)));
    assert_eq!(come(&mut nat, seconds(120), REMOTES[0], outer), Err(Refused::NoMapping));
    assert_eq!(nat.mappings(), 1);
}

#[test]
fn parts_of_a_datagram_go_the_way_of_the_first() {
    let part = |id, first| Packet {
        fragment: Some(Fragment { id, first }),
        ..packet(Protocol::Udp, at(INNER), at(REMOTES[0]))
    };
    for fragments in [Fragments::Drop, Fragments::InOrder, Fragments::OutOfOrder] {
        let mut nat = nat(Behaviour { fragments, ..Behaviour::FULL_CONE });
        let early = nat.outbound(seconds(0), &part(7, false));
        assert_eq!(early, Verdict::Drop(Refused::Fragment));
        let first = nat.outbound(seconds(0), &part(7, true));
        assert_eq!(matches!(first, Verdict::Pass { .. }), fragments != Fragments::Drop);
        assert_eq!(nat.outbound(seconds(0), &part(7, false)), first);
        assert_eq!(nat.outbound(seconds(0), &part(8, false)), Verdict::Drop(Refused::Fragment));
    }
}

#[test]
fn what_the_firewall_stops_is_told_if_it_tells() {
    let syn = packet(TCP, at(INNER), at("192.0.2.1:80"));
    let wall = || Firewall::OnlyTcpTo(vec![443]);
    let mut silent = nat(Behaviour::FULL_CONE).behind(wall(), false);
    assert_eq!(silent.outbound(seconds(0), &syn), Verdict::Drop(Refused::Firewall));
    let mut telling = nat(Behaviour::FULL_CONE).behind(wall(), true);
    assert_eq!(telling.outbound(seconds(0), &syn), Verdict::Reject(Refused::Firewall));
    assert_eq!(telling.mappings(), 0);
    let open = packet(TCP, at(INNER), at("192.0.2.1:443"));
    assert!(matches!(telling.outbound(seconds(0), &open), Verdict::Pass { .. }));
}

#[test]
fn an_error_finds_its_way_back_and_changes_nothing() {
    let mut nat = nat(Behaviour::PORT_RESTRICTED);
    let outer = out(&mut nat, seconds(0), INNER, REMOTES[0]);
    let told = |nat: &Nat<Dice>, now, remote| nat.told_of(seconds(now), Protocol::Udp, outer, at(remote));
    assert_eq!(told(&nat, 119, REMOTES[0]), Some(at(INNER)));
    assert_eq!(told(&nat, 119, REMOTES[1]), None);
    assert_eq!(come(&mut nat, seconds(120), REMOTES[0], outer), Err(Refused::NoMapping));
}

#[test]
fn behind_a_carrier_a_packet_is_mapped_twice_and_neighbours_meet_at_the_carrier() {
    let carrier: IpAddr = "203.0.113.1".parse().unwrap();
    let home = |number: u8| {
        let external = format!("100.64.0.{number}").parse().unwrap();
        Nat::new(Behaviour::PORT_RESTRICTED, vec![external], Dice::new(number.into()))
    };
    let mut chain = Chain(vec![home(1), Nat::new(Behaviour::CARRIER, vec![carrier], Dice::new(9))]);
    let sent = chain.outbound(seconds(0), &packet(Protocol::Udp, at(INNER), at(REMOTES[0])));
    let Verdict::Pass { source: outer, .. } = sent else { panic!("{sent:?}") };
    assert_eq!(outer.ip(), carrier);
    let back = chain.inbound(seconds(1), &packet(Protocol::Udp, at(REMOTES[0]), outer));
    assert_eq!(inside(back, at(REMOTES[0])), Ok(at(INNER)));
    // To itself, by the carrier: the home router has sent to that address, so it lets it in.
    let own = chain.outbound(seconds(2), &packet(Protocol::Udp, at(INNER), outer));
    let expected = Verdict::Back { source: outer, destination: at(INNER) };
    assert_eq!(own, expected);
    let stranger = chain.inbound(seconds(3), &packet(Protocol::Udp, at("192.0.2.9:9"), outer));
    assert_eq!(stranger, Verdict::Drop(Refused::Filtered));
}

#[test]
fn a_mapping_remembers_so_many_and_forgets_the_oldest() {
    let mut nat = nat(Behaviour::PORT_RESTRICTED);
    let remote = |number: usize| format!("192.0.2.{}:{}", 1 + number / 60_000, 1 + number % 60_000);
    let mut outer = None;
    for number in 0..=NAT_SESSIONS_PER_MAPPING_MAX {
        let now = Tick::from_millis(number as u64);
        outer = Some(out(&mut nat, now, INNER, &remote(number)));
    }
    let outer = outer.unwrap();
    assert_eq!(come(&mut nat, seconds(2), &remote(0), outer), Err(Refused::Filtered));
    assert_eq!(come(&mut nat, seconds(2), &remote(1), outer), Ok(at(INNER)));
}

#[test]
fn another_family_has_no_address_here() {
    let mut nat = nat(Behaviour::FULL_CONE);
    let six = packet(Protocol::Udp, at("[fd00::2]:5000"), at("[2001:db8::1]:1"));
    assert_eq!(nat.outbound(seconds(0), &six), Verdict::Drop(Refused::Family));
    assert_eq!(nat.mappings(), 0);
}

fn behaviours() -> impl Strategy<Value = Behaviour> {
    let dependence = || prop::sample::select(Dependence::ALL.to_vec());
    let ports = [PortChoice::Preserve, PortChoice::Overload, PortChoice::Sequential, PortChoice::Random];
    let hairpin = [Hairpin::No, Hairpin::InternalSource, Hairpin::ExternalSource];
    let refresh = [Refresh::Outbound, Refresh::Inbound, Refresh::Both];
    (
        (dependence(), dependence(), prop::sample::select(ports.to_vec()), any::<bool>()),
        (prop::sample::select(hairpin.to_vec()), prop::sample::select(refresh.to_vec()), 0..4_u16),
    )
        .prop_map(|((mapping, filtering, ports, parity), (hairpin, refresh, share))| Behaviour {
            mapping,
            filtering,
            ports,
            parity,
            hairpin,
            refresh,
            ports_per_host: share * 2,
            udp: Duration::from_secs(20),
            ..Behaviour::FULL_CONE
        })
}

proptest! {
    /// Whatever comes and goes: what is let in goes to whoever has that port; two hosts share one only where ports are
    /// overloaded; and when all is over nothing is left.
    #[test]
    fn a_port_is_one_endpoints_and_all_of_it_ends(
        behaviour in behaviours(),
        steps in prop::collection::vec((0..5_u64, 0..4_u8, 0..3_u16, 0..4_u8, 0..4_u16, any::<bool>()), 1..200),
    ) {
        let mut nat = nat(behaviour);
        let mut now = 0;
        // Who was seen behind which external endpoint, and when last.
        let mut seen: BTreeMap<SocketAddr, BTreeMap<SocketAddr, u64>> = BTreeMap::new();
        for (pause, host, port, peer, peer_port, outward) in steps {
            now += pause;
            let inner = SocketAddr::from(([10, 0, 0, host + 2], 5_000 + port));
            let remote = SocketAddr::from(([192, 0, 2, peer + 1], 7_000 + peer_port));
            if outward {
                if let Verdict::Pass { source, .. } = nat.outbound(seconds(now), &packet(Protocol::Udp, inner, remote)) {
                    let others = seen.entry(source).or_default();
                    others.insert(inner, now);
                    let live = others.values().filter(|at| **at + 20 > now).count();
                    prop_assert!(live == 1 || behaviour.ports == PortChoice::Overload || behaviour.refresh == Refresh::Inbound);
                }
            } else if let Some(outer) = seen.keys().nth(usize::from(port)).copied() {
                let verdict = nat.inbound(seconds(now), &packet(Protocol::Udp, remote, outer));
                if let Verdict::Pass { destination, .. } = verdict {
                    prop_assert!(seen[&outer].contains_key(&destination));
                }
            }
            prop_assert!(behaviour.ports_per_host == 0 || nat.mappings() <= 4 * usize::from(behaviour.ports_per_host));
        }
        let nobody = packet(Protocol::Udp, at("192.0.2.9:9"), at("203.0.113.1:9"));
        nat.inbound(seconds(now + 10_000), &nobody);
        prop_assert_eq!(nat.mappings(), 0);
    }
}

#[test]
fn a_port_that_is_withheld_is_nobodys_and_another_one_is_chosen() {
    for ports in [PortChoice::Preserve, PortChoice::Sequential, PortChoice::Random] {
        let mut nat = nat(Behaviour { ports, ..Behaviour::FULL_CONE });
        let first = out(&mut nat, seconds(0), INNER, REMOTES[0]);
        nat.withhold(Protocol::Udp, first);
        assert_eq!(come(&mut nat, seconds(0), REMOTES[0], first), Err(Refused::NoMapping), "{ports:?}");
        let second = out(&mut nat, seconds(0), INNER, REMOTES[0]);
        assert_ne!(first, second, "{ports:?}");
        assert_eq!((come(&mut nat, seconds(0), REMOTES[0], second), nat.mappings()), (Ok(at(INNER)), 1));
        // Not even when the mappings have ended.
        let third = out(&mut nat, seconds(1_000), INNER, REMOTES[0]);
        assert_ne!(first, third, "{ports:?}");
    }
}
