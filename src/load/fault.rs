//! Why a run came to nothing, in one plain sentence.

use std::fmt;

/// Why a run came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose fault it is.
    pub kind: FaultKind,
    /// One plain sentence: what is wrong, and with what.
    pub what: String,
    /// What to do about it, if that is known.
    pub cure: Option<String>,
}

/// Whose fault it is that a run came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The request cannot be met as it is: a wrong name, credentials that the server refuses. Exit code 2.
    Request,
    /// The server does not answer, or not as a TURN server. Exit code 1.
    Server,
    /// This machine has not what it takes: descriptors, ports, memory. Exit code 3.
    Machine,
}

impl Fault {
    /// A fault without a cure.
    #[must_use]
    pub fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), cure: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.cure.as_ref().map_or(Ok(()), |cure| write!(f, "\n  help: {cure}"))
    }
}

impl std::error::Error for Fault {}
