//! A capture of a run: what both routers saw on either side of them, and so what came to the server and left it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::nat::Protocol;
use crate::proto::types::limits::LAB_CAPTURE_MAX;
use crate::testbed::record;
use crate::testbed::record::Point;

use super::addresses::PORT;
use super::addresses::PORT_ALTERNATE;
use super::addresses::PORT_TLS;
use super::addresses::PROXY;
use super::addresses::SERVER;
use super::addresses::SERVER_ALTERNATE;
use super::addresses::Side;
use super::gate::Fate;
use super::gate::Way;
use super::packet::Shape;
use super::router::Witness;

/// The file of a capture.
pub(super) const FILE: &str = "run.pcapng";

/// A capture that is being made, of `most` bytes at most.
#[derive(Debug)]
pub(super) struct Recorder {
    file: Vec<u8>,
    most: usize,
    packets: u64,
    left_out: u64,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self::of(LAB_CAPTURE_MAX)
    }

    fn of(most: usize) -> Self {
        Self { file: record::begun(), most, packets: 0, left_out: 0 }
    }

    /// Writes the file and its folder. Answers what is in it.
    pub(super) fn write(&self, path: &Path) -> io::Result<Value> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, &self.file)?;
        Ok(json!({
            "file": FILE,
            "packets": self.packets,
            "bytes": self.file.len(),
            "left_out": self.left_out,
            "limit_bytes": self.most,
        }))
    }

    fn see(&mut self, at: Duration, point: Point, packet: &[u8], note: &str) {
        // Once it is full it stays so: a capture with a gap in it would mislead.
        if self.left_out > 0 || self.file.len() + packet.len() + ROOM > self.most {
            self.left_out += 1;
            return;
        }
        self.packets += 1;
        record::whole(&mut self.file, at, point, packet, &said(packet, note));
    }
}

/// More than there is around a packet, its comment included.
const ROOM: usize = 512;

impl Witness for Recorder {
    fn came(&mut self, at: Duration, side: Side, way: Way, packet: &[u8], fate: Option<Fate>) {
        let note = match fate {
            None => "goes no further: lost on the line".to_owned(),
            Some(Fate::Passed) => String::new(),
            Some(Fate::TurnedBack) => "turned back at the NAT (hairpin)".to_owned(),
            Some(other) => format!("goes no further: {}", other.word()),
        };
        // What is lost on the way in has its addresses of inside already.
        let is_outside = way == Way::In && fate.is_some();
        let point = if is_outside { outside(side) } else { client(side) };
        if let Some(far) = far(packet, Way::In).filter(|_| is_outside) {
            self.see(at, far, packet, "");
        }
        self.see(at, point, packet, &note);
    }

    fn went(&mut self, at: Duration, side: Side, way: Way, packet: &[u8]) {
        if way == Way::In {
            return self.see(at, client(side), packet, "");
        }
        self.see(at, outside(side), packet, "");
        if let Some(far) = far(packet, Way::Out) {
            self.see(at, far, packet, "");
        }
    }
}

const fn client(side: Side) -> Point {
    match side {
        Side::Left => Point::LeftClient,
        Side::Right => Point::RightClient,
    }
}

const fn outside(side: Side) -> Point {
    match side {
        Side::Left => Point::LeftOutside,
        Side::Right => Point::RightOutside,
    }
}

/// Which point of the server's side a packet of the internet goes to or comes from, if any.
fn far(packet: &[u8], way: Way) -> Option<Point> {
    let shape = Shape::read(packet)?;
    let seen = shape.packet(packet);
    let (ip, end) = match way {
        Way::Out => (shape.destination, seen.map(|seen| seen.destination)),
        Way::In => (shape.source, seen.map(|seen| seen.source)),
    };
    let port = end.map(|end: SocketAddr| end.port());
    let is_server = [SERVER, SERVER_ALTERNATE].contains(&ip);
    let is_tcp = seen.is_some_and(|seen| seen.protocol != Protocol::Udp);
    match port {
        _ if Ipv4Addr::from_bits(ip.to_bits()) == PROXY.ip() => Some(Point::Proxy),
        _ if !is_server => None,
        None | Some(0 | PORT | PORT_ALTERNATE | PORT_TLS) => Some(Point::Server),
        Some(_) if is_tcp => Some(Point::Server),
        Some(_) => Some(Point::Relay),
    }
}

/// What a packet is and what is to be noted about it, in words.
fn said(packet: &[u8], note: &str) -> String {
    let shape = Shape::read(packet);
    let seen = shape.as_ref().and_then(|shape| shape.packet(packet).map(|seen| (shape, seen)));
    let Some((shape, seen)) = seen else { return note.to_owned() };
    if seen.fragment.is_some_and(|fragment| !fragment.first) {
        let both = if note.is_empty() { "" } else { "; " };
        return format!("a further part of a datagram{both}{note}");
    }
    let payload = shape.payload(packet);
    let is_tls = [seen.source.port(), seen.destination.port()].contains(&PORT_TLS);
    let what = match record::said(seen.protocol, payload, "") {
        words if !words.is_empty() => words,
        _ if payload.is_empty() => match seen.protocol {
            Protocol::Tcp(flags) if flags.syn => "accepts the connection".to_owned(),
            Protocol::Tcp(_) => "acknowledges".to_owned(),
            Protocol::Udp => "an empty datagram".to_owned(),
        },
        _ if seen.protocol == Protocol::Udp => "data of the call".to_owned(),
        _ if is_tls => "more of TLS, opaque".to_owned(),
        _ => "more of the stream".to_owned(),
    };
    [what.as_str(), note].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ")
}

/// For people: that a capture is not whole.
pub(super) fn summary(json: &Value) -> String {
    match json["record"]["left_out"].as_u64() {
        Some(left_out @ 1..) => {
            let limit = LAB_CAPTURE_MAX / (1024 * 1024);
            format!("  the capture reached its limit of {limit} MiB: it lacks the last {left_out} packets\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::TCP;
    use super::super::packet::UDP;
    use super::super::packet::tests::made;
    use super::*;
    use crate::nat::Refused;

    const AT: Duration = Duration::from_millis(5);

    fn has(file: &[u8], words: &str) -> bool {
        file.windows(words.len()).any(|window| window == words.as_bytes())
    }

    #[test]
    fn both_legs_the_nats_and_the_server_see_a_packet_and_say_what_became_of_it() {
        let mut recorder = Recorder::of(1 << 20);
        let asked = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let inside = made(UDP, "10.1.0.2:5000", "192.0.2.1:3478", &asked);
        let outside = made(UDP, "203.0.113.1:6000", "192.0.2.1:3478", &asked);
        recorder.came(AT, Side::Left, Way::Out, &inside, Some(Fate::Passed));
        recorder.went(AT, Side::Left, Way::Out, &outside);
        assert_eq!(recorder.packets, 3, "client, outside of the NAT, server");
        assert!(has(&recorder.file, "Binding request"));
        let stray = made(UDP, "192.0.2.1:50000", "203.0.113.1:7", b"\x80media");
        recorder.came(AT, Side::Left, Way::In, &stray, Some(Fate::Refused(Refused::Filtered)));
        assert_eq!(recorder.packets, 5, "relay, outside of the NAT");
        assert!(has(&recorder.file, "data of the call; goes no further: filtered"));
        recorder.came(AT, Side::Right, Way::In, &stray, None);
        recorder.came(AT, Side::Right, Way::In, b"no packet", Some(Fate::Foreign));
        assert_eq!((recorder.packets, recorder.left_out), (7, 0));
        assert!(has(&recorder.file, "goes no further: lost on the line"));
        let tls = made(TCP, "10.1.0.2:5000", "192.0.2.1:443", &[1, 2, 3]);
        recorder.went(AT, Side::Left, Way::In, &tls);
        assert!(has(&recorder.file, "more of TLS, opaque"));
    }

    #[test]
    fn a_capture_that_is_full_stays_so_and_says_it() {
        let mut recorder = Recorder::of(4_096);
        let packet = made(UDP, "10.1.0.2:5000", "192.0.2.1:3478", &[0x80; 1_000]);
        (0..100).for_each(|_| recorder.went(AT, Side::Left, Way::In, &packet));
        assert!(recorder.file.len() <= 4_096 && recorder.packets > 0);
        assert_eq!(recorder.packets + recorder.left_out, 100);
        let small = made(UDP, "10.1.0.2:5000", "192.0.2.1:3478", b"");
        let before = recorder.file.len();
        recorder.went(AT, Side::Left, Way::In, &small);
        assert_eq!(recorder.file.len(), before, "no gap");
        let told = json!({ "record": { "left_out": recorder.left_out } });
        assert!(summary(&told).contains("reached its limit"));
        assert!(summary(&json!({})).is_empty());
    }
}
