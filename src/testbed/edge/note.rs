//! What an edge tells the flight record.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::proto::types::Tick;

/// One thing worth a line in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Tick,
    /// The client's user name; `None` while it has not told.
    pub client: Option<Arc<str>>,
    /// Where the client's packets come from.
    pub from: Option<SocketAddr>,
    /// What sort of thing.
    pub kind: Kind,
    /// What, for people.
    pub words: String,
}

/// What sort of thing a note tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A request came.
    Request,
    /// An answer left.
    Answer,
    /// Something became of an allocation.
    Allocation,
    /// The saboteur did something.
    Fault,
    /// What the client was expected to do it did, or did not.
    Judged,
}

impl Kind {
    /// A lower-case word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Answer => "answer",
            Self::Allocation => "allocation",
            Self::Fault => "fault",
            Self::Judged => "judged",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at.as_millis();
        write!(out, "{}.{:03} {} ", millis / 1_000, millis % 1_000, self.kind.word())?;
        match (&self.client, self.from) {
            (Some(client), _) => write!(out, "{client}: ")?,
            (None, Some(from)) => write!(out, "{from}: ")?,
            (None, None) => {}
        }
        out.write_str(&self.words)
    }
}
