//! Streams: entries and what the stream says of them, pending entries and who has them.

use std::collections::BTreeMap;

use super::What;
use crate::batch::Family;
use crate::element::LargeBody;
use crate::engine::Engine;
use crate::store::{self, StoreError};
use crate::stream::{self, Consumer, Element, Group, Pending, StreamId, StreamInfo};

/// What a group has.
#[derive(Default)]
struct Owned {
    /// What it says, and how many are pending.
    said: Option<u64>,
    pending: BTreeMap<StreamId, Vec<u8>>,
    consumers: BTreeMap<Vec<u8>, u64>,
    by_consumer: BTreeMap<StreamId, Vec<u8>>,
}

impl Engine {
    /// What differs in a stream, if anything.
    pub(super) fn check_stream(&self, prefix: &[u8], body: &LargeBody) -> Result<What, StoreError> {
        let Ok(info) = StreamInfo::parse(&body.extra) else {
            return Ok(Some("what it says of itself cannot be read"));
        };
        let (mut count, mut first, mut last) = (0, None, StreamId::MIN);
        let mut groups: BTreeMap<Vec<u8>, Owned> = BTreeMap::new();
        let mut iter = self.elements_of(Family::Data, prefix);
        while let Some((key, value)) = iter.item() {
            let Some(element) = key.get(prefix.len()..).and_then(Element::parse) else {
                return Ok(Some("an element cannot be read"));
            };
            match element {
                Element::Entry(id) => {
                    if stream::parse_fields(value).is_err() {
                        return Ok(Some("an entry cannot be read"));
                    }
                    count += 1;
                    first = first.or(Some(id));
                    last = id;
                }
                Element::Group(name) => {
                    let Ok(group) = Group::parse(value) else {
                        return Ok(Some("a group cannot be read"));
                    };
                    groups.entry(name.to_vec()).or_default().said = Some(group.pending);
                }
                Element::Consumer(group, name) => {
                    let Ok(consumer) = Consumer::parse(value) else {
                        return Ok(Some("a consumer cannot be read"));
                    };
                    let group = groups.entry(group.to_vec()).or_default();
                    group.consumers.insert(name.to_vec(), consumer.pending);
                }
                Element::Pending(group, id) => {
                    let Ok(pending) = Pending::parse(value) else {
                        return Ok(Some("a pending entry cannot be read"));
                    };
                    let group = groups.entry(group.to_vec()).or_default();
                    group.pending.insert(id, pending.consumer);
                }
                Element::Owned(group, consumer, id) => {
                    let group = groups.entry(group.to_vec()).or_default();
                    if group.by_consumer.insert(id, consumer.to_vec()).is_some() {
                        return Ok(Some("an entry is pending for two consumers"));
                    }
                }
            }
            iter.next();
        }
        store::is_at_end(&iter)?;
        Ok(if count != body.count {
            Some("it has another number of entries than it says")
        } else if first.unwrap_or(StreamId::MIN) != info.first_id {
            Some("it begins with another entry than it says")
        } else if last > info.last_id {
            Some("an entry lies behind its last id")
        } else {
            groups.values().find_map(check_group)
        })
    }
}

fn check_group(group: &Owned) -> What {
    let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
    for consumer in group.pending.values() {
        *counts.entry(consumer).or_default() += 1;
    }
    let has_other_count = group
        .consumers
        .iter()
        .any(|(name, said)| counts.get(name.as_slice()).copied().unwrap_or(0) != *said);
    match group.said {
        None => Some("something belongs to a group that is not there"),
        Some(said) if said != group.pending.len() as u64 => {
            Some("a group has another number of pending entries than it says")
        }
        Some(_) if group.pending != group.by_consumer => {
            Some("pending entries are not those of the consumers")
        }
        Some(_) if counts.keys().any(|name| !group.consumers.contains_key(*name)) => {
            Some("an entry is pending for a consumer that is not there")
        }
        Some(_) if has_other_count => {
            Some("a consumer has another number of pending entries than it says")
        }
        Some(_) => None,
    }
}
