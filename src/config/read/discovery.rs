//! `listen.discovery`: tables of two addresses.

use std::net::SocketAddr;
use std::ops::Range;

use toml::de::DeTable;
use toml::de::DeValue;

use crate::config::schema::Key;
use crate::config::value::Complaint;
use crate::config::value::parse_endpoint;

use super::Located;
use super::Mapped;
use super::Reader;
use super::TURN_PORT;
use super::expected;

const EXAMPLE: &str = "write { primary = \"203.0.113.7:3478\", alternate = \"203.0.113.8:3479\" }";

/// Opposite corners of the four addresses of RFC 5780.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) primary: Mapped<SocketAddr>,
    pub(crate) alternate: Mapped<SocketAddr>,
}

impl Reader<'_, '_> {
    /// Pairs of addresses.
    pub(crate) fn pairs(&mut self, path: &str) -> Vec<Located<Pair>> {
        self.array(path, |reader, key, span, value| match value {
            DeValue::Table(table) => reader.pair(key, span, table),
            _ => {
                let complaint = Complaint {
                    fix: EXAMPLE.to_owned(),
                    ..expected("a primary and an alternate address", value)
                };
                reader.error(key, span, complaint);
                None
            }
        })
    }

    fn pair(&mut self, key: &Key, span: &Option<Range<usize>>, table: &DeTable<'_>) -> Option<Pair> {
        let (mut primary, mut alternate, mut sound) = (None, None, true);
        for (name, value) in table {
            let slot = match name.get_ref().as_ref() {
                "primary" => &mut primary,
                "alternate" => &mut alternate,
                other => {
                    let complaint = Complaint::new(format!("unknown key `{other}` in a pair"), EXAMPLE);
                    self.error(key, &Some(name.span()), complaint);
                    sound = false;
                    continue;
                }
            };
            *slot = self.mapped_endpoint(key, &Some(value.span()), value.get_ref());
            sound &= slot.is_some();
        }
        match (primary, alternate) {
            (Some(primary), Some(alternate)) if sound => return Some(Pair { primary, alternate }),
            _ if !sound => {}
            (None, _) => self.error(key, span, Complaint::new("`primary` is missing in this pair", EXAMPLE)),
            (_, None) => {
                self.error(key, span, Complaint::new("`alternate` is missing in this pair", EXAMPLE))
            }
            _ => {}
        }
        None
    }

    fn mapped_endpoint(
        &mut self,
        key: &Key,
        span: &Option<Range<usize>>,
        value: &DeValue<'_>,
    ) -> Option<Mapped<SocketAddr>> {
        let parse = |text: &str| parse_endpoint(text, TURN_PORT);
        let read = match value {
            DeValue::String(text) => parse(text).map(|bind| Mapped { bind, external: bind }),
            DeValue::Table(table) => return self.mapping(key, span, table, &parse),
            _ => Err(expected("a string or { bind = \"...\", external = \"...\" }", value)),
        };
        read.map_err(|complaint| self.error(key, span, complaint)).ok()
    }
}
