//! What an allocation costs in memory: a counting allocator adds up what the state machine and a worker's table hold for
//! two thousand of them, each with a permission and a channel.
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use swingbridge::proto::auth::challenge::Challenger;
use swingbridge::proto::auth::credential::CredentialConfig;
use swingbridge::proto::auth::credential::Credentials;
use swingbridge::proto::auth::nonce::NonceKey;
use swingbridge::proto::auth::token::TokenConfig;
use swingbridge::proto::binding::Discovery;
use swingbridge::proto::client;
use swingbridge::proto::client::Client;
use swingbridge::proto::media::Counters;
use swingbridge::proto::media::ExternalAddresses;
use swingbridge::proto::media::Table;
use swingbridge::proto::media::TableConfig;
use swingbridge::proto::peers::PeerPolicy;
use swingbridge::proto::peers::PolicyBuilder;
use swingbridge::proto::peers::Unlisted;
use swingbridge::proto::turn::Config;
use swingbridge::proto::turn::Input;
use swingbridge::proto::turn::LegacyConfig;
use swingbridge::proto::turn::Output;
use swingbridge::proto::turn::RelayAddress;
use swingbridge::proto::turn::Server;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::ClientAddr;
use swingbridge::proto::types::Dialect;
use swingbridge::proto::types::Entropy;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::Lifetime;
use swingbridge::proto::types::Now;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::Secret;
use swingbridge::proto::types::ServerAddr;
use swingbridge::proto::types::Transport;
use swingbridge::proto::types::Username;
use swingbridge::proto::types::WorkerId;
use swingbridge::proto::types::limits;

const ALLOCATIONS: u32 = 2_000;
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Bytes of the state machine for each, while the answers of its requests are kept.
const SERVER_FRESH_MAX: usize = 1_220;
/// The same when they no longer are.
const SERVER_SETTLED_MAX: usize = 820;
/// Bytes of the table of its worker for each.
const TABLE_MAX: usize = 375;

thread_local! {
    /// Bytes that this thread has of the heap: the test harness allocates on others as it likes.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

/// What the allocator of glibc takes for so many bytes: a word in front, in steps of 16.
fn chunk(bytes: usize) -> isize {
    (bytes + 8).next_multiple_of(16).max(32) as isize
}

fn count(bytes: isize) {
    // Fails only while a thread is torn down, when nothing is measured.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract; counting
// touches only a constant-initialised thread-local cell without a destructor, and so never allocates itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(chunk(layout.size()));
        // SAFETY: the caller's promise about `layout` is the one asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-chunk(layout.size()));
        // SAFETY: `pointer` came from `System` by one of the functions beside this one, with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(chunk(layout.size()));
        // SAFETY: the caller's promise about `layout` is the one asked for here.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(chunk(new_size) - chunk(layout.size()));
        // SAFETY: `pointer` came from `System` with this `layout`; the caller promises a valid `new_size`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held() -> isize {
    HELD.get()
}

/// Bytes that go with `thing`.
fn freed_by<T>(thing: T) -> usize {
    let before = held();
    drop(thing);
    usize::try_from(before - held()).expect("what is dropped gives back")
}

struct Dice(u64);

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

fn at(seconds: u64) -> Now {
    Now { since_start: Duration::from_secs(seconds), unix: 1_800_000_000 + seconds }
}

/// Server and table after so many clients have got what they asked for.
fn world(allocations: u32) -> (Server<Dice>, Table) {
    let policy = policy();
    let mut server = server(Arc::clone(&policy));
    let mut table = Table::new(TableConfig {
        policy,
        strict_permissions: false,
        hash_seeds: [1, 2, 3, 4],
        external: ExternalAddresses::default(),
    });
    for number in 0..allocations {
        live(&mut server, &mut table, number);
    }
    (server, table)
}

/// A client of its own address gets an allocation with a permission and a channel.
fn live(server: &mut Server<Dice>, table: &mut Table, number: u32) {
    let credential = client::Credential {
        username: (*b"alice").into(),
        proof: client::Proof::Password(Secret::new(*b"password")),
        token: None,
    };
    let mut client = Client::new(client::Config::new(credential), Dice(u64::from(number)));
    let from = FiveTuple {
        client: ClientAddr::new(SocketAddr::from((Ipv4Addr::from(0xC612_0000 + number), 20_000))),
        server: ServerAddr::new(SocketAddr::from((RELAY, 3_478))),
        transport: Transport::Udp,
    };
    let peer = PeerAddr::new(SocketAddr::from(([203, 0, 114, 1], 4_000)));
    for input in [client::Input::Permit(peer.ip()), client::Input::Bind(peer), client::Input::Allocate] {
        client.handle_input(at(1), input);
        while let Some(output) = client.poll_output() {
            let client::Output::Transmit(message) = output else { continue };
            let message =
                Input::Message { worker: WorkerId(0), from, dialect: Dialect::Rfc8656, bytes: &message };
            if let Some(answer) = told(server, table, message) {
                client.handle_input(at(1), client::Input::Message(&answer));
            }
        }
    }
}

/// Tells the server, does at once what it wants done, and returns its answer.
fn told(server: &mut Server<Dice>, table: &mut Table, input: Input<'_>) -> Option<Box<[u8]>> {
    server.handle_input(at(1), input);
    let mut answer = None;
    while let Some(output) = server.poll_output() {
        match output {
            Output::Reply { bytes, .. } => answer = Some(bytes),
            Output::Table { change, .. } | Output::TableOfAll { change } => table.apply(change),
            Output::OpenRelay { relay, bind, .. } => {
                server.handle_input(at(1), Input::RelayOpened { relay, bound: bind });
            }
            Output::CloseRelay { worker, relay } => {
                let counters = Counters::default();
                server.handle_input(at(1), Input::RelayClosed { worker, relay, counters });
            }
            _ => {}
        }
    }
    answer
}

fn policy() -> Arc<PeerPolicy> {
    let policy = PolicyBuilder {
        default: Unlisted::Public,
        allow: Vec::new(),
        deny: Vec::new(),
        own: vec![RELAY.into()],
        relay: vec![RELAY.into()],
    };
    Arc::new(policy.build())
}

fn server(policy: Arc<PeerPolicy>) -> Server<Dice> {
    let mut dice = Dice(1);
    let credentials = CredentialConfig {
        realm: "edge.example.net".into(),
        users: vec![(Username::new(b"alice"), Secret::new(*b"password"))],
        secrets: vec![Secret::new(*b"first secret")],
        lifetime_max_s: 28_800,
        tokens: TokenConfig::default(),
        mras: Vec::new(),
    };
    let config = Config {
        challenger: Challenger {
            realm: "edge.example.net".into(),
            nonce_key: NonceKey::generate(&mut dice),
            nonce_lifetime: Duration::from_secs(3_600),
            discovery: Discovery::default(),
            third_party: None,
            legacy: false,
        },
        credentials: Arc::new(Credentials::new(credentials)),
        policy,
        relays: vec![RelayAddress { bind: RELAY.into(), external: RELAY.into() }],
        ports: 49_152..=65_535,
        lifetime_default: Lifetime::from_secs(600),
        lifetime_max: Lifetime::from_secs(3_600),
        permission_lifetime: Duration::from_secs(300),
        channel_number_max: ChannelNumber::MAX,
        channel_lifetime: Duration::from_secs(600),
        session_lifetime_max: Duration::from_secs(86_400),
        allocations_per_user: 0,
        allocations_per_address: 0,
        bandwidth_per_allocation: None,
        bandwidth_per_user: None,
        allocations_total: 0,
        permissions_per_allocation: limits::PERMISSIONS_PER_ALLOCATION_MAX,
        channels_per_allocation: limits::CHANNELS_PER_ALLOCATION_MAX,
        alternate_servers: Vec::new(),
        mobility: true,
        legacy: LegacyConfig::default(),
        connections_per_allocation: limits::CONNECTIONS_PER_ALLOCATION_DEFAULT,
        connects_per_allocation: limits::CONNECTS_PER_ALLOCATION_DEFAULT,
    };
    Server::new(config, dice)
}

#[test]
fn what_is_held_goes_with_what_holds_it() {
    assert_eq!(freed_by(vec![0_u8; 1_000]), 1_008);
    let before = held();
    drop(world(3));
    assert_eq!(held(), before);
}

#[test]
fn an_allocation_with_a_permission_and_a_channel_takes_no_more_than_its_budget() {
    let settled = |(mut server, table): (Server<Dice>, Table)| {
        // Past the time that answers are kept; no allocation ends by then.
        server.handle_timeout(at(60));
        assert_eq!(server.occupancy().answers, 0);
        (server, table)
    };
    let bytes = |(server, table): (Server<Dice>, Table)| (freed_by(server), freed_by(table));
    let (empty_server, empty_table) = bytes(world(0));
    let (fresh_server, fresh_table) = bytes(world(ALLOCATIONS));
    let (settled_server, _) = bytes(settled(world(ALLOCATIONS)));
    let each = |full: usize, empty: usize| (full - empty).div_ceil(ALLOCATIONS as usize);
    let fresh = each(fresh_server, empty_server);
    let settled = each(settled_server, empty_server);
    let table = each(fresh_table, empty_table);
    println!("bytes of an allocation: state machine {fresh}, after a minute {settled}; table {table}");
    println!("bytes of none: state machine {empty_server}, table {empty_table}");
    assert!(fresh <= SERVER_FRESH_MAX, "the state machine takes {fresh} bytes");
    assert!(settled <= SERVER_SETTLED_MAX, "the state machine takes {settled} bytes after a minute");
    assert!(table <= TABLE_MAX, "the table takes {table} bytes");
}

#[test]
fn two_thousand_clients_hold_two_thousand_allocations_with_what_they_asked_for() {
    let (server, table) = world(ALLOCATIONS);
    assert_eq!((server.occupancy().allocations, table.len()), (2_000, 2_000));
    // The Allocate, the permission, the channel.
    assert_eq!(server.occupancy().answers, 6_000);
}
