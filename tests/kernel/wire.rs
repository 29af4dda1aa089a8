//! Real packets between three hosts, each with a network of its own:
//!
//! ```text
//!   client c0 ────── r0 relay r1 ────── p0 peer
//!   192.0.2.10  192.0.2.1  203.0.113.1  203.0.113.5
//!   2001:db8:a::10      ::1     2001:db8:b::1      ::5
//! ```
//!
//! The relay forwards nothing and runs no server: what arrives at the other side went by way of the program.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use aya::programs::SchedClassifier;
use aya::programs::TcAttachType;
use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::ExternalAddresses;
use swingbridge::proto::media::NewAllocation;
use swingbridge::proto::media::Table;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::media::TableConfig;
use swingbridge::proto::peers::PolicyBuilder;
use swingbridge::proto::peers::Unlisted;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::ClientAddr;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::Dialect;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayId;
use swingbridge::proto::types::RelayProtocol;
use swingbridge::proto::types::ServerAddr;
use swingbridge::proto::types::Transport;
use swingbridge::relay::kernel::Kernel;
use swingbridge::relay::kernel::Mode;
use swingbridge::relay::kernel::Refused;
use swingbridge::relay::kernel::Setup;
use swingbridge::relay::kernel::Writer;

use crate::frame::Plain;
use crate::frame::channel_data;
use crate::frame::like_partial;
use crate::lab;
use crate::lab::Host;
use crate::world::NEVER;
use crate::world::address;

pub(crate) const MODES: [Mode; 3] = [Mode::Tc, Mode::Xdp, Mode::XdpGeneric];
pub(crate) const CHANNEL: u16 = 0x4001;
pub(crate) const INTERFACES: [&str; 2] = ["r0", "r1"];
/// Client, server, relay port, peer.
const FLOWS: [[&str; 4]; 4] = [
    ["192.0.2.10:4000", "192.0.2.1:3478", "203.0.113.1:50000", "203.0.113.5:7000"],
    ["192.0.2.10:4001", "192.0.2.1:3478", "[2001:db8:b::1]:50001", "[2001:db8:b::5]:7001"],
    ["[2001:db8:a::10]:4002", "[2001:db8:a::1]:3478", "203.0.113.1:50002", "203.0.113.5:7002"],
    ["[2001:db8:a::10]:4003", "[2001:db8:a::1]:3478", "[2001:db8:b::1]:50003", "[2001:db8:b::5]:7003"],
];
/// A packet that has not come by then does not.
const PATIENCE: Duration = Duration::from_millis(200);

pub(crate) struct Hosts {
    pub(crate) client: Host,
    pub(crate) peer: Host,
}

/// The calling thread is the relay.
pub(crate) fn hosts() -> Hosts {
    let hosts = Hosts { client: Host::new(), peer: Host::new() };
    lab::ip(&format!(
        "link set lo up
         link add r0 type veth peer name c0 netns {}
         link add r1 type veth peer name p0 netns {}
         addr add 192.0.2.1/24 dev r0
         addr add 203.0.113.1/24 dev r1
         addr add 2001:db8:a::1/64 dev r0 nodad
         addr add 2001:db8:b::1/64 dev r1 nodad
         link set r0 up
         link set r1 up",
        hosts.client.id, hosts.peer.id
    ));
    let setup = |name: &'static str, v4: &'static str, v6: &'static str| {
        move || {
            lab::ip(&format!(
                "link set lo up
                 addr add {v4}/24 dev {name}
                 addr add {v6}/64 dev {name} nodad
                 link set {name} up"
            ));
            // Without GRO an end of a veth takes nothing from XDP at its other end. Sums are made and judged by the hosts, or
            // nobody would.
            lab::run("ethtool", &format!("-K {name} gro on tx off rx off"));
        }
    };
    hosts.client.run(setup("c0", "192.0.2.10", "2001:db8:a::10"));
    hosts.peer.run(setup("p0", "203.0.113.5", "2001:db8:b::5"));
    hosts
}

/// The server, as far as the kernel's part goes.
pub(crate) struct Relay {
    kernel: Kernel,
    writer: Writer,
    table: Table,
    began: Instant,
}

impl Relay {
    pub(crate) fn new(mode: Mode) -> Self {
        let kernel = load(mode).unwrap_or_else(|refused| panic!("{refused}"));
        let policy = PolicyBuilder {
            default: Unlisted::None,
            allow: ["203.0.113.0/24", "2001:db8:b::/64"].map(|rule| rule.parse().expect("a rule")).into(),
            deny: vec![],
            own: vec![],
            relay: vec![],
        };
        let table = Table::new(TableConfig {
            policy: Arc::new(policy.build()),
            strict_permissions: true,
            hash_seeds: [5, 6, 7, 8],
            external: ExternalAddresses::default(),
        });
        let writer = kernel.writer(0).expect("a writer");
        Self { kernel, writer, table, began: Instant::now() }
    }

    /// The server's clock is this far, give or take what loading took.
    fn after(&self, span: Duration) -> Deadline {
        Deadline::from_millis((self.began.elapsed() + span).as_millis() as u64)
    }

    pub(crate) fn allocate(&mut self, index: u32, flow: [&str; 4]) {
        let [client, server, bound, peer] = flow.map(address);
        let relay = RelayId { index, generation: 1 };
        let (until, peer) = (self.after(Duration::from_secs(600)), PeerAddr::new(peer));
        self.table.apply(TableChange::Insert(Box::new(NewAllocation {
            relay,
            five_tuple: FiveTuple {
                client: ClientAddr::new(client),
                server: ServerAddr::new(server),
                transport: Transport::Udp,
            },
            dialect: Dialect::Rfc8656,
            relayed: RelayAddr::new(bound),
            until,
            bandwidth: Bandwidth::default(),
            protocol: RelayProtocol::Udp,
        })));
        let channel = ChannelNumber::new(CHANNEL).expect("a channel number");
        self.table.apply(TableChange::Permit { relay, peer: peer.ip(), until });
        self.table.apply(TableChange::Bind { relay, channel, peer, until });
        self.writer.update(&self.table, relay);
    }

    fn carried(&self, index: u32) -> [u64; 2] {
        let counters = self.writer.statistics(RelayId { index, generation: 1 });
        [counters.to_peer_packets, counters.to_client_packets]
    }
}

fn load(mode: Mode) -> Result<Kernel, Refused> {
    load_at(&INTERFACES, mode)
}

pub(crate) fn load_at(interfaces: &[&str], mode: Mode) -> Result<Kernel, Refused> {
    let setup = Setup {
        addresses: ["203.0.113.1", "2001:db8:b::1"].map(|ip| ip.parse().expect("an address")).to_vec(),
        ports: 50_000..=50_099,
        workers: 1,
        channels: 100,
        since_start: Duration::ZERO,
        lend: NEVER,
    };
    let interfaces: Vec<_> = interfaces.iter().map(|name| (*name).to_owned()).collect();
    Kernel::load(&interfaces, mode, &setup)
}

pub(crate) fn socket(host: &Host, at: &str, to: Option<&str>) -> UdpSocket {
    let (at, to) = (address(at), to.map(address));
    host.run(move || {
        let socket = UdpSocket::bind(at).expect("its address is there");
        to.into_iter().for_each(|to| socket.connect(to).expect("a route"));
        socket.set_read_timeout(Some(PATIENCE)).expect("a time above 0");
        socket
    })
}

/// Sends. What went up here meets no server, and a connected socket is told of that once, in place of sending.
fn send(socket: &UdpSocket, data: &[u8]) {
    match socket.send(data) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => drop(socket.send(data)),
        sent => drop(sent.expect("it is sent")),
    }
}

pub(crate) fn received(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; 2_048];
    let mut receive = || socket.recv_from(&mut buffer);
    let (len, from) = match receive() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => receive()?,
        told => told?,
    };
    buffer.truncate(len);
    Ok((buffer, from))
}

/// Sends until something arrives: the first packets ask for neighbours, and XDP waits until somebody else has asked.
pub(crate) fn begin(relay: &mut Relay, from: &UdpSocket, sent: &[u8], to: SocketAddr, at: &UdpSocket) {
    for _ in 0..50 {
        let _ = from.send_to(sent, to).or_else(|_| from.send(sent));
        if received(at).is_ok() {
            at.set_nonblocking(true).expect("it can be");
            while received(at).is_ok() {}
            at.set_nonblocking(false).expect("it can be");
            return;
        }
        relay.writer.follow(&relay.table);
    }
    panic!("nothing of {from:?} arrives at {at:?}");
}

/// The kernel learns where both hosts are, as it would by what the server sends them.
fn greet() {
    for [client, _, _, peer] in FLOWS {
        for to in [client, peer] {
            let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            UdpSocket::bind(any).and_then(|socket| socket.send_to(b"?", to)).expect("it is sent");
        }
    }
}

/// Datagrams whose checksum was wrong, on both ends.
pub(crate) fn broken(hosts: &Hosts) -> u64 {
    let count = || {
        let text = |name: &str| {
            std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).expect("it is there")
        };
        let (v4, v6) = (text("snmp"), text("snmp6"));
        let mut udp = v4.lines().filter(|line| line.starts_with("Udp:"));
        let place = udp.next().and_then(|names| names.split(' ').position(|name| name == "InCsumErrors"));
        let v4 = udp.next().and_then(|values| values.split(' ').nth(place?)?.parse::<u64>().ok());
        let v6 = v6.lines().find_map(|line| line.strip_prefix("Udp6InCsumErrors"));
        v4.expect("a count") + v6.and_then(|count| count.trim().parse::<u64>().ok()).expect("a count")
    };
    hosts.client.run(count) + hosts.peer.run(count)
}

#[test]
fn packets_are_relayed_byte_for_byte_between_all_families() {
    lab::alone(|| {
        let hosts = hosts();
        for mode in MODES {
            let mut relay = Relay::new(mode);
            greet();
            for (index, flow) in (0..).zip(FLOWS) {
                relay.allocate(index, flow);
                let [client_at, server, bound, peer_at] = flow;
                let (server, bound) = (address(server), address(bound));
                let client = socket(&hosts.client, client_at, Some(flow[1]));
                let peer = socket(&hosts.peer, peer_at, None);
                begin(&mut relay, &client, &channel_data(CHANNEL, b"?"), server, &peer);
                begin(&mut relay, &peer, b"?????", bound, &client);
                let before = relay.carried(index);
                let mut count = 0;
                for len in (5..200).step_by(13).chain([777, 1_200, 1_400, 1_448]) {
                    let data: Vec<u8> = (0..len).map(|at| (at * 31 + len) as u8).collect();
                    client.send(&channel_data(CHANNEL, &data)).expect("it is sent");
                    let arrived =
                        received(&peer).unwrap_or_else(|error| panic!("{mode:?}, {flow:?}, {len}: {error}"));
                    assert_eq!(arrived, (data.clone(), bound), "{mode:?}, {flow:?}");
                    peer.send_to(&data, bound).expect("it is sent");
                    let arrived = received(&client)
                        .unwrap_or_else(|error| panic!("{mode:?}, {flow:?}, {len}: {error}"));
                    assert_eq!(arrived, (channel_data(CHANNEL, &data), server), "{mode:?}, {flow:?}");
                    count += 1;
                }
                assert_eq!(relay.carried(index), before.map(|before| before + count));
            }
            assert_eq!(broken(&hosts), 0, "{mode:?}: wrong checksums");
            assert_eq!(relay.kernel.drops().expect("counts").unwritten, 0);
        }
    });
}

#[test]
fn what_is_over_stops_by_itself_and_what_the_card_should_sum_is_right() {
    lab::alone(|| {
        let hosts = hosts();
        for mode in MODES {
            let mut relay = Relay::new(mode);
            greet();
            let flow = FLOWS[0];
            relay.allocate(0, flow);
            let client = socket(&hosts.client, flow[0], Some(flow[1]));
            let peer = socket(&hosts.peer, flow[3], None);
            let hello = channel_data(CHANNEL, b"hello, peer");
            begin(&mut relay, &client, &hello, address(flow[1]), &peer);
            begin(&mut relay, &peer, b"hello, client", address(flow[2]), &client);
            // A sum left to the card: TC hands such packets up, XDP lets them go without one. None arrives broken.
            // And of those of which the true sum looks so, only the ones that are left to the card.
            let mut like = channel_data(CHANNEL, &[0; 20]);
            let word = like_partial(&Plain::new(flow[0], flow[1], &like), 4);
            like[4..6].copy_from_slice(&word);
            hosts.client.run(|| drop(lab::run("ethtool", "-K c0 tx on")));
            for sent in [&hello, &like] {
                send(&client, sent);
                let arrived = received(&peer);
                assert_eq!(arrived.is_ok(), mode != Mode::Tc, "{mode:?}: {arrived:?}");
                assert!(arrived.is_err() || arrived.is_ok_and(|(data, _)| data == sent[4..]));
            }
            hosts.client.run(|| drop(lab::run("ethtool", "-K c0 tx off")));
            for sent in [&hello, &like] {
                send(&client, sent);
                assert!(received(&peer).is_ok_and(|(data, _)| data == sent[4..]), "{mode:?}");
            }
            // Both ends stop once the allocation's time is over, and nobody has to do anything.
            let id = RelayId { index: 0, generation: 1 };
            let until = relay.after(Duration::from_millis(300));
            relay.table.apply(TableChange::Extend { relay: id, until });
            relay.writer.update(&relay.table, id);
            std::thread::sleep(Duration::from_millis(400));
            let before = relay.carried(0);
            for _ in 0..5 {
                send(&client, &hello);
                let _ = peer.send_to(b"hello, client", address(flow[2]));
            }
            assert!(received(&peer).is_err() && received(&client).is_err(), "{mode:?}");
            assert_eq!(relay.carried(0), before);
            assert_eq!(broken(&hosts), 0, "{mode:?}");
        }
    });
}

#[test]
fn somebody_elses_socket_in_the_range_loses_nothing() {
    lab::alone(|| {
        let hosts = hosts();
        let foreign: Vec<_> =
            ["203.0.113.1:50050", "0.0.0.0:50051", "127.0.0.1:50052", "[2001:db8:b::1]:50053"]
                .map(|at| (at, UdpSocket::bind(at).expect("the port is free")))
                .into();
        for mode in MODES {
            let mut relay = Relay::new(mode);
            (0..).zip(FLOWS).for_each(|(index, flow)| relay.allocate(index, flow));
            for (at, socket) in &foreign {
                socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time above 0");
                let (sender, to) = match *at {
                    "127.0.0.1:50052" => (UdpSocket::bind("127.0.0.1:0").expect("a port"), *at),
                    "0.0.0.0:50051" => (self::socket(&hosts.peer, "0.0.0.0:0", None), "203.0.113.1:50051"),
                    v6 if v6.starts_with('[') => (self::socket(&hosts.peer, "[::]:0", None), v6),
                    v4 => (self::socket(&hosts.peer, "0.0.0.0:0", None), v4),
                };
                for number in 0..200_u8 {
                    // ChannelData, as like as can be.
                    sender.send_to(&channel_data(CHANNEL, &[number; 40]), to).expect("it is sent");
                    let (data, _) =
                        received(socket).unwrap_or_else(|error| panic!("{mode:?}, {at}: {error}"));
                    assert_eq!(data, channel_data(CHANNEL, &[number; 40]));
                }
            }
        }
    });
}

#[test]
fn what_is_closed_all_at_once_is_told_and_can_be_written_anew() {
    lab::alone(|| {
        let hosts = hosts();
        for mode in MODES {
            let mut relay = Relay::new(mode);
            greet();
            let flow = FLOWS[0];
            relay.allocate(0, flow);
            let client = socket(&hosts.client, flow[0], Some(flow[1]));
            let peer = socket(&hosts.peer, flow[3], None);
            let hello = channel_data(CHANNEL, b"hello, peer");
            begin(&mut relay, &client, &hello, address(flow[1]), &peer);
            let seen = relay.writer.carried_since(100);
            client.send(&hello).expect("it is sent");
            received(&peer).expect("it arrives");
            let [carried, _] = relay.carried(0);
            assert_eq!(seen.to_peer_packets + 1, carried, "{mode:?}");
            // The table is thrown away, as after a panic.
            let id = RelayId { index: 0, generation: 1 };
            let told = relay.writer.close_all();
            assert_eq!(told.len(), 1, "{mode:?}");
            assert_eq!((told[0].0, told[0].1.to_peer_packets), (id, carried), "{mode:?}");
            assert_eq!(
                relay.writer.carried_since(100).to_peer_packets,
                1,
                "{mode:?}: what was not told before"
            );
            assert_eq!(relay.writer.hops(), 0, "{mode:?}");
            send(&client, &hello);
            let _ = peer.send_to(b"hello, client", address(flow[2]));
            assert!(received(&peer).is_err() && received(&client).is_err(), "{mode:?}: nothing is relayed");
            relay.writer.update(&relay.table, id);
            begin(&mut relay, &client, &hello, address(flow[1]), &peer);
            begin(&mut relay, &peer, b"hello, client", address(flow[2]), &client);
            assert!(relay.carried(0)[0] < carried + 50, "{mode:?}: it counts from nothing");
        }
    });
}

/// What stands at the relay's interfaces.
pub(crate) fn standing() -> usize {
    let xdp = lab::run("ip", "-o link show").lines().filter(|line| line.contains("xdp")).count();
    let tcx = INTERFACES.map(|name| {
        SchedClassifier::query_tcx(name, TcAttachType::Ingress).map_or(0, |(_, programs)| programs.len())
    });
    xdp + tcx.iter().sum::<usize>()
}

#[test]
fn nothing_is_left_after_the_end_however_it_comes_and_nobody_elses_program_is_touched() {
    lab::alone(|| {
        let _hosts = hosts();
        for mode in MODES {
            let refused = load_at(&["r0", "r1", "nowhere"], mode).expect_err("there is no such interface");
            assert!(refused.reason.contains("`nowhere`"), "{refused}");
            assert_eq!(standing(), 0, "{mode:?}: all of them or none");
            let kernel = load(mode).unwrap_or_else(|refused| panic!("{refused}"));
            assert_eq!(standing(), 2, "{mode:?}");
            match mode {
                Mode::Tc => drop(load(mode).expect("it stands beside others")),
                Mode::Xdp | Mode::XdpGeneric => {
                    let refused = load(mode).expect_err("there is room for one");
                    assert!(refused.reason.contains("another XDP program stands at `r0`"), "{refused}");
                    assert!(refused.cure.contains("`tc`"), "{refused}");
                }
            }
            assert_eq!(standing(), 2, "{mode:?}: what stood there stands");
            drop(kernel);
            assert_eq!(standing(), 0, "{mode:?}");
            killed(mode);
            drop(load(mode).unwrap_or_else(|refused| panic!("{mode:?}, after a kill: {refused}")));
            assert_eq!(standing(), 0, "{mode:?}");
        }
    });
}

/// Another process loads, and is killed.
fn killed(mode: Mode) {
    let mut other = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "wire::a_process_that_waits_to_be_killed", "--nocapture"])
        .env(HELD, mode.word())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let output = BufReader::new(other.stdout.take().expect("it is piped"));
    let stands = output.lines().map_while(Result::ok).any(|line| line.contains(STANDS));
    let seen = standing();
    other.kill().expect("it lives");
    other.wait().expect("it ends");
    assert!(stands && seen == 2, "{mode:?}: {seen}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while standing() != 0 {
        assert!(Instant::now() < deadline, "{mode:?}: something is left after a kill");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const HELD: &str = "SWINGBRIDGE_KERNEL_HELD";
const STANDS: &str = "the program stands";

/// Nothing by itself: the other process of [`killed`].
#[test]
fn a_process_that_waits_to_be_killed() {
    let Ok(word) = std::env::var(HELD) else { return };
    let mode = MODES.into_iter().find(|mode| mode.word() == word).expect("a mode");
    let _kernel = load(mode).unwrap_or_else(|refused| panic!("{refused}"));
    println!("{STANDS}");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn what_cannot_be_had_is_refused_with_its_cure() {
    lab::alone(|| {
        let setup = Setup {
            addresses: vec![[192, 0, 2, 1].into()],
            ports: 50_000..=50_001,
            workers: 1,
            channels: 1,
            since_start: Duration::ZERO,
            lend: NEVER,
        };
        let load = |name: &str, setup: &Setup| {
            Kernel::load(&[name.to_owned()], Mode::Xdp, setup)
                .map(drop)
                .expect_err("it cannot be had")
                .to_string()
        };
        assert!(load("nowhere", &setup).contains("no interface `nowhere`"));
        assert!(load("lo", &setup).contains("`lo` does not speak Ethernet"));
        let many =
            Setup { addresses: (1..=9).map(|last| [192, 0, 2, last].into()).collect(), ..setup.clone() };
        assert!(load("lo", &many).contains("more than 8 relay addresses"));
        let wide = Setup {
            addresses: (1..=4).map(|last| [192, 0, 2, last].into()).collect(),
            ports: 1..=65_535,
            ..setup.clone()
        };
        assert!(load("lo", &wide).contains("narrow `[relay] ports`"));
    });
}
