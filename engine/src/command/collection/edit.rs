//! Changing collections of named elements: hashes, sets, members of sorted sets.
//!
//! [`Context::edit`] latches the key and opens an [`Edit`]; [`Context::edit_prepare`] reads what the
//! changes depend on and is the last that can stop; [`Context::edit_set`] and [`Context::edit_remove`]
//! change elements; [`Context::edit_finish`] writes the meta entry, or removes the key when nothing is
//! left (and tells of that, so the event of the command itself comes before it). Turning a compact collection into a large one is part of [`Context::edit_set`], and so are
//! Redis's rules for OBJECT ENCODING. A kind that has more than elements in `data` (sorted sets)
//! writes the rest through [`Edit::form`]: a large collection's prefix is good for `score` too. What
//! becomes large takes its scores along. The entries of a compact sorted set are kept in order. The
//! deadlines of a hash's fields are kept here, in all places where they stand ([`crate::field`]).

use coney_base::UnixMillis;

use super::Large;
use crate::batch::{Family, Pending};
use crate::command::{CommandError, Context, Old, Stop};
use crate::compact::{BODY_LEN_MAX, CompactMut, Encoding, Entry};
use crate::element::{self, LargeBody};
use crate::field;
use crate::limits::EncodingLimits;
use crate::meta::{Header, Kind};
use crate::score;

/// A collection of named elements that is latched and may be changed.
#[derive(Debug)]
pub(crate) struct Edit<'k> {
    table: u16,
    key: &'k [u8],
    kind: Kind,
    /// What was there.
    pub(crate) old: Old,
    /// Its elements.
    pub(crate) form: Form,
    /// Which names [`Context::edit_prepare`] found, for a large one.
    known: Vec<bool>,
    /// Their deadlines, of a large hash in which some field has one.
    deadlines: Vec<Option<UnixMillis>>,
    /// No field has an earlier deadline.
    pub(crate) fields_expire_at: Option<UnixMillis>,
    /// Something was changed that the meta entry says.
    is_meta_changed: bool,
}

/// Where an edited collection keeps its elements.
#[derive(Debug)]
pub(crate) enum Form {
    Compact(CompactMut),
    Large(Large),
}

impl<'k> Edit<'k> {
    /// The collection's key.
    pub(crate) fn key(&self) -> &'k [u8] {
        self.key
    }

    /// Elements, changes included.
    pub(crate) fn count(&self) -> u64 {
        match &self.form {
            Form::Compact(compact) => compact.count() as u64,
            Form::Large(large) => large.body.count,
        }
    }

    /// Notes a change of [`Edit::form`] that was not made here.
    pub(crate) fn changed(&mut self) {
        self.is_meta_changed = true;
    }

    /// The first `count` names that will be changed are known to be there.
    pub(crate) fn assume_present(&mut self, count: usize) {
        self.known.clear();
        self.known.resize(count, true);
    }

    /// The next field that will be changed is there, or not, and has this deadline: what
    /// [`Context::edit_prepare`] finds out.
    pub(crate) fn note_field(&mut self, is_there: bool, expire_at: Option<UnixMillis>) {
        self.known.push(is_there);
        self.deadlines.push(expire_at);
    }

    /// Which names are there, in the order of their numbers: what [`Context::edit_prepare`] finds out.
    pub(crate) fn assume(&mut self, known: impl Iterator<Item = bool>) {
        self.known.clear();
        self.known.extend(known);
    }

    /// The deadline in what is to be stored for a field, which is noted; `None` for other kinds.
    fn note_deadline(&mut self, stored: &[u8]) -> Option<UnixMillis> {
        if self.kind != Kind::Hash {
            return None;
        }
        let new = field::deadline(stored).ok().flatten()?;
        if self.fields_expire_at.is_none_or(|at| new < at) {
            self.fields_expire_at = Some(new);
            self.is_meta_changed = true;
        }
        Some(new)
    }

    /// What OBJECT ENCODING would reply.
    fn encoding(&self) -> Encoding {
        match &self.form {
            Form::Compact(compact) => compact.encoding,
            Form::Large(large) => large.body.encoding,
        }
    }
}

impl Context<'_> {
    /// Latches a key of the client's table and opens its collection; an absent one is empty.
    pub(crate) fn edit<'k>(&mut self, key: &'k [u8], kind: Kind) -> Result<Edit<'k>, Stop> {
        self.edit_as(key, kind, false)
    }

    /// The same for a key whose old value, of any kind, is overwritten: the collection is empty.
    pub(crate) fn edit_new<'k>(&mut self, key: &'k [u8], kind: Kind) -> Result<Edit<'k>, Stop> {
        self.edit_as(key, kind, true)
    }

    fn edit_as<'k>(&mut self, key: &'k [u8], kind: Kind, is_new: bool) -> Result<Edit<'k>, Stop> {
        enum Content {
            Compact(CompactMut),
            Large(LargeBody, u64),
        }
        let mut buffer = Some(std::mem::take(&mut self.exec.value));
        let (old, content) = self.read_for_write(key, |found| {
            let mut buffer = || buffer.take().unwrap_or_default();
            match found {
                Some((header, body)) if !is_new => {
                    if header.kind != kind {
                        return Err(CommandError::WrongType);
                    }
                    Ok(match header.version {
                        Some(version) => Content::Large(LargeBody::parse(body)?, version),
                        None => Content::Compact(CompactMut::parse(kind, body, buffer())?),
                    })
                }
                _ => Ok(Content::Compact(CompactMut::new(kind, Encoding::Listpack, buffer()))),
            }
        })?;
        if let Some(buffer) = buffer {
            self.exec.value = buffer;
        }
        let mut known = std::mem::take(&mut self.exec.are_known);
        known.clear();
        let form = match content? {
            Content::Compact(compact) => Form::Compact(compact),
            Content::Large(body, version) => Form::Large(self.large(body, version)),
        };
        // A new value has no deadline.
        let old = if is_new { Old { live: None, ..old } } else { old };
        Ok(Edit {
            table: self.client.table,
            key,
            kind,
            old,
            form,
            known,
            deadlines: Vec::new(),
            fields_expire_at: old.live.and_then(|header| header.fields_expire_at),
            is_meta_changed: false,
        })
    }

    /// Reads which of `names` are there, so that changes of them need no reads any more; the
    /// number of a name here is its number in [`Context::edit_set`] and [`Context::edit_remove`].
    pub(crate) fn edit_prepare<'n>(
        &mut self,
        edit: &mut Edit<'_>,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Result<(), Stop> {
        self.check_names(names.size_hint().0)?;
        if let Form::Large(large) = &edit.form {
            edit.known.clear();
            edit.deadlines.clear();
            for name in names {
                let (is_there, deadline) = self.member(&large.prefix, name, |found| {
                    let deadline = match found {
                        Some(stored) if edit.fields_expire_at.is_some() => field::deadline(stored),
                        _ => Ok(None),
                    };
                    (found.is_some(), deadline)
                })?;
                edit.known.push(is_there);
                edit.deadlines.push(deadline?);
            }
        }
        Ok(())
    }

    /// Hands the stored value of an element to `f`, or `None` if it is not there. May stop.
    pub(crate) fn edit_get<R>(
        &mut self,
        edit: &Edit<'_>,
        name: &[u8],
        f: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Stop> {
        match &edit.form {
            Form::Compact(compact) => Ok(f(compact.find(name).map(|entry| entry.value))),
            Form::Large(large) => self.member(&large.prefix, name, f),
        }
    }

    /// Adds an element or replaces its value. Whether it was there.
    pub(crate) fn edit_set(
        &mut self,
        edit: &mut Edit<'_>,
        number: usize,
        entry: Entry<'_>,
    ) -> bool {
        let count = edit.count();
        let deadline = edit.note_deadline(entry.value);
        let old_deadline = self.edit_deadline(edit, number, entry.name);
        let encoding = edit.encoding();
        let encoding = grown(&self.exec.engine.limits, edit.kind, encoding, count, entry);
        if let Form::Compact(compact) = &mut edit.form {
            let is_there = compact.find(entry.name).is_some();
            let new_count = count + u64::from(!is_there);
            let encoding = match (is_there, edit.kind) {
                // It is only looked up.
                (true, Kind::Set | Kind::ZSet) => compact.encoding,
                _ => checked(&self.exec.engine.limits, edit.kind, encoding, new_count),
            };
            let is_small = compact.len() + entry.len(edit.kind) + 11 <= BODY_LEN_MAX
                && matches!(encoding, Encoding::Listpack | Encoding::Intset);
            if is_small {
                compact.encoding = encoding;
                match (is_there, encoding) {
                    (true, _) if edit.kind == Kind::Set => return true,
                    (false, Encoding::Intset) => {
                        let at = intset_place(compact, entry.name);
                        compact.insert(at, entry);
                    }
                    _ if edit.kind == Kind::ZSet => {
                        compact.remove(entry.name);
                        let at = scored_place(compact, entry);
                        compact.insert(at, entry);
                    }
                    _ => {
                        compact.set(entry);
                    }
                }
                edit.is_meta_changed = true;
                return is_there;
            }
            self.convert(edit, encoding);
            // Everything in it is pending now.
        }
        let Form::Large(large) = &mut edit.form else { unreachable!("just converted") };
        let is_there = self.is_there(&edit.known, number, &large.prefix, entry.name);
        if is_there && edit.kind == Kind::Set {
            return true;
        }
        if let [only] = edit.known.as_mut_slice() {
            *only |= number == 0;
        }
        self.move_deadline(&large.prefix, entry.name, old_deadline, deadline);
        let element = &mut self.exec.element;
        element::write_member(element, entry.name);
        self.exec.batch.put_element(Family::Data, &large.prefix, element, entry.value);
        large.body.count += u64::from(!is_there);
        if !is_there && edit.kind == Kind::Set {
            self.note_added(&large.prefix, entry.name, large.body.count);
        }
        let limits = &self.exec.engine.limits;
        let encoding = checked(limits, edit.kind, encoding, large.body.count);
        edit.is_meta_changed |= !is_there || encoding != large.body.encoding;
        large.body.encoding = encoding;
        is_there
    }

    /// Removes an element. Whether it was there.
    pub(crate) fn edit_remove(&mut self, edit: &mut Edit<'_>, number: usize, name: &[u8]) -> bool {
        let old_deadline = self.edit_deadline(edit, number, name);
        match &mut edit.form {
            Form::Compact(compact) => {
                let is_removed = compact.remove(name);
                edit.is_meta_changed |= is_removed;
                is_removed
            }
            Form::Large(large) => {
                let is_there = self.is_there(&edit.known, number, &large.prefix, name);
                if is_there {
                    if let [only] = edit.known.as_mut_slice() {
                        *only &= number != 0;
                    }
                    self.move_deadline(&large.prefix, name, old_deadline, None);
                    let element = &mut self.exec.element;
                    element::write_member(element, name);
                    self.exec.batch.delete_element(Family::Data, &large.prefix, element);
                    large.body.count = large.body.count.saturating_sub(1);
                    edit.is_meta_changed = true;
                }
                is_there
            }
        }
    }

    /// Writes what the changes made of the key.
    pub(crate) fn edit_finish(&mut self, edit: Edit<'_>) {
        let Edit {
            table, key, kind, old, form, known, is_meta_changed, mut fields_expire_at, ..
        } = edit;
        self.exec.are_known = known;
        let expire_at = old.live.and_then(|header| header.expire_at);
        self.exec.look_at(table, key);
        match form {
            Form::Compact(compact) => {
                if is_meta_changed && compact.is_empty() {
                    self.delete(key, old);
                } else if is_meta_changed {
                    if fields_expire_at.is_some() {
                        let deadlines = compact.entries().map(|entry| field::deadline(entry.value));
                        fields_expire_at = deadlines.filter_map(|at| at.ok().flatten()).min();
                    }
                    let (head, entries) = compact.body();
                    let header = Header { expire_at, fields_expire_at, ..Header::new(kind) };
                    self.put_in(table, key, old, &header, &[&head, entries]);
                }
                self.exec.value = compact.into_buffer();
            }
            Form::Large(large) => {
                if is_meta_changed && large.body.count == 0 {
                    self.delete(key, old);
                } else if is_meta_changed {
                    let mut body = std::mem::take(&mut self.exec.value);
                    large.body.write(&mut body);
                    let version = Some(large.version);
                    let header = Header { kind, expire_at, version, fields_expire_at };
                    self.put_in(table, key, old, &header, &[&body]);
                    self.exec.value = body;
                }
                self.exec.prefix = large.prefix;
            }
        }
    }

    /// Makes a compact collection of unordered members large.
    fn convert(&mut self, edit: &mut Edit<'_>, encoding: Encoding) {
        self.edit_convert(edit, encoding, Vec::new(), |_, entry, element| {
            element::write_member(element, entry.name);
            entry.value
        });
    }

    /// Makes a compact collection large. `split` gets the number of an entry and the entry, replaces
    /// a buffer's content by its element, and returns what belongs there.
    pub(crate) fn edit_convert(
        &mut self,
        edit: &mut Edit<'_>,
        encoding: Encoding,
        extra: Vec<u8>,
        split: for<'e> fn(u64, Entry<'e>, &mut Vec<u8>) -> &'e [u8],
    ) {
        let Form::Compact(compact) = &edit.form else { return };
        let body = LargeBody { encoding, count: compact.count() as u64, extra };
        let large = self.edit_large(edit, body);
        let mut element = Vec::new();
        for (number, entry) in (0..).zip(compact.entries()) {
            let value = split(number, entry, &mut element);
            self.exec.batch.put_element(Family::Data, &large.prefix, &element, value);
            if let Some(score) =
                score::from_bytes(entry.value).filter(|_score| edit.kind == Kind::ZSet)
            {
                score::write_element(&mut element, score, entry.name);
                self.exec.batch.put_element(Family::Score, &large.prefix, &element, b"");
            }
            let deadline = edit.fields_expire_at.and_then(|_| field::deadline(entry.value).ok()?);
            if let Some(at) = deadline {
                field::write_deadline(&mut element, at, entry.name);
                self.exec.batch.put_element(Family::Score, &large.prefix, &element, b"");
            }
        }
        edit.known.clear();
        edit.deadlines.clear();
        edit.is_meta_changed = true;
        edit.form = Form::Large(large);
    }

    /// A large collection of a new version of the key, whose elements are still to be written.
    pub(crate) fn edit_large(&mut self, edit: &Edit<'_>, body: LargeBody) -> Large {
        self.exec.look_at(edit.table, edit.key);
        let version = self.exec.new_version();
        self.large(body, version)
    }

    /// The deadline of a field, changes included; number and name as in [`Context::edit_set`].
    pub(crate) fn edit_deadline(
        &self,
        edit: &Edit<'_>,
        number: usize,
        name: &[u8],
    ) -> Option<UnixMillis> {
        // Without it there is none, and other kinds never have it.
        edit.fields_expire_at?;
        let of = |stored: &[u8]| field::deadline(stored).ok().flatten();
        match &edit.form {
            Form::Compact(compact) => of(compact.find(name)?.value),
            Form::Large(large) => {
                let mut element = Vec::with_capacity(element::MEMBER_HASH_LEN + name.len());
                element::write_member(&mut element, name);
                let key = [&large.prefix[..], &element].concat();
                match self.exec.batch.pending_element(Family::Data, &key) {
                    Some(Pending::Put(stored)) => of(stored),
                    Some(Pending::Deleted) => None,
                    None => edit.deadlines.get(number).copied().flatten(),
                }
            }
        }
    }

    /// Keeps the order of deadlines of a large hash when that of a field changes.
    fn move_deadline(
        &mut self,
        prefix: &[u8],
        name: &[u8],
        old: Option<UnixMillis>,
        new: Option<UnixMillis>,
    ) {
        if old == new {
            return;
        }
        let mut element = Vec::new();
        if let Some(old) = old {
            field::write_deadline(&mut element, old, name);
            self.exec.batch.delete_element(Family::Score, prefix, &element);
        }
        if let Some(new) = new {
            field::write_deadline(&mut element, new, name);
            self.exec.batch.put_element(Family::Score, prefix, &element, b"");
        }
    }

    fn is_there(&self, known: &[bool], number: usize, prefix: &[u8], name: &[u8]) -> bool {
        if let [only] = known
            && number == 0
        {
            // It is kept up to date.
            return *only;
        }
        let key = [prefix, &crate::key::hash(name).to_be_bytes(), name].concat();
        match self.exec.batch.pending_element(Family::Data, &key) {
            Some(Pending::Put(_)) => true,
            Some(Pending::Deleted) => false,
            None => known.get(number).copied().unwrap_or(false),
        }
    }
}

/// What Redis would use once `entry` is added to `count` others, apart from their number.
fn grown(
    limits: &EncodingLimits,
    kind: Kind,
    encoding: Encoding,
    count: u64,
    entry: Entry<'_>,
) -> Encoding {
    let (name_len, value_len) = (entry.name.len() as u64, entry.value.len() as u64);
    match (kind, encoding) {
        (Kind::Hash, Encoding::Listpack)
            if name_len.max(value_len.saturating_sub(field::overhead(entry.value) as u64))
                > limits.hash_value() =>
        {
            Encoding::Hashtable
        }
        (Kind::ZSet, Encoding::Listpack) if name_len > limits.zset_value() => Encoding::Skiplist,
        (Kind::Set, Encoding::Listpack | Encoding::Intset) => {
            let is_int = coney_resp::number::parse_i64(entry.name).is_some();
            let is_intset = encoding == Encoding::Intset || count == 0;
            if is_int && is_intset && (count > 0 || limits.set_intset_entries() > 0) {
                Encoding::Intset
            } else if name_len > limits.set_value() {
                Encoding::Hashtable
            } else {
                Encoding::Listpack
            }
        }
        (_, other) => other,
    }
}

/// What Redis uses for so many elements.
fn checked(limits: &EncodingLimits, kind: Kind, encoding: Encoding, count: u64) -> Encoding {
    match (kind, encoding) {
        (Kind::Hash, Encoding::Listpack) if count > limits.hash_entries() => Encoding::Hashtable,
        (Kind::ZSet, Encoding::Listpack) if count > limits.zset_entries() => Encoding::Skiplist,
        (Kind::Set, Encoding::Listpack) if count > limits.set_entries() => Encoding::Hashtable,
        (Kind::Set, Encoding::Intset) if count > limits.set_intset_entries() => Encoding::Hashtable,
        (_, other) => other,
    }
}

/// Where an integer belongs among the others.
fn intset_place(compact: &CompactMut, name: &[u8]) -> usize {
    let number = coney_resp::number::parse_i64(name);
    compact
        .entries()
        .position(|other| coney_resp::number::parse_i64(other.name) > number)
        .unwrap_or_else(|| compact.count())
}

/// Where a member with its score belongs among the others.
fn scored_place(compact: &CompactMut, entry: Entry<'_>) -> usize {
    let rank = |entry: Entry<'_>| score::from_bytes(entry.value).map(score::rank);
    let new = (rank(entry), entry.name);
    compact
        .entries()
        .position(|other| (rank(other), other.name) > new)
        .unwrap_or_else(|| compact.count())
}
