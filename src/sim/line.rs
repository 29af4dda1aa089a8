//! A client's end of the connection that it has, or makes when it has something to say.

use std::net::SocketAddr;

use crate::proto::types::Transport;

use super::shared::Shared;
use super::tcp::Farewell;
use super::tcp::Number;

#[derive(Debug)]
pub(super) struct Line {
    transport: Transport,
    server: SocketAddr,
    pub(super) number: Option<Number>,
}

impl Line {
    pub(super) const fn new(transport: Transport, server: SocketAddr) -> Self {
        Self { transport, server, number: None }
    }

    /// Sends `message`, by a connection from another port of `inner` if there is none.
    pub(super) fn send(&mut self, sh: &mut Shared, inner: &mut SocketAddr, message: &[u8]) {
        let number = *self.number.get_or_insert_with(|| {
            inner.set_port(inner.port().checked_add(1).unwrap_or(5_000));
            sh.tcp.dial(*inner, self.server, self.transport)
        });
        // Class and method of a request: whoever waits for its answer sends it only once.
        let is_request = message.first().is_some_and(|first| first & 0xC1 == 0)
            && message.get(1).is_some_and(|second| second & 0x10 == 0);
        sh.tcp.client_send(number, message, !is_request);
    }

    /// Leaves the connection, in one of the ways there are.
    pub(super) fn hang_up(&mut self, sh: &mut Shared) {
        if let Some(number) = self.number.take() {
            let how = sh.dice.pick(&[Farewell::Fin, Farewell::Reset, Farewell::None]);
            sh.coverage.fact(match how {
                Farewell::Fin => "connection closed by its client",
                Farewell::Reset => "connection reset by its client",
                Farewell::None => "client gone without a word",
            });
            sh.tcp.client_close(number, how);
        }
    }
}
