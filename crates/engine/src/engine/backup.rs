//! Backups while the engine works: another thread copies the journal, which only grows, up to where it is durable.

use qenex_journal::disk::Disk;
use qenex_journal::log::Tip;

use super::write::{Refusal, Request};
use super::{Action, ConnectionId, Engine, Taken};
use crate::frame::{ErrorCode, Frame, Header, PATH_MAX};

/// A copy of the book to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupJob {
    /// The folder to copy to, absolute; it must be empty or not be there.
    pub folder: String,
    /// The last group to copy.
    pub tip: Tip,
}

/// Who waits for the backup that is under way.
#[derive(Debug)]
pub(super) struct Waiting {
    connection: ConnectionId,
    request: Header,
    reply: Header,
}

impl<D: Disk> Engine<D> {
    pub(super) fn backup(
        &mut self,
        request: &Request<'_>,
        reply: Header,
        actions: &mut Vec<Action>,
    ) -> Result<Taken, Refusal> {
        let failed = |text: String| (ErrorCode::Failed, text);
        let folder = core::str::from_utf8(request.rows).map_err(|_| failed("the path is not UTF-8".to_owned()))?;
        if folder.len() > PATH_MAX {
            return Err(failed(format!("the path has {} bytes, {PATH_MAX} are allowed at most", folder.len())));
        }
        if !folder.starts_with('/') || folder.contains('\0') {
            let text = format!("{folder}: is no absolute path on the engine's machine");
            return Err((ErrorCode::BackupUnusable, text));
        }
        if self.backup.is_some() {
            return Err(failed("a backup is under way; one at a time".to_owned()));
        }
        self.backup = Some(Waiting { connection: request.connection, request: *request.header, reply });
        let job = BackupJob { folder: folder.to_owned(), tip: *self.pipeline.tip() };
        actions.push(Action::Backup(job));
        Ok(Taken::Yes)
    }

    /// The backup is there, and has this path; or it is not, for this reason.
    pub(super) fn backed_up(&mut self, result: Result<String, Refusal>, actions: &mut Vec<Action>) {
        let Some(Waiting { connection, request, reply }) = self.backup.take() else { return };
        match result {
            Ok(folder) => {
                let frame = Frame::copied(reply, folder.as_bytes());
                actions.push(Action::Send { connection, frame });
            }
            Err((code, why)) => self.refuse(connection, &request, code, why, actions),
        }
    }
}
