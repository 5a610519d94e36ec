//! Values found by flow, by slot number, and by timer: connections, half-open connections and those
//! in TIME-WAIT are three such maps.

use coney_base::Instant;

use super::flow::FlowKey;
use super::table::FlowTable;
use super::timer_wheel::TimerWheel;
use crate::transport::ConnId;
use crate::transport::conn_table::ConnTable;

/// A value that belongs to a flow.
pub trait HasFlow {
    /// The flow.
    fn flow(&self) -> &FlowKey;
}

/// As many values as `len_max`, each with one timer. All operations are O(1).
#[derive(Debug)]
pub struct FlowMap<T> {
    slots: ConnTable<Slot<T>>,
    table: FlowTable,
    timers: TimerWheel,
}

#[derive(Debug)]
struct Slot<T> {
    hash: u32,
    value: T,
}

impl<T: HasFlow> FlowMap<T> {
    /// An empty map for at most `len_max` values.
    pub fn new(len_max: usize) -> Self {
        Self { slots: ConnTable::new(), table: FlowTable::new(len_max), timers: TimerWheel::new() }
    }

    /// Values in the map.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The id of the value of a flow with that hash.
    pub fn find(&self, hash: u32, key: &FlowKey) -> Option<ConnId> {
        let is_it = |slot| self.slots.at(slot).is_some_and(|(_, slot)| slot.value.flow() == key);
        let slot = self.table.find(hash, is_it)?;
        self.slots.at(slot).map(|(id, _)| id)
    }

    /// The first of three steps that a caller with several lookups does for all of them before the
    /// next step, so that their cache misses overlap. Then come [`Self::prefetch_value`] and
    /// [`Self::find`].
    pub fn prefetch_entry(&self, hash: u32) {
        self.table.prefetch(hash);
    }

    /// Lets the CPU fetch the value that [`Self::find`] will probably name, and its timer.
    pub fn prefetch_value(&self, hash: u32) {
        if let Some(slot) = self.table.first(hash) {
            self.slots.prefetch(slot);
            self.timers.prefetch(slot);
        }
    }

    /// Adds a value of a flow that is not there yet.
    ///
    /// # Errors
    /// The value, if the map is full.
    pub fn insert(&mut self, hash: u32, value: T) -> Result<ConnId, T> {
        if self.table.is_full() {
            return Err(value);
        }
        let id = self.slots.insert(Slot { hash, value }).expect("fewer than 2^32 slots");
        self.table.insert(hash, id.index).expect("room was checked");
        Ok(id)
    }

    /// The value, unless the id is stale.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        self.slots.get(id).map(|slot| &slot.value)
    }

    /// The value, unless the id is stale.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        self.slots.get_mut(id).map(|slot| &mut slot.value)
    }

    /// Takes a value out and disarms its timer.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let slot = self.slots.remove(id)?;
        self.table.remove(slot.hash, id.index);
        self.timers.disarm(id.index);
        Some(slot.value)
    }

    /// Lets [`Self::pop_due`] name the value at `deadline`, or earlier if it was so armed.
    pub fn arm(&mut self, id: ConnId, deadline: Instant) {
        self.timers.arm(id.index, deadline);
    }

    /// A value whose timer is due; the timer is disarmed by that.
    pub fn pop_due(&mut self, now: Instant) -> Option<ConnId> {
        let slot = self.timers.pop_due(now)?;
        self.slots.at(slot).map(|(id, _)| id)
    }

    /// As [`Self::pop_due`], for as many values as `slots` has room for without growing, by their
    /// slots: the CPU fetches them until [`Self::at`] asks for one.
    pub fn pop_group_due(&mut self, now: Instant, slots: &mut Vec<u32>) {
        while slots.len() < slots.capacity()
            && let Some(slot) = self.timers.pop_due(now)
        {
            self.slots.prefetch(slot);
            slots.push(slot);
        }
    }

    /// The id of the value in a slot.
    pub fn at(&self, slot: u32) -> Option<ConnId> {
        self.slots.at(slot).map(|(id, _)| id)
    }

    /// When [`Self::pop_due`] should be called at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// All values; O(n), for tests and for introspection.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots.iter().map(|(id, slot)| (id, &slot.value))
    }
}
