//! The folder of all books: one folder each, named by the book's id in hexadecimal digits.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use qenex_journal::disk::{Disk, DiskError, FileDisk};

use super::file::{BookFile, BookId, Found};
use crate::error::{EngineError, hex};
use crate::frame::{NAME_MAX, book_state};

/// What a home calls its own book.
const HOME_NAME: &[u8] = b"home";
/// The folder in a book's where its journal lies.
const JOURNAL: &str = "journal";

/// Where a book lies.
pub(super) fn path_of(folder: &Path, book: &BookId) -> PathBuf {
    folder.join(hex(book))
}

/// What was found.
pub(super) struct Scan {
    /// The home's own.
    pub(super) home: BookFile,
    /// It is not on disk as it is here.
    pub(super) home_is_new: bool,
    /// All others that can be believed.
    pub(super) others: Vec<BookFile>,
    /// Those of which no more is known than that they are there.
    pub(super) damaged: Vec<BookFile>,
    /// Folders that a crash left while a book was made: nothing of any book is in them.
    pub(super) half: Vec<PathBuf>,
    /// What somebody who runs the books should know, a line each.
    pub(super) notes: Vec<String>,
}

/// Looks through the folder, which is made if it is not there, and changes nothing in it. The home's own book is the one
/// that its file calls so, else the only one from before there were such files, else a new one of this id.
pub(super) fn scan(folder: &Path, new_home: BookId, now_ns: u64) -> Result<Scan, EngineError> {
    FileDisk::new(folder)?;
    let (mut homes, mut others, mut legacy) = (Vec::new(), Vec::new(), Vec::new());
    let (mut damaged, mut half, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (path, book) in folders(folder, &mut notes)? {
        match BookFile::find(&FileDisk::new(&path)?, &book)? {
            Found::Good(file) if file.is_home => homes.push(*file),
            Found::Good(file) => others.push(*file),
            Found::Missing if path.join(JOURNAL).is_dir() => legacy.push(book),
            Found::Missing if is_half(&path) => half.push(path),
            Found::Missing => notes.push(format!("{}: is no book, and holds something else", path.display())),
            Found::Damaged(what) => {
                notes
                    .push(format!("{}: the file grants is damaged: {what}; nobody gets into the book", path.display()));
                damaged.push(BookFile::new(book, [0; NAME_MAX], 0));
            }
        }
    }
    let trouble = |what: String| EngineError::Books { path: folder.display().to_string(), what };
    let names = |books: &[BookId]| books.iter().map(|book| hex(book)).collect::<Vec<_>>().join(", ");
    let (home, home_is_new) = match (homes.len(), legacy.len()) {
        (1, _) => (homes.remove(0), false),
        (0, _) if !damaged.is_empty() => {
            let what = "no book is the home's own, and the file grants of one is damaged; put it back from a copy";
            return Err(trouble(what.to_owned()));
        }
        (0, 1) => (home_file(legacy.remove(0), now_ns), true),
        (0, 0) => (home_file(new_home, now_ns), true),
        (0, _) => return Err(trouble(format!("which is the home's own book? Here are {}", names(&legacy)))),
        _ => {
            let homes: Vec<BookId> = homes.iter().map(|home| home.book).collect();
            return Err(trouble(format!("each of these says that it is the home's own book: {}", names(&homes))));
        }
    };
    for book in legacy {
        notes.push(format!("{}: has no credentials yet; put_grants gives it some", path_of(folder, &book).display()));
        others.push(BookFile::new(book, [0; NAME_MAX], now_ns));
    }
    // The new home may begin in a folder that a crash left.
    half.retain(|path| *path != path_of(folder, &home.book));
    Ok(Scan { home, home_is_new, others, damaged, half, notes })
}

fn home_file(book: BookId, now_ns: u64) -> BookFile {
    let mut name = [0; NAME_MAX];
    name[..HOME_NAME.len()].copy_from_slice(HOME_NAME);
    BookFile { is_home: true, state: book_state::ACTIVE, ..BookFile::new(book, name, now_ns) }
}

/// Whether nothing is in a folder but what making a book begins with.
fn is_half(path: &Path) -> bool {
    let is_ours = |item: fs::DirEntry| ["grants.tmp", "LOCK"].iter().any(|name| item.file_name() == *name);
    fs::read_dir(path).is_ok_and(|mut items| items.all(|item| item.is_ok_and(is_ours)))
}

fn folders(folder: &Path, notes: &mut Vec<String>) -> Result<Vec<(PathBuf, BookId)>, EngineError> {
    let failed = |source| EngineError::io(format!("read the folder {}", folder.display()), source);
    let mut found = Vec::new();
    for item in fs::read_dir(folder).map_err(failed)? {
        let item = item.map_err(failed)?;
        if !item.file_type().map_err(failed)?.is_dir() {
            continue;
        }
        match item.file_name().to_str().and_then(parse) {
            Some(book) => found.push((item.path(), book)),
            None => notes.push(format!("{}: is no book; one is named by its id", item.path().display())),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// An id in 32 hexadecimal digits, none of them a capital.
fn parse(name: &str) -> Option<BookId> {
    let is_hex = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (name.len() == 32 && is_hex).then(|| u128::from_str_radix(name, 16).ok().map(u128::to_be_bytes))?
}

/// Removes what a crash left while a book was made.
pub(super) fn sweep(path: &Path) -> Result<(), EngineError> {
    fs::remove_dir_all(path)
        .and_then(|()| sync(path.parent().unwrap_or(path)))
        .map_err(|source| EngineError::io(format!("remove {}", path.display()), source))
}

/// Writes a book's file, durably; its folder is made if it is not there. The book is there from the moment on at which the
/// file has its name.
pub(super) fn write(folder: &Path, file: &BookFile) -> Result<(), DiskError> {
    let path = path_of(folder, &file.book);
    let disk = FileDisk::new(&path)?;
    file.write(&disk)?;
    // A try that failed before may have made the folder and not seen its name to the disk.
    FileDisk::new(folder)?.sync_folder("")
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
