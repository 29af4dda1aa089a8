//! Both ends of the wire for a whole host: frames that come as from a card's driver, out of the kernel, and a sink that counts
//! and drops what arrives. No socket and no socket buffer is at either end.
//!
//! ```text
//!   source: BPF_PROG_TEST_RUN, live frames ─▶ far end of a cable ─▶ the relay's end ─▶ … ─▶ far end of the other: sink
//! ```

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use aya::Ebpf;
use aya::EbpfLoader;
use aya::maps::Array;
use aya::maps::PerCpuArray;
use aya::programs::LinkOrder;
use aya::programs::SchedClassifier;
use aya::programs::TcAttachType;
use aya::programs::TestRun as _;
use aya::programs::TestRunAttrs;
use aya::programs::TestRunOptions;
use aya::programs::Xdp;
use aya::programs::tc::TcAttachOptions;
use aya::programs::xdp::XdpMode;
use rustix::net::netdevice::name_to_index;
use rustix::time::ClockId;
use rustix::time::clock_gettime;

/// Built from source.bpf.c by tests/kernel/object, which also sees that it is.
const OBJECT: &[u8] = aya::include_bytes_aligned!("source.bpf.o");
/// Frames that a driver would hand over at a time, and those of one call, which takes some 30 ms whatever it does.
const AT_ONCE: u32 = 64;
pub(crate) const BURST: u32 = 2_048;
/// How a frame begins, and where in it stands what differs: both ports, the sum and the channel.
const HEAD_LEN: usize = 48;
const DIFFERS: [usize; 4] = [34, 36, 40, 42];
/// Frames that have not come for so long are lost.
const PATIENCE: Duration = Duration::from_millis(400);

/// Frames of some flows, in random order, into one end of a cable.
pub(crate) struct Source {
    ebpf: Ebpf,
    frame: Vec<u8>,
}

impl Source {
    /// To be called where the cable ends. `frames` are as many as a power of two, alike but for ports, sum and channel.
    ///
    /// # Errors
    /// What the kernel or the frames lack.
    pub(crate) fn new(interface: &str, frames: &[Vec<u8>], is_data: bool) -> Result<Self, String> {
        let mask = u32::try_from(frames.len()).ok().filter(|count| count.is_power_of_two());
        let (Some(count), Some(frame)) = (mask, frames.first()) else {
            return Err(format!("{} flows are no power of two", frames.len()));
        };
        let head = frame.get(..HEAD_LEN).ok_or("a frame is too short")?;
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("OUT", &index(interface)?, true)
            .override_global("MASK", &(count - 1), true)
            .override_global("IS_DATA", &u32::from(is_data), true)
            .override_global("HEAD", head, true)
            .load(OBJECT)
            .map_err(|error| format!("the source cannot be loaded: {error}"))?;
        let mut flows = ebpf
            .map_mut("flows")
            .ok_or("the source has no flows")
            .and_then(|map| Array::<_, [u8; 8]>::try_from(map).map_err(|_| "its flows are no array"))?;
        for (number, frame) in (0..).zip(frames) {
            let mut flow = [0; 8];
            for (place, at) in DIFFERS.into_iter().enumerate() {
                flow[2 * place..][..2].copy_from_slice(&frame[at..at + 2]);
            }
            flows.set(number, flow, 0).map_err(|error| format!("a flow cannot be written: {error}"))?;
        }
        let program: &mut Xdp = program(&mut ebpf, "source")?;
        program.load().map_err(|error| format!("the source is refused: {error}"))?;
        Ok(Self { ebpf, frame: frame.clone() })
    }

    /// Sends [`BURST`] frames, from where the cable ends; answers what that took of this thread's time.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn burst(&self) -> Result<Duration, String> {
        let program = self.ebpf.program("source").ok_or("the source is gone")?;
        let program = <&Xdp>::try_from(program).map_err(|error| error.to_string())?;
        let before = own_time();
        let attrs = TestRunAttrs::new().xdp_live_frames(AT_ONCE);
        let options =
            TestRunOptions { data_in: Some(&self.frame), repeat: BURST, attrs, ..TestRunOptions::new() };
        program.test_run(options).map_err(|error| format!("no frames come from the kernel: {error}"))?;
        Ok(own_time().saturating_sub(before))
    }
}

/// Counts and drops all UDP that comes to some interfaces, for as long as it lives.
pub(crate) struct Sink(Ebpf);

impl Sink {
    /// To be called where they are.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(interfaces: &[&str]) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("the sink cannot be had: {error}");
        let mut ebpf = EbpfLoader::new().btf(None).load(OBJECT).map_err(|error| told(&error))?;
        let program: &mut SchedClassifier = program(&mut ebpf, "sink")?;
        program.load().map_err(|error| told(&error))?;
        for interface in interfaces {
            let options = TcAttachOptions::TcxOrder(LinkOrder::default());
            let attached = program.attach_with_options(interface, TcAttachType::Ingress, options);
            attached.map_err(|error| told(&error))?;
        }
        Ok(Self(ebpf))
    }

    /// Packets that came.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn count(&self) -> Result<u64, String> {
        let map = self.0.map("counts").ok_or("the sink has no count")?;
        let counts = PerCpuArray::<_, u64>::try_from(map).map_err(|error| error.to_string())?;
        counts.get(&0, 0).map(|each| each.iter().sum()).map_err(|error| error.to_string())
    }

    /// Waits until so many have come, or none comes any more; answers how many.
    ///
    /// # Errors
    /// As [`Self::count`].
    pub(crate) fn wait(&self, wanted: u64) -> Result<u64, String> {
        let (mut count, mut until) = (self.count()?, Instant::now() + PATIENCE);
        while count < wanted && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
            let now = self.count()?;
            if now > count {
                until = Instant::now() + PATIENCE;
            }
            count = now;
        }
        Ok(count)
    }
}

/// Drops all that comes to some interfaces, in the driver, for as long as it lives.
pub(crate) struct Waste {
    _ebpf: Ebpf,
}

impl Waste {
    /// To be called where they are.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(interfaces: &[&str]) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("nothing can be dropped by XDP: {error}");
        let mut ebpf = EbpfLoader::new().btf(None).load(OBJECT).map_err(|error| told(&error))?;
        let program: &mut Xdp = program(&mut ebpf, "waste")?;
        program.load().map_err(|error| told(&error))?;
        for interface in interfaces {
            program.attach_to_if_index(index(interface)?, XdpMode::Driver).map_err(|error| told(&error))?;
        }
        Ok(Self { _ebpf: ebpf })
    }
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, String>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| format!("there is no program `{name}`"))?;
    program.try_into().map_err(|_| format!("`{name}` is another kind of program"))
}

/// The number of an interface here.
fn index(interface: &str) -> Result<u32, String> {
    let told = |error: &dyn std::fmt::Display| format!("the interface {interface} has no number: {error}");
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(|error| told(&error))?;
    name_to_index(&socket, interface).map_err(|error| told(&error))
}

/// CPU time of this thread.
fn own_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
