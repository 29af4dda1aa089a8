//! The rules of `listen.discovery`.

use std::net::SocketAddr;
use std::ops::Range;

use crate::config::build::quartet;
use crate::config::read::Located;
use crate::config::read::Mapped;
use crate::config::read::Pair;

use super::Rules;

const KEY: &str = "listen.discovery";

impl Rules<'_> {
    pub(super) fn discovery(&mut self) {
        let checked = self.checked;
        for (index, Located { value: pair, span }) in checked.discovery.iter().enumerate() {
            let before = self.problems.len();
            for end in [&pair.primary, &pair.alternate] {
                self.discovery_end(end, span);
            }
            if self.problems.len() == before {
                self.discovery_pair(pair, span);
            }
            let is_v4 = |pair: &Pair| pair.primary.bind.is_ipv4();
            if checked.discovery[..index].iter().any(|other| is_v4(&other.value) == is_v4(pair)) {
                let family = if is_v4(pair) { "IPv4" } else { "IPv6" };
                self.error(KEY, span, format!("a second pair of {family}"), "keep one pair for each family");
            }
        }
    }

    fn discovery_end(&mut self, end: &Mapped<SocketAddr>, span: &Option<Range<usize>>) {
        let Mapped { bind, external } = *end;
        if bind.ip().is_unspecified() {
            let fix = "write two addresses of this machine; `listen.udp` may keep its 0.0.0.0";
            self.error(KEY, span, format!("{bind} is every address, not one of two"), fix);
        }
        if bind.port() == 0 || external.port() == 0 {
            self.error(
                KEY,
                span,
                "port 0 is no port that a client could know",
                "write 3478 or 3479, as a rule",
            );
        }
        if bind.ip().is_multicast() || external.ip().is_multicast() {
            self.error(
                KEY,
                span,
                "a multicast address belongs to no machine",
                "write an address of this machine",
            );
        }
        self.mapped(KEY, bind.ip(), span);
        if bind != external {
            self.external(KEY, bind.ip(), external.ip(), span);
        }
    }

    fn discovery_pair(&mut self, pair: &Pair, span: &Option<Range<usize>>) {
        let Some(quartet) = quartet(pair) else {
            let rule =
                "the primary and the alternate must differ in IP address and in port, and be of one family";
            let fix = "write { primary = \"203.0.113.7:3478\", alternate = \"203.0.113.8:3479\" }";
            return self.error(KEY, span, rule, fix);
        };
        let checked = self.checked;
        let ports = &checked.ports.value;
        for corner in quartet.endpoints() {
            if ports.contains(&corner.bind.port()) && self.may_be_relay(corner.bind.ip()) {
                let rule =
                    format!("{} lies within the relay ports {}-{}", corner.bind, ports.start(), ports.end());
                self.error(KEY, span, rule, "move one of them: a client's relay port cannot be a listener's");
            }
            let listed = checked.udp.iter().map(|listener| listener.value);
            if let Some(listed) = listed
                .into_iter()
                .find(|listed| listed.bind == corner.bind && listed.external != corner.external)
            {
                let rule = format!(
                    "{} is {} here and {} in listen.udp",
                    corner.bind, corner.external, listed.external
                );
                self.error(KEY, span, rule, "write the same `external` at both places");
            }
        }
    }
}
