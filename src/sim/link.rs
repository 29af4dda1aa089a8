//! What a packet meets on its way.

use super::clock::MILLISECOND;
use super::clock::Micros;
use crate::proto::types::Dice;

/// One host's way to everybody else. Odds are of 1,000 packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) loss: u32,
    pub(super) duplicate: u32,
    pub(super) corrupt: u32,
    /// Each packet draws its own delay between these, so that packets overtake each other.
    pub(super) delay: (Micros, Micros),
}

impl Link {
    /// Nothing is lost, everything stays in order.
    pub(super) const CLEAN: Self =
        Self { loss: 0, duplicate: 0, corrupt: 0, delay: (10 * MILLISECOND, 10 * MILLISECOND) };

    /// From clean to dreadful.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let bad = dice.pick(&[0, 0, 5, 20, 80]);
        let delay = dice.range(100, 80 * MILLISECOND);
        let jitter = dice.pick(&[0, MILLISECOND, 40 * MILLISECOND, 400 * MILLISECOND]);
        let up_to = |dice: &mut Dice| u32::try_from(dice.number(bad + 1)).unwrap_or(0);
        Self {
            loss: up_to(dice),
            duplicate: up_to(dice),
            corrupt: up_to(dice) / 2,
            delay: (delay, delay + jitter),
        }
    }

    /// What becomes of a packet: each copy that arrives, after how long and whether broken; none if it is lost.
    pub(super) fn fates(&self, dice: &mut Dice) -> [Option<Fate>; 2] {
        if dice.chance(self.loss) {
            return [None; 2];
        }
        let mut copy = || {
            Some(Fate { delay: dice.range(self.delay.0, self.delay.1), corrupt: dice.chance(self.corrupt) })
        };
        let first = copy();
        let second = copy();
        [first, second.filter(|_| dice.chance(self.duplicate))]
    }
}

/// How one copy of a packet arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) delay: Micros,
    /// A few bits are not what they were, and the checksum did not notice.
    pub(super) corrupt: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_link_delivers_once_whole_and_in_order() {
        let mut dice = Dice::new(1);
        for _ in 0..100 {
            let fate = Fate { delay: 10 * MILLISECOND, corrupt: false };
            assert_eq!(Link::CLEAN.fates(&mut dice), [Some(fate), None]);
        }
    }

    #[test]
    fn a_bad_link_does_everything() {
        let link = Link { loss: 300, duplicate: 300, corrupt: 300, delay: (1, 100) };
        let mut dice = Dice::new(2);
        let fates: Vec<_> = (0..1_000).map(|_| link.fates(&mut dice)).collect();
        let lost = fates.iter().filter(|fates| fates[0].is_none()).count();
        let doubled = fates.iter().filter(|fates| fates[1].is_some()).count();
        let broken = fates.iter().flatten().flatten().filter(|fate| fate.corrupt).count();
        assert!((200..400).contains(&lost), "{lost}");
        assert!((120..320).contains(&doubled), "{doubled}");
        assert!((150..400).contains(&broken), "{broken}");
        assert!(fates.iter().flatten().flatten().all(|fate| (1..=100).contains(&fate.delay)));
    }
}
