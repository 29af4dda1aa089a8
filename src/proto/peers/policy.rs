//! The compiled policy.
//!
//! An address is judged in these steps:
//! 1. A relayed transport address of a live allocation of this server passes, unless a `deny` names that very IP
//!    address.
//! 2. Of the operator's rules that cover address and port the most specific prefix speaks; a rule with ports is more
//!    specific than the same prefix without; between equals `deny` speaks.
//! 3. Of the built-in lines the most specific speaks; the machine's own addresses are built-in denials of one
//!    address. An `allow` at least as specific as that line beats it, a less specific one does not.
//! 4. Where nothing speaks, [`Unlisted`] decides. With [`Unlisted::None`] only the hard built-in lines count:
//!    loopback, this network, link-local, metadata, multicast, broadcast, Teredo, 6to4, own addresses.
//! 5. An IPv6 address is judged so for itself and, by IPv4's rules, for each IPv4 address inside it; one refusal
//!    is enough.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use super::Rule;
use super::builtin::BUILTINS;
use super::builtin::Kind;
use super::embedded_ipv4;
use super::rule::bits_of;
use super::spans::Entry;
use super::spans::Ruling;
use super::spans::Segment;
use super::spans::Source;
use super::spans::Spans;
use super::spans::ruling;

/// What is allowed where no rule speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unlisted {
    /// Everything but the built-in deny list.
    #[default]
    Public,
    /// Nothing.
    None,
}

/// The verdict and what led to it, for `swingbridge check --peer` and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the peer may be reached.
    pub allowed: bool,
    /// A sentence part that names the rule: "built-in deny 10.0.0.0/8 (private, RFC 1918)".
    pub because: String,
}

/// Which of the server's own relayed addresses are live.
pub trait OwnRelays {
    /// Whether `address` is the relayed transport address of a live allocation of this server.
    fn is_live(&self, address: SocketAddr) -> bool;
}

/// Judges peers. Built once, then immutable and shared.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerPolicy {
    v4: Spans<u32>,
    v6: Spans<u128>,
    /// Sorted.
    relay: Box<[IpAddr]>,
    /// The words that rulings point at.
    reasons: Box<[String]>,
}

/// What a policy is built from.
#[derive(Clone, Debug, Default)]
pub struct PolicyBuilder {
    /// What is allowed where no rule speaks.
    pub default: Unlisted,
    /// The operator's allow rules.
    pub allow: Vec<Rule>,
    /// The operator's deny rules.
    pub deny: Vec<Rule>,
    /// The machine's own addresses, bound or external.
    pub own: Vec<IpAddr>,
    /// The addresses of relay sockets, as peers name them: of these a live allocation's port passes.
    pub relay: Vec<IpAddr>,
}

impl PolicyBuilder {
    /// Compiles the rules.
    #[must_use]
    pub fn build(self) -> PeerPolicy {
        let mut compiler = Compiler::new(self.default);
        for line in BUILTINS {
            compiler.builtin(line.network, line.prefix_len, line.kind, line.why);
        }
        let mut relay: Vec<IpAddr> = self.relay.iter().map(IpAddr::to_canonical).collect();
        relay.sort_unstable();
        relay.dedup();
        for ip in self.own.iter().map(IpAddr::to_canonical).chain(relay.iter().copied()) {
            compiler.builtin(ip, bits_of(ip), Kind::Hard, OWN);
        }
        for rule in &self.allow {
            compiler.operator(rule, Source::OperatorAllow);
        }
        for rule in &self.deny {
            compiler.operator(rule, Source::OperatorDeny);
        }
        compiler.finish(relay.into())
    }
}

impl PeerPolicy {
    /// Whether a datagram or connection may go to `peer`. Neither allocates nor locks: it runs for each packet.
    #[must_use]
    pub fn allows(&self, peer: SocketAddr, own: &impl OwnRelays) -> bool {
        match self.judge(peer, own) {
            Judgement::LiveRelay => true,
            Judgement::Itself(ruling) | Judgement::Inside(_, ruling) => ruling.allowed,
        }
    }

    /// Whether some port of `ip` could be allowed, which is what CreatePermission asks.
    #[must_use]
    pub fn allows_some_port(&self, ip: IpAddr) -> bool {
        let itself = self.segments(ip);
        if self.is_relay(ip) && itself.iter().any(|segment| !segment.ruling.final_word) {
            return true;
        }
        let [one, other] = embedded_ipv4(ip).map(|inside| inside.map(|inside| self.segments(inside.into())));
        let lists = [Some(itself), one, other];
        // If some stretch of ports is allowed by all, one of the lists has a segment that ends with it.
        let ends = lists.into_iter().flatten().flatten().map(|segment| segment.last_port);
        ends.filter(|port| *port > 0)
            .any(|port| lists.into_iter().flatten().all(|segments| ruling(segments, port).allowed))
    }

    /// The same judgement as [`Self::allows`], with the rule that decided.
    #[must_use]
    pub fn explain(&self, peer: SocketAddr, own: &impl OwnRelays) -> Verdict {
        match self.judge(peer, own) {
            Judgement::LiveRelay => Verdict { allowed: true, because: LIVE_RELAY.to_owned() },
            Judgement::Itself(ruling) => {
                Verdict { allowed: ruling.allowed, because: self.words(ruling).to_owned() }
            }
            Judgement::Inside(ip, ruling) => Verdict {
                allowed: ruling.allowed,
                because: format!("{} of the IPv4 address {ip} inside it", self.words(ruling)),
            },
        }
    }

    fn judge(&self, peer: SocketAddr, own: &impl OwnRelays) -> Judgement {
        let (ip, port) = (peer.ip(), peer.port());
        let itself = ruling(self.segments(ip), port);
        if !itself.final_word && self.is_relay(ip) && own.is_live(SocketAddr::new(ip, port)) {
            return Judgement::LiveRelay;
        }
        if itself.allowed {
            for inside in embedded_ipv4(ip).into_iter().flatten() {
                let ruling = ruling(self.segments(inside.into()), port);
                if !ruling.allowed {
                    return Judgement::Inside(inside, ruling);
                }
            }
        }
        Judgement::Itself(itself)
    }

    fn segments(&self, ip: IpAddr) -> &[Segment] {
        match ip {
            IpAddr::V4(ip) => self.v4.segments(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.segments(ip.to_bits()),
        }
    }

    fn is_relay(&self, ip: IpAddr) -> bool {
        self.relay.binary_search(&ip).is_ok()
    }

    fn words(&self, ruling: Ruling) -> &str {
        &self.reasons[ruling.reason as usize]
    }
}

impl fmt::Debug for PeerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerPolicy").field("rules", &self.reasons.len()).finish_non_exhaustive()
    }
}

/// What decided.
enum Judgement {
    LiveRelay,
    Itself(Ruling),
    Inside(Ipv4Addr, Ruling),
}

/// Gathers the entries of both families and the words that name them.
struct Compiler {
    default: Unlisted,
    v4: Vec<Entry>,
    v6: Vec<Entry>,
    reasons: Vec<String>,
}

impl Compiler {
    fn new(default: Unlisted) -> Self {
        let unlisted = match default {
            Unlisted::Public => "no rule: every public address is allowed",
            Unlisted::None => "no rule: only what a rule allows is allowed",
        };
        Self { default, v4: Vec::new(), v6: Vec::new(), reasons: vec![unlisted.to_owned()] }
    }

    fn builtin(&mut self, network: IpAddr, prefix_len: u8, kind: Kind, why: &str) {
        let (source, verb) = match (kind, self.default) {
            (Kind::Hard, _) | (Kind::Soft, Unlisted::Public) => (Source::BuiltinDeny, "deny"),
            (Kind::Reachable, Unlisted::Public) => (Source::BuiltinAllow, "allow"),
            (Kind::Soft | Kind::Reachable, Unlisted::None) => return,
        };
        let words = match prefix_len == bits_of(network) {
            true => format!("built-in {verb} {network} ({why})"),
            false => format!("built-in {verb} {network}/{prefix_len} ({why})"),
        };
        self.add(network, prefix_len, None, source, words);
    }

    fn operator(&mut self, rule: &Rule, source: Source) {
        let verb = if source == Source::OperatorDeny { "deny" } else { "allow" };
        self.add(rule.network(), rule.prefix_len(), rule.ports(), source, format!("{verb} {rule}"));
    }

    fn add(
        &mut self,
        network: IpAddr,
        prefix_len: u8,
        ports: Option<(u16, u16)>,
        source: Source,
        words: String,
    ) {
        let (entries, first) = match network {
            IpAddr::V4(ip) => (&mut self.v4, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (&mut self.v6, ip.to_bits()),
        };
        let free = u32::from(bits_of(network) - prefix_len);
        let last = first | !u128::MAX.checked_shl(free).unwrap_or(0);
        let reason = u32::try_from(self.reasons.len()).expect("fewer than 2^32 rules come from one file");
        self.reasons.push(words);
        entries.push(Entry { first, last, prefix_len, ports, source, is_host: free == 0, reason });
    }

    fn finish(self, relay: Box<[IpAddr]>) -> PeerPolicy {
        let unlisted = Ruling { allowed: self.default.allows(), final_word: false, reason: 0 };
        PeerPolicy {
            v4: Spans::compile(self.v4, unlisted),
            v6: Spans::compile(self.v6, unlisted),
            relay,
            reasons: self.reasons.into(),
        }
    }
}

const OWN: &str = "an address of this machine";
const LIVE_RELAY: &str = "relayed address of a live allocation of this server";

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    /// The live relayed addresses.
    struct Live(Vec<SocketAddr>);

    impl OwnRelays for Live {
        fn is_live(&self, address: SocketAddr) -> bool {
            self.0.contains(&address)
        }
    }

    const NONE_LIVE: Live = Live(Vec::new());
    const OWN_V4: &str = "198.200.1.1";
    const OWN_V6: &str = "2600::1";

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    fn builder(default: Unlisted, allow: &[&str], deny: &[&str]) -> PolicyBuilder {
        let own = vec![ip(OWN_V4), ip(OWN_V6)];
        PolicyBuilder { default, allow: rules(allow), deny: rules(deny), own, relay: Vec::new() }
    }

    fn public(allow: &[&str], deny: &[&str]) -> PeerPolicy {
        builder(Unlisted::Public, allow, deny).build()
    }

    fn closed(allow: &[&str], deny: &[&str]) -> PeerPolicy {
        builder(Unlisted::None, allow, deny).build()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn allows(policy: &PeerPolicy, peer: &str) -> bool {
        let peer: SocketAddr = peer.parse().expect(peer);
        let allowed = policy.allows(peer, &NONE_LIVE);
        assert_eq!(policy.explain(peer, &NONE_LIVE).allowed, allowed, "explain agrees");
        if allowed {
            assert!(policy.allows_some_port(peer.ip()), "a permission must be possible for {peer}");
        }
        allowed
    }

    /// Every way of writing `v4` inside an IPv6 address.
    fn encodings(v4: Ipv4Addr) -> Vec<IpAddr> {
        let bits = u128::from(v4.to_bits());
        let six = |bits: u128| IpAddr::from(Ipv6Addr::from_bits(bits));
        let public = u128::from(Ipv4Addr::new(8, 8, 8, 8).to_bits());
        let mut forms = vec![
            six(0xFFFF_0000_0000 | bits),
            six(0xFFFF_0000_0000_0000 | bits),
            six(0x2002 << 112 | bits << 80 | 1),
            six(0x2001_0000 << 96 | bits << 64 | (!public & 0xFFFF_FFFF)),
            six(0x2001_0000 << 96 | public << 64 | (!bits & 0xFFFF_FFFF)),
            six(0x64_FF9B << 96 | bits),
            six(0x64_FF9B_0001 << 80 | bits),
            six(0x2600 << 112 | 0x5EFE << 32 | bits),
            six(0x2600 << 112 | 0x0200_5EFE << 32 | bits),
        ];
        if bits > 1 {
            forms.push(six(bits));
        }
        forms
    }

    #[test]
    fn no_inner_address_is_reached_in_any_form() {
        let policies =
            [public(&[], &[]), closed(&[], &[]), closed(&["2600::/16", "64:ff9b::/96", "2000::/3"], &[])];
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.9",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            OWN_V4,
        ] {
            let v4: Ipv4Addr = text.parse().expect(text);
            for peer in encodings(v4).into_iter().chain([v4.into()]) {
                for policy in &policies {
                    for port in [1, 22, 80, 3_478, 50_000, 65_535] {
                        let verdict = policy.explain(SocketAddr::new(peer, port), &NONE_LIVE);
                        assert!(!verdict.allowed, "{peer} port {port}: {}", verdict.because);
                    }
                    assert!(!policy.allows_some_port(peer), "{peer}");
                }
            }
        }
    }

    #[test]
    fn no_inner_ipv6_address_is_reached() {
        for text in [
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "ff02::1",
            "ff0e::1",
            "100::1",
            "100:0:0:1::1",
            "2001:2::1",
            "2001:10::1",
            "2001:1::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "64:ff9b:1::808:808",
            OWN_V6,
        ] {
            assert!(!allows(&public(&[], &[]), &format!("[{text}]:80")), "{text}");
            assert!(!public(&[], &[]).allows_some_port(ip(text)), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_reached_also_through_nat64() {
        for peer in [
            "8.8.8.8:53",
            "[2600::2]:53",
            "[64:ff9b::808:808]:53",
            "[2001:20::1]:53",
            "[2001:4:112::1]:53",
            "[2600::5efe:808:808]:53",
            "100.63.255.255:9",
            "100.128.0.0:9",
            "223.255.255.255:9",
        ] {
            assert!(allows(&public(&[], &[]), peer), "{peer}");
            assert!(!allows(&closed(&[], &[]), peer), "{peer}");
        }
    }

    #[test]
    fn the_most_specific_prefix_speaks_then_ports_then_deny() {
        let policy = public(
            &["10.1.0.0/16", "10.1.2.0/24:5000-6000", "10.9.0.0/16:53", "8.8.8.8:53", "9.9.9.9"],
            &["10.1.2.0/24", "8.8.8.0/24", "10.9.0.0/16:53", "9.9.9.9"],
        );
        assert!(allows(&policy, "10.1.1.1:80"));
        assert!(!allows(&policy, "10.1.2.1:4999"));
        assert!(allows(&policy, "10.1.2.1:5000"));
        assert!(allows(&policy, "10.1.2.1:6000"));
        assert!(!allows(&policy, "10.1.2.1:6001"));
        assert!(!allows(&policy, "10.9.1.1:53"), "equal rules with ports: deny");
        assert!(!allows(&policy, "9.9.9.9:53"), "equal rules without ports: deny");
        assert!(allows(&policy, "8.8.8.8:53"));
        assert!(!allows(&policy, "8.8.8.8:54"));
        assert!(allows(&policy, "8.8.9.8:54"));
    }

    #[test]
    fn an_allow_yields_only_to_a_more_specific_builtin_line() {
        assert!(!allows(&public(&["0.0.0.0/0"], &[]), "10.0.0.1:80"));
        assert!(allows(&public(&["10.0.0.0/8"], &[]), "10.0.0.1:80"));
        assert!(!allows(&public(&["126.0.0.0/7"], &[]), "127.0.0.1:80"));
        assert!(allows(&public(&["127.0.0.1"], &[]), "127.0.0.1:80"));
        assert!(!allows(&public(&["127.0.0.1"], &[]), "127.0.0.2:80"));
        assert!(!allows(&public(&["198.200.1.0/24"], &[]), &format!("{OWN_V4}:80")));
        assert!(allows(&public(&["198.200.1.1:80"], &[]), &format!("{OWN_V4}:80")));
        assert!(!allows(&public(&["198.200.1.1:80"], &[]), &format!("{OWN_V4}:81")));
        assert!(!allows(&public(&["100.64.0.0/10"], &[]), "100.100.100.200:80"), "metadata in shared space");
        assert!(!allows(&public(&["fc00::/7"], &[]), "[fd00:ec2::254]:80"), "metadata in unique local space");
        assert!(allows(&public(&["fc00::/7"], &[]), "[fd00::1]:80"));
    }

    #[test]
    fn where_nothing_is_public_an_allow_opens_all_but_the_hard_lines() {
        let policy = closed(&["0.0.0.0/0", "::/0"], &["10.5.0.0/16"]);
        for peer in
            ["8.8.8.8:1", "10.0.0.1:1", "[2600::2]:1", "[fd00::1]:1", "[2001:db8::1]:1", "[::ffff:8.8.8.8]:1"]
        {
            assert!(allows(&policy, peer), "{peer}");
        }
        for peer in [
            "127.0.0.1:1",
            "169.254.169.254:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "0.0.0.0:1",
            "10.5.0.1:1",
            "[::1]:1",
            "[::]:1",
            "[fe80::1]:1",
            "[ff02::1]:1",
            "[::ffff:127.0.0.1]:1",
            "[::127.0.0.1]:1",
            "[2002:7f00:1::]:1",
            "[64:ff9b::7f00:1]:1",
            "198.200.1.1:1",
            "[2600::1]:1",
            "[::ffff:10.5.0.1]:1",
        ] {
            assert!(!allows(&policy, peer), "{peer}");
        }
        assert!(allows(&closed(&["127.0.0.0/8"], &[]), "127.0.0.1:1"), "as specific as the built-in line");
    }

    // proves rfc8656:21.4-1, rfc8656:21.4-2
    #[test]
    fn nothing_is_sent_into_a_tunnel_unless_an_allow_names_it() {
        for peer in ["[2002:808:808::1]:53", "[2001:0:808:808::f7f7:f7f7]:53"] {
            for policy in [public(&[], &[]), public(&["::/0"], &[]), closed(&["::/0", "0.0.0.0/0"], &[])] {
                assert!(!allows(&policy, peer), "{peer}");
                assert!(!policy.allows_some_port(ip(peer.split(['[', ']']).nth(1).expect("an address"))));
            }
            assert!(allows(&public(&["2002::/16", "2001::/32"], &[]), peer), "{peer}");
        }
        assert!(
            !allows(&public(&["2002::/16"], &[]), "[2002:a00:1::1]:53"),
            "what is inside is judged all the same"
        );
    }

    #[test]
    fn an_embedded_address_is_judged_with_its_port_by_the_rules_for_ipv4() {
        let policy = public(&["10.0.0.0/8:5000"], &[]);
        assert!(allows(&policy, "[64:ff9b::a00:1]:5000"));
        assert!(!allows(&policy, "[64:ff9b::a00:1]:5001"));
        assert!(policy.allows_some_port(ip("64:ff9b::a00:1")));
        let disjoint = public(&["10.0.0.0/8:5000"], &["64:ff9b::/96", "0.0.0.0/0"]);
        assert!(!disjoint.allows_some_port(ip("64:ff9b::a00:1")));
        let crossing = public(&["10.0.0.0/8:5000-6000", "[64:ff9b::]/96:6000-7000"], &["64:ff9b::/96"]);
        assert!(crossing.allows_some_port(ip("64:ff9b::a00:1")));
        assert!(allows(&crossing, "[64:ff9b::a00:1]:6000"));
        assert!(!allows(&crossing, "[64:ff9b::a00:1]:5999"));
    }

    #[test]
    fn of_own_addresses_only_the_relayed_address_of_a_live_allocation_passes() {
        for (relay, other) in
            [("127.0.0.1", "127.0.0.2"), ("203.0.113.7", "203.0.113.8"), ("2600::7", "2600::1")]
        {
            for default in [Unlisted::Public, Unlisted::None] {
                let mut builder = builder(default, &[], &["203.0.113.0/24"]);
                builder.relay.push(ip(relay));
                let policy = builder.build();
                let live = Live(vec![SocketAddr::new(ip(relay), 50_001), SocketAddr::new(ip(other), 50_001)]);
                let allowed = |text, port| policy.allows(SocketAddr::new(ip(text), port), &live);
                assert!(allowed(relay, 50_001));
                for port in [22, 3_478, 9_478, 50_000, 50_002] {
                    assert!(!allowed(relay, port), "{relay}:{port}");
                }
                assert!(!allowed(other, 50_001), "{other} carries no relay sockets");
                assert!(policy.allows_some_port(ip(relay)));
                assert!(!policy.allows_some_port(ip(other)));
                let explained = policy.explain(SocketAddr::new(ip(relay), 50_001), &live);
                assert_eq!(explained, Verdict { allowed: true, because: LIVE_RELAY.to_owned() });
            }
        }
    }

    #[test]
    fn a_live_relayed_address_does_not_pass_in_disguise_nor_against_its_own_deny() {
        let mut builder = builder(Unlisted::Public, &[], &[]);
        builder.relay.push(ip(OWN_V4));
        let live = Live(vec![SocketAddr::new(ip(OWN_V4), 50_001)]);
        let policy = builder.clone().build();
        for disguise in encodings(OWN_V4.parse().expect("an address")) {
            assert!(!policy.allows(SocketAddr::new(disguise, 50_001), &live), "{disguise}");
        }
        builder.deny = rules(&[OWN_V4]);
        let policy = builder.build();
        assert!(!policy.allows(SocketAddr::new(ip(OWN_V4), 50_001), &live));
        assert!(!policy.allows_some_port(ip(OWN_V4)));
    }

    #[test]
    fn only_relay_addresses_cost_a_look_at_the_live_ones() {
        struct Counting(Cell<u32>);
        impl OwnRelays for Counting {
            fn is_live(&self, _: SocketAddr) -> bool {
                self.0.set(self.0.get() + 1);
                false
            }
        }
        let mut builder = builder(Unlisted::Public, &[], &[]);
        builder.relay.push(ip("198.200.1.2"));
        let policy = builder.build();
        let counting = Counting(Cell::new(0));
        assert!(policy.allows("8.8.8.8:1".parse().expect("an address"), &counting));
        assert_eq!(counting.0.get(), 0);
        assert!(!policy.allows("198.200.1.2:1".parse().expect("an address"), &counting));
        assert_eq!(counting.0.get(), 1);
    }

    #[test]
    fn an_explanation_names_the_rule() {
        let policy = public(&["10.1.0.0/16:5000-6000"], &["8.8.8.8"]);
        let because = |peer: &str| policy.explain(peer.parse().expect(peer), &NONE_LIVE).because;
        assert_eq!(because("10.2.0.1:80"), "built-in deny 10.0.0.0/8 (private, RFC 1918)");
        assert_eq!(because("10.1.0.1:5000"), "allow 10.1.0.0/16:5000-6000");
        assert_eq!(because("8.8.8.8:1"), "deny 8.8.8.8");
        assert_eq!(because("198.200.1.1:1"), "built-in deny 198.200.1.1 (an address of this machine)");
        assert_eq!(because("9.9.9.9:1"), "no rule: every public address is allowed");
        assert_eq!(
            because("[64:ff9b::a02:1]:80"),
            "built-in deny 10.0.0.0/8 (private, RFC 1918) of the IPv4 address 10.2.0.1 inside it"
        );
        let because = closed(&[], &[]).explain("9.9.9.9:1".parse().expect("an address"), &NONE_LIVE).because;
        assert_eq!(because, "no rule: only what a rule allows is allowed");
    }

    #[test]
    fn a_rule_counts_up_to_its_last_address_also_where_another_begins() {
        let policy = public(&["8.8.8.3:5000"], &["8.8.8.0/30"]);
        assert!(allows(&policy, "8.8.8.3:5000"));
        assert!(!allows(&policy, "8.8.8.3:6000"));
        assert!(allows(&policy, "8.8.8.4:6000"));
    }

    #[test]
    fn debug_counts_the_rules() {
        let fewer = format!("{:?}", public(&[], &[]));
        let more = format!("{:?}", public(&["9.9.9.9"], &["8.8.8.8"]));
        assert!(fewer.starts_with("PeerPolicy { rules: ") && fewer != more, "{fewer} {more}");
    }

    #[test]
    fn port_0_alone_is_no_port_that_is_allowed() {
        let policy = public(&[], &["8.8.8.8:1-65535"]);
        assert!(!policy.allows_some_port(ip("8.8.8.8")));
        assert!(public(&[], &["8.8.8.8:1-65534"]).allows_some_port(ip("8.8.8.8")));
    }

    #[test]
    fn a_wider_deny_of_the_operator_is_the_reason_also_where_a_builtin_one_agrees() {
        let policy = public(&[], &["0.0.0.0/0"]);
        let because = |peer: &str| policy.explain(peer.parse().expect(peer), &NONE_LIVE).because;
        assert_eq!(because("10.2.0.1:80"), "deny 0.0.0.0/0");
        assert_eq!(because("9.9.9.9:80"), "deny 0.0.0.0/0");
    }

    #[test]
    fn ten_thousand_rules_are_compiled_and_found() {
        let allow = (0..10_000_u32).map(|n| format!("10.{}.{}.{}:{}", n / 2_500, n % 250, n % 7, n + 1));
        let allow = allow.map(|text| text.parse().expect("a rule")).collect();
        let policy = PolicyBuilder { allow, ..PolicyBuilder::default() }.build();
        assert!(allows(&policy, "10.3.249.3:10000"));
        assert!(!allows(&policy, "10.3.249.3:10001"));
    }

    /// The judgement by its definition: a look at every rule.
    fn reference(builder: &PolicyBuilder, peer: SocketAddr, live: &Live) -> bool {
        let ip = peer.ip();
        let names_it = |rule: &Rule| rule.is_host() && rule.network() == ip;
        let matching = |rules: &[Rule]| -> Option<(u8, bool)> {
            let covers = |rule: &&Rule| {
                within(ip, rule.network(), rule.prefix_len())
                    && rule.ports().is_none_or(|(first, last)| first <= peer.port() && peer.port() <= last)
            };
            rules.iter().filter(covers).map(|rule| (rule.prefix_len(), rule.ports().is_some())).max()
        };
        let (allow, deny) = (matching(&builder.allow), matching(&builder.deny));
        let deny_speaks = deny.is_some() && deny >= allow;
        let host_deny = deny_speaks
            && builder
                .deny
                .iter()
                .any(|rule| names_it(rule) && Some(rule.prefix_len()) == deny.map(|best| best.0));
        if builder.relay.contains(&ip) && !host_deny && live.is_live(peer) {
            return true;
        }
        let public = builder.default == Unlisted::Public;
        let lines = BUILTINS.iter().map(|line| (line.network, line.prefix_len, line.kind));
        let own = builder.own.iter().chain(&builder.relay).map(|ip| (*ip, bits_of(*ip), Kind::Hard));
        let builtin = lines
            .chain(own)
            .filter(|(network, len, kind)| within(ip, *network, *len) && (public || *kind == Kind::Hard))
            .max_by_key(|(_, len, _)| *len);
        let itself = match (allow, builtin) {
            _ if deny_speaks => false,
            (Some((len, _)), Some((_, builtin_len, kind))) => kind == Kind::Reachable || len >= builtin_len,
            (Some(_), None) => true,
            (None, Some((_, _, kind))) => kind == Kind::Reachable,
            (None, None) => public,
        };
        let inside = embedded_ipv4(ip).into_iter().flatten();
        itself
            && inside
                .map(|v4| SocketAddr::new(v4.into(), peer.port()))
                .all(|v4| reference(builder, v4, &NONE_LIVE))
    }

    fn within(ip: IpAddr, network: IpAddr, prefix_len: u8) -> bool {
        let same = |one: &[u8], other: &[u8]| {
            let bit = |bytes: &[u8], place: u8| bytes[usize::from(place / 8)] >> (7 - place % 8) & 1;
            (0..prefix_len).all(|place| bit(one, place) == bit(other, place))
        };
        match (ip, network) {
            (IpAddr::V4(one), IpAddr::V4(other)) => same(&one.octets(), &other.octets()),
            (IpAddr::V6(one), IpAddr::V6(other)) => same(&one.octets(), &other.octets()),
            _ => false,
        }
    }

    /// Addresses that crowd around a few places, so that rules and peers meet.
    fn crowded_ip() -> impl Strategy<Value = IpAddr> {
        let v4 = (
            prop::sample::select(vec![0, 8, 10, 127, 169, 192, 224, 255_u8]),
            0..3_u8,
            0..2_u8,
            250..=255_u8,
        )
            .prop_map(|(a, b, c, d)| Ipv4Addr::new(a, b, c, d));
        let builtin = prop::sample::select((0..BUILTINS.len()).collect::<Vec<_>>()).prop_flat_map(|line| {
            any::<(bool, u128)>().prop_map(move |(random, free)| {
                let line = &BUILTINS[line];
                let behind = 128 - u32::from(line.prefix_len);
                match line.network {
                    IpAddr::V6(ip) if random => {
                        Ipv6Addr::from_bits(ip.to_bits() | free & !u128::MAX.checked_shl(behind).unwrap_or(0))
                            .into()
                    }
                    ip => ip,
                }
            })
        });
        prop_oneof![
            v4.clone().prop_map(IpAddr::from),
            (v4, any::<prop::sample::Index>()).prop_map(|(v4, form)| *form.get(&encodings(v4))),
            (0..4_u16, 0..2_u16).prop_map(|(a, b)| Ipv6Addr::new(0x2600, a, 0, 0, 0, 0, 0, b).into()),
            builtin,
        ]
    }

    fn crowded_port() -> impl Strategy<Value = u16> {
        prop_oneof![1..12_u16, Just(65_535), any::<u16>()]
    }

    fn crowded_rule() -> impl Strategy<Value = Rule> {
        let ports = prop::option::of((1..10_u16, 0..5_u16));
        (crowded_ip(), 0..=128_u8, ports).prop_map(|(ip, len, ports)| {
            let len = if len > 96 { bits_of(ip) } else { len % (bits_of(ip) + 1) };
            let cut = match ip {
                IpAddr::V4(ip) => {
                    let kept = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                    Ipv4Addr::from_bits(ip.to_bits() & kept).to_string()
                }
                IpAddr::V6(ip) => {
                    let kept = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                    format!("[{}]", Ipv6Addr::from_bits(ip.to_bits() & kept))
                }
            };
            let ports = ports.map_or(String::new(), |(first, more)| format!(":{first}-{}", first + more));
            // A mapped prefix is no rule; any rule will do in its place.
            format!("{cut}/{len}{ports}").parse().unwrap_or_else(|_| "10.0.0.0/8".parse().expect("a rule"))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn the_compiled_policy_says_what_its_definition_says(
            public: bool,
            allow in prop::collection::vec(crowded_rule(), 0..8),
            deny in prop::collection::vec(crowded_rule(), 0..8),
            own in prop::collection::vec(crowded_ip(), 0..3),
            relay in prop::collection::vec(crowded_ip(), 0..3),
            peers in prop::collection::vec((crowded_ip(), crowded_port()), 1..40),
        ) {
            let default = if public { Unlisted::Public } else { Unlisted::None };
            let canonical = |ips: Vec<IpAddr>| ips.into_iter().map(|ip| ip.to_canonical()).collect::<Vec<_>>();
            let (own, relay) = (canonical(own), canonical(relay));
            let builder = PolicyBuilder { default, allow, deny, own, relay };
            let policy = builder.clone().build();
            let mentioned = builder.allow.iter().chain(&builder.deny).map(Rule::network);
            let mentioned = mentioned.chain(builder.own.iter().chain(&builder.relay).copied());
            let live = Live(builder.relay.iter().map(|ip| SocketAddr::new(*ip, 7)).collect());
            let peers = peers.into_iter().chain(mentioned.flat_map(|ip| [(ip, 7), (ip, 8)]));
            for (ip, port) in peers {
                let peer = SocketAddr::new(ip, port);
                let expected = reference(&builder, peer, &live);
                prop_assert_eq!(policy.allows(peer, &live), expected, "{}", peer);
                prop_assert_eq!(policy.explain(peer, &live).allowed, expected);
                // Rules end below port 16, so 20 stands for every port behind them.
                // Any port of a relay address may come to live.
                let any_live = Live((1..=20).map(|port| SocketAddr::new(ip, port)).collect());
                let some = (1..=20).any(|port| reference(&builder, SocketAddr::new(ip, port), &any_live));
                prop_assert_eq!(policy.allows_some_port(ip), some || expected, "some port of {}", ip);
            }
        }
    }
}
