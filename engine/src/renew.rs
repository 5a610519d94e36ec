//! Batches that change very much of what is there, made light before a worker commits them.
//!
//! A command that is built on the I/O pool ([`crate::hold`]) may remove a million elements, or move
//! them. One batch with all of that would keep the worker, and everybody who writes, waiting for a
//! second. But what belongs to a collection is decided by the version in its meta entry alone. So the
//! pool writes what is left of the collection under a *new version*, in small batches
//! ([`crate::ahead`]), and leaves the worker three records: the entry with the new version, the record
//! that names the old one as dead, and the end of the record that named the new one. Elements of a
//! version that is dead after the batch need no removal of their own at all.
//!
//! That costs as many writes as elements are left, and is done only if these are not many more than the
//! changes ([`left_max`]); else the worker commits the changes, about a microsecond each.

use std::collections::BTreeMap;

use crate::ahead::{self, Ahead, NewVersion};
use crate::batch::{Batch, Family, Pending};
use crate::chunk;
use crate::command::collection::ElementRange;
use crate::command::{CommandError, Context, Stop};
use crate::element::{self, LargeBody};
use crate::meta::{Header, Kind};
use crate::reclaim;

/// Fewer changes of a collection are committed by the worker.
const CHANGES_MIN: usize = 2048;
/// Elements that are written again for each change that the worker is spared. The keys of the whole
/// stripe are held meanwhile.
const LEFT_PER_CHANGE: u64 = 4;
/// Of a collection with more elements left, at most one for each change: a second or so.
const LEFT_MAX: u64 = 1_000_000;

/// A collection that gets a new version.
struct Renewed {
    meta_key: Vec<u8>,
    prefix: Vec<u8>,
    old_version: u64,
    header: Header,
    body: Vec<u8>,
}

/// How many records hold what is left of a collection, about.
fn records_of(kind: Kind, body: &LargeBody) -> u64 {
    match kind {
        Kind::String => body.count / chunk::LEN as u64,
        Kind::Hash | Kind::List | Kind::Set | Kind::ZSet | Kind::Stream => body.count,
    }
}

/// How many elements may be left of a collection with so many changes.
fn left_max(changes: u64) -> u64 {
    changes.saturating_mul(LEFT_PER_CHANGE).min(changes.max(LEFT_MAX))
}

/// How many elements of each version the batch changes: by what their keys begin with.
fn changes(batch: &Batch) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    let mut keys = batch.element_keys().peekable();
    while let Some(key) = keys.next() {
        let Some(prefix) = element::prefix_of(key) else { continue };
        let mut count = 1;
        // Neighbours are mostly of one collection.
        while keys.next_if(|next| next.starts_with(prefix)).is_some() {
            count += 1;
        }
        *counts.entry(prefix.to_vec()).or_insert(0) += count;
    }
    counts
}

/// Makes the batch that a command has built on the pool light; see the module page. `None`: it is as it
/// was. Waits for the device.
///
/// # Errors
/// A read or a write failed: the batch is as it was, and what was written is removed later.
pub(crate) fn lighten(ctx: &mut Context<'_>) -> Result<Option<Ahead>, Stop> {
    // Where the command makes a version itself, its number counts on all records of the batch: see
    // [`crate::element`].
    if ctx.exec.batch.elements_count() < CHANGES_MIN || !ctx.exec.new_versions.is_empty() {
        return Ok(None);
    }
    let (mut renewed, mut left_out) = (Vec::new(), Vec::new());
    for (prefix, count) in changes(&ctx.exec.batch) {
        let Some((meta_key, old_version)) = element::owner_of(&prefix) else { continue };
        if count < CHANGES_MIN {
            continue;
        }
        match ctx.exec.batch.pending(&meta_key) {
            None => continue,
            Some(Pending::Deleted) => {}
            Some(Pending::Put(value)) => {
                let (header, body) = Header::parse(value)?;
                if header.version == Some(old_version) {
                    let left = records_of(header.kind, &LargeBody::parse(body)?);
                    if left > left_max(count as u64) {
                        continue;
                    }
                    let (prefix, body) = (prefix.clone(), body.to_vec());
                    renewed.push(Renewed { meta_key, prefix, old_version, header, body });
                }
            }
        }
        left_out.push(prefix);
    }
    if left_out.is_empty() {
        return Ok(None);
    }
    let mut light = Batch::new();
    light.append_without(&ctx.exec.batch, |key| {
        left_out.iter().any(|prefix| key.starts_with(prefix))
    });
    let ahead = if renewed.is_empty() { None } else { Some(renew(ctx, &renewed, &mut light)?) };
    ctx.exec.batch = light;
    Ok(ahead)
}

/// Writes what is left of collections under new versions, and their entries to `light`.
fn renew(ctx: &mut Context<'_>, renewed: &[Renewed], light: &mut Batch) -> Result<Ahead, Stop> {
    let engine = std::sync::Arc::clone(&ctx.exec.engine);
    // The first record that is written ahead takes this number: should the batch be lost, the next
    // version of the key is a later one.
    let new_version = engine.store.latest_sequence() + 1;
    let versions: Vec<NewVersion> =
        renewed.iter().map(|one| NewVersion::new(&one.meta_key, new_version)).collect();
    let mut writer = ahead::Writer::new(&engine, &versions);
    for (Renewed { prefix, .. }, version) in renewed.iter().zip(&versions) {
        for family in [Family::Data, Family::Score] {
            let mut key = version.prefix().to_vec();
            let all = ElementRange::default();
            ctx.walk_unbounded(family, prefix, &all, &mut |element, value| {
                key.truncate(version.prefix().len());
                key.extend_from_slice(element);
                writer.put(family, &key, value).map_err(CommandError::from)?;
                Ok(true)
            })?;
        }
    }
    let ahead = writer.finish()?;
    for one in renewed {
        let mut record_key = Vec::new();
        reclaim::write_record_key(&mut record_key, new_version, &one.meta_key);
        light.delete(Family::System, &record_key);
        reclaim::write_record_key(&mut record_key, one.old_version, &one.meta_key);
        light.put(Family::System, &record_key, b"");
        let header = Header { version: Some(new_version), ..one.header };
        let (bytes, len) = header.to_bytes();
        light.put_meta(&one.meta_key, &[&bytes[..len], &one.body]);
    }
    Ok(ahead)
}
