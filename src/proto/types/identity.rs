//! Who a client is.

use std::fmt;
use std::sync::Arc;

/// A USERNAME as it stood in the request: at most 508 opaque bytes (RFC 8489 § 14.3).
///
/// Shown with control characters and non-ASCII bytes escaped, so that it can stand in a log line. Clones share the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Username(Arc<[u8]>);

impl Username {
    /// Takes the bytes of a USERNAME attribute.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes as they stood on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Username(\"{}\")", self.0.escape_ascii())
    }
}

/// Whom a quota counts: the part after the first `:` of a time-limited name, or the whole of a static one.
/// A client that fetches a new time-limited name every minute stays one user. Clones share the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct QuotaIdentity(Arc<[u8]>);

impl QuotaIdentity {
    /// Takes the bytes that name the user.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for QuotaIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for QuotaIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuotaIdentity(\"{}\")", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_smuggle_a_line_or_a_terminal_sequence_into_a_log() {
        let name = Username::new(b"a\n\x1b[31mb\xff");
        assert_eq!(name.to_string(), "a\\n\\x1b[31mb\\xff");
        assert!(!format!("{name:?}").contains('\n'));
    }
}
