//! The session table: which requests of which session have had their effect, and in which entry.
//!
//! It is a pure function of the journal: every change is made by applying an entry. It is in the checkpoint, and a
//! state hash of its own covers it. What is under way is not here, but in [`crate::engine`].

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Request numbers that are remembered below (and with) a session's highest.
pub const REMEMBERED: u64 = 64;
const REMEMBERED_ROWS: usize = 64;

/// A session's id, chosen at random by its client.
pub type SessionId = [u8; 16];

/// A request that has had its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Used {
    /// Its number within the session.
    pub request: u64,
    /// The entry of the journal that it became.
    pub entry: u64,
    /// XXH3-64 of its rows, with the operation's number as seed: the same number with other rows is a mistake.
    pub fingerprint: u64,
}

/// What the table says about a request number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The session is not known (any more).
    UnknownSession,
    /// Never used.
    New,
    /// Used; its reply can be had again.
    Used(Used),
    /// So far behind the highest that nothing is remembered of it.
    TooOld,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who opened it.
    pub principal: [u8; 16],
    /// The entry that opened it.
    pub opened: u64,
    /// The highest request number with an effect, 0 if none.
    pub highest: u64,
    /// The newest entry that is its own: the session whose newest is the oldest makes room for others.
    newest: u64,
    /// Of the 64 numbers up to `highest` those used, by number.
    used: Vec<Used>,
}

/// The header of a session in its serial form; `used` rows follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SessionRow {
    id: [u8; 16],
    principal: [u8; 16],
    opened: u64,
    highest: u64,
    newest: u64,
    used: u64,
}

/// Bytes that are not a session table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
    /// Ids by newest entry, which no two sessions share.
    by_newest: BTreeMap<u64, SessionId>,
}

impl Sessions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The session with this id.
    #[must_use]
    pub fn get(&self, id: &SessionId) -> Option<&Session> {
        self.by_id.get(id)
    }

    /// What became of a request.
    #[must_use]
    pub fn standing(&self, id: &SessionId, request: u64) -> Standing {
        let Some(session) = self.by_id.get(id) else { return Standing::UnknownSession };
        match session.used.binary_search_by_key(&request, |used| used.request) {
            Ok(index) => Standing::Used(session.used[index]),
            Err(_) if session.highest >= REMEMBERED && request <= session.highest - REMEMBERED => Standing::TooOld,
            Err(_) => Standing::New,
        }
    }

    /// Entry `entry` opens a session; one that exists is left as it is. Beyond `sessions_max` the one unused longest
    /// makes room.
    pub fn open(&mut self, id: SessionId, principal: [u8; 16], entry: u64, sessions_max: u32) {
        if self.by_id.contains_key(&id) {
            return;
        }
        self.by_id.insert(id, Session { principal, opened: entry, highest: 0, newest: entry, used: Vec::new() });
        self.by_newest.insert(entry, id);
        self.shrink(sessions_max);
    }

    /// Lets the sessions unused longest go until there are at most `sessions_max`.
    pub fn shrink(&mut self, sessions_max: u32) {
        while self.by_id.len() > sessions_max as usize {
            let Some((_, oldest)) = self.by_newest.pop_first() else { return };
            self.by_id.remove(&oldest);
        }
    }

    /// A request has had its effect. Nothing is remembered of a session that is gone.
    pub fn record(&mut self, id: &SessionId, used: Used) {
        let Some(session) = self.by_id.get_mut(id) else { return };
        self.by_newest.remove(&session.newest);
        self.by_newest.insert(used.entry, *id);
        session.newest = used.entry;
        session.highest = session.highest.max(used.request);
        let Err(index) = session.used.binary_search_by_key(&used.request, |used| used.request) else { return };
        session.used.insert(index, used);
        let lowest = session.highest.saturating_sub(REMEMBERED - 1);
        let forgotten = session.used.partition_point(|used| used.request < lowest);
        session.used.drain(..forgotten);
    }

    /// Appends the table in its one serial form: by id, each with its used requests by number.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (id, session) in &self.by_id {
            let row = SessionRow {
                id: *id,
                principal: session.principal,
                opened: session.opened,
                highest: session.highest,
                newest: session.newest,
                used: session.used.len() as u64,
            };
            out.extend_from_slice(row.as_bytes());
            out.extend_from_slice(session.used.as_bytes());
        }
    }

    /// Reads the serial form.
    ///
    /// # Errors
    /// [`Damaged`] if it is none.
    pub fn read(mut bytes: &[u8]) -> Result<Self, Damaged> {
        let mut sessions = Self::default();
        while !bytes.is_empty() {
            let (row, rest) = SessionRow::read_from_prefix(bytes).map_err(|_| Damaged)?;
            let count = usize::try_from(row.used).ok().filter(|&count| count <= REMEMBERED_ROWS).ok_or(Damaged)?;
            let (used, rest) = rest.split_at_checked(count * size_of::<Used>()).ok_or(Damaged)?;
            let used = used.chunks_exact(size_of::<Used>()).map(|row| Used::read_from_bytes(row).map_err(|_| Damaged));
            let session = Session {
                principal: row.principal,
                opened: row.opened,
                highest: row.highest,
                newest: row.newest,
                used: used.collect::<Result<_, _>>()?,
            };
            bytes = rest;
            let new = sessions.by_newest.insert(session.newest, row.id).is_none();
            if !new || sessions.by_id.insert(row.id, session).is_some() {
                return Err(Damaged);
            }
        }
        Ok(sessions)
    }

    /// SHA-256 of the serial form.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        Sha256::digest(&bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: SessionId = [1; 16];
    const BOB: SessionId = [2; 16];
    const CAROL: SessionId = [3; 16];

    fn used(request: u64, entry: u64) -> Used {
        Used { request, entry, fingerprint: request * 1_000 }
    }

    #[test]
    fn a_request_is_new_then_used_then_too_old() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.standing(&ALICE, 1), Standing::UnknownSession);
        sessions.open(ALICE, [9; 16], 1, 10);
        assert_eq!(sessions.standing(&ALICE, 1), Standing::New);
        sessions.record(&ALICE, used(1, 2));
        assert_eq!(sessions.standing(&ALICE, 1), Standing::Used(used(1, 2)));
        sessions.record(&ALICE, used(64, 3));
        assert_eq!(sessions.standing(&ALICE, 1), Standing::Used(used(1, 2)), "63 behind the highest");
        sessions.record(&ALICE, used(65, 4));
        assert_eq!(sessions.standing(&ALICE, 1), Standing::TooOld, "64 behind the highest");
        assert_eq!(sessions.standing(&ALICE, 2), Standing::New, "a gap can still be filled");
        sessions.record(&ALICE, used(2, 5));
        assert_eq!(sessions.standing(&ALICE, 2), Standing::Used(used(2, 5)));
        assert_eq!(sessions.get(&ALICE).map(|session| session.highest), Some(65));
    }

    #[test]
    fn the_session_unused_longest_makes_room() {
        let mut sessions = Sessions::default();
        sessions.open(ALICE, [9; 16], 1, 2);
        sessions.open(BOB, [9; 16], 2, 2);
        sessions.record(&ALICE, used(1, 3));
        sessions.open(CAROL, [9; 16], 4, 2);
        assert_eq!(sessions.standing(&BOB, 1), Standing::UnknownSession);
        assert_eq!(sessions.standing(&ALICE, 1), Standing::Used(used(1, 3)));
        sessions.record(&BOB, used(1, 5));
        assert_eq!(sessions.len(), 2, "an entry of a session that is gone leaves no trace");
    }

    #[test]
    fn the_serial_form_reads_back_and_refuses_damage() {
        let mut sessions = Sessions::default();
        sessions.open(BOB, [8; 16], 1, 10);
        sessions.open(ALICE, [9; 16], 2, 10);
        for request in 1..=100 {
            sessions.record(&BOB, used(request, request + 2));
        }
        let mut bytes = Vec::new();
        sessions.write(&mut bytes);
        assert_eq!(Sessions::read(&bytes).as_ref(), Ok(&sessions));
        assert_eq!(Sessions::read(&bytes[..bytes.len() - 1]), Err(Damaged));
        let doubled = [bytes.clone(), bytes].concat();
        assert_eq!(Sessions::read(&doubled), Err(Damaged));
    }
}
