//! A server-reflexive candidate by Binding (RFC 8445 § 5.1.1.2): one request, repeated as RFC 8489 § 6.2.1 says.

use std::net::SocketAddr;

use crate::proto::client::Failure;
use crate::proto::client::Timing;
use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Tick;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;

/// A request from one socket to one server.
#[derive(Debug)]
pub(super) struct Binding {
    /// The server's place in the configuration.
    pub(super) server: usize,
    pub(super) local: SocketAddr,
    pub(super) to: SocketAddr,
    id: TransactionId,
    sent: u32,
    next: Deadline,
}

/// A header, and FINGERPRINT.
const REQUEST_LEN: usize = 20 + 8;
const TIMING: Timing = Timing::DATAGRAMS;

impl Binding {
    pub(super) fn new(
        tick: Tick,
        server: usize,
        local: SocketAddr,
        to: SocketAddr,
        entropy: &mut impl Entropy,
    ) -> Self {
        let mut id = [0; 12];
        entropy.fill_secret(&mut id);
        let next = tick.after(TIMING.first_wait);
        Self { server, local, to, id: TransactionId::with_cookie(id), sent: 1, next }
    }

    pub(super) fn request(&self) -> Box<[u8]> {
        let mut buffer = [0; REQUEST_LEN];
        let mut writer = MessageWriter::request(&mut buffer, Method::Binding, self.id);
        let len = writer.fingerprint().finish().expect("the buffer has its length");
        buffer[..len].into()
    }

    pub(super) const fn next(&self) -> Deadline {
        self.next
    }

    /// Whether it is to be sent again; `None` if it is given up.
    pub(super) fn repeat(&mut self, tick: Tick) -> Option<bool> {
        if !self.next.is_due(tick) {
            return Some(false);
        }
        if self.sent >= TIMING.transmissions {
            return None;
        }
        self.sent += 1;
        let wait = if self.sent == TIMING.transmissions {
            TIMING.last_wait
        } else {
            TIMING.first_wait.saturating_mul(1 << (self.sent - 1))
        };
        self.next = tick.after(wait);
        Some(true)
    }

    /// What `bytes` say of it, if they are its answer.
    pub(super) fn answer(&self, bytes: &[u8]) -> Option<Result<SocketAddr, Failure>> {
        let answer = decode_response(bytes).ok()?;
        if answer.transaction != self.id || answer.method != Method::Binding {
            return None;
        }
        Some(match answer.mapped_address {
            Some(mapped) if answer.success && answer.unknown.is_empty() => Ok(mapped),
            _ if answer.success => Err(Failure::Incomplete),
            _ => Err(Failure::Refused {
                code: answer.error_code.unwrap_or(0),
                alternate: answer.alternate_server,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::source::Source;

    struct Zero;

    impl Entropy for Zero {
        fn fill_secret(&mut self, out: &mut [u8]) {
            out.fill(0);
        }
    }

    #[test]
    fn it_is_repeated_at_the_standards_moments() {
        let start = Tick::from_millis(0);
        let to: SocketAddr = "192.0.2.1:3478".parse().unwrap();
        let mut binding = Binding::new(start, 0, to, to, &mut Source::draw(&mut Zero));
        let mut moments = vec![0];
        loop {
            let at = binding.next().as_millis();
            assert_eq!(binding.repeat(Tick::from_millis(at - 1)), Some(false));
            match binding.repeat(Tick::from_millis(at)) {
                Some(again) => assert!(again),
                None => break assert_eq!(at, 39_500),
            }
            moments.push(at);
        }
        assert_eq!(moments, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    }
}
