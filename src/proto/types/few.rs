//! Maps of which nearly all hold one or two things, and some may hold thousands: a list that is walked through, and beside
//! it an index by hash once it is too long for that. One with one entry has no memory of the heap.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;

use super::ChannelNumber;
use super::PeerAddr;
use super::entries::Entries;

/// Entries that are found by walking.
const WALKED_MAX: usize = 8;

/// A map by `K`, in no order.
#[derive(Clone, Debug)]
pub struct Few<K, V> {
    entries: Entries<(K, V)>,
    /// Where each key stands, if there are more than [`WALKED_MAX`].
    #[expect(clippy::box_collection, reason = "nearly nobody has one, and so it takes a word")]
    places: Option<Box<HashMap<K, u32, RandomState>>>,
    hasher: Arc<RandomState>,
}

impl<K: Copy + Eq + Hash, V> Few<K, V> {
    /// An empty one; `hasher` is the keyed hash of its index.
    #[must_use]
    pub const fn new(hasher: Arc<RandomState>) -> Self {
        Self { entries: Entries::None, places: None, hasher }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.as_slice().len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.as_slice().is_empty()
    }

    /// What `key` stands for.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).map(|place| &self.entries.as_slice()[place].1)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).map(|place| &mut self.entries.as_mut_slice()[place].1)
    }

    /// Whether `key` stands for something.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    /// What `key` stands for: `value`, if it was nothing.
    pub fn get_or_insert(&mut self, key: K, value: V) -> &mut V {
        let place = match self.place(&key) {
            Some(place) => place,
            None => self.push(key, value),
        };
        &mut self.entries.as_mut_slice()[place].1
    }

    /// From here on `key` stands for `value`. Answers what it stood for.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Some(place) => Some(std::mem::replace(&mut self.entries.as_mut_slice()[place].1, value)),
            None => {
                self.push(key, value);
                None
            }
        }
    }

    /// Takes out what `key` stands for.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key)?;
        let (_, value) = self.entries.swap_remove(place);
        if let Some(places) = &mut self.places {
            places.remove(key);
            if let Some((moved, _)) = self.entries.as_slice().get(place) {
                places.insert(*moved, place as u32);
            }
        }
        Some(value)
    }

    /// Keeps what `kept` says, and gives back memory that is not needed any more.
    pub fn retain(&mut self, mut kept: impl FnMut(&K, &mut V) -> bool) {
        let before = self.len();
        self.entries.retain(|(key, value)| kept(key, value));
        if self.len() < before {
            self.index();
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.as_slice().iter().map(|(key, value)| (key, value))
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.as_mut_slice().iter_mut().map(|(key, value)| (&*key, value))
    }

    fn place(&self, key: &K) -> Option<usize> {
        match &self.places {
            None => self.entries.as_slice().iter().position(|(there, _)| there == key),
            Some(places) => places.get(key).map(|place| *place as usize),
        }
    }

    fn push(&mut self, key: K, value: V) -> usize {
        let place = self.len();
        self.entries.push((key, value));
        let is_long = self.len() > WALKED_MAX;
        match &mut self.places {
            Some(places) => drop(places.insert(key, place as u32)),
            None if is_long => self.index(),
            None => {}
        }
        place
    }

    fn index(&mut self) {
        self.places = None;
        if self.len() > WALKED_MAX {
            let mut places = HashMap::with_capacity_and_hasher(self.len(), (*self.hasher).clone());
            places.extend((0_u32..).zip(self.entries.as_slice()).map(|(place, (key, _))| (*key, place)));
            self.places = Some(Box::new(places));
        }
    }
}

/// What a channel number is bound to.
pub trait ToPeer {
    /// The peer.
    fn peer(&self) -> PeerAddr;
}

/// Channel numbers and peers, each bound to one of the other.
#[derive(Clone, Debug)]
pub struct Pairs<V> {
    by_number: Few<ChannelNumber, V>,
    /// The number of each peer, if there are too many to be walked through.
    #[expect(clippy::box_collection, reason = "nearly nobody has one, and so it takes a word")]
    by_peer: Option<Box<HashMap<PeerAddr, ChannelNumber, RandomState>>>,
}

impl<V: ToPeer> Pairs<V> {
    /// No pair; `hasher` is the keyed hash of its indices.
    #[must_use]
    pub const fn new(hasher: Arc<RandomState>) -> Self {
        Self { by_number: Few::new(hasher), by_peer: None }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// What `number` is bound to.
    #[must_use]
    pub fn get(&self, number: ChannelNumber) -> Option<&V> {
        self.by_number.get(&number)
    }

    /// What `peer` is bound to.
    #[must_use]
    pub fn of_peer(&self, peer: PeerAddr) -> Option<(ChannelNumber, &V)> {
        match &self.by_peer {
            Some(numbers) => numbers.get(&peer).and_then(|number| Some((*number, self.get(*number)?))),
            None => self.iter().find(|(_, value)| value.peer() == peer),
        }
    }

    /// Binds `number` and the peer of `value` to each other, and to nobody else.
    pub fn insert(&mut self, number: ChannelNumber, value: V) {
        let peer = value.peer();
        if let Some((other, _)) = self.of_peer(peer).filter(|(other, _)| *other != number) {
            self.by_number.remove(&other);
        }
        let before = self.by_number.insert(number, value).map(|before| before.peer());
        match &mut self.by_peer {
            Some(numbers) => {
                if let Some(before) = before.filter(|before| *before != peer) {
                    numbers.remove(&before);
                }
                numbers.insert(peer, number);
            }
            None => self.index(),
        }
    }

    /// Takes out what `number` is bound to.
    pub fn remove(&mut self, number: ChannelNumber) -> Option<V> {
        let value = self.by_number.remove(&number)?;
        if let Some(numbers) = &mut self.by_peer {
            numbers.remove(&value.peer());
        }
        Some(value)
    }

    /// Keeps what `kept` says.
    pub fn retain(&mut self, mut kept: impl FnMut(&V) -> bool) {
        let before = self.len();
        self.by_number.retain(|_, value| kept(value));
        if self.len() < before {
            self.index();
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ChannelNumber, &V)> {
        self.by_number.iter().map(|(number, value)| (*number, value))
    }

    /// All of them, to be changed, but for their peers.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ChannelNumber, &mut V)> {
        self.by_number.iter_mut().map(|(number, value)| (*number, value))
    }

    fn index(&mut self) {
        self.by_peer = None;
        if self.len() > WALKED_MAX {
            let mut numbers = HashMap::with_capacity_and_hasher(self.len(), (*self.by_number.hasher).clone());
            numbers.extend(self.iter().map(|(number, value)| (value.peer(), number)));
            self.by_peer = Some(Box::new(numbers));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn hasher() -> Arc<RandomState> {
        Arc::new(RandomState::with_seeds(1, 2, 3, 4))
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Bound(PeerAddr, u32);

    impl ToPeer for Bound {
        fn peer(&self) -> PeerAddr {
            self.0
        }
    }

    fn peer(number: u8) -> PeerAddr {
        PeerAddr::new(([203, 0, 113, number], 9).into())
    }

    fn number(offset: u8) -> ChannelNumber {
        ChannelNumber::new(0x4000 + u16::from(offset)).expect("in range")
    }

    #[test]
    fn one_entry_takes_no_memory_of_the_heap() {
        let mut few = Few::new(hasher());
        few.insert(1_u8, 1_u64);
        assert!(matches!(few.entries, Entries::One(_)));
        for key in 0..=8 {
            few.insert(key, 0);
        }
        assert!(few.places.is_some());
        few.retain(|key, _| *key == 3);
        assert!(few.places.is_none());
        assert!(matches!(few.entries, Entries::One(_)));
    }

    proptest! {
        #[test]
        fn a_map_does_what_maps_do(steps in prop::collection::vec((0_u8..6, 0_u8..24, any::<u32>()), 1..300)) {
            let (mut few, mut map) = (Few::new(hasher()), BTreeMap::new());
            for (what, key, value) in steps {
                match what {
                    0 | 1 => prop_assert_eq!(few.insert(key, value), map.insert(key, value)),
                    2 => prop_assert_eq!(few.remove(&key), map.remove(&key)),
                    3 => prop_assert_eq!(few.get_or_insert(key, value), map.entry(key).or_insert(value)),
                    4 if key < 3 => {
                        few.retain(|_, value| *value % 3 != u32::from(key));
                        map.retain(|_, value| *value % 3 != u32::from(key));
                    }
                    _ => {
                        few.iter_mut().for_each(|(_, it)| *it ^= value);
                        map.values_mut().for_each(|it| *it ^= value);
                    }
                }
                prop_assert_eq!(few.len(), map.len());
                prop_assert_eq!(few.iter().map(|(k, v)| (*k, *v)).collect::<BTreeMap<_, _>>(), map.clone());
                prop_assert!((0..24).all(|key| few.get(&key) == map.get(&key)));
            }
        }

        #[test]
        fn a_number_has_one_peer_and_a_peer_one_number(
            steps in prop::collection::vec((0_u8..4, 0_u8..24, 0_u8..24, any::<u32>()), 1..300),
        ) {
            let (mut pairs, mut list) = (Pairs::new(hasher()), Vec::<(ChannelNumber, Bound)>::new());
            for (what, at, to, value) in steps {
                let (number_at, bound) = (number(at), Bound(peer(to), value));
                match what {
                    0 | 1 => {
                        pairs.insert(number_at, bound);
                        list.retain(|(number, there)| *number != number_at && there.0 != bound.0);
                        list.push((number_at, bound));
                    }
                    2 => {
                        let there = list.iter().position(|(number, _)| *number == number_at);
                        let there = there.map(|place| list.remove(place).1);
                        prop_assert_eq!(pairs.remove(number_at), there);
                    }
                    _ => {
                        pairs.retain(|bound| bound.1 % 5 != 0);
                        list.retain(|(_, bound)| bound.1 % 5 != 0);
                    }
                }
                prop_assert_eq!(pairs.len(), list.len());
                for offset in 0..24 {
                    let of_number = list.iter().find(|(there, _)| *there == number(offset)).map(|(_, it)| it);
                    prop_assert_eq!(pairs.get(number(offset)), of_number);
                    let of_peer = list.iter().find(|(_, it)| it.0 == peer(offset)).map(|(at, it)| (*at, it));
                    prop_assert_eq!(pairs.of_peer(peer(offset)), of_peer);
                }
            }
        }
    }
}
