//! Every key of the configuration, declared once.

mod keys;
mod mras;
mod path;
mod tls;

pub use keys::KEYS;

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any string.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number from 0 to `max`.
    Count {
        /// The greatest value.
        max: u64,
    },
    /// A span of time such as `"1h30m"`.
    Span {
        /// The shortest, in seconds.
        min_s: u64,
        /// The longest, in seconds.
        max_s: u64,
    },
    /// A bandwidth such as `"2Mbit/s"`, or `"0"` for none.
    Bandwidth,
    /// A range of ports, `"50000-59999"`.
    Ports,
    /// One address with a port, or `"off"`.
    Endpoint,
    /// An array of addresses with a port.
    Endpoints,
    /// An array of IP addresses.
    Addresses,
    /// An array of secrets.
    Secrets,
    /// A table of names and secrets.
    Users,
    /// An array of peer rules.
    Rules,
    /// An array of strings that this version only looks at.
    Names,
    /// An array of tables, each the files of a certificate.
    Certificates,
    /// An array of pairs of addresses with a port.
    Pairs,
    /// An array of tables, each a key of access tokens.
    TokenKeys,
    /// An array of tables, each a pair of keys of MRAS credentials.
    MrasKeys,
    /// The path of a file.
    File,
    /// An array of networks.
    Networks,
    /// An array of names of hosts.
    Hosts,
}

/// Whether a changed value reaches a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A reload brings it in.
    Live,
    /// Only a restart brings it in.
    Restart,
}

impl Takes {
    /// The word in `swingbridge check`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
        }
    }
}

/// What stands for a key that the file does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// This value, in TOML.
    Value(&'static str),
    /// No value; `example` is shown instead, and `meaning` tells what happens without one.
    Nothing {
        /// A value in TOML.
        example: &'static str,
        /// What the server does.
        meaning: &'static str,
    },
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section and name, `auth.secrets`; a name without a dot stands at the top of the file.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What stands for it when the file does not name it.
    pub unset: Unset,
    /// What it means: the comment in `conf/full.toml`.
    pub doc: &'static str,
    /// Whether a changed value reaches a running server.
    pub takes: Takes,
    /// What other servers call the same thing, so that an operator who comes from there is told the name here.
    pub also_called: &'static [&'static str],
}

impl Key {
    /// The section, `""` for the top of the file.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The name without its section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// Whether its value must never be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secrets | Kind::Users | Kind::TokenKeys | Kind::MrasKeys)
    }
}

/// The key at `path`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether some key stands in the section `name`.
#[must_use]
pub fn is_section(name: &str) -> bool {
    !name.is_empty() && KEYS.iter().any(|key| key.section() == name)
}

/// A key with a default that needs a restart and is part of this version: what most keys are.
const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, unset: Unset::Value(default), doc, takes: Takes::Restart, also_called: &[] }
}

/// `key` with a value that a reload brings in.
const fn live(key: Key) -> Key {
    Key { takes: Takes::Live, ..key }
}

/// A key without a default value.
const fn open_key(
    path: &'static str,
    kind: Kind,
    example: &'static str,
    meaning: &'static str,
    doc: &'static str,
) -> Key {
    Key { unset: Unset::Nothing { example, meaning }, ..key(path, kind, "", doc) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_is_declared_twice_and_no_section_is_a_key() {
        let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        for key in KEYS {
            assert!(!is_section(key.path), "{} is key and section", key.path);
            assert!(key.path.matches('.').count() <= 2, "{} is nested deeper than the walk goes", key.path);
        }
    }

    #[test]
    fn no_secret_takes_a_restart() {
        // A changed secret that is only live could not be told by name without comparing what must not be shown.
        for key in KEYS.iter().filter(|key| key.is_secret()) {
            assert_eq!(key.takes, Takes::Live, "{}", key.path);
        }
    }

    #[test]
    fn keys_of_a_section_stand_together() {
        let mut sections: Vec<_> = KEYS.iter().map(Key::section).collect();
        sections.dedup();
        let distinct: BTreeSet<_> = sections.iter().collect();
        assert_eq!(distinct.len(), sections.len());
    }

    #[test]
    fn what_another_server_calls_a_key_leads_to_one_key() {
        let mut seen = BTreeSet::new();
        for word in KEYS.iter().flat_map(|key| key.also_called) {
            assert!(seen.insert(word), "{word} leads to two keys");
        }
    }
}
