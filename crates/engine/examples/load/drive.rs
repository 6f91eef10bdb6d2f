//! Moves the bytes: one thread, all connections, nothing blocks.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::report::Report;
use crate::wire::{Answer, Wire};
use crate::{Outcome, Plan, Stream};

/// A socket that does not block, of whatever kind.
pub(crate) trait Socket: Read + Write + Source {}

impl<T: Read + Write + Source> Socket for T {}

pub(crate) fn nonblocking<S: Stream>(stream: S) -> Outcome<Box<dyn Socket>> {
    Ok(stream.watched()?)
}

const PACER: Token = Token(usize::MAX);
/// How long answers may take to come once nothing more is sent.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests sent before answers are looked at again: who offers too much must not starve its own reading.
const TURN_REQUESTS: u64 = 64;
/// Requests, and bytes of requests, that a connection writes with one call at most.
const BURST: u64 = 16;
const OUTPUT: usize = 32 << 10;
const INPUT: usize = 16 << 10;

struct Connection {
    socket: Box<dyn Socket>,
    wire: Box<dyn Wire>,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    /// Requests made so far.
    made: u64,
    /// Number and due time of what is unanswered.
    under_way: VecDeque<(u64, u64)>,
    /// The same of what was answered `busy`. These are sent again, the lowest first, before anything new.
    again: BTreeMap<u64, u64>,
    /// Not before.
    again_at_ns: u64,
    is_ready: bool,
}

/// How long a connection that was told `busy` waits before it sends again.
const PAUSE_NS: u64 = 2_000_000;

impl Connection {
    fn may_send(&self, window: usize) -> bool {
        self.written == self.output.len() && self.again.is_empty() && (window == 0 || self.under_way.len() < window)
    }

    /// Sends again what was answered `busy`, once its pause is over.
    fn send_again(&mut self, now_ns: u64) -> io::Result<()> {
        if self.again.is_empty() || now_ns < self.again_at_ns || self.written < self.output.len() {
            return Ok(());
        }
        self.output.clear();
        self.written = 0;
        while self.output.len() < OUTPUT
            && let Some((number, due_ns)) = self.again.pop_first()
        {
            self.wire.request(number, &mut self.output);
            self.under_way.push_back((number, due_ns));
        }
        self.flush()
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends so many requests at once, as far as the window goes; how many it were.
    fn send(&mut self, most: u64, window: usize, due_ns: impl Fn(u64) -> u64) -> io::Result<u64> {
        self.output.clear();
        self.written = 0;
        let mut sent = 0;
        while sent < most && (window == 0 || self.under_way.len() < window) && self.output.len() < OUTPUT {
            self.made += 1;
            self.wire.request(self.made, &mut self.output);
            self.under_way.push_back((self.made, due_ns(sent)));
            sent += 1;
        }
        self.flush()?;
        Ok(sent)
    }

    /// Reads all that is there, and takes the answers.
    fn receive(&mut self, since: Instant, report: &mut Report) -> Outcome<()> {
        loop {
            if self.filled == self.input.len() {
                self.input.resize((2 * self.input.len()).max(INPUT), 0);
            }
            let space = self.input.len() - self.filled;
            let count = match self.socket.read(&mut self.input[self.filled..]) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.filled += count;
            self.take_answers(since, report)?;
            if count < space {
                return Ok(());
            }
        }
    }

    fn take_answers(&mut self, since: Instant, report: &mut Report) -> Outcome<()> {
        let mut used = 0;
        while let Some((length, number, answer)) = self.wire.answer(&self.input[used..self.filled])? {
            used += length;
            let at = self.under_way.iter().position(|&(other, _)| number == 0 || other == number);
            let of = at.and_then(|at| self.under_way.remove(at));
            let (number, due_ns) = of.ok_or("an answer that nobody waits for")?;
            let now_ns = elapsed_ns(since);
            if answer == Answer::Busy {
                if self.again.is_empty() {
                    self.again_at_ns = now_ns + PAUSE_NS;
                }
                self.again.insert(number, due_ns);
            }
            report.answer(answer, due_ns, now_ns);
        }
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(())
    }
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Wakes the loop when requests are due: the loop's own timeout counts in whole milliseconds.
struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    fn start(waker: Waker, interval: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let run = move || {
            let begin = Instant::now();
            let mut beats = 0;
            while !seen.load(Ordering::Relaxed) && waker.wake().is_ok() {
                beats += 1;
                std::thread::sleep((begin + interval * beats).saturating_duration_since(Instant::now()));
            }
        };
        Self { stop, thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        _ = self.thread.take().map(JoinHandle::join);
    }
}

/// When requests are due, and until when.
struct Schedule {
    /// Nanoseconds between two requests; `None`: whenever one can be sent.
    interval_ns: Option<f64>,
    end_ns: u64,
    requests_max: u64,
}

impl Schedule {
    fn new(plan: &Plan) -> Self {
        let requests_max = if plan.transfers == 0 { u64::MAX } else { plan.transfers.div_ceil(plan.rows as u64) };
        Self {
            interval_ns: (plan.rate > 0.0).then(|| plan.rows as f64 / plan.rate * 1e9),
            end_ns: if plan.transfers == 0 { seconds_ns(plan.warm + plan.seconds) } else { u64::MAX },
            requests_max,
        }
    }

    /// Requests due by now.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturating")]
    fn due(&self, now_ns: u64) -> u64 {
        let until = now_ns.min(self.end_ns) as f64;
        self.interval_ns.map_or(u64::MAX, |interval| (until / interval) as u64 + 1).min(self.requests_max)
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturating")]
    fn due_ns(&self, request: u64, now_ns: u64) -> u64 {
        self.interval_ns.map_or(now_ns, |interval| (request as f64 * interval) as u64)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturating")]
fn seconds_ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Offers the load over these connections.
pub(crate) fn run(plan: &Plan, opened: Vec<(Box<dyn Socket>, Box<dyn Wire>)>) -> Outcome<Report> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    for (token, (mut socket, wire)) in opened.into_iter().enumerate() {
        poll.registry().register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        connections.push(Connection {
            socket,
            wire,
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
            filled: 0,
            made: 0,
            under_way: VecDeque::new(),
            again: BTreeMap::new(),
            again_at_ns: 0,
            is_ready: true,
        });
    }
    let mut ready: VecDeque<usize> = (0..connections.len()).collect();
    let count = connections.len() as u64;
    let schedule = Schedule::new(plan);
    let waker = Waker::new(poll.registry(), PACER)?;
    let beat = |interval: f64| Duration::from_nanos(seconds_ns(interval / 1e9)).clamp(BEAT_MIN, BEAT_MAX);
    let _pacer = schedule.interval_ns.map(|interval| Pacer::start(waker, beat(interval)));
    let since = Instant::now();
    let mut report = Report::new(seconds_ns(plan.warm), schedule.end_ns, plan.per);
    let mut events = Events::with_capacity(1_024);
    loop {
        let now_ns = elapsed_ns(since);
        let is_over = now_ns >= schedule.end_ns || report.sent >= schedule.requests_max;
        let due = schedule.due(now_ns);
        let most = report.sent + TURN_REQUESTS;
        while !is_over && report.sent < due.min(most) {
            let Some(at) = ready.pop_front() else { break };
            let connection = &mut connections[at];
            connection.is_ready = connection.may_send(plan.window);
            if !connection.is_ready {
                // It was told `busy` meanwhile.
                continue;
            }
            // Who is far behind shares a system call among several requests.
            let share = (due - report.sent).div_ceil(count).clamp(1, BURST);
            let now_ns = elapsed_ns(since);
            report.sent += connection.send(share, plan.window, |nth| schedule.due_ns(report.sent + nth, now_ns))?;
            connection.is_ready = connection.may_send(plan.window);
            if connection.is_ready {
                ready.push_back(at);
            }
        }
        if is_over && report.answered() == report.sent
            || elapsed_ns(since).saturating_sub(schedule.end_ns) > u64::try_from(PATIENCE.as_nanos())?
        {
            report.due = if schedule.interval_ns.is_some() { due } else { report.sent };
            report.close();
            return Ok(report);
        }
        let left_ns = schedule.end_ns.saturating_sub(now_ns).max(1_000_000);
        let is_behind = !is_over && report.sent < due && !ready.is_empty();
        let wait = if is_behind { Duration::ZERO } else { Duration::from_nanos(left_ns).min(BEAT_MAX) };
        poll.poll(&mut events, Some(wait))?;
        for event in &events {
            let Some(connection) = connections.get_mut(event.token().0) else { continue };
            if event.is_writable() {
                connection.flush()?;
            }
            if event.is_readable() || event.is_read_closed() {
                connection.receive(since, &mut report)?;
            }
        }
        let now_ns = elapsed_ns(since);
        for (at, connection) in connections.iter_mut().enumerate() {
            connection.send_again(now_ns)?;
            if !connection.is_ready && connection.may_send(plan.window) {
                connection.is_ready = true;
                ready.push_back(at);
            }
        }
    }
}

const BEAT_MIN: Duration = Duration::from_micros(200);
const BEAT_MAX: Duration = Duration::from_millis(100);
