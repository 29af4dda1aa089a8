//! Whole lives of allocations in the server's state machine: the challenge, Allocate, ChannelBind, Refresh 0.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::auth::token::TokenConfig;
use crate::proto::binding::Discovery;
use crate::proto::client;
use crate::proto::client::Client;
use crate::proto::media::Counters;
use crate::proto::peers::PolicyBuilder;
use crate::proto::peers::Unlisted;
use crate::proto::turn::Config;
use crate::proto::turn::Input;
use crate::proto::turn::LegacyConfig;
use crate::proto::turn::Output;
use crate::proto::turn::RelayAddress;
use crate::proto::turn::Server;
use crate::proto::types::ChannelNumber;
use crate::proto::types::ClientAddr;
use crate::proto::types::Dialect;
use crate::proto::types::Dice;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::Secret;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;
use crate::proto::types::Username;
use crate::proto::types::WorkerId;

use super::TIMES;

const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const NOW: Now = Now { since_start: Duration::from_secs(100), unix: 1_800_000_000 };
const SEED: u64 = 1;

/// A server that holds allocations, and what clients will say to it next.
#[derive(Debug)]
pub struct Cycles {
    server: Server<Dice>,
    script: Vec<(FiveTuple, Box<[u8]>)>,
}

/// A server that holds so many allocations, and [`TIMES`] clients about to come and go.
///
/// The dialogue is had once with a server of the same seed, so that what is counted is the server alone.
#[must_use]
pub fn cycles(held: u32) -> Cycles {
    let (mut rehearsal, mut server) = (server(), server());
    let mut script = Vec::new();
    for number in 0..held {
        live(&mut rehearsal, number, false, &mut script);
    }
    for (from, bytes) in script.drain(..) {
        told(&mut server, from, &bytes);
    }
    for number in held..held + TIMES as u32 {
        live(&mut rehearsal, number, true, &mut script);
    }
    Cycles { server, script }
}

/// All of these clients come and go. Returns how many answers they got.
pub fn come_and_go(cycles: &mut Cycles) -> usize {
    let script = std::mem::take(&mut cycles.script);
    script.iter().filter(|(from, bytes)| told(&mut cycles.server, *from, bytes).is_some()).count()
}

/// The life of one client, until it has what it asked for, or to its end. Adds what it says to `script`.
fn live(server: &mut Server<Dice>, number: u32, to_the_end: bool, script: &mut Vec<(FiveTuple, Box<[u8]>)>) {
    let credential = client::Credential {
        username: (*b"alice").into(),
        proof: client::Proof::Password(Secret::new(*b"password")),
        token: None,
    };
    let mut client = Client::new(client::Config::new(credential), Dice::new(u64::from(number) + 2));
    let from = FiveTuple {
        client: ClientAddr::new(SocketAddr::from((Ipv4Addr::from(0xC612_0000 + number), 20_000))),
        server: ServerAddr::new(SocketAddr::from((RELAY, 3_478))),
        transport: Transport::Udp,
    };
    client.handle_input(NOW, client::Input::Bind(PeerAddr::new(SocketAddr::from(([203, 0, 114, 1], 4_000)))));
    let last = if to_the_end { Some(client::Input::Release) } else { None };
    for input in [Some(client::Input::Allocate), last].into_iter().flatten() {
        client.handle_input(NOW, input);
        while let Some(output) = client.poll_output() {
            let client::Output::Transmit(message) = output else { continue };
            let answer = told(server, from, &message);
            script.push((from, message));
            if let Some(answer) = answer {
                client.handle_input(NOW, client::Input::Message(&answer));
            }
        }
    }
}

/// Tells the server what a client said, does at once what it wants done, and returns its answer.
fn told(server: &mut Server<Dice>, from: FiveTuple, bytes: &[u8]) -> Option<Box<[u8]>> {
    let message = Input::Message { worker: WorkerId(0), from, dialect: Dialect::Rfc8656, bytes };
    server.handle_input(NOW, message);
    let mut answer = None;
    while let Some(output) = server.poll_output() {
        match output {
            Output::Reply { bytes, .. } => answer = Some(bytes),
            Output::OpenRelay { relay, bind, .. } => {
                server.handle_input(NOW, Input::RelayOpened { relay, bound: bind });
            }
            Output::CloseRelay { worker, relay } => {
                let counters = Counters::default();
                server.handle_input(NOW, Input::RelayClosed { worker, relay, counters });
            }
            _ => {}
        }
    }
    answer
}

fn server() -> Server<Dice> {
    let mut dice = Dice::new(SEED);
    let address = RELAY.into();
    let credentials = CredentialConfig {
        realm: "edge.example.net".into(),
        users: vec![(Username::new(b"alice"), Secret::new(*b"password"))],
        secrets: vec![Secret::new(*b"first secret")],
        lifetime_max_s: 28_800,
        tokens: TokenConfig::default(),
        mras: Vec::new(),
    };
    let policy = PolicyBuilder {
        default: Unlisted::Public,
        allow: Vec::new(),
        deny: Vec::new(),
        own: vec![address],
        relay: vec![address],
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
        policy: Arc::new(policy.build()),
        relays: vec![RelayAddress { bind: address, external: address }],
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
        permissions_per_allocation: 64,
        channels_per_allocation: 64,
        alternate_servers: Vec::new(),
        mobility: true,
        legacy: LegacyConfig::default(),
        connections_per_allocation: 8,
        connects_per_allocation: 8,
    };
    Server::new(config, dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_four_requests_and_leaves_what_was_held() {
        let mut cycles = cycles(3);
        assert_eq!(cycles.server.occupancy().allocations, 3);
        // Allocate, the same with credentials, ChannelBind, Refresh 0.
        assert_eq!(cycles.script.len(), 4 * TIMES);
        assert_eq!(come_and_go(&mut cycles), 4 * TIMES);
        assert_eq!(cycles.server.occupancy().allocations, 3);
    }
}
