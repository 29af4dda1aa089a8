//! When an order is due, and how long one waits after orders that failed.

use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::net::Certificate;
use crate::proto::types::limits;

/// Now, in seconds since 1970-01-01 UTC.
pub(super) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long `certificate` does, seen at `now`: until less than a third of its life is left. Not at all where it is missing
/// or lacks one of `names`.
pub(super) fn does_for(certificate: Option<&Certificate>, names: &[String], now: u64) -> Duration {
    let is_for_all = |certificate: &&Certificate| names.iter().all(|name| has(certificate, name));
    let Some(certificate) = certificate.filter(is_for_all) else { return Duration::ZERO };
    last_third(certificate.not_before(), certificate.not_after(), now)
}

/// Whether it names this host; wildcards count not, as none was ordered.
pub(super) fn has(certificate: &Certificate, name: &str) -> bool {
    certificate.names().iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn last_third(not_before: u64, not_after: u64, now: u64) -> Duration {
    let life = not_after.saturating_sub(not_before);
    Duration::from_secs(not_after.saturating_sub(life / 3).saturating_sub(now))
}

/// The pause after so many orders in a row that failed, of which there is at least one.
pub(super) fn pause(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    limits::ACME_PAUSE_MIN.saturating_mul(doubled).min(limits::ACME_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_due_when_a_third_of_the_life_is_left() {
        let left = |now| last_third(1_000, 1_900, now).as_secs();
        assert_eq!([left(1_000), left(1_599), left(1_600), left(1_900), left(9_999)], [600, 1, 0, 0, 0]);
        assert_eq!(last_third(1_900, 1_000, 500).as_secs(), 500, "a life that ends before it begins is none");
        assert_eq!(last_third(0, u64::MAX, 0).as_secs(), u64::MAX - u64::MAX / 3);
    }

    #[test]
    fn a_certificate_that_lacks_a_name_does_not_do() {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned(), "b.example".to_owned()]);
        let made = made.expect("sound names");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect("a certificate");
        let does = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            !does_for(Some(&certificate), &names, 1_800_000_000).is_zero()
        };
        assert!(does(&["a.example"]) && does(&["B.example", "a.example"]));
        assert!(!does(&["a.example", "c.example"]));
        assert!(does_for(None, &["a.example".to_owned()], 0).is_zero());
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let minutes = |failures| pause(failures).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(minutes), [5, 10, 20, 40, 80, 160, 320, 360]);
        assert_eq!(pause(u32::MAX), limits::ACME_PAUSE_MAX);
    }
}
