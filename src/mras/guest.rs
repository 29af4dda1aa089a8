//! Who is at the door: the handshake, the name in the certificate, and what the front end of that name may have.

use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::net::Authority;
use crate::net::MutualTls;
use crate::net::mutual::Unproven;
use crate::net::mutual::host_names;
use crate::net::mutual::is_ssl2;

use super::config::Door;
use super::config::Live;
use super::door::Hall;
use super::front_end::Seat;
use super::outcome::Outcome;
use super::response::Reason;
use super::response::Turn;
use super::stats::End;

/// The front end behind [`Door::SipPlain`], whichever it is: no host can have this name.
const BEHIND_A_PROXY: &str = "(sip_plain)";

/// A connection of a front end that was let in.
pub(super) struct Guest {
    pub(super) hall: Rc<Hall>,
    pub(super) door: Door,
    /// What it was let in by; `None` where somebody else looked.
    proof: Option<Proof>,
    seat: Seat,
}

/// What was proven at the handshake.
struct Proof {
    name: Box<str>,
    authority: Authority,
}

impl Guest {
    /// Lets a connection in that needs no proof.
    pub(super) fn plain(hall: Rc<Hall>, door: Door) -> Result<Self, End> {
        let seat = hall.front_ends.borrow_mut().seat(BEHIND_A_PROXY, &[BEHIND_A_PROXY.into()]);
        Self::seated(hall, door, None, seat)
    }

    /// Shakes hands and looks who it is.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(super) async fn proven(
        hall: Rc<Hall>,
        door: Door,
        socket: TcpStream,
    ) -> Result<(Self, TlsStream<TcpStream>), End> {
        let live = hall.desk.live();
        let tls = live.tls.as_ref().ok_or(End::Handshake)?;
        let wait = hall.config.deadlines.handshake;
        let stream = timeout(wait, shake(tls, socket)).await.map_err(|_| End::HandshakeDeadline)?;
        let stream = stream.inspect_err(|end| {
            if *end == End::OldTls {
                hall.complain_of_old_tls(door);
            }
        })?;
        let (_, connection) = stream.get_ref();
        let own = connection.peer_certificates().and_then(<[_]>::first);
        let names = own.map(host_names).unwrap_or_default();
        let Some(name) = admitted(&live, &names) else {
            hall.complain_of_names(door, &names);
            return Err(End::WrongName);
        };
        let seat = hall.front_ends.borrow_mut().seat(&name, &live.front_ends);
        let proof = Proof { name, authority: tls.authority().clone() };
        Self::seated(hall, door, Some(proof), seat).map(|guest| (guest, stream))
    }

    fn seated(hall: Rc<Hall>, door: Door, proof: Option<Proof>, seat: Option<Seat>) -> Result<Self, End> {
        let seat = seat.ok_or(End::FullFrontEnd)?;
        hall.stats.count_open(door);
        Ok(Self { hall, door, proof, seat })
    }

    /// Has `answer` answer one request of this front end; the answer says what became of it and how many credentials
    /// it holds.
    pub(super) fn ask<T>(&self, answer: impl FnOnce(Turn<'_>, u64) -> (T, Outcome, usize)) -> T {
        let live = self.hall.desk.live();
        let turn = if self.is_forbidden(&live) {
            Turn::Refused(Reason::Forbidden)
        } else if self.seat.may_ask() {
            Turn::Served(&live.service)
        } else {
            Turn::Refused(Reason::ServerBusy)
        };
        let (answered, outcome, credentials) = answer(turn, (self.hall.config.unix)());
        self.hall.stats.count_request(self.door, outcome, credentials);
        let front_end = self.proof.as_ref().map_or(BEHIND_A_PROXY, |proof| &proof.name);
        tracing::debug!(
            door = self.door.word(),
            front_end,
            outcome = outcome.word(),
            credentials,
            "MRAS request"
        );
        answered
    }

    /// Whether it would not be let in again: a reload took its name, or whom it was believed by.
    pub(super) fn is_over(&self) -> bool {
        self.is_forbidden(&self.hall.desk.live())
    }

    fn is_forbidden(&self, live: &Live) -> bool {
        self.proof.as_ref().is_some_and(|proof| {
            !live.front_ends.contains(&proof.name)
                || live.tls.as_ref().is_none_or(|tls| *tls.authority() != proof.authority)
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.hall.stats.count_closed(self.door);
    }
}

async fn shake(tls: &MutualTls, socket: TcpStream) -> Result<TlsStream<TcpStream>, End> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(1..) if is_ssl2(first[0]) => return Err(End::OldTls),
        Ok(1..) => {}
        Ok(0) => return Err(End::Left),
        Err(_) => return Err(End::Failed),
    }
    TlsAcceptor::from(tls.config()).accept(socket).await.map_err(|error| {
        let told = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match told.map(Unproven::of) {
            Some(Unproven::NoCertificate) => End::NoCertificate,
            Some(Unproven::BadCertificate) => End::BadCertificate,
            Some(Unproven::Old) => End::OldTls,
            Some(Unproven::Other) => End::Handshake,
            None => End::Left,
        }
    })
}

/// The name by which a certificate with these names is let in. A wildcard is a name like another, and nobody's.
fn admitted(live: &Live, names: &[String]) -> Option<Box<str>> {
    let is_shown = |name: &str| names.iter().any(|shown| shown.eq_ignore_ascii_case(name));
    live.front_ends.iter().find(|name| is_shown(name)).cloned()
}
