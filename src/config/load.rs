//! The whole way from text to a checked configuration.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::admin::config::LogFormat;
use crate::admin::config::LogLevel;
use crate::net::Certificate;
use crate::proto::auth::budget::Exempt;
use crate::proto::auth::legacy::WrongMac;
use crate::proto::auth::token::TokenKey;
use crate::proto::peers::Rule;
use crate::proto::peers::Unlisted;
use crate::proto::types::ChannelNumber;
use crate::proto::types::Secret;

use super::Loaded;
use super::acme::CheckedAcme;
use super::check;
use super::file;
use super::file::Document;
use super::mras::MrasDoors;
use super::problem::Report;
use super::read::ADMIN_PORT_USUAL;
use super::read::Located;
use super::read::Mapped;
use super::read::Pair;
use super::read::Reader;
use super::schema::KEYS;
use super::schema::Key;
use super::schema::Unset;
use super::source::Source;
use super::web::CheckedWeb;
use super::words::PathTier;

/// A key as `swingbridge check` lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The key.
    pub key: &'static Key,
    /// Its value as text, or what happens without one; secrets are counted, never shown.
    pub value: String,
    /// Whether the file names it.
    pub named: bool,
}

/// A configuration without errors. [`Checked::build`] makes the rooms' configurations of it.
#[derive(Debug)]
pub struct Checked {
    pub(crate) realm: Located<String>,
    pub(crate) udp: Vec<Located<Mapped<SocketAddr>>>,
    pub(crate) relays: Vec<Located<Mapped<IpAddr>>>,
    pub(crate) ports: Located<RangeInclusive<u16>>,
    pub(crate) path: Located<PathTier>,
    pub(crate) workers: Located<u32>,
    pub(crate) secrets: Vec<Located<Secret>>,
    pub(crate) users: Vec<Located<(String, Secret)>>,
    pub(crate) credential_lifetime_max: Located<Duration>,
    pub(crate) nonce_lifetime: Located<Duration>,
    pub(crate) session_lifetime_max: Located<Duration>,
    pub(crate) mobility: Located<bool>,
    pub(crate) peers_default: Located<Unlisted>,
    pub(crate) allow: Vec<Rule>,
    pub(crate) deny: Vec<Rule>,
    pub(crate) allocations_per_user: Located<u32>,
    pub(crate) allocations_per_address: Located<u32>,
    pub(crate) allocation_lifetime_max: Located<Duration>,
    pub(crate) permission_lifetime: Located<Duration>,
    pub(crate) channel_lifetime: Located<Duration>,
    pub(crate) unproven_exempt: Exempt,
    pub(crate) channel_number_max: Located<ChannelNumber>,
    pub(crate) strict_permissions: Located<bool>,
    /// Bits a second; 0 for any amount, else what [`crate::proto::types::Rate`] takes.
    pub(crate) bandwidth_per_allocation: Located<u64>,
    /// Likewise.
    pub(crate) bandwidth_per_user: Located<u64>,
    pub(crate) bandwidth_burst: Located<Duration>,
    pub(crate) admin: Located<Option<SocketAddr>>,
    pub(crate) log_format: Located<LogFormat>,
    pub(crate) log_level: Located<LogLevel>,
    pub(crate) discovery: Vec<Located<Pair>>,
    pub(crate) server_name: Located<String>,
    pub(crate) oauth: Vec<Located<TokenKey>>,
    pub(crate) allocations_total: Located<u32>,
    pub(crate) permissions_per_allocation: Located<u32>,
    pub(crate) channels_per_allocation: Located<u32>,
    pub(crate) drain_deadline: Located<Duration>,
    pub(crate) alternate_servers: Vec<Located<SocketAddr>>,
    pub(crate) streams: Vec<Located<Mapped<SocketAddr>>>,
    pub(crate) certificates: Vec<Located<Certificate>>,
    pub(crate) streams_total: Located<u32>,
    pub(crate) streams_per_address: Located<u32>,
    pub(crate) connections_per_allocation: Located<u32>,
    pub(crate) connects_per_allocation: Located<u32>,
    pub(crate) ms_turn: Located<bool>,
    pub(crate) strict_sequence_numbers: Located<bool>,
    pub(crate) wrong_mac: Located<WrongMac>,
    pub(crate) mras: Vec<Located<(Secret, Secret)>>,
    pub(crate) mras_doors: MrasDoors,
    pub(crate) proxy_from: Vec<(IpAddr, u8)>,
    pub(crate) web: CheckedWeb,
    listed: Vec<Listed>,
    pub(crate) acme: CheckedAcme,
    pub(crate) kernel_interfaces: Vec<Located<String>>,
    pub(crate) runs: Located<bool>,
}

impl Checked {
    /// Every key with its value, in the order of the schema.
    #[must_use]
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }
}

/// Reads and checks `text`. `secret` is a credential that stands beside those of the text.
pub(crate) fn load(name: &str, text: &str, source: &dyn Source, secret: Option<Secret>) -> Loaded {
    let mut document = file::parse(text);
    let mut problems = std::mem::take(&mut document.problems);
    let hidden = std::mem::take(&mut document.hidden);
    if document.broken {
        return Loaded { report: Report::new(name, text, problems, hidden), checked: None };
    }
    let mut reader = Reader { document: &document, source, problems: Vec::new() };
    let mut checked = read(&mut reader, text);
    problems.append(&mut reader.problems);
    checked.secrets.extend(secret.map(|value| Located { value, span: None }));
    let problems = check::between_keys(&checked, &document, problems);
    let report = Report::new(name, text, problems, hidden);
    let checked = (!report.has_errors()).then_some(checked);
    Loaded { report, checked }
}

fn read(reader: &mut Reader<'_, '_>, text: &str) -> Checked {
    Checked {
        realm: reader.realm(),
        udp: reader.endpoints("listen.udp"),
        relays: reader.addresses("relay.addresses"),
        ports: reader.ports("relay.ports"),
        path: reader.word("relay.path", &PathTier::ALL.map(|path| (path.word(), path))),
        workers: reader.count("relay.workers"),
        secrets: reader.secrets("auth.secrets"),
        users: reader.users("auth.users"),
        credential_lifetime_max: reader.span("auth.credential_lifetime_max"),
        nonce_lifetime: reader.span("auth.nonce_lifetime"),
        session_lifetime_max: reader.span("auth.session_lifetime_max"),
        mobility: reader.flag("auth.mobility"),
        peers_default: reader
            .word("peers.default", &[("public", Unlisted::Public), ("none", Unlisted::None)]),
        allow: reader.rules("peers.allow"),
        deny: reader.rules("peers.deny"),
        unproven_exempt: reader.networks("limits.unproven_exempt"),
        allocations_per_user: reader.count("limits.allocations_per_user"),
        allocations_per_address: reader.count("limits.allocations_per_address"),
        allocation_lifetime_max: reader.span("limits.allocation_lifetime_max"),
        permission_lifetime: reader.span("limits.permission_lifetime"),
        channel_lifetime: reader.span("limits.channel_lifetime"),
        channel_number_max: reader.word(
            "limits.channel_numbers",
            &[("rfc8656", ChannelNumber::MAX), ("rfc5766", ChannelNumber::MAX_RFC5766)],
        ),
        strict_permissions: reader.flag("limits.strict_permissions"),
        bandwidth_per_allocation: reader.bandwidth("limits.bandwidth_per_allocation"),
        bandwidth_per_user: reader.bandwidth("limits.bandwidth_per_user"),
        bandwidth_burst: reader.span("limits.bandwidth_burst"),
        admin: reader.endpoint("admin.listen", ADMIN_PORT_USUAL),
        log_format: reader.word("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        log_level: reader.word("log.level", &LogLevel::ALL.map(|level| (level.word(), level))),
        discovery: reader.pairs("listen.discovery"),
        server_name: reader.optional_text("auth.server_name"),
        oauth: reader.token_keys("auth.oauth"),
        allocations_total: reader.count("limits.allocations_total"),
        permissions_per_allocation: reader.count("limits.permissions_per_allocation"),
        channels_per_allocation: reader.count("limits.channels_per_allocation"),
        drain_deadline: reader.span("drain.deadline"),
        alternate_servers: reader.plain_endpoints("drain.alternate_servers"),
        streams: reader.endpoints("listen.stream"),
        certificates: reader.certificates("tls.certificates"),
        streams_total: reader.count("limits.streams_total"),
        streams_per_address: reader.count("limits.streams_per_address"),
        connections_per_allocation: reader.count("limits.connections_per_allocation"),
        connects_per_allocation: reader.count("limits.connects_per_allocation"),
        ms_turn: reader.flag("ms_turn.enable"),
        strict_sequence_numbers: reader.flag("ms_turn.strict_sequence_numbers"),
        wrong_mac: reader.word(
            "ms_turn.wrong_mac",
            &[("401", WrongMac::Unauthenticated), ("431", WrongMac::IntegrityCheckFailure)],
        ),
        mras: reader.mras_keys("mras.keys"),
        mras_doors: reader.mras_doors(),
        proxy_from: reader.networks("listen.proxy_from"),
        web: reader.web(),
        acme: reader.acme(),
        listed: KEYS.iter().map(|key| listed(key, reader.document, text)).collect(),
        kernel_interfaces: reader.interfaces("relay.kernel_interfaces"),
        runs: reader.word("relay.runs", &[("auto", true), ("off", false)]),
    }
}

fn listed(key: &'static Key, document: &Document<'_>, text: &str) -> Listed {
    let span = document.entries.get(key.path).and_then(|entry| entry.span.clone());
    let named = span.is_some();
    let value = match (span, key.unset) {
        (Some(_), _) if key.is_secret() => {
            let value = &document.entries[key.path].value;
            let number =
                value.as_array().map(|array| array.len()).or(value.as_table().map(|table| table.len()));
            format!("({} set)", number.unwrap_or(0))
        }
        // One line, whatever the file's layout.
        (Some(span), _) => text.get(span).unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" "),
        (None, Unset::Value(default)) => default.to_owned(),
        (None, Unset::Nothing { meaning, .. }) => format!("({meaning})"),
    };
    Listed { key, value, named }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Severity;
    use crate::config::source::Nowhere;

    /// What a configuration is made of, whole and in pieces.
    fn pieces() -> impl Strategy<Value = String> {
        let keys: Vec<_> = KEYS.iter().flat_map(|key| [key.path, key.name()]).map(str::to_owned).collect();
        let values: Vec<_> = KEYS
            .iter()
            .map(|key| match key.unset {
                Unset::Value(text) | Unset::Nothing { example: text, .. } => text.to_owned(),
            })
            .collect();
        let signs = [
            "=", "[", "]", "{", "}", ",", ".", "\"", "'", "\n", "[[", "#", "\"\"", "0", "-1", "1e9", "é",
            "\0",
        ];
        prop_oneof![
            3 => prop::sample::select(keys),
            3 => prop::sample::select(values),
            6 => prop::sample::select(signs.map(str::to_owned).to_vec()),
            1 => any::<String>(),
        ]
    }

    fn look_at(text: &str) {
        let Loaded { report, checked } = load("a.toml", text, &Nowhere, None);
        assert_eq!(checked.is_some(), report.count(Severity::Error) == 0);
        let lines = text.matches('\n').count() + 1;
        for problem in report.problems() {
            let (line, column) = report.position(problem);
            assert!(line <= lines && column >= 1);
            assert!(!problem.rule.is_empty() && !problem.fix.is_empty(), "{problem:?}");
        }
        assert!(report.render(true).matches("a.toml:").count() >= report.problems().len());
        if let Some(checked) = checked {
            let _ = checked.build(&crate::config::Machine::default());
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in any::<String>()) {
            look_at(&text);
        }

        #[test]
        fn no_medley_of_a_configuration_is_a_panic(pieces in prop::collection::vec(pieces(), 0..40)) {
            look_at(&pieces.join(" "));
        }

        #[test]
        fn any_value_may_stand_at_any_key(
            chosen in prop::collection::vec((prop::sample::select(KEYS), prop::sample::select(KEYS)), 0..6),
        ) {
            let line = |(key, other): &(Key, Key)| match other.unset {
                Unset::Value(text) | Unset::Nothing { example: text, .. } => format!("{} = {text}\n", key.path),
            };
            look_at(&chosen.iter().map(line).collect::<String>());
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_draws_no_second_complaint_after_it() {
        for text in [
            "[auth]\nsecrets = [{ env = \"NOT_SET\" }]",
            "[listen]\nudp = [\"x\"]\n[auth]\nsecrets = [\"0123456789abcdef\"]",
            "[relay]\naddresses = [\"x\"]\n[auth]\nsecrets = [\"0123456789abcdef\"]",
            "[auth]\nusers = { a = \"\" }",
        ] {
            let report = load("a.toml", text, &Nowhere, None).report;
            assert_eq!(report.problems().len(), 1, "{}", report.render(false));
        }
    }
}
