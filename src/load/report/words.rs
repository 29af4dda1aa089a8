//! How figures and plans are worded: short, with units, and the same in every report.

use std::time::Duration;

use crate::load::outcome::Capacity;
use crate::load::outcome::Flow;
use crate::load::outcome::Objective;
use crate::load::outcome::Report;
use crate::load::outcome::Rule;
use crate::load::plan::Direction;
use crate::load::plan::Framing;
use crate::load::plan::Mode;
use crate::load::plan::PeerPlace;
use crate::load::plan::Plan;
use crate::load::plan::Profile;
use crate::load::plan::Server;

/// A number with three significant digits at the least, and commas between thousands.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = match value.abs() {
        0.0 => 0,
        small if small < 0.095 => 3,
        small if small < 9.95 => 2,
        middle if middle < 99.5 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, part) = text.split_once('.').map_or((text.as_str(), ""), |(whole, part)| (whole, part));
    let part = part.trim_end_matches('0');
    let dot = if part.is_empty() { "" } else { "." };
    format!("{}{dot}{part}", with_commas(whole))
}

/// A count, with commas between thousands.
pub(super) fn count(value: u64) -> String {
    with_commas(&value.to_string())
}

fn with_commas(whole: &str) -> String {
    let mut text = String::with_capacity(whole.len() + whole.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `87µs`, `1.23ms`, `1.5s`.
pub(super) fn span(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        0.0 => "0".to_owned(),
        few if few < 999.5 => format!("{}µs", number(few)),
        some if some < 999_500.0 => format!("{}ms", number(some / 1e3)),
        _ => format!("{}s", number(micros / 1e6)),
    }
}

/// A span that somebody chose: `500ms`, `90s`, `5m`, `1h30m`.
pub(super) fn chosen(time: Duration) -> String {
    let seconds = time.as_secs();
    if time.subsec_nanos() > 0 || seconds < 120 {
        return span(time);
    }
    let parts = [(seconds / 3_600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// Seconds as [`span`].
pub(super) fn seconds(value: f64) -> String {
    Duration::try_from_secs_f64(value).map_or_else(|_| "–".to_owned(), span)
}

/// A part of something as percents: `0.12 %`.
pub(super) fn part(count: u64, of: u64) -> String {
    if of == 0 {
        return "–".to_owned();
    }
    percent(count as f64 / of as f64)
}

/// 0.001 as `0.1 %`.
pub(super) fn percent(part: f64) -> String {
    let percents = 100.0 * part;
    if percents > 0.0 && percents < 0.001 { "<0.001 %".to_owned() } else { format!("{} %", number(percents)) }
}

/// Bits a second: `66.4 Mbit/s`.
pub(super) fn bits(rate: f64) -> String {
    scaled(rate, 1_000.0, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"])
}

/// Bytes: `1.5 MiB`.
pub(super) fn bytes(size: f64) -> String {
    scaled(size, 1_024.0, ["B", "KiB", "MiB", "GiB"])
}

fn scaled(mut value: f64, step: f64, units: [&str; 4]) -> String {
    let mut index = 0;
    while value >= step && index + 1 < units.len() {
        value /= step;
        index += 1;
    }
    format!("{} {}", number(value), units[index])
}

/// `1 call`, `2 calls`.
pub(in crate::load) fn some(how_many: u64, what: &str) -> String {
    let plural = if how_many == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(how_many))
}

/// `1 call holds`, `2 calls hold`.
pub(in crate::load) fn holding(calls: u32) -> String {
    format!("{} hold{}", some(calls.into(), "call"), if calls == 1 { "s" } else { "" })
}

/// What part of a flow's packets was lost: 0.001 is 0.1 %.
pub(super) fn loss(flow: &Flow) -> f64 {
    if flow.sent == 0 { 0.0 } else { flow.lost as f64 / flow.sent as f64 }
}

/// The mode's word, as the command line has it.
pub(super) const fn mode_word(mode: &Mode) -> &'static str {
    match mode {
        Mode::Soak { .. } => "soak",
        Mode::Ramp { .. } => "ramp",
        Mode::Capacity { .. } => "capacity",
        Mode::Churn { .. } => "churn",
        Mode::Storm { .. } => "storm",
        Mode::Compare { .. } => "compare",
        Mode::Ice { .. } => "ice",
    }
}

/// The loads of a mode, in words.
pub(super) fn mode(mode: &Mode) -> String {
    match *mode {
        Mode::Soak { calls, length } => format!("{} for {}", some(calls.into(), "call"), chosen(length)),
        Mode::Ramp { from, step, to, hold } => format!(
            "{}, then {} more each {} until the objective breaks, {} at the most",
            some(from.into(), "call"),
            count(step.into()),
            chosen(hold),
            count(to.into())
        ),
        Mode::Capacity { from, to, hold, precision } => format!(
            "the most calls that hold the objective, between {} and {}, to within {}, each load for {}",
            count(from.into()),
            count(to.into()),
            percent(precision),
            chosen(hold)
        ),
        Mode::Churn { at_once, rate, length } => {
            let begun = rate
                .map_or("as many as it takes".to_owned(), |rate| format!("{} begun a second", number(rate)));
            format!(
                "Allocate, permission, channel, Refresh 0, over and over for {}; {} at once, {begun}",
                chosen(length),
                count(at_once.into())
            )
        }
        Mode::Storm { calls, rounds, hold } => format!(
            "{} all at once, {} with {} of media behind each",
            some(calls.into(), "call"),
            if rounds == 1 { "once".to_owned() } else { format!("{rounds} times") },
            chosen(hold)
        ),
        Mode::Compare { calls, hold, rounds } => format!(
            "{} at one server and then at the other, {} each time, {}",
            some(calls.into(), "call"),
            chosen(hold),
            some(rounds.into(), "round")
        ),
        Mode::Ice { pairs, rate, relay_only, patience } => format!(
            "{} of ICE agents, {} begun a second, {}, each for {} at the most",
            some(pairs.into(), "pair"),
            number(rate),
            if relay_only { "relayed candidates only" } else { "all kinds of candidates" },
            chosen(patience)
        ),
    }
}

/// That it went as it has to.
pub(super) const fn held(plan: &Plan) -> &'static str {
    if plan.nats.is_some() { "pairs ended as the standards have it" } else { "the objective holds" }
}

/// That it did not.
pub(super) const fn not_held(plan: &Plan) -> &'static str {
    if plan.nats.is_some() {
        "pairs ended otherwise than the standards have it"
    } else {
        "the objective does not hold"
    }
}

/// What stands before the agents, and by which further ways they reach the server; empty where nothing does.
pub(super) fn nats(plan: &Plan) -> Vec<String> {
    let Some(nats) = &plan.nats else { return Vec::new() };
    let between = format!(
        "between {} of places in turn; a relayed pair is judged {} after its last change of path",
        some(nats.places.len() as u64, "pair"),
        chosen(nats.settling)
    );
    let ways = nats.ways.iter().map(|way| format!("and by {}", server(way)));
    std::iter::once(between).chain(ways).collect()
}

/// How long each load runs before it is measured, in words; `None` where none does.
pub(super) fn warm_up(plan: &Plan) -> Option<String> {
    let warms_up = !matches!(plan.mode, Mode::Storm { .. } | Mode::Ice { .. }) && !plan.warm_up.is_zero();
    warms_up.then(|| format!("{} before each load, not in the figures", chosen(plan.warm_up)))
}

/// What each call sends, in words; `None` where no media flows.
pub(super) fn traffic(plan: &Plan) -> Option<String> {
    if matches!(plan.mode, Mode::Churn { .. } | Mode::Ice { .. }) {
        return None;
    }
    let way = match plan.traffic.direction {
        Direction::Both => "both ways",
        Direction::Up => "from client to peer",
        Direction::Down => "from peer to client",
    };
    Some(format!("{} {way}, {}", profile(&plan.traffic.profile), framing(plan)))
}

/// A profile in words.
pub(super) fn profile(profile: &Profile) -> String {
    match *profile {
        Profile::Audio => "audio (50 packets/s of 160–172 B)".to_owned(),
        Profile::Video => "video (frames in bursts of 1,200 B)".to_owned(),
        Profile::Screen => "screen (large bursts of 1,200 B now and then)".to_owned(),
        Profile::Mixed => "audio and video".to_owned(),
        Profile::Even { rate, size, burst } => {
            let together = if burst > 1 { format!(", {burst} at once") } else { String::new() };
            format!("{} packets/s of {} B{together}", number(rate), count(size.into()))
        }
    }
}

/// The word of a profile, as the command line has it.
pub(super) const fn profile_word(profile: &Profile) -> &'static str {
    match profile {
        Profile::Audio => "audio",
        Profile::Video => "video",
        Profile::Screen => "screen",
        Profile::Mixed => "mixed",
        Profile::Even { .. } => "even",
    }
}

fn framing(plan: &Plan) -> &'static str {
    match plan.framing {
        Framing::Channel => "in channels",
        Framing::Indication => "in indications",
    }
}

/// Where the other end of each call is, in words.
pub(super) fn peer(place: &PeerPlace) -> String {
    match place {
        PeerPlace::Relay => "the peer of each client is a second allocation at the same server".to_owned(),
        PeerPlace::Local(None) => "the peers are sockets of this machine".to_owned(),
        PeerPlace::Local(Some(address)) => format!("the peers are sockets of this machine at {address}"),
        PeerPlace::Remote(address) => format!("the peer is at {address} and sends back what comes"),
    }
}

/// What must hold, in words; `None` where nothing is judged.
pub(super) fn objective(objective: &Objective) -> Option<String> {
    let rules: Vec<_> = objective.rules.iter().map(rule).collect();
    (!rules.is_empty()).then(|| rules.join(", "))
}

fn rule(rule: &Rule) -> String {
    match *rule {
        Rule::Loss(most) => format!("loss ≤ {}", percent(most)),
        Rule::Latency(quantile, most) => format!("{} ≤ {}", quantile_word(quantile), span(most)),
        Rule::Jitter(most) => format!("jitter ≤ {}", span(most)),
        Rule::Failures(most) => format!("failures ≤ {}", percent(most)),
    }
}

/// `p99` of 0.99, `max` of 1.
pub(super) fn quantile_word(quantile: f64) -> String {
    if quantile >= 1.0 { "max".to_owned() } else { format!("p{}", (quantile * 1e7).round() / 1e5) }
}

/// How the second server stands to the first, one sentence for each figure.
pub(super) fn comparison(report: &Report) -> Vec<String> {
    let Some(comparison) = &report.comparison else { return Vec::new() };
    let ratios = comparison.ratios.iter();
    ratios
        .map(|ratio| {
            format!(
                "{}: B has {} × that of A ({} to {}, {})",
                ratio.what,
                number(ratio.median),
                number(ratio.least),
                number(ratio.most),
                some(comparison.pairs as u64, "round")
            )
        })
        .collect()
}

/// A capacity in one sentence.
pub(super) fn capacity(capacity: &Capacity) -> String {
    match capacity {
        Capacity::Found { calls, packets, bits: rate, breaks_at, why } => format!(
            "{} the objective ({} packets/s, {} of payload); {} do not: {why}.",
            holding(*calls),
            number(*packets),
            bits(*rate),
            count((*breaks_at).into())
        ),
        Capacity::LessThan(calls, why) => {
            format!(
                "less than {}: not even so many hold the objective: {why}.",
                some((*calls).into(), "call")
            )
        }
        Capacity::AtLeast(calls) => format!(
            "at least {}: the most that was asked for, and {} the objective.",
            count((*calls).into()),
            holding(*calls)
        ),
        Capacity::Unknown(why) => format!("unknown, for the generator came to its own limit first: {why}."),
    }
}

/// What a failure means, where its name does not tell, and what helps.
pub(super) fn meaning(failure: &str) -> Option<&'static str> {
    const MEANINGS: &[(&str, &str)] = &[
        ("300", "the server is draining, or sends clients elsewhere"),
        ("401", "the server does not know this user or password"),
        ("403", "the server's policy forbids this peer; at a Swingbridge: [peers] allow = [\"ADDRESS/32\"]"),
        (
            "437",
            "the server still has an allocation for this address and port: somebody did not give it back",
        ),
        ("438", "the server took the nonce for old, again and again"),
        ("441", "the server knows another user for this allocation"),
        ("442", "the server relays over another transport only"),
        ("486", "this user's quota is used up: --users N, or a larger quota at the server"),
        ("508", "the server has no relay port or no room left"),
        ("unsigned", "what the server answered was not signed with the password, and not believed"),
        ("timeout", "no answer came, however often it was asked"),
    ];
    let is_there = |word: &str| failure.split(|each: char| !each.is_alphanumeric()).any(|each| each == word);
    MEANINGS.iter().find(|(word, _)| is_there(word)).map(|(_, meaning)| *meaning)
}

/// Seconds since 1970 as `2026-01-31 12:34:56 UTC`.
pub(super) fn moment(unix: u64) -> String {
    let (days, rest) = ((unix / 86_400) as i64, unix % 86_400);
    // Days since 0000-03-01, in eras of 400 years; a year that begins in March has its leap day last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year_of_era + era * 400 + carry;
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Whom it is, and by what it is reached.
pub(super) fn server(server: &Server) -> String {
    let Server { uri, address, carrier, .. } = server;
    let way = format!("{uri} at {address} over {carrier}");
    server
        .proxy
        .as_ref()
        .map_or_else(|| way.clone(), |proxy| format!("{way}, through the proxy {}", proxy.url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_commas() {
        let shown = [0.0, 0.0123, 0.5, 1.0, 1.234, 12.34, 99.96, 123.4, 1_234_567.8, -1_234.0].map(number);
        assert_eq!(shown, ["0", "0.012", "0.5", "1", "1.23", "12.3", "100", "123", "1,234,568", "-1,234"]);
        assert_eq!((count(0), count(999), count(1_000)), ("0".into(), "999".into(), "1,000".into()));
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn one_is_one_and_several_are_several() {
        assert_eq!(
            (some(1, "call"), some(2, "pair"), some(0, "call")),
            ("1 call".into(), "2 pairs".into(), "0 calls".into())
        );
        assert_eq!((holding(1), holding(1_000)), ("1 call holds".into(), "1,000 calls hold".into()));
        let capacity = |calls| capacity(&Capacity::AtLeast(calls));
        assert!(capacity(1).contains("1 call holds the") && capacity(9).contains("9 calls hold the"));
    }

    #[test]
    fn spans_have_the_unit_that_suits_them() {
        let shown = [0, 1, 999, 1_000, 12_345, 999_499, 999_500, 61_000_000]
            .map(|us| span(Duration::from_micros(us)));
        assert_eq!(shown, ["0", "1µs", "999µs", "1ms", "12.3ms", "999ms", "1s", "61s"]);
        let shown = [500, 60_000, 119_000, 120_000, 5_400_000].map(|ms| chosen(Duration::from_millis(ms)));
        assert_eq!(shown, ["500ms", "60s", "119s", "2m", "1h30m"]);
    }

    #[test]
    fn parts_rates_and_sizes() {
        assert_eq!(
            (part(1, 1_000), part(1, 0), part(1, 1_000_000)),
            ("0.1 %".into(), "–".into(), "<0.001 %".into())
        );
        assert_eq!((bits(66_400_000.0), bytes(1_536.0)), ("66.4 Mbit/s".into(), "1.5 KiB".into()));
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(quantile_word), ["p50", "p99", "p99.9", "max"]);
    }

    #[test]
    fn a_failure_is_explained_by_its_code() {
        assert!(meaning("CreatePermission 403").is_some_and(|text| text.contains("[peers] allow")));
        assert!(meaning("Allocate timeout").is_some());
        assert_eq!(meaning("Allocate 4861"), None);
    }

    #[test]
    fn a_moment_is_a_date() {
        let dates = [0, 951_782_400, 1_709_210_096, 4_102_444_799].map(moment);
        let wanted =
            ["1970-01-01 00:00:00", "2000-02-29 00:00:00", "2024-02-29 12:34:56", "2099-12-31 23:59:59"];
        assert_eq!(dates, wanted.map(|date| format!("{date} UTC")));
    }
}
