//! The program and its maps: made for one set-up, loaded, attached, and gone when it is dropped.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aya::Ebpf;
use aya::EbpfError;
use aya::EbpfLoader;
use aya::maps::Array;
use aya::maps::HashMap;
use aya::maps::Map;
use aya::maps::MapData;
use aya::maps::PerCpuArray;
use aya::programs::ProgramError;
use aya::programs::SchedClassifier;
use aya::programs::Xdp;

use crate::proto::media::Bucket;
use crate::proto::types::Rate;
use crate::proto::types::limits::KERNEL_BUCKETS;
use crate::proto::types::limits::KERNEL_CHANNELS_MAX;
use crate::proto::types::limits::KERNEL_HOPS_PER_WORKER;
use crate::proto::types::limits::KERNEL_PLACES_MAX;

use super::Drops;
use super::Mode;
use super::Refused;
use super::Setup;
use super::Writer;
use super::attach;
use super::layout::RELAYS_MAX;
use super::layout::wide;
use super::netlink::Link;
use super::shared;
use super::shared::Tally;
use super::shared::Word;

/// Built from turn.bpf.c by tests/kernel/object, which also sees that it is.
const OBJECT: &[u8] = aya::include_bytes_aligned!("../turn.bpf.o");

const CAPABILITIES: &str =
    "give the process CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (conf/systemd), or choose `sockets`";

/// Buckets that are looked at for one that is lent: so at most a quarter of the places is taken by what is over.
const LOOKED_AT: usize = 4;
/// The same where no place is free.
const LOOKED_AT_IN_NEED: usize = 256;

/// The program, standing at its interfaces. Dropping it detaches it everywhere.
#[derive(Debug)]
pub struct Kernel {
    ebpf: Ebpf,
    mode: Mode,
    pub(super) frame: Frame,
    tallies: &'static [Tally],
    words: &'static [Word],
    links: Vec<Link>,
}

/// What writers share: where each relay port has its place, and the clock.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    port_first: u16,
    port_count: u32,
    started_ns: u64,
    pub(super) lend_ns: u64,
}

impl Frame {
    /// The place of `ip`:`port`, if it is a relay port of this server.
    pub(super) fn place(&self, ip: IpAddr, port: u16) -> Option<u32> {
        let offset = u32::from(port).checked_sub(self.port_first.into())?;
        let number = self.v4.iter().chain(&self.v6).position(|relay| *relay == ip)?;
        let number = u32::try_from(number).ok()?;
        (offset < self.port_count).then_some(number * self.port_count + offset)
    }

    /// A moment `millis` after the start, as the program's clock shows it; never 0, which means closed.
    pub(super) fn ns(&self, millis: u64) -> u64 {
        self.started_ns.saturating_add(millis.saturating_mul(1_000_000)).max(1)
    }

    fn places(&self) -> u64 {
        (self.v4.len() + self.v6.len()) as u64 * u64::from(self.port_count)
    }
}

impl Kernel {
    /// Loads the program and attaches it to each of `interfaces`, or to none.
    ///
    /// # Errors
    ///
    /// What this machine, this process or the set-up lacks.
    pub fn load(interfaces: &[String], mode: Mode, setup: &Setup) -> Result<Self, Refused> {
        if cfg!(target_endian = "big") {
            return Err(Refused::new(
                "the program is built for little-endian machines",
                "choose `sk_lookup` or `sockets`",
            ));
        }
        let frame = frame(setup)?;
        // An interface that cannot be asked is refused when the program is attached.
        let is_veth = |name: &String| super::kind_of(name).is_ok_and(|kind| kind == "veth");
        let mut ebpf = make(&frame, setup, interfaces.iter().any(is_veth))?;
        verify(&mut ebpf, mode)?;
        let (tallies, words) = map_shared(&ebpf, &frame).map_err(|error| {
            Refused::new(
                format!("its maps cannot be mapped: {error}"),
                "raise the memory limit of the process",
            )
        })?;
        let links = attach::attach(&mut ebpf, mode, interfaces)?;
        Ok(Self { ebpf, mode, frame, tallies, words, links })
    }

    /// Where it stands.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What worker `number` writes with.
    ///
    /// # Errors
    ///
    /// No descriptor is left; `InvalidInput` if the set-up does not know this worker.
    pub fn writer(&self, number: u16) -> io::Result<Writer> {
        Writer::new(self, number)
    }

    /// Lends buckets that the program draws from too. There is one place for each, so this is asked once.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        // Place 0 means none.
        let free = (1..u32::try_from(self.words.len()).unwrap_or(u32::MAX)).rev().collect();
        Buckets { words: self.words, free, lent: VecDeque::new() }
    }

    /// What the program dropped so far, on all processors.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn drops(&self) -> io::Result<Drops> {
        let map = self.ebpf.map("drops").ok_or(io::ErrorKind::NotFound)?;
        let counts = PerCpuArray::<_, u64>::try_from(map).map_err(io::Error::other)?;
        let count = |why: u32| counts.get(&why, 0).map(|of| of.iter().sum()).map_err(io::Error::other);
        Ok(Drops { allocation_bandwidth: count(0)?, user_bandwidth: count(1)?, unwritten: count(2)? })
    }

    /// The program itself, for tests that run it on single frames.
    #[doc(hidden)]
    pub fn ebpf(&self) -> &Ebpf {
        &self.ebpf
    }

    pub(super) const fn tallies(&self) -> &'static [Tally] {
        self.tallies
    }

    /// The interfaces that it stands at, by their numbers.
    pub(super) fn interfaces(&self) -> Vec<u32> {
        self.links.iter().map(|link| link.index).collect()
    }

    /// A handle of its own on the hash map `name`.
    pub(super) fn hash<K: aya::Pod, V: aya::Pod>(&self, name: &str) -> io::Result<HashMap<MapData, K, V>> {
        HashMap::try_from(Map::HashMap(self.data(name)?)).map_err(io::Error::other)
    }

    /// A handle of its own on the array map `name`.
    pub(super) fn array<V: aya::Pod>(&self, name: &str) -> io::Result<Array<MapData, V>> {
        Array::try_from(Map::Array(self.data(name)?)).map_err(io::Error::other)
    }

    fn data(&self, name: &str) -> io::Result<MapData> {
        let map = self.ebpf.map(name).and_then(data_of).ok_or(io::ErrorKind::NotFound)?;
        MapData::from_fd(map.fd().as_fd().try_clone_to_owned()?).map_err(io::Error::other)
    }
}

/// Buckets whose number stands in a map, so that the program and the workers keep one limit together. What nobody draws from
/// any more is lent again: a few are looked at each time.
#[derive(Debug)]
pub struct Buckets {
    words: &'static [Word],
    free: Vec<u32>,
    lent: VecDeque<Bucket>,
}

impl Buckets {
    /// A full bucket; `None` when all places are taken. An allocation whose buckets are not lent is relayed by its worker.
    ///
    /// A place is free when nobody else has a clone any more. So whoever has one keeps it until no packet is charged to it:
    /// a worker until its writer has closed the allocation.
    pub fn lend(&mut self, rate: Rate) -> Option<Bucket> {
        self.take_back(if self.free.is_empty() { LOOKED_AT_IN_NEED } else { LOOKED_AT });
        let place = self.free.pop()?;
        let word = &self.words[place as usize];
        let (per_byte, burst) = Bucket::arithmetic(rate);
        word.spoken_for.store(0, Relaxed);
        word.per_byte.store(per_byte, Relaxed);
        word.burst.store(burst, Relaxed);
        let bucket = Bucket::lent(rate, &word.spoken_for, place);
        self.lent.push_back(bucket.clone());
        Some(bucket)
    }

    fn take_back(&mut self, at_most: usize) {
        for _ in 0..at_most.min(self.lent.len()) {
            let Some(bucket) = self.lent.pop_front() else { return };
            match bucket.place().filter(|_| bucket.is_last()) {
                Some(place) => self.free.push(place),
                None => self.lent.push_back(bucket),
            }
        }
    }
}

/// Checks that the set-up can be had, and lays it out.
fn frame(setup: &Setup) -> Result<Frame, Refused> {
    let now_ns = monotonic_ns();
    let ns = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let frame = Frame {
        v4: setup.addresses.iter().copied().filter(IpAddr::is_ipv4).collect(),
        v6: setup.addresses.iter().copied().filter(IpAddr::is_ipv6).collect(),
        port_first: *setup.ports.start(),
        port_count: u32::from(*setup.ports.end()).saturating_sub((*setup.ports.start()).into()) + 1,
        started_ns: now_ns.saturating_sub(ns(setup.since_start)),
        // So that the sum with any reading of the clock is one.
        lend_ns: ns(setup.lend).min(1 << 60),
    };
    if frame.v4.len().max(frame.v6.len()) > RELAYS_MAX {
        return Err(Refused::new(
            format!("there are more than {RELAYS_MAX} relay addresses of one family"),
            "name fewer in `[relay] addresses`, or choose `sk_lookup`",
        ));
    }
    if frame.places() > KERNEL_PLACES_MAX || setup.ports.is_empty() {
        let reason = format!("{} relay ports are more than {KERNEL_PLACES_MAX}", frame.places());
        return Err(Refused::new(reason, "narrow `[relay] ports`, or name fewer `[relay] addresses`"));
    }
    Ok(frame)
}

/// Makes the maps, and the program with what is constant in it. With `by_redirect` no frame goes back by XDP_TX.
fn make(frame: &Frame, setup: &Setup, by_redirect: bool) -> Result<Ebpf, Refused> {
    let channels = setup.channels.clamp(1, KERNEL_CHANNELS_MAX);
    let places = u32::try_from(frame.places()).unwrap_or(u32::MAX);
    let counts = [frame.v4.len(), frame.v6.len()].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let (mut v4, mut v6) = ([0_u8; 4 * RELAYS_MAX], [0_u8; 16 * RELAYS_MAX]);
    for (at, ip) in frame.v4.iter().enumerate() {
        v4[4 * at..][..4].copy_from_slice(&wide(*ip)[..4]);
    }
    for (at, ip) in frame.v6.iter().enumerate() {
        v6[16 * at..][..16].copy_from_slice(&wide(*ip));
    }
    EbpfLoader::new()
        // Nothing of the program depends on the kernel's own types.
        .btf(None)
        .map_max_entries("ways4", channels)
        .map_max_entries("ways6", channels)
        .map_max_entries("far_peers", channels)
        .map_max_entries("ports", places)
        .map_max_entries("tallies", places)
        .map_max_entries("buckets", KERNEL_BUCKETS)
        .map_max_entries("hops", KERNEL_HOPS_PER_WORKER * u32::from(setup.workers.max(1)))
        .override_global("STARTED_NS", &frame.started_ns, true)
        .override_global("LEND_NS", &frame.lend_ns, true)
        .override_global("BY_REDIRECT", &u32::from(by_redirect), true)
        .override_global("PORT_FIRST", &u32::from(frame.port_first), true)
        .override_global("PORT_COUNT", &frame.port_count, true)
        .override_global("RELAYS4", &counts[0], true)
        .override_global("RELAYS6", &counts[1], true)
        .override_global("RELAY4", &v4[..], true)
        .override_global("RELAY6", &v6[..], true)
        .load(OBJECT)
        .map_err(|error| refusal(&error))
}

/// Has the kernel take the program.
fn verify(ebpf: &mut Ebpf, mode: Mode) -> Result<(), Refused> {
    let loaded = match mode {
        Mode::Tc => ebpf.program_mut("tc_turn").map(|program| {
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()
        }),
        Mode::Xdp | Mode::XdpGeneric => ebpf.program_mut("xdp_turn").map(|program| {
            let program: &mut Xdp = program.try_into()?;
            program.load()
        }),
    };
    match loaded {
        Some(Ok(())) => Ok(()),
        Some(Err(ProgramError::LoadError { io_error, .. })) if is_forbidden(&io_error) => {
            Err(Refused::new("the kernel lets this process load no program", CAPABILITIES))
        }
        Some(Err(error)) => Err(Refused::new(
            format!("the kernel does not take the program: {error}"),
            "run Linux 6.6 or later",
        )),
        None => Err(Refused::new("the program is not in its object", "build it again: tests/kernel/object")),
    }
}

fn map_shared(ebpf: &Ebpf, frame: &Frame) -> io::Result<(&'static [Tally], &'static [Word])> {
    let map = |name| ebpf.map(name).and_then(data_of).ok_or(io::ErrorKind::NotFound);
    let places = u32::try_from(frame.places()).map_err(io::Error::other)?;
    let tallies = shared::tallies(map("tallies")?.fd().as_fd(), places)?;
    Ok((tallies, shared::words(map("buckets")?.fd().as_fd(), KERNEL_BUCKETS)?))
}

fn data_of(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) => Some(data),
        _ => None,
    }
}

fn refusal(error: &EbpfError) -> Refused {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if cause.downcast_ref::<io::Error>().is_some_and(is_forbidden) {
            return Refused::new("the kernel lets this process make no map", CAPABILITIES);
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => {
                let reason = format!("the kernel does not take its maps: {error}");
                return Refused::new(reason, "run Linux 6.6 or later, with memory for the maps");
            }
        }
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// The clock of `bpf_ktime_get_ns`.
pub(super) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::try_from(now).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
