//! What carries a client's messages to a server, where that is more than a datagram in the clear: TCP, TLS, pseudo-TLS and
//! DTLS, each owned by one thread that never waits for it.
//!
//! ```text
//!   Dialler ── dial ──▶ Line:  Connecting ──▶ Up ──▶ Failed
//!     write: messages ──▶ queue ── flush ──▶ [ records ] ──▶ socket
//!     read:  socket ──▶ [ records ] ──▶ bytes in the thread's room ──▶ each whole message, in place
//! ```
//!
//! A line says what it waits for ([`Line::interest`], [`Line::due`]); whoever owns it tells it when that is there.

mod dialler;
#[cfg(feature = "dtls")]
mod dtls;
mod failure;
mod inbox;
mod outbox;
mod stream;
mod tunnel;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use std::time::Instant;

use crate::net::Interest;
use crate::proto::types::limits;

pub use dialler::Dialler;
pub(super) use dialler::believing;
pub(super) use dialler::name_of;
pub use failure::CertificateFlaw;
pub use failure::Failure;
pub use inbox::Room;

use stream::Stream;

/// A way to a server.
#[derive(Debug)]
pub struct Line {
    way: Way,
    began: Instant,
    standing: Standing,
}

#[derive(Debug)]
enum Way {
    Stream(Box<Stream>),
    #[cfg(feature = "dtls")]
    Dtls(Box<dtls::Datagrams>),
}

/// How far a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It connects, or shakes hands.
    Connecting,
    /// It carries messages; coming up took so long.
    Up(Duration),
    /// It is over: why. It must be dropped.
    Failed(Failure),
}

/// One thing that a line carries, either way. Padding and frames are the line's own matter, and are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parcel<'a> {
    /// A STUN message of either dialect, or ChannelData without padding.
    Message(&'a [u8]),
    /// In the old dialect: data to or from the active destination, as it is.
    Data(&'a [u8]),
}

/// What became of something that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It will leave, all of it.
    Taken,
    /// There is no room for it, and nothing of it will leave.
    NoRoom,
}

impl Line {
    const fn new(way: Way, began: Instant) -> Self {
        Self { way, began, standing: Standing::Connecting }
    }

    /// What it waits for. It changes with everything that is done to the line.
    #[must_use]
    pub fn interest(&self) -> Interest {
        match &self.way {
            Way::Stream(stream) => stream.interest(),
            #[cfg(feature = "dtls")]
            Way::Dtls(datagrams) => datagrams.interest(),
        }
    }

    /// When [`Self::on_ready`] must be called though nothing was ready: the handshake's deadline, or its next repetition.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let deadline = self.began + limits::LOAD_CONNECT_MAX;
        match (&self.way, &self.standing) {
            (_, Standing::Failed(_)) => None,
            #[cfg(feature = "dtls")]
            (Way::Dtls(datagrams), Standing::Connecting) => Some(deadline.min(datagrams.due())),
            #[cfg(feature = "dtls")]
            (Way::Dtls(datagrams), Standing::Up(_)) => Some(datagrams.due()),
            (Way::Stream(_), Standing::Connecting) => Some(deadline),
            (Way::Stream(_), Standing::Up(_)) => None,
        }
    }

    /// How far it is.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Goes on with connecting as far as that goes without waiting, and with what time demands. To be called while
    /// [`Standing::Connecting`] when the socket is ready, and always when it is [`Self::due`]. What the server said
    /// behind its handshake is for [`Self::read`], which must be called once the line is up.
    pub fn on_ready(&mut self, now: Instant, room: &mut Room) -> &Standing {
        let step = match (&self.standing, &mut self.way) {
            (Standing::Failed(_), _) => return &self.standing,
            (Standing::Up(_), Way::Stream(_)) => return &self.standing,
            (_, Way::Stream(stream)) => stream.advance(),
            #[cfg(feature = "dtls")]
            (_, Way::Dtls(datagrams)) => datagrams.advance(now, room),
        };
        let took = now.saturating_duration_since(self.began);
        let _ = room;
        match (step, &self.standing) {
            (Err(failure), _) => self.standing = Standing::Failed(failure),
            (Ok(true), Standing::Connecting) => self.standing = Standing::Up(took),
            (Ok(false), _) if took >= limits::LOAD_CONNECT_MAX => {
                self.standing = Standing::Failed(self.stalled());
            }
            _ => {}
        }
        &self.standing
    }

    fn stalled(&self) -> Failure {
        match &self.way {
            Way::Stream(stream) => stream.stalled(),
            #[cfg(feature = "dtls")]
            Way::Dtls(_) => Failure::HandshakeStalled,
        }
    }

    /// Takes one thing to be sent. It leaves with the next [`Self::flush`], together with what else was taken.
    pub fn write(&mut self, parcel: Parcel<'_>) -> Taken {
        if matches!(self.standing, Standing::Failed(_)) {
            return Taken::NoRoom;
        }
        match &mut self.way {
            Way::Stream(stream) => stream.write(parcel),
            #[cfg(feature = "dtls")]
            Way::Dtls(datagrams) => datagrams.write(parcel),
        }
    }

    /// Lets what was taken leave, as far as the socket has room now. Answers whether all of it did; the rest leaves when
    /// the socket can be written and this is called again. Before the line is up nothing leaves.
    ///
    /// # Errors
    /// Why the line is over.
    pub fn flush(&mut self) -> Result<bool, Failure> {
        match &self.standing {
            Standing::Connecting => return Ok(false),
            Standing::Failed(failure) => return Err(failure.clone()),
            Standing::Up(_) => {}
        }
        let flushed = match &mut self.way {
            Way::Stream(stream) => stream.flush(),
            #[cfg(feature = "dtls")]
            Way::Dtls(datagrams) => datagrams.flush(),
        };
        self.judge(flushed)
    }

    /// Bytes that were taken and wait in memory.
    #[must_use]
    pub fn unsent(&self) -> usize {
        match &self.way {
            Way::Stream(stream) => stream.unsent(),
            #[cfg(feature = "dtls")]
            Way::Dtls(datagrams) => datagrams.unsent(),
        }
    }

    /// Gives `each` what has come, as it lies in `room`. What is left in the socket is told again by the poll.
    ///
    /// # Errors
    /// Why the line is over; `each` has had what came before.
    pub fn read(
        &mut self,
        now: Instant,
        room: &mut Room,
        each: &mut dyn FnMut(Parcel<'_>),
    ) -> Result<(), Failure> {
        match &self.standing {
            Standing::Connecting => return Ok(()),
            Standing::Failed(failure) => return Err(failure.clone()),
            Standing::Up(_) => {}
        }
        let read = match &mut self.way {
            Way::Stream(stream) => stream.read(room, each),
            #[cfg(feature = "dtls")]
            Way::Dtls(datagrams) => datagrams.read(now, room, each),
        };
        let _ = now;
        self.judge(read)
    }

    fn judge<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &outcome {
            self.standing = Standing::Failed(failure.clone());
        }
        outcome
    }

    /// The address and port on this machine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local(&self) -> io::Result<SocketAddr> {
        match &self.way {
            Way::Stream(stream) => stream.local(),
            #[cfg(feature = "dtls")]
            Way::Dtls(datagrams) => datagrams.local(),
        }
    }

    /// Ends it as a client does that leaves: the server is told, as far as that goes without waiting.
    pub fn leave(self) {
        match self.way {
            Way::Stream(stream) => stream.leave(),
            #[cfg(feature = "dtls")]
            Way::Dtls(datagrams) => datagrams.leave(),
        }
    }

    /// Ends it as a loss of the network does, as far as a program can: no goodbye, and nothing of it lingers here.
    pub fn vanish(self) {
        match self.way {
            Way::Stream(stream) => stream.vanish(),
            #[cfg(feature = "dtls")]
            Way::Dtls(_) => {}
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Stream(stream) => stream.as_fd(),
            #[cfg(feature = "dtls")]
            Way::Dtls(datagrams) => datagrams.as_fd(),
        }
    }
}
