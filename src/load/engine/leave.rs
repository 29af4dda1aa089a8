//! The end of a thread's calls: with a word to the server for each, or without one.

use crate::load::plan::Carrier;
use crate::net::Token;
use crate::net::TrafficSocket;

use super::bring::Hold;
use super::call::Call;
use super::client::Client;
use super::client::Wire;
use super::thread::Thread;

/// How long a thread takes to give everything back, in nanoseconds. What the server has not confirmed by then ends by
/// its own time.
const LEAVE_NS: u64 = 5_000_000_000;
/// A socket for one word.
const GHOST_BUFFER: usize = 1 << 16;

impl Thread {
    /// All calls are gone, as when the network is lost: the server hears nothing of it.
    pub(super) fn vanish(&mut self) {
        for id in self.clients.ids() {
            let Some(client) = self.clients.remove(id) else { continue };
            // A connection's end ends what it had; datagrams leave it behind.
            let is_left_behind = matches!(self.common.server.carrier, Carrier::Udp | Carrier::LegacyUdp);
            if is_left_behind && client.relayed.is_some() {
                self.ghosts.push(client.vanish());
            }
        }
        for id in self.calls.ids() {
            self.calls.remove(id);
        }
        self.by_number.clear();
        self.leaving.clear();
        let (owed, at_once) = (self.hold.owed.take(), self.hold.at_once);
        self.hold = Hold { owed, at_once, ..Hold::default() };
    }

    /// Gives everything back, in bounded time.
    pub(super) fn leave(mut self) {
        self.churn = None;
        self.hold.to_begin = 0;
        self.leaving.clear();
        self.leaving.extend(self.calls.ids());
        for ghost in std::mem::take(&mut self.ghosts) {
            self.revive(ghost);
        }
        let until_ns = self.common.clock.now_ns() + LEAVE_NS;
        while self.calls.len() > 0 && self.common.clock.now_ns() < until_ns {
            self.turn();
        }
    }

    /// A client that the server may still know comes back to where it was, to give back what it had.
    fn revive(&mut self, ghost: Client) {
        let Wire::Gone(Some(local)) = ghost.wire else { return };
        // Somebody else may have its port by now.
        let server = self.common.server.address;
        let Ok(socket) = TrafficSocket::open(local, Some(server), GHOST_BUFFER) else { return };
        let call = self.calls.insert(Call::new(u32::MAX));
        let id = self.clients.insert(ghost.revive(call, socket));
        if let Some(client) = self.clients.get(id)
            && let Wire::Datagrams(socket) = &client.wire
            && self.poll.add(socket, Token::Stream(id)).is_err()
        {
            return;
        }
        if let Some(call) = self.calls.get_mut(call) {
            call.near = Some(id);
        }
        self.leaving.push_back(call);
    }
}
