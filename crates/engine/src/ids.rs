//! Ids that are made from something: `spec/protocol.md` section 8.

use sha2::{Digest, Sha256};

/// SHA-256 over length-prefixed (u32) strings.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        let length = u32::try_from(part.len()).expect("a part of at most 4 GiB");
        hash.update(length.to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The id that an idempotency key gives to a row of its request, the same on every retry.
#[must_use]
pub fn from_key(book: &[u8; 16], principal: &[u8], key: &[u8], row: u32) -> u128 {
    let mut digest = hash(&[b"qenex-id-v1", book, principal, key, &row.to_le_bytes()]);
    loop {
        let (first, _) = digest.split_first_chunk::<16>().expect("a hash has 32 bytes");
        match u128::from_le_bytes(*first) {
            0 | u128::MAX => digest = Sha256::digest(digest).into(),
            id => return id,
        }
    }
}

/// The high half of the ids that are the engine's own, in one journal of a book.
#[must_use]
pub fn reserved_high(book: &[u8; 16], journal: u32) -> u64 {
    let digest = hash(&[b"qenex-system-v1", book, &journal.to_le_bytes()]);
    let (first, _) = digest.split_first_chunk::<8>().expect("a hash has 32 bytes");
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_key_matters() {
        let id = from_key(&[1; 16], b"owner", b"key", 0);
        assert_eq!(id, from_key(&[1; 16], b"owner", b"key", 0));
        let others = [
            from_key(&[2; 16], b"owner", b"key", 0),
            from_key(&[1; 16], b"ownerk", b"ey", 0),
            from_key(&[1; 16], b"owner", b"keys", 0),
            from_key(&[1; 16], b"owner", b"key", 1),
        ];
        assert!(!others.contains(&id));
        assert_ne!(reserved_high(&[1; 16], 1), reserved_high(&[1; 16], 2));
    }
}
