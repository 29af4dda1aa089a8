//! How does the NAT behave that the agent is behind? Asked of the laboratory's server (RFC 5780).

use std::io;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::proto::client::Discovery;
use crate::proto::client::Finding;
use crate::proto::client::Found;
use crate::proto::client::Local;
use crate::proto::client::Reach;
use crate::proto::client::Seen;
use crate::proto::client::Timing;
use crate::proto::types::Now;
use crate::proto::types::Transport;
use crate::proto::types::limits::DATAGRAM_MAX;

use super::environment::Environment;
use super::talk::Random;
use super::talk::route;

/// What is not answered is asked again a few times, and then not let in.
const TIMING: Timing = Timing {
    first_wait: Duration::from_millis(200),
    transmissions: 3,
    last_wait: Duration::from_millis(800),
};

/// Finds out all that can be.
///
/// # Errors
/// Where no socket can be had.
pub async fn discover(environment: &Environment) -> Result<Value, Fault> {
    found(environment)
        .await
        .map(|finding| told(&finding))
        .map_err(|error| Fault::new(FaultKind::Machine, format!("no socket can be had: {error}")))
}

async fn found(environment: &Environment) -> io::Result<Finding> {
    let own = route(environment)?;
    let by_udp = environment.servers.iter().find(|server| server.transport == Transport::Udp);
    let server = by_udp.ok_or_else(|| io::Error::other("no server over UDP is named"))?.address;
    let sockets = [UdpSocket::bind((own, 0)).await?, UdpSocket::bind((own, 0)).await?];
    let locals = [sockets[0].local_addr()?, sockets[1].local_addr()?];
    let start = Instant::now();
    let now = || Now { since_start: start.elapsed(), unix: 0 };
    let mut discovery = Discovery::new(server, locals, TIMING, Random, now());
    let mut buffers = [vec![0; DATAGRAM_MAX], vec![0; DATAGRAM_MAX]];
    loop {
        while let Some(output) = discovery.poll_output() {
            match output {
                // What the kernel does not take is lost, as datagrams are.
                Found::Send(send) => {
                    let _ = sockets[send.from as usize].try_send_to(&send.bytes, send.to);
                }
                Found::Done(finding) => return Ok(finding),
            }
        }
        let due = discovery.poll_timeout().map(|due| due.remaining(now().tick()));
        let wake = Instant::now() + due.unwrap_or_default() + Duration::from_millis(1);
        let [first, second] = &mut buffers;
        tokio::select! {
            Ok((len, from)) = sockets[0].recv_from(first) => {
                discovery.handle_datagram(now(), Local::First, from, &first[..len]);
            }
            Ok((len, from)) = sockets[1].recv_from(second) => {
                discovery.handle_datagram(now(), Local::Second, from, &second[..len]);
            }
            () = tokio::time::sleep_until(wake) => discovery.handle_timeout(now()),
        }
    }
}

fn told(finding: &Finding) -> Value {
    let seen = |seen: Option<Seen>| {
        seen.map(|seen| match seen {
            Seen::EndpointIndependent => "endpoint-independent",
            Seen::AddressDependent => "address-dependent",
            Seen::AddressAndPortDependent => "address-and-port-dependent",
        })
    };
    let reach = match finding.reach {
        Reach::Silent => "silent",
        Reach::OneAddress => "one address",
        Reach::Full => "full",
    };
    json!({
        "reach": reach,
        "nat": finding.nat,
        "mapping": seen(finding.mapping),
        "filtering": seen(finding.filtering),
        "hairpin": finding.hairpin,
        "mapped": finding.mapped.map(|mapped| mapped.to_string()),
    })
}
