//! From entries to typed values, one at a time. A value that cannot be read is reported, and its default stands
//! in for it, so that the rules between keys can still be looked at.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::Range;
use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::time::Duration;

use toml::de::DeTable;
use toml::de::DeValue;

use crate::proto::auth::budget::Exempt;
use crate::proto::peers::Rule;

use super::bandwidth::parse_bandwidth;
use super::file::Document;
use super::file::Entry;
use super::file::article;
use super::problem::Problem;
use super::schema::Key;
use super::schema::Kind;
use super::schema::Unset;
use super::schema::find;
use super::source::Source;
use super::suggest;
use super::value::Complaint;
use super::value::parse_endpoint;
use super::value::parse_ip;
use super::value::parse_ports;
use super::value::parse_span;
use super::value::show_span;

mod discovery;

pub(crate) use discovery::Pair;

/// The port of TURN over UDP and TCP (RFC 8656 § 3).
const TURN_PORT: u16 = 3478;
pub(super) const ADMIN_PORT_USUAL: u16 = 9478;

/// A value and where it stands; `None` for a default.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Option<Range<usize>>,
}

/// An address and what a 1:1 NAT shows for it: the same if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped<A> {
    pub(crate) bind: A,
    pub(crate) external: A,
}

/// Reads values out of a document and gathers what is wrong with them.
pub(crate) struct Reader<'d, 's> {
    pub(crate) document: &'d Document<'d>,
    pub(crate) source: &'s dyn Source,
    pub(crate) problems: Vec<Problem>,
}

impl<'d> Reader<'d, '_> {
    pub(crate) fn error(&mut self, key: &Key, span: &Option<Range<usize>>, complaint: Complaint) {
        self.problems.push(Problem::error(key.path, span.clone(), complaint.rule, complaint.fix));
    }

    pub(crate) fn entry(&self, path: &str) -> Option<&'d Entry<'d>> {
        self.document.entries.get(path)
    }

    /// The value of a key that has a default, read by `read`; the default where that fails.
    pub(super) fn one<T>(
        &mut self,
        path: &str,
        read: impl Fn(&Key, &DeValue<'_>) -> Result<T, Complaint>,
    ) -> Located<T> {
        let entry = self.entry(path).expect("the document holds each key that has a default");
        match read(entry.key, &entry.value) {
            Ok(value) => Located { value, span: entry.span.clone() },
            Err(complaint) => {
                self.error(entry.key, &entry.span, complaint);
                let Unset::Value(default) = entry.key.unset else {
                    unreachable!("only keys with a default are read by this function");
                };
                let default = DeValue::parse(default).expect("a test parses each default");
                let value = read(entry.key, default.get_ref());
                Located { value: value.expect("a test reads each default"), span: None }
            }
        }
    }

    pub(crate) fn text(&mut self, path: &str) -> Located<String> {
        self.one(path, |_, value| string(value).map(str::to_owned))
    }

    /// The text of a key without a default; empty if it is not named.
    pub(crate) fn optional_text(&mut self, path: &str) -> Located<String> {
        let Some(entry) = self.entry(path) else { return Located { value: String::new(), span: None } };
        let value = match string(&entry.value) {
            Ok(text) => text.to_owned(),
            Err(complaint) => {
                self.error(entry.key, &entry.span, complaint);
                String::new()
            }
        };
        Located { value, span: entry.span.clone() }
    }

    pub(crate) fn flag(&mut self, path: &str) -> Located<bool> {
        self.one(path, |key, value| {
            value.as_bool().ok_or_else(|| {
                Complaint::new(
                    format!("true or false is expected, not {}", article(value)),
                    format!("write {} = true or {} = false, without quotes", key.name(), key.name()),
                )
            })
        })
    }

    pub(crate) fn count(&mut self, path: &str) -> Located<u32> {
        self.one(path, |key, value| {
            let Kind::Count { max } = key.kind else { unreachable!("{path} is no count") };
            let number = number(key, value)?;
            match u32::try_from(number) {
                Ok(small) if number <= max => Ok(small),
                _ => Err(Complaint::new(format!("{number} is too many"), format!("write at most {max}"))),
            }
        })
    }

    pub(crate) fn span(&mut self, path: &str) -> Located<Duration> {
        self.one(path, |key, value| {
            let Kind::Span { min_s, max_s } = key.kind else { unreachable!("{path} is no span") };
            let (min, max) = (Duration::from_secs(min_s), Duration::from_secs(max_s));
            let span = match value {
                DeValue::String(text) => parse_span(text)
                    .map_err(|fix| Complaint::new(format!("`{text}` is no span of time"), fix))?,
                DeValue::Integer(_) => {
                    let seconds = Duration::from_secs(number(key, value)?);
                    return Err(Complaint::new(
                        "a span of time needs a unit",
                        format!("write \"{}\" if seconds are meant", show_span(seconds)),
                    ));
                }
                _ => return Err(expected("a span of time such as \"1h30m\"", value)),
            };
            if span > max {
                let rule = format!("{} is too long", show_span(span));
                return Err(Complaint::new(rule, format!("write at most \"{}\"", show_span(max))));
            }
            if span < min {
                let rule = format!("{} is too short", show_span(span));
                return Err(Complaint::new(rule, format!("write at least \"{}\"", show_span(min))));
            }
            Ok(span)
        })
    }

    /// Bits a second; 0 for any amount.
    pub(crate) fn bandwidth(&mut self, path: &str) -> Located<u64> {
        self.one(path, |_, value| match value {
            DeValue::String(text) => parse_bandwidth(text),
            DeValue::Integer(_) => Err(Complaint::new(
                "a bandwidth needs a unit",
                "write it with kbit/s, Mbit/s or Gbit/s, as \"2Mbit/s\", or \"0\" for any amount",
            )),
            _ => Err(expected("a bandwidth such as \"2Mbit/s\"", value)),
        })
    }

    pub(crate) fn word<T: Copy>(&mut self, path: &str, meanings: &[(&str, T)]) -> Located<T> {
        self.one(path, |key, value| {
            let Kind::Word(words) = key.kind else { unreachable!("{path} is no word") };
            let text = string(value)?;
            if let Some((_, meaning)) = meanings.iter().find(|(word, _)| *word == text) {
                return Ok(*meaning);
            }
            let all: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            let longer = words.iter().copied().find(|word| text.starts_with(word));
            let fix = match longer.or_else(|| suggest::nearest(text, words.iter().copied())) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write one of {}", all.join(", ")),
            };
            Err(Complaint::new(format!("`{text}` is not known here"), fix))
        })
    }

    pub(crate) fn ports(&mut self, path: &str) -> Located<RangeInclusive<u16>> {
        self.one(path, |_, value| match value {
            DeValue::String(text) => parse_ports(text),
            _ => Err(Complaint::new(
                format!("a range of ports is expected, not {}", article(value)),
                "write the lowest and the highest port as one string: \"50000-59999\"",
            )),
        })
    }

    /// An address, or nothing for `""` and `"off"`. One without a port is told `port_usual`.
    pub(crate) fn endpoint(&mut self, path: &str, port_usual: u16) -> Located<Option<SocketAddr>> {
        self.one(path, |_, value| match value {
            DeValue::Boolean(false) => {
                Err(Complaint::new("an address is expected, not true or false", "write \"off\""))
            }
            _ => match string(value)? {
                "" | "off" => Ok(None),
                text => parse_endpoint(text, port_usual).map(Some),
            },
        })
    }

    pub(crate) fn endpoints(&mut self, path: &str) -> Vec<Located<Mapped<SocketAddr>>> {
        self.mapped(path, |text| parse_endpoint(text, TURN_PORT))
    }

    /// Addresses of other machines, which have no mapping.
    pub(crate) fn plain_endpoints(&mut self, path: &str) -> Vec<Located<SocketAddr>> {
        self.array(path, |reader, key, span, value| {
            let read = string(value).and_then(|text| parse_endpoint(text, TURN_PORT));
            read.map_err(|complaint| reader.error(key, span, complaint)).ok()
        })
    }

    pub(crate) fn addresses(&mut self, path: &str) -> Vec<Located<Mapped<IpAddr>>> {
        self.mapped(path, parse_ip)
    }

    fn mapped<A: Copy>(
        &mut self,
        path: &str,
        parse: impl Fn(&str) -> Result<A, Complaint>,
    ) -> Vec<Located<Mapped<A>>> {
        self.array(path, |reader, key, span, value| {
            let read = match value {
                DeValue::String(text) => parse(text).map(|bind| Mapped { bind, external: bind }),
                DeValue::Table(table) => return reader.mapping(key, span, table, &parse),
                _ => Err(expected("a string or { bind = \"...\", external = \"...\" }", value)),
            };
            read.map_err(|complaint| reader.error(key, span, complaint)).ok()
        })
    }

    fn mapping<A: Copy>(
        &mut self,
        key: &Key,
        span: &Option<Range<usize>>,
        table: &DeTable<'_>,
        parse: &impl Fn(&str) -> Result<A, Complaint>,
    ) -> Option<Mapped<A>> {
        const EXAMPLE: &str = "write { bind = \"this machine's address\", external = \"the NAT's address\" }";
        let (mut bind, mut external, mut sound) = (None, None, true);
        for (name, value) in table {
            let slot = match name.get_ref().as_ref() {
                "bind" => &mut bind,
                "external" => &mut external,
                other => {
                    let complaint = Complaint::new(format!("unknown key `{other}` in a mapping"), EXAMPLE);
                    self.error(key, &Some(name.span()), complaint);
                    sound = false;
                    continue;
                }
            };
            match string(value.get_ref()).and_then(parse) {
                Ok(address) => *slot = Some(address),
                Err(complaint) => {
                    self.error(key, &Some(value.span()), complaint);
                    sound = false;
                }
            }
        }
        match (bind, external) {
            (Some(bind), Some(external)) if sound => Some(Mapped { bind, external }),
            _ if !sound => None,
            (None, _) => {
                self.error(key, span, Complaint::new("`bind` is missing in this mapping", EXAMPLE));
                None
            }
            (_, None) => {
                self.error(key, span, Complaint::new("`external` is missing in this mapping", EXAMPLE));
                None
            }
            _ => None,
        }
    }

    pub(crate) fn rules(&mut self, path: &str) -> Vec<Rule> {
        let rules = self.array(path, |reader, key, span, value| {
            let read = string(value)
                .and_then(|text| Rule::from_str(text).map_err(|error| rule_complaint(&error.to_string())));
            read.map_err(|complaint| reader.error(key, span, complaint)).ok()
        });
        rules.into_iter().map(|rule| rule.value).collect()
    }

    /// Networks, without ports.
    pub(crate) fn networks(&mut self, path: &str) -> Exempt {
        let networks = self.array(path, |reader, key, span, value| {
            let read = string(value).and_then(|text| {
                let rule = Rule::from_str(text).map_err(|error| rule_complaint(&error.to_string()))?;
                match rule.ports() {
                    None => Ok((rule.network(), rule.prefix_len())),
                    Some(_) => Err(Complaint::new(
                        format!("`{text}` names ports, and a client network has none"),
                        format!("write the network alone: \"{}/{}\"", rule.network(), rule.prefix_len()),
                    )),
                }
            });
            read.map_err(|complaint| reader.error(key, span, complaint)).ok()
        });
        networks.into_iter().map(|network| network.value).collect()
    }

    /// The readable elements of an array; none if the key is not named.
    pub(super) fn array<T>(
        &mut self,
        path: &str,
        mut read: impl FnMut(&mut Self, &Key, &Option<Range<usize>>, &DeValue<'_>) -> Option<T>,
    ) -> Vec<Located<T>> {
        let Some(entry) = self.entry(path) else { return Vec::new() };
        let DeValue::Array(array) = &entry.value else {
            let rule = format!("an array is expected, not {}", article(&entry.value));
            let fix = array_fix(entry.key, &entry.value);
            self.error(entry.key, &entry.span, Complaint::new(rule, fix));
            return Vec::new();
        };
        let is_default = entry.span.is_none();
        let mut out = Vec::new();
        for element in array.iter() {
            let span = (!is_default).then(|| element.span());
            if let Some(value) = read(self, entry.key, &span, element.get_ref()) {
                out.push(Located { value, span });
            }
        }
        out
    }
}

/// Tells what is wrong from what to write in the words of a rule's error.
fn rule_complaint(error: &str) -> Complaint {
    match error.split_once(": write ") {
        Some((rule, fix)) => Complaint::new(rule, format!("write {fix}")),
        None => Complaint::new(
            error,
            "write a network, with or without ports: \"10.1.0.0/16\", \"10.1.0.0/16:5000-6000\", \
             \"[2001:db8::]/32:53\"",
        ),
    }
}

fn array_fix(key: &Key, value: &DeValue<'_>) -> String {
    match value {
        _ if key.is_secret() => format!("put brackets around it: {} = [...]", key.name()),
        DeValue::String(text) => format!("write {} = [{text:?}]", key.name()),
        _ => match find(key.path).map(|key| key.unset) {
            Some(Unset::Nothing { example, .. }) => format!("write {} = {example}", key.name()),
            _ => format!("write {} = [\"...\"]", key.name()),
        },
    }
}

fn string<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Complaint> {
    value.as_str().ok_or_else(|| expected("a string", value))
}

fn expected(what: &str, value: &DeValue<'_>) -> Complaint {
    let fix = match value {
        DeValue::Integer(integer) => format!("put it in quotes: \"{integer}\""),
        DeValue::Float(float) => format!("put it in quotes: \"{float}\""),
        _ => format!("write {what}"),
    };
    Complaint::new(format!("{what} is expected, not {}", article(value)), fix)
}

fn number(key: &Key, value: &DeValue<'_>) -> Result<u64, Complaint> {
    match value {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| {
            Complaint::new(format!("{integer} is out of range"), "write a whole number from 0 upwards")
        }),
        DeValue::String(text) if text.parse::<u64>().is_ok() => Err(Complaint::new(
            "a number is expected, not a string",
            format!("leave the quotes out: {} = {text}", key.name()),
        )),
        _ => Err(Complaint::new(
            format!("a number is expected, not {}", article(value)),
            format!("write a whole number from 0 upwards: {} = 64", key.name()),
        )),
    }
}
