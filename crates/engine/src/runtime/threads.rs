//! The threads beside the core: one makes groups durable, one does what may take its time.

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use mio::Waker;
use qenex_journal::checkpoint::Writer;
use qenex_journal::derived::{Pages, PagesJob, SealJob, SealedSegment, SegmentError};
use qenex_journal::disk::{Disk, DiskError, FileDisk};
use qenex_journal::log::{Appended, Journal, JournalError, PrepareJob, Progress, Tip, backup};

use crate::engine::{BackupJob, CheckpointDone, CheckpointJob, Group};
use crate::error::EngineError;
use crate::frame::ErrorCode;

/// What a thread has done.
pub(super) enum Done<D: Disk> {
    /// A group, and where the journal ends now.
    Written(Group, Result<Tip, EngineError>),
    /// Whether there was space for the journal's next file.
    Prepared(Result<bool, EngineError>),
    /// A sealed segment, or none for lack of space.
    Sealed(Result<Option<Box<SealedSegment<D>>>, EngineError>),
    /// A step of a checkpoint.
    Checkpointed(Result<CheckpointDone, EngineError>),
    /// Memory.
    Pages(Pages),
    /// A backup: the folder, or why there is none.
    BackedUp(Result<String, (ErrorCode, String)>),
}

/// Something to do in the background.
pub(super) enum Job {
    /// Seal a segment.
    Seal(SealJob),
    /// A step of a checkpoint.
    Checkpoint(CheckpointJob),
    /// Copy the journal.
    Backup(BackupJob),
}

/// A journal that two threads write, never at the same time.
pub(super) type SharedJournal<D> = Arc<Mutex<Journal<D>>>;

/// Makes a group durable.
pub(super) fn append<D: Disk>(journal: &SharedJournal<D>, group: &mut Group) -> Result<Tip, EngineError> {
    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    let tip = *journal.tip();
    match journal.append(tip.number, &tip.hash, tip.epoch, group.builder_mut())? {
        Appended::Appended(tip) => Ok(tip),
        Appended::Fenced(epoch) => Err(EngineError::Fenced { epoch }),
        Appended::Unknown(error) => Err(EngineError::Sync(error)),
    }
}

/// Tells the core.
pub(super) struct Report<D: Disk> {
    sender: Sender<Done<D>>,
    waker: Arc<Waker>,
}

impl<D: Disk> Clone for Report<D> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<D: Disk> Report<D> {
    pub(super) const fn new(sender: Sender<Done<D>>, waker: Arc<Waker>) -> Self {
        Self { sender, waker }
    }

    fn done(&self, done: Done<D>) -> bool {
        self.sender.send(done).is_ok() && self.waker.wake().is_ok()
    }
}

/// A thread that takes work until its sender is dropped. It is started with its first work: a book that is only read needs
/// hardly any.
pub(crate) struct Worker<T> {
    name: &'static str,
    sender: Option<Sender<T>>,
    /// What the thread is to run, until it does.
    run: Cell<Option<Box<dyn FnOnce() + Send>>>,
    thread: Cell<Option<JoinHandle<()>>>,
}

impl<T: Send + 'static> Worker<T> {
    pub(crate) fn new(name: &'static str, mut work: impl FnMut(T) -> bool + Send + 'static) -> Self {
        let (sender, receiver): (Sender<T>, Receiver<T>) = channel();
        let run = move || while receiver.recv().is_ok_and(&mut work) {};
        Self { name, sender: Some(sender), run: Cell::new(Some(Box::new(run))), thread: Cell::new(None) }
    }

    /// Hands it something to do.
    pub(crate) fn give(&self, work: T) -> Result<(), EngineError> {
        if let Some(run) = self.run.take() {
            let thread = std::thread::Builder::new().name(self.name.to_owned()).spawn(run);
            let failed = |source| EngineError::io(format!("start the {} thread", self.name), source);
            self.thread.set(Some(thread.map_err(failed)?));
        }
        let given = self.sender.as_ref().is_some_and(|sender| sender.send(work).is_ok());
        if given { Ok(()) } else { Err(EngineError::Stopped("a thread of the engine has ended".to_owned())) }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook, and the core has noticed that the thread is gone.
            _ = thread.join();
        }
    }
}

/// The thread that makes groups durable.
pub(super) fn writer<D: Disk>(journal: SharedJournal<D>, report: Report<D>) -> Worker<Group> {
    Worker::new("writer", move |mut group: Group| {
        let result = append(&journal, &mut group);
        report.done(Done::Written(group, result))
    })
}

/// The thread that prepares the journal's files: writes wait for it, so it does nothing else.
pub(super) fn preparer<D: Disk>(report: Report<D>) -> Worker<PrepareJob<D>> {
    Worker::new("preparer", move |job| report.done(Done::Prepared(prepare(job))))
}

/// The thread that makes memory: transfers wait for it, so it does nothing else.
pub(super) fn page_maker<D: Disk>(report: Report<D>) -> Worker<PagesJob> {
    Worker::new("pages", move |job: PagesJob| report.done(Done::Pages(job.run())))
}

/// The thread that does what may take its time.
pub(super) fn background<D: Disk>(disk: D, report: Report<D>) -> Worker<Job> {
    let mut writer = None;
    Worker::new("background", move |job| match job {
        Job::Seal(job) => report.done(Done::Sealed(seal(job, &disk))),
        Job::Checkpoint(job) => report.done(Done::Checkpointed(checkpoint(job, &disk, &mut writer))),
        Job::Backup(job) => start_backup(job, disk.clone(), report.clone()),
    })
}

/// Takes a step of a checkpoint; `writer` holds its file from the first step to the last.
fn checkpoint<D: Disk>(
    job: CheckpointJob,
    disk: &D,
    writer: &mut Option<Writer<D>>,
) -> Result<CheckpointDone, EngineError> {
    let step = || match job {
        CheckpointJob::Begin(begun) => {
            *writer = Some(Writer::new(disk, *begun)?);
            Ok(CheckpointDone::Written)
        }
        // Without a writer the file was given up before.
        CheckpointJob::Accounts(rows) => writer
            .as_mut()
            .map_or(Ok(CheckpointDone::NoSpace), |writer| writer.accounts(&rows).map(|()| CheckpointDone::Written)),
        CheckpointJob::Finish(files) => writer
            .take()
            .map_or(Ok(CheckpointDone::NoSpace), |writer| writer.finish(&files).map(CheckpointDone::Finished)),
    };
    match step() {
        Err(error) if DiskError::is_full(&error) => {
            *writer = None;
            Ok(CheckpointDone::NoSpace)
        }
        done => Ok(done?),
    }
}

/// Copies the journal on a thread of its own, for that takes as long as it is large. The engine can end meanwhile:
/// what is copied does not change any more, and a backup without its manifest is none.
fn start_backup<D: Disk>(job: BackupJob, disk: D, report: Report<D>) -> bool {
    let again = report.clone();
    let run = move || {
        report.done(Done::BackedUp(copy(&job, &disk)));
    };
    match std::thread::Builder::new().name("backup".to_owned()).spawn(run) {
        Ok(_) => true,
        Err(error) => again.done(Done::BackedUp(Err((ErrorCode::Failed, format!("cannot start a thread: {error}"))))),
    }
}

fn copy<D: Disk>(job: &BackupJob, disk: &D) -> Result<String, (ErrorCode, String)> {
    let folder = &job.folder;
    let unusable = |why: String| (ErrorCode::BackupUnusable, format!("{folder}: {why}"));
    let right = "a backup needs a folder that is new or empty";
    // A disk lists its own files; here everything counts, or another's folders would become part of the backup.
    match fs::read_dir(folder).map(|mut items| items.next()) {
        Ok(None) => {}
        Ok(Some(Ok(item))) => {
            return Err(unusable(format!("is not empty, it holds {}; {right}", item.file_name().display())));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Ok(Some(Err(error))) | Err(error) => return Err(unusable(format!("cannot be read: {error}; {right}"))),
    }
    let target = FileDisk::new(folder).map_err(|error| unusable(format!("cannot be made: {error}; {right}")))?;
    backup(disk, &job.tip, &target, |_| {})
        .map_err(|error| (ErrorCode::Failed, format!("{folder}: the backup was not finished: {error}")))?;
    Ok(folder.clone())
}

fn prepare<D: Disk>(mut job: PrepareJob<D>) -> Result<bool, EngineError> {
    loop {
        match job.step() {
            Ok(Progress::Working { .. }) => {}
            Ok(Progress::Done) => return Ok(true),
            Err(error) if JournalError::is_full(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Seals a segment. The job is gone by the time the core hears of it, so that the segment's memory can be used again.
fn seal<D: Disk>(job: SealJob, disk: &D) -> Result<Option<Box<SealedSegment<D>>>, EngineError> {
    let sealed = job.run(disk);
    drop(job);
    match sealed {
        Ok(segment) => Ok(Some(Box::new(segment))),
        Err(SegmentError::Disk(error)) if error.is_full() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
