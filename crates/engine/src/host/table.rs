//! All books by id and by the credentials that open them, and what the system may have done with them. No disk, no socket.

use std::collections::BTreeMap;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::file::{BookFile, BookId};
use crate::credential::Fingerprint;
use crate::engine::write::Refusal;
use crate::frame::{
    BODY_MAX, BookRow, BooksFilter, ErrorCode, GRANTS_MAX, GrantName, GrantRow, GrantsFilter, NAME_MAX, NewBook,
    Operation, SYSTEM_BOOK, book_state, grant_flags, grant_kind, grant_state,
};

/// Books of one engine at most.
pub(super) const BOOKS_MAX: usize = 65_536;

/// What is known of a book.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) file: BookFile,
    /// Its file cannot be believed: only that it is there is known.
    pub(super) is_damaged: bool,
}

/// What is to be done for a request of the system.
#[derive(Debug)]
pub(super) enum Plan {
    /// This is the answer.
    Answer(Vec<u8>),
    /// Write this first; then [`Table::put`] it, and the answer is [`Table::row`].
    Write(Box<BookFile>),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    books: BTreeMap<BookId, Known>,
    /// Of every credential, whatever its state, so that none belongs to two books.
    by_fingerprint: BTreeMap<Fingerprint, BookId>,
    /// Those of the home and of the system, which stand in no file.
    reserved: Vec<Fingerprint>,
}

impl Table {
    /// A table in which these credentials belong to no book.
    pub(super) fn new(reserved: Vec<Fingerprint>) -> Self {
        Self { reserved, ..Self::default() }
    }

    pub(super) fn get(&self, book: &BookId) -> Option<&Known> {
        self.books.get(book)
    }

    /// The book that this credential opens, if it is one that is in force.
    pub(super) fn of(&self, fingerprint: &Fingerprint) -> Option<&Known> {
        let known = self.books.get(self.by_fingerprint.get(fingerprint)?)?;
        let grant = known.file.grants.get(fingerprint)?;
        (grant.state == grant_state::ACTIVE).then_some(known)
    }

    /// A book is so from here on.
    pub(super) fn put(&mut self, file: BookFile, is_damaged: bool) {
        if let Some(before) = self.books.get(&file.book) {
            before.file.grants.keys().for_each(|fingerprint| _ = self.by_fingerprint.remove(fingerprint));
        }
        self.by_fingerprint.extend(file.grants.keys().map(|fingerprint| (*fingerprint, file.book)));
        self.books.insert(file.book, Known { file, is_damaged });
    }

    /// Whose credential of this book is another's too.
    pub(super) fn conflict(&self, file: &BookFile) -> Option<BookId> {
        let others = file.grants.keys().filter_map(|fingerprint| self.by_fingerprint.get(fingerprint));
        others.copied().find(|other| *other != file.book)
    }

    /// A book as it is told to the system.
    pub(super) fn row(&self, book: &BookId, is_open: impl Fn(&BookId) -> bool) -> Option<BookRow> {
        self.books.get(book).map(|known| known.file.row(is_open(book), known.is_damaged))
    }

    /// Judges a request of the system, whose size was judged.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn judge(
        &self,
        operation: Operation,
        rows: &[u8],
        now_ns: u64,
        is_open: impl Fn(&BookId) -> bool,
    ) -> Result<Plan, Refusal> {
        match operation {
            Operation::CreateBook => self.create(&row_of(rows)?, now_ns, is_open),
            Operation::ListBooks => {
                let filter = row_of::<BooksFilter>(rows)?;
                let most = BODY_MAX / size_of::<BookRow>();
                let limit = limit(filter.limit, most, filter.reserved == [0; 12])?;
                let mut answer = Vec::new();
                for (book, known) in self.books.range(after(filter.after)).take(limit) {
                    answer.extend_from_slice(known.file.row(is_open(book), known.is_damaged).as_bytes());
                }
                Ok(Plan::Answer(answer))
            }
            Operation::SuspendBook => self.set_state(&row_of(rows)?, book_state::SUSPENDED, is_open),
            Operation::ResumeBook => self.set_state(&row_of(rows)?, book_state::ACTIVE, is_open),
            Operation::PutGrants => self.put_grants(&rows_of(rows)?, now_ns, is_open),
            Operation::RemoveGrants => self.remove_grants(&rows_of(rows)?, is_open),
            Operation::ListGrants => {
                let filter = row_of::<GrantsFilter>(rows)?;
                let limit = limit(filter.limit, GRANTS_MAX, filter.reserved == [0; 4])?;
                let known = self.known(&filter.book)?;
                let mut answer = Vec::new();
                for grant in known.file.grants.range(after(filter.after)).take(limit).map(|(_, grant)| *grant) {
                    // Who has these could pass for the server.
                    answer.extend_from_slice(GrantRow { key_1: [0; 32], key_2: [0; 32], ..grant }.as_bytes());
                }
                Ok(Plan::Answer(answer))
            }
            _ => Err((ErrorCode::Forbidden, format!("the credential of the system may not {}", operation.name()))),
        }
    }

    fn create(&self, new: &NewBook, now_ns: u64, is_open: impl Fn(&BookId) -> bool) -> Result<Plan, Refusal> {
        if new.book == SYSTEM_BOOK || new.reserved != [0; 48] {
            return Err(malformed("a book's id is not zero, and the reserved part of its row is"));
        }
        check_name(&new.name)?;
        check_grant(0, &new.grant, &new.book)?;
        if let Some(known) = self.books.get(&new.book) {
            let grant = known.file.grants.get(&new.grant.fingerprint);
            let is_same = grant.is_some_and(|grant| same(grant, &new.grant)) && known.file.name == new.name;
            let text = || "there is a book of this id, with another name or credential".to_owned();
            return if is_same { self.unchanged(&new.book, is_open) } else { Err((ErrorCode::BookConflict, text())) };
        }
        if self.books.len() >= BOOKS_MAX {
            return Err((ErrorCode::Failed, format!("there are {BOOKS_MAX} books, and no more are allowed")));
        }
        let mut file = BookFile::new(new.book, new.name, now_ns);
        self.add(&mut file, 0, &new.grant, now_ns)?;
        Ok(Plan::Write(Box::new(file)))
    }

    fn set_state(&self, book: &BookId, state: u16, is_open: impl Fn(&BookId) -> bool) -> Result<Plan, Refusal> {
        let known = self.intact(book)?;
        if known.file.state == state {
            return self.unchanged(book, is_open);
        }
        if known.file.is_home && state == book_state::SUSPENDED {
            let text = "the home's own book cannot be suspended: stop the engine instead".to_owned();
            return Err((ErrorCode::Forbidden, text));
        }
        Ok(Plan::Write(Box::new(BookFile { state, ..known.file.clone() })))
    }

    fn put_grants(&self, grants: &[GrantRow], now_ns: u64, is_open: impl Fn(&BookId) -> bool) -> Result<Plan, Refusal> {
        let book = grants.first().map_or(SYSTEM_BOOK, |grant| grant.book);
        let known = self.intact(&book)?;
        let mut file = known.file.clone();
        for (row, grant) in grants.iter().enumerate() {
            check_grant(row, grant, &book)?;
            self.add(&mut file, row, grant, now_ns)?;
        }
        if file == known.file { self.unchanged(&book, is_open) } else { Ok(Plan::Write(Box::new(file))) }
    }

    fn remove_grants(&self, names: &[GrantName], is_open: impl Fn(&BookId) -> bool) -> Result<Plan, Refusal> {
        let book = names.first().map_or(SYSTEM_BOOK, |name| name.book);
        let known = self.intact(&book)?;
        let mut file = known.file.clone();
        for (row, name) in names.iter().enumerate() {
            if name.book != book || name.reserved != [0; 8] {
                return Err(malformed(&format!(
                    "row {row}: it names another book than the first, or is not zero where it must be"
                )));
            }
            file.grants.remove(&name.fingerprint);
        }
        if file == known.file { self.unchanged(&book, is_open) } else { Ok(Plan::Write(Box::new(file))) }
    }

    fn add(&self, file: &mut BookFile, row: usize, grant: &GrantRow, now_ns: u64) -> Result<(), Refusal> {
        let owner = self.by_fingerprint.get(&grant.fingerprint);
        if owner.is_some_and(|owner| *owner != file.book) || self.reserved.contains(&grant.fingerprint) {
            return Err((ErrorCode::BookConflict, format!("row {row}: the credential opens something else already")));
        }
        let created = file.grants.get(&grant.fingerprint).map_or(now_ns, |before| before.created);
        file.grants.insert(grant.fingerprint, GrantRow { created, ..*grant });
        if file.grants.len() > GRANTS_MAX {
            return Err((ErrorCode::Failed, format!("a book has {GRANTS_MAX} credentials at most")));
        }
        Ok(())
    }

    fn known(&self, book: &BookId) -> Result<&Known, Refusal> {
        self.books.get(book).ok_or_else(|| (ErrorCode::BookUnknown, "there is no book of this id".to_owned()))
    }

    fn intact(&self, book: &BookId) -> Result<&Known, Refusal> {
        let known = self.known(book)?;
        if known.is_damaged {
            let text =
                "the book's file of credentials is damaged; put it back from a copy, then start the engine again";
            return Err((ErrorCode::Failed, text.to_owned()));
        }
        Ok(known)
    }

    /// What is asked for is so already.
    fn unchanged(&self, book: &BookId, is_open: impl Fn(&BookId) -> bool) -> Result<Plan, Refusal> {
        let known = self.known(book)?;
        Ok(Plan::Answer(known.file.row(is_open(book), known.is_damaged).as_bytes().to_vec()))
    }
}

/// Whether two rows are of one credential that may do the same: the server says when it was made.
fn same(a: &GrantRow, b: &GrantRow) -> bool {
    GrantRow { created: 0, ..*a } == GrantRow { created: 0, ..*b }
}

/// Everything after this.
fn after<T: Ord>(this: T) -> (core::ops::Bound<T>, core::ops::Bound<T>) {
    (core::ops::Bound::Excluded(this), core::ops::Bound::Unbounded)
}

fn limit(limit: u32, most: usize, is_zero: bool) -> Result<usize, Refusal> {
    if !is_zero {
        return Err(malformed("the reserved part of a filter must be zero"));
    }
    if limit as usize > most {
        return Err((ErrorCode::BatchTooLarge, format!("a limit of at most {most} rows is allowed, not {limit}")));
    }
    Ok(limit as usize)
}

fn malformed(text: &str) -> Refusal {
    (ErrorCode::MalformedFrame, text.to_owned())
}

fn check_name(name: &[u8; NAME_MAX]) -> Result<(), Refusal> {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_MAX);
    let text = core::str::from_utf8(&name[..end]).ok();
    let is_good = text.is_some_and(|text| !text.is_empty() && !text.chars().any(char::is_control));
    if is_good && name[end..].iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    Err(malformed("a name is 1 to 64 bytes of UTF-8 without control characters, and zeros after it"))
}

fn check_grant(row: usize, grant: &GrantRow, book: &BookId) -> Result<(), Refusal> {
    let wrong = if grant.book != *book {
        "it is of another book than the request"
    } else if grant.fingerprint == [0; 8] || grant.principal == [0; 16] {
        "a credential has a fingerprint and a principal"
    } else if grant.kind != grant_kind::SECRET {
        "its kind is not known"
    } else if ![grant_state::ACTIVE, grant_state::SUSPENDED].contains(&grant.state) {
        "its state is not known"
    } else if grant.flags & !grant_flags::MAY_WRITE != 0 {
        "it has a flag that is not known"
    } else if (GrantRow {
        book: [0; 16],
        fingerprint: [0; 8],
        kind: 0,
        state: 0,
        flags: 0,
        principal: [0; 16],
        key_1: [0; 32],
        key_2: [0; 32],
        created: 0,
        ..*grant
    }) != GrantRow::ZERO
    {
        "a reserved part of it is not zero"
    } else {
        return Ok(());
    };
    Err(malformed(&format!("row {row}: {wrong}")))
}

fn row_of<T: FromBytes>(rows: &[u8]) -> Result<T, Refusal> {
    T::read_from_bytes(rows).map_err(|_| malformed("one row is needed"))
}

fn rows_of<T: FromBytes + KnownLayout + Immutable>(rows: &[u8]) -> Result<Vec<T>, Refusal> {
    rows.chunks_exact(size_of::<T>()).map(row_of).collect()
}
