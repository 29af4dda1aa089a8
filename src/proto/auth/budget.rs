//! What strangers may cost. An answer to somebody who has proved nothing may go to a victim whose address was forged,
//! so a source that asks much is answered with no more bytes than it sent.
//!
//! ```text
//!   answers of one source (IPv4 address, IPv6 /56)
//!   the floor: 64 at once, then 20/s ──► always answered
//!   above it: bytes out ≤ bytes in     ──► answered while the bytes received pay for it, else dropped and counted
//! ```
//!
//! Constant memory: sources share slots by a keyed hash. Two that share one share its floor; nobody can choose whom to
//! share with. Requests with a nonce of ours and packets of live allocations never come here.

use std::net::IpAddr;

use crate::proto::types::ClientAddr;
use crate::proto::types::Tick;
use crate::proto::types::limits::STRANGER_ANSWERS_BURST;
use crate::proto::types::limits::STRANGER_ANSWERS_PER_SECOND;
use crate::proto::types::limits::STRANGER_CREDIT_MAX;
use crate::proto::types::limits::STRANGER_SLOTS;

/// One answer costs this much of the floor, in milliseconds.
const INTERVAL_MS: u64 = 1_000 / STRANGER_ANSWERS_PER_SECOND;
/// How far ahead of the clock a source may be.
const TOLERANCE_MS: u64 = (STRANGER_ANSWERS_BURST - 1) * INTERVAL_MS;

const _: () = assert!(STRANGER_SLOTS.is_power_of_two());
const _: () = assert!(1_000 % STRANGER_ANSWERS_PER_SECOND == 0);

/// Addresses that the budget does not hold for, as network and prefix length.
pub type Exempt = Vec<(IpAddr, u8)>;

/// The budget of one worker.
#[derive(Debug)]
pub struct StrangerBudget {
    slots: Box<[Slot]>,
    hasher: ahash::RandomState,
    exempt: Exempt,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Theoretical arrival time of the next answer of the floor, in milliseconds (GCRA).
    floor: u64,
    /// Bytes received and not yet answered.
    credit: u32,
}

impl StrangerBudget {
    /// A budget nobody has used. `hash_seeds` are random.
    #[must_use]
    pub fn new(hash_seeds: [u64; 4], exempt: Exempt) -> Self {
        let [a, b, c, d] = hash_seeds;
        Self {
            slots: vec![Slot::default(); STRANGER_SLOTS].into(),
            hasher: ahash::RandomState::with_seeds(a, b, c, d),
            exempt,
        }
    }

    /// Whether a request of `received` bytes from `client` may be answered with `answer` bytes, which are then spent.
    pub fn spend(&mut self, tick: Tick, client: ClientAddr, received: usize, answer: usize) -> bool {
        if self.is_exempt(client.ip()) {
            return true;
        }
        let now = tick.as_millis();
        let slot = self.slot(client);
        let (received, answer) = (clamp(received), clamp(answer));
        slot.credit = slot.credit.saturating_add(received).min(STRANGER_CREDIT_MAX);
        let floor = slot.floor.max(now);
        if floor <= now + TOLERANCE_MS {
            slot.floor = floor + INTERVAL_MS;
            // What the floor pays for is not paid again.
            slot.credit = slot.credit.saturating_sub(answer);
            return true;
        }
        let paid = slot.credit >= answer;
        if paid {
            slot.credit -= answer;
        }
        paid
    }

    /// A source whose client echoed a nonce of ours receives what is sent to it: `received` bytes count for it.
    pub fn earn(&mut self, client: ClientAddr, received: usize) {
        let slot = self.slot(client);
        slot.credit = slot.credit.saturating_add(clamp(received)).min(STRANGER_CREDIT_MAX);
    }

    fn slot(&mut self, client: ClientAddr) -> &mut Slot {
        let hash = self.hasher.hash_one(source(client.ip()));
        let at = hash as usize & (self.slots.len() - 1);
        &mut self.slots[at]
    }

    fn is_exempt(&self, ip: IpAddr) -> bool {
        self.exempt.iter().any(|(network, prefix_len)| contains(*network, *prefix_len, ip))
    }
}

fn clamp(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What counts as one source: an IPv4 address, or the /56 that a subscriber of IPv6 is usually given.
fn source(ip: IpAddr) -> (bool, u128) {
    match ip {
        IpAddr::V4(v4) => (false, v4.to_bits().into()),
        IpAddr::V6(v6) => (true, v6.to_bits() >> (128 - 56)),
    }
}

fn contains(network: IpAddr, prefix_len: u8, ip: IpAddr) -> bool {
    let (bits, network, ip): (u32, u128, u128) = match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => (32, network.to_bits().into(), ip.to_bits().into()),
        (IpAddr::V6(network), IpAddr::V6(ip)) => (128, network.to_bits(), ip.to_bits()),
        _ => return false,
    };
    let host_bits = bits.saturating_sub(prefix_len.into());
    (network ^ ip).checked_shr(host_bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> StrangerBudget {
        StrangerBudget::new([1, 2, 3, 4], Vec::new())
    }

    fn client(text: &str) -> ClientAddr {
        ClientAddr::new(format!("{text}:1000").parse().expect("an address"))
    }

    fn ms(millis: u64) -> Tick {
        Tick::from_millis(1_000_000 + millis)
    }

    #[test]
    fn the_floor_is_a_burst_of_64_and_then_20_a_second() {
        let mut budget = budget();
        let who = client("192.0.2.1");
        let answered = |budget: &mut StrangerBudget, at| budget.spend(ms(at), who, 0, 100);
        assert!((0..64).all(|_| answered(&mut budget, 0)));
        assert!(!answered(&mut budget, 0));
        assert!(!answered(&mut budget, 49));
        assert!(answered(&mut budget, 50));
        assert!(!answered(&mut budget, 50));
        let in_ten_seconds = (51..10_051).filter(|at| answered(&mut budget, *at)).count();
        assert_eq!(in_ten_seconds, 200);
    }

    #[test]
    fn a_flood_gets_no_more_bytes_than_it_sends_beyond_the_floor() {
        let mut budget = budget();
        let who = client("192.0.2.1");
        let (mut received, mut sent, mut answers) = (0_u64, 0_u64, 0_u64);
        for request in 0..100_000_u64 {
            received += 28;
            if budget.spend(ms(request / 100), who, 28, 88) {
                sent += 88;
                answers += 1;
            }
        }
        let floor = (64 + 20) * 88;
        assert!(sent <= received + floor, "{sent} bytes out for {received} in");
        assert!(answers > 100_000 * 28 / 88 - 100, "what was paid for is answered: {answers}");
    }

    #[test]
    fn another_source_is_not_touched_by_a_flood() {
        let mut budget = budget();
        while budget.spend(ms(0), client("192.0.2.1"), 0, 100) {}
        let others =
            (2..=250).filter(|n| budget.spend(ms(0), client(&format!("192.0.2.{n}")), 0, 100)).count();
        assert!(others >= 247, "only those that share the slot: {others} of 249");
    }

    #[test]
    fn the_neighbours_of_a_56_are_one_source() {
        let mut budget = budget();
        while budget.spend(ms(0), client("[2001:db8:0:1::1]"), 0, 100) {}
        assert!(!budget.spend(ms(0), client("[2001:db8:0:ff::9]"), 0, 100));
        assert!(budget.spend(ms(0), client("[2001:db8:0:100::1]"), 0, 100));
    }

    #[test]
    fn whoever_echoes_a_nonce_pays_for_more_answers_up_to_a_bound() {
        let mut budget = budget();
        let who = client("192.0.2.1");
        while budget.spend(ms(0), who, 0, 100) {}
        budget.earn(who, 100);
        assert!(budget.spend(ms(0), who, 0, 100));
        assert!(!budget.spend(ms(0), who, 0, 100));
        for _ in 0..10_000 {
            budget.earn(who, 1_000_000);
        }
        let answers = (0..1_000_000).take_while(|_| budget.spend(ms(0), who, 0, 100)).count();
        assert_eq!(answers, STRANGER_CREDIT_MAX as usize / 100);
    }

    #[test]
    fn whom_the_operator_exempts_is_always_answered() {
        let exempt = vec![
            ("10.1.0.0".parse().expect("an address"), 16),
            ("2001:db8::".parse().expect("an address"), 32),
            ("0.0.0.0".parse().expect("an address"), 32),
        ];
        let mut budget = StrangerBudget::new([1, 2, 3, 4], exempt);
        assert!((0..1_000).all(|_| budget.spend(ms(0), client("10.1.2.3"), 0, 100)));
        assert!((0..1_000).all(|_| budget.spend(ms(0), client("[2001:db8:ffff::1]"), 0, 100)));
        assert_eq!((0..1_000).filter(|_| budget.spend(ms(0), client("10.2.2.3"), 0, 100)).count(), 64);
    }

    #[test]
    fn a_prefix_of_no_bits_is_everybody() {
        assert!(contains("0.0.0.0".parse().expect("an address"), 0, "9.9.9.9".parse().expect("an address")));
        assert!(contains("::".parse().expect("an address"), 0, "2001:db8::1".parse().expect("an address")));
        assert!(!contains("::".parse().expect("an address"), 0, "9.9.9.9".parse().expect("an address")));
    }
}
