//! A list of which nearly all have one entry or none: the first takes no memory of the heap.

use std::mem;
use std::slice;

/// A list in no order.
#[derive(Clone, Debug)]
pub(super) enum Entries<T> {
    None,
    One(T),
    /// Any number. It grows by doubling.
    Many(Vec<T>),
}

impl<T> Entries<T> {
    pub(super) const fn as_slice(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        }
    }

    pub(super) const fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::None => &mut [],
            Self::One(one) => slice::from_mut(one),
            Self::Many(many) => many.as_mut_slice(),
        }
    }

    pub(super) fn push(&mut self, entry: T) {
        match self {
            Self::Many(many) => many.push(entry),
            Self::None => *self = Self::One(entry),
            Self::One(_) => {
                let mut many = Vec::with_capacity(2);
                many.extend(self.take_one());
                many.push(entry);
                *self = Self::Many(many);
            }
        }
    }

    /// Takes out the entry at `place`, into which the last one moves.
    ///
    /// # Panics
    /// If there is none: that is the caller's bug.
    pub(super) fn swap_remove(&mut self, place: usize) -> T {
        match self {
            Self::Many(many) => many.swap_remove(place),
            Self::None | Self::One(_) => self.take_one().filter(|_| place == 0).expect("a place in the list"),
        }
    }

    /// Keeps what `kept` says, and gives back memory that is not needed any more.
    pub(super) fn retain(&mut self, mut kept: impl FnMut(&mut T) -> bool) {
        match self {
            Self::None => {}
            Self::One(one) => {
                if !kept(one) {
                    *self = Self::None;
                }
            }
            Self::Many(many) => {
                let before = many.len();
                many.retain_mut(kept);
                if many.len() == before {
                    return;
                }
                match many.len() {
                    0 => *self = Self::None,
                    1 => *self = many.pop().map_or(Self::None, Self::One),
                    _ => many.shrink_to_fit(),
                }
            }
        }
    }

    fn take_one(&mut self) -> Option<T> {
        match mem::replace(self, Self::None) {
            Self::One(one) => Some(one),
            Self::None | Self::Many(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_takes_no_heap_and_the_last_gives_it_back() {
        let mut entries = Entries::None;
        entries.push(1);
        assert!(matches!(entries, Entries::One(1)));
        (2..=5).for_each(|entry| entries.push(entry));
        assert_eq!(entries.as_slice(), [1, 2, 3, 4, 5]);
        assert_eq!(entries.swap_remove(1), 2);
        assert_eq!(entries.as_slice(), [1, 5, 3, 4]);
        entries.retain(|entry| *entry > 3);
        assert!(matches!(&entries, Entries::Many(many) if many.capacity() == 2));
        entries.retain(|entry| *entry == 4);
        assert!(matches!(entries, Entries::One(4)));
        assert_eq!(entries.swap_remove(0), 4);
        assert!(entries.as_slice().is_empty());
        entries.push(6);
        entries.retain(|_| false);
        assert!(matches!(entries, Entries::None));
    }
}
