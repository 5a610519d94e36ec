//! All sessions of one worker, found by the ids that its transports gave their connections.

use super::session::{Session, SessionKey};

/// One slot for each connection index of each transport.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_transport: Vec<Vec<Option<Box<Session>>>>,
    len: usize,
}

impl Sessions {
    /// Room for the sessions of `transports` transports.
    pub(crate) fn new(transports: usize) -> Self {
        Self { by_transport: (0..transports).map(|_| Vec::new()).collect(), len: 0 }
    }

    /// Sessions that exist now.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a session.
    ///
    /// # Panics
    /// If its transport does not exist, or if the slot is taken: a transport reuses a connection
    /// index only after `on_close`.
    pub(crate) fn insert(&mut self, session: Session) {
        let SessionKey { transport, conn } = session.key;
        let slots = self.by_transport.get_mut(transport).expect("a transport of this worker");
        let index = conn.index as usize;
        if slots.len() <= index {
            slots.resize_with(index + 1, || None);
        }
        let previous = slots[index].replace(Box::new(session));
        assert!(previous.is_none(), "a connection index is reused only after on_close");
        self.len += 1;
    }

    /// The session, unless the key is stale.
    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        let slot = self.by_transport.get_mut(key.transport)?.get_mut(key.conn.index as usize)?;
        slot.as_deref_mut().filter(|session| session.key == key)
    }

    /// Takes a session out.
    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Box<Session>> {
        self.get_mut(key)?;
        let slot = self.by_transport.get_mut(key.transport)?.get_mut(key.conn.index as usize)?;
        self.len -= 1;
        slot.take()
    }

    /// All sessions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_transport.iter().flatten().filter_map(Option::as_deref)
    }

    /// The keys of all sessions for which `wanted` holds.
    pub(crate) fn keys_where(&self, wanted: impl Fn(&Session) -> bool) -> Vec<SessionKey> {
        self.iter().filter(|session| wanted(session)).map(|session| session.key).collect()
    }
}
