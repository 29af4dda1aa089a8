//! A way through an HTTP proxy (CONNECT), before anything is said to the server.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;

use crate::proto::client::ConnectProgress;
use crate::proto::client::HttpConnect;
use crate::proto::client::HttpProxy;
use crate::proto::client::ProxyFailure;

use super::Failure;

/// Bytes of the answer that are looked at in one go.
const LOOK: usize = 512;
/// How often it is looked at before others have their turn.
const LOOKS: usize = 32;

#[derive(Debug)]
pub(super) struct Tunnel {
    proxy: HttpProxy,
    connect: HttpConnect,
    said: usize,
}

impl Tunnel {
    /// Through `proxy` to `server`.
    pub(super) fn new(proxy: HttpProxy, server: SocketAddr) -> Self {
        let connect = proxy.tunnel(server);
        Self { proxy, connect, said: 0 }
    }

    /// Whether all of the request has left.
    pub(super) fn is_said(&self) -> bool {
        self.said == self.connect.request().len()
    }

    /// Goes on as far as that goes without waiting. Answers whether the way is open. What stands behind the proxy's answer is the
    /// server's, and stays in the socket.
    pub(super) fn advance(&mut self, mut socket: &TcpStream) -> Result<bool, Failure> {
        while !self.is_said() {
            match socket.write(&self.connect.request()[self.said..]) {
                Ok(count) => self.said += count,
                Err(error) if is_for_later(&error) => return Ok(false),
                Err(error) => return Err(broken_off(&error)),
            }
        }
        let mut bytes = [0; LOOK];
        for _ in 0..LOOKS {
            let seen = match socket.peek(&mut bytes) {
                Ok(0) => return Err(Failure::Proxy(ProxyFailure::Cut)),
                Ok(seen) => seen,
                Err(error) if is_for_later(&error) => return Ok(false),
                Err(error) => return Err(broken_off(&error)),
            };
            let progress = self.connect.handle_bytes(&bytes[..seen]);
            if let Some(failure) = self.proxy.failure(&progress) {
                return Err(Failure::Proxy(failure));
            }
            let is_open = matches!(progress, ConnectProgress::Open { .. });
            let of_server = if let ConnectProgress::Open { rest } = progress { rest.len() } else { 0 };
            let of_proxy = seen.saturating_sub(of_server);
            // They are there, so that is no wait.
            socket.read_exact(&mut bytes[..of_proxy]).map_err(|error| Failure::of(&error))?;
            if is_open {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The connection itself says that it is over.
fn broken_off(error: &io::Error) -> Failure {
    match Failure::of(error) {
        Failure::Reset | Failure::Ended => Failure::Proxy(ProxyFailure::Cut),
        other => other,
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
