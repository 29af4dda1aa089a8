//! What an edge is made with.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::binding::Discovery;
use crate::proto::peers::PeerPolicy;
use crate::proto::peers::PolicyBuilder;
use crate::proto::peers::Rule;
use crate::proto::turn::RelayAddress;
use crate::proto::types::Lifetime;
use crate::proto::types::Secret;
use crate::proto::types::Transport;
use crate::proto::types::limits;

/// The realm of a laboratory.
const REALM: &str = "testbed.example";

/// An address that clients reach the edge at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// By what.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// What an edge is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where clients reach it.
    pub listens: Vec<Listen>,
    /// Where relay sockets are bound; the first of a family serves that family.
    pub relays: Vec<RelayAddress>,
    /// Their ports.
    pub ports: RangeInclusive<u16>,
    /// The realm.
    pub realm: Box<str>,
    /// What every user name has as its password.
    pub password: Secret,
    /// The secret of time-limited names, whose part behind the colon names the client.
    pub secret: Option<Secret>,
    /// Which peers may be reached.
    pub policy: Arc<PeerPolicy>,
    /// What Binding requests may discover (RFC 5780).
    pub discovery: Discovery,
    /// Granted where a client asks for none or less.
    pub lifetime_default: Lifetime,
    /// Granted at most.
    pub lifetime_max: Lifetime,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// Whether a client may take its allocation along (RFC 8016).
    pub mobility: bool,
}

impl Setup {
    /// What a laboratory uses: the standard's values, and any peer.
    #[must_use]
    pub fn lab(listens: Vec<Listen>, relays: &[IpAddr], password: Secret) -> Self {
        let anywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|text| text.parse::<Rule>().ok());
        let policy = PolicyBuilder { allow: anywhere.collect(), ..PolicyBuilder::default() };
        Self {
            listens,
            relays: relays.iter().map(|ip| RelayAddress { bind: *ip, external: *ip }).collect(),
            ports: 49_152..=65_535,
            realm: REALM.into(),
            password,
            secret: None,
            policy: Arc::new(policy.build()),
            discovery: Discovery::default(),
            lifetime_default: Lifetime::from_secs(600),
            lifetime_max: Lifetime::from_secs(3_600),
            nonce_lifetime: Duration::from_secs(3_600),
            mobility: true,
        }
    }

    /// How long a permission lasts (RFC 8656 § 9).
    pub const PERMISSION_LIFETIME: Duration = limits::PERMISSION_LIFETIME_DEFAULT;
    /// How long a channel lasts (RFC 8656 § 12).
    pub const CHANNEL_LIFETIME: Duration = limits::CHANNEL_LIFETIME_DEFAULT;
}
