//! A table of connections whose ids stay unique when slots are reused.

use super::ConnId;

/// Generations have 31 bits, so that an id fits an epoll tag beside a bit that marks listeners.
const GENERATION_MASK: u32 = 0x7fff_ffff;

/// Slots that are allocated together: growing never moves a value, and finding one costs a look at a
/// short list that stays in the cache.
const CHUNK: usize = 64;

/// Slots with generations. Removing and inserting are O(1); memory is what the most connections
/// at one time needed.
#[derive(Debug)]
pub struct ConnTable<T> {
    /// All full but the last.
    chunks: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
    len: usize,
}

/// It begins with a cache line and so touches as few of them as it can.
#[derive(Debug)]
#[repr(align(64))]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> ConnTable<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
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
                if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
                    self.chunks.push(Vec::with_capacity(CHUNK));
                }
                let before = (self.chunks.len() - 1) * CHUNK;
                let last = self.chunks.last_mut()?;
                let index = u32::try_from(before + last.len()).ok()?;
                last.push(Slot { generation: 0, value: None });
                index
            }
        };
        let slot = self.slot_mut(index)?;
        slot.value = Some(value);
        let generation = slot.generation;
        self.len += 1;
        Some(ConnId { index, generation })
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    /// Lets the CPU fetch what is in slot `index`, without waiting for it.
    pub fn prefetch(&self, index: u32) {
        if let Some(slot) = self.slot(index) {
            coney_base::prefetch(slot);
        }
    }

    /// The connection, unless the id is stale.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let slot = self.slot(id.index)?;
        if slot.generation == id.generation { slot.value.as_ref() } else { None }
    }

    /// The connection, unless the id is stale.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let slot = self.slot_mut(id.index)?;
        if slot.generation == id.generation { slot.value.as_mut() } else { None }
    }

    /// The connection in slot `index`, whatever its generation, and its id.
    pub fn at(&self, index: u32) -> Option<(ConnId, &T)> {
        let slot = self.slot(index)?;
        let value = slot.value.as_ref()?;
        Some((ConnId { index, generation: slot.generation }, value))
    }

    /// Takes the connection out; its id is stale from now on.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let slot = self.slot_mut(id.index)?;
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
        self.chunks.iter().flatten().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).ok()?;
            let value = slot.value.as_ref()?;
            Some((ConnId { index, generation: slot.generation }, value))
        })
    }

    /// All connections, in slot order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.chunks.iter_mut().flatten().enumerate().filter_map(|(index, slot)| {
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
