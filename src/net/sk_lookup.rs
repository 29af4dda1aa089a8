//! Steering: datagrams for relayed addresses go to a socket of the worker that has the allocation, whoever is bound there.
//!
//! The kernel asks a program of the kind sk_lookup which socket a datagram is for, after it has looked for a connected one
//! and before it looks for any other. Ours answers only for UDP, only for addresses that the operator named as relayed
//! ones, and only for ports that are open at that moment; for all else it has no opinion, and the kernel goes on as if it
//! were not there.
//!
//! ```text
//!   protocol is UDP ─ address k is local_ip ─ port within the range ─ ports[k][port] = n > 0 ─ sockets[family][n - 1]
//!         │no               │no                     │no                     │0                     │none
//!         └─────────────────┴───────────────────────┴───────────────────────┴──────────────────────┴─▶ no opinion
//! ```

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::setrlimit;

use super::bpf::Instruction;
use super::bpf::Link;
use super::bpf::Map;
use super::bpf::Program;
use super::shared::SharedSocket;

// `struct bpf_sk_lookup`.
const FAMILY: i16 = 8;
const PROTOCOL: i16 = 12;
const LOCAL_V4: i16 = 40;
const LOCAL_V6: i16 = 44;
const LOCAL_PORT: i16 = 60;

// Helpers.
const MAP_LOOKUP: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

// Operations.
const LOAD_WORD: u8 = 0x61;
const STORE_WORD: u8 = 0x63;
const LOAD_MAP: u8 = 0x18;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const ADD: u8 = 0x07;
/// Arithmetic and comparisons of 32 bits.
const ADD_32: u8 = 0x04;
const ADD_32_REGISTER: u8 = 0x0c;
const SUBTRACT_32: u8 = 0x14;
const IF_NOT_EQUAL_32: u8 = 0x56;
const IF_EQUAL_32: u8 = 0x16;
const IF_AT_LEAST_32: u8 = 0x36;
const IF_EQUAL: u8 = 0x15;
const JUMP: u8 = 0x05;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// The verdict: go on, with the socket that was assigned, if one was.
const PASS: i32 = 1;

/// Where a jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    /// To the end: no opinion.
    Pass,
    /// To where the port is looked at.
    Port,
    /// To where the address with this place is compared.
    Address(usize),
}

#[derive(Default)]
struct Assembler {
    code: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Assembler {
    fn put(&mut self, operation: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        self.code.push(Instruction { operation, registers: to | from << 4, offset, immediate });
    }

    fn jump(&mut self, operation: u8, register: u8, number: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.put(operation, register, 0, 0, number);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    /// Loads the entry of `map` at the number in `key`, which goes to the stack at `at`; the answer is in r0.
    fn look_up(&mut self, map: &Map, key: u8, at: i16) {
        self.put(STORE_WORD, 10, key, at, 0);
        self.put(MOVE, 2, 10, 0, 0);
        self.put(ADD, 2, 0, 0, at.into());
        // An instruction of two places; 1 says that the number is a map's descriptor.
        self.put(LOAD_MAP, 1, 1, 0, map.immediate());
        self.put(0, 0, 0, 0, 0);
        self.put(CALL, 0, 0, 0, MAP_LOOKUP);
        self.jump(IF_EQUAL, 0, 0, Label::Pass);
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (place, label) in &self.jumps {
            let target = self.labels.iter().find(|(known, _)| known == label).map(|(_, target)| *target);
            let target = target.expect("every label that is jumped to is set");
            let distance = i16::try_from(target - place - 1).expect("a program of some hundred instructions");
            self.code[*place].offset = distance;
        }
        self.code
    }
}

/// The program; `ports` holds the port range of each of `addresses` in turn.
fn program(
    addresses: &[IpAddr],
    range: &RangeInclusive<u16>,
    ports: &Map,
    sockets: &Map,
    workers: u16,
) -> Vec<Instruction> {
    let count = range_len(range);
    let mut asm = Assembler::default();
    // r6 is the context, r7 where the range of the address begins, r8 where the sockets of its family do.
    asm.put(MOVE, 6, 1, 0, 0);
    asm.put(LOAD_WORD, 1, 6, PROTOCOL, 0);
    asm.jump(IF_NOT_EQUAL_32, 1, libc::IPPROTO_UDP, Label::Pass);
    asm.put(LOAD_WORD, 2, 6, FAMILY, 0);
    for (place, address) in addresses.iter().enumerate() {
        let next = if place + 1 < addresses.len() { Label::Address(place + 1) } else { Label::Pass };
        asm.label(Label::Address(place));
        let (family, first, octets) = match address {
            IpAddr::V4(ip) => (libc::AF_INET, LOCAL_V4, ip.octets().to_vec()),
            IpAddr::V6(ip) => (libc::AF_INET6, LOCAL_V6, ip.octets().to_vec()),
        };
        asm.jump(IF_NOT_EQUAL_32, 2, family, next);
        for (offset, word) in (first..).step_by(4).zip(octets.chunks_exact(4)) {
            let word = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            asm.put(LOAD_WORD, 1, 6, offset, 0);
            asm.jump(IF_NOT_EQUAL_32, 1, word, next);
        }
        let base = (place as u32 * count).cast_signed();
        asm.put(MOVE_NUMBER, 7, 0, 0, base);
        asm.put(MOVE_NUMBER, 8, 0, 0, if address.is_ipv4() { 0 } else { workers.into() });
        asm.jump(JUMP, 0, 0, Label::Port);
    }
    asm.label(Label::Port);
    asm.put(LOAD_WORD, 1, 6, LOCAL_PORT, 0);
    asm.put(SUBTRACT_32, 1, 0, 0, (*range.start()).into());
    asm.jump(IF_AT_LEAST_32, 1, count.cast_signed(), Label::Pass);
    asm.put(ADD_32_REGISTER, 7, 1, 0, 0);
    asm.look_up(ports, 7, -4);
    asm.put(LOAD_WORD, 1, 0, 0, 0);
    asm.jump(IF_EQUAL_32, 1, 0, Label::Pass);
    asm.put(ADD_32, 1, 0, 0, -1);
    asm.put(ADD_32_REGISTER, 8, 1, 0, 0);
    asm.look_up(sockets, 8, -8);
    asm.put(MOVE, 7, 0, 0, 0);
    asm.put(MOVE, 1, 6, 0, 0);
    asm.put(MOVE, 2, 7, 0, 0);
    asm.put(MOVE_NUMBER, 3, 0, 0, 0);
    // Where another program has assigned a socket already, it stays that one.
    asm.put(CALL, 0, 0, 0, SK_ASSIGN);
    asm.put(MOVE, 1, 7, 0, 0);
    asm.put(CALL, 0, 0, 0, SK_RELEASE);
    asm.label(Label::Pass);
    asm.put(MOVE_NUMBER, 0, 0, 0, PASS);
    asm.put(EXIT, 0, 0, 0, 0);
    asm.finish()
}

fn range_len(range: &RangeInclusive<u16>) -> u32 {
    u32::from(*range.end()).saturating_sub(u32::from(*range.start())) + 1
}

/// The program at work, and its maps. Shared by all workers; dropping the last share detaches it.
#[derive(Debug)]
pub struct Steering {
    addresses: Vec<IpAddr>,
    range: RangeInclusive<u16>,
    ports: Map,
    _sockets: Map,
    _program: Program,
    _link: Link,
}

impl Steering {
    /// Attaches the program: datagrams for `addresses`, within `range`, can be steered to `workers`, each of which
    /// receives them on the sockets of its place in `workers`. No port is steered yet.
    ///
    /// # Errors
    /// What the kernel says, with the step that it refused.
    pub fn attach(
        addresses: &[IpAddr],
        range: RangeInclusive<u16>,
        workers: &[Receiving],
    ) -> io::Result<Self> {
        // Kernels before 5.11 count maps as locked memory.
        let unlimited = Rlimit { current: None, maximum: None };
        let _ = setrlimit(Resource::Memlock, unlimited);
        let said = |step| move |error: io::Error| io::Error::new(error.kind(), format!("{step}: {error}"));
        let count = u16::try_from(workers.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let entries = range_len(&range) * u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let ports = Map::array("swb_ports", entries).map_err(said("the map of ports"))?;
        let sockets =
            Map::sockets("swb_sockets", u32::from(count) * 2).map_err(said("the map of sockets"))?;
        for (place, worker) in (0_u32..).zip(workers) {
            if let Some(v4) = &worker.v4 {
                sockets.put(place, v4.as_fd()).map_err(said("a socket's entry"))?;
            }
            if let Some(v6) = &worker.v6 {
                sockets.put(u32::from(count) + place, v6.as_fd()).map_err(said("a socket's entry"))?;
            }
        }
        let code = program(addresses, &range, &ports, &sockets, count);
        let program = Program::load("swb_relay", &code).map_err(said("the program"))?;
        let link = program.attach().map_err(said("its link to the network namespace"))?;
        Ok(Self {
            addresses: addresses.to_vec(),
            range,
            ports,
            _sockets: sockets,
            _program: program,
            _link: link,
        })
    }

    /// The place of `ip` among the relayed addresses.
    #[must_use]
    pub fn address(&self, ip: IpAddr) -> Option<usize> {
        self.addresses.iter().position(|known| *known == ip)
    }

    /// Steers what comes for `at` to the worker with the place `worker`.
    ///
    /// # Errors
    /// `NotFound` for an address and port that are not among those named at the start; else what the kernel says.
    pub fn open(&self, at: SocketAddr, worker: u16) -> io::Result<()> {
        self.ports.set(self.key(at)?, u32::from(worker) + 1)
    }

    /// Steers what comes for `at` no longer.
    pub fn close(&self, at: SocketAddr) {
        if let Ok(key) = self.key(at) {
            // The key is within the map's bound, and a number can always be written.
            let _ = self.ports.set(key, 0);
        }
    }

    /// Ports that are steered to some worker at this moment. Looks at every one: for tests, and for those who doubt.
    #[must_use]
    pub fn open_ports(&self) -> usize {
        (0..self.ports.entries())
            .filter(|key| self.ports.number(*key).is_ok_and(|worker| worker != 0))
            .count()
    }

    fn key(&self, at: SocketAddr) -> io::Result<u32> {
        let place = self.address(at.ip()).filter(|_| self.range.contains(&at.port()));
        let place = place.ok_or(io::ErrorKind::NotFound)?;
        Ok(place as u32 * range_len(&self.range) + u32::from(at.port() - self.range.start()))
    }
}

/// The sockets on which one worker receives what is steered to it; of a family that has no relayed address there is none.
#[derive(Debug)]
pub struct Receiving {
    /// For IPv4.
    pub v4: Option<SharedSocket>,
    /// For IPv6.
    pub v6: Option<SharedSocket>,
}

impl Receiving {
    /// Opens those that `addresses` need.
    ///
    /// # Errors
    /// What the kernel says, as where the loopback interface is down.
    pub fn open(addresses: &[IpAddr]) -> io::Result<Self> {
        let open = |loopback: IpAddr| {
            let needed = addresses.iter().any(|ip| ip.is_ipv4() == loopback.is_ipv4());
            needed.then(|| SharedSocket::open(loopback)).transpose()
        };
        Ok(Self { v4: open(Ipv4Addr::LOCALHOST.into())?, v6: open(Ipv6Addr::LOCALHOST.into())? })
    }

    /// The socket of a family.
    #[must_use]
    pub fn of(&self, v6: bool) -> Option<BorrowedFd<'_>> {
        let socket = if v6 { &self.v6 } else { &self.v4 };
        socket.as_ref().map(AsFd::as_fd)
    }
}
