//! The work, as data: which servers do what, for which lines of the table.

use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Direction;
use swingbridge::load::plan::Framing;

use super::lines::COTURN;
use super::lines::GRO_OFF;
use super::lines::SK_LOOKUP;
use super::lines::SK_LOOKUP_FEW;
use super::lines::SOCKETS;
use super::lines::TC;
use super::lines::TC_V6;
use super::lines::XDP;
use super::lines::XDP_V6;
use super::server::Ours;
use super::server::Program;

/// What is read off a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// CPU of the server for each packet.
    Cpu,
    /// CPU of the whole host for each packet, less what the source costs alone.
    Host,
    P50,
    P99,
    P999,
    Cycle,
    Memory,
    Idle,
    Lost,
}

/// Packets through a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flow {
    pub(crate) calls: u32,
    /// Packets each second, each way, of all calls together.
    pub(crate) rate: f64,
    pub(crate) size: u16,
    /// Packets of a call that leave together.
    pub(crate) burst: u16,
    pub(crate) direction: Direction,
    pub(crate) framing: Framing,
    pub(crate) carrier: Carrier,
    /// The peer is a second client of the same server.
    pub(crate) is_pair: bool,
    /// Both ends must lie at workers of their own.
    pub(crate) is_across: bool,
    /// Bursts leave as super-packets.
    pub(crate) segments: bool,
    /// Whoever receives takes them whole.
    pub(crate) takes_runs: bool,
    /// Parts of a tick; from 2 on for latencies.
    pub(crate) parts: u16,
    /// For how long it is measured.
    pub(crate) length_ms: u64,
}

/// What a server is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    Flow(Flow),
    /// Frames as from a card, through the whole host on a path.
    Host {
        calls: u32,
        path: &'static str,
    },
    /// 199 voices and one camera, both ways.
    Mixed,
    /// Whole lives of allocations.
    Cycles,
    /// A fresh process, idle, and then with 2,000 allocations.
    Fresh,
    /// One packet to the peer and back, and then the next.
    RoundTrips,
    /// The program of a path in the kernel, alone, on frames of one family.
    Alone {
        path: &'static str,
        is_v6: bool,
    },
}

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) work: Work,
}

/// A piece of work, done by all sides in turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) lines: Vec<(&'static str, Metric)>,
    pub(crate) sides: Vec<Side>,
    /// Whether it takes a host of its own for the relay.
    pub(crate) is_apart: bool,
    /// Rounds at the most, where one takes long.
    pub(crate) rounds_max: u32,
}

/// 64 packets wait at a time, as peers of a closed loop would have under way; and a rate that half a core of a busy machine
/// bears, for what is lost is no figure.
const FULL: Flow = Flow {
    calls: 1,
    rate: 32_000.0,
    size: 172,
    burst: 64,
    direction: Direction::Up,
    framing: Framing::Channel,
    carrier: Carrier::Udp,
    is_pair: false,
    is_across: false,
    segments: false,
    takes_runs: false,
    parts: 1,
    length_ms: 700,
};

const fn ours(path: &'static str) -> Program {
    Program::Ours(Ours::on(path))
}

fn against_coturn(lines: &[(&'static str, Metric)], work: Work) -> Job {
    with_program(lines, work, ours("sockets"))
}

fn with_program(lines: &[(&'static str, Metric)], work: Work, program: Program) -> Job {
    let sides =
        vec![Side { name: COTURN, program: Program::Coturn, work }, Side { name: SOCKETS, program, work }];
    Job { lines: lines.to_vec(), sides, is_apart: false, rounds_max: u32::MAX }
}

fn cpu(line: &'static str, flow: Flow) -> Job {
    against_coturn(&[(line, Metric::Cpu)], Work::Flow(flow))
}

/// All of it, in the order of the table.
pub(crate) fn jobs() -> Vec<Job> {
    let many = Flow { calls: 200, burst: 1, ..FULL };
    let down = |flow| Flow { direction: Direction::Down, ..flow };
    let audio = Flow { rate: 10_000.0, direction: Direction::Both, parts: 5, length_ms: 1_500, ..many };
    // A call has one burst a tick at the most.
    let runs =
        Flow { calls: 4, rate: 32_000.0, size: 1_200, burst: 16, segments: true, takes_runs: true, ..FULL };
    let cut = Flow { takes_runs: false, ..runs };
    let pair = Flow { rate: 16_000.0, burst: 32, is_pair: true, ..FULL };
    let burst = |size| Flow { rate: 1_024.0, size, burst: 256, length_ms: 2_000, ..down(FULL) };
    let two = Program::Ours(Ours { workers: 2, ..Ours::on("sockets") });
    let mut jobs = vec![
        cpu("up-1", FULL),
        cpu("up-200", many),
        cpu("down-1", down(FULL)),
        cpu("down-200", down(many)),
        against_coturn(
            &[
                ("audio", Metric::Cpu),
                ("audio-p50", Metric::P50),
                ("audio-p99", Metric::P99),
                ("audio-p999", Metric::P999),
            ],
            Work::Flow(audio),
        ),
        cpu("runs-up", runs),
        cpu("runs-down", down(runs)),
        cpu("runs-up-cut", cut),
        cpu("runs-down-cut", down(cut)),
        cpu("indication", Flow { framing: Framing::Indication, ..FULL }),
        cpu("tcp-up", Flow { carrier: Carrier::Tcp, ..FULL }),
        cpu("tcp-down", Flow { carrier: Carrier::Tcp, ..down(FULL) }),
        cpu("pair-one", pair),
        with_program(&[("pair-two", Metric::Cpu)], Work::Flow(Flow { is_across: true, ..pair }), two),
        mixed(),
        sk_lookup(),
    ];
    jobs.extend(kernel());
    jobs.extend(alone());
    jobs.extend([
        against_coturn(&[("cycle", Metric::Cycle)], Work::Cycles),
        Job {
            rounds_max: 3,
            ..against_coturn(&[("memory", Metric::Memory), ("idle", Metric::Idle)], Work::Fresh)
        },
        against_coturn(&[("burst-172", Metric::Lost)], Work::Flow(burst(172))),
        against_coturn(&[("burst-1200", Metric::Lost)], Work::Flow(burst(1_200))),
    ]);
    jobs
}

/// Of so many allocations each is active, and none much.
const fn spread(calls: u32) -> Work {
    Work::Flow(Flow { calls, rate: 12_000.0, burst: 1, direction: Direction::Both, length_ms: 1_500, ..FULL })
}

fn mixed() -> Job {
    let off = Program::Ours(Ours { runs: "off", ..Ours::on("sockets") });
    let sides = vec![
        Side { name: GRO_OFF, program: off, work: Work::Mixed },
        Side { name: SOCKETS, program: ours("sockets"), work: Work::Mixed },
    ];
    Job { lines: vec![("mixed", Metric::Cpu)], sides, is_apart: false, rounds_max: u32::MAX }
}

fn sk_lookup() -> Job {
    let sides = vec![
        Side { name: SOCKETS, program: ours("sockets"), work: spread(8_192) },
        Side { name: SK_LOOKUP, program: ours("sk_lookup"), work: spread(8_192) },
        Side { name: SK_LOOKUP_FEW, program: ours("sk_lookup"), work: spread(128) },
    ];
    let lines = vec![("sk-8192", Metric::Cpu), ("sk-growth", Metric::Cpu)];
    Job { lines, sides, is_apart: false, rounds_max: 3 }
}

fn kernel() -> Vec<Job> {
    let apart = |lines, sides, rounds_max| Job { lines, sides, is_apart: true, rounds_max };
    let mut jobs = Vec::new();
    for (lines, calls) in [(["tc-128", "xdp-128"], 128), (["tc-8192", "xdp-8192"], 8_192)] {
        let side = |path| Side { name: path, program: ours(path), work: Work::Host { calls, path } };
        jobs.push(apart(
            lines.map(|line| (line, Metric::Host)).to_vec(),
            [SOCKETS, TC, XDP].map(side).to_vec(),
            u32::MAX,
        ));
    }
    for (name, round_trip, idle) in [(TC, "tc-idle", "idle-tc"), (XDP, "xdp-idle", "idle-xdp")] {
        let one = |work| vec![Side { name, program: ours(name), work }];
        jobs.push(apart(vec![(round_trip, Metric::P50)], one(Work::RoundTrips), u32::MAX));
        jobs.push(apart(vec![(idle, Metric::Idle)], one(Work::Fresh), 1));
    }
    jobs
}

/// The programs in the kernel, alone.
fn alone() -> Vec<Job> {
    let of = |path, v6, lines: [&'static str; 2]| {
        let side = |name, is_v6| Side { name, program: Program::Nobody, work: Work::Alone { path, is_v6 } };
        let lines = lines.map(|line| (line, Metric::Cpu)).to_vec();
        Job { lines, sides: vec![side(path, false), side(v6, true)], is_apart: false, rounds_max: u32::MAX }
    };
    vec![of(TC, TC_V6, ["tc-alone", "tc-alone-v6"]), of(XDP, XDP_V6, ["xdp-alone", "xdp-alone-v6"])]
}

#[cfg(test)]
mod tests {
    use super::super::lines::LINES;
    use super::super::lines::line;
    use super::*;

    #[test]
    fn each_line_is_measured_once_by_all_that_it_names() {
        let jobs = jobs();
        for line in LINES {
            let here = jobs.iter().flat_map(|job| &job.lines).filter(|(id, _)| *id == line.id).count();
            assert_eq!(here, 1, "{}", line.id);
        }
        for job in &jobs {
            for (id, _) in &job.lines {
                let line = line(id).expect("a line");
                for side in [Some(line.ours), line.goal.base()].into_iter().flatten() {
                    assert!(job.sides.iter().any(|each| each.name == side), "{id} lacks {side}");
                }
            }
        }
    }
}
