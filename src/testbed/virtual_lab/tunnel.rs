//! TLS as an opaque tunnel: a handshake of one round trip (RFC 8446 § 2), then records of the right shape and length. Nothing
//! is encrypted and nobody is authenticated: what is modelled is what firewalls and proxies see, and what it costs in time and
//! bytes.

/// One end of a tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    is_client: bool,
    /// A server that has answered the first flight, and waits for the second.
    has_greeted: bool,
    pub(super) is_open: bool,
    inbox: Vec<u8>,
}

/// What came of bytes of the other end.
#[derive(Debug, Default)]
pub(super) struct Came {
    /// What the other end sends, without the tunnel.
    pub(super) plain: Vec<u8>,
    /// What has to be written back.
    pub(super) reply: Vec<u8>,
    /// It is open from here on.
    pub(super) opened: bool,
    /// It is no TLS.
    pub(super) is_broken: bool,
}

/// Content types (RFC 8446 § 5.1).
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const VERSION: [u8; 2] = [3, 3];
const HEADER: usize = 5;
/// What encryption adds to a record: the inner content type and the tag.
const ADDED: usize = 1 + 16;
/// What one record holds.
const PLAIN_MAX: usize = 16_384;

/// Bytes of the flights, as they usually are: ClientHello; ServerHello to Finished with a chain of two certificates; Finished.
const CLIENT_HELLO: usize = 512;
const SERVER_FLIGHT: usize = 2_800;
const CLIENT_FINISHED: usize = 69;

impl Tunnel {
    pub(super) const fn new(is_client: bool) -> Self {
        Self { is_client, has_greeted: false, is_open: false, inbox: Vec::new() }
    }

    /// What a client writes first.
    pub(super) fn hello() -> Vec<u8> {
        record(HANDSHAKE, &[0; CLIENT_HELLO])
    }

    /// `plain` as records.
    pub(super) fn seal(plain: &[u8]) -> Vec<u8> {
        let sealed = |part: &[u8]| record(APPLICATION_DATA, &[part, &[0; ADDED]].concat());
        plain.chunks(PLAIN_MAX).flat_map(sealed).collect()
    }

    /// Bytes came, however they were split.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) -> Came {
        self.inbox.extend_from_slice(bytes);
        let mut came = Came::default();
        loop {
            let Some([kind, VERSION_MAJOR, _, high, low]) = self.inbox.first_chunk::<HEADER>().copied()
            else {
                came.is_broken = self.inbox.get(1).is_some_and(|major| *major != VERSION_MAJOR);
                return came;
            };
            let end = HEADER + usize::from(u16::from_be_bytes([high, low]));
            if self.inbox.len() < end {
                return came;
            }
            let rest = self.inbox.split_off(end);
            let record = std::mem::replace(&mut self.inbox, rest);
            match (kind, self.is_open) {
                (HANDSHAKE, false) => self.shake(&mut came),
                (APPLICATION_DATA, true) if end >= HEADER + ADDED => {
                    came.plain.extend_from_slice(&record[HEADER..end - ADDED]);
                }
                _ => {
                    came.is_broken = true;
                    return came;
                }
            }
        }
    }

    /// A flight came: the server's to a client, or one of the two of a client to a server.
    fn shake(&mut self, came: &mut Came) {
        match (self.is_client, self.has_greeted) {
            (true, _) => came.reply = record(HANDSHAKE, &[0; CLIENT_FINISHED]),
            (false, false) => {
                self.has_greeted = true;
                came.reply = record(HANDSHAKE, &[0; SERVER_FLIGHT]);
                return;
            }
            (false, true) => {}
        }
        (self.is_open, came.opened) = (true, true);
    }
}

const VERSION_MAJOR: u8 = VERSION[0];

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("a record holds less than 65,536 bytes").to_be_bytes();
    [&[kind, VERSION[0], VERSION[1], len[0], len[1]], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `to` makes of `bytes` that come one by one.
    fn drip(to: &mut Tunnel, bytes: &[u8]) -> Came {
        let mut all = Came::default();
        for byte in bytes {
            let came = to.handle_bytes(&[*byte]);
            all.plain.extend(came.plain);
            all.reply.extend(came.reply);
            all.opened |= came.opened;
            all.is_broken |= came.is_broken;
        }
        all
    }

    #[test]
    fn it_is_open_after_one_round_trip_and_then_carries_bytes_as_they_are() {
        let (mut client, mut server) = (Tunnel::new(true), Tunnel::new(false));
        let hello = drip(&mut server, &Tunnel::hello());
        assert!(!hello.opened && !hello.reply.is_empty());
        let flight = drip(&mut client, &hello.reply);
        assert!(flight.opened && client.is_open);
        // The client's data goes out with its last flight.
        let data: Vec<_> = (0..40_000_u32).map(|at| at as u8).collect();
        let came = drip(&mut server, &[flight.reply, Tunnel::seal(&data)].concat());
        assert!(came.opened && came.reply.is_empty() && came.plain == data);
        assert_eq!(drip(&mut client, &Tunnel::seal(&data)).plain, data);
    }

    #[test]
    fn what_is_no_tls_is_no_tunnel() {
        for bytes in [b"CONNECT a:1 HTTP/1.1".as_slice(), &record(APPLICATION_DATA, &[0; 20]), &[22, 9]] {
            assert!(drip(&mut Tunnel::new(false), bytes).is_broken, "{bytes:?}");
        }
    }
}
