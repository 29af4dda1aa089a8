//! One connection, plain or under TLS, read and written without blocking and without a runtime: a client's, or one of ours
//! to a server.
//!
//! ```text
//!   receive: socket ──▶ [ rustls: records ] ──▶ plain bytes
//!   send:    plain bytes ──▶ [ rustls: one record, only when the one before has left ] ──▶ socket
//! ```

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustls::Connection;

use crate::proto::types::Transport;

/// Reads of the socket for one answer: records may hold nothing, and nobody may be kept by them.
const ROUNDS_MAX: usize = 16;
/// Plain bytes that are encrypted at a time, and messages: each becomes a record of its own.
const SEALED_MAX: usize = 16 * 1_024;
const RECORDS_MAX: usize = 64;

/// A connection.
///
/// Its socket never blocks: what cannot be done now it answers with `WouldBlock`.
#[derive(Debug)]
pub struct Channel<S = TcpStream> {
    socket: S,
    tls: Option<Box<Connection>>,
    /// Plain bytes in the record that has not left whole.
    sealed: usize,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one. There may be more.
    Bytes(usize),
    /// Nothing now; the socket tells when there may be more.
    Nothing,
    /// The client has said its last word.
    End,
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shaken {
    /// It is done.
    Done,
    /// The client must say something.
    WantsRead,
    /// The socket takes no more.
    WantsWrite,
}

impl<S: Read + Write> Channel<S> {
    /// A connection without TLS.
    #[must_use]
    pub const fn new(socket: S) -> Self {
        Self { socket, tls: None, sealed: 0 }
    }

    /// Its socket.
    #[must_use]
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// Its socket, to be written to before the connection is [`Self::secure`].
    pub const fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// The same connection on `other(socket)`, which is the same socket in another form.
    ///
    /// # Errors
    /// What `other` says; the connection is lost then.
    pub fn on<T>(self, other: impl FnOnce(S) -> io::Result<T>) -> io::Result<Channel<T>> {
        Ok(Channel { socket: other(self.socket)?, tls: self.tls, sealed: self.sealed })
    }

    /// From here on its bytes are the records of `connection`.
    pub fn secure(&mut self, connection: impl Into<Connection>) {
        let mut connection = connection.into();
        // What waits is bounded by who sends: all that is encrypted at a time is less than this.
        connection.set_buffer_limit(None);
        self.tls = Some(Box::new(connection));
    }

    /// What it is to a five-tuple.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        if self.tls.is_some() { Transport::Tls } else { Transport::Tcp }
    }

    /// Goes on with the handshake as far as that goes without waiting.
    ///
    /// # Errors
    /// What the socket says; `InvalidData` for what the client did wrong, of which it was told as far as it listens.
    pub fn shake(&mut self) -> io::Result<Shaken> {
        let Some(tls) = &mut self.tls else { return Ok(Shaken::Done) };
        for _ in 0..ROUNDS_MAX {
            let judged = tls.process_new_packets();
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if is_for_later(&error) && judged.is_ok() => return Ok(Shaken::WantsWrite),
                    Err(error) => return Err(error),
                }
            }
            judged.map_err(invalid)?;
            if !tls.is_handshaking() {
                return Ok(Shaken::Done);
            }
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if is_for_later(&error) => return Ok(Shaken::WantsRead),
                Err(error) => return Err(error),
            }
        }
        Ok(Shaken::WantsRead)
    }

    /// Reads plain bytes into `buffer`, which has room.
    ///
    /// # Errors
    /// What the socket says; `InvalidData` for a broken record.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let Some(tls) = &mut self.tls else { return received(self.socket.read(buffer)) };
        let mut rounds = 0;
        loop {
            match received(tls.reader().read(buffer)) {
                Ok(Received::Nothing) => {}
                // The connection was cut rather than ended: for a message protocol that makes no difference.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Received::End),
                other => return other,
            }
            // Records without a byte inside: the socket tells of the rest once more.
            if rounds == ROUNDS_MAX {
                return Ok(Received::Nothing);
            }
            rounds += 1;
            match tls.read_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if is_for_later(&error) => return Ok(Received::Nothing),
                Err(error) => return Err(error),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert that tells the client why. If it does not get it, it sees the end.
                let _ = tls.write_tls(&mut self.socket);
                return Err(invalid(error));
            }
        }
    }

    /// Sends of `bytes` as much as the socket takes now; answers how many need not be offered again. Under TLS they may
    /// still be [`Self::unsent`]. `message_len` tells where the first message of some bytes ends: it has a record of its
    /// own, because there are clients that take a record for a message.
    ///
    /// # Errors
    /// What the socket says.
    pub fn send(&mut self, bytes: &[u8], message_len: impl Fn(&[u8]) -> usize) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return match self.socket.write(bytes) {
                Err(error) if is_for_later(&error) => Ok(0),
                other => other,
            };
        };
        let mut taken = 0;
        while push_records(tls, &mut self.socket)? {
            self.sealed = 0;
            for _ in 0..RECORDS_MAX {
                let rest = &bytes[taken..];
                if rest.is_empty() || self.sealed >= SEALED_MAX {
                    break;
                }
                let message = &rest[..message_len(rest).clamp(1, rest.len())];
                tls.writer().write_all(message)?;
                self.sealed += message.len();
                taken += message.len();
            }
            if self.sealed == 0 {
                return Ok(taken);
            }
        }
        Ok(taken)
    }

    /// Plain bytes that [`Self::send`] took and that wait in memory.
    #[must_use]
    pub const fn unsent(&self) -> usize {
        self.sealed
    }

    /// Tells the client that this is the end, as far as it can be told without waiting.
    pub fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.socket);
        }
    }

    /// Tells the client that this is the end, where that is told in words, as it is under TLS. Answers `false` while the
    /// socket has no room for that; then it must be asked again.
    ///
    /// # Errors
    /// What the socket says.
    pub fn part(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        tls.send_close_notify();
        push_records(tls, &mut self.socket)
    }
}

impl Channel {
    /// Says that nothing more will be sent; what the other side sends can still be read. Answers `false` while the socket
    /// has no room for that.
    ///
    /// # Errors
    /// What the socket says.
    pub fn finish(&mut self) -> io::Result<bool> {
        if !self.part()? {
            return Ok(false);
        }
        self.socket.shutdown(Shutdown::Write)?;
        Ok(true)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether every record has left.
fn push_records(tls: &mut Connection, socket: &mut impl Write) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if is_for_later(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn received(read: io::Result<usize>) -> io::Result<Received> {
    match read {
        Ok(0) => Ok(Received::End),
        Ok(len) => Ok(Received::Bytes(len)),
        Err(error) if is_for_later(&error) => Ok(Received::Nothing),
        Err(error) => Err(error),
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::ClientConfig;
    use rustls::ClientConnection;
    use rustls::RootCertStore;
    use rustls::ServerConfig;
    use rustls::ServerConnection;
    use rustls::pki_types::PrivateKeyDer;

    use crate::net::tls::provider;

    use super::*;

    /// A socket that takes as much as it has room for.
    #[derive(Default)]
    struct Narrow {
        heard: Vec<u8>,
        said: Vec<u8>,
        room: usize,
    }

    impl Read for Narrow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.heard.len().min(buffer.len());
            if len == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            buffer[..len].copy_from_slice(&self.heard[..len]);
            self.heard.drain(..len);
            Ok(len)
        }
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = self.room.min(bytes.len());
            if len == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= len;
            self.said.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A connection under TLS whose handshake is over, and its client.
    fn shaken() -> (Channel<Narrow>, ClientConnection) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a sound name");
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("defaults")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a pair");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("an anchor");
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("defaults")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let mut client = ClientConnection::new(Arc::new(client), name).expect("sound");
        let mut channel = Channel::new(Narrow { room: usize::MAX, ..Narrow::default() });
        channel.secure(ServerConnection::new(Arc::new(server)).expect("sound"));
        while client.is_handshaking() || channel.shake().expect("sound") != Shaken::Done {
            while client.wants_write() {
                client.write_tls(&mut channel.socket.heard).expect("memory takes it");
            }
            channel.shake().expect("sound");
            hear(&mut channel, &mut client);
        }
        (channel, client)
    }

    /// Whether the client knows, once it has heard what was said, that this was all.
    fn hear(channel: &mut Channel<Narrow>, client: &mut ClientConnection) -> bool {
        let said = std::mem::take(&mut channel.socket.said);
        let mut rest = &said[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory gives it");
            client.process_new_packets().expect("sound");
        }
        matches!(client.reader().read(&mut [0; 1]), Ok(0))
    }

    #[test]
    fn the_last_word_waits_for_room_and_is_said_once() {
        let (mut channel, mut client) = shaken();
        for room in [0, 1] {
            channel.socket.room = room;
            assert!(!channel.part().expect("no error"), "no room for it");
            assert!(channel.socket.said.len() <= 1);
        }
        channel.socket.room = usize::MAX;
        assert!(channel.part().expect("no error"));
        let len = channel.socket.said.len();
        assert!(channel.part().expect("no error"), "nothing is left to be said");
        assert_eq!(channel.socket.said.len(), len);
        assert!(hear(&mut channel, &mut client), "a clean end");
        assert!(Channel::new(Narrow::default()).part().expect("no error"), "there are no words without TLS");
    }
}
