//! Rows of the bitmap commands.

use crate::command::bitmap;
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("bitcount", AtLeast(2), Group::Bitmap, "2.6.0", Handler::Fast(bitmap::bit_count))
        .flags(&[Flags::READONLY], &[Categories::BITMAP])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N)", "Counts the number of set bits (population counting) in a string."),
    CommandSpec::new("bitfield", AtLeast(2), Group::Bitmap, "3.2.0", Handler::Fast(bitmap::field::bit_field))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::BITMAP])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update", "variable_flags"]).noted("This command allows both access and modification of the key")])
        .docs("O(1) for each subcommand specified; a change writes the value as a whole.", "Performs arbitrary bitfield integer operations on strings."),
    CommandSpec::new("bitfield_ro", AtLeast(2), Group::Bitmap, "6.0.0", Handler::Fast(bitmap::field::bit_field_ro))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::BITMAP])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(1) for each subcommand specified", "Performs arbitrary read-only bitfield integer operations on strings."),
    CommandSpec::new("bitop", AtLeast(4), Group::Bitmap, "2.6.0", Handler::Fast(bitmap::operation::bit_op))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::BITMAP])
        .keys(&[KeySpec::new(2, 0, 1, &["OW", "update"]), KeySpec::new(3, -1, 1, &["RO", "access"])])
        .docs("O(N)", "Performs bitwise operations on multiple strings, and stores the result."),
    CommandSpec::new("bitpos", AtLeast(3), Group::Bitmap, "2.8.7", Handler::Fast(bitmap::bit_pos))
        .flags(&[Flags::READONLY], &[Categories::BITMAP])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N)", "Finds the first set (1) or clear (0) bit in a string."),
    CommandSpec::new("getbit", Exactly(3), Group::Bitmap, "2.2.0", Handler::Fast(bitmap::get_bit))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::BITMAP])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(1)", "Returns a bit value by offset."),
    CommandSpec::new("setbit", Exactly(4), Group::Bitmap, "2.2.0", Handler::Fast(bitmap::set_bit))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::BITMAP])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "update"])])
        .docs("O(N) where N is the length of the value, which is written as a whole.", "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist."),
];
