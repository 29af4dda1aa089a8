//! Addresses of the file that are not this machine's: behind a 1:1 NAT it is a common mistake to name the address that
//! the NAT shows, which no socket can be bound to.

use std::net::IpAddr;
use std::ops::Range;

use super::build::Machine;
use super::load::Checked;
use super::problem::Problem;
use super::problem::Severity;

impl Checked {
    /// A problem for each address to be bound that the file names and that `is_here` says is not this machine's.
    /// `severity` is what that means: nothing can be served here with it, but a file may be checked elsewhere.
    #[must_use]
    pub fn foreign(
        &self,
        machine: &Machine,
        is_here: impl Fn(IpAddr) -> bool,
        severity: Severity,
    ) -> Vec<Problem> {
        let listeners = self.udp.iter().map(|listener| {
            let mapped = listener.value.bind != listener.value.external;
            let port = Some(listener.value.bind.port());
            ("listen.udp", listener.value.bind.ip(), port, mapped, &listener.span)
        });
        let streams = self.streams.iter().map(|listener| {
            let mapped = listener.value.bind != listener.value.external;
            let port = Some(listener.value.bind.port());
            ("listen.stream", listener.value.bind.ip(), port, mapped, &listener.span)
        });
        let relays = self.relays.iter().map(|relay| {
            let mapped = relay.value.bind != relay.value.external;
            ("relay.addresses", relay.value.bind, None, mapped, &relay.span)
        });
        listeners
            .chain(streams)
            .chain(relays)
            .filter(|(_, ip, ..)| !ip.is_unspecified() && !is_here(*ip))
            .map(|(key, ip, port, mapped, span)| problem(severity, key, ip, port, mapped, span, machine))
            .collect()
    }
}

fn problem(
    severity: Severity,
    key: &str,
    ip: IpAddr,
    port: Option<u16>,
    mapped: bool,
    span: &Option<Range<usize>>,
    machine: &Machine,
) -> Problem {
    let own = own(machine, ip.is_ipv4());
    let all: Vec<_> = own.iter().map(ToString::to_string).collect();
    let has = if all.is_empty() {
        format!("this machine has no {} address", if ip.is_ipv4() { "IPv4" } else { "IPv6" })
    } else {
        format!("this machine has {}", all.join(", "))
    };
    let shown = |ip: IpAddr| match port {
        Some(port) => std::net::SocketAddr::new(ip, port).to_string(),
        None => ip.to_string(),
    };
    let (rule, fix) = match (mapped, own.first()) {
        (true, _) => (
            format!("{ip} is not an address of this machine"),
            format!("write one of its own as `bind`; {has}"),
        ),
        (false, Some(bind)) => (
            format!("{ip} is not an address of this machine and was not declared external"),
            format!(
                "behind a 1:1 NAT write {{ bind = \"{}\", external = \"{}\" }}, else an address of its own; {has}",
                shown(*bind),
                shown(ip)
            ),
        ),
        (false, None) => (
            format!("{ip} is not an address of this machine"),
            format!("leave it out, or give it one; {has}"),
        ),
    };
    Problem { severity, key: key.to_owned(), span: span.clone(), rule, fix }
}

/// The machine's addresses of a family, the one that a NAT would forward to first, loopback last.
fn own(machine: &Machine, v4: bool) -> Vec<IpAddr> {
    let default =
        if v4 { machine.default_v4.map(IpAddr::from) } else { machine.default_v6.map(IpAddr::from) };
    let mut own: Vec<_> = machine.own.iter().copied().filter(|ip| ip.is_ipv4() == v4).collect();
    own.retain(|ip| Some(*ip) != default);
    own.sort_by_key(|ip| (ip.is_loopback(), *ip));
    default.into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config;
    use crate::config::source::Nowhere;

    fn machine() -> Machine {
        Machine {
            own: ["127.0.0.1", "10.0.0.4", "10.0.0.5"].map(|ip| ip.parse().unwrap()).into(),
            default_v4: Some(Ipv4Addr::new(10, 0, 0, 5)),
            ..Machine::default()
        }
    }

    /// Key, rule and fix of each problem.
    fn foreign(text: &str) -> Vec<(String, String, String)> {
        let text = format!("{text}\n[auth]\nsecrets = [\"0123456789abcdef\"]\n");
        let loaded = config::load("a.toml", &text, &Nowhere);
        let checked = loaded.checked.unwrap_or_else(|| panic!("{}", loaded.report.render(false)));
        let machine = machine();
        let is_here = |ip: IpAddr| machine.own.contains(&ip);
        let problems = checked.foreign(&machine, is_here, Severity::Error);
        assert!(problems.iter().all(|problem| problem.severity == Severity::Error));
        problems
            .into_iter()
            .map(|problem| {
                assert!(problem.span.is_some(), "it stands somewhere");
                (problem.key, problem.rule, problem.fix)
            })
            .collect()
    }

    #[test]
    fn an_address_that_a_nat_shows_is_declared_with_the_machines_own() {
        let [(key, rule, fix)] = &foreign("[relay]\naddresses = [\"203.0.113.7\"]")[..] else {
            panic!("one problem")
        };
        assert_eq!(key, "relay.addresses");
        assert_eq!(rule, "203.0.113.7 is not an address of this machine and was not declared external");
        assert_eq!(
            fix,
            "behind a 1:1 NAT write { bind = \"10.0.0.5\", external = \"203.0.113.7\" }, else an address of its own; \
             this machine has 10.0.0.5, 10.0.0.4, 127.0.0.1"
        );
        let [(key, _, fix)] = &foreign("[listen]\nudp = [\"203.0.113.7:3478\"]")[..] else {
            panic!("one problem")
        };
        assert_eq!(key, "listen.udp");
        assert!(fix.contains("{ bind = \"10.0.0.5:3478\", external = \"203.0.113.7:3478\" }"), "{fix}");
    }

    #[test]
    fn a_bound_address_of_another_machine_is_told_these() {
        let text = "[relay]\naddresses = [{ bind = \"10.0.0.9\", external = \"203.0.113.7\" }]";
        let [(_, rule, fix)] = &foreign(text)[..] else { panic!("one problem") };
        assert_eq!(rule, "10.0.0.9 is not an address of this machine");
        assert_eq!(fix, "write one of its own as `bind`; this machine has 10.0.0.5, 10.0.0.4, 127.0.0.1");
    }

    #[test]
    fn a_family_that_the_machine_does_not_have_is_said() {
        let [(_, _, fix)] = &foreign("[relay]\naddresses = [\"2001:db8::7\"]")[..] else {
            panic!("one problem")
        };
        assert_eq!(fix, "leave it out, or give it one; this machine has no IPv6 address");
    }

    #[test]
    fn own_addresses_unspecified_ones_and_defaults_are_no_problem() {
        for text in [
            "",
            "[listen]\nudp = [\"0.0.0.0:3478\", \"[::]:3478\"]",
            "[relay]\naddresses = [\"10.0.0.4\"]",
            "[relay]\naddresses = [{ bind = \"10.0.0.5\", external = \"203.0.113.7\" }]",
            "[listen]\nudp = [{ bind = \"10.0.0.5:3478\", external = \"203.0.113.7:3478\" }]",
        ] {
            assert_eq!(foreign(text), [], "{text}");
        }
    }
}
