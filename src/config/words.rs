//! Settings that are one word of a few.

/// A way of carrying packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathTier {
    /// The fastest that this machine has.
    Auto,
    /// A socket for each allocation.
    Sockets,
}

impl PathTier {
    /// The word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sockets => "sockets",
        }
    }
}
