//! What strangers may cost. An answer to somebody who has proved nothing may go to a victim whose address was forged,
//! so a source that asks much is answered with no more bytes than it sent.
//!
//! ```text
//!   answers of one source (IPv4 address, IPv6 /56)
//!   the floor: 64 at once, then 20/s ──► always answered
//!   above it: bytes out ≤ bytes in     ──► answered while the bytes received pay for it, else dropped and counted
//!     first of all whoever asks again: a request whose repetitions alone have paid for its answer
//! ```
//!
//! The last rule is for honest clients behind the address that a flood comes from or claims to come from. A flood takes
//! whatever its address has to spend, and leaves others a chance only; but a client's retransmissions pay for their own
//! answer by the fourth, and that answer is given even where the address has spent what they brought, as a debt that what
//! comes later repays. It is bounded, so over time no more goes out than came in.
//!
//! Constant memory: sources share slots by a keyed hash. Two that share one share its floor; nobody can choose whom to
//! share with. Requests with a nonce of ours and packets of live allocations never come here.

use std::net::IpAddr;

use crate::proto::types::ClientAddr;
use crate::proto::types::Tick;
use crate::proto::types::limits::STRANGER_ANSWERS_BURST;
use crate::proto::types::limits::STRANGER_ANSWERS_PER_SECOND;
use crate::proto::types::limits::STRANGER_CREDIT_MAX;
use crate::proto::types::limits::STRANGER_DEBT_MAX;
use crate::proto::types::limits::STRANGER_FLOOR_DEBT_MAX;
use crate::proto::types::limits::STRANGER_SLOTS;

use super::repeats::Repeats;

/// One answer costs this much of the floor, in milliseconds.
const INTERVAL_MS: u64 = 1_000 / STRANGER_ANSWERS_PER_SECOND;
/// How far ahead of the clock a source may be.
const TOLERANCE_MS: u64 = (STRANGER_ANSWERS_BURST - 1) * INTERVAL_MS;

const CREDIT_MAX: i32 = STRANGER_CREDIT_MAX as i32;
const FLOOR_DEBT_MAX: i32 = STRANGER_FLOOR_DEBT_MAX as i32;
const DEBT_MAX: i32 = STRANGER_DEBT_MAX as i32;
/// Where the transaction id of a message stands, with the magic cookie: RFC 3489 had no cookie and a longer id.
const TRANSACTION: std::ops::Range<usize> = 4..20;

const _: () = assert!(STRANGER_FLOOR_DEBT_MAX < STRANGER_DEBT_MAX);
const _: () = assert!(STRANGER_CREDIT_MAX < 1 << 30 && STRANGER_DEBT_MAX < 1 << 30);
const _: () = assert!(STRANGER_SLOTS.is_power_of_two());
const _: () = assert!(1_000 % STRANGER_ANSWERS_PER_SECOND == 0);

/// Addresses that the budget does not hold for, as network and prefix length.
pub type Exempt = Vec<(IpAddr, u8)>;

/// The budget of one worker.
#[derive(Debug)]
pub struct StrangerBudget {
    slots: Box<[Slot]>,
    repeats: Repeats,
    hasher: ahash::RandomState,
    exempt: Exempt,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Theoretical arrival time of the next answer of the floor, in milliseconds (GCRA).
    floor: u64,
    /// Bytes received less bytes answered; below zero by at most [`STRANGER_DEBT_MAX`].
    credit: i32,
}

impl StrangerBudget {
    /// A budget nobody has used. `hash_seeds` are random.
    #[must_use]
    pub fn new(hash_seeds: [u64; 4], exempt: Exempt) -> Self {
        let [a, b, c, d] = hash_seeds;
        Self {
            slots: vec![Slot::default(); STRANGER_SLOTS].into(),
            repeats: Repeats::new(),
            hasher: ahash::RandomState::with_seeds(a, b, c, d),
            exempt,
        }
    }

    /// Whether `request`, a whole STUN message from `client`, may be answered with `answer` bytes, which are then spent.
    pub fn spend(&mut self, tick: Tick, client: ClientAddr, request: &[u8], answer: usize) -> bool {
        if self.is_exempt(client.ip()) {
            return true;
        }
        let now = tick.as_millis();
        let (received, answer) = (clamp(request.len()), clamp(answer));
        // A retransmission has the source address, the port and the transaction of the first.
        let hash = self.hasher.hash_one((client.socket(), request.get(TRANSACTION)));
        let paid = self.repeats.pay(hash, received.cast_unsigned());
        let slot = self.slot(client);
        slot.credit = slot.credit.saturating_add(received).min(CREDIT_MAX);
        let floor = slot.floor.max(now);
        let granted = if floor <= now + TOLERANCE_MS {
            slot.floor = floor + INTERVAL_MS;
            // What goes out by the floor is paid for later, where more comes in than the floor is for.
            slot.credit = (slot.credit - answer).max(slot.credit.min(-FLOOR_DEBT_MAX));
            true
        } else {
            let least = if paid >= answer.cast_unsigned() { -DEBT_MAX } else { 0 };
            let granted = slot.credit - answer >= least;
            slot.credit -= if granted { answer } else { 0 };
            granted
        };
        if granted {
            self.repeats.take(hash, answer.cast_unsigned());
        }
        granted
    }

    /// A source whose client echoed a nonce of ours receives what is sent to it: `received` bytes count for it.
    pub fn earn(&mut self, client: ClientAddr, received: usize) {
        let slot = self.slot(client);
        slot.credit = slot.credit.saturating_add(clamp(received)).min(CREDIT_MAX);
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

/// A datagram's length; none comes near the ends of an `i32`.
fn clamp(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(CREDIT_MAX).min(CREDIT_MAX)
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

    const ALLOCATE_LEN: usize = 28;
    const CHALLENGE_LEN: usize = 88;

    fn budget() -> StrangerBudget {
        StrangerBudget::new([1, 2, 3, 4], Vec::new())
    }

    fn client(text: &str) -> ClientAddr {
        ClientAddr::new(format!("{text}:1000").parse().expect("an address"))
    }

    /// The smallest Allocate, with a transaction id of its own.
    fn request(number: u64) -> [u8; ALLOCATE_LEN] {
        let mut bytes = [0; ALLOCATE_LEN];
        bytes[8..16].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    fn ms(millis: u64) -> Tick {
        Tick::from_millis(1_000_000 + millis)
    }

    #[test]
    fn the_floor_is_a_burst_of_64_and_then_20_a_second() {
        let mut budget = budget();
        let who = client("192.0.2.1");
        let answered = |budget: &mut StrangerBudget, at| budget.spend(ms(at), who, &[], 100);
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
        for number in 0..100_000_u64 {
            received += ALLOCATE_LEN as u64;
            if budget.spend(ms(number / 100), who, &request(number), CHALLENGE_LEN) {
                sent += CHALLENGE_LEN as u64;
                answers += 1;
            }
        }
        assert!(sent <= received, "{sent} bytes out for {received} in");
        assert!(answers > 100_000 * 28 / 88 - 100, "what was paid for is answered: {answers}");
    }

    /// What a flood and 1,000 clients behind one address send and receive, in virtual time: each millisecond brings
    /// `flood` datagrams of the flood, whose ports are `ports` and whose transaction ids are new or, with `repeating`,
    /// few. The clients begin together and send again as RFC 8489 § 6.2.1 has it. Answers how many of them were
    /// answered within 10 s, and the bytes that came and went.
    fn flooded(flood: u64, ports: u64, repeating: bool) -> (usize, u64, u64) {
        const SENT_AT_MS: [u64; 5] = [0, 500, 1_500, 3_500, 7_500];
        let mut budget = budget();
        let from = |port: u64| {
            let port = u16::try_from(port).expect("a port");
            ClientAddr::new((std::net::Ipv4Addr::new(192, 0, 2, 1), port).into())
        };
        let (mut received, mut sent, mut next) = (0_u64, 0_u64, 1_u64 << 40);
        let mut answered = vec![false; 1_000];
        for at in 0..10_000 {
            let mut ask = |port, number| {
                let told = budget.spend(ms(at), from(port), &request(number), CHALLENGE_LEN);
                received += ALLOCATE_LEN as u64;
                sent += if told { CHALLENGE_LEN as u64 } else { 0 };
                told
            };
            for _ in 0..flood {
                next += 1;
                ask(1_000 + next % ports, if repeating { (1 << 50) | (next % 64) } else { next });
            }
            if SENT_AT_MS.contains(&at) {
                for (number, answered) in answered.iter_mut().enumerate().filter(|(_, answered)| !**answered)
                {
                    let number = number as u64;
                    *answered = ask(20_000 + number, number);
                }
            }
        }
        (answered.iter().filter(|answered| **answered).count(), received, sent)
    }

    #[test]
    fn clients_behind_a_flooded_address_are_answered_and_no_more_goes_out_than_came_in() {
        let allowance = u64::from(STRANGER_DEBT_MAX);
        // The last flood claims every port, also those of the clients.
        for (flood, ports, repeating) in
            [(0, 1, false), (5, 1, false), (20, 200, false), (20, 200, true), (20, 60_000, false)]
        {
            let (answered, received, sent) = flooded(flood, ports, repeating);
            assert_eq!(answered, 1_000, "{flood} a millisecond from {ports} ports, repeating: {repeating}");
            assert!(sent <= received + allowance, "{sent} bytes for {received}, {flood} from {ports} ports");
        }
    }

    #[test]
    fn the_debt_for_repetitions_is_bounded_and_repaid() {
        let mut budget = budget();
        let who = client("192.0.2.1");
        while budget.spend(ms(0), who, &[], 100) {}
        // All of them once more, again and again: what one brought is spent on another, and then it asks for its own.
        let (mut received, mut sent) = (0, 0);
        for _ in 0..8 {
            for number in 0..20_000 {
                received += ALLOCATE_LEN;
                let told = budget.spend(ms(0), who, &request(number), CHALLENGE_LEN);
                sent += if told { CHALLENGE_LEN } else { 0 };
            }
        }
        assert!(sent <= received + STRANGER_DEBT_MAX as usize, "{sent} bytes for {received}");
        assert!(sent > received - 20_000 * CHALLENGE_LEN / 2, "{sent} bytes for {received}");
    }

    #[test]
    fn another_source_is_not_touched_by_a_flood() {
        let mut budget = budget();
        while budget.spend(ms(0), client("192.0.2.1"), &[], 100) {}
        let others =
            (2..=250).filter(|n| budget.spend(ms(0), client(&format!("192.0.2.{n}")), &[], 100)).count();
        assert!(others >= 247, "only those that share the slot: {others} of 249");
    }

    #[test]
    fn the_neighbours_of_a_56_are_one_source() {
        let mut budget = budget();
        while budget.spend(ms(0), client("[2001:db8:0:1::1]"), &[], 100) {}
        assert!(!budget.spend(ms(0), client("[2001:db8:0:ff::9]"), &[], 100));
        assert!(budget.spend(ms(0), client("[2001:db8:0:100::1]"), &[], 100));
    }

    #[test]
    fn whoever_echoes_a_nonce_pays_for_more_answers_up_to_a_bound() {
        let mut budget = budget();
        let who = client("192.0.2.1");
        while budget.spend(ms(0), who, &[], 100) {}
        budget.earn(who, 64 * 100);
        assert!(!budget.spend(ms(0), who, &[], 100), "what the floor gave is repaid first");
        budget.earn(who, 100);
        assert!(budget.spend(ms(0), who, &[], 100));
        assert!(!budget.spend(ms(0), who, &[], 100));
        for _ in 0..10_000 {
            budget.earn(who, 1_000_000);
        }
        let answers = (0..1_000_000).take_while(|_| budget.spend(ms(0), who, &[], 100)).count();
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
        assert!((0..1_000).all(|_| budget.spend(ms(0), client("10.1.2.3"), &[], 100)));
        assert!((0..1_000).all(|_| budget.spend(ms(0), client("[2001:db8:ffff::1]"), &[], 100)));
        assert_eq!((0..1_000).filter(|_| budget.spend(ms(0), client("10.2.2.3"), &[], 100)).count(), 64);
    }

    #[test]
    fn a_prefix_of_no_bits_is_everybody() {
        assert!(contains("0.0.0.0".parse().expect("an address"), 0, "9.9.9.9".parse().expect("an address")));
        assert!(contains("::".parse().expect("an address"), 0, "2001:db8::1".parse().expect("an address")));
        assert!(!contains("::".parse().expect("an address"), 0, "9.9.9.9".parse().expect("an address")));
    }
}
