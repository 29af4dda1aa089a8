//! What the admin door and the log are made with. Whoever builds it has checked it.

use std::net::SocketAddr;

/// Where `/metrics` and `/health` are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The TCP address to listen on. The door asks for no password: it belongs on loopback or on a network
    /// that only operators reach.
    pub listen: SocketAddr,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// Lines below this level are not written.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `time LEVEL message key=value …`, for people.
    #[default]
    Text,
    /// One JSON object, for programs.
    Json,
}

/// How much is written, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What stops the server from doing its work.
    Error,
    /// What an operator should look at.
    Warn,
    /// Allocations made, refused and ended; start and end.
    #[default]
    Info,
    /// Client addresses too.
    Debug,
    /// Every request.
    Trace,
}

impl LogFormat {
    /// Every form.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// The form that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.word() == word)
    }
}

impl LogLevel {
    /// Every level, from least to most.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_what_they_came_from_and_others_nothing() {
        for format in LogFormat::ALL {
            assert_eq!(LogFormat::from_word(format.word()), Some(format));
        }
        for level in LogLevel::ALL {
            assert_eq!(LogLevel::from_word(level.word()), Some(level));
        }
        assert_eq!(LogFormat::from_word("Text"), None);
        assert_eq!(LogLevel::from_word("verbose"), None);
    }

    #[test]
    fn levels_grow_from_least_to_most() {
        assert!(LogLevel::ALL.is_sorted());
        assert_eq!(LogLevel::default(), LogLevel::Info);
    }
}
