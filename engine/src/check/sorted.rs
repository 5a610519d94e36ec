//! Large sorted sets: members with their scores against their order.

use super::What;
use crate::batch::Family;
use crate::element::{self, LargeBody};
use crate::engine::Engine;
use crate::score;
use crate::store::{self, Found, StoreError, Tier};

impl Engine {
    /// What differs in a large sorted set, if anything.
    pub(super) fn check_sorted_set(
        &self,
        prefix: &[u8],
        body: &LargeBody,
    ) -> Result<What, StoreError> {
        let (mut ordered, mut stored) = (0, 0);
        let mut key = Vec::new();
        let mut iter = self.elements_of(Family::Score, prefix);
        while let Some(element) = iter.key().and_then(|key| key.get(prefix.len()..)) {
            let Some((score, member)) = score::parse_element(element) else {
                return Ok(Some("a score cannot be read"));
            };
            element::write_member(&mut key, member);
            let full = [prefix, &key].concat();
            match self.store.get(Family::Data, &full, Tier::Device)? {
                Found::Value(stored) if *stored == score::to_bytes(score) => {}
                _ => return Ok(Some("a member has another score, or none, in data")),
            }
            ordered += 1;
            iter.next();
        }
        store::is_at_end(&iter)?;
        let mut iter = self.elements_of(Family::Data, prefix);
        while iter.valid() {
            stored += 1;
            iter.next();
        }
        store::is_at_end(&iter)?;
        let is_right = (ordered, stored) == (body.count, body.count);
        Ok((!is_right).then_some("it has another number of members than it says"))
    }
}
