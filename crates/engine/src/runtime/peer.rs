//! A connection's socket: bytes in, frames out, nothing blocks.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mio::event::Source;

use super::now;
use crate::frame::{Defect, Frame, HEADER_LENGTH, Header, Judgement, judge};
use crate::limits::{CLOSING_MAX_NS, SILENCE_MAX_NS};

/// What comes in is read into this much memory first: headers, and frames that fit.
const SMALL: usize = 64 << 10;
/// Frames that wait to go out beyond this keep further ones from being read.
const OUTPUT_MAX: usize = 2 << 20;
/// Frames written with one call at most.
const SLICES: usize = 32;

/// How many connections a book has, and since when it has none.
#[derive(Debug, Default)]
pub(crate) struct Load {
    connections: AtomicUsize,
    idle_since_ns: AtomicU64,
}

impl Load {
    /// No connection, from this moment on.
    pub(crate) fn idle_since(now_ns: u64) -> Arc<Self> {
        Arc::new(Self { connections: AtomicUsize::new(0), idle_since_ns: AtomicU64::new(now_ns) })
    }

    /// Since when there is no connection; `None` while there is one.
    pub(crate) fn idle_since_ns(&self) -> Option<u64> {
        (self.connections.load(Ordering::Acquire) == 0).then(|| self.idle_since_ns.load(Ordering::Acquire))
    }

    /// How many there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
}

/// One connection of a book.
struct Place(Arc<Load>);

impl Place {
    fn new(load: &Arc<Load>) -> Self {
        load.connections.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(load))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.idle_since_ns.store(now().monotonic_ns, Ordering::Release);
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Memory for frames that are larger than [`SMALL`], shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    buffers: Vec<Vec<u8>>,
}

/// Buffers that are kept although nobody needs them now.
const POOLED_MAX: usize = 16;

impl Pool {
    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = self.buffers.pop().unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        buffer
    }

    fn give(&mut self, buffer: Vec<u8>) {
        if self.buffers.len() < POOLED_MAX {
            self.buffers.push(buffer);
        }
    }
}

/// A frame that came in, or a reason why there is none.
pub(crate) enum Input {
    /// The header of a frame; the body is next.
    Header(Header),
    /// A header that is wrong; its body will be skipped.
    Wrong(Header, Defect),
    /// A header that cannot be believed.
    Lost(Defect),
    /// The body of the header before is complete: [`Peer::body`].
    Body(Header, u64),
    /// No more for now.
    Nothing,
    /// The other side is gone.
    End,
}

#[allow(clippy::large_enum_variant)] // one for each connection
enum Stage {
    Head,
    Body { header: Header, arrived_ns: u64 },
    Skip { left: usize },
}

/// A socket that does not block, of whatever kind.
pub(crate) trait Socket: Read + Write + Source + Send {}

impl<T: Read + Write + Source + Send> Socket for T {}

pub(crate) struct Peer {
    stream: Box<dyn Socket>,
    /// Count it among those of the host and of its book for as long as it lives.
    places: Vec<Place>,
    small: Box<[u8]>,
    begin: usize,
    end: usize,
    /// A body that does not fit, and how much of it is there.
    large: Option<(Vec<u8>, usize)>,
    stage: Stage,
    /// Since when nothing has come in although a frame is not complete.
    silent_since_ns: Option<u64>,
    /// It waits for its turn to be read.
    pub(crate) is_queued: bool,
    output: VecDeque<Frame>,
    output_bytes: usize,
    /// Bytes of the first frame that are out.
    sent: usize,
    /// Since when it has taken nothing of what waits to go out; once it is closing, since when something waits.
    deaf_since_ns: Option<u64>,
    /// Close once everything is out; take nothing more.
    closing: bool,
}

impl Peer {
    pub(crate) fn new(stream: Box<dyn Socket>) -> Self {
        Self {
            stream,
            places: Vec::new(),
            small: vec![0; SMALL].into_boxed_slice(),
            begin: 0,
            end: 0,
            large: None,
            stage: Stage::Head,
            silent_since_ns: None,
            is_queued: false,
            output: VecDeque::new(),
            output_bytes: 0,
            sent: 0,
            deaf_since_ns: None,
            closing: false,
        }
    }

    /// What a poll watches.
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        &mut *self.stream
    }

    /// Takes off what comes before the first frame, of which `read` says how long it is: `Some(true)` once that is done,
    /// `Some(false)` as long as it is not complete, `None` if it can become none, or the other side is gone.
    pub(crate) fn take_off(&mut self, read: impl Fn(&[u8]) -> Option<Option<usize>>) -> Option<bool> {
        loop {
            let begun = &self.small[self.begin..self.end];
            if let Some(length) = read(begun)? {
                self.begin += length;
                return Some(true);
            }
            if begun.len() == SMALL || !self.fill_small(begun.len() + 1).ok()? {
                return Some(false);
            }
        }
    }

    /// It counts among these from here on.
    pub(crate) fn count_in(&mut self, load: &Arc<Load>) {
        self.places.push(Place::new(load));
    }

    /// Whether so much waits to go out that nothing more is taken in.
    pub(crate) const fn is_throttled(&self) -> bool {
        self.output_bytes > OUTPUT_MAX
    }

    /// Whether it has begun a frame and sent nothing for too long. While nothing is read from it that is not its fault.
    pub(crate) fn is_silent(&self, now_ns: u64) -> bool {
        let since_ns = self.silent_since_ns.filter(|_| !self.closing && !self.is_throttled());
        since_ns.is_some_and(|since_ns| since_ns.saturating_add(SILENCE_MAX_NS) <= now_ns)
    }

    /// Whether it has taken nothing for too long of what waits to go out to it.
    pub(crate) fn is_deaf(&self, now_ns: u64) -> bool {
        let patience_ns = if self.closing { CLOSING_MAX_NS } else { SILENCE_MAX_NS };
        self.deaf_since_ns.is_some_and(|since_ns| since_ns.saturating_add(patience_ns) <= now_ns)
    }

    /// Takes the next thing in. After [`Input::Header`] the caller says [`Peer::expect`] or [`Peer::skip`]; after
    /// [`Input::Body`], once it is done with the body, [`Peer::done`].
    pub(crate) fn next(&mut self, pool: &mut Pool, now_ns: u64) -> Input {
        if self.closing {
            return Input::Nothing;
        }
        let input = self.take(pool);
        let is_between = matches!(self.stage, Stage::Head) && self.begin == self.end;
        if !matches!(input, Input::Nothing) || is_between {
            self.silent_since_ns = None;
        } else {
            self.silent_since_ns.get_or_insert(now_ns);
        }
        input
    }

    fn take(&mut self, pool: &mut Pool) -> Input {
        loop {
            let needed = match &self.stage {
                Stage::Head => HEADER_LENGTH,
                Stage::Body { header, .. } => {
                    let length = header.body_length as usize;
                    if length > SMALL {
                        let (header, arrived_ns) = match self.stage {
                            Stage::Body { header, arrived_ns } => (header, arrived_ns),
                            Stage::Head | Stage::Skip { .. } => return Input::Nothing,
                        };
                        return match self.fill_large(length, pool) {
                            Ok(true) => Input::Body(header, arrived_ns),
                            Ok(false) => Input::Nothing,
                            Err(()) => Input::End,
                        };
                    }
                    length
                }
                Stage::Skip { left } => (*left).min(SMALL),
            };
            if self.end - self.begin < needed {
                match self.fill_small(needed) {
                    Ok(true) => continue,
                    Ok(false) => return Input::Nothing,
                    Err(()) => return Input::End,
                }
            }
            match &mut self.stage {
                Stage::Head => {
                    let head = self.small[self.begin..].first_chunk().expect("as much is there");
                    let judgement = judge(head);
                    self.begin += HEADER_LENGTH;
                    return match judgement {
                        Judgement::Good(header, _) => Input::Header(header),
                        Judgement::Skip(header, defect) => Input::Wrong(header, defect),
                        Judgement::End(defect) => Input::Lost(defect),
                    };
                }
                Stage::Body { header, arrived_ns } => return Input::Body(*header, *arrived_ns),
                Stage::Skip { left } => {
                    self.begin += needed;
                    *left -= needed;
                    if *left == 0 {
                        self.stage = Stage::Head;
                    }
                }
            }
        }
    }

    /// The body of this header is wanted.
    pub(crate) const fn expect(&mut self, header: Header, arrived_ns: u64) {
        self.stage = Stage::Body { header, arrived_ns };
    }

    /// The body of this header is not wanted.
    pub(crate) const fn skip(&mut self, header: &Header) {
        let left = header.body_length as usize;
        self.stage = if left == 0 { Stage::Head } else { Stage::Skip { left } };
    }

    /// The body that is complete.
    pub(crate) fn body(&self, header: &Header) -> &[u8] {
        let length = header.body_length as usize;
        match &self.large {
            Some((buffer, _)) => &buffer[..length],
            None => &self.small[self.begin..self.begin + length],
        }
    }

    /// The body that is complete was taken.
    pub(crate) fn done(&mut self, header: &Header, pool: &mut Pool) {
        match self.large.take() {
            Some((buffer, _)) => pool.give(buffer),
            None => self.begin += header.body_length as usize,
        }
        self.stage = Stage::Head;
    }

    /// Reads more into the small buffer. True if some came in.
    fn fill_small(&mut self, needed: usize) -> Result<bool, ()> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.begin + needed > SMALL {
            self.small.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        let count = read(&mut *self.stream, &mut self.small[self.end..])?;
        self.end += count;
        if count > 0 {
            self.silent_since_ns = None;
        }
        Ok(count > 0)
    }

    /// Reads a body that does not fit into the small buffer. True if all of it is there.
    fn fill_large(&mut self, length: usize, pool: &mut Pool) -> Result<bool, ()> {
        let (buffer, filled) = self.large.get_or_insert_with(|| {
            let mut buffer = pool.take(length);
            let first = (self.end - self.begin).min(length);
            buffer[..first].copy_from_slice(&self.small[self.begin..self.begin + first]);
            self.begin += first;
            (buffer, first)
        });
        while *filled < length {
            let count = read(&mut *self.stream, &mut buffer[*filled..length])?;
            if count == 0 {
                return Ok(false);
            }
            *filled += count;
            self.silent_since_ns = None;
        }
        Ok(true)
    }

    /// Queues a frame.
    pub(crate) fn send(&mut self, frame: Frame) {
        if !self.closing {
            self.output_bytes += frame.bytes().len();
            self.output.push_back(frame);
        }
    }

    /// Close once everything queued is out.
    pub(crate) const fn close(&mut self) {
        self.closing = true;
    }

    /// Writes what can be written. False once the connection is over.
    pub(crate) fn flush(&mut self, now_ns: u64) -> bool {
        let before = self.output_bytes;
        let is_open = self.write();
        if self.output.is_empty() {
            self.deaf_since_ns = None;
        } else if self.output_bytes < before && !self.closing {
            self.deaf_since_ns = Some(now_ns);
        } else {
            self.deaf_since_ns.get_or_insert(now_ns);
        }
        is_open
    }

    fn write(&mut self) -> bool {
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(&self.output) {
                let from = if count == 0 { self.sent } else { 0 };
                *slice = IoSlice::new(&frame.bytes()[from..]);
                count += 1;
            }
            match self.stream.write_vectored(&slices[..count]) {
                Ok(0) => return false,
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        !self.closing
    }

    fn advance(&mut self, mut written: usize) {
        self.output_bytes -= written;
        while let Some(frame) = self.output.front() {
            let left = frame.bytes().len() - self.sent;
            if written < left {
                self.sent += written;
                return;
            }
            written -= left;
            self.sent = 0;
            self.output.pop_front();
        }
    }
}

/// Reads once; 0 if there is nothing now.
fn read(stream: &mut dyn Socket, into: &mut [u8]) -> Result<usize, ()> {
    loop {
        match stream.read(into) {
            Ok(0) => return Err(()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(_) => return Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{BODY_MAX, Kind};

    const PART: usize = 100;

    /// A peer, and the client's end of its socket.
    fn peer() -> (Peer, std::os::unix::net::UnixStream) {
        let (here, there) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        here.set_nonblocking(true).expect("a socket that does not block");
        (Peer::new(Box::new(mio::net::UnixStream::from_std(here))), there)
    }

    fn frame(body: usize) -> Vec<u8> {
        Frame::copied(Header::of(Kind::Hello), &vec![7; body]).bytes().to_vec()
    }

    /// Reads all that there is, as the core does; returns how many frames were complete.
    fn read_all(peer: &mut Peer, skips: bool, now_ns: u64) -> usize {
        let mut pool = Pool::default();
        let mut complete = 0;
        loop {
            match peer.next(&mut pool, now_ns) {
                Input::Header(header) if skips => peer.skip(&header),
                Input::Header(header) => peer.expect(header, now_ns),
                Input::Body(header, _) => {
                    complete += 1;
                    peer.done(&header, &mut pool);
                }
                Input::Nothing => return complete,
                Input::Wrong(..) | Input::Lost(_) | Input::End => panic!("good frames were sent"),
            }
        }
    }

    #[test]
    fn silence_counts_from_the_last_byte_of_a_frame_that_is_not_complete() {
        // A header, a small body, a large one, one that is skipped.
        for (body, sent, skips) in [
            (0, PART, false),
            (2 * PART, HEADER_LENGTH + PART, false),
            (BODY_MAX, HEADER_LENGTH + PART, false),
            (2 * PART, HEADER_LENGTH + PART, true),
        ] {
            let (mut peer, mut client) = peer();
            let frame = frame(body);
            client.write_all(&frame[..sent]).expect("room in the socket");
            read_all(&mut peer, skips, 5);
            // Looking again is not hearing something.
            read_all(&mut peer, skips, 6);
            assert!(!peer.is_silent(4 + SILENCE_MAX_NS), "{body} {sent}");
            assert!(peer.is_silent(5 + SILENCE_MAX_NS), "{body} {sent}");
            client.write_all(&frame[sent..=sent]).expect("room in the socket");
            read_all(&mut peer, skips, 9);
            assert!(!peer.is_silent(8 + SILENCE_MAX_NS), "{body} {sent}: one byte is enough");
            assert!(peer.is_silent(9 + SILENCE_MAX_NS), "{body} {sent}");
        }
    }

    #[test]
    fn between_frames_silence_may_last() {
        let (mut peer, mut client) = peer();
        for body in [0, PART] {
            client.write_all(&frame(body)).expect("room in the socket");
            assert_eq!(read_all(&mut peer, false, 5), 1);
            assert!(!peer.is_silent(u64::MAX));
        }
    }

    #[test]
    fn who_takes_nothing_of_its_answers_is_deaf() {
        let (mut peer, mut client) = peer();
        let fill = |peer: &mut Peer| {
            for _ in 0..OUTPUT_MAX / BODY_MAX {
                peer.send(Frame::copied(Header::of(Kind::Hello), &vec![7; BODY_MAX]));
            }
        };
        assert!(peer.flush(5) && !peer.is_deaf(u64::MAX), "nothing waits");
        fill(&mut peer);
        assert!(peer.flush(5) && peer.flush(6));
        assert!(!peer.is_deaf(4 + SILENCE_MAX_NS) && peer.is_deaf(5 + SILENCE_MAX_NS));
        // What it takes counts.
        client.read_exact(&mut vec![0; SMALL]).expect("as much was sent");
        assert!(peer.flush(9));
        assert!(!peer.is_deaf(8 + SILENCE_MAX_NS) && peer.is_deaf(9 + SILENCE_MAX_NS));
        // Once it is over it has little time, however it goes about it.
        peer.close();
        assert!(!peer.is_deaf(8 + CLOSING_MAX_NS) && peer.is_deaf(9 + CLOSING_MAX_NS));
        client.read_exact(&mut vec![0; SMALL]).expect("as much was sent");
        assert!(peer.flush(10));
        assert!(peer.is_deaf(9 + CLOSING_MAX_NS));
    }

    #[test]
    fn who_is_not_read_from_is_not_silent() {
        let (mut peer, mut client) = peer();
        client.write_all(&frame(PART)[..PART]).expect("room in the socket");
        read_all(&mut peer, false, 5);
        for _ in 0..=OUTPUT_MAX / BODY_MAX {
            peer.send(Frame::copied(Header::of(Kind::Hello), &vec![7; BODY_MAX]));
        }
        assert!(peer.is_throttled() && !peer.is_silent(u64::MAX));
    }
}
