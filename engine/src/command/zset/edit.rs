//! Changing a sorted set: a member in `data` and in `score` at once.

use super::buckets::Buckets;
use super::score_of;
use super::sorted::{Scored, Sorted};
use crate::batch::{Family, Pending};
use crate::command::collection::edit::{Edit, Form};
use crate::command::{CommandError, Context, Done, Stop};
use crate::compact::Entry;
use crate::element;
use crate::meta::Kind;
use crate::notify::Class;
use crate::score;

/// A sorted set that is latched and may be changed.
#[derive(Debug)]
pub(super) struct SortedEdit<'k> {
    pub(super) edit: Edit<'k>,
    /// The scores that [`SortedEdit::prepare`] found, of a large one.
    known: Vec<Option<f64>>,
    /// Where the members of a large one are counted.
    buckets: Buckets,
}

impl<'k> SortedEdit<'k> {
    /// Latches a key and opens its sorted set; an absent one is empty.
    pub(super) fn open(ctx: &mut Context<'_>, key: &'k [u8]) -> Result<Self, Stop> {
        let edit = ctx.edit(key, Kind::ZSet)?;
        let buckets = match &edit.form {
            Form::Compact(_) => Buckets::default(),
            Form::Large(large) => Buckets::open_latched(ctx, large)?,
        };
        Ok(Self { edit, known: Vec::new(), buckets })
    }

    /// Latches a key whose value, of any kind, is overwritten.
    pub(super) fn open_new(ctx: &mut Context<'_>, key: &'k [u8]) -> Result<Self, Stop> {
        let edit = ctx.edit_new(key, Kind::ZSet)?;
        Ok(Self { edit, known: Vec::new(), buckets: Buckets::default() })
    }

    /// Reads the scores of members that may be changed; the last that can stop.
    pub(super) fn prepare<'n>(
        &mut self,
        ctx: &mut Context<'_>,
        members: impl Iterator<Item = &'n [u8]>,
    ) -> Result<(), Stop> {
        ctx.check_names(members.size_hint().0)?;
        self.known.clear();
        if let Form::Large(large) = &self.edit.form {
            for member in members {
                self.known.push(super::score_in(ctx, large, member)?);
            }
        }
        self.edit.assume(self.known.iter().map(Option::is_some));
        Ok(())
    }

    /// Reads what is needed to give a member a score, or to take it away; may stop.
    pub(super) fn prepare_score(
        &mut self,
        ctx: &mut Context<'_>,
        score: f64,
        member: &[u8],
    ) -> Result<(), Stop> {
        let Form::Large(large) = &self.edit.form else { return Ok(()) };
        let mut element = Vec::new();
        score::write_element(&mut element, score, member);
        self.buckets.prepare(ctx, large, &element)
    }

    /// The score of the member that was number `number` in [`SortedEdit::prepare`], changes
    /// included.
    pub(super) fn score(
        &self,
        ctx: &Context<'_>,
        number: usize,
        member: &[u8],
    ) -> Result<Option<f64>, CommandError> {
        let stored = match &self.edit.form {
            Form::Compact(compact) => compact.find(member).map(|entry| entry.value),
            Form::Large(large) => {
                if let [only] = self.known.as_slice()
                    && number == 0
                {
                    // Nothing was written since.
                    return Ok(*only);
                }
                let mut element = Vec::new();
                element::write_member(&mut element, member);
                let key = [&large.prefix[..], &element].concat();
                match ctx.exec.batch.pending_element(Family::Data, &key) {
                    Some(Pending::Put(value)) => return Ok(Some(score_of(value)?)),
                    Some(Pending::Deleted) => None,
                    None => return Ok(self.known.get(number).copied().flatten()),
                }
            }
        };
        Ok(stored.map(score_of).transpose()?)
    }

    /// Gives a member a score; `old` is the one that it has.
    pub(super) fn set(
        &mut self,
        ctx: &mut Context<'_>,
        number: usize,
        member: &[u8],
        old: Option<f64>,
        new: f64,
    ) {
        ctx.edit_set(&mut self.edit, number, Entry { name: member, value: &score::to_bytes(new) });
        // It may just have become large, with the old score.
        if let Form::Large(large) = &self.edit.form {
            let (mut before, mut element) = (Vec::new(), Vec::new());
            if let Some(old) = old {
                score::write_element(&mut before, old, member);
                ctx.exec.batch.delete_element(Family::Score, &large.prefix, &before);
            }
            score::write_element(&mut element, new, member);
            ctx.exec.batch.put_element(Family::Score, &large.prefix, &element, b"");
            self.buckets.shift(old.map(|_| &before[..]), Some(&element));
        }
    }

    /// Removes a member, which is there with this score.
    pub(super) fn remove(
        &mut self,
        ctx: &mut Context<'_>,
        number: usize,
        member: &[u8],
        score: f64,
    ) {
        ctx.edit_remove(&mut self.edit, number, member);
        if let Form::Large(large) = &self.edit.form {
            let mut element = Vec::new();
            score::write_element(&mut element, score, member);
            ctx.exec.batch.delete_element(Family::Score, &large.prefix, &element);
            self.buckets.shift(Some(&element), None);
        }
    }

    /// Writes what the changes made of the key.
    pub(super) fn finish(mut self, ctx: &mut Context<'_>) {
        let new_extra = match &self.edit.form {
            Form::Large(large) if large.body.count > 0 => self.buckets.finish(ctx, large),
            Form::Large(_) | Form::Compact(_) => None,
        };
        if let (Form::Large(large), Some(extra)) = (&mut self.edit.form, new_extra) {
            large.body.extra = extra;
            self.edit.changed();
        }
        ctx.edit_finish(self.edit);
    }

    /// Its order, to be read before anything is changed.
    pub(super) fn sorted(&self) -> Result<Sorted, CommandError> {
        Ok(match &self.edit.form {
            Form::Compact(compact) => Sorted::small(compact.entries())?,
            Form::Large(large) => Sorted::Large(large.clone()),
        })
    }

    /// Removes members that were just read, all of them different, writes the rest, and tells of it.
    pub(super) fn remove_all(
        mut self,
        ctx: &mut Context<'_>,
        members: &[Scored],
        event: &'static str,
    ) -> Done {
        if !members.is_empty() {
            ctx.notify(Class::ZSet, event, self.edit.key());
        }
        if !members.is_empty() && members.len() as u64 >= self.edit.count() {
            let (key, old) = (self.edit.key(), self.edit.old);
            ctx.delete(key, old);
            return Ok(());
        }
        for scored in members {
            self.prepare_score(ctx, scored.score, &scored.member)?;
        }
        self.edit.assume_present(members.len());
        for (number, scored) in members.iter().enumerate() {
            self.remove(ctx, number, &scored.member, scored.score);
        }
        self.finish(ctx);
        Ok(())
    }
}

/// Makes members, all of them different, the new value of a latched key; none remove it. Tells of it by this event.
pub(super) fn replace(
    ctx: &mut Context<'_>,
    key: &[u8],
    members: &[Scored],
    event: Option<&'static str>,
) -> Result<(), Stop> {
    let mut edit = SortedEdit::open_new(ctx, key)?;
    if members.is_empty() {
        let old = edit.edit.old;
        ctx.delete(key, old);
        return Ok(());
    }
    for (number, scored) in members.iter().enumerate() {
        edit.set(ctx, number, &scored.member, None, scored.score);
    }
    edit.finish(ctx);
    if let Some(event) = event {
        ctx.notify(Class::ZSet, event, key);
    }
    Ok(())
}
