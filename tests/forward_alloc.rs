//! The packet path allocates nothing: a counting allocator watches it on every way through it.
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::Bucket;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::media::ExternalAddresses;
use swingbridge::proto::media::FromClient;
use swingbridge::proto::media::FromPeer;
use swingbridge::proto::media::NewAllocation;
use swingbridge::proto::media::Table;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::media::TableConfig;
use swingbridge::proto::media::forward::from_client;
use swingbridge::proto::media::forward::from_peer;
use swingbridge::proto::peers::PolicyBuilder;
use swingbridge::proto::peers::Unlisted;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::ClientAddr;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::Dialect;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::IpHeader;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::Rate;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayId;
use swingbridge::proto::types::RelayProtocol;
use swingbridge::proto::types::ServerAddr;
use swingbridge::proto::types::Tick;
use swingbridge::proto::types::Transport;
use swingbridge::proto::wire::indication::DATA_HEADER_MAX;
use swingbridge::proto::wire::indication::DATA_PADDING_MAX;

const PACKETS_PER_PATH: usize = 1_000;

thread_local! {
    /// Allocations of this thread: the test harness allocates on others as it likes.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // Fails only while a thread is torn down, when nothing is measured.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract; counting
// touches only a constant-initialised thread-local cell without a destructor, and so never allocates itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is the one asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` by one of the functions beside this one, with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise about `layout` is the one asked for here.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `pointer` came from `System` with this `layout`; the caller promises a valid `new_size`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_sees_an_allocation() {
    assert_eq!(allocations_of(|| {}), 0);
    assert_eq!(allocations_of(|| drop(black_box(Box::new(7_u8)))), 1);
    assert!(allocations_of(|| drop(black_box(format!("{}", black_box(7))))) >= 1);
    let mut grown = Vec::with_capacity(1);
    assert!(allocations_of(|| (0..100).for_each(|n| grown.push(black_box(n)))) >= 1);
}

#[test]
fn nothing_is_allocated_for_a_clients_packet_whatever_its_verdict() {
    let table = world();
    for case in client_cases() {
        let verdict = from_client(&table, case.tick, &client(case.port), HEADER, &case.datagram);
        assert_eq!(Seen::of(&verdict), case.seen, "{}", case.name);
        let allocations = allocations_of(|| {
            for _ in 0..PACKETS_PER_PATH {
                let datagram = black_box(&case.datagram);
                black_box(from_client(&table, case.tick, &client(case.port), HEADER, datagram));
            }
        });
        assert_eq!(allocations, 0, "{}", case.name);
    }
}

#[test]
fn nothing_is_allocated_for_a_peers_packet_whatever_its_verdict() {
    let table = world();
    let stale = RelayId { index: 9, generation: 9 };
    let cases = [
        ("channel", 0, RELAY, "203.0.113.2:2000", 160, None),
        ("indication", 0, RELAY, "203.0.113.1:9", 161, None),
        ("no permission", 0, RELAY, "203.0.113.77:9", 160, Some(DropReason::NoPermission)),
        ("permission expired", 500, RELAY, "203.0.113.1:9", 160, Some(DropReason::PermissionExpired)),
        ("other family", 0, RELAY, "[2001:db8::1]:9", 160, Some(DropReason::PeerFamily)),
        ("too large", 0, RELAY, "203.0.113.1:9", 65_507, Some(DropReason::TooLarge)),
        ("allocation expired", 1_000, RELAY, "203.0.113.1:9", 160, Some(DropReason::AllocationExpired)),
        ("stale", 0, stale, "203.0.113.1:9", 160, Some(DropReason::StaleRelay)),
    ];
    for (name, millis, relay, from, len, reason) in cases {
        let mut buffer = vec![0; DATA_HEADER_MAX + len + DATA_PADDING_MAX];
        let (tick, from, payload) =
            (Tick::from_millis(millis), peer(from), DATA_HEADER_MAX..DATA_HEADER_MAX + len);
        let mut judge =
            || from_peer(&table, tick, relay, from, HEADER, black_box(&mut buffer), payload.clone());
        match judge() {
            FromPeer::ToClient { .. } => assert_eq!(reason, None, "{name}"),
            FromPeer::Drop(dropped) => assert_eq!(reason, Some(dropped), "{name}"),
        }
        let allocations = allocations_of(|| {
            for _ in 0..PACKETS_PER_PATH {
                black_box(judge());
            }
        });
        assert_eq!(allocations, 0, "{name}");
    }
}

const RELAY: RelayId = RelayId { index: 3, generation: 1 };
const OWNER: u16 = 1_000;
const STRANGER: u16 = 2_000;
const HEADER: IpHeader = IpHeader { hop_limit: Some(64), traffic_class: 0xB9, dont_fragment: false };
/// A client with two relayed addresses.
const DUAL: u16 = 1_002;
const DUAL_V4: RelayId = RelayId { index: 4, generation: 1 };
const DUAL_V6: RelayId = RelayId { index: 5, generation: 1 };

/// The kind of a verdict.
#[derive(Debug, PartialEq)]
enum Seen {
    ToPeer,
    LiveRequest,
    StrangerRequest,
    Drop(DropReason),
}

impl Seen {
    fn of(verdict: &FromClient<'_>) -> Self {
        match verdict {
            FromClient::ToPeer { .. } => Self::ToPeer,
            FromClient::LiveRequest => Self::LiveRequest,
            FromClient::StrangerRequest => Self::StrangerRequest,
            FromClient::Drop(reason) => Self::Drop(*reason),
        }
    }
}

struct Case {
    name: &'static str,
    tick: Tick,
    port: u16,
    datagram: Vec<u8>,
    seen: Seen,
}

fn client_cases() -> Vec<Case> {
    use DropReason::*;
    let case = |name, millis, port, datagram, seen| Case {
        name,
        tick: Tick::from_millis(millis),
        port,
        datagram,
        seen,
    };
    let dropped = |name, millis, datagram, reason| case(name, millis, OWNER, datagram, Seen::Drop(reason));
    vec![
        case("channel", 0, OWNER, channel_data(0x4000), Seen::ToPeer),
        case("channel of the second relayed address", 0, DUAL, channel_data(0x4001), Seen::ToPeer),
        case("channel of neither", 0, DUAL, channel_data(0x4002), Seen::Drop(NoChannel)),
        case("send of another family", 0, OWNER, send_v6(), Seen::Drop(PeerFamily)),
        case("send by the second relayed address", 0, DUAL, send_v6(), Seen::ToPeer),
        case("channel to an own relay", 0, OWNER, channel_data(0x4002), Seen::ToPeer),
        case("send", 0, OWNER, send([203, 0, 113, 1], 9), Seen::ToPeer),
        case("request", 0, OWNER, stun(0x0001, &[]), Seen::LiveRequest),
        case("stranger's request", 0, STRANGER, stun(0x0003, &[]), Seen::StrangerRequest),
        case("stranger's channel", 0, STRANGER, channel_data(0x4000), Seen::Drop(NoAllocation)),
        dropped("unclassified", 0, vec![0xFF; 40], Unclassified),
        dropped("answer", 0, stun(0x0101, &[]), UnexpectedAnswer),
        dropped("cut short", 0, vec![0x40, 0, 0, 9], Malformed),
        dropped("no channel", 0, channel_data(0x4ABC), NoChannel),
        dropped("channel expired", 800, channel_data(0x4000), ChannelExpired),
        dropped("forbidden channel", 0, channel_data(0x4001), ForbiddenPeer),
        dropped("allocation expired", 1_000, channel_data(0x4000), AllocationExpired),
        dropped("unknown indication", 0, stun(0x0017, &[]), UnknownIndication),
        dropped("bad send", 0, stun(0x0016, &[]), BadSend),
        dropped("no permission", 0, send([203, 0, 113, 77], 9), NoPermission),
        dropped("permission expired", 500, send([203, 0, 113, 1], 9), PermissionExpired),
        dropped("forbidden peer", 0, send([192, 0, 2, 99], 9), ForbiddenPeer),
        dropped("other family", 0, channel_data(0x4003), PeerFamily),
    ]
}

fn world() -> Table {
    let policy = PolicyBuilder {
        default: Unlisted::None,
        allow: vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        deny: Vec::new(),
        own: vec!["198.51.100.1".parse().unwrap()],
        relay: vec!["198.51.100.1".parse().unwrap()],
    };
    // Wide enough for every packet of these tests.
    let rate = Rate::new(100_000_000_000, Duration::from_secs(60));
    let bandwidth = Bandwidth { allocation: rate.map(Bucket::new), user: rate.map(Bucket::new) };
    let mut table = Table::new(TableConfig {
        policy: Arc::new(policy.build()),
        strict_permissions: false,
        hash_seeds: [1, 2, 3, 4],
        external: ExternalAddresses::new([("10.0.0.5".parse().unwrap(), "198.51.100.1".parse().unwrap())]),
    });
    table.apply(TableChange::Insert(Box::new(NewAllocation {
        relay: RELAY,
        five_tuple: client(OWNER),
        dialect: Dialect::Rfc8656,
        relayed: RelayAddr::new(socket("198.51.100.1:50000")),
        until: Deadline::from_millis(1_000),
        bandwidth,
        protocol: RelayProtocol::Udp,
    })));
    let relayed = [
        (RELAY, OWNER, "198.51.100.1:50000"),
        (DUAL_V4, DUAL, "198.51.100.1:50002"),
        (DUAL_V6, DUAL, "[2001:db8:ffff::1]:50002"),
    ];
    for (relay, port, relayed) in relayed {
        table.apply(TableChange::Insert(Box::new(NewAllocation {
            relay,
            five_tuple: client(port),
            dialect: Dialect::Rfc8656,
            relayed: RelayAddr::new(socket(relayed)),
            until: Deadline::from_millis(1_000),
            bandwidth: Bandwidth::default(),
            protocol: RelayProtocol::Udp,
        })));
    }
    for (relay, number, to) in [(DUAL_V4, 0x4000, "203.0.113.2:2000"), (DUAL_V6, 0x4001, "[2001:db8::1]:9")] {
        let (channel, until) = (ChannelNumber::new(number).unwrap(), Deadline::from_millis(500));
        table.apply(TableChange::Bind { relay, channel, peer: peer(to), until });
    }
    table.apply(TableChange::OwnRelay { address: socket("198.51.100.1:50001"), live: true });
    for ip in ["203.0.113.1", "192.0.2.99"] {
        let (peer, until) = (ip.parse().unwrap(), Deadline::from_millis(500));
        table.apply(TableChange::Permit { relay: RELAY, peer, until });
    }
    let bound = ["203.0.113.2:2000", "192.0.2.98:2000", "198.51.100.1:50001", "[2001:db8::1]:2000"];
    for (number, to) in (0x4000..).zip(bound) {
        let channel = ChannelNumber::new(number).unwrap();
        let until = Deadline::from_millis(800);
        table.apply(TableChange::Bind { relay: RELAY, channel, peer: peer(to), until });
    }
    table
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(text: &str) -> PeerAddr {
    PeerAddr::new(socket(text))
}

fn client(port: u16) -> FiveTuple {
    FiveTuple {
        client: ClientAddr::new(SocketAddr::new("192.0.2.10".parse().unwrap(), port)),
        server: ServerAddr::new(socket("198.51.100.1:3478")),
        transport: Transport::Udp,
    }
}

fn channel_data(number: u16) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[0, 4], b"data"].concat()
}

fn stun(message_type: u16, attributes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(attributes.len()).unwrap();
    [&message_type.to_be_bytes()[..], &len.to_be_bytes(), &[0x21, 0x12, 0xA4, 0x42], &[7; 12], attributes]
        .concat()
}

fn send(ip: [u8; 4], port: u16) -> Vec<u8> {
    let port = port ^ 0x2112;
    let [a, b, c, d] = ip;
    let ip = [a ^ 0x21, b ^ 0x12, c ^ 0xA4, d ^ 0x42];
    let address = [&[0, 0x12, 0, 8, 0, 1][..], &port.to_be_bytes(), &ip].concat();
    stun(0x0016, &[&address[..], &[0, 0x13, 0, 4], b"data"].concat())
}

/// To `[2001:db8::1]:9`.
fn send_v6() -> Vec<u8> {
    let key = [&[0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    let ip = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let ip: Vec<u8> = ip.iter().zip(key).map(|(byte, key)| byte ^ key).collect();
    let port = 9_u16 ^ 0x2112;
    let address = [&[0, 0x12, 0, 20, 0, 2][..], &port.to_be_bytes(), &ip].concat();
    stun(0x0016, &[&address[..], &[0, 0x13, 0, 4], b"data"].concat())
}
