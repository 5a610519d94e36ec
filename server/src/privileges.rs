//! Giving privileges up after the set-up.
//!
//! What needs them is done first: listening on low ports, AF_XDP sockets, loading and attaching the XDP
//! program. Then the process becomes the user of the settings. Two threads keep one capability each:
//! access lists are maps that only CAP_BPF can make, and asking the kernel for a neighbour's hardware
//! address takes CAP_NET_ADMIN. All other threads, and whatever they start, have none.
//!
//! Credentials belong to threads on Linux, and new threads inherit them: everything here must happen
//! while there is only one.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Why privileges cannot be given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegesError {
    /// No such user.
    #[error("user {0:?}: there is no such user in {PASSWD}, and it is no number")]
    NoUser(String),
    /// No such group.
    #[error("group {0:?}: there is no such group in {GROUP}, and it is no number")]
    NoGroup(String),
    /// A number that no entry has.
    #[error("user {0} has no entry in {PASSWD}: name its group with the setting `group`, too")]
    GroupNeeded(String),
    /// `group` alone.
    #[error("group {0:?} is set, but no user")]
    UserNeeded(String),
    /// Not root.
    #[error("only root can become user {user}: {source}")]
    Refused { user: String, source: Errno },
    /// Other threads would keep the old credentials.
    #[error("with datapath dpdk the server cannot become another user: start it as that user")]
    Threads,
    /// The data directory cannot be made for the user.
    #[error("the data directory {} cannot be made: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    /// The kernel does not take less privileges.
    #[error("privileges cannot be given up: {0}")]
    Capabilities(#[from] Errno),
}

/// Whom the process becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    name: String,
    uid: u32,
    gid: u32,
    /// All groups, `gid` among them.
    groups: Vec<u32>,
}

impl User {
    /// The user and group of the settings, by names or numbers; `None` if none is named.
    ///
    /// # Errors
    /// [`PrivilegesError`].
    pub(crate) fn find(user: &str, group: &str) -> Result<Option<Self>, PrivilegesError> {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::find_in(&read(PASSWD), &read(GROUP), user, group)
    }

    fn find_in(
        passwd: &str,
        groups: &str,
        user: &str,
        group: &str,
    ) -> Result<Option<Self>, PrivilegesError> {
        if user.is_empty() {
            return match group {
                "" => Ok(None),
                group => Err(PrivilegesError::UserNeeded(group.to_owned())),
            };
        }
        // passwd(5): name, password, user, group, ...; group(5): name, password, group, members.
        let entry = entries(passwd)
            .find(|fields| field(fields, 0) == user)
            .or_else(|| entries(passwd).find(|fields| field(fields, 2) == user));
        let uid = match &entry {
            Some(fields) => number(field(fields, 2)),
            None => number(user),
        };
        let uid = uid.ok_or_else(|| PrivilegesError::NoUser(user.to_owned()))?;
        let name = entry.as_ref().map_or(user, |fields| field(fields, 0));
        let gid = if group.is_empty() {
            let own = entry.as_ref().and_then(|fields| number(field(fields, 3)));
            own.ok_or_else(|| PrivilegesError::GroupNeeded(user.to_owned()))?
        } else {
            entries(groups)
                .find(|fields| field(fields, 0) == group)
                .map_or_else(|| number(group), |fields| number(field(&fields, 2)))
                .ok_or_else(|| PrivilegesError::NoGroup(group.to_owned()))?
        };
        let mut all = vec![gid];
        for fields in
            entries(groups).filter(|fields| field(fields, 3).split(',').any(|m| m == name))
        {
            all.extend(number(field(&fields, 2)).filter(|one| *one != gid));
        }
        Ok(Some(Self { name: name.to_owned(), uid, gid, groups: all }))
    }

    /// Makes a missing data directory theirs.
    ///
    /// # Errors
    /// [`PrivilegesError::Directory`].
    pub(crate) fn make_directory(&self, path: &Path) -> Result<(), PrivilegesError> {
        if path.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(path)
            .and_then(|()| std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)))
            .map_err(|source| PrivilegesError::Directory { path: path.to_owned(), source })
    }

    /// Makes this process, which has one thread, theirs. It keeps its capabilities: see [`keep`].
    ///
    /// # Errors
    /// [`PrivilegesError`].
    pub(crate) fn become_it(&self) -> Result<(), PrivilegesError> {
        if geteuid().as_raw() == self.uid {
            return Ok(());
        }
        if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
            return Err(PrivilegesError::Threads);
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        set_keep_capabilities(true)
            .and_then(|()| set_thread_groups(&groups))
            .and_then(|()| set_thread_res_gid(gid, gid, gid))
            .and_then(|()| set_thread_res_uid(uid, uid, uid))
            .and_then(|()| set_keep_capabilities(false))
            .map_err(|source| PrivilegesError::Refused { user: self.name.clone(), source })
    }
}

/// What the thread that steers frames needs.
pub(crate) const STEERING: CapabilitySet = CapabilitySet::BPF;
/// What the thread that finds next hops needs.
pub(crate) const NEXT_HOPS: CapabilitySet = CapabilitySet::NET_ADMIN;
/// What all others need.
pub(crate) const NONE: CapabilitySet = CapabilitySet::empty();

/// Takes all capabilities from the calling thread and those that it starts, but these as far as it has
/// them; and no program that they execute gets any back. A process of root keeps what it has: files
/// of other users may be among its data.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn keep(wanted: CapabilitySet) -> Result<(), PrivilegesError> {
    if geteuid().is_root() {
        return Ok(());
    }
    let permitted = capabilities(None)?.permitted & wanted;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable })?;
    set_no_new_privs(true)?;
    Ok(())
}

fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn field<'a>(fields: &[&'a str], at: usize) -> &'a str {
    fields.get(at).copied().unwrap_or_default()
}

/// An id. The largest number means none to the kernel.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nconey:x:77:88::/:/bin/false\nbroken\n";
    const GROUPS: &str = "root:x:0:\nconey:x:88:\ndisk:x:6:root,coney\nspecial:x:99:coney\n";

    fn find(user: &str, group: &str) -> Result<Option<(u32, Vec<u32>)>, String> {
        User::find_in(USERS, GROUPS, user, group)
            .map(|user| user.map(|user| (user.uid, user.groups)))
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        assert_eq!(find("", ""), Ok(None));
        let own = Ok(Some((77, vec![88, 6, 99])));
        assert_eq!(find("coney", ""), own);
        assert_eq!(find("77", ""), own, "the same user");
        assert_eq!(find("coney", "special"), Ok(Some((77, vec![99, 6]))));
        assert_eq!(find("coney", "1234"), Ok(Some((77, vec![1234, 6, 99]))));
        assert_eq!(find("500", "1234"), Ok(Some((500, vec![1234]))));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (user, group, word) in [
            ("nobody", "", "no such user"),
            ("broken", "", "no such user"),
            ("4294967295", "1", "no such user"),
            ("500", "", "name its group"),
            ("coney", "none", "no such group"),
            ("", "coney", "no user"),
        ] {
            let problem = find(user, group).unwrap_err();
            assert!(problem.contains(word), "{user}, {group}: {problem}");
        }
    }
}
