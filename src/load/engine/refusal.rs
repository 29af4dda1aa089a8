//! Why no call came up at all, in a plain sentence with what to do about it.

use std::io;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::plan::PeerPlace;
use crate::load::plan::Who;
use crate::proto::client::Failure;

use super::common::Common;
use super::tally::Why;

/// What a run comes to whose calls all failed, the first of them by `why`.
pub(super) fn fault(why: Option<&Why>, common: &Common) -> Fault {
    let address = common.server.address;
    match why {
        None => Fault::new(
            FaultKind::Server,
            format!("no call came up at {address}, for no reason that was told"),
        ),
        Some(Why::Socket(kind, what)) => socket_fault(*kind, what, common),
        Some(Why::Closed) => Fault::new(
            FaultKind::Server,
            format!("nobody listens for UDP at {address}: its machine says the port is closed"),
        )
        .cure("check the port, and whether the server is running; for a connection add ?transport=tcp"),
        Some(Why::Line(failure)) => failure.fault(&common.server),
        Some(Why::Protocol(what, failure)) => protocol_fault(what, *failure, common),
    }
}

fn socket_fault(kind: io::ErrorKind, what: &str, common: &Common) -> Fault {
    let fault = |what: String| Fault::new(FaultKind::Machine, what);
    match kind {
        io::ErrorKind::AddrInUse => fault(format!("no port is free for a client, of {}", common.allowed))
            .cure("give more source addresses with --source; on loopback all of 127.0.0.0/8 will do"),
        io::ErrorKind::AddrNotAvailable => fault(format!("a client cannot be where it should be: {what}"))
            .cure("give only addresses of this machine with --source"),
        _ => fault(format!("this machine has no socket for a client: {what}"))
            .cure("let the process have more descriptors: ulimit -n 65536"),
    }
}

fn protocol_fault(what: &str, failure: Failure, common: &Common) -> Fault {
    let address = common.server.address;
    let of_server = |what: String| Fault::new(FaultKind::Server, what);
    match failure {
        Failure::Refused { code, .. } => refused(what, code, common),
        Failure::Timeout if what == "Allocate" => of_server(format!(
            "{address} does not answer: {what} was sent again and again, and nothing came back"
        ))
        .cure("check the address, the port and the firewalls between; is it a TURN server?"),
        Failure::Timeout => of_server(format!("{address} does not answer {what} any more")),
        Failure::Integrity => of_server(format!("{address} signs its answers with another password"))
            .cure("check the password, or the secret and the realm"),
        Failure::Algorithm => of_server(format!("{address} offers no password algorithm that is known here")),
        Failure::Incomplete => {
            of_server(format!("what {address} answers to {what} is no TURN: it lacks what it is for"))
                .cure("check the port, and that it is a TURN server and not one of STUN alone")
        }
        Failure::Disconnected => of_server(format!("{address} closed the connection")),
        Failure::Unsupported => of_server(format!("{what} does not exist in this dialect")),
        Failure::Full | Failure::Expired => of_server(format!("{what} came to nothing at {address}")),
    }
}

fn refused(what: &str, code: u16, common: &Common) -> Fault {
    let uri = &common.server.uri;
    let request = |what: String| Fault::new(FaultKind::Request, what);
    let of_server = |what: String| Fault::new(FaultKind::Server, what);
    match code {
        401 => request(format!("{uri} refuses these credentials (401)")).cure(match common.server.who {
            Who::One(_) => "check the user's name and password, or the secret; clocks must agree for a secret's users",
            Who::Many(_) => "check the secret that the users are made with, and the clocks of both machines",
        }),
        403 if what == "Allocate" => request(format!("{uri} lets this client have no allocation (403)"))
            .cure("look into the server's log, and at which clients it lets in"),
        403 => peer_refused(common),
        437 => of_server(format!("{uri} still has an allocation of this client's address (437)"))
            .cure("wait until it ends, which takes ten minutes at most, or come from another address with --source"),
        441 => request(format!("{uri} knows the allocation by other credentials (441)")),
        442 => of_server(format!("{uri} relays no UDP (442)")),
        440 => of_server(format!("{uri} has no relay address of the family that is asked for (440)"))
            .cure("load it by an address of the other family"),
        486 => of_server(format!("{uri} gives this user no more allocations (486)")).cure(
            "raise allocations_per_user under [limits] (in coturn: user-quota), or load with a secret, which gives each \
             client a user of its own",
        ),
        508 => of_server(format!("{uri} has no room for another allocation (508)")).cure(
            "widen ports under [relay], or raise allocations_total under [limits] (in coturn: min-port, max-port, \
             total-quota)",
        ),
        300 => of_server(format!("{uri} sends its clients to another server (300)")).cure("load that one"),
        500..=599 => of_server(format!("{uri} is in trouble: {what} is refused with {code}"))
            .cure("look into the server's log"),
        _ => of_server(format!("{uri} refuses {what} with {code}")),
    }
}

fn peer_refused(common: &Common) -> Fault {
    let (uri, request) = (&common.server.uri, |what: String| Fault::new(FaultKind::Request, what));
    if common.nats.is_some() {
        let own = common.server.address.ip();
        return request(format!("{uri} does not let its clients reach loopback (403), where the NATs are")).cure(format!(
            "add `allow = [\"127.0.0.0/8\", \"{own}/32\"]` under [peers] in the server's configuration, as \
             conf/testbed/loopback.toml has it: its own addresses are to be named one by one (in coturn: allow-loopback-peers)"
        ));
    }
    let peer = match common.peer {
        PeerPlace::Relay => {
            return request(format!("{uri} does not let its relayed addresses reach each other (403)")).cure(
                "take --peer local or --peer HOST, or let the server relay to its own addresses (in coturn: no \
                 denied-peer-ip of them)",
            );
        }
        PeerPlace::Remote(peer) => peer.ip(),
        PeerPlace::Local(_) => common.peer_ip.unwrap_or_else(|| common.server.address.ip()),
    };
    // No wider network will do: a server's own addresses are refused each by itself.
    let prefix_len = if peer.is_ipv4() { 32 } else { 128 };
    request(format!("{uri} does not let its clients reach the peer {peer} (403)")).cure(format!(
        "add `allow = [\"{peer}/{prefix_len}\"]` under [peers] in the server's configuration (in coturn: allowed-peer-ip and, for \
         loopback, allow-loopback-peers), or take --peer relay, which needs no such rule"
    ))
}
