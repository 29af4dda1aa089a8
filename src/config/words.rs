//! Settings that are one word of a few.

/// A way of carrying packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathTier {
    /// The fastest that this machine has.
    Auto,
    /// A socket for each allocation.
    Sockets,
    /// The ports of a worker on one socket.
    SkLookup,
    /// At the network interface.
    Tc,
    /// In the driver.
    Xdp,
}

impl PathTier {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Sockets, Self::SkLookup, Self::Tc, Self::Xdp];

    /// The word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sockets => "sockets",
            Self::SkLookup => "sk_lookup",
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}
