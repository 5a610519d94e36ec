//! Strings, hashes, sets and lists: what an entry says against the elements that there are.

use std::collections::BTreeSet;

use coney_base::UnixMillis;

use super::What;
use crate::batch::Family;
use crate::chunk;
use crate::compact::{Compact, Encoding};
use crate::element::{self, LargeBody};
use crate::engine::Engine;
use crate::field;
use crate::meta::{Header, Kind};
use crate::score;
use crate::store::{self, StoreError};

/// What differs in a compact collection, if anything.
pub(super) fn check_compact(header: &Header, body: &[u8]) -> What {
    let Ok(compact) = Compact::parse(header.kind, body) else { return Some("it cannot be read") };
    let Ok(entries) = compact.entries() else {
        return Some("it has another number of elements than it says");
    };
    if compact.count == 0 {
        return Some("it has no elements, and is there all the same");
    }
    if !matches!(compact.encoding, Encoding::Listpack | Encoding::Intset) {
        return Some("it is compact, and says that it is not");
    }
    if header.kind != Kind::List {
        let names: BTreeSet<&[u8]> = entries.clone().map(|entry| entry.name).collect();
        if names.len() != compact.count {
            return Some("an element is there twice");
        }
    }
    match header.kind {
        Kind::ZSet => {
            let ranks: Option<Vec<_>> = entries
                .map(|entry| Some((score::rank(score::from_bytes(entry.value)?), entry.name)))
                .collect();
            match ranks {
                None => Some("a score cannot be read"),
                Some(ranks) if !ranks.is_sorted() => Some("it is not in the order of its scores"),
                Some(_) => None,
            }
        }
        Kind::Hash => {
            let deadlines: Result<Vec<Option<UnixMillis>>, _> =
                entries.map(|entry| field::deadline(entry.value)).collect();
            match deadlines {
                Err(_damaged) => Some("a field cannot be read"),
                Ok(deadlines)
                    if deadlines.iter().flatten().min().copied() != header.fields_expire_at =>
                {
                    Some("its first field ends at another moment than it says")
                }
                Ok(_) => None,
            }
        }
        Kind::String | Kind::List | Kind::Set | Kind::Stream => None,
    }
}

impl Engine {
    /// What differs in a large hash or set, if anything.
    pub(super) fn check_members(
        &self,
        header: &Header,
        prefix: &[u8],
        body: &LargeBody,
    ) -> Result<What, StoreError> {
        let (mut count, mut deadlines) = (0, BTreeSet::new());
        let mut iter = self.elements_of(Family::Data, prefix);
        while let Some((key, value)) = iter.item() {
            let Some((hash, name)) = key.get(prefix.len()..).and_then(element::parse_member) else {
                return Ok(Some("an element cannot be read"));
            };
            if crate::key::hash(name) != hash {
                return Ok(Some("an element lies at another hash than its own"));
            }
            count += 1;
            match (header.kind, field::deadline(value)) {
                (Kind::Hash, Err(_damaged)) => return Ok(Some("a field cannot be read")),
                (Kind::Hash, Ok(Some(at))) => {
                    deadlines.insert((at, name.to_vec()));
                }
                _ => {}
            }
            iter.next();
        }
        store::is_at_end(&iter)?;
        if count != body.count {
            return Ok(Some("it has another number of elements than it says"));
        }
        let first = deadlines.first().map(|(at, _)| *at);
        if first.is_some_and(|first| header.fields_expire_at.is_none_or(|said| first < said)) {
            return Ok(Some("a field ends before the moment that it says"));
        }
        let mut ordered = self.elements_of(Family::Score, prefix);
        let mut deadlines = deadlines.into_iter();
        while let Some(element) = ordered.key().and_then(|key| key.get(prefix.len()..)) {
            let expected = deadlines.next();
            let found = field::parse_deadline(element).map(|(at, name)| (at, name.to_vec()));
            if found.is_none() || found != expected {
                return Ok(Some("the order of its deadlines is another than its fields say"));
            }
            ordered.next();
        }
        store::is_at_end(&ordered)?;
        Ok(deadlines.next().map(|_| "a deadline is missing in the order of its deadlines"))
    }

    /// What differs in a string in chunks, if anything.
    pub(super) fn check_chunks(&self, prefix: &[u8], body: &LargeBody) -> Result<What, StoreError> {
        if body.encoding != Encoding::Raw || body.count > chunk::STRING_LEN_MAX {
            return Ok(Some("it does not say how long it is"));
        }
        let mut iter = self.elements_of(Family::Data, prefix);
        while let Some((key, bytes)) = iter.item() {
            let Some(number) = key.get(prefix.len()..).and_then(chunk::parse_element) else {
                return Ok(Some("a chunk's number cannot be read"));
            };
            let end = chunk::start(number) + bytes.len() as u64;
            if bytes.is_empty() || bytes.len() > chunk::LEN || end > body.count {
                return Ok(Some("a chunk has bytes that the string does not"));
            }
            iter.next();
        }
        store::is_at_end(&iter)?;
        Ok(None)
    }

    /// What differs in a large list, if anything.
    pub(super) fn check_list(&self, prefix: &[u8], body: &LargeBody) -> Result<What, StoreError> {
        let Some(head) = body.extra.first_chunk::<8>().map(|head| u64::from_be_bytes(*head)) else {
            return Ok(Some("it does not say where it begins"));
        };
        let Some(end) = head.checked_add(body.count) else {
            return Ok(Some("it ends beyond all indexes"));
        };
        let mut next = head;
        let mut iter = self.elements_of(Family::Data, prefix);
        while let Some(element) = iter.key().and_then(|key| key.get(prefix.len()..)) {
            let Ok(index) = <[u8; 8]>::try_from(element).map(u64::from_be_bytes) else {
                return Ok(Some("an element cannot be read"));
            };
            // What lies outside means nothing.
            if (head..end).contains(&index) {
                if index != next {
                    return Ok(Some("an element is missing"));
                }
                next += 1;
            }
            iter.next();
        }
        store::is_at_end(&iter)?;
        Ok((next != end).then_some("it has fewer elements than it says"))
    }
}
