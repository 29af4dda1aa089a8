//! MS-SEQUENCE-NUMBER ([MS-TURN] § 2.2.2.12): which of an allocation's requests were met before.
//!
//! The client counts its authenticated requests from the number that it was handed, and datagrams overtake each other.
//! So a window of the last 128 numbers is remembered; it moves for requests alone whose MAC was found right.

use crate::proto::wire::SequenceNumber;

/// How many numbers below the highest one are told apart.
pub(super) const WINDOW: u32 = u128::BITS;

/// What a number says of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It was not met before.
    New,
    /// It was met before: a retransmission, if the transaction is the same.
    Repeated,
    /// It is below the window: nobody can say.
    TooOld,
    /// It names another allocation.
    Foreign,
    /// There is no number behind it: the authenticated life of the allocation is over.
    Last,
}

/// The numbers of one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    connection: [u8; 20],
    /// The highest number that was met.
    highest: u32,
    /// Bit `n`: whether `highest - n` was met.
    met: u128,
}

impl Window {
    /// Of an allocation that the client is told to call `connection`. Its first number is handed out as met.
    pub(super) const fn new(connection: [u8; 20]) -> Self {
        Self { connection, highest: 0, met: 1 }
    }

    /// What the client is handed: libnice reads the highest byte of the number alone, so it begins at 0.
    pub(super) const fn first(&self) -> SequenceNumber {
        SequenceNumber { connection: self.connection, number: 0 }
    }

    /// Whether any number was met but the first.
    pub(super) const fn is_used(&self) -> bool {
        self.highest > 0
    }

    /// What `sequence` says, without noting it.
    pub(super) fn judge(&self, sequence: SequenceNumber) -> Order {
        if sequence.connection != self.connection {
            return Order::Foreign;
        }
        match sequence.number.checked_sub(self.highest) {
            None | Some(0) => match self.highest - sequence.number {
                behind @ 0..WINDOW if self.met >> behind & 1 == 1 => Order::Repeated,
                0..WINDOW => Order::New,
                _ => Order::TooOld,
            },
            Some(_) if sequence.number == u32::MAX => Order::Last,
            Some(_) => Order::New,
        }
    }

    /// Notes a number that was judged [`Order::New`].
    pub(super) fn note(&mut self, number: u32) {
        if let Some(ahead @ 1..) = number.checked_sub(self.highest) {
            self.met = self.met.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = number;
        } else {
            self.met |= 1_u128.checked_shl(self.highest - number).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const CONNECTION: [u8; 20] = [4; 20];

    fn number(number: u32) -> SequenceNumber {
        SequenceNumber { connection: CONNECTION, number }
    }

    fn take(window: &mut Window, n: u32) -> Order {
        let order = window.judge(number(n));
        if order == Order::New {
            window.note(n);
        }
        order
    }

    #[test]
    fn each_number_is_new_once() {
        let mut window = Window::new(CONNECTION);
        assert_eq!(take(&mut window, 0), Order::Repeated, "it was handed out");
        assert!(!window.is_used());
        for n in [1, 2, 5, 4, 3, 130] {
            assert_eq!(take(&mut window, n), Order::New, "{n}");
            assert_eq!(take(&mut window, n), Order::Repeated, "{n}");
        }
        assert!(window.is_used());
    }

    #[test]
    fn a_number_may_be_overtaken_by_127_others_and_by_no_more() {
        for behind in [1, 2, 126, 127] {
            let mut window = Window::new(CONNECTION);
            take(&mut window, 1_000);
            assert_eq!(take(&mut window, 1_000 - behind), Order::New, "{behind}");
            assert_eq!(take(&mut window, 1_000 - behind), Order::Repeated, "{behind}");
        }
        let mut window = Window::new(CONNECTION);
        take(&mut window, 1_000);
        assert_eq!(take(&mut window, 1_000 - 128), Order::TooOld);
        assert_eq!(take(&mut window, 0), Order::TooOld);
    }

    #[test]
    fn a_leap_forgets_what_it_leaves_behind() {
        for leap in [127, 128, 129, 1 << 30] {
            let mut window = Window::new(CONNECTION);
            take(&mut window, 1);
            assert_eq!(take(&mut window, 1 + leap), Order::New);
            let expected = if leap < 128 { Order::Repeated } else { Order::TooOld };
            assert_eq!(take(&mut window, 1), expected, "{leap}");
            assert_eq!(take(&mut window, leap), Order::New, "just behind it");
        }
    }

    #[test]
    fn another_connection_is_told_apart_and_the_numbers_end() {
        let mut window = Window::new(CONNECTION);
        let foreign = SequenceNumber { connection: [5; 20], number: 7 };
        assert_eq!(window.judge(foreign), Order::Foreign);
        assert_eq!(take(&mut window, u32::MAX - 1), Order::New);
        assert_eq!(take(&mut window, u32::MAX), Order::Last);
        assert_eq!(take(&mut window, u32::MAX - 1), Order::Repeated);
    }

    proptest! {
        #[test]
        fn the_window_says_what_a_set_of_all_numbers_says(numbers in prop::collection::vec(0_u32..600, 1..400)) {
            let mut window = Window::new(CONNECTION);
            let (mut met, mut highest) = (HashSet::from([0]), 0);
            for n in numbers {
                let expected = if n + WINDOW <= highest {
                    Order::TooOld
                } else if met.contains(&n) {
                    Order::Repeated
                } else {
                    Order::New
                };
                prop_assert_eq!(take(&mut window, n), expected);
                if expected == Order::New {
                    met.insert(n);
                    highest = highest.max(n);
                }
            }
        }
    }
}
