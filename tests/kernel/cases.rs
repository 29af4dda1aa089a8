//! One table of (frame, state) → what becomes of it, held against `forward`, TC and XDP.

use std::time::Duration;

use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::Bucket;
use swingbridge::proto::media::Counters;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::Rate;
use swingbridge::proto::types::RelayId;
use swingbridge::relay::kernel::Mode;

use crate::frame::Plain;
use crate::frame::channel_data;
use crate::frame::like_partial;
use crate::frame::sum;
use crate::lab;
use crate::oracle;
use crate::oracle::Verdict;
use crate::world;
use crate::world::Done;
use crate::world::EARLIER_MS;
use crate::world::LATER_MS;
use crate::world::NEVER;
use crate::world::NOW_MS;
use crate::world::World;
use crate::world::comparable;
use crate::world::five_tuple;

pub(crate) const MODES: [Mode; 2] = [Mode::Tc, Mode::Xdp];
const BOTH: [u64; 2] = [LATER_MS, LATER_MS];
const HELLO: &[u8] = b"hello, whoever is there";

/// Clients, where they are relayed, and whom they speak with: all four combinations of families.
pub(crate) const COMBINATIONS: [[&str; 3]; 4] = [
    ["192.0.2.10:1044", "198.51.100.1:50000", "203.0.113.5:2000"],
    ["192.0.2.10:1046", "[2001:db8:ffff::1]:50001", "[2001:db8:1::5]:2001"],
    ["[2001:db8:a::10]:1064", "198.51.100.1:50002", "203.0.113.5:2002"],
    ["[2001:db8:a::10]:1066", "[2001:db8:ffff::1]:50003", "[2001:db8:1::5]:2003"],
];

/// The server of the cases.
///
/// | allocation | what is special |
/// |---|---|
/// | 0 – 3 | nothing: all combinations; channel 0x4000 |
/// | 0 | also: 0x4001 channel over, 0x4002 permission over, 0x4003 another port of the same peer |
/// | 0 | and 0x7FFE, a number of RFC 5766 |
/// | 0 | and 0x4004 a forbidden port, 0x4005 and up: more peers than stand beside the port |
/// | 4 | over |
/// | 5, 6 | relayed behind a NAT, and not: each other's peers by 0x4000 |
/// | 7, 8 | its bandwidth, its user's is used up |
/// | 9 | on its way to another five-tuple |
pub(crate) fn world(mode: Mode) -> World {
    let mut world = World::new(mode, NEVER);
    for (index, [client, bound, peer]) in (0..).zip(COMBINATIONS) {
        world.allocate(index, client, bound, bound, Bandwidth::default());
        world.bind(index, 0x4000, peer, BOTH);
    }
    world.bind(0, 0x4001, "203.0.113.6:2000", [LATER_MS, EARLIER_MS]);
    world.bind(0, 0x4002, "203.0.113.7:2000", [EARLIER_MS, LATER_MS]);
    world.bind(0, 0x4003, "203.0.113.5:2009", BOTH);
    world.bind(0, 0x4004, "203.0.113.66:53", BOTH);
    world.bind(0, 0x7FFE, "203.0.113.30:3000", BOTH);
    for more in 0..4 {
        world.bind(0, 0x4005 + more, &format!("203.0.113.{}:3000", 20 + more), BOTH);
    }
    world.allocate(4, "192.0.2.10:1004", "198.51.100.1:50004", "198.51.100.1:50004", Bandwidth::default());
    world.bind(4, 0x4000, "203.0.113.5:2000", BOTH);
    let over = RelayId { index: 4, generation: 1 };
    world.apply(TableChange::Extend { relay: over, until: Deadline::from_millis(EARLIER_MS) });
    world.allocate(5, "192.0.2.10:1005", "198.51.100.2:50005", "198.51.100.99:50005", Bandwidth::default());
    world.allocate(
        6,
        "[2001:db8:a::10]:1006",
        "198.51.100.1:50006",
        "198.51.100.1:50006",
        Bandwidth::default(),
    );
    world.bind(5, 0x4000, "198.51.100.1:50006", BOTH);
    world.bind(6, 0x4007, "198.51.100.99:50005", BOTH);
    for (index, of_user) in [(7, false), (8, true)] {
        let bucket = drained(&mut world);
        let bandwidth = match of_user {
            false => Bandwidth { allocation: Some(bucket), user: None },
            true => Bandwidth { allocation: None, user: Some(bucket) },
        };
        let bound = format!("198.51.100.1:5000{index}");
        world.allocate(index, &format!("192.0.2.10:100{index}"), &bound, &bound, bandwidth);
        world.bind(index, 0x4000, "203.0.113.5:2000", BOTH);
    }
    world.allocate(9, "192.0.2.10:1009", "198.51.100.1:50009", "198.51.100.1:50009", Bandwidth::default());
    world.bind(9, 0x4000, "203.0.113.5:2000", BOTH);
    let next = five_tuple(world::address("192.0.2.10:1999"));
    world.apply(TableChange::Await { relay: RelayId { index: 9, generation: 1 }, next });
    world
}

/// A bucket in which nothing is left for the time of a test.
fn drained(world: &mut World) -> Bucket {
    let rate = Rate::new(8_000, Duration::from_secs(1)).expect("a rate");
    let bucket = world.buckets.lend(rate).expect("a place");
    // A minute's worth at once, by an allocation of its own that only the table knows.
    let bandwidth = Bandwidth { allocation: None, user: Some(bucket.clone()) };
    let index = 40 + u32::from(bucket.place().expect("it is lent") as u8);
    let client = format!("192.0.2.40:{index}");
    world.allocate(index, &client, "198.51.100.1:50040", "198.51.100.1:50040", bandwidth);
    world.bind(index, 0x4000, "203.0.113.5:9", BOTH);
    let came = Plain::new(&client, "198.51.100.1:3478", &channel_data(0x4000, &[0; 60_000]));
    assert!(matches!(oracle::forward(world, &came), Verdict::Leaves(_)), "the first may end in debt");
    assert_eq!(oracle::forward(world, &came), Verdict::Drop(DropReason::UserBandwidth));
    world.apply(TableChange::Remove { relay: RelayId { index, generation: 1 } });
    world.bound.pop();
    bucket
}

/// What a case expects.
enum Expected {
    /// `forward` and both programs make this of it.
    Relayed(Plain),
    /// The programs hand it up; this is the worker's verdict.
    Up(Worker),
    /// `forward` refuses it for this reason, and the programs by themselves.
    Held(DropReason),
}

/// What the worker makes of what comes up.
enum Worker {
    /// It relays it, or answers, by whichever way it has.
    Relays,
    Drops(DropReason),
    /// A request, or for somebody else.
    Other,
    /// It never comes so far: the kernel's own stack or the shape of the packet stops it, or mends it.
    NotAsked,
}

fn from_client(client: &str, channel: u16, data: &[u8]) -> Plain {
    let server = if client.starts_with('[') { "[2001:db8:ffff::1]:3478" } else { "198.51.100.1:3478" };
    Plain::new(client, server, &channel_data(channel, data))
}

fn to_client(client: &str, channel: u16, data: &[u8]) -> Plain {
    let Plain { from, to, payload, .. } = from_client(client, channel, data);
    Plain { from: to, to: from, payload, ..Plain::new(client, client, b"") }
}

fn less(hops: u8, plain: Plain) -> Plain {
    Plain { hops: plain.hops - hops, ..plain }
}

fn plain_cases() -> Vec<(String, Vec<u8>, Expected)> {
    let mut cases = Vec::new();
    for [client, bound, peer] in COMBINATIONS {
        let mut both =
            |name: &str, data: &[u8], change: &dyn Fn(Plain) -> Plain, out: &dyn Fn(Plain) -> Plain| {
                let came = change(from_client(client, 0x4000, data)).frame();
                let left = out(less(1, change(Plain::new(bound, peer, data))));
                cases.push((format!("{client} to {peer}: {name}"), came, Expected::Relayed(left)));
                let came = change(Plain::new(peer, bound, data)).frame();
                let left = out(less(1, change(to_client(client, 0x4000, data))));
                cases.push((format!("{peer} to {client}: {name}"), came, Expected::Relayed(left)));
            };
        let four = |address: &str| !address.starts_with('[');
        let pure = four(client) && four(peer);
        // DF is an IPv4 matter, and kept only where both sides are IPv4.
        let free = |plain: Plain| Plain { df: plain.df && pure, ..plain };
        let same = |plain: Plain| plain;
        for len in [4, 5, 18, 160, 172, 1_200, 1_201] {
            let data: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            both(&format!("{len} bytes"), &data, &same, &same);
        }
        both("all ones", &[0xFF; 101], &same, &same);
        both("all zeros", &[0; 100], &same, &same);
        for left in [Plain::new(bound, peer, &[0; 20]), to_client(client, 0x4000, &[0; 20])] {
            // What would leave with a sum of 0, which means none, leaves with its other form.
            both("a sum of none", &[&summing_to_none(&left)[..], &[0; 18]].concat(), &same, &same);
        }
        for class in [0x01, 0xB8, 0xFF] {
            both(&format!("class {class:#x}"), HELLO, &|plain| Plain { class, ..plain }, &same);
        }
        for hops in [2, 255] {
            both(&format!("{hops} hops"), HELLO, &|plain| Plain { hops, ..plain }, &same);
        }
        let df = |plain: Plain| Plain { df: plain.to.is_ipv4(), ..plain };
        both("not to be fragmented", HELLO, &df, &free);
        if pure {
            both("without a checksum", HELLO, &|plain| Plain { unsummed: true, ..plain }, &same);
        }
    }
    cases
}

/// The first two bytes of data, else 0, that make the checksum of `left` one that is written 0xFFFF.
fn summing_to_none(left: &Plain) -> [u8; 2] {
    let packet = left.packet();
    let check = if left.to.is_ipv4() { 26 } else { 46 };
    [packet[check], packet[check + 1]]
}

fn own_cases() -> Vec<(String, Vec<u8>, Expected)> {
    let relayed =
        |name: &str, came: Plain, left: Plain| (name.to_owned(), came.frame(), Expected::Relayed(left));
    let up = |name: &str, came: Plain, worker| (name.to_owned(), came.frame(), Expected::Up(worker));
    let (a, b) = ("192.0.2.10:1005", "[2001:db8:a::10]:1006");
    let hops = |plain: Plain, hops| Plain { hops, ..plain };
    vec![
        relayed("relay to relay", from_client(a, 0x4000, HELLO), less(2, to_client(b, 0x4007, HELLO))),
        relayed(
            "and back, behind a NAT",
            from_client(b, 0x4007, HELLO),
            less(2, to_client(a, 0x4000, HELLO)),
        ),
        relayed(
            "hops for both",
            hops(from_client(a, 0x4000, HELLO), 3),
            hops(to_client(b, 0x4007, HELLO), 1),
        ),
        up("hops for one", hops(from_client(a, 0x4000, HELLO), 2), Worker::Drops(DropReason::HopLimit)),
        up(
            "an own address from the wire",
            Plain::new("198.51.100.2:50005", "198.51.100.1:50006", HELLO),
            Worker::NotAsked,
        ),
        up(
            "its external form from the wire",
            Plain::new("198.51.100.99:50005", "198.51.100.1:50006", HELLO),
            Worker::NotAsked,
        ),
    ]
}

/// Plain packets that the programs leave to the worker, or hold back.
fn unusual_cases() -> Vec<(String, Vec<u8>, Expected)> {
    let [c4, r4, p4] = COMBINATIONS[0];
    let [c6, r6, p6] = COMBINATIONS[3];
    let up = |name: &str, came: Plain, worker| (name.to_owned(), came.frame(), Expected::Up(worker));
    let drop = |name: &str, came: Plain, why| up(name, came, Worker::Drops(why));
    let with = |plain: Plain, bytes: &[u8]| Plain { payload: [&plain.payload[..], bytes].concat(), ..plain };
    let hop = |plain: Plain, hops| Plain { hops, ..plain };
    use DropReason as R;
    vec![
        drop("unknown channel", from_client(c4, 0x4ABC, HELLO), R::NoChannel),
        drop("unknown channel, IPv6", from_client(c6, 0x4ABC, HELLO), R::NoChannel),
        drop("channel over", from_client(c4, 0x4001, HELLO), R::ChannelExpired),
        drop("permission over", from_client(c4, 0x4002, HELLO), R::PermissionExpired),
        drop("forbidden port", from_client(c4, 0x4004, HELLO), R::ForbiddenPeer),
        drop("stranger", from_client("192.0.2.11:1044", 0x4000, HELLO), R::NoAllocation),
        drop("the client's other port", from_client("192.0.2.10:1045", 0x4000, HELLO), R::NoAllocation),
        drop("allocation over", from_client("192.0.2.10:1004", 0x4000, HELLO), R::AllocationExpired),
        drop(
            "allocation over, from its peer",
            Plain::new(p4, "198.51.100.1:50004", HELLO),
            R::AllocationExpired,
        ),
        drop("from a peer without permission", Plain::new("203.0.113.99:9", r4, HELLO), R::NoPermission),
        drop(
            "permission over, from its peer",
            Plain::new("203.0.113.7:2000", r4, HELLO),
            R::PermissionExpired,
        ),
        up("peer's other port: a Data indication", Plain::new("203.0.113.5:7", r4, HELLO), Worker::Relays),
        up("channel over: a Data indication", Plain::new("203.0.113.6:2000", r4, HELLO), Worker::Relays),
        up("on its way elsewhere", from_client("192.0.2.10:1009", 0x4000, HELLO), Worker::Relays),
        up("its arrival", from_client("192.0.2.10:1999", 0x4000, HELLO), Worker::Relays),
        up("on its way, from its peer", Plain::new(p4, "198.51.100.1:50009", HELLO), Worker::Relays),
        up("empty data, from a peer", Plain::new(p4, r4, b""), Worker::Relays),
        up("empty data, from a peer, IPv6", Plain::new(p6, r6, b""), Worker::Relays),
        up("padding behind the data", with(from_client(c4, 0x4000, HELLO), &[0]), Worker::Relays),
        drop("shorter than it says", with(from_client(c4, 0x4000, b""), &[0; 3]), R::Malformed).cut(),
        up("a request", Plain::new(c4, "198.51.100.1:3478", &stun(0x0001)), Worker::Other),
        up("no protocol", Plain::new(c4, "198.51.100.1:3478", &[0x80; 40]), Worker::Drops(R::Unclassified)),
        drop("a channel of no number", from_client(c4, 0x5000, HELLO), R::NoChannel),
        up(
            "another port of the server",
            Plain::new(c4, "198.51.100.1:3479", &channel_data(0x4000, HELLO)),
            Worker::Other,
        ),
        up(
            "another address of the server",
            Plain::new(c4, "198.51.100.2:3478", &channel_data(0x4000, HELLO)),
            Worker::Other,
        ),
        up(
            "the relay port at another own address",
            Plain::new(p4, "198.51.100.2:50000", HELLO),
            Worker::Other,
        ),
        up("the relay port at somebody else's", Plain::new(p4, "198.51.100.7:50000", HELLO), Worker::Other),
        up("a port nobody has", Plain::new(p4, "198.51.100.1:50077", HELLO), Worker::Other),
        up("a port below the range", Plain::new(p4, "198.51.100.1:49999", HELLO), Worker::Other),
        up("a port above the range", Plain::new(p4, "198.51.100.1:50100", HELLO), Worker::Other),
        drop("last hop", hop(from_client(c4, 0x4000, HELLO), 1), R::HopLimit),
        drop("no hop", hop(from_client(c4, 0x4000, HELLO), 0), R::HopLimit),
        drop("last hop, from a peer, IPv6", hop(Plain::new(p6, r6, HELLO), 1), R::HopLimit),
        up("too long once framed", Plain::new(p4, r4, &[1; 1_469]), Worker::Relays),
        up("too long once framed, IPv6", Plain::new(p6, r6, &[1; 1_449]), Worker::Relays),
        up(
            "too long in the other family",
            from_client(COMBINATIONS[1][0], 0x4000, &[1; 1_453]),
            Worker::Relays,
        ),
        (
            "a channel number of RFC 5766".to_owned(),
            from_client(c4, 0x7FFE, HELLO).frame(),
            Expected::Relayed(less(1, Plain::new(r4, "203.0.113.30:3000", HELLO))),
        ),
        (
            "empty data is data".to_owned(),
            from_client(c4, 0x4000, b"").frame(),
            Expected::Relayed(less(1, Plain::new(r4, p4, b""))),
        ),
        (
            "as long as can be".to_owned(),
            Plain::new(p4, r4, &[1; 1_468]).frame(),
            Expected::Relayed(less(1, to_client(c4, 0x4000, &[1; 1_468]))),
        ),
        (
            "as long as can be in the other family".to_owned(),
            from_client(COMBINATIONS[1][0], 0x4000, &[1; 1_452]).frame(),
            Expected::Relayed(less(1, Plain::new(COMBINATIONS[1][1], COMBINATIONS[1][2], &[1; 1_452]))),
        ),
        (
            "no checksum, and IPv6 wants one".to_owned(),
            Plain { unsummed: true, ..from_client(COMBINATIONS[1][0], 0x4000, HELLO) }.frame(),
            Expected::Up(Worker::Relays),
        ),
        (
            "bandwidth of the allocation".to_owned(),
            from_client("192.0.2.10:1007", 0x4000, HELLO).frame(),
            Expected::Held(R::AllocationBandwidth),
        ),
        (
            "bandwidth of the allocation, from its peer".to_owned(),
            Plain::new(p4, "198.51.100.1:50007", HELLO).frame(),
            Expected::Held(R::AllocationBandwidth),
        ),
        (
            "bandwidth of the user".to_owned(),
            from_client("192.0.2.10:1008", 0x4000, HELLO).frame(),
            Expected::Held(R::UserBandwidth),
        ),
        (
            "a peer beyond those beside the port".to_owned(),
            Plain::new("203.0.113.23:3000", r4, HELLO).frame(),
            Expected::Relayed(less(1, to_client(c4, 0x4008, HELLO))),
        ),
    ]
}

trait Cut {
    fn cut(self) -> Self;
}

impl Cut for (String, Vec<u8>, Expected) {
    /// ChannelData that says one byte more than it has.
    fn cut(mut self) -> Self {
        let short =
            Plain::new(COMBINATIONS[0][0], "198.51.100.1:3478", &[0x40, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7]);
        self.1 = short.frame();
        self
    }
}

fn stun(message_type: u16) -> Vec<u8> {
    [&message_type.to_be_bytes()[..], &[0, 0, 0x21, 0x12, 0xA4, 0x42], &[7; 12]].concat()
}

/// Frames that are not plain: built from a plain one, and broken.
fn broken_cases() -> Vec<(String, Vec<u8>, Expected)> {
    let four = || from_client(COMBINATIONS[0][0], 0x4000, HELLO).frame();
    let six = || from_client(COMBINATIONS[3][0], 0x4000, HELLO).frame();
    let back = || Plain::new(COMBINATIONS[0][2], COMBINATIONS[0][1], HELLO).frame();
    let mend4 = |mut frame: Vec<u8>| {
        frame[24..26].fill(0);
        let header = 14..14 + usize::from(frame[14] & 15) * 4;
        let check = !sum(&frame[header]);
        frame[24..26].copy_from_slice(&check.to_be_bytes());
        frame
    };
    let mut cases: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut change = |name: &'static str, mut frame: Vec<u8>, at: usize, value: u8, mend: bool| {
        frame[at] = value;
        cases.push((name, if mend { mend4(frame) } else { frame }));
    };
    change("first fragment", four(), 20, 0x20, true);
    change("later fragment", four(), 21, 0x01, true);
    change("the evil bit", four(), 20, 0x80, true);
    change("fragment for a peer", back(), 20, 0x20, true);
    change("not UDP", four(), 23, 6, true);
    change("version 5", four(), 14, 0x55, true);
    change("header's checksum broken", four(), 24, 0x12, false);
    change("header's checksum broken, from a peer", back(), 25, 0x12, false);
    change("UDP longer than the packet", four(), 39, 200, false);
    change("UDP shorter than the packet", four(), 39, 20, false);
    change("UDP shorter than its header", four(), 39, 7, false);
    change("not IP", four(), 13, 6, false);
    change("a frame for many", four(), 0, 1, false);
    change("IPv6 extension header", six(), 20, 0, false);
    change("IPv6 fragment", six(), 20, 44, false);
    change("IPv6 of version 4", six(), 14, 0x40, false);
    change("IPv6 shorter than its UDP", six(), 19, 20, false);
    let mut unsummed = six();
    unsummed[14 + 40 + 6..14 + 40 + 8].fill(0);
    cases.push(("IPv6 without a checksum", unsummed));
    cases.push(("padded frame", [four(), vec![0; 3]].concat()));
    cases.push(("padded frame, IPv6", [six(), vec![0; 3]].concat()));
    cases.push(("cut short", four()[..60].to_vec()));
    let mut options = four();
    options.splice(34..34, [1, 1, 1, 1]);
    options[14] = 0x46;
    options[17] += 4;
    cases.push(("IP options", mend4(options)));
    cases.push(("headers alone", four()[..46].to_vec()));
    cases.push(("no headers", four()[..20].to_vec()));
    cases.into_iter().map(|(name, frame)| (name.to_owned(), frame, Expected::Up(Worker::NotAsked))).collect()
}

#[test]
fn every_case_is_the_same_in_forward_tc_and_xdp() {
    lab::alone(|| {
        world::network();
        for mode in MODES {
            let world = world(mode);
            let cases = [plain_cases(), own_cases(), unusual_cases(), broken_cases()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>();
            assert!(cases.len() > 190, "{}", cases.len());
            for (name, frame, expected) in &cases {
                judge(&world, name, frame, expected);
            }
        }
    });
}

fn judge(world: &World, name: &str, frame: &[u8], expected: &Expected) {
    let name = format!("{:?}: {name}", world.kernel.mode());
    let forward = || {
        let came = crate::frame::parse(frame).unwrap_or_else(|| panic!("{name}: it is no plain packet"));
        oracle::forward(world, &came)
    };
    let done = world.run(frame);
    match expected {
        Expected::Relayed(left) => {
            assert_eq!(forward(), Verdict::Leaves(left.clone()), "{name}: by forward");
            let Done::Relayed(done) = done else { panic!("{name}: {done:?}") };
            assert_eq!(comparable(&done), comparable(&left.frame()), "{name}");
        }
        Expected::Held(reason) => {
            assert_eq!(forward(), Verdict::Drop(*reason), "{name}: by forward");
            assert_eq!(done, Done::Dropped, "{name}");
        }
        Expected::Up(worker) => {
            assert_eq!(done, Done::Up, "{name}");
            match worker {
                Worker::Relays => assert!(matches!(forward(), Verdict::Leaves(_)), "{name}: {:?}", forward()),
                Worker::Drops(reason) => assert_eq!(forward(), Verdict::Drop(*reason), "{name}"),
                Worker::Other => assert_eq!(forward(), Verdict::NoData, "{name}"),
                Worker::NotAsked => {}
            }
        }
    }
    // The oracle of the fuzzer must say the same.
    if !matches!(expected, Expected::Up(Worker::NotAsked)) {
        let said = oracle::program(world, world.kernel.mode(), frame);
        assert_eq!(
            std::mem::discriminant(&said),
            std::mem::discriminant(&world.run(frame)),
            "{name}: the oracle"
        );
    }
}

#[test]
fn what_the_program_carried_is_counted_as_forward_counts_it() {
    lab::alone(|| {
        world::network();
        for mode in MODES {
            let world = world(mode);
            let id = |index| RelayId { index, generation: 1 };
            for [client, bound, peer] in COMBINATIONS {
                let frames = [
                    from_client(client, 0x4000, &[1; 100]),
                    from_client(client, 0x4000, &[1; 20]),
                    Plain::new(peer, bound, &[1; 50]),
                ];
                frames.iter().for_each(|came| {
                    assert!(matches!(world.run(&came.frame()), Done::Relayed(_)));
                    oracle::forward(&world, came);
                });
            }
            let own = from_client("192.0.2.10:1005", 0x4000, &[1; 30]);
            assert!(matches!(world.run(&own.frame()), Done::Relayed(_)));
            oracle::forward(&world, &own);
            let carried = Counters {
                to_peer_packets: 2,
                to_peer_bytes: 120,
                to_client_packets: 1,
                to_client_bytes: 50,
            };
            for index in 0..9 {
                let by_forward = world.table.counters(id(index)).unwrap();
                assert_eq!(world.writer.statistics(id(index)), by_forward, "allocation {index}");
                assert!(index > 3 || by_forward == carried);
            }
            assert_eq!(world.writer.statistics(id(5)).to_peer_bytes, 30);
            assert_eq!(world.writer.statistics(id(6)).to_client_bytes, 30);
        }
    });
}

#[test]
fn a_bucket_is_drawn_from_alike_by_the_program_and_by_the_table() {
    lab::alone(|| {
        world::network();
        for mode in MODES {
            let mut world = World::new(mode, NEVER);
            let rate = Rate::new(1_000_000, Duration::from_secs(60)).unwrap();
            let [own, user] = [(); 2].map(|()| world.buckets.lend(rate).unwrap());
            let bandwidth = Bandwidth { allocation: Some(own.clone()), user: Some(user.clone()) };
            let [client, bound, peer] = COMBINATIONS[0];
            world.allocate(0, client, bound, bound, bandwidth);
            world.bind(0, 0x4000, peer, BOTH);
            let came = from_client(client, 0x4000, &[1; 4]);
            // Ten seconds in advance, so that the clock's own advance plays no part.
            while own.full_at() < Deadline::from_millis(NOW_MS + 10_000) {
                oracle::forward(
                    &world,
                    &Plain { payload: channel_data(0x4000, &[1; 60_000]), ..came.clone() },
                );
            }
            let advance = |step: &dyn Fn()| {
                let before = [own.full_at(), user.full_at()];
                (0..100).for_each(|_| step());
                let after = [own.full_at(), user.full_at()];
                [0, 1].map(|at| after[at].as_millis() - before[at].as_millis())
            };
            let by_table = advance(&|| drop(oracle::forward(&world, &came)));
            let by_program = advance(&|| assert!(matches!(world.run(&came.frame()), Done::Relayed(_))));
            // 4 bytes and their headers at 1 Mbit/s, a hundred times.
            assert!(by_table.iter().all(|millis| (25..=26).contains(millis)), "{by_table:?}");
            assert!(by_program.iter().all(|millis| (25..=26).contains(millis)), "{by_program:?}");
            // Where the one is used up nothing passes, and the other pays nothing.
            let bandwidth = Bandwidth { allocation: Some(drained(&mut world)), user: Some(user.clone()) };
            world.allocate(1, "192.0.2.10:9", "198.51.100.1:50001", "198.51.100.1:50001", bandwidth);
            world.bind(1, 0x4000, peer, BOTH);
            let before = user.full_at();
            let held = from_client("192.0.2.10:9", 0x4000, HELLO);
            assert_eq!(oracle::forward(&world, &held), Verdict::Drop(DropReason::AllocationBandwidth));
            assert_eq!(world.run(&held.frame()), Done::Dropped);
            assert_eq!(user.full_at(), before);
            let drops = world.kernel.drops().unwrap();
            assert_eq!((drops.allocation_bandwidth, drops.user_bandwidth, drops.unwritten), (1, 0, 0));
            let lent = [own.place(), user.place()];
            assert!(lent.iter().all(Option::is_some) && lent[0] != lent[1]);
        }
    });
}

#[test]
fn what_changes_in_the_table_changes_in_the_program() {
    lab::alone(|| {
        world::network();
        for mode in MODES {
            let mut world = world(mode);
            let relay = RelayId { index: 0, generation: 1 };
            let [client, bound, peer] = COMBINATIONS[0];
            let (up, down) =
                (from_client(client, 0x4000, HELLO).frame(), Plain::new(peer, bound, HELLO).frame());
            let passes =
                |world: &World| [&up, &down].map(|frame| matches!(world.run(frame), Done::Relayed(_)));
            assert_eq!(passes(&world), [true; 2]);
            let ip = world::address(peer).ip();
            world.apply(TableChange::Forbid { relay, peer: ip });
            assert_eq!(passes(&world), [false; 2], "forbidden");
            world.apply(TableChange::Permit { relay, peer: ip, until: Deadline::from_millis(LATER_MS) });
            assert_eq!(passes(&world), [true; 2], "permitted again");
            let channel = ChannelNumber::new(0x4000).unwrap();
            world.apply(TableChange::Unbind { relay, channel });
            assert_eq!(passes(&world), [false; 2], "unbound");
            world.bind(0, 0x4000, peer, BOTH);
            assert_eq!(passes(&world), [true; 2], "bound again");
            world.apply(TableChange::Extend { relay, until: Deadline::from_millis(NOW_MS - 1_000) });
            assert_eq!(passes(&world), [false; 2], "over");
            world.apply(TableChange::Extend { relay, until: Deadline::from_millis(LATER_MS) });
            assert_eq!(passes(&world), [true; 2], "refreshed");
            let next = five_tuple(world::address("192.0.2.10:1999"));
            world.apply(TableChange::Await { relay, next });
            assert_eq!(passes(&world), [false; 2], "it may move");
            world.apply(TableChange::Settle { relay });
            let moved = from_client("192.0.2.10:1999", 0x4000, HELLO).frame();
            assert!(matches!(world.run(&moved), Done::Relayed(_)), "it has moved");
            assert_eq!(passes(&world), [false, true], "and is nowhere else");
            let carried = world.writer.close(relay);
            assert_eq!((carried.to_peer_packets, carried.to_client_packets), (5, 5));
            assert_eq!(passes(&world), [false; 2], "closed");
            assert_eq!(world.writer.close(relay), Counters::default(), "once");
            for index in 0..10 {
                world.writer.close(RelayId { index, generation: 1 });
            }
            assert_eq!(world.writer.hops(), 0, "nobody is left who goes anywhere");
        }
    });
}

#[test]
fn a_broken_checksum_stays_broken_and_a_partial_one_is_never_repaired_wrongly() {
    lab::alone(|| {
        world::network();
        for mode in MODES {
            let world = world(mode);
            for [client, bound, peer] in COMBINATIONS {
                for came in [from_client(client, 0x4000, HELLO), Plain::new(peer, bound, HELLO)] {
                    let mut frame = came.frame();
                    let at = if came.to.is_ipv4() { 14 + 26 } else { 14 + 46 };
                    frame[at] ^= 0x55;
                    let Done::Relayed(out) = world.run(&frame) else { panic!("{came:?}") };
                    assert_eq!(crate::frame::parse(&out), None, "the receiver finds it broken");
                    // What a local sender leaves for its card: the sum of the pseudo-header.
                    let udp_len = u16::try_from(came.payload.len() + 8).unwrap();
                    frame[at..at + 2].copy_from_slice(&sum(&came.pseudo(udp_len)).to_be_bytes());
                    let to_v4 = if came.to.port() == 3478 { bound } else { client }.starts_with(|c| c != '[');
                    match world.run(&frame) {
                        // TC asks, and is told that nothing is left to a card here: so the sum is a broken one.
                        Done::Relayed(out) if mode == Mode::Tc => assert_eq!(crate::frame::parse(&out), None),
                        Done::Relayed(out) => {
                            assert!(to_v4);
                            assert!(crate::frame::parse(&out).expect("a plain packet").unsummed);
                        }
                        done => assert!(done == Done::Up && mode == Mode::Xdp && !to_v4, "{done:?}"),
                    }
                }
            }
        }
    });
}

#[test]
fn a_true_sum_that_looks_like_one_left_to_the_card_is_relayed() {
    lab::alone(|| {
        world::network();
        for mode in MODES {
            let world = world(mode);
            for [client, bound, peer] in COMBINATIONS {
                let with = |word: [u8; 2]| [&word[..], &[0; 18]].concat();
                let none = with([0; 2]);
                let data = with(like_partial(&from_client(client, 0x4000, &none), 4));
                let to_peer = (from_client(client, 0x4000, &data), less(1, Plain::new(bound, peer, &data)));
                let data = with(like_partial(&Plain::new(peer, bound, &none), 0));
                let to_client = (Plain::new(peer, bound, &data), less(1, to_client(client, 0x4000, &data)));
                for (came, left) in [to_peer, to_client] {
                    let udp_len = u16::try_from(came.payload.len() + 8).unwrap();
                    let at = if came.to.is_ipv4() { 26 } else { 46 };
                    assert_eq!(came.packet()[at..at + 2], sum(&came.pseudo(udp_len)).to_be_bytes());
                    // XDP cannot ask: over IPv4 it sends such a packet without a checksum.
                    let left = Plain { unsummed: mode == Mode::Xdp, ..left };
                    match world.run(&came.frame()) {
                        Done::Relayed(out) => {
                            assert_eq!(comparable(&out), comparable(&left.frame()), "{came:?}")
                        }
                        done => assert!(
                            done == Done::Up && left.unsummed && left.to.is_ipv6(),
                            "{done:?}: {came:?}"
                        ),
                    }
                }
            }
        }
    });
}

#[test]
fn xdp_lends_a_frame_to_the_sockets_in_due_time_and_only_one() {
    lab::alone(|| {
        world::network();
        let [client, bound, peer] = COMBINATIONS[0];
        let frame = from_client(client, 0x4000, HELLO).frame();
        for (lend, mode, lent) in
            [(Duration::ZERO, Mode::Xdp, 5), (NEVER, Mode::Xdp, 0), (Duration::ZERO, Mode::Tc, 0)]
        {
            let mut world = World::new(mode, lend);
            world.allocate(0, client, bound, bound, Bandwidth::default());
            world.bind(0, 0x4000, peer, BOTH);
            let ups = (0..5).filter(|_| world.run(&frame) == Done::Up).count();
            assert_eq!(ups, lent, "{mode:?}, {lend:?}");
        }
        let mut world = World::new(Mode::Xdp, Duration::from_secs(2));
        world.allocate(0, client, bound, bound, Bandwidth::default());
        world.bind(0, 0x4000, peer, BOTH);
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(world.run(&frame), Done::Up, "it was due");
        assert!(matches!(world.run(&frame), Done::Relayed(_)), "and is not any more");
    });
}

#[test]
fn places_of_buckets_are_lent_anew_when_nobody_draws_from_them() {
    lab::alone(|| {
        world::network();
        let mut world = World::new(Mode::Tc, NEVER);
        let rate = Rate::new(8_000, Duration::from_secs(1)).expect("a rate");
        let mut lent = Vec::new();
        while let Some(bucket) = world.buckets.lend(rate) {
            lent.push(bucket);
        }
        let places: std::collections::BTreeSet<_> = lent.iter().map(|bucket| bucket.place()).collect();
        assert_eq!(places.len(), lent.len(), "each has a place of its own");
        assert!(!places.contains(&Some(0)), "which means none");
        assert!(lent.len() > 100_000);
        // One of two goes; a clone keeps the others.
        let mut odd = false;
        lent.retain(|_| {
            odd = !odd;
            odd
        });
        let kept: std::collections::BTreeSet<_> = lent.iter().map(|bucket| bucket.place()).collect();
        for _ in 0..1_000 {
            let bucket = world.buckets.lend(rate).expect("there are places");
            assert!(!kept.contains(&bucket.place()), "somebody draws from it");
            lent.push(bucket);
        }
    });
}
