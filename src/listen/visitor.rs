//! A connection while nobody knows yet what it is.

use std::cell::RefCell;
use std::io;
use std::io::IoSlice;
use std::io::Read;
use std::io::Write;

use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio::task::consume_budget;

use crate::net::Channel;
use crate::net::Received;
use crate::net::Shaken;
use crate::net::tls::HelloRefused;

/// Bytes that one read can bring.
const SCRATCH: usize = 16 * 1_024;

thread_local! {
    /// Where bytes land before it is known how many they are: shared by all connections, and never across an await.
    static INBOUND: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// A connection and what was read of it.
pub(super) struct Visitor {
    channel: Channel<Wire>,
    /// What was read and not consumed, as much as it is and no more.
    pub(super) unread: Vec<u8>,
}

/// A socket of the runtime, read and written as far as it goes without waiting.
pub(super) struct Wire(pub(super) TcpStream);

impl Visitor {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { channel: Channel::new(Wire(socket)), unread: Vec::new() }
    }

    /// Waits for bytes and adds at most `max` of them to [`Self::unread`]. Answers `false` at the end.
    ///
    /// # Errors
    /// What the socket or TLS says.
    pub(super) async fn read_more(&mut self, max: usize) -> io::Result<bool> {
        loop {
            match receive(&mut self.channel, &mut self.unread, max)? {
                Received::Bytes(_) => return Ok(true),
                Received::End => return Ok(false),
                Received::Nothing => self.readable().await?,
            }
        }
    }

    /// From here on it is under TLS.
    pub(super) fn secure(&mut self, connection: ServerConnection) {
        self.channel.secure(connection);
    }

    /// Tells the client why there is no handshake.
    pub(super) fn tell(&mut self, refused: HelloRefused) {
        refused.tell(self.channel.socket_mut());
    }

    /// Goes on with the handshake until it is done.
    ///
    /// # Errors
    /// What the socket or TLS says.
    pub(super) async fn shake(&mut self) -> io::Result<()> {
        loop {
            match self.channel.shake()? {
                Shaken::Done => return Ok(()),
                Shaken::WantsRead => self.readable().await?,
                Shaken::WantsWrite => self.channel.socket().0.writable().await?,
            }
        }
    }

    /// Sends `bytes`, in one piece where the socket takes them so, as it does at the beginning of a connection.
    ///
    /// # Errors
    /// What the socket says.
    pub(super) async fn say(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.channel.send(bytes, <[u8]>::len)? {
                0 => self.channel.socket().0.writable().await?,
                len => bytes = &bytes[len..],
            }
        }
        Ok(())
    }

    /// Others have their turn here, even beside a client that never stops sending.
    async fn readable(&self) -> io::Result<()> {
        self.channel.socket().0.readable().await?;
        consume_budget().await;
        Ok(())
    }

    /// Lets the runtime go of the connection; what was read of it comes along.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn leave(self) -> io::Result<(Channel, Vec<u8>)> {
        Ok((self.channel.on(|wire| wire.0.into_std())?, self.unread))
    }
}

fn receive(channel: &mut Channel<Wire>, unread: &mut Vec<u8>, max: usize) -> io::Result<Received> {
    INBOUND.with_borrow_mut(|inbound| {
        let room = max.clamp(1, inbound.len());
        let received = channel.receive(&mut inbound[..room])?;
        if let Received::Bytes(len) = received {
            unread.reserve_exact(len);
            unread.extend_from_slice(&inbound[..len]);
        }
        Ok(received)
    })
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
