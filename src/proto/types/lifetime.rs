//! LIFETIME values.

use std::time::Duration;

/// How long an allocation lives from the moment it is granted, in whole seconds (RFC 8656 § 18.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u32);

impl Lifetime {
    /// Ends the allocation at once.
    pub const ZERO: Self = Self(0);

    /// `seconds` as they stand in a LIFETIME attribute; every value is valid there.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds)
    }

    /// Whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The same stretch of time as a [`Duration`].
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }

    /// What the server grants for `asked` (RFC 8656 § 7.2 step 9, § 8.2): never less than `default`, never more
    /// than `max`. That a Refresh with 0 ends the allocation is for the caller to see first.
    #[must_use]
    pub fn granted(asked: Option<Self>, default: Self, max: Self) -> Self {
        asked.unwrap_or(default).max(default).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_lies_between_default_and_ceiling() {
        let (default, max) = (Lifetime(600), Lifetime(3600));
        let granted = |asked| Lifetime::granted(asked, default, max).as_secs();
        assert_eq!(granted(None), 600);
        assert_eq!(granted(Some(Lifetime(1))), 600);
        assert_eq!(granted(Some(Lifetime(777))), 777);
        assert_eq!(granted(Some(Lifetime(3600))), 3600);
        assert_eq!(granted(Some(Lifetime(u32::MAX))), 3600);
    }

    #[test]
    fn a_ceiling_below_the_default_wins() {
        assert_eq!(Lifetime::granted(None, Lifetime(600), Lifetime(60)).as_secs(), 60);
    }
}
