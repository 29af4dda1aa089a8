//! A stub between the load and a real server: it does to media, and to nothing else, what a test says, and keeps count.
//!
//! Each client has a socket of its own towards the server, so that the server sees as many five-tuples as there are.
//! Only ChannelData on its way to the server is touched; with peers that are allocations of their own, each packet of
//! either direction passes there once.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::poll;
use rustix::time::Timespec;
use socket2::SockRef;
use swingbridge::load::payload::Stamp;

/// What happens to media.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    /// One in so many is dropped.
    Drop(u64),
    /// One in so many passes twice.
    Twice(u64),
    /// One in so many passes behind the one that follows it in its stream.
    Swap(u64),
    /// Each is kept for so long.
    Delay(Duration),
    /// Of those due within the same tenth of a second, so many pass. Counted by when they were due, and not by when
    /// they come, so that a busy machine changes nothing.
    EachTenth(u64),
    /// Nothing passes for so long at the end of each such period; then all of it does.
    Freeze(Duration, Duration),
}

/// What became of media.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Packets that came.
    pub(crate) media: u64,
    /// Packets that were dropped.
    pub(crate) dropped: u64,
    /// When each packet was due on the load's clock, and when it came and went on the stub's, in nanoseconds.
    pub(crate) passed: Vec<[u64; 3]>,
}

impl Seen {
    /// How long packets were under way until the stub let them go, from when they were due: the time that this part of
    /// them did not exceed. Of those due in the last so many seconds, but for the very last, which were due when nothing
    /// was measured any more.
    pub(crate) fn quantile(&self, part: f64, length: Duration) -> Duration {
        // The two clocks differ by no more than what the fastest of all packets took.
        let differs = self.passed.iter().map(|[due, came, _]| *came as i64 - *due as i64).min();
        let differs = differs.expect("media came");
        let last = self.passed.iter().map(|[due, ..]| *due).max().expect("media came");
        let to = last.saturating_sub(250_000_000);
        let from = to.saturating_sub(length.as_nanos() as u64);
        let within = self.passed.iter().filter(|[due, ..]| (from..to).contains(due));
        let mut took: Vec<_> = within.map(|[due, _, went]| *went as i64 - *due as i64 - differs).collect();
        took.sort_unstable();
        let index = ((took.len() - 1) as f64 * part) as usize;
        Duration::from_nanos(took[index] as u64)
    }

    /// How long the load went on by its own clock, and by that of the world.
    pub(crate) fn lengths(&self) -> [f64; 2] {
        let (first, last) =
            (self.passed.first().expect("media came"), self.passed.last().expect("media came"));
        [last[0] as f64 - first[0] as f64, last[1] as f64 - first[1] as f64].map(|ns| ns / 1e9)
    }
}

/// Packets that leave together after a freeze; the next as many a millisecond later, so that no buffer overflows.
const FLUSH: usize = 20;

/// As much as the kernel gives without a question.
const BUFFER: usize = 4 * 1024 * 1024;

pub(crate) struct Bridge {
    pub(crate) address: SocketAddr,
    ends: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Bridge {
    pub(crate) fn start(server: SocketAddr, rule: Rule) -> Self {
        let front = socket();
        let address = front.local_addr().expect("bound");
        let (ends, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let work = Work {
            front,
            server,
            rule,
            began: Instant::now(),
            clients: HashMap::new(),
            backs: Vec::new(),
            held: VecDeque::new(),
            swaps: HashMap::new(),
            tenths: HashMap::new(),
            seen: Arc::clone(&seen),
        };
        let may_end = Arc::clone(&ends);
        let thread = std::thread::spawn(move || work.run(&may_end));
        Self { address, ends, seen, thread: Some(thread) }
    }

    /// What became of media until now.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().expect("nobody panicked").clone()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the bridge fell");
        }
    }
}

/// A packet on its way to the server, behind the client's own socket.
#[derive(Clone, Debug)]
struct Packet {
    back: usize,
    bytes: Vec<u8>,
    /// When it was due and when it came, if it is of media.
    times: [u64; 2],
}

struct Work {
    front: UdpSocket,
    server: SocketAddr,
    rule: Rule,
    began: Instant,
    clients: HashMap<SocketAddr, usize>,
    /// Each client's socket towards the server, and its address.
    backs: Vec<(UdpSocket, SocketAddr)>,
    /// Kept packets and when they may go.
    held: VecDeque<(Instant, Packet)>,
    /// The packet of a stream that waits for the next one.
    swaps: HashMap<usize, Packet>,
    tenths: HashMap<u64, u64>,
    seen: Arc<Mutex<Seen>>,
}

impl Work {
    fn run(mut self, ends: &AtomicBool) {
        while !ends.load(Ordering::Relaxed) {
            let ready = self.wait();
            if ready[0] {
                self.forward();
            }
            for (index, _) in ready.iter().enumerate().skip(1).filter(|(_, ready)| **ready) {
                self.backward(index - 1);
            }
            self.release();
        }
    }

    fn wait(&self) -> Vec<bool> {
        let sockets = std::iter::once(&self.front).chain(self.backs.iter().map(|(back, _)| back));
        let mut wanted: Vec<_> = sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let millis = if self.held.is_empty() { 20 } else { 1 };
        let wait = Timespec { tv_sec: 0, tv_nsec: millis * 1_000_000 };
        poll(&mut wanted, Some(&wait)).expect("it waits");
        wanted.iter().map(|each| !each.revents().is_empty()).collect()
    }

    fn forward(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = self.front.recv_from(&mut buffer) {
            let back = *self.clients.entry(from).or_insert_with(|| {
                let socket = socket();
                socket.connect(self.server).expect("loopback");
                self.backs.push((socket, from));
                self.backs.len() - 1
            });
            let mut packet = Packet { back, bytes: buffer[..length].to_vec(), times: [0; 2] };
            let media = packet.bytes.get(4..).filter(|_| (0x40..0x50).contains(&packet.bytes[0]));
            match media.and_then(Stamp::read) {
                Some(stamp) => {
                    packet.times = [stamp.due_ns, self.now_ns()];
                    self.media(packet);
                }
                None => self.pass(&packet),
            }
        }
    }

    fn backward(&mut self, index: usize) {
        let mut buffer = [0; 2048];
        let (back, client) = &self.backs[index];
        while let Ok(length) = back.recv(&mut buffer) {
            // A client that has gone hears nothing.
            let _ = self.front.send_to(&buffer[..length], client);
        }
    }

    fn media(&mut self, packet: Packet) {
        let number = {
            let mut seen = self.seen.lock().expect("nobody panicked");
            seen.media += 1;
            seen.media
        };
        let now = Instant::now();
        match self.rule {
            Rule::Drop(every) if number.is_multiple_of(every) => self.drop_one(),
            Rule::Twice(every) if number.is_multiple_of(every) => {
                self.pass(&packet);
                self.pass(&packet);
            }
            Rule::Swap(every) if number.is_multiple_of(every) => {
                if let Some(before) = self.swaps.insert(packet.back, packet) {
                    self.pass(&before);
                }
            }
            Rule::Delay(time) => self.held.push_back((now + time, packet)),
            Rule::EachTenth(most) => {
                let passed = self.tenths.entry(packet.times[0] / 100_000_000).or_default();
                *passed += 1;
                if *passed > most { self.drop_one() } else { self.pass(&packet) }
            }
            Rule::Freeze(period, length) => {
                let within = Duration::from_nanos(self.now_ns() % period.as_nanos() as u64);
                let thaws = if within >= period - length { now + (period - within) } else { now };
                self.held.push_back((thaws, packet));
            }
            Rule::Drop(_) | Rule::Twice(_) | Rule::Swap(_) => {
                self.pass(&packet);
                if let Some(before) = self.swaps.remove(&packet.back) {
                    self.pass(&before);
                }
            }
        }
    }

    fn release(&mut self) {
        for _ in 0..FLUSH {
            let now = Instant::now();
            let Some((_, packet)) = self.held.pop_front_if(|(until, _)| *until <= now) else { break };
            self.pass(&packet);
        }
    }

    fn drop_one(&self) {
        self.seen.lock().expect("nobody panicked").dropped += 1;
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn pass(&self, packet: &Packet) {
        // What the server's side refuses is missed, and shows as loss.
        let _ = self.backs[packet.back].0.send(&packet.bytes);
        let [due, came] = packet.times;
        if due > 0 {
            self.seen.lock().expect("nobody panicked").passed.push([due, came, self.now_ns()]);
        }
    }
}

/// A socket on loopback at a port where neither a relay nor a client of the load is.
fn socket() -> UdpSocket {
    for port in (10_000..20_000).cycle().skip(std::process::id() as usize % 10_000).take(10_000) {
        if let Ok(socket) = UdpSocket::bind(("127.0.0.1", port)) {
            socket.set_nonblocking(true).expect("a socket");
            SockRef::from(&socket).set_recv_buffer_size(BUFFER).expect("a socket");
            return socket;
        }
    }
    panic!("no port is free on loopback");
}
