//! What a program holds in its hands.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::proto::client::Allocated;
use crate::proto::client::Client;
use crate::proto::client::Config;
use crate::proto::client::Counsel;
use crate::proto::client::Failure;
use crate::proto::client::HttpProxy;
use crate::proto::client::Next;
use crate::proto::types::limits::CLIENT_COMMANDS_MAX;
use crate::proto::types::limits::CLIENT_RECEIVED_MAX;
use crate::proto::types::limits::CLIENT_SEND_MAX;

use super::Error;
use super::Via;
use super::driver::Command;
use super::driver::Done;
use super::driver::Driver;
use super::driver::Shared;
use super::driver::Waiting;
use super::machine::Clock;
use super::machine::Random;
use super::wire::Wire;

/// The server's policy denies this peer (RFC 8656 § 19).
const FORBIDDEN: u16 = 403;

/// A relayed transport address at a TURN server, used like a UDP socket that is bound to it. A task of its own keeps the
/// allocation, its permissions and its channels alive, and gives the allocation back when this is dropped.
///
/// Like a UDP socket it may lose what is sent and what comes: at most [`CLIENT_RECEIVED_MAX`] datagrams wait for
/// [`Self::recv_from`].
#[derive(Debug)]
pub struct RelayedSocket {
    commands: mpsc::Sender<Command>,
    received: Mutex<mpsc::Receiver<(SocketAddr, Box<[u8]>)>>,
    shared: Arc<Shared>,
    made: Allocated,
    #[cfg(feature = "webrtc-util")]
    pub(super) peer: std::sync::OnceLock<SocketAddr>,
}

impl RelayedSocket {
    /// Reaches `server` by `via` and makes an allocation there. The transport of `config`, and the timing that goes with
    /// it, are those of `via`. Of an allocation over TCP or TLS nothing is left when its connection ends.
    ///
    /// A server that sends its clients to another one (300) is followed there, to none twice and not for ever (RFC 8489 § 10),
    /// over TLS with the same name in its certificate; where it takes this client's port for somebody else's (437), another is
    /// tried, three in all (RFC 8656 § 7.4).
    ///
    /// # Errors
    /// [`Error::Connect`] if the server cannot be reached, [`Error::Failed`] if it refuses or does not answer: over UDP
    /// and TCP that is known after 39.5 s (RFC 8489 § 6.2). After 486 and 508 it is to be left alone for a minute
    /// ([`Counsel`] has all of these rules).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn allocate(server: SocketAddr, via: Via, config: Config) -> Result<Self, Error> {
        Self::follow(None, server, via, config).await
    }

    /// The same through an HTTP proxy (CONNECT, RFC 9110 § 9.3.6), by [`Via::Tcp`] or [`Via::Tls`]. Its name is resolved by the
    /// system, the tunnel leads to the server's address.
    ///
    /// # Errors
    /// As [`Self::allocate`]; [`Error::Connect`] also if the proxy cannot be reached, and [`Error::Proxy`] if it opens no way, or
    /// `via` is [`Via::Udp`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn allocate_through(
        proxy: &HttpProxy,
        server: SocketAddr,
        via: Via,
        config: Config,
    ) -> Result<Self, Error> {
        Self::follow(Some(proxy), server, via, config).await
    }

    /// Asks `server`, and where it refuses whom the standard says.
    async fn follow(
        proxy: Option<&HttpProxy>,
        mut server: SocketAddr,
        via: Via,
        config: Config,
    ) -> Result<Self, Error> {
        let transport = via.transport();
        let config = if config.transport == transport { config } else { config.over(transport) };
        let (mut counsel, clock) = (Counsel::new(), Clock::new());
        loop {
            let wire = Wire::connect(server, via.clone(), proxy).await?;
            let why = match Self::over(wire, config.clone()).await {
                Err(Error::Failed(why)) => why,
                made => return made,
            };
            match counsel.after_refusal(clock.now().tick(), server, why) {
                Next::Elsewhere(other) => server = other,
                // A new socket has another port.
                Next::AnotherAddress => {}
                // Whether to wait is the program's to say.
                Next::Again { .. } | Next::GiveUp => return Err(Error::Failed(why)),
            }
        }
    }

    pub(super) async fn over(wire: Wire, config: Config) -> Result<Self, Error> {
        let (commands, to_obey) = mpsc::channel(CLIENT_COMMANDS_MAX);
        let (to_receive, received) = mpsc::channel(CLIENT_RECEIVED_MAX);
        let (made, allocated) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let driver = Driver {
            client: Client::new(config, Random),
            clock: Clock::new(),
            wire,
            commands: to_obey,
            received: to_receive,
            allocated: Some(made),
            shared: Arc::clone(&shared),
            waiting: Waiting::default(),
            cut: false,
        };
        tokio::spawn(driver.run());
        let made = allocated.await.unwrap_or(Err(Error::Over(None)))?;
        Ok(Self {
            commands,
            received: Mutex::new(received),
            shared,
            made,
            #[cfg(feature = "webrtc-util")]
            peer: std::sync::OnceLock::new(),
        })
    }

    /// Where peers reach it.
    #[must_use]
    pub const fn relayed_address(&self) -> SocketAddr {
        self.made.relayed.socket()
    }

    /// The client's address as the server sees it.
    #[must_use]
    pub const fn mapped_address(&self) -> SocketAddr {
        self.made.mapped
    }

    /// All that the server granted: the second address of a dual allocation, the token of a port that was kept.
    #[must_use]
    pub const fn allocated(&self) -> &Allocated {
        &self.made
    }

    /// Lets any port of `peer` send here, and be sent to. It stays so for as long as the allocation lasts.
    ///
    /// # Errors
    /// [`Error::Failed`] if the server refuses: with 403 it forbids this peer. [`Error::Over`] if there is no allocation.
    pub async fn permit(&self, peer: IpAddr) -> Result<(), Error> {
        if self.shared.granted().permitted.contains(&peer) {
            return Ok(());
        }
        self.ask(|done| Command::Permit { peer, done }).await
    }

    /// Binds a channel to `peer`: what is sent to it and what it sends costs four bytes more instead of 36 or more.
    /// Its address is permitted with that.
    ///
    /// # Errors
    /// As [`Self::permit`].
    pub async fn bind(&self, peer: SocketAddr) -> Result<(), Error> {
        if self.shared.granted().bound.contains(&peer) {
            return Ok(());
        }
        self.ask(|done| Command::Bind { peer, done }).await
    }

    /// Sends `data` to `peer`. Before the first time it binds a channel to it, or where there is none to be had at least
    /// gets a permission; so that takes a round trip to the server. Answers how many bytes that are, which is all.
    ///
    /// # Errors
    /// [`Error::TooLong`] beyond [`CLIENT_SEND_MAX`] bytes, else as [`Self::permit`].
    pub async fn send_to(&self, data: &[u8], peer: SocketAddr) -> Result<usize, Error> {
        if data.len() > CLIENT_SEND_MAX {
            return Err(Error::TooLong { len: data.len(), max: CLIENT_SEND_MAX });
        }
        if !self.may_reach(peer)
            && let Err(error) = self.bind(peer).await
        {
            match error {
                // Its address may be permitted all the same, but what is sent to this port would be dropped in silence.
                Error::Failed(Failure::Refused { code: FORBIDDEN, .. }) => return Err(error),
                Error::Failed(_) => self.permit(peer.ip()).await?,
                _ => return Err(error),
            }
        }
        let send = Command::Send { peer, data: data.into() };
        self.commands.send(send).await.map_err(|_| self.over_now())?;
        Ok(data.len())
    }

    /// The next datagram of a peer, and whose it is. What is longer than `buffer` is cut off.
    ///
    /// # Errors
    /// [`Error::Over`] when the allocation is, and everything that came before was taken.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let next = self.received.lock().await.recv().await;
        let (peer, data) = next.ok_or_else(|| self.over_now())?;
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        Ok((len, peer))
    }

    /// Gives the allocation back, and waits until the server says that it has it.
    ///
    /// # Errors
    /// [`Error::Over`] if it was over before, or if the server does not say so.
    pub async fn close(&self) -> Result<(), Error> {
        self.ask(|done| Command::Close { done }).await
    }

    fn may_reach(&self, peer: SocketAddr) -> bool {
        let granted = self.shared.granted();
        granted.bound.contains(&peer) || granted.permitted.contains(&peer.ip())
    }

    async fn ask(&self, command: impl FnOnce(Done) -> Command) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| self.over_now())?;
        answer.await.unwrap_or_else(|_| Err(self.over_now()))
    }

    fn over_now(&self) -> Error {
        Error::Over(self.shared.end.get().copied())
    }
}
