//! The two dialects that a client can speak, as one.

use crate::load::carrier::Parcel;
use crate::load::plan::Carrier;
use crate::proto::client::Client;
use crate::proto::client::Config;
use crate::proto::client::Input;
use crate::proto::client::LegacyClient;
use crate::proto::client::Output;
use crate::proto::types::Deadline;
use crate::proto::types::Now;
use crate::proto::wire::ms_turn::answer::is_of_server;

use super::client::Dice;

/// The state of a client at its server.
#[derive(Debug)]
pub(super) enum Turn {
    /// RFC 8656.
    Modern(Client<Dice>),
    /// [MS-TURN].
    Legacy(LegacyClient<Dice>),
}

impl Turn {
    /// A client that has done nothing yet.
    pub(super) fn new(carrier: Carrier, config: Config) -> Self {
        if carrier.is_legacy() {
            Self::Legacy(LegacyClient::new(config, Dice::new()))
        } else {
            Self::Modern(Client::new(config, Dice::new()))
        }
    }

    pub(super) fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match self {
            Self::Modern(client) => client.handle_input(now, input),
            Self::Legacy(client) => client.handle_input(now, input),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        match self {
            Self::Modern(client) => client.handle_timeout(now),
            Self::Legacy(client) => client.handle_timeout(now),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Modern(client) => client.poll_output(),
            Self::Legacy(client) => client.poll_output(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        match self {
            Self::Modern(client) => client.poll_timeout(),
            Self::Legacy(client) => client.poll_timeout(),
        }
    }

    /// Whether the dialect has a Binding request.
    pub(super) const fn has_binding(&self) -> bool {
        matches!(self, Self::Modern(_))
    }

    /// Whether peers are permitted by requests.
    pub(super) const fn has_permissions(&self) -> bool {
        matches!(self, Self::Modern(_))
    }

    /// A message of this client as its line takes it: frames are the line's matter, so the old dialect's client makes none.
    pub(super) fn parcel<'a>(&self, message: &'a [u8]) -> Parcel<'a> {
        match self {
            Self::Legacy(_) if !is_request(message) => Parcel::Data(message),
            _ => Parcel::Message(message),
        }
    }
}

/// Whether a message of the old dialect is a request, which has the cookie where bare data has none.
fn is_request(message: &[u8]) -> bool {
    crate::proto::wire::ms_turn::framing::is_control(message) && !is_of_server(message)
}
