//! A line over DTLS: each record is one message, and what finds no room in the socket is lost, as datagrams are.

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::plan::Server;
use crate::net::Interest;
use crate::net::dtls::MESSAGE_MAX;
use crate::net::dtls_client::Call;
use crate::net::dtls_client::CallError;
use crate::net::dtls_client::DtlsClient;
use crate::net::dtls_client::Said;
use crate::net::outward;
use crate::proto::types::limits;

use super::CertificateFlaw;
use super::Failure;
use super::Parcel;
use super::Room;
use super::Taken;
use super::dialler;

/// Bytes of a record to begin with: a packet of media fits, and there is one for each line.
const RECORD_USUAL: usize = 2 * 1_024;

/// What all lines to a server have in common.
#[derive(Clone, Debug)]
pub(super) struct Terms(DtlsClient);

#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
    call: Call,
    /// Where the library puts a record together. Its own, because messages are taken without the thread's room.
    record: Vec<u8>,
    /// What went wrong where nobody could be told.
    failed: Option<Failure>,
}

/// What became of a datagram.
enum Sent {
    Left,
    NoRoom,
}

impl Terms {
    pub(super) fn new(server: &Server) -> Result<Self, Fault> {
        let verifier = dialler::believing(&server.trust, outward::verifier)?;
        let client = DtlsClient::new(verifier, dialler::name_of(&server.host)?);
        Ok(Self(client.map_err(|why| Fault::new(FaultKind::Machine, format!("DTLS cannot be had: {why}")))?))
    }

    pub(super) fn begin(&self, socket: UdpSocket, now: Instant) -> Datagrams {
        let record = vec![0; RECORD_USUAL];
        Datagrams { socket, call: self.0.begin(now), record, failed: None }
    }
}

impl Datagrams {
    #[allow(clippy::unused_self, reason = "the same for each way")]
    pub(super) const fn interest(&self) -> Interest {
        Interest::READ
    }

    pub(super) const fn due(&self) -> Instant {
        self.call.due()
    }

    /// Goes on with the handshake, and with what time demands. Answers whether it is up.
    pub(super) fn advance(&mut self, now: Instant, room: &mut Room) -> Result<bool, Failure> {
        self.call.wait(now).map_err(failure)?;
        self.tell(&mut |_| {})?;
        let room = room.bytes();
        for _ in 0..limits::LOAD_READS_MAX {
            if self.call.is_established() {
                break;
            }
            let Some(len) = self.receive(room)? else { break };
            self.call.hear(&room[..len]).map_err(failure)?;
            self.tell(&mut |_| {})?;
        }
        Ok(self.call.is_established())
    }

    pub(super) fn write(&mut self, parcel: Parcel<'_>) -> Taken {
        let (Parcel::Message(bytes) | Parcel::Data(bytes)) = parcel;
        if bytes.len() > MESSAGE_MAX || self.failed.is_some() {
            return Taken::NoRoom;
        }
        let said = self.call.say(bytes).map_err(failure).and_then(|()| self.tell(&mut |_| {}));
        match said {
            Ok(Sent::Left) => Taken::Taken,
            Ok(Sent::NoRoom) => Taken::NoRoom,
            Err(failure) => {
                self.failed = Some(failure);
                Taken::NoRoom
            }
        }
    }

    /// Nothing ever waits here; but this is where a failure is told that [`Self::write`] met.
    pub(super) fn flush(&mut self) -> Result<bool, Failure> {
        self.failed.take().map_or(Ok(true), Err)
    }

    #[allow(clippy::unused_self, reason = "the same for each way")]
    pub(super) const fn unsent(&self) -> usize {
        0
    }

    pub(super) fn read(
        &mut self,
        now: Instant,
        room: &mut Room,
        each: &mut dyn FnMut(Parcel<'_>),
    ) -> Result<(), Failure> {
        let room = room.bytes();
        for round in 0..limits::LOAD_READS_MAX * 4 {
            let Some(len) = self.receive(room)? else { break };
            if round == 0 {
                self.call.wait(now).map_err(failure)?;
            }
            self.call.hear(&room[..len]).map_err(failure)?;
            self.tell(each)?;
            if self.call.is_closed() {
                return Err(Failure::Ended);
            }
        }
        Ok(())
    }

    /// A datagram; `None` if none is there.
    fn receive(&self, room: &mut [u8]) -> Result<Option<usize>, Failure> {
        match self.socket.recv(room) {
            Ok(len) => Ok(Some(len)),
            Err(error) if is_for_later(&error) => Ok(None),
            Err(error) => Err(self.judge(&error)),
        }
    }

    /// Lets leave what the association has to say to the server, and gives `each` what the server said.
    fn tell(&mut self, each: &mut dyn FnMut(Parcel<'_>)) -> Result<Sent, Failure> {
        let Self { socket, call, record, .. } = self;
        let (mut sent, mut broken) = (Sent::Left, None);
        call.tell(record, &mut |said| match said {
            Said::Message(message) => each(Parcel::Message(message)),
            Said::Datagram(datagram) => match socket.send(datagram) {
                Ok(_) => {}
                Err(error) if is_for_later(&error) || error.raw_os_error() == Some(libc::ENOBUFS) => {
                    sent = Sent::NoRoom;
                }
                Err(error) => broken = Some(error),
            },
        })
        .map_err(failure)?;
        match broken {
            Some(error) => Err(self.judge(&error)),
            None => Ok(sent),
        }
    }

    /// What an error of the socket means: before the handshake is done that nobody listens, and later that whoever did
    /// is gone.
    fn judge(&self, error: &io::Error) -> Failure {
        match Failure::of(error) {
            Failure::Refused if self.call.is_established() => Failure::Reset,
            other => other,
        }
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn leave(mut self) {
        if self.call.close().is_ok() {
            let _ = self.tell(&mut |_| {});
        }
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Certificate(flaw) => Failure::Certificate(CertificateFlaw::of(&flaw)),
        CallError::Failed(why) => Failure::Handshake(why),
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
