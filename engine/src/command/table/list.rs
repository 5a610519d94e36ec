//! Rows of the list commands.

use crate::command::list;
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, CommandSpec, Flags, Group, Handler, KeySpec};

pub(super) const ROWS: &[CommandSpec] = &[
    CommandSpec::new("blmove", Exactly(6), Group::List, "6.2.0", Handler::Fast(list::blmove))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::NOSCRIPT, Flags::BLOCKING], &[Categories::LIST, Categories::BLOCKING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"]), KeySpec::new(2, 0, 1, &["RW", "insert"])])
        .docs("O(1)", "Pops an element from a list, pushes it to another list and returns it. Blocks until an element is available otherwise. Deletes the list if the last element was moved."),
    CommandSpec::new("blmpop", AtLeast(5), Group::List, "7.0.0", Handler::Fast(list::blmpop))
        .flags(&[Flags::WRITE, Flags::BLOCKING], &[Categories::LIST, Categories::BLOCKING])
        .keys(&[KeySpec::counted(2, 1, &["RW", "access", "delete"])])
        .docs("O(N+M) where N is the number of provided keys and M is the number of elements returned.", "Pops the first element from one of multiple lists. Blocks until an element is available otherwise. Deletes the list if the last element was popped."),
    CommandSpec::new("blpop", AtLeast(3), Group::List, "2.0.0", Handler::Fast(list::blpop))
        .flags(&[Flags::WRITE, Flags::NOSCRIPT, Flags::BLOCKING], &[Categories::LIST, Categories::BLOCKING])
        .keys(&[KeySpec::new(1, -2, 1, &["RW", "access", "delete"])])
        .docs("O(N) where N is the number of provided keys.", "Removes and returns the first element in a list. Blocks until an element is available otherwise. Deletes the list if the last element was popped."),
    CommandSpec::new("brpop", AtLeast(3), Group::List, "2.0.0", Handler::Fast(list::brpop))
        .flags(&[Flags::WRITE, Flags::NOSCRIPT, Flags::BLOCKING], &[Categories::LIST, Categories::BLOCKING])
        .keys(&[KeySpec::new(1, -2, 1, &["RW", "access", "delete"])])
        .docs("O(N) where N is the number of provided keys.", "Removes and returns the last element in a list. Blocks until an element is available otherwise. Deletes the list if the last element was popped."),
    CommandSpec::new("brpoplpush", Exactly(4), Group::List, "2.2.0", Handler::Fast(list::brpoplpush))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::NOSCRIPT, Flags::BLOCKING], &[Categories::LIST, Categories::BLOCKING])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"]), KeySpec::new(2, 0, 1, &["RW", "insert"])])
        .docs("O(1)", "Pops an element from a list, pushes it to another list and returns it. Block until an element is available otherwise. Deletes the list if the last element was popped.")
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    CommandSpec::new("lindex", Exactly(3), Group::List, "1.0.0", Handler::Fast(list::lindex))
        .flags(&[Flags::READONLY], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).", "Returns an element from a list by its index."),
    CommandSpec::new("linsert", Exactly(5), Group::List, "2.2.0", Handler::Fast(list::linsert))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).", "Inserts an element before or after another element in a list."),
    CommandSpec::new("llen", Exactly(2), Group::List, "1.0.0", Handler::Fast(list::llen))
        .flags(&[Flags::READONLY, Flags::FAST], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RO"])])
        .docs("O(1)", "Returns the length of a list."),
    CommandSpec::new("lmove", Exactly(5), Group::List, "6.2.0", Handler::Fast(list::lmove))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"]), KeySpec::new(2, 0, 1, &["RW", "insert"])])
        .docs("O(1)", "Returns an element after popping it from one list and pushing it to another. Deletes the list if the last element was moved."),
    CommandSpec::new("lmpop", AtLeast(4), Group::List, "7.0.0", Handler::Fast(list::lmpop))
        .flags(&[Flags::WRITE], &[Categories::LIST])
        .keys(&[KeySpec::counted(1, 1, &["RW", "access", "delete"])])
        .docs("O(N+M) where N is the number of provided keys and M is the number of elements returned.", "Returns multiple elements from a list after removing them. Deletes the list if the last element was popped."),
    CommandSpec::new("lpop", AtLeast(2), Group::List, "1.0.0", Handler::Fast(list::lpop))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"])])
        .docs("O(N) where N is the number of elements returned", "Returns the first elements in a list after removing it. Deletes the list if the last element was popped."),
    CommandSpec::new("lpos", AtLeast(3), Group::List, "6.0.6", Handler::Fast(list::lpos))
        .flags(&[Flags::READONLY], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.", "Returns the index of matching elements in a list."),
    CommandSpec::new("lpush", AtLeast(3), Group::List, "1.0.0", Handler::Fast(list::lpush))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Prepends one or more elements to a list. Creates the key if it doesn't exist."),
    CommandSpec::new("lpushx", AtLeast(3), Group::List, "2.2.0", Handler::Fast(list::lpushx))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Prepends one or more elements to a list only when the list exists."),
    CommandSpec::new("lrange", Exactly(4), Group::List, "1.0.0", Handler::Fast(list::lrange))
        .flags(&[Flags::READONLY], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RO", "access"])])
        .docs("O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.", "Returns a range of elements from a list."),
    CommandSpec::new("lrem", Exactly(4), Group::List, "1.0.0", Handler::Fast(list::lrem))
        .flags(&[Flags::WRITE], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(N+M) where N is the length of the list and M is the number of elements removed.", "Removes elements from a list. Deletes the list if the last element was removed."),
    CommandSpec::new("lset", Exactly(4), Group::List, "1.0.0", Handler::Fast(list::lset))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "update"])])
        .docs("O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).", "Sets the value of an element in a list by its index."),
    CommandSpec::new("ltrim", Exactly(4), Group::List, "1.0.0", Handler::Fast(list::ltrim))
        .flags(&[Flags::WRITE], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "delete"])])
        .docs("O(N) where N is the number of elements to be removed by the operation.", "Removes elements from both ends a list. Deletes the list if all elements were trimmed."),
    CommandSpec::new("rpop", AtLeast(2), Group::List, "1.0.0", Handler::Fast(list::rpop))
        .flags(&[Flags::WRITE, Flags::FAST], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"])])
        .docs("O(N) where N is the number of elements returned", "Returns and removes the last elements of a list. Deletes the list if the last element was popped."),
    CommandSpec::new("rpoplpush", Exactly(3), Group::List, "1.2.0", Handler::Fast(list::rpoplpush))
        .flags(&[Flags::WRITE, Flags::DENYOOM], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "access", "delete"]), KeySpec::new(2, 0, 1, &["RW", "insert"])])
        .docs("O(1)", "Returns the last element of a list after removing and pushing it to another list. Deletes the list if the last element was popped.")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    CommandSpec::new("rpush", AtLeast(3), Group::List, "1.0.0", Handler::Fast(list::rpush))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Appends one or more elements to a list. Creates the key if it doesn't exist."),
    CommandSpec::new("rpushx", AtLeast(3), Group::List, "2.2.0", Handler::Fast(list::rpushx))
        .flags(&[Flags::WRITE, Flags::DENYOOM, Flags::FAST], &[Categories::LIST])
        .keys(&[KeySpec::new(1, 0, 1, &["RW", "insert"])])
        .docs("O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Appends an element to a list only when the list exists."),
];
