//! Rules compiled for the packet path: the address space of one family cut into spans of addresses that are
//! judged alike, each span with segments of ports that are judged alike.
//!
//! ```text
//!   firsts:   0 ─────────── 10.0.0.0 ──────────── 11.0.0.0 ───────…     found by binary search
//!               │                 │                     │
//!   segments: [0-65535 allow]  [0-4999 deny][5000-6000 allow][6001-65535 deny]  [0-65535 allow] …
//! ```
//!
//! Prefixes are nested or disjoint, so one pass over their ends with a stack of those that are open sees, for
//! each span, exactly the rules that cover it.

use super::Unlisted;

/// A rule over the addresses `first..=last`, which are a prefix.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) first: u128,
    pub(super) last: u128,
    pub(super) prefix_len: u8,
    /// `None` for all.
    pub(super) ports: Option<(u16, u16)>,
    pub(super) source: Source,
    /// Whether the prefix is a single address.
    pub(super) is_host: bool,
    /// Index of the words that name it.
    pub(super) reason: u32,
}

/// Who made a rule, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    OperatorAllow,
    OperatorDeny,
    BuiltinAllow,
    BuiltinDeny,
}

/// What is said of one address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) allowed: bool,
    /// The operator named this very address to deny it, which even a live relayed address yields to.
    pub(super) final_word: bool,
    /// Index of the words that name the rule.
    pub(super) reason: u32,
}

/// Ports up to `last_port` that are judged alike; they begin behind the segment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) last_port: u16,
    pub(super) ruling: Ruling,
}

/// The rules of one address family, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spans<A> {
    /// Ascending; the first is 0.
    firsts: Box<[A]>,
    /// Where the segments of each span begin, and one more: where the last one's end.
    begins: Box<[u32]>,
    segments: Box<[Segment]>,
}

impl<A: Copy + Ord + TryFrom<u128>> Spans<A> {
    /// Compiles `entries`, whose addresses all fit `A`. `unlisted` is the ruling where none covers.
    pub(super) fn compile(mut entries: Vec<Entry>, unlisted: Ruling) -> Self {
        entries.sort_by_key(|entry| (entry.first, entry.prefix_len));
        let mut bounds: Vec<u128> = vec![0];
        bounds.extend(entries.iter().map(|entry| entry.first));
        bounds.extend(entries.iter().filter_map(|entry| entry.last.checked_add(1)));
        bounds.sort_unstable();
        bounds.dedup();

        let (mut firsts, mut begins, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        let mut open: Vec<&Entry> = Vec::new();
        let mut to_come = entries.iter().peekable();
        let mut before: Vec<Segment> = Vec::new();
        for bound in bounds {
            // A bound behind the last address of the family begins no span.
            let Ok(first) = A::try_from(bound) else { break };
            while open.last().is_some_and(|entry| entry.last < bound) {
                open.pop();
            }
            while let Some(entry) = to_come.next_if(|entry| entry.first == bound) {
                open.push(entry);
            }
            let here = segments_of(&open, unlisted);
            if here != before {
                firsts.push(first);
                begins.push(index(segments.len()));
                segments.extend_from_slice(&here);
                before = here;
            }
        }
        begins.push(index(segments.len()));
        Self { firsts: firsts.into(), begins: begins.into(), segments: segments.into() }
    }

    /// The segments of `address`: never empty, the last one ends at 65535.
    pub(super) fn segments(&self, address: A) -> &[Segment] {
        // The first span begins at 0, so at least one begins at or before `address`.
        let span = self.firsts.partition_point(|first| *first <= address).saturating_sub(1);
        &self.segments[self.begins[span] as usize..self.begins[span + 1] as usize]
    }
}

/// The ruling on `port` among the segments of an address.
pub(super) fn ruling(segments: &[Segment], port: u16) -> Ruling {
    let place = segments.partition_point(|segment| segment.last_port < port);
    segments[place].ruling
}

fn segments_of(open: &[&Entry], unlisted: Ruling) -> Vec<Segment> {
    let mut ends = vec![u16::MAX];
    for (first, last) in open.iter().filter_map(|entry| entry.ports) {
        ends.extend(first.checked_sub(1));
        ends.push(last);
    }
    ends.sort_unstable();
    ends.dedup();

    let mut segments: Vec<Segment> = Vec::new();
    for last_port in ends {
        let ruling = decide(open, last_port, unlisted);
        match segments.last_mut() {
            Some(before) if before.ruling == ruling => before.last_port = last_port,
            _ => segments.push(Segment { last_port, ruling }),
        }
    }
    segments
}

/// The rule of rules: of the operator's the most specific prefix speaks, with ports before without, deny before
/// allow; an allow that is less specific than the built-in deny yields to it.
fn decide(open: &[&Entry], port: u16, unlisted: Ruling) -> Ruling {
    let covering =
        || open.iter().filter(|entry| entry.ports.is_none_or(|(first, last)| (first..=last).contains(&port)));
    let operator = covering()
        .filter(|entry| matches!(entry.source, Source::OperatorAllow | Source::OperatorDeny))
        .max_by_key(|entry| (entry.prefix_len, entry.ports.is_some(), entry.source == Source::OperatorDeny));
    let builtin = covering()
        .filter(|entry| matches!(entry.source, Source::BuiltinAllow | Source::BuiltinDeny))
        .max_by_key(|entry| entry.prefix_len);

    let speaks = match (operator, builtin) {
        (Some(operator), Some(builtin)) => {
            let yields = operator.source == Source::OperatorAllow
                && builtin.source == Source::BuiltinDeny
                && operator.prefix_len < builtin.prefix_len;
            if yields { builtin } else { operator }
        }
        (Some(alone), None) | (None, Some(alone)) => alone,
        (None, None) => return unlisted,
    };
    Ruling {
        allowed: matches!(speaks.source, Source::OperatorAllow | Source::BuiltinAllow),
        final_word: speaks.source == Source::OperatorDeny && speaks.is_host,
        reason: speaks.reason,
    }
}

fn index(len: usize) -> u32 {
    u32::try_from(len).expect("a policy has fewer than 2^32 segments, because its rules come from one file")
}

impl Unlisted {
    pub(super) const fn allows(self) -> bool {
        match self {
            Self::Public => true,
            Self::None => false,
        }
    }
}
