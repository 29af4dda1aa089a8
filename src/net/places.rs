//! How many connections there may be, in all and of one source. A place is given back wherever it is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

/// Sources that are remembered without a connection before they are cleared out.
const IDLE_SOURCES_MAX: usize = 1_024;

/// Who may still come. One thread asks; whoever holds a [`Place`] gives it back.
#[derive(Debug)]
pub struct Places {
    total_max: u32,
    per_source_max: u32,
    total: Arc<AtomicU32>,
    sources: HashMap<IpAddr, Arc<AtomicU32>, ahash::RandomState>,
    clear_at: usize,
}

/// A connection's place.
#[derive(Debug)]
pub struct Place {
    total: Arc<AtomicU32>,
    source: Arc<AtomicU32>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are as many connections as there may be.
    Total,
    /// There are as many of this source.
    Source,
}

impl Places {
    /// Room for `total_max` connections, `per_source_max` of each source; 0 for as many as there may be in all.
    #[must_use]
    pub fn new(total_max: u32, per_source_max: u32, hash_seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = hash_seeds;
        Self {
            total_max,
            per_source_max,
            total: Arc::default(),
            sources: HashMap::with_hasher(ahash::RandomState::with_seeds(a, b, c, d)),
            clear_at: IDLE_SOURCES_MAX,
        }
    }

    /// A place for a connection from `client`.
    ///
    /// # Errors
    /// [`Full`] if there is none.
    pub fn take(&mut self, client: IpAddr) -> Result<Place, Full> {
        if self.taken() >= self.total_max {
            return Err(Full::Total);
        }
        self.clear_out();
        let source = self.sources.entry(source(client)).or_default();
        if self.per_source_max > 0 && source.load(Ordering::Relaxed) >= self.per_source_max {
            return Err(Full::Source);
        }
        source.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        Ok(Place { total: Arc::clone(&self.total), source: Arc::clone(source) })
    }

    /// Makes `place` one of `client`, who was found to stand behind whoever it was taken for.
    ///
    /// # Errors
    /// [`Full`] if this source has as many as it may have.
    pub fn pass_on(&mut self, place: &mut Place, client: IpAddr) -> Result<(), Full> {
        self.clear_out();
        let source = self.sources.entry(source(client)).or_default();
        if Arc::ptr_eq(source, &place.source) {
            return Ok(());
        }
        if self.per_source_max > 0 && source.load(Ordering::Relaxed) >= self.per_source_max {
            return Err(Full::Source);
        }
        source.fetch_add(1, Ordering::Relaxed);
        let before = std::mem::replace(&mut place.source, Arc::clone(source));
        before.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    /// Places that are taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.total.load(Ordering::Relaxed)
    }

    /// Forgets sources without a connection, once there are many more than connections.
    fn clear_out(&mut self) {
        if self.sources.len() >= self.clear_at {
            self.sources.retain(|_, count| count.load(Ordering::Relaxed) > 0);
            self.clear_at = self.sources.len() * 2 + IDLE_SOURCES_MAX;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.source.fetch_sub(1, Ordering::Relaxed);
        self.total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts as one source: an IPv4 address, or the /64 of an IPv6 one.
fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("a literal")
    }

    #[test]
    fn a_source_gets_its_share_and_no_more_until_one_goes() {
        let mut places = Places::new(100, 2, [1; 4]);
        let first = places.take(ip("192.0.2.1")).expect("free");
        let _second = places.take(ip("192.0.2.1")).expect("free");
        assert_eq!(places.take(ip("192.0.2.1")).err(), Some(Full::Source));
        let _other = places.take(ip("192.0.2.2")).expect("another source");
        drop(first);
        let _third = places.take(ip("192.0.2.1")).expect("free again");
        assert_eq!(places.taken(), 3);
    }

    #[test]
    fn a_place_that_is_passed_on_counts_for_its_new_source_alone() {
        let mut places = Places::new(100, 2, [1; 4]);
        let proxy = ip("10.0.0.1");
        let mut held: Vec<_> = (0..2).map(|_| places.take(proxy).expect("free")).collect();
        assert_eq!(places.take(proxy).err(), Some(Full::Source));
        places.pass_on(&mut held[0], ip("192.0.2.1")).expect("free");
        let mut third = places.take(proxy).expect("one went over");
        places.pass_on(&mut third, ip("192.0.2.1")).expect("free");
        let mut fourth = places.take(proxy).expect("another went over");
        assert_eq!(places.pass_on(&mut fourth, ip("192.0.2.1")), Err(Full::Source));
        places.pass_on(&mut fourth, proxy).expect("it is there already");
        assert_eq!(places.taken(), 4);
        drop((held, third, fourth));
        assert_eq!(places.taken(), 0);
        assert!(places.sources.values().all(|count| count.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let mut places = Places::new(100, 1, [1; 4]);
        let _one = places.take(ip("2001:db8::1")).expect("free");
        assert_eq!(places.take(ip("2001:db8::ffff:0:0:2")).err(), Some(Full::Source));
        let _other = places.take(ip("2001:db8:0:1::1")).expect("another network");
    }

    #[test]
    fn the_total_holds_for_all() {
        let mut places = Places::new(2, 0, [1; 4]);
        let kept: Vec<_> = (0..2).map(|_| places.take(ip("192.0.2.1")).expect("free")).collect();
        assert_eq!(places.take(ip("192.0.2.2")).err(), Some(Full::Total));
        drop(kept);
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn sources_that_come_and_go_leave_nothing_behind() {
        let mut places = Places::new(100, 1, [1; 4]);
        let _stays = places.take(ip("192.0.2.1")).expect("free");
        for number in 0..20_000_u32 {
            drop(places.take(std::net::Ipv4Addr::from_bits(number + (10 << 24)).into()).expect("free"));
        }
        assert!(places.sources.len() <= 2 * IDLE_SOURCES_MAX + 2, "{}", places.sources.len());
        assert_eq!(places.take(ip("192.0.2.1")).err(), Some(Full::Source), "who stayed is still counted");
    }
}
