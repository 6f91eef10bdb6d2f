//! What is said with the credential of the system: challenge and proof as with any book, then requests about books.

use qenex_kernel::row::BATCH_MAX;
use zerocopy::IntoBytes;

use crate::credential::{Credential, Fingerprint, Nonces, Transcript, transcript};
use crate::engine::hello::{SERVER_NAME, unauthenticated};
use crate::engine::write::{Refusal, check_shape};
use crate::frame::{
    ChallengeRow, ErrorCode, FRAME_MAX, Frame, Header, Kind, Operation, Role, SYSTEM_BOOK, VERSION, Welcome,
    WelcomeRow, read_proof,
};
use crate::limits::{Limits, RELEASE};

/// What is kept of a hello until its proof comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    trace: [u8; 16],
    book: [u8; 16],
    session: [u8; 16],
    transcript: Transcript,
    window_requests: u32,
    window_bytes: u32,
}

/// Knows the credential of the system.
pub(super) struct System {
    credential: Credential,
    nonces: Nonces,
    limits: Limits,
}

impl System {
    pub(super) const fn new(credential: Credential, nonce_key: [u8; 32], limits: Limits) -> Self {
        Self { credential, nonces: Nonces::new(nonce_key), limits }
    }

    /// Whether a hello names its credential.
    pub(super) fn is_meant(&self, fingerprint: &Fingerprint) -> bool {
        self.credential.fingerprint == *fingerprint
    }

    /// Proves that it knows the credential, and asks whether the client does. The hello was judged.
    pub(super) fn challenge(&mut self, header: &Header, body: &[u8], windows: (u32, u32)) -> (Asked, Frame) {
        let nonce = self.nonces.next();
        let transcript = transcript(header.as_bytes(), body, &nonce);
        let (window_requests, window_bytes) = self.limits.window(windows.0, windows.1);
        let Header { trace, book, session, .. } = *header;
        let row = ChallengeRow { nonce, proof: self.credential.proof(&transcript) };
        let asked = Asked { trace, book, session, transcript, window_requests, window_bytes };
        (asked, Frame::copied(Header::of(Kind::Challenge), row.as_bytes()))
    }

    /// The welcome, if the proof is right.
    pub(super) fn welcome(&self, asked: &Asked, header: &Header, body: &[u8]) -> Result<Frame, Refusal> {
        if !header.matches(body) {
            return Err((ErrorCode::MalformedFrame, "body_checksum is not that of the body".to_owned()));
        }
        let proof = read_proof(body).map_err(|defect| (defect.code(), defect.to_string()))?;
        if !self.credential.is_proven(&asked.transcript, &proof) {
            return Err(unauthenticated());
        }
        if asked.book != SYSTEM_BOOK {
            return Err((ErrorCode::WrongBook, "the credential is the system's, whose book is zeros".to_owned()));
        }
        if asked.session != [0; 16] {
            let text = "nothing said to the system needs a session: use one of zeros".to_owned();
            return Err((ErrorCode::Forbidden, text));
        }
        let row = WelcomeRow {
            version: VERSION,
            window_requests: asked.window_requests,
            window_bytes: asked.window_bytes,
            frame_max: u32::try_from(FRAME_MAX).expect("about a million"),
            batch_max: u32::try_from(BATCH_MAX).expect("8,189"),
            release: RELEASE,
            ..WelcomeRow::default()
        };
        let mut body = Vec::new();
        Welcome { row, name: SERVER_NAME }.write(&mut body);
        let header = Header { trace: asked.trace, role: Role::Leader as u8, ..Header::of(Kind::Welcome) };
        Ok(Frame::copied(header, &body))
    }
}

/// What is wanted, if it can be wanted: the operation and its rows.
pub(super) fn judge_request<'a>(header: &Header, body: &'a [u8]) -> Result<(Operation, &'a [u8]), Refusal> {
    if !header.matches(body) {
        return Err((ErrorCode::MalformedFrame, "body_checksum is not that of the body".to_owned()));
    }
    let (_, rows) = header.split(body).map_err(|defect| (defect.code(), defect.to_string()))?;
    if header.book != SYSTEM_BOOK {
        return Err((ErrorCode::WrongBook, "the credential of the system sees into no book".to_owned()));
    }
    if header.session != [0; 16] {
        return Err((ErrorCode::SessionExpired, "the connection has a session of zeros".to_owned()));
    }
    let operation = Operation::from_number(header.operation)
        .ok_or_else(|| (ErrorCode::UnknownOperation, format!("operation {} is not known", header.operation)))?;
    if !operation.is_of_system() {
        return Err((ErrorCode::Forbidden, format!("the credential of the system may not {}", operation.name())));
    }
    check_shape(operation, rows)?;
    Ok((operation, rows))
}

/// The frame that answers a request.
pub(super) fn reply(header: &Header, rows: &[u8]) -> Frame {
    let header = Header {
        operation: header.operation,
        request: header.request,
        trace: header.trace,
        role: Role::Leader as u8,
        ..Header::of(Kind::Reply)
    };
    Frame::copied(header, rows)
}
