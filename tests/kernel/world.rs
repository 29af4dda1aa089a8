//! A small server: its table, and the maps that are written from it, in a network whose gateway has a known address.
//!
//! ```text
//!   clients 192.0.2.x, 2001:db8:a::x      server 198.51.100.1, 2001:db8:ffff::1      peers 203.0.113.x, 2001:db8:1::x
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aya::programs::SchedClassifier;
use aya::programs::TestRun;
use aya::programs::TestRunOptions;
use aya::programs::Xdp;
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
use swingbridge::proto::types::Tick;
use swingbridge::proto::types::Transport;
use swingbridge::relay::kernel::Buckets;
use swingbridge::relay::kernel::Kernel;
use swingbridge::relay::kernel::Mode;
use swingbridge::relay::kernel::Setup;
use swingbridge::relay::kernel::Writer;

use crate::cost;
use crate::frame::ETHERNET_LEN;
use crate::lab;

/// The server's clock when a test begins: no longer ago than any machine is up. Nothing ends in the hour behind it by itself.
pub(crate) const NOW_MS: u64 = 30_000;
pub(crate) const LATER_MS: u64 = NOW_MS + 3_600_000;
pub(crate) const EARLIER_MS: u64 = 1;
/// No frame is lent during a test.
pub(crate) const NEVER: Duration = Duration::from_secs(86_400);

pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xFE];
pub(crate) const MTU: usize = 1_500;

/// The relay addresses, as they are bound; the third shows itself to others as 198.51.100.99.
const RELAYS: [&str; 3] = ["198.51.100.1", "198.51.100.2", "2001:db8:ffff::1"];

pub(crate) struct World {
    pub(crate) table: Table,
    pub(crate) kernel: Kernel,
    pub(crate) writer: Writer,
    pub(crate) buckets: Buckets,
    /// Relayed addresses as they are bound.
    pub(crate) bound: Vec<(SocketAddr, RelayId)>,
    pub(crate) own_mac: [u8; 6],
}

/// What the program made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It leaves so.
    Relayed(Vec<u8>),
    Up,
    Dropped,
}

/// In a network of the calling thread's own.
pub(crate) fn network() {
    lab::ip(cost::NETWORK);
}

impl World {
    /// An empty server, whose program lends each next hop a frame so often.
    pub(crate) fn new(mode: Mode, lend: Duration) -> Self {
        let setup = Setup {
            addresses: RELAYS.map(|ip| ip.parse().expect("an address")).to_vec(),
            ports: 50_000..=50_099,
            workers: 2,
            channels: 4_096,
            since_start: Duration::from_millis(NOW_MS),
            lend,
        };
        let kernel =
            Kernel::load(&["eth".to_owned()], mode, &setup).unwrap_or_else(|refused| panic!("{refused}"));
        let policy = PolicyBuilder {
            default: Unlisted::None,
            allow: ["203.0.113.0/24", "2001:db8:1::/48"].map(|rule| rule.parse().expect("a rule")).into(),
            deny: vec!["203.0.113.66:53".parse().expect("a rule")],
            own: RELAYS.map(|ip| ip.parse().expect("an address")).to_vec(),
            relay: ["198.51.100.1", "198.51.100.99", "2001:db8:ffff::1"]
                .map(|ip| ip.parse().expect("an address"))
                .to_vec(),
        };
        let table = Table::new(TableConfig {
            policy: Arc::new(policy.build()),
            strict_permissions: true,
            hash_seeds: [1, 2, 3, 4],
            external: ExternalAddresses::new([(
                "198.51.100.2".parse().expect("an address"),
                "198.51.100.99".parse().expect("an address"),
            )]),
        });
        let writer = kernel.writer(1).expect("a writer");
        let buckets = kernel.buckets();
        let own_mac = [2, 0, 0, 0, 0, 1];
        Self { table, kernel, writer, buckets, bound: Vec::new(), own_mac }
    }

    /// Changes the table, and then the maps as a worker would.
    pub(crate) fn apply(&mut self, change: TableChange) {
        let relay = change.relay();
        let policy = matches!(change, TableChange::Policy(_));
        self.table.apply(change);
        if let Some(relay) = relay {
            self.writer.update(&self.table, relay);
        }
        if policy {
            self.writer.update_all(&self.table);
        }
    }

    /// An allocation of `client` at `bound`, live for the test, whose relayed address is `relayed`.
    pub(crate) fn allocate(
        &mut self,
        index: u32,
        client: &str,
        bound: &str,
        relayed: &str,
        bandwidth: Bandwidth,
    ) {
        let relay = RelayId { index, generation: 1 };
        let (client, relayed): (SocketAddr, SocketAddr) = (address(client), address(relayed));
        self.bound.push((address(bound), relay));
        self.apply(TableChange::Insert(Box::new(NewAllocation {
            relay,
            five_tuple: five_tuple(client),
            dialect: Dialect::Rfc8656,
            relayed: RelayAddr::new(relayed),
            until: Deadline::from_millis(LATER_MS),
            bandwidth,
            protocol: RelayProtocol::Udp,
        })));
        self.apply(TableChange::OwnRelay { address: relayed, live: true });
    }

    /// Binds a channel, and permits its peer, until then.
    pub(crate) fn bind(&mut self, index: u32, channel: u16, peer: &str, until: [u64; 2]) {
        let relay = RelayId { index, generation: 1 };
        let peer = PeerAddr::new(address(peer));
        let [permitted, bound] = until.map(Deadline::from_millis);
        let channel = ChannelNumber::new(channel).expect("a channel number");
        self.apply(TableChange::Permit { relay, peer: peer.ip(), until: permitted });
        self.apply(TableChange::Bind { relay, channel, peer, until: bound });
    }

    pub(crate) fn relay_at(&self, bound: SocketAddr) -> Option<RelayId> {
        self.bound.iter().find(|(address, _)| *address == bound).map(|(_, relay)| *relay)
    }

    /// Whether it is a relayed address of this server, in either form.
    pub(crate) fn is_own(&self, address: SocketAddr) -> bool {
        let behind_nat = address.ip() == std::net::IpAddr::from([198, 51, 100, 99]);
        self.relay_at(address).is_some() || behind_nat
    }

    pub(crate) fn bound_of(&self, relay: RelayId) -> SocketAddr {
        self.bound.iter().find(|(_, other)| *other == relay).expect("it was allocated").0
    }

    /// Runs the program on one frame. What it makes of one it hands up must be that frame.
    pub(crate) fn run(&self, frame: &[u8]) -> Done {
        // The kernel runs no program of TC on what has no whole IP header, nor would such a thing come there.
        let header_len = if frame[12..ETHERNET_LEN] == [0x86, 0xDD] { 40 } else { 20 };
        if self.kernel.mode() == Mode::Tc && frame.len() < ETHERNET_LEN + header_len {
            return Done::Up;
        }
        let mut out = vec![0; frame.len() + 256];
        let (verdict, out_len) = self.test_run(frame, &mut out, 1);
        out.truncate(out_len);
        match (self.kernel.mode(), verdict) {
            (Mode::Tc, TC_NEXT) | (Mode::Xdp | Mode::XdpGeneric, XDP_PASS) => {
                assert_eq!(out, frame, "what goes up is untouched");
                Done::Up
            }
            (Mode::Tc, TC_SHOT) | (Mode::Xdp | Mode::XdpGeneric, XDP_DROP) => Done::Dropped,
            (Mode::Tc, TC_REDIRECT) => Done::Relayed(out),
            (Mode::Xdp | Mode::XdpGeneric, XDP_TX | XDP_REDIRECT) => {
                assert_eq!(out[..6], GATEWAY_MAC);
                assert_eq!(out[6..12], self.own_mac);
                let kind = if out[ETHERNET_LEN] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xDD] };
                assert_eq!(out[12..ETHERNET_LEN], kind);
                Done::Relayed(out)
            }
            (_, verdict) => panic!("a verdict of {verdict}"),
        }
    }

    /// The verdict, and how long what leaves is.
    pub(crate) fn test_run(&self, frame: &[u8], out: &mut [u8], repeat: u32) -> (u32, usize) {
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(out), repeat, ..TestRunOptions::new() };
        let result = self.test(options);
        (result.return_value, result.data_size_out as usize)
    }

    pub(crate) fn test(&self, options: TestRunOptions<'_>) -> aya::programs::TestRunResult {
        let ebpf = self.kernel.ebpf();
        let result = match self.kernel.mode() {
            Mode::Tc => {
                let program = ebpf.program("tc_turn").expect("the program");
                <&SchedClassifier>::try_from(program).expect("of TC").test_run(options)
            }
            Mode::Xdp | Mode::XdpGeneric => {
                let program = ebpf.program("xdp_turn").expect("the program");
                <&Xdp>::try_from(program).expect("of XDP").test_run(options)
            }
        };
        result.expect("the kernel runs it")
    }
}

const TC_NEXT: u32 = u32::MAX;
const TC_SHOT: u32 = 2;
const TC_REDIRECT: u32 = 7;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(crate) fn five_tuple(client: SocketAddr) -> FiveTuple {
    let server = if client.is_ipv4() { "198.51.100.1:3478" } else { "[2001:db8:ffff::1]:3478" };
    FiveTuple {
        client: ClientAddr::new(client),
        server: ServerAddr::new(address(server)),
        transport: Transport::Udp,
    }
}

pub(crate) fn tick() -> Tick {
    Tick::from_millis(NOW_MS)
}

/// What of a frame must be the same in each tier. A fragmentable packet's number is drawn anew, and a flow label is any: they
/// are taken out, and the header's checksum, which covers the number, is judged by itself. In front of the packet TC leaves
/// to the kernel what stands there.
pub(crate) fn comparable(frame: &[u8]) -> Vec<u8> {
    let mut packet = frame[ETHERNET_LEN..].to_vec();
    if packet[0] >> 4 == 4 {
        assert_eq!(crate::frame::sum(&packet[..20]), 0xFFFF, "the checksum of the header is right");
        if packet[6] & 0x40 == 0 {
            packet[4..6].fill(0);
        }
        packet[10..12].fill(0);
    } else {
        packet[1] &= 0xF0;
        packet[2..4].fill(0);
    }
    packet
}
