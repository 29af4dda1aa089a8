//! Connections in the laboratory: segments on their way, and what both ends do with what they carry.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::ice::Input;
use crate::nat::Packet;
use crate::nat::Protocol;
use crate::nat::TcpFlags;
use crate::nat::Verdict;
use crate::proto::client::ConnectProgress;
use crate::testbed::Relay;
use crate::testbed::proxy;
use crate::testbed::proxy::Said;
use crate::testbed::proxy::Session;
use crate::testbed::record::Point;
use crate::testbed::report::What;

use super::caller::Line;
use super::caller::WAYS;
use super::caller::server;
use super::places::PROXY;
use super::tcp::Attempt;
use super::tcp::Caller;
use super::tcp::Connection;
use super::tcp::Number;
use super::tcp::Segment;
use super::tcp::To;
use super::tunnel::Tunnel;
use super::world::CORE;
use super::world::Next;
use super::world::World;
use super::world::client;
use super::world::outside;

/// The headers of IPv4 and TCP.
const TCP_HEADERS: usize = 20 + 20;
/// The port that the proxy's first connection comes from.
const PROXY_PORT: u16 = 40_000;

/// A connection of a client at the proxy.
#[derive(Debug)]
pub(super) enum Proxied {
    /// It has yet to ask.
    Asking(Session),
    /// The connection to the server is on its way; what is for it waits.
    Dialing { to: Number, waiting: Vec<u8> },
    /// Bytes go through.
    Piping { to: Number },
}

impl World {
    // The client's end.

    pub(super) fn open_line(&mut self, side: usize, number: usize) {
        let Some(way) = WAYS.get(number).copied() else { return };
        let to = if way == Relay::Proxy { PROXY } else { server(way).0 };
        let inner = self.callers[side].next_local();
        let connection = self.tcp.dial(Caller::Side { side, server: number }, inner, to);
        let line = Line::new(connection, way, self.callers[side].login.as_ref());
        self.callers[side].lines.insert(number, line);
        self.put(connection, To::Server, TcpFlags::SYN, Box::default());
    }

    pub(super) fn write_line(&mut self, side: usize, server: usize, bytes: &[u8]) {
        let Some(line) = self.callers[side].lines.get(&server) else { return };
        let bytes = if line.tls.is_some() { Tunnel::seal(bytes) } else { bytes.to_vec() };
        let number = line.connection;
        self.put(number, To::Server, TcpFlags::ACK, bytes.into());
    }

    pub(super) fn shut_line(&mut self, side: usize, server: usize) {
        if let Some(line) = self.callers[side].lines.remove(&server) {
            self.end(line.connection, To::Server);
        }
    }

    /// A client's connection is there: what lies on it begins.
    fn line_is_there(&mut self, side: usize, server: usize) {
        let Some(line) = self.callers[side].lines.get(&server) else { return };
        let number = line.connection;
        if let Some(proxy) = &line.proxy {
            let request = proxy.request().into();
            self.put(number, To::Server, TcpFlags::ACK, request);
        } else if line.tls.is_some() {
            self.put(number, To::Server, TcpFlags::ACK, Tunnel::hello().into());
        } else {
            self.line_opened(side, server);
        }
    }

    fn line_opened(&mut self, side: usize, server: usize) {
        self.write_down(side, What::Opened, format!("the server over {}", WAYS[server].word()));
        self.input(side, Input::Opened { server });
    }

    fn line_heard(&mut self, side: usize, server: usize, bytes: &[u8]) {
        let Some(line) = self.callers[side].lines.get_mut(&server) else { return };
        let number = line.connection;
        let mut bytes = bytes.to_vec();
        if let Some(proxy) = &mut line.proxy {
            match proxy.handle_bytes(&bytes) {
                ConnectProgress::Waiting => return,
                ConnectProgress::Refused { .. } | ConnectProgress::Broken => {
                    self.callers[side].lines.remove(&server);
                    self.end(number, To::Server);
                    return self.input(side, Input::Disconnected { server });
                }
                ConnectProgress::Open { rest } => bytes = rest.into(),
            }
            line.proxy = None;
            if line.tls.is_some() {
                self.put(number, To::Server, TcpFlags::ACK, Tunnel::hello().into());
            }
        }
        let Some(line) = self.callers[side].lines.get_mut(&server) else { return };
        if let Some(tls) = &mut line.tls {
            let came = tls.handle_bytes(&bytes);
            if came.is_broken {
                self.callers[side].lines.remove(&server);
                self.end(number, To::Server);
                return self.input(side, Input::Disconnected { server });
            }
            if !came.reply.is_empty() {
                self.put(number, To::Server, TcpFlags::ACK, came.reply.into());
            }
            if came.opened {
                self.line_opened(side, server);
            }
            bytes = came.plain;
        }
        if !bytes.is_empty() {
            self.input(side, Input::Bytes { server, bytes: &bytes });
            self.learn_relayed(side, server);
        }
    }

    // The server's end.

    pub(super) fn server_writes(&mut self, number: Number, bytes: &[u8]) {
        self.put(number, To::Caller, TcpFlags::ACK, bytes.into());
    }

    /// The proxy heard something of a client.
    fn proxy_heard(&mut self, number: Number, bytes: &[u8]) {
        let said = match self.proxied.get_mut(&number) {
            Some(Proxied::Asking(session)) => session.handle_bytes(&self.rules, bytes),
            Some(Proxied::Dialing { waiting, .. }) => return waiting.extend_from_slice(bytes),
            Some(Proxied::Piping { to }) => {
                let to = *to;
                return self.put(to, To::Server, TcpFlags::ACK, bytes.into());
            }
            None => return,
        };
        match said {
            Said::Waiting => {}
            Said::Refuse(refusal) => {
                self.put(number, To::Caller, TcpFlags::ACK, refusal.answer().into());
                self.end(number, To::Caller);
            }
            Said::Dial { host, port, rest } => {
                // There are no names in the laboratory.
                let Ok(ip) = host.parse::<IpAddr>() else {
                    self.put(number, To::Caller, TcpFlags::ACK, proxy::UNREACHABLE.into());
                    return self.end(number, To::Caller);
                };
                let from = SocketAddr::new(PROXY.ip(), PROXY_PORT + number as u16);
                let to = self.tcp.dial(Caller::Proxy { of: number }, from, SocketAddr::new(ip, port));
                self.proxied.insert(number, Proxied::Dialing { to, waiting: rest.into() });
                self.put(to, To::Server, TcpFlags::SYN, Box::default());
            }
        }
    }

    /// The proxy's connection to the server is there, or never will be.
    fn proxy_is_through(&mut self, of: Number) {
        let Some(Proxied::Dialing { to, waiting }) = self.proxied.remove(&of) else { return };
        self.proxied.insert(of, Proxied::Piping { to });
        self.put(of, To::Caller, TcpFlags::ACK, proxy::ESTABLISHED.into());
        if !waiting.is_empty() {
            self.put(to, To::Server, TcpFlags::ACK, waiting.into());
        }
    }

    // Both.

    /// Puts something on a connection.
    fn put(&mut self, number: Number, to: To, flags: TcpFlags, bytes: Box<[u8]>) {
        self.mix(&bytes);
        if let Some(at) = self.tcp.send(number, to, flags, bytes) {
            self.send_segment(number, to, at);
        }
    }

    /// The end away from `to` says nothing any more.
    pub(super) fn end(&mut self, number: Number, to: To) {
        self.put(number, to, TcpFlags::FIN, Box::default());
    }

    /// A segment is due: it leaves, unless it has arrived by now.
    pub(super) fn send_segment(&mut self, number: Number, to: To, at: u64) {
        let (segment, wait) = match self.tcp.attempt(number, to, at) {
            None => return,
            Some(Attempt::GivenUp) => return self.broken(number),
            Some(Attempt::Send { segment, wait }) => (segment, wait),
        };
        self.later(wait, Next::Segment { number, to, at });
        let Some(connection) = self.tcp.get(number) else { return };
        let (from, server) = (connection.inner, connection.server);
        let arrives = match (connection.caller, to) {
            (Caller::Proxy { .. }, _) => Some(CORE),
            (Caller::Side { side, .. }, To::Server) => self.send_up(side, number, from, server, &segment),
            (Caller::Side { side, .. }, To::Caller) => self.send_down(side, number, server, &segment),
        };
        if let Some(after) = arrives {
            self.later(after, Next::Landed { number, to, at });
        }
    }

    /// How long a segment takes from a client to the internet's other side, if it gets there.
    fn send_up(
        &mut self,
        side: usize,
        number: Number,
        from: SocketAddr,
        server: SocketAddr,
        segment: &Segment,
    ) -> Option<u64> {
        let packet = packet(segment, from, server);
        match self.leaves(side, &packet) {
            Verdict::Pass { source, destination } => {
                self.see(client(side), &packet, segment.sequence, &segment.bytes, "");
                if let Some(connection) = self.tcp.get_mut(number) {
                    connection.outer = Some(source);
                }
                let outer = Packet { source, destination, ..packet };
                let arrival = self.sites[side].up.carry(self.micros, TCP_HEADERS + segment.bytes.len())[0];
                let note = if arrival.is_none() { "lost on the link" } else { "" };
                if arrival.is_none() {
                    self.log.lost(side);
                }
                self.see(outside(side), &outer, segment.sequence, &segment.bytes, note);
                arrival.map(|arrival| arrival - self.micros + CORE)
            }
            Verdict::Back { .. } => None,
            Verdict::Drop(why) | Verdict::Reject(why) => {
                self.see(client(side), &packet, segment.sequence, &segment.bytes, why.word());
                None
            }
        }
    }

    /// The same from the internet to a client's place.
    fn send_down(
        &mut self,
        side: usize,
        number: Number,
        server: SocketAddr,
        segment: &Segment,
    ) -> Option<u64> {
        let outer = self.tcp.get(number)?.outer?;
        let packet = packet(segment, server, outer);
        self.see(point_of(server), &packet, segment.sequence, &segment.bytes, "");
        let arrival = self.sites[side].down.carry(self.micros, TCP_HEADERS + segment.bytes.len())[0];
        if arrival.is_none() {
            self.log.lost(side);
            self.see(outside(side), &packet, segment.sequence, &segment.bytes, "lost on the link");
        }
        arrival.map(|arrival| arrival - self.micros + CORE)
    }

    /// A segment has come out.
    pub(super) fn landed(&mut self, number: Number, to: To, at: u64) {
        let Some(connection) = self.tcp.get(number) else { return };
        let (caller, outer, server) = (connection.caller, connection.outer, connection.server);
        if let (Caller::Side { side, .. }, To::Caller, Some(outer)) = (caller, to, outer) {
            let Some(segment) = self.tcp.peek(number, to, at) else { return };
            let packet = packet(&segment, server, outer);
            match self.enters(side, &packet) {
                Verdict::Pass { source, destination } | Verdict::Back { source, destination } => {
                    self.see(outside(side), &packet, segment.sequence, &segment.bytes, "");
                    let inner = Packet { source, destination, ..packet };
                    self.see(client(side), &inner, segment.sequence, &segment.bytes, "");
                }
                Verdict::Drop(why) | Verdict::Reject(why) => {
                    return self.see(outside(side), &packet, segment.sequence, &segment.bytes, why.word());
                }
            }
        }
        for segment in self.tcp.arrive(number, to, at) {
            match to {
                To::Server => self.server_reads(number, &segment),
                To::Caller => self.caller_reads(number, &segment),
            }
        }
    }

    fn server_reads(&mut self, number: Number, segment: &Segment) {
        let Some(connection) = self.tcp.get(number) else { return };
        let (at, from) = (connection.server, connection.outer.unwrap_or(connection.inner));
        self.see(point_of(at), &packet(segment, from, at), segment.sequence, &segment.bytes, "");
        let (now, flags, is_proxy) = (self.now(), segment.flags, at == PROXY);
        if flags.syn {
            let is_taken = if is_proxy {
                self.proxied.insert(number, Proxied::Asking(Session::default()));
                true
            } else {
                self.machine.accept(number, from, at)
            };
            let answer = if is_taken { TcpFlags::SYN_ACK } else { TcpFlags::RST };
            return self.put(number, To::Caller, answer, Box::default());
        }
        if flags.fin || flags.rst {
            if is_proxy {
                self.proxy_lost(number);
            } else {
                self.machine.gone(now, number);
                self.leave_machine();
            }
            return self.end(number, To::Caller);
        }
        if is_proxy {
            if !segment.bytes.is_empty() {
                self.proxy_heard(number, &segment.bytes);
            }
        } else {
            self.machine.hear_stream(now, number, &segment.bytes);
            self.leave_machine();
        }
    }

    /// A client has left the proxy: so does the proxy leave the server.
    fn proxy_lost(&mut self, number: Number) {
        if let Some(Proxied::Dialing { to, .. } | Proxied::Piping { to }) = self.proxied.remove(&number) {
            self.end(to, To::Server);
        }
    }

    fn caller_reads(&mut self, number: Number, segment: &Segment) {
        let Some(Connection { caller, .. }) = self.tcp.get(number) else { return };
        let (caller, flags) = (*caller, segment.flags);
        if flags.syn {
            self.put(number, To::Server, TcpFlags::ACK, Box::default());
            return match caller {
                Caller::Side { side, server } => self.line_is_there(side, server),
                Caller::Proxy { of } => self.proxy_is_through(of),
            };
        }
        if flags.fin || flags.rst {
            self.end(number, To::Server);
            return self.caller_lost(caller);
        }
        match caller {
            Caller::Side { side, server } => self.line_heard(side, server, &segment.bytes),
            Caller::Proxy { of } => self.put(of, To::Caller, TcpFlags::ACK, segment.bytes.clone()),
        }
    }

    fn caller_lost(&mut self, caller: Caller) {
        match caller {
            Caller::Side { side, server } => {
                if self.callers[side].lines.remove(&server).is_some() {
                    self.input(side, Input::Disconnected { server });
                }
            }
            Caller::Proxy { of } => {
                if let Some(Proxied::Dialing { .. }) = self.proxied.remove(&of) {
                    self.put(of, To::Caller, TcpFlags::ACK, proxy::UNREACHABLE.into());
                }
                self.end(of, To::Caller);
            }
        }
    }

    /// A connection through which nothing comes any more: both ends find it out.
    fn broken(&mut self, number: Number) {
        let Some(connection) = self.tcp.forget(number) else { return };
        let now = self.now();
        if connection.server == PROXY {
            self.proxy_lost(number);
        } else {
            self.machine.gone(now, number);
            self.leave_machine();
        }
        self.caller_lost(connection.caller);
    }
}

fn packet(segment: &Segment, source: SocketAddr, destination: SocketAddr) -> Packet {
    Packet { protocol: Protocol::Tcp(segment.flags), source, destination, fragment: None }
}

/// Where segments of a connection to `server` are captured.
fn point_of(server: SocketAddr) -> Point {
    if server == PROXY { Point::Proxy } else { Point::Server }
}
