//! From the command line to a plan: what is contradictory is refused here, in a sentence with its cure.

use std::net::SocketAddr;
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use crate::cli::args::DirectionArg;
use crate::cli::args::LoadArgs;
use crate::cli::args::ProfileArg;
use crate::cli::args::TrafficArgs;
use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::outcome::Objective;
use crate::load::plan::Direction;
use crate::load::plan::Framing;
use crate::load::plan::Generator;
use crate::load::plan::Lab;
use crate::load::plan::Mode;
use crate::load::plan::PAYLOAD_MIN;
use crate::load::plan::PeerPlace;
use crate::load::plan::Profile;
use crate::load::plan::Traffic;
use crate::proto::types::limits;

use super::nats;

/// What to do, as a word of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Soak,
    Ramp,
    Capacity,
    Churn,
    Storm,
    Compare,
    Ice,
}

use Word::Capacity;
use Word::Churn;
use Word::Compare;
use Word::Ice;
use Word::Ramp;
use Word::Soak;
use Word::Storm;

const WORDS: [(&str, Word); 7] = [
    ("soak", Soak),
    ("ramp", Ramp),
    ("capacity", Capacity),
    ("churn", Churn),
    ("storm", Storm),
    ("compare", Compare),
    ("ice", Ice),
];

/// Everything that is asked but who is to be loaded.
#[derive(Debug)]
pub(super) struct Ask {
    /// One, or the two of `compare`.
    pub(super) uris: Vec<String>,
    pub(super) mode: Mode,
    pub(super) traffic: Traffic,
    pub(super) peer: PeerPlace,
    pub(super) framing: Framing,
    pub(super) objective: Objective,
    pub(super) warm_up: Duration,
    pub(super) generator: Generator,
    /// Between which places pairs are made.
    pub(super) nats: Option<nats::Asked>,
}

/// Bytes that fit into one packet of an Ethernet beside all headers.
const PAYLOAD_MAX: u16 = 1_400;

/// Packets a second of one call at the most: beyond, it is no call.
const RATE_MAX: f64 = 100_000.0;

/// Calls at the most: beyond, one machine has no ports for them.
const CALLS_MAX: u32 = 100_000;

impl Ask {
    /// How long credentials must be good: as long as the run can take, and a little more.
    ///
    /// # Errors
    ///
    /// Where no server would take credentials that are good for so long.
    pub(super) fn lifetime(&self) -> Result<Duration, Fault> {
        let hold =
            |hold: Duration, loads: u32| hold.saturating_add(self.warm_up + SETUP_MAX).saturating_mul(loads);
        let run = match self.mode {
            Mode::Soak { length, .. } | Mode::Churn { length, .. } => hold(length, 1),
            Mode::Ramp { from, step, to, hold: each } => hold(each, (to - from) / step + 1),
            Mode::Capacity { hold: each, .. } => hold(each, CAPACITY_LOADS_MAX),
            Mode::Storm { rounds, hold: each, .. } => hold(each, rounds),
            Mode::Compare { rounds, hold: each, .. } => hold(each, rounds.saturating_mul(2)),
            Mode::Ice { pairs, rate, patience, .. } => Duration::try_from_secs_f64(f64::from(pairs) / rate)
                .unwrap_or(Duration::MAX)
                .saturating_add(patience)
                .saturating_add(self.nats.as_ref().map_or(Duration::ZERO, |nats| nats.settling)),
        };
        let wanted = run.saturating_add(LIFETIME_LEEWAY);
        if wanted > limits::CREDENTIAL_LIFETIME_MAX {
            // The leeway is for the clocks of two machines; what is left is enough for the run itself, or it is not.
            if run > limits::CREDENTIAL_LIFETIME_MAX {
                return Err(wrong(
                    "the run could take longer than credentials can be good, which is 8 hours",
                )
                .cure("ask for fewer or shorter loads"));
            }
            return Ok(limits::CREDENTIAL_LIFETIME_MAX);
        }
        Ok(wanted)
    }
}

/// What bringing one load up can take.
const SETUP_MAX: Duration = Duration::from_secs(60);

/// Loads that a search for the capacity measures at the most.
const CAPACITY_LOADS_MAX: u32 = 40;

/// How much longer than the run credentials are good.
const LIFETIME_LEEWAY: Duration = Duration::from_secs(600);

/// What the command line asks for.
///
/// # Errors
///
/// Where flags contradict each other, or a value means nothing.
pub(super) fn ask(args: &LoadArgs, seed: u64) -> Result<Ask, Fault> {
    let (word, uris) = mode_and_uris(&args.words, !args.amount.nat.is_empty())?;
    check_flags(word, args)?;
    let nats = nats::asked(args)?;
    let objective = match &args.amount.objective {
        Some(text) => Objective::parse(text)?,
        None if matches!(word, Ramp | Capacity) => Objective::usual(),
        None => Objective::default(),
    };
    Ok(Ask {
        uris,
        mode: mode(word, args, nats.as_ref().map_or(0, |nats| nats.places.len()))?,
        traffic: traffic(&args.traffic)?,
        peer: peer(args.traffic.peer.as_deref())?,
        framing: if args.traffic.indications { Framing::Indication } else { Framing::Channel },
        objective,
        warm_up: args.amount.warm_up.unwrap_or(Duration::from_secs(2)),
        generator: Generator {
            threads: args.machine.threads,
            sources: args.machine.source.clone(),
            segments: !args.machine.no_gso,
            seed,
            lab: Lab::default(),
        },
        nats,
    })
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Request, what)
}

fn mode_and_uris(words: &[String], has_nats: bool) -> Result<(Word, Vec<String>), Fault> {
    let modes = || WORDS.map(|(name, _)| name).join(", ");
    let (word, uris) = match words {
        [first, uris @ ..] if !first.contains(':') => {
            let Some((_, word)) = WORDS.iter().find(|(name, _)| name == first) else {
                return Err(wrong(format!("`{first}` is neither a mode nor a URI"))
                    .cure(format!("write one of {}, or a URI such as turn:{first}", modes())));
            };
            (*word, uris)
        }
        uris => (Soak, uris),
    };
    match (word, uris) {
        (_, []) => Err(wrong("no server is named").cure("write its URI: turn:HOST, or turns:HOST for TLS")),
        (Ice, _) if has_nats => Ok((word, uris.to_vec())),
        (Compare, [_, _]) | (_, [_]) if word != Compare || uris.len() == 2 => Ok((word, uris.to_vec())),
        (Compare, _) => Err(wrong("compare takes two servers").cure("write both URIs, one behind the other")),
        _ => Err(wrong("two servers are named, and only compare takes two")
            .cure("write: swingbridge load compare URI URI, or leave one out")),
    }
}

/// A flag, whether it is there, and the modes to which it says something.
type Rule = (&'static str, fn(&LoadArgs) -> bool, &'static [Word]);

const ALL_WITH_MEDIA: &[Word] = &[Soak, Ramp, Capacity, Storm, Compare];

const RULES: &[Rule] = &[
    ("--calls", |args| args.amount.calls.is_some(), &[Soak, Capacity, Churn, Storm, Compare, Ice]),
    ("--for", |args| args.amount.length.is_some(), &[Soak, Ramp, Capacity, Churn, Storm, Compare]),
    ("--ramp", |args| args.amount.ramp.is_some(), &[Ramp]),
    ("--rounds", |args| args.amount.rounds.is_some(), &[Storm, Compare]),
    ("--per-second", |args| args.amount.per_second.is_some(), &[Churn, Ice]),
    ("--precision", |args| args.amount.precision.is_some(), &[Capacity]),
    ("--all-candidates", |args| args.amount.all_candidates, &[Ice]),
    ("--patience", |args| args.amount.patience.is_some(), &[Ice]),
    ("--nat", |args| !args.amount.nat.is_empty(), &[Ice]),
    ("--warm-up", |args| args.amount.warm_up.is_some(), &[Soak, Ramp, Capacity, Churn, Compare]),
    ("--profile", |args| args.traffic.profile.is_some(), ALL_WITH_MEDIA),
    ("--rate", |args| args.traffic.rate.is_some(), ALL_WITH_MEDIA),
    ("--size", |args| args.traffic.size.is_some(), ALL_WITH_MEDIA),
    ("--burst", |args| args.traffic.burst.is_some(), ALL_WITH_MEDIA),
    ("--direction", |args| args.traffic.direction.is_some(), ALL_WITH_MEDIA),
    ("--indications", |args| args.traffic.indications, ALL_WITH_MEDIA),
    ("--peer", |args| args.traffic.peer.is_some(), &[Soak, Ramp, Capacity, Churn, Storm, Compare]),
];

fn check_flags(word: Word, args: &LoadArgs) -> Result<(), Fault> {
    let name = |word: Word| WORDS.iter().find(|(_, each)| *each == word).map_or("", |(name, _)| name);
    for (flag, is_there, modes) in RULES {
        if is_there(args) && !modes.contains(&word) {
            let meant: Vec<_> = modes.iter().copied().map(name).collect();
            return Err(wrong(format!("{flag} says nothing to {}", name(word)))
                .cure(format!("leave it out; it is for {}", meant.join(", "))));
        }
    }
    Ok(())
}

/// `between`: pairs of places that pairs of agents are made between.
fn mode(word: Word, args: &LoadArgs, between: usize) -> Result<Mode, Fault> {
    let amount = &args.amount;
    let calls = |default: u32| match amount.calls.unwrap_or(default) {
        calls if calls <= CALLS_MAX => Ok(calls),
        calls => Err(wrong(format!("--calls {calls} is more than one machine makes"))
            .cure(format!("write at most {CALLS_MAX}"))),
    };
    let length = |default_s: u64| match amount.length {
        Some(length) if length.is_zero() => {
            Err(wrong("--for 0s would be over at once").cure("write --for 30s"))
        }
        length => Ok(length.unwrap_or(Duration::from_secs(default_s))),
    };
    let per_second = || match amount.per_second {
        Some(rate) if !(rate > 0.0 && rate <= RATE_MAX) => {
            Err(wrong(format!("--per-second {rate} is no rate")).cure("write a number above 0"))
        }
        rate => Ok(rate),
    };
    let rounds = amount.rounds.unwrap_or(3);
    Ok(match word {
        Soak => Mode::Soak { calls: calls(50)?, length: length(30)? },
        Ramp => {
            let (from, step, to) = ramp(amount.ramp.as_deref().unwrap_or("10:10:500"))?;
            Mode::Ramp { from, step, to, hold: length(10)? }
        }
        Capacity => {
            let to = calls(10_000)?;
            Mode::Capacity {
                from: to.min(10),
                to,
                hold: length(10)?,
                precision: precision(amount.precision.as_deref().unwrap_or("5%"))?,
            }
        }
        Churn => Mode::Churn { at_once: calls(10)?, rate: per_second()?, length: length(30)? },
        Storm => Mode::Storm { calls: calls(100)?, rounds, hold: length(5)? },
        Compare => Mode::Compare { calls: calls(50)?, hold: length(10)?, rounds },
        Ice => Mode::Ice {
            pairs: match calls(u32::try_from(between).unwrap_or(u32::MAX).max(50))? {
                pairs if pairs as usize >= between => pairs,
                pairs => {
                    return Err(wrong(format!(
                        "--calls {pairs} leaves some of the {between} pairs of places without one"
                    ))
                    .cure(format!("write {between} or more, or ask for fewer places")));
                }
            },
            rate: per_second()?.unwrap_or(10.0),
            relay_only: !amount.all_candidates && between == 0,
            patience: amount.patience.unwrap_or(Duration::from_secs(15)),
        },
    })
}

fn ramp(text: &str) -> Result<(u32, u32, u32), Fault> {
    let numbers: Option<Vec<u32>> = text.split(':').map(|part| part.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some([from, step, to]) if *from > 0 && *step > 0 && from <= to && *to <= CALLS_MAX => Ok((*from, *step, *to)),
        _ => Err(wrong(format!("--ramp {text} is no ramp")).cure(format!(
            "write calls to begin with, calls more each time, and calls at the most, {CALLS_MAX} or fewer: --ramp 10:10:500"
        ))),
    }
}

fn precision(text: &str) -> Result<f64, Fault> {
    let percents: Option<f64> = text.trim_end_matches('%').trim().parse().ok();
    match percents {
        Some(percents) if (0.1..=50.0).contains(&percents) => Ok(percents / 100.0),
        _ => Err(wrong(format!("--precision {text} is none"))
            .cure("write percents from 0.1% to 50%: --precision 5%")),
    }
}

fn traffic(args: &TrafficArgs) -> Result<Traffic, Fault> {
    let is_even = args.rate.is_some() || args.size.is_some() || args.burst.is_some();
    let profile = match args.profile {
        _ if is_even => even(args)?,
        None | Some(ProfileArg::Audio) => Profile::Audio,
        Some(ProfileArg::Video) => Profile::Video,
        Some(ProfileArg::Screen) => Profile::Screen,
        Some(ProfileArg::Mixed) => Profile::Mixed,
    };
    let direction = match args.direction {
        None | Some(DirectionArg::Both) => Direction::Both,
        Some(DirectionArg::Up) => Direction::Up,
        Some(DirectionArg::Down) => Direction::Down,
    };
    Ok(Traffic { profile, direction })
}

fn even(args: &TrafficArgs) -> Result<Profile, Fault> {
    let rate = args.rate.unwrap_or(50.0);
    if !(rate > 0.0 && rate <= RATE_MAX) {
        return Err(wrong(format!("--rate {rate} is no rate of packets"))
            .cure(format!("write packets a second of each call, above 0 and at most {RATE_MAX}")));
    }
    let size = args.size.unwrap_or(172);
    if !(PAYLOAD_MIN..=PAYLOAD_MAX).contains(&size) {
        return Err(wrong(format!("--size {size} is no size of a packet")).cure(format!(
            "write bytes of payload from {PAYLOAD_MIN} (RTP header, number and time stamps) to {PAYLOAD_MAX}"
        )));
    }
    Ok(Profile::Even { rate, size, burst: args.burst.unwrap_or(1) })
}

fn peer(text: Option<&str>) -> Result<PeerPlace, Fault> {
    const FORMS: &str = "write relay, local, local:ADDRESS, or the HOST:PORT of a `swingbridge load peer`";
    let text = match text {
        None | Some("relay") => return Ok(PeerPlace::Relay),
        Some("local") => return Ok(PeerPlace::Local(None)),
        Some(text) => text,
    };
    if let Some(address) = text.strip_prefix("local:") {
        let address = address.trim_start_matches('[').trim_end_matches(']').parse();
        let address = address.map_err(|_| wrong(format!("--peer {text} names no address")).cure(FORMS))?;
        return Ok(PeerPlace::Local(Some(address)));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(PeerPlace::Remote(address));
    }
    if text.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(wrong(format!("--peer {text} is no place")).cure(FORMS));
    }
    let found = text.to_socket_addrs().map(|mut addresses| addresses.next());
    match found {
        Ok(Some(address)) => Ok(PeerPlace::Remote(address)),
        Ok(None) => Err(wrong(format!("--peer {text}: the name has no address"))),
        Err(error) => Err(wrong(format!("--peer {text}: the name was not found: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Args;
    use crate::cli::Command;

    fn asked(line: &str) -> Result<Ask, Fault> {
        let words = ["swingbridge", "load"].into_iter().chain(line.split_whitespace());
        let args = Args::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        let Command::Load(args) = args.command else { panic!("it is `load`") };
        ask(&args, 7)
    }

    #[test]
    fn the_plain_form_is_a_soak() {
        let ask = asked("turn:127.0.0.1").expect("it is sound");
        assert_eq!(ask.mode, Mode::Soak { calls: 50, length: Duration::from_secs(30) });
        assert_eq!(ask.traffic, Traffic { profile: Profile::Audio, direction: Direction::Both });
        assert_eq!(
            (ask.peer, ask.framing, ask.uris),
            (PeerPlace::Relay, Framing::Channel, vec!["turn:127.0.0.1".to_owned()])
        );
        assert!(ask.objective.rules.is_empty());
    }

    #[test]
    fn each_mode_has_its_word() {
        for (word, mode) in [
            ("soak turn:a --calls 3 --for 1m", Mode::Soak { calls: 3, length: Duration::from_secs(60) }),
            (
                "ramp turn:a --ramp 5:10:20",
                Mode::Ramp { from: 5, step: 10, to: 20, hold: Duration::from_secs(10) },
            ),
            (
                "capacity turn:a --precision 2% --calls 100",
                Mode::Capacity { from: 10, to: 100, hold: Duration::from_secs(10), precision: 0.02 },
            ),
            (
                "churn turn:a --per-second 12.5",
                Mode::Churn { at_once: 10, rate: Some(12.5), length: Duration::from_secs(30) },
            ),
            ("storm turn:a --rounds 2", Mode::Storm { calls: 100, rounds: 2, hold: Duration::from_secs(5) }),
            ("compare turn:a turn:b", Mode::Compare { calls: 50, hold: Duration::from_secs(10), rounds: 3 }),
            (
                "ice turn:a --all-candidates --calls 4",
                Mode::Ice { pairs: 4, rate: 10.0, relay_only: false, patience: Duration::from_secs(15) },
            ),
        ] {
            assert_eq!(asked(word).expect("it is sound").mode, mode, "{word}");
        }
        for judged in ["ramp turn:a", "capacity turn:a"] {
            assert_eq!(asked(judged).expect("it is sound").objective.rules.len(), 3, "{judged}");
        }
    }

    #[test]
    fn pairs_between_nats_are_as_many_as_their_places_at_least() {
        let nats = |line: &str| asked(line).expect("it is sound");
        let all = nats("ice turn:a turn:a?transport=tcp --nat all --nat open:cgn");
        let between = all.nats.as_ref().expect("it has NATs");
        assert_eq!(
            (between.places.len(), between.settling, all.uris.len()),
            (81, Duration::from_secs(25), 2)
        );
        let wanted =
            Mode::Ice { pairs: 81, rate: 10.0, relay_only: false, patience: Duration::from_secs(15) };
        assert_eq!(all.mode, wanted);
        let few = nats("ice turn:a --nat open:cgn --nat open:cgn --nat cgn:open --settle 3s --calls 2");
        let between = few.nats.as_ref().expect("it has NATs");
        assert_eq!((between.places.len(), between.settling), (2, Duration::from_secs(3)));
        assert!(nats("ice turn:a").nats.is_none());
    }

    #[test]
    fn what_contradicts_itself_is_a_sentence() {
        for (line, says) in [
            ("sok turn:a", "`sok` is neither a mode nor a URI"),
            ("ramp", "no server is named"),
            ("turn:a turn:b", "only compare takes two"),
            ("compare turn:a", "compare takes two"),
            ("turn:a --ramp 1:1:5", "--ramp says nothing to soak"),
            ("ramp turn:a --calls 5", "--calls says nothing to ramp"),
            ("ice turn:a --for 5s", "--for says nothing to ice"),
            ("ice turn:a --peer local", "--peer says nothing to ice"),
            ("ice turn:a turn:b", "only compare takes two"),
            ("soak turn:a --nat all", "--nat says nothing to soak"),
            ("ice turn:a --nat open", "--nat open is no pair of places"),
            ("ice turn:a --nat open:moon", "there is no place \"moon\"; there are open, full-cone"),
            ("ice turn:a --nat open:open --source 127.0.0.2", "--source says nothing beside --nat"),
            (
                "ice turn:a --nat all --calls 80",
                "--calls 80 leaves some of the 81 pairs of places without one",
            ),
            ("churn turn:a --rate 5", "--rate says nothing to churn"),
            ("soak turn:a --per-second 5", "--per-second says nothing to soak"),
            ("ramp turn:a --ramp 5:0:9", "--ramp 5:0:9 is no ramp"),
            ("ramp turn:a --ramp 9:1:5", "--ramp 9:1:5 is no ramp"),
            ("ramp turn:a --ramp many", "--ramp many is no ramp"),
            ("turn:a --for 0s", "--for 0s"),
            ("turn:a --rate 0", "--rate 0 is no rate"),
            ("turn:a --rate NaN", "--rate NaN is no rate"),
            ("turn:a --size 12", "--size 12 is no size"),
            ("turn:a --size 9000", "--size 9000 is no size"),
            ("turn:a --calls 2000000", "is more than one machine makes"),
            ("turn:a --peer nowhere", "--peer nowhere is no place"),
            ("turn:a --peer local:me", "--peer local:me names no address"),
            ("capacity turn:a --precision no", "--precision no is none"),
            ("turn:a --objective speed>9", "objective"),
        ] {
            let fault = asked(line).expect_err(line);
            assert!(fault.what.contains(says) && fault.kind == FaultKind::Request, "{line}: {fault}");
        }
    }

    #[test]
    fn peers_are_places() {
        let place = |text: &str| peer(Some(text));
        assert_eq!(place("relay"), Ok(PeerPlace::Relay));
        assert_eq!(place("local:[::1]"), Ok(PeerPlace::Local(Some("::1".parse().expect("an address")))));
        assert_eq!(place("[::1]:4000"), Ok(PeerPlace::Remote("[::1]:4000".parse().expect("an address"))));
    }
}
