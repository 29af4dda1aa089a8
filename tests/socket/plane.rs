//! A data plane to test, its far ends, and clients and peers made of plain sockets.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use socket2::SockRef;
use swingbridge::proto::auth::budget::Exempt;
use swingbridge::proto::auth::challenge::Challenger;
use swingbridge::proto::auth::nonce::NonceKey;
use swingbridge::proto::binding::Discovery;
use swingbridge::proto::media::Bandwidth;
use swingbridge::proto::media::DropReason;
use swingbridge::proto::media::ExternalAddresses;
use swingbridge::proto::media::NewAllocation;
use swingbridge::proto::media::TableChange;
use swingbridge::proto::peers::PeerPolicy;
use swingbridge::proto::peers::PolicyBuilder;
use swingbridge::proto::peers::Unlisted;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::ClientAddr;
use swingbridge::proto::types::Deadline;
use swingbridge::proto::types::Dialect;
use swingbridge::proto::types::Entropy;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::types::RelayId;
use swingbridge::proto::types::RelayProtocol;
use swingbridge::relay;
use swingbridge::relay::Config;
use swingbridge::relay::Handle;
use swingbridge::relay::Report;
use swingbridge::relay::RequestUp;
use swingbridge::relay::Stats;
use swingbridge::relay::Tier;
use swingbridge::relay::ToWorker;
use swingbridge::relay::Wish;
use swingbridge::ring::Wake;

use crate::message;

/// Nothing on loopback takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What is not there after this does not come.
const SILENCE: Duration = Duration::from_millis(150);
/// The channel that [`Plane::open`] binds.
pub(crate) const CHANNEL: u16 = 0x4ABC;

/// Running workers and the control task's ends of their rings.
pub(crate) struct Plane {
    pub(crate) handles: Vec<Handle>,
    next: u32,
}

impl Plane {
    /// Workers that listen on `addresses`.
    pub(crate) fn start(workers: u16, addresses: &[&str]) -> Self {
        Self::start_with(&config(workers, addresses))
    }

    /// Workers as `config` says.
    pub(crate) fn start_with(config: &Config) -> Self {
        let wake = Arc::new(Wake::new().expect("an eventfd"));
        let handles = relay::start(config, &wake).expect("loopback can be listened on");
        assert_eq!(handles.len(), usize::from(config.workers));
        let named = config.path.tier;
        assert!(handles.iter().all(|handle| Some(handle.tier) == named), "another tier than {named:?}");
        Self { handles, next: 0 }
    }

    /// Where the listener at `index` of the configuration listens.
    pub(crate) fn server(&self, index: usize) -> SocketAddr {
        self.handles[0].listen_udp[index]
    }

    pub(crate) fn stats(&self, worker: usize) -> Arc<Stats> {
        self.handles[worker].stats()
    }

    pub(crate) fn push(&mut self, worker: usize, command: ToWorker) {
        assert!(self.handles[worker].commands.push(command).is_ok(), "the command ring is full");
    }

    /// The next report of `worker`.
    pub(crate) fn report(&mut self, worker: usize) -> Report {
        eventually("a report", || self.handles[worker].reports.pop())
    }

    /// The next request with a nonce of ours of a five-tuple without an allocation, and whose worker received it.
    pub(crate) fn fresh(&mut self) -> (usize, RequestUp) {
        eventually("a fresh request", || {
            let mut workers = self.handles.iter_mut().enumerate();
            workers.find_map(|(worker, handle)| Some((worker, handle.fresh.pop()?)))
        })
    }

    /// A name for a relay that was never used.
    pub(crate) fn next_relay(&mut self) -> RelayId {
        self.next += 1;
        RelayId { index: self.next, generation: 7 }
    }

    /// Gives `client` an allocation as the control task does: finds its worker by an Allocate, opens a relay socket,
    /// fills the table, and answers. A permission for `peer` and [`CHANNEL`] to it are in place.
    pub(crate) fn open(&mut self, client: &Client, peer: SocketAddr) -> Allocation {
        self.open_on(
            client,
            peer,
            &Terms { bind: peer.ip(), external: peer.ip(), bandwidth: Bandwidth::default() },
        )
    }

    /// The same, on these terms.
    pub(crate) fn open_on(&mut self, client: &Client, peer: SocketAddr, terms: &Terms) -> Allocation {
        client.send(&client.allocate(&client.nonce()));
        let (worker, request) = self.fresh();
        assert_eq!(request.from.client, ClientAddr::new(client.address()));
        self.open_for(worker, request.from, client, peer, terms)
    }

    fn open_for(
        &mut self,
        worker: usize,
        from: FiveTuple,
        client: &Client,
        peer: SocketAddr,
        terms: &Terms,
    ) -> Allocation {
        let relay = self.next_relay();
        let bind = RelayAddr::new(SocketAddr::new(terms.bind, 0));
        self.push(worker, ToWorker::Open { relay, bind });
        let relayed = match self.report(worker) {
            Report::Opened { relay: opened, bound } if opened == relay => {
                RelayAddr::new(SocketAddr::new(terms.external, bound.port()))
            }
            other => panic!("{other:?}"),
        };
        let (until, bandwidth) = (Deadline::NEVER, terms.bandwidth.clone());
        let protocol = RelayProtocol::Udp;
        let insert = NewAllocation {
            relay,
            five_tuple: from,
            dialect: Dialect::Rfc8656,
            relayed,
            until,
            bandwidth,
            protocol,
        };
        let channel = ChannelNumber::new(CHANNEL).expect("a channel number");
        for change in [
            TableChange::Insert(Box::new(insert)),
            TableChange::Permit { relay, peer: peer.ip(), until },
            TableChange::Bind { relay, channel, peer: PeerAddr::new(peer), until },
        ] {
            self.push(worker, ToWorker::Table(change));
        }
        // The client may use its channel from the moment it reads this.
        self.push(worker, ToWorker::Reply { to: from, bytes: (*b"ready").into() });
        assert_eq!(client.receive(), b"ready");
        Allocation { worker, relay, relayed: relayed.socket(), five_tuple: from }
    }

    /// Tells every worker.
    pub(crate) fn tell_all(&mut self, change: &TableChange) {
        for worker in 0..self.handles.len() {
            self.push(worker, ToWorker::Table(change.clone()));
        }
    }

    /// Ends `allocation` as the control task does; answers what the worker reports.
    pub(crate) fn close(&mut self, allocation: &Allocation) -> Report {
        let Allocation { worker, relay, .. } = *allocation;
        self.push(worker, ToWorker::Table(TableChange::Remove { relay }));
        self.push(worker, ToWorker::Close { relay });
        self.report(worker)
    }

    /// Waits until the worker has counted `count` drops for `reason`.
    pub(crate) fn drops(&self, worker: usize, reason: DropReason, count: u64) {
        let stats = self.stats(worker);
        eventually("a drop", || (stats.dropped(reason) >= count).then_some(()));
        assert_eq!(stats.dropped(reason), count, "{reason:?}");
    }
}

/// What [`Plane::open_on`] grants.
pub(crate) struct Terms {
    /// Where the relay socket is bound.
    pub(crate) bind: IpAddr,
    /// The same address as others see it.
    pub(crate) external: IpAddr,
    /// How much it may carry.
    pub(crate) bandwidth: Bandwidth,
}

/// An allocation that [`Plane::open`] made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocation {
    pub(crate) worker: usize,
    pub(crate) relay: RelayId,
    pub(crate) relayed: SocketAddr,
    pub(crate) five_tuple: FiveTuple,
}

/// A client of one server address, or a peer.
pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    pub(crate) server: SocketAddr,
}

impl Client {
    /// A socket on the address `home` that talks to `server`, with room for a burst.
    pub(crate) fn new(home: IpAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(SocketAddr::new(home, 0)).expect("a socket on loopback");
        // Without the privilege it stays smaller, and the tests' readers are quick enough.
        let _ = SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is bound")
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.send_to(bytes, self.server);
    }

    pub(crate) fn send_to(&self, bytes: &[u8], to: SocketAddr) {
        assert_eq!(self.socket.send_to(bytes, to).expect("sent"), bytes.len());
    }

    /// The next datagram, which must come from the server.
    pub(crate) fn receive(&self) -> Vec<u8> {
        let (bytes, from) = self.receive_from();
        assert_eq!(from, self.server);
        bytes
    }

    pub(crate) fn receive_from(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 1 << 16];
        let (len, from) = self.socket.recv_from(&mut buffer).expect("a datagram comes");
        buffer.truncate(len);
        (buffer, from)
    }

    /// The next datagram, if one waits.
    pub(crate) fn poll(&self) -> Option<Vec<u8>> {
        self.socket.set_nonblocking(true).expect("a socket of ours");
        let mut buffer = vec![0; 1 << 16];
        let arrived = self.socket.recv_from(&mut buffer);
        self.socket.set_nonblocking(false).expect("a socket of ours");
        let (len, _) = arrived.ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    /// Whether nothing comes.
    pub(crate) fn hears_nothing(&self) -> bool {
        self.socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
        let nothing = self.socket.recv_from(&mut [0; 8]).is_err();
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        nothing
    }

    /// The nonce of the server's challenge.
    pub(crate) fn nonce(&self) -> Vec<u8> {
        self.send(&message::stun(message::ALLOCATE, *b"who are you?", &[]));
        let challenge = self.receive();
        assert_eq!(message::error_code(&challenge), Some(401));
        message::attribute(&challenge, message::NONCE).expect("401 carries a nonce").to_vec()
    }

    /// An Allocate that a worker hands on: complete as to its attributes, of whatever MAC.
    pub(crate) fn allocate(&self, nonce: &[u8]) -> Vec<u8> {
        let attributes: [(u16, &[u8]); 4] = [
            (message::USERNAME, b"alice"),
            (message::REALM, b"test"),
            (message::NONCE, nonce),
            (message::INTEGRITY, &[0x5A; 20]),
        ];
        message::stun(message::ALLOCATE, *b"it's me, it.", &attributes)
    }
}

/// Asks again and again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A configuration that lets every loopback address be a peer.
pub(crate) fn config(workers: u16, addresses: &[&str]) -> Config {
    let challenger = Challenger {
        realm: "test".into(),
        nonce_key: NonceKey::generate(&mut Counting(1)),
        nonce_lifetime: Duration::from_secs(600),
        discovery: Discovery::default(),
        third_party: None,
        legacy: true,
    };
    Config {
        workers,
        listen_udp: addresses.iter().map(|address| address.parse().expect("a literal")).collect(),
        challenger,
        policy: Arc::new(loopback_policy()),
        strict_permissions: false,
        // All clients of a test are one source. Only the tests of the strangers' budget are held to it.
        unproven_exempt: loopback(),
        #[cfg(feature = "dtls")]
        dtls: None,
        hash_seeds: (0..u64::from(workers)).map(|worker| [worker, 2, 3, 4]).collect(),
        start: Instant::now(),
        external: ExternalAddresses::default(),
        path: wish(),
        runs: true,
    }
}

/// Names the tier that the relay ports of this process stand on, with raw sockets to leave by where they are permitted.
/// Without it, sockets that send for themselves.
pub(crate) const PATH_VARIABLE: &str = "SWINGBRIDGE_TEST_PATH";

fn wish() -> Wish {
    let named = std::env::var(PATH_VARIABLE).ok();
    let tier = named.as_deref().and_then(|word| Tier::ALL.into_iter().find(|tier| tier.word() == word));
    assert_eq!(named.is_some(), tier.is_some(), "{named:?} is no tier");
    tier.map_or_else(Wish::default, wish_for)
}

/// What relay ports on loopback need to stand on `tier`.
pub(crate) fn wish_for(tier: Tier) -> Wish {
    Wish {
        tier: Some(tier),
        addresses: ["127.0.0.1", "::1", "127.0.0.2"].map(|ip| ip.parse().expect("a literal")).into(),
        ..Wish::default()
    }
}

fn loopback() -> Exempt {
    [("127.0.0.0", 8), ("::1", 128)].map(|(ip, len)| (ip.parse().expect("a literal"), len)).into()
}

fn loopback_policy() -> PeerPolicy {
    let rule = |text: &str| text.parse().expect("a rule");
    PolicyBuilder {
        default: Unlisted::None,
        allow: vec![rule("127.0.0.0/8"), rule("::1/128")],
        ..PolicyBuilder::default()
    }
    .build()
}

struct Counting(u8);

impl Entropy for Counting {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(5).wrapping_add(3);
            *byte = self.0;
        }
    }
}
