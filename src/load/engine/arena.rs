//! Things by number, where a number that was given back is told from its successor.

use crate::proto::types::StreamId;

/// Things of type `T`. A name is that of a stream, which is what the poll can name.
#[derive(Debug)]
pub(super) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    thing: Option<Box<T>>,
}

impl<T> Arena<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Gives `thing` a name.
    pub(super) fn insert(&mut self, thing: T) -> StreamId {
        let thing = Some(Box::new(thing));
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.generation = slot.generation.wrapping_add(1);
            slot.thing = thing;
            return StreamId { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot { generation: 0, thing });
        StreamId { index, generation: 0 }
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&T> {
        self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?.thing.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.thing.as_deref_mut() } else { None }
    }

    /// Takes a thing away, and its name with it.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<Box<T>> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let thing = slot.thing.take()?;
        self.free.push(id.index);
        Some(thing)
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The names of all there are.
    pub(super) fn ids(&self) -> Vec<StreamId> {
        let named = (0_u32..).zip(&self.slots).filter(|(_, slot)| slot.thing.is_some());
        named.map(|(index, slot)| StreamId { index, generation: slot.generation }).collect()
    }

    /// All there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.thing.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_name_its_successor() {
        let mut arena = Arena::new();
        let (first, other) = (arena.insert("first"), arena.insert("other"));
        assert_eq!(arena.remove(first).as_deref(), Some(&"first"));
        let second = arena.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!((arena.get(second), arena.get(other)), (Some(&"second"), Some(&"other")));
        assert_eq!((arena.len(), arena.ids()), (2, vec![second, other]));
    }
}
