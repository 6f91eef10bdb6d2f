//! Who may do what, and how both sides of a hello prove that they know a credential's secret without saying it:
//! `spec/protocol.md` section 3.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Bytes that name who acts, in sessions and in the journal.
pub type Principal = [u8; 16];

/// The principal of the owner's credential.
pub const OWNER: Principal = *b"owner\0\0\0\0\0\0\0\0\0\0\0";

/// Names a credential without giving it away: the first bytes of its secret's SHA-256.
pub type Fingerprint = [u8; 8];

/// What both sides have said, in 32 bytes: what a proof is of.
pub type Transcript = [u8; 32];

const CLIENT_KEY: &[u8] = b"qenex-client-key-v1";
const SERVER_KEY: &[u8] = b"qenex-server-key-v1";

/// A credential that opens the book. Whoever learns what stands here can pass for the server, but does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// How a client names it.
    pub fingerprint: Fingerprint,
    /// SHA-256 of the client's key.
    pub stored_key: [u8; 32],
    /// With which the server proves itself.
    pub server_key: [u8; 32],
    /// Whom it stands for.
    pub principal: Principal,
    /// Whether it may do more than read.
    pub may_write: bool,
}

impl Credential {
    /// The owner's, who may do everything.
    #[must_use]
    pub fn owner(secret: &[u8]) -> Self {
        let Keys { fingerprint, stored_key, server_key, .. } = Keys::of(secret);
        Self { fingerprint, stored_key, server_key, principal: OWNER, may_write: true }
    }

    /// Whether both are of one secret and stand for the same one.
    pub(crate) fn is_same_secret(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.fingerprint, one.stored_key, one.server_key, one.principal);
        of(self) == of(other)
    }

    /// The server's proof.
    #[must_use]
    pub fn proof(&self, transcript: &Transcript) -> [u8; 32] {
        keyed(&self.server_key, transcript)
    }

    /// Whether the client's proof could only be made with the secret. How long it takes says nothing of the keys.
    #[must_use]
    pub fn is_proven(&self, transcript: &Transcript, proof: &[u8; 32]) -> bool {
        let client_key = xor(proof, &keyed(&self.stored_key, transcript));
        are_equal(&Sha256::digest(client_key).into(), &self.stored_key)
    }
}

/// What a client makes of its secret.
#[derive(Clone, Debug)]
pub struct Keys {
    /// How it names the credential.
    pub fingerprint: Fingerprint,
    client_key: [u8; 32],
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Keys {
    /// Those of this secret.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        let client_key = keyed(secret, CLIENT_KEY);
        Self {
            fingerprint: *Sha256::digest(secret).first_chunk().expect("32 bytes"),
            client_key,
            stored_key: Sha256::digest(client_key).into(),
            server_key: keyed(secret, SERVER_KEY),
        }
    }

    /// The client's proof.
    #[must_use]
    pub fn proof(&self, transcript: &Transcript) -> [u8; 32] {
        xor(&self.client_key, &keyed(&self.stored_key, transcript))
    }

    /// Whether the server's proof could only be made by who knows the credential.
    #[must_use]
    pub fn is_proven(&self, transcript: &Transcript, proof: &[u8; 32]) -> bool {
        are_equal(&keyed(&self.server_key, transcript), proof)
    }
}

/// What was said: all of the hello's frame, and what the server answers that nobody knew before.
#[must_use]
pub fn transcript(header: &[u8], body: &[u8], nonce: &[u8; 32]) -> Transcript {
    Sha256::new().chain_update(header).chain_update(body).chain_update(nonce).finalize().into()
}

/// Numbers that are used once, and that nobody can tell beforehand.
#[derive(Debug)]
pub(crate) struct Nonces {
    key: [u8; 32],
    count: u64,
}

impl Nonces {
    /// Of a key that is random at every start.
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self { key, count: 0 }
    }

    pub(crate) fn next(&mut self) -> [u8; 32] {
        self.count += 1;
        keyed(&self.key, &self.count.to_le_bytes())
    }
}

/// HMAC-SHA-256.
fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    core::array::from_fn(|at| a[at] ^ b[at])
}

/// Compares all bytes, whatever the first ones are.
fn are_equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    core::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: Transcript = [3; 32];

    #[test]
    fn both_sides_prove_what_they_know() {
        let (credential, keys) = (Credential::owner(b"secret"), Keys::of(b"secret"));
        assert_eq!(credential.fingerprint, keys.fingerprint);
        assert!(credential.is_proven(&SAID, &keys.proof(&SAID)));
        assert!(keys.is_proven(&SAID, &credential.proof(&SAID)));
    }

    #[test]
    fn another_secret_another_transcript_or_another_side_proves_nothing() {
        let (credential, keys) = (Credential::owner(b"secret"), Keys::of(b"secret"));
        let (other_credential, other_keys) = (Credential::owner(b"secret "), Keys::of(b"secret "));
        for proof in [other_keys.proof(&SAID), keys.proof(&[4; 32]), credential.proof(&SAID), [0; 32]] {
            assert!(!credential.is_proven(&SAID, &proof));
        }
        for proof in [other_credential.proof(&SAID), credential.proof(&[4; 32]), keys.proof(&SAID), [0; 32]] {
            assert!(!keys.is_proven(&SAID, &proof));
        }
        // All that a server holds does not make a client's proof.
        let stored = Keys { client_key: credential.stored_key, ..keys };
        assert!(!credential.is_proven(&SAID, &stored.proof(&SAID)));
    }

    #[test]
    fn what_was_said_is_all_of_it() {
        let whole = transcript(b"head", b"body", &[1; 32]);
        for other in [
            transcript(b"hea", b"body", &[1; 32]),
            transcript(b"head", b"bodY", &[1; 32]),
            transcript(b"head", b"body", &[2; 32]),
        ] {
            assert_ne!(whole, other);
        }
    }

    #[test]
    fn no_nonce_comes_twice() {
        let mut nonces = Nonces::new([7; 32]);
        let some: std::collections::BTreeSet<_> = (0..1_000).map(|_| nonces.next()).collect();
        assert_eq!(some.len(), 1_000);
        assert!(!some.contains(&Nonces::new([8; 32]).next()));
    }
}
