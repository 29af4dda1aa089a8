//! Which tier the relay ports stand on: tried at the start, one after the other, and told with the reason where one is not
//! to be had.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use crate::net::Receiving;
use crate::net::Steering;
use crate::net::privilege;
use crate::net::privilege::Capability;
use crate::proto::types::limits;

use super::Attached;
use super::Buckets;
use super::Raws;
use super::Steered;
use super::attached;
use super::prove;

/// The oldest kernel that knows sk_lookup.
const SK_LOOKUP_SINCE: (u32, u32) = (5, 9);

/// A way for packets to reach relay ports and to leave from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// A socket for each allocation.
    Sockets,
    /// All ports of a worker on one socket, and raw sockets to leave by.
    SkLookup,
    /// A program at the network interface, behind the driver.
    Tc,
    /// A program within the driver.
    Xdp,
}

impl Tier {
    /// Every tier, the most wanted last.
    pub const ALL: [Self; 4] = [Self::Sockets, Self::SkLookup, Self::Tc, Self::Xdp];

    /// Its name in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::SkLookup => "sk_lookup",
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Sockets => "a socket for each allocation",
            Self::SkLookup => "the ports of a worker arrive on one socket and leave by raw sockets",
            Self::Tc => "media is relayed at the network interface",
            Self::Xdp => "media is relayed in the driver",
        }
    }

    /// Whether packets are relayed by a program in front of the sockets, and so in front of the host's firewall.
    #[must_use]
    pub const fn is_in_kernel(self) -> bool {
        matches!(self, Self::Tc | Self::Xdp)
    }

    /// The capabilities that it takes to start on it.
    #[must_use]
    pub const fn needs(self) -> &'static [Capability] {
        match self {
            Self::Sockets => &[],
            Self::SkLookup => &[Capability::Bpf, Capability::NetAdmin, Capability::NetRaw],
            Self::Tc | Self::Xdp => &[Capability::Bpf, Capability::NetAdmin, Capability::Perfmon],
        }
    }
}

/// What the operator asks for, and what a tier must know to be tried.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The tier that was named; without one the best is chosen.
    pub tier: Option<Tier>,
    /// The relayed addresses as they are bound, at most [`limits::RELAY_ADDRESSES_MAX`].
    pub addresses: Vec<IpAddr>,
    /// The ports of relayed addresses.
    pub ports: RangeInclusive<u16>,
    /// The network interfaces that a program may be attached to.
    pub interfaces: Vec<String>,
    /// Whether the capabilities that a tier takes are given back once it stands.
    pub drop_privileges: bool,
}

impl Default for Wish {
    /// The tier that needs nothing.
    fn default() -> Self {
        Self {
            tier: Some(Tier::Sockets),
            addresses: Vec::new(),
            ports: 1..=u16::MAX,
            interfaces: Vec::new(),
            drop_privileges: false,
        }
    }
}

/// Why a tier cannot be had, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub tier: Tier,
    /// What stands in its way.
    pub reason: String,
    /// What the operator can do.
    pub cure: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the path \"{}\" cannot be had: {}", self.tier.word(), self.reason)
    }
}

impl std::error::Error for Refusal {}

/// What became of one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub tier: Tier,
    /// Why it cannot be had; `None` if it can.
    pub refusal: Option<Refusal>,
    /// Whether it is the one.
    pub chosen: bool,
}

/// The tier that was chosen, and what became of those that were tried before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The one.
    pub tier: Tier,
    /// Those that are better and cannot be had, the best first.
    pub refused: Vec<Refusal>,
    /// What the ports stand on below a tier in the kernel: [`Tier::SkLookup`], or why it had to be [`Tier::Sockets`].
    pub below: Option<Result<Tier, Refusal>>,
    /// Whether what goes to peers, and to clients, leaves by raw sockets.
    pub sends_raw: bool,
}

/// What a worker gets.
#[derive(Debug, Default)]
pub(in crate::relay) struct Share {
    pub(super) raws: Option<Raws>,
    pub(super) steered: Option<Steered>,
    pub(super) attached: Option<Attached>,
}

/// What each worker gets, and what the control task does.
#[derive(Debug)]
pub(in crate::relay) struct Shares {
    pub(in crate::relay) each: Vec<Share>,
    /// Lends buckets that a program in the kernel draws from too.
    pub(in crate::relay) buckets: Option<Buckets>,
    below: Option<Result<Tier, Refusal>>,
}

impl Shares {
    const fn of(each: Vec<Share>) -> Self {
        Self { each, buckets: None, below: None }
    }

    fn send_raw(&self) -> bool {
        self.each.iter().all(|share| share.raws.is_some())
    }
}

/// Chooses for `workers` workers, whose ticks count from `start`, and makes what each of them needs.
///
/// # Errors
/// If the tier that was named cannot be had.
pub(in crate::relay) fn choose(
    wish: &Wish,
    workers: u16,
    start: Instant,
) -> Result<(Choice, Shares), Refusal> {
    let mut refused = Vec::new();
    for tier in Tier::ALL.into_iter().rev().filter(|tier| wish.tier.is_none_or(|named| named == *tier)) {
        match prepare(tier, wish, workers, start) {
            Ok(mut shares) => {
                let below = shares.below.take();
                return Ok((Choice { tier, refused, below, sends_raw: shares.send_raw() }, shares));
            }
            Err(refusal) if wish.tier.is_some() => return Err(refusal),
            Err(refusal) => refused.push(refusal),
        }
    }
    // The last one tried needs nothing.
    let shares = sockets(wish, workers);
    Ok((Choice { tier: Tier::Sockets, refused, below: None, sends_raw: shares.send_raw() }, shares))
}

/// Tries every tier, the best first, and lets go of each. Nothing is served meanwhile; nothing stays attached.
#[must_use]
pub fn explain(wish: &Wish, workers: u16) -> Vec<Verdict> {
    let mut found = false;
    let judge = |tier: Tier| {
        let refusal = prepare(tier, wish, workers.max(1), Instant::now()).err();
        let wanted = wish.tier.is_none_or(|named| named == tier);
        let chosen = wanted && refusal.is_none() && !found;
        found |= chosen;
        Verdict { tier, refusal, chosen }
    };
    Tier::ALL.into_iter().rev().map(judge).collect()
}

fn prepare(tier: Tier, wish: &Wish, workers: u16, start: Instant) -> Result<Shares, Refusal> {
    match tier {
        Tier::Sockets => Ok(sockets(wish, workers)),
        Tier::SkLookup => sk_lookup(wish, workers),
        Tier::Tc | Tier::Xdp => in_kernel(tier, wish, workers, start),
    }
}

fn no_shares(workers: u16) -> Shares {
    Shares::of((0..workers).map(|_| Share::default()).collect())
}

/// It takes nothing; but with CAP_NET_RAW what leaves does so by raw sockets, if that works.
fn sockets(wish: &Wish, workers: u16) -> Shares {
    let mut shares = no_shares(workers);
    if !privilege::missing(&[Capability::NetRaw]).is_empty() || wish.addresses.is_empty() {
        return shares;
    }
    if let Err(what) = prove::raw(&wish.addresses) {
        tracing::info!(%what, "raw sockets do not work here: packets to peers leave one by one");
        return shares;
    }
    for share in &mut shares.each {
        share.raws = Raws::open(&wish.addresses).ok();
    }
    shares
}

/// The program, in front of the best tier below it, which has the ports and gets all that is not plain.
fn in_kernel(tier: Tier, wish: &Wish, workers: u16, start: Instant) -> Result<Shares, Refusal> {
    let (attached, buckets) = attached::attach(tier, wish, workers, start)?;
    let (mut shares, below) = match sk_lookup(wish, workers) {
        Ok(shares) => (shares, Ok(Tier::SkLookup)),
        Err(refusal) => (sockets(wish, workers), Err(refusal)),
    };
    for (share, attached) in shares.each.iter_mut().zip(attached) {
        share.attached = Some(attached);
    }
    shares.buckets = Some(buckets);
    shares.below = Some(below);
    Ok(shares)
}

fn sk_lookup(wish: &Wish, workers: u16) -> Result<Shares, Refusal> {
    let tier = Tier::SkLookup;
    let refused = |reason: String, cure: &str| Refusal { tier, reason, cure: cure.to_owned() };
    if wish.addresses.is_empty() || wish.addresses.len() > limits::RELAY_ADDRESSES_MAX {
        return Err(refused("there are no relayed addresses to steer".to_owned(), "name some"));
    }
    let missing = privilege::missing(tier.needs());
    if !missing.is_empty() {
        let words = missing.iter().map(|one| one.word()).collect::<Vec<_>>().join(", ");
        return Err(refused(
            format!("the process lacks {words}"),
            "grant them (conf/systemd/swingbridge-sk_lookup.conf), or start as root",
        ));
    }
    if let Some(kernel) = privilege::kernel_version().filter(|kernel| *kernel < SK_LOOKUP_SINCE) {
        let (major, minor) = kernel;
        return Err(refused(format!("Linux {major}.{minor} does not know it"), "Linux 5.9 does"));
    }
    let receiving = (0..workers)
        .map(|_| Receiving::open(&wish.addresses))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|error| refused(format!("no socket: {error}"), "`ip link set lo up`"))?;
    let steering = Steering::attach(&wish.addresses, wish.ports.clone(), &receiving)
        .map_err(|error| refused(format!("the kernel refuses {error}"), cure_of(&error)))?;
    if let Some(first) = receiving.first() {
        prove::steering(&steering, first, &wish.addresses, &wish.ports).map_err(|what| {
            refused(
                format!("the self-test failed: {what}"),
                "let the machine's firewall pass UDP between its own addresses and the relay ports",
            )
        })?;
    }
    let steering = Arc::new(steering);
    let shares = (0..workers).zip(receiving).map(|(worker, receiving)| {
        let steered = Steered::new(Arc::clone(&steering), worker, receiving, &wish.addresses)?;
        let raws = Raws::open(&wish.addresses)?;
        Ok(Share { raws: Some(raws), steered: Some(steered), attached: None })
    });
    shares
        .collect::<std::io::Result<Vec<_>>>()
        .map(Shares::of)
        .map_err(|error| refused(format!("no raw socket: {error}"), "grant CAP_NET_RAW"))
}

/// A kernel that has the privilege asked for and says no has another reason.
fn cure_of(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "look at `kernel.unprivileged_bpf_disabled`, at the lockdown mode in /sys/kernel/security/lockdown and at \
             the filter of system calls of the container, one of which forbids bpf(2)"
        }
        std::io::ErrorKind::InvalidInput => {
            "the kernel must be built with CONFIG_BPF_SYSCALL and CONFIG_INET"
        }
        _ => "another tier needs less",
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::net::Ipv6Addr;

    use super::*;

    fn wish(tier: Option<Tier>) -> Wish {
        Wish {
            tier,
            addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            ports: 20_000..=20_099,
            ..Wish::default()
        }
    }

    fn is_privileged() -> bool {
        let is = privilege::missing(Tier::SkLookup.needs()).is_empty();
        if !is {
            eprintln!("NOT PROVED: sk_lookup needs capabilities that this process lacks");
        }
        is
    }

    #[test]
    fn a_tier_that_was_named_and_cannot_be_had_is_refused_and_auto_tells_each_reason() {
        for tier in [Tier::Tc, Tier::Xdp] {
            let refusal = choose(&wish(Some(tier)), 1, Instant::now()).expect_err("there is none");
            assert_eq!(refusal.tier, tier);
            assert!(!refusal.reason.is_empty() && !refusal.cure.is_empty());
        }
        let (choice, shares) = choose(&wish(None), 2, Instant::now()).expect("one can be had");
        assert_eq!(shares.each.len(), 2);
        let told: Vec<_> = choice.refused.iter().map(|refusal| refusal.tier).collect();
        let better = Tier::ALL.into_iter().rev().take_while(|tier| *tier != choice.tier);
        assert_eq!(told, better.collect::<Vec<_>>());
    }

    #[test]
    fn sockets_need_nothing() {
        let (choice, shares) = choose(&wish(Some(Tier::Sockets)), 3, Instant::now()).expect("it can be had");
        assert_eq!((choice.tier, choice.refused.len(), shares.each.len()), (Tier::Sockets, 0, 3));
        assert!(shares.each.iter().all(|share| share.steered.is_none() && share.attached.is_none()));
        assert!(Tier::Sockets.needs().is_empty());
    }

    #[test]
    fn sockets_send_raw_where_that_is_permitted_and_addresses_are_known() {
        let permitted = privilege::missing(&[Capability::NetRaw]).is_empty();
        let (choice, _) = choose(&wish(Some(Tier::Sockets)), 2, Instant::now()).expect("it can be had");
        assert_eq!(choice.sends_raw, permitted);
        for addresses in [Vec::new(), vec![Ipv4Addr::new(192, 0, 2, 1).into()]] {
            let wish = Wish { addresses, ..wish(Some(Tier::Sockets)) };
            let (choice, _) = choose(&wish, 1, Instant::now()).expect("it can be had");
            assert!(!choice.sends_raw, "{:?}", wish.addresses);
        }
    }

    #[test]
    fn explaining_judges_every_tier_and_chooses_as_a_start_would() {
        for named in [None, Some(Tier::Sockets), Some(Tier::Xdp)] {
            let verdicts = explain(&wish(named), 1);
            assert_eq!(verdicts.len(), Tier::ALL.len());
            let chosen: Vec<_> =
                verdicts.iter().filter(|verdict| verdict.chosen).map(|one| one.tier).collect();
            let expected = choose(&wish(named), 1, Instant::now()).ok().map(|(choice, _)| choice.tier);
            assert_eq!(chosen, expected.into_iter().collect::<Vec<_>>());
            assert!(verdicts.iter().all(|verdict| verdict.refusal.is_none() || !verdict.chosen));
        }
    }

    #[test]
    fn an_address_that_is_not_this_machines_fails_the_self_test_and_not_the_first_caller() {
        if !is_privileged() {
            return;
        }
        let foreign =
            Wish { addresses: vec![Ipv4Addr::new(192, 0, 2, 1).into()], ..wish(Some(Tier::SkLookup)) };
        let refusal = choose(&foreign, 1, Instant::now()).expect_err("nothing can be bound there");
        assert!(refusal.reason.contains("self-test"), "{refusal}");
    }
}
