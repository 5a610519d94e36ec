//! All sessions of one worker, found by the ids that its transports gave their connections.

use super::session::{Session, SessionKey};

/// Slots that are allocated together: growing never moves a session, and finding one costs a look
/// at a short list that stays in the cache.
const CHUNK: usize = 64;

/// One slot for each connection index of each transport. Memory is what the most connections at one
/// time needed, as in the transport's own table.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_transport: Vec<Vec<Box<[Option<Session>]>>>,
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
        let chunks = self.by_transport.get_mut(transport).expect("a transport of this worker");
        let index = conn.index as usize;
        while chunks.len() <= index / CHUNK {
            chunks.push((0..CHUNK).map(|_| None).collect());
        }
        let previous = chunks[index / CHUNK][index % CHUNK].replace(session);
        assert!(previous.is_none(), "a connection index is reused only after on_close");
        self.len += 1;
    }

    /// Lets the CPU fetch the session, without waiting for it.
    pub(crate) fn prefetch(&self, key: SessionKey) {
        let index = key.conn.index as usize;
        let chunks = self.by_transport.get(key.transport);
        let chunk = chunks.and_then(|chunks| chunks.get(index / CHUNK));
        if let Some(slot) = chunk.and_then(|chunk| chunk.get(index % CHUNK)) {
            coney_base::prefetch(slot);
        }
    }

    fn slot_mut(&mut self, key: SessionKey) -> Option<&mut Option<Session>> {
        let index = key.conn.index as usize;
        let chunks = self.by_transport.get_mut(key.transport)?;
        chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    /// The session, unless the key is stale.
    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.slot_mut(key)?.as_mut().filter(|session| session.key == key)
    }

    /// Takes a session out.
    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        self.get_mut(key)?;
        self.len -= 1;
        self.slot_mut(key)?.take()
    }

    /// All sessions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        let chunks = self.by_transport.iter().flatten();
        chunks.flat_map(|chunk| chunk.iter()).filter_map(Option::as_ref)
    }

    /// The keys of all sessions for which `wanted` holds.
    pub(crate) fn keys_where(&self, wanted: impl Fn(&Session) -> bool) -> Vec<SessionKey> {
        self.iter().filter(|session| wanted(session)).map(|session| session.key).collect()
    }
}
