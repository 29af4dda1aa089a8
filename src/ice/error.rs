//! What can be wrong with what the other side wrote.

use std::error::Error;
use std::fmt;

/// Why a line is no candidate, or none that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateError {
    /// It does not begin with `candidate:`.
    Start,
    /// A field is missing.
    Missing {
        /// Its name in RFC 8839 § 5.1.
        field: &'static str,
    },
    /// A field is not what it has to be.
    Wrong {
        /// Its name in RFC 8839 § 5.1.
        field: &'static str,
        /// What stands there, as far as it is worth showing.
        found: Box<str>,
        /// What may stand there.
        expected: &'static str,
    },
    /// It is well written, and of a kind that is not used here; RFC 8839 § 5.1 says to pass it over.
    Unsupported {
        /// The field that says so.
        field: &'static str,
        /// What stands there.
        found: Box<str>,
    },
}

impl CandidateError {
    /// Whether the line is right and the candidate is just of no use here: a name (mDNS), TCP, another component, an unknown
    /// type.
    #[must_use]
    pub const fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }
}

impl fmt::Display for CandidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("a candidate begins with `candidate:`"),
            Self::Missing { field } => write!(f, "the candidate has no {field}"),
            Self::Wrong { field, found, expected } => {
                write!(f, "the candidate's {field} is `{found}`; it has to be {expected}")
            }
            Self::Unsupported { field, found } => {
                write!(f, "candidates whose {field} is `{found}` are not used here")
            }
        }
    }
}

impl Error for CandidateError {}

/// Why a text describes no agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DescriptionError {
    /// It is longer than [`crate::proto::types::limits::ICE_DESCRIPTION_MAX`].
    TooLong,
    /// A line has not the form `x=…`.
    Line {
        /// Which, from 1.
        number: usize,
        /// What stands there, as far as it is worth showing.
        found: Box<str>,
    },
    /// A credential is not what it has to be. It is not shown.
    Credential {
        /// Which line, from 1.
        number: usize,
        /// `ice-ufrag` or `ice-pwd`.
        attribute: &'static str,
    },
    /// Credentials that are not the same stand in two places: there is more than one agent in it.
    Twice {
        /// The second line, from 1.
        number: usize,
        /// `ice-ufrag` or `ice-pwd`.
        attribute: &'static str,
    },
    /// There is no `a=ice-ufrag` or no `a=ice-pwd`.
    Missing {
        /// Which.
        attribute: &'static str,
    },
    /// A candidate is wrong.
    Candidate {
        /// Which line, from 1.
        number: usize,
        /// How.
        why: CandidateError,
    },
    /// There are more than [`crate::proto::types::limits::ICE_CANDIDATES_MAX`] candidates.
    TooMany,
}

impl fmt::Display for DescriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the description is too long"),
            Self::Line { number, found } => {
                write!(f, "line {number} is `{found}`; lines of a description begin with a letter and `=`")
            }
            Self::Credential { number, attribute } => {
                let least = if *attribute == "ice-ufrag" { 4 } else { 22 };
                write!(f, "line {number}: `{attribute}` has to be {least} to 256 letters, digits, `+` or `/`")
            }
            Self::Twice { number, attribute } => {
                write!(f, "line {number}: a second, different `{attribute}`; one description is of one agent")
            }
            Self::Missing { attribute } => write!(f, "there is no line `a={attribute}:…`"),
            Self::Candidate { number, why } => write!(f, "line {number}: {why}"),
            Self::TooMany => f.write_str("there are too many candidates"),
        }
    }
}

impl Error for DescriptionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Candidate { why, .. } => Some(why),
            _ => None,
        }
    }
}

/// Enough of a text to know it by.
pub(super) fn shown(text: &str) -> Box<str> {
    const SHOWN_MAX: usize = 60;
    text.chars().take(SHOWN_MAX).flat_map(char::escape_default).collect()
}
