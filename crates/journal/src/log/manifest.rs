//! What a backup holds: a text file that a person can read and `sha256sum` can check.

use core::fmt::Write as _;

use super::files::name_of;
use super::header::{Hash, sha256};
use super::{JournalError, Result, Tip};

/// The manifest's name in a backup. Written last: a backup without one is not complete.
pub const MANIFEST_NAME: &str = "manifest.txt";
const FIRST_LINE: &str = "QENEX-BACKUP 1";
/// Lines before it: the first, then book, incarnation, journal, group, entry, hash.
const FIRST_FILE_LINE: usize = 8;

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) hash: Hash,
    pub(super) length: u64,
    pub(super) name: String,
}

/// The manifest of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) book: [u8; 16],
    pub(super) incarnation: [u8; 16],
    pub(super) journal: u32,
    pub(super) group: u64,
    pub(super) entry: u64,
    pub(super) hash: Hash,
    pub(super) files: Vec<Copied>,
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

impl Manifest {
    pub(super) fn new(book: [u8; 16], incarnation: [u8; 16], journal: u32, tip: &Tip) -> Self {
        let (group, entry, hash) = (tip.number, tip.entry, tip.hash);
        Self { book, incarnation, journal, group, entry, hash, files: Vec::new() }
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!(
            "{FIRST_LINE}\nbook {}\nincarnation {}\njournal {}\ngroup {}\nentry {}\nhash {}\n",
            hex(&self.book),
            hex(&self.incarnation),
            self.journal,
            self.group,
            self.entry,
            hex(&self.hash)
        );
        for file in &self.files {
            text += &format!("file {} {} {}\n", hex(&file.hash), file.length, file.name);
        }
        let end = hex(&sha256(text.as_bytes()));
        text + &format!("end {end}\n")
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let refuse = |line: usize, what: &str| {
            Err(JournalError::Backup(format!("{MANIFEST_NAME}, line {line}: {what}; the backup cannot be used")))
        };
        let first = text.lines().next().unwrap_or_default();
        if first != FIRST_LINE {
            return refuse(1, &format!("it begins with {first:?}, and this QENEX reads {FIRST_LINE:?}"));
        }
        let lines = text.lines().count();
        let end = text.rfind("\nend ").map(|at| at + 1);
        let Some((body, end)) = end.map(|at| text.split_at(at)) else {
            return refuse(lines, "its last line should be `end` and is missing");
        };
        if end != format!("end {}\n", hex(&sha256(body.as_bytes()))) {
            return refuse(lines, "the hash of its lines does not match");
        }
        let manifest = match Self::parse_body(body) {
            Ok(manifest) => manifest,
            Err(line) => return refuse(line, "it is not what its place asks for"),
        };
        // Only the journal is verified before it is believed, so that nothing else may be named, and be written.
        for (index, file) in manifest.files.iter().enumerate() {
            let wanted = name_of(index as u64 + 1);
            if file.name != wanted {
                let line = FIRST_FILE_LINE + index;
                return refuse(line, &format!("it names {:?}, and only {wanted} can be here", file.name));
            }
        }
        Ok(manifest)
    }

    /// Parses the lines between the first and the last; on failure tells which line.
    fn parse_body(body: &str) -> core::result::Result<Self, usize> {
        let mut lines = body.lines().enumerate().map(|(index, line)| (index + 1, line)).skip(1);
        let mut field = |name: &str| -> core::result::Result<(usize, &str), usize> {
            let (number, line) = lines.next().ok_or(0_usize)?;
            let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')).ok_or(number)?;
            Ok((number, value))
        };
        fn hexed<const N: usize>((line, text): (usize, &str)) -> core::result::Result<[u8; N], usize> {
            from_hex(text).ok_or(line)
        }
        fn number<T: core::str::FromStr>((line, text): (usize, &str)) -> core::result::Result<T, usize> {
            text.parse().map_err(|_| line)
        }
        let mut manifest = Self {
            book: hexed(field("book")?)?,
            incarnation: hexed(field("incarnation")?)?,
            journal: number(field("journal")?)?,
            group: number(field("group")?)?,
            entry: number(field("entry")?)?,
            hash: hexed(field("hash")?)?,
            files: Vec::new(),
        };
        for (line, text) in lines {
            let parts: Vec<&str> = text.split(' ').collect();
            let &["file", hash, length, name] = parts.as_slice() else { return Err(line) };
            let hash = from_hex(hash).ok_or(line)?;
            let length = length.parse().map_err(|_| line)?;
            manifest.files.push(Copied { hash, length, name: name.to_owned() });
        }
        Ok(manifest)
    }
}
