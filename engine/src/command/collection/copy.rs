//! Whole collections on their way to another key: RENAME, COPY, MOVE.
//!
//! Elements carry their key, so a new name means writing them all again. An indirection (a meta
//! entry that names another key's prefix) would make RENAME cheap, but then the elements of a key
//! would lie in another slot, which neither migrating a slot nor dropping it could stand. What is
//! too much for a worker is done on the pool ([`crate::hold`]).

use super::{ElementRange, Large};
use crate::batch::Family;
use crate::command::{Context, Stop};
use crate::element;

/// An element on its way to another key.
#[derive(Debug)]
pub(crate) struct CopiedElement {
    family: Family,
    element: Vec<u8>,
    value: Vec<u8>,
}

impl Context<'_> {
    /// Reads all elements of a large collection, to be written elsewhere.
    pub(crate) fn load_elements(&mut self, from: &Large) -> Result<Vec<CopiedElement>, Stop> {
        let mut copied = Vec::new();
        for family in [Family::Data, Family::Score] {
            self.walk(family, &from.prefix, &ElementRange::default(), &mut |element, value| {
                copied.push(CopiedElement {
                    family,
                    element: element.to_vec(),
                    value: value.to_vec(),
                });
                Ok(true)
            })?;
        }
        Ok(copied)
    }

    /// Writes elements under a new version of a latched key, and returns that version.
    pub(crate) fn put_elements(
        &mut self,
        table: u16,
        key: &[u8],
        elements: &[CopiedElement],
    ) -> u64 {
        self.exec.look_at(table, key);
        let version = self.exec.new_version();
        let mut prefix = Vec::new();
        element::write_prefix(&mut prefix, &self.exec.meta_key, version);
        for CopiedElement { family, element, value } in elements {
            self.exec.batch.put_element(*family, &prefix, element, value);
        }
        version
    }
}
