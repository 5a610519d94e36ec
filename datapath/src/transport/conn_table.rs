//! A table of connections whose ids stay unique when slots are reused.

use super::ConnId;

/// Generations have 31 bits, so that an id fits an epoll tag beside a bit that marks listeners.
const GENERATION_MASK: u32 = 0x7fff_ffff;

/// Slots with generations. Removing and inserting are O(1); memory is what the most connections
/// at one time needed.
#[derive(Debug)]
pub struct ConnTable<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> ConnTable<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// Connections in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a connection under a new id; `None` only beyond 2^32 connections.
    pub fn insert(&mut self, value: T) -> Option<ConnId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot { generation: 0, value: None });
                index
            }
        };
        let slot = self.slots.get_mut(index as usize)?;
        slot.value = Some(value);
        self.len += 1;
        Some(ConnId { index, generation: slot.generation })
    }

    /// The connection, unless the id is stale.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.value.as_ref() } else { None }
    }

    /// The connection, unless the id is stale.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.value.as_mut() } else { None }
    }

    /// The connection in slot `index`, whatever its generation, and its id.
    pub fn at(&self, index: u32) -> Option<(ConnId, &T)> {
        let slot = self.slots.get(index as usize)?;
        let value = slot.value.as_ref()?;
        Some((ConnId { index, generation: slot.generation }, value))
    }

    /// Takes the connection out; its id is stale from now on.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1) & GENERATION_MASK;
        self.free.push(id.index);
        self.len -= 1;
        Some(value)
    }

    /// All connections, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).ok()?;
            let value = slot.value.as_ref()?;
            Some((ConnId { index, generation: slot.generation }, value))
        })
    }

    /// All connections, in slot order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).ok()?;
            let generation = slot.generation;
            let value = slot.value.as_mut()?;
            Some((ConnId { index, generation }, value))
        })
    }
}

impl<T> Default for ConnTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_removed_connection_never_names_its_successor() {
        let mut table = ConnTable::new();
        let first = table.insert("first").unwrap();
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second").unwrap();
        assert_eq!(first.index, second.index, "the slot is reused");
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.iter().collect::<Vec<_>>(), [(second, &"second")]);
        assert_eq!(table.len(), 1);
    }
}
