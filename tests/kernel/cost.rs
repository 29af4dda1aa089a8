//! What a packet costs in the program alone, by BPF_PROG_TEST_RUN. `benches/compare` measures with the same functions.
//!
//! The kernel gives each run of a call what the one before has left. So a packet is relayed on and on, between two allocations
//! that take it for each other's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aya::programs::SchedClassifier;
use aya::programs::TestRun;
use aya::programs::TestRunOptions;
use aya::programs::Xdp;
use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::Counters;
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
use swingbridge::proto::types::Rate;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayId;
use swingbridge::proto::types::RelayProtocol;
use swingbridge::proto::types::ServerAddr;
use swingbridge::proto::types::Transport;
use swingbridge::relay::kernel::Buckets;
use swingbridge::relay::kernel::Kernel;
use swingbridge::relay::kernel::Mode;
use swingbridge::relay::kernel::Refused;
use swingbridge::relay::kernel::Setup;
use swingbridge::relay::kernel::Writer;

use super::frame::Plain;
use super::frame::channel_data;

/// Runs of the program in one call; in front of a packet that grows there is room for so many headers.
const RUNS: u32 = 40;
const CALLS: usize = 400;
const DATA_LEN: usize = 172;
const CHANNEL: u16 = 0x4000;
const LATER: Deadline = Deadline::from_millis(86_400_000);

/// What `ip` makes of a network of its own: a gateway whose address is known, and all else behind it.
pub(crate) const NETWORK: &str = "link set lo up
    link add eth type veth peer name far
    link set far up
    link set eth address 02:00:00:00:00:01
    link set eth up
    addr add 198.51.100.1/24 dev eth
    addr add 198.51.100.2/24 dev eth
    addr add 2001:db8:ffff::1/64 dev eth nodad
    neigh add 198.51.100.254 lladdr 02:00:00:00:00:fe dev eth nud permanent
    neigh add 2001:db8:ffff::fe lladdr 02:00:00:00:00:fe dev eth nud permanent
    route add default via 198.51.100.254
    -6 route add default via 2001:db8:ffff::fe";

/// Where a client is and where it sends to, the other end's relay port and peer; of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    V4,
    V6,
    /// One of each. On TC the frame's own header is the kernel's, so what left cannot come again as another family.
    #[allow(dead_code, reason = "no row of the comparison has it")]
    Both,
}

impl Ends {
    const fn all(self) -> [[&'static str; 2]; 2] {
        match self {
            Self::V4 => [["192.0.2.1:50000", "203.0.113.5:3478"], ["192.0.2.2:50010", "203.0.113.6:3478"]],
            Self::V6 => [
                ["[2001:db8:a::1]:50000", "[2001:db8:1::5]:3478"],
                ["[2001:db8:a::2]:50010", "[2001:db8:1::6]:3478"],
            ],
            Self::Both => {
                [["192.0.2.1:50020", "203.0.113.5:3479"], ["[2001:db8:a::2]:50030", "[2001:db8:1::6]:3479"]]
            }
        }
    }

    /// A frame for each direction. The same is what one allocation's client sends, and what the other's peer does.
    pub(crate) fn frames(self) -> [(&'static str, Vec<u8>); 2] {
        let [[relay, peer], _] = self.all();
        let mut nested = vec![7; DATA_LEN];
        (0..RUNS).for_each(|_| nested = channel_data(CHANNEL, &nested));
        let up = Plain { hops: 255, ..Plain::new(relay, peer, &nested) };
        let down = Plain { hops: 255, ..Plain::new(peer, relay, &[7; DATA_LEN]) };
        [("client to peer", up.frame()), ("peer to client", down.frame())]
    }
}

/// Nanoseconds of one run, of all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) median_ns: u128,
    #[allow(dead_code, reason = "the comparison takes the median")]
    pub(crate) least_ns: u128,
}

/// The program with two allocations for each kind of ends, in a network as [`NETWORK`] has it.
pub(crate) struct Ground {
    kernel: Kernel,
    table: Table,
    writer: Writer,
    buckets: Buckets,
}

impl Ground {
    /// With `limited` each packet is charged to the buckets of its allocation and of its user.
    pub(crate) fn new(mode: Mode, limited: bool) -> Result<Self, Refused> {
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8:a::1", "2001:db8:a::2"];
        let setup = Setup {
            addresses: addresses.map(|ip| ip.parse().expect("an address")).to_vec(),
            ports: 50_000..=50_099,
            workers: 1,
            channels: 4_096,
            since_start: Duration::from_secs(1),
            // No frame is lent meanwhile.
            lend: Duration::from_secs(86_400),
        };
        let kernel = Kernel::load(&["eth".to_owned()], mode, &setup)?;
        let rules = ["203.0.113.0/24", "2001:db8:1::/48"].map(|rule| rule.parse().expect("a rule"));
        let policy = PolicyBuilder {
            default: Unlisted::None,
            allow: rules.to_vec(),
            deny: Vec::new(),
            own: Vec::new(),
            relay: Vec::new(),
        };
        let table = Table::new(TableConfig {
            policy: Arc::new(policy.build()),
            strict_permissions: true,
            hash_seeds: [1, 2, 3, 4],
            external: ExternalAddresses::default(),
        });
        let writer = kernel.writer(0).expect("a descriptor for each map");
        let buckets = kernel.buckets();
        let mut ground = Self { kernel, table, writer, buckets };
        for (number, ends) in (0..).zip([Ends::V4, Ends::V6, Ends::Both]) {
            let [one, other] = ends.all();
            ground.allocate(2 * number, one, other, limited);
            ground.allocate(2 * number + 1, other, one, limited);
        }
        Ok(ground)
    }

    /// An allocation whose client is at `[at, to]` and whose relay port and peer are the other's.
    fn allocate(&mut self, index: u32, at: [&str; 2], other: [&str; 2], limited: bool) {
        let rate = Rate::new(100_000_000_000, Duration::from_secs(60)).expect("a rate");
        let mut lend = || limited.then(|| self.buckets.lend(rate).expect("a place"));
        let bandwidth = Bandwidth { allocation: lend(), user: lend() };
        let relay = RelayId { index, generation: 1 };
        let [client, server] = at.map(address);
        let [bound, peer] = other.map(address);
        self.table.apply(TableChange::Insert(Box::new(NewAllocation {
            relay,
            five_tuple: FiveTuple {
                client: ClientAddr::new(client),
                server: ServerAddr::new(server),
                transport: Transport::Udp,
            },
            dialect: Dialect::Rfc8656,
            relayed: RelayAddr::new(bound),
            until: LATER,
            bandwidth,
            protocol: RelayProtocol::Udp,
        })));
        let peer = PeerAddr::new(peer);
        let channel = ChannelNumber::new(CHANNEL).expect("a channel number");
        self.table.apply(TableChange::Permit { relay, peer: peer.ip(), until: LATER });
        self.table.apply(TableChange::Bind { relay, channel, peer, until: LATER });
        self.writer.update(&self.table, relay);
    }

    /// What `frame` costs, which each run must relay.
    pub(crate) fn cost(&self, frame: &[u8]) -> Result<Cost, String> {
        let before = self.carried();
        let mut costs = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            costs.push(self.run(frame)?.as_nanos());
        }
        let (carried, wanted) = (self.carried() - before, CALLS as u64 * u64::from(RUNS));
        if carried != wanted {
            return Err(format!("of {wanted} runs of the program {carried} relayed the packet"));
        }
        costs.sort_unstable();
        Ok(Cost { median_ns: costs[CALLS / 2], least_ns: costs[0] })
    }

    fn run(&self, frame: &[u8]) -> Result<Duration, String> {
        let mut out = vec![0; 4_096];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            repeat: RUNS,
            ..TestRunOptions::new()
        };
        let ebpf = self.kernel.ebpf();
        let is_tc = self.kernel.mode() == Mode::Tc;
        let program = ebpf.program(if is_tc { "tc_turn" } else { "xdp_turn" }).expect("the program");
        let ran = if is_tc {
            <&SchedClassifier>::try_from(program).expect("of TC").test_run(options)
        } else {
            <&Xdp>::try_from(program).expect("of XDP").test_run(options)
        };
        ran.map(|ran| ran.duration).map_err(|error| format!("the kernel does not run the program: {error}"))
    }

    fn carried(&self) -> u64 {
        let each = (0..6).map(|index| self.writer.statistics(RelayId { index, generation: 1 }));
        each.map(|Counters { to_peer_packets, to_client_packets, .. }| to_peer_packets + to_client_packets)
            .sum()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
