//! A call: its two ends, what each sends, and what each heard.

use crate::load::measure::Listener;
use crate::load::measure::Meter;
use crate::load::payload::Far;
use crate::load::payload::Rtp;
use crate::load::payload::Stamp;
use crate::load::payload::Way;
use crate::load::plan::PeerPlace;
use crate::load::plan::Traffic;
use crate::load::profile::Burst;
use crate::load::profile::Schedule;
use crate::proto::types::StreamId;

/// Streams of a call: two of RTP, each way.
const LANES: usize = 4;

/// A call.
#[derive(Debug)]
pub(super) struct Call {
    /// Names it in its packets. No other call of the run has it, not even a later one.
    pub(super) number: u32,
    pub(super) stage: Stage,
    /// The client that sends up.
    pub(super) near: Option<StreamId>,
    /// The client that sends down, where the peer is one.
    pub(super) far: Option<StreamId>,
    sources: [Option<Source>; LANES],
    listeners: [Option<Listener>; LANES],
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its ends come up.
    Coming,
    /// Packets flow.
    Live,
    /// Packets flow to nobody: an end has lost its allocation.
    Lost,
    /// Its ends leave.
    Leaving,
}

/// A stream that is sent.
#[derive(Debug)]
struct Source {
    schedule: Schedule,
    sequence: u64,
}

/// One stream of a call, one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) way: Way,
    pub(super) stream: u8,
}

impl Lane {
    const fn place(self) -> usize {
        (self.stream % 2) as usize + if matches!(self.way, Way::Down) { 2 } else { 0 }
    }
}

/// Packets that leave together, with all that is written into them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) burst: Burst,
    pub(super) payload_type: u8,
    /// The stamp of the first; each further one has the next number.
    pub(super) first: Stamp,
}

impl Outgoing {
    /// As if the packets were due at `now_ns`, when they leave.
    pub(super) fn due_now(&mut self, now_ns: u64) {
        (self.burst.due_ns, self.first.due_ns) = (now_ns, now_ns);
    }

    /// Writes the `index`-th packet's payload.
    pub(super) fn write(&self, index: u16, payload: &mut [u8]) {
        let is_last = index + 1 == self.burst.packets;
        let rtp = Rtp {
            payload_type: self.payload_type,
            marker: is_last && self.burst.ends_frame,
            time: self.burst.rtp_time,
        };
        let stamp = Stamp { sequence: self.first.sequence + u64::from(index), ..self.first };
        stamp.write(rtp, payload);
    }
}

impl Call {
    /// A call whose ends come up.
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            stage: Stage::Coming,
            near: None,
            far: None,
            sources: Default::default(),
            listeners: Default::default(),
        }
    }

    /// Lets packets flow from `now_ns` on. Answers the streams that are sent from this process.
    pub(super) fn go_live(&mut self, traffic: Traffic, peer: PeerPlace, seed: u64, now_ns: u64) -> Vec<Lane> {
        self.stage = Stage::Live;
        let profile = traffic.profile;
        let is_remote = matches!(peer, PeerPlace::Remote(_));
        let mut lanes = Vec::new();
        for stream in 0..profile.streams() {
            for way in [Way::Up, Way::Down] {
                let lane = Lane { way, stream };
                // A peer on another machine sends back what comes.
                let sends = if is_remote { way == Way::Up } else { traffic.direction.has(way) };
                let hears = if is_remote { way == Way::Down } else { sends };
                if sends {
                    let schedule = Schedule::new(profile, stream, way, self.number, seed, now_ns);
                    self.sources[lane.place()] = Some(Source { schedule, sequence: 0 });
                    lanes.push(lane);
                }
                if hears {
                    self.listeners[lane.place()] = Some(Listener::new(profile.stream_rate(stream)));
                }
            }
        }
        lanes
    }

    /// Whether packets leave.
    pub(super) const fn flows(&self) -> bool {
        matches!(self.stage, Stage::Live | Stage::Lost)
    }

    /// When a stream's next packets are due.
    pub(super) fn due_ns(&self, lane: Lane) -> Option<u64> {
        self.sources[lane.place()].as_ref().map(|source| source.schedule.due_ns())
    }

    /// The packets of a stream that are due next.
    pub(super) fn next(&mut self, lane: Lane, run: u32, now_ns: u64) -> Option<Outgoing> {
        let back = Lane { way: lane.way.back(), ..lane };
        let far = self.listeners[back.place()].as_ref().map_or(Far::Silent, |heard| heard.echo(now_ns));
        let number = self.number;
        let source = self.sources[lane.place()].as_mut()?;
        let burst = source.schedule.next_burst();
        let sequence = source.sequence;
        source.sequence += u64::from(burst.packets);
        let first = Stamp {
            run,
            call: number,
            stream: lane.stream,
            way: lane.way,
            sequence,
            due_ns: burst.due_ns,
            far,
        };
        Some(Outgoing { burst, payload_type: source.schedule.payload_type(), first })
    }

    /// A packet of this call arrived where packets that go `way` arrive.
    pub(super) fn hear(&mut self, meter: &mut Meter, stamp: &Stamp, way: Way, bytes: usize, at_ns: u64) {
        let arrives = match stamp.far {
            Far::Returned { .. } => stamp.way.back(),
            Far::Silent | Far::Echo { .. } => stamp.way,
        };
        let lane = Lane { way, stream: stamp.stream };
        match self.listeners[lane.place()].as_mut() {
            Some(listener) if arrives == way && stamp.call == self.number && stamp.stream < 2 => {
                meter.heard(listener, stamp, bytes, at_ns);
            }
            _ => meter.stranger(),
        }
    }

    /// Adds what is only known at the end of a window.
    pub(super) fn close(&self, meter: &mut Meter) {
        for source in self.sources.iter().flatten() {
            meter.owed(&source.schedule);
        }
        for way in [Way::Up, Way::Down] {
            for stream in 0..2 {
                if let Some(listener) = &self.listeners[Lane { way, stream }.place()] {
                    meter.close(listener, way);
                }
            }
        }
    }
}
