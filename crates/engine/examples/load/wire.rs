//! What goes over a connection: requests made, answers cut out of the stream.

use std::io::{Read, Write};

use qenex_engine::client::{ClientOptions, greet};
use qenex_engine::frame::{HEADER_LENGTH, Header, Judgement, Kind, LINGER_MAX_US, Operation, judge, request_frame};
use qenex_engine::server::random_bytes;
use qenex_kernel::row::{Account, BATCH_MAX, EventResult, Transfer};
use qenex_kernel::status::CreateTransferStatus;
use zerocopy::{FromBytes, IntoBytes};

use crate::{Outcome, Plan};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So many transfers are in the ledger, so many were refused by it; rows of the group that it shared, where the answer
    /// says that.
    Done { created: u64, refused: u64, group_rows: u32 },
    /// The server had no room for it: it is to be sent again.
    Busy,
    /// It was refused as a whole, with this number.
    Failed(u16),
}

/// A protocol: one for each connection.
pub(crate) trait Wire {
    /// Appends a request: the same bytes whenever the same number is asked for. Numbers begin with 1.
    fn request(&mut self, number: u64, out: &mut Vec<u8>);
    /// The first complete answer in `input`: bytes used, number of its request (0: the oldest), what became of it.
    fn answer(&self, input: &[u8]) -> Outcome<Option<(usize, u64, Answer)>>;
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Two different accounts.
    fn pair(&mut self, accounts: u64) -> (u64, u64) {
        let first = self.next() % accounts;
        let second = (first + 1 + self.next() % (accounts - 1)) % accounts;
        (first + 1, second + 1)
    }
}

/// Frames of `spec/protocol.md`.
pub(crate) struct Binary {
    header: Header,
    rows: Vec<Transfer>,
    accounts: u64,
    /// High half of the ids.
    high: u64,
    seed: u64,
}

impl Binary {
    /// Says hello and waits for the welcome.
    pub(crate) fn greet<S: Read + Write>(plan: &Plan, stream: &mut S, secret: &[u8], seed: u64) -> Outcome<Self> {
        let session = random_bytes()?;
        let welcome = greet(stream, &ClientOptions::new(secret), session, false)?;
        let wanted = u32::try_from(plan.window)?;
        if plan.rate <= 0.0 && wanted > welcome.window_requests {
            return Err(format!("the window is {} requests at most", welcome.window_requests).into());
        }
        let linger_us = if plan.optimize { LINGER_MAX_US } else { 0 };
        let operation = Operation::CreateTransfers.number();
        // Ids rise within a connection, and no two connections or runs share one: the high half is at random.
        let high = u64::from_le_bytes(random_bytes()?) | 1;
        Ok(Self {
            header: Header { book: welcome.book, session, operation, linger_us, ..Header::ZERO },
            rows: vec![Transfer { amount: 1, ledger: 978, code: 1, ..Transfer::ZERO }; plan.rows],
            accounts: plan.accounts,
            high,
            seed,
        })
    }

    /// Makes accounts 1 to `accounts`, or finds them.
    pub(crate) fn create_accounts<S: Read + Write>(&mut self, accounts: u64, stream: &mut S) -> Outcome<()> {
        let ids: Vec<u64> = (1..=accounts).collect();
        for ids in ids.chunks(BATCH_MAX) {
            let rows: Vec<Account> =
                ids.iter().map(|&id| Account { id: id.into(), ledger: 978, code: 1, ..Account::ZERO }).collect();
            self.header.request += 1;
            let header = Header { operation: Operation::CreateAccounts.number(), ..self.header };
            let mut frame = Vec::new();
            request_frame(&mut frame, header, &[], rows.as_bytes());
            stream.write_all(&frame)?;
            let (header, body) = read_frame(stream)?;
            if header.kind() != Some(Kind::Reply) {
                return Err(String::from_utf8_lossy(&body).into());
            }
        }
        Ok(())
    }
}

fn read_frame<S: Read>(stream: &mut S) -> Outcome<(Header, Vec<u8>)> {
    let mut head = [0; HEADER_LENGTH];
    stream.read_exact(&mut head)?;
    let header = good(&head)?;
    let mut body = vec![0; header.body_length as usize];
    stream.read_exact(&mut body)?;
    Ok((header, body))
}

fn good(head: &[u8; HEADER_LENGTH]) -> Outcome<Header> {
    match judge(head) {
        Judgement::Good(header, _) => Ok(header),
        Judgement::Skip(_, defect) | Judgement::End(defect) => Err(defect.to_string().into()),
    }
}

impl Wire for Binary {
    fn request(&mut self, number: u64, out: &mut Vec<u8>) {
        let mut random = Random((self.seed << 40) ^ number);
        let first = number * self.rows.len() as u64;
        for (low, row) in (first..).zip(&mut self.rows) {
            let (debit, credit) = random.pair(self.accounts);
            row.id = (u128::from(self.high) << 64) | u128::from(low);
            (row.debit_account_id, row.credit_account_id) = (debit.into(), credit.into());
        }
        // Those before made the accounts.
        let header = Header { request: self.header.request + number, ..self.header };
        request_frame(out, header, &[], self.rows.as_bytes());
    }

    fn answer(&self, input: &[u8]) -> Outcome<Option<(usize, u64, Answer)>> {
        let Some(head) = input.first_chunk() else { return Ok(None) };
        let header = good(head)?;
        let length = HEADER_LENGTH + header.body_length as usize;
        let Some(body) = input.get(HEADER_LENGTH..length) else { return Ok(None) };
        if !header.matches(body) {
            return Err("a body does not match its checksum".into());
        }
        let answer = match header.kind() {
            Some(Kind::Reply) => {
                let all = (body.len() / size_of::<EventResult>()) as u64;
                let created = CreateTransferStatus::Created.number();
                let results = body.chunks_exact(size_of::<EventResult>()).flat_map(EventResult::read_from_bytes);
                let created = results.filter(|row| row.status == created).count() as u64;
                Answer::Done { created, refused: all - created, group_rows: header.group_rows }
            }
            Some(Kind::Error) if header.request == 0 => return Err(String::from_utf8_lossy(body).into()),
            Some(Kind::Error) if header.error == 9 => Answer::Busy,
            Some(Kind::Error) => Answer::Failed(header.error),
            _ => return Err("the server ended the connection".into()),
        };
        Ok(Some((length, header.request - self.header.request, answer)))
    }
}

/// `POST /api/v1/transaction`, one after another on a connection.
pub(crate) struct Http {
    head: String,
    tail: String,
    accounts: u64,
    random: Random,
}

impl Http {
    pub(crate) fn new(plan: &Plan, secret: &[u8]) -> Self {
        let secret = String::from_utf8_lossy(secret);
        let seed = random_bytes().expect("random bytes");
        Self {
            head: format!(
                "POST /api/v1/transaction HTTP/1.1\r\nhost: load\r\nauthorization: Bearer {secret}\r\n\
                 content-type: application/json\r\ncontent-length: "
            ),
            tail: format!("\",\"amount\":\"0.01\",\"token\":\"EUR\",\"optimize\":{}}}", plan.optimize),
            accounts: plan.accounts,
            random: Random(u64::from_le_bytes(seed)),
        }
    }
}

impl Wire for Http {
    fn request(&mut self, _: u64, out: &mut Vec<u8>) {
        let (from, to) = self.random.pair(self.accounts);
        let body = format!("{{\"from\":\"{from}\",\"to\":\"{to}{}", self.tail);
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(format!("{}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body.as_bytes());
    }

    fn answer(&self, input: &[u8]) -> Outcome<Option<(usize, u64, Answer)>> {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = core::str::from_utf8(&input[..end])?;
        let status: u16 = head.get(9..12).ok_or("no status line")?.parse()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let length = end + 4 + length.ok_or("an answer without content-length")??;
        if input.len() < length {
            return Ok(None);
        }
        let answer = match status {
            200 | 201 => Answer::Done { created: 1, refused: 0, group_rows: 0 },
            429 | 503 => Answer::Busy,
            422 => Answer::Done { created: 0, refused: 1, group_rows: 0 },
            _ => Answer::Failed(status),
        };
        Ok(Some((length, 0, answer)))
    }
}
