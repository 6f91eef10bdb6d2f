//! Who may do what: credentials are known by their SHA-256 only.

use sha2::{Digest, Sha256};

/// Bytes that name who acts, in sessions and in the journal.
pub type Principal = [u8; 16];

/// The principal of the owner's credential.
pub const OWNER: Principal = *b"owner\0\0\0\0\0\0\0\0\0\0\0";

/// A credential that opens the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// Whom it stands for.
    pub principal: Principal,
    /// Whether it may do more than read.
    pub may_write: bool,
}

impl Credential {
    /// The owner's, who may do everything.
    #[must_use]
    pub fn owner(secret: &[u8]) -> Self {
        Self { hash: Sha256::digest(secret).into(), principal: OWNER, may_write: true }
    }

    /// The one of `known` that has this secret. How long it takes says nothing of the secret: hashes are compared, all
    /// of them, to their last byte.
    #[must_use]
    pub fn find(known: &[Self], secret: &[u8]) -> Option<Self> {
        let hash: [u8; 32] = Sha256::digest(secret).into();
        let mut found = None;
        for credential in known {
            let difference = hash.iter().zip(&credential.hash).fold(0, |all, (a, b)| all | (a ^ b));
            if core::hint::black_box(difference) == 0 {
                found = Some(*credential);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_is_found() {
        let reader = Credential { may_write: false, principal: [7; 16], ..Credential::owner(b"reader") };
        let known = [Credential::owner(b"secret"), reader];
        assert_eq!(Credential::find(&known, b"secret"), Some(known[0]));
        assert_eq!(Credential::find(&known, b"reader"), Some(reader));
        assert_eq!(Credential::find(&known, b"secret "), None);
        assert_eq!(Credential::find(&known, b""), None);
    }
}
