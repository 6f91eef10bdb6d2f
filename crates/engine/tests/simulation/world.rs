//! A book through several lives: opened, used, cut short by a power failure at any point, opened again.

use std::collections::BTreeMap;

use qenex_engine::clock::{JUMP_NS, Now, SECOND_NS};
use qenex_engine::recover::{self, OpenOptions, Opened};
use qenex_engine::state::{Mark, State};
use qenex_journal::derived::{LedgerStore, Options as StoreOptions};
use qenex_journal::disk::sim::{Fault, Lies, Random};
use qenex_journal::disk::{Disk, SimDisk};
use qenex_journal::log::{EntryHeader, EntryKind, EntryView, Options as JournalOptions, read};

use crate::client::Client;
use crate::model::{Key, Model, index};
use crate::node::{Alive, Around, Node};
use crate::torn::TornGroups;
use crate::{BOOK, Bug, Failed, Outcome, Stats, ensure};

/// Turns that clients without new wishes may take until everything is answered.
const SETTLE_TURNS: u64 = 60_000;

/// Turns of the last life in which connections break.
const LAST_CUTS: u64 = 1_000;

pub struct World {
    random: Random,
    bug: Option<Bug>,
    disk: SimDisk,
    now: Now,
    model: Model,
    clients: Vec<Client>,
    journal: JournalOptions,
    store: StoreOptions,
    sessions_max: u32,
    stats: Stats,
    torn: TornGroups,
    /// The last life ended with an end entry.
    clean: bool,
    /// A checkpoint was damaged in this life or one before, so that one may be passed over.
    damaged: bool,
    /// A fault was injected: a disk that fails while the power is on ends the process too.
    faulty: bool,
}

/// Runs the world of a seed.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Stats, String> {
    let mut world = World::new(seed, bug);
    let lives = 1 + world.random.below(4);
    for _ in 0..lives {
        world.live(false).map_err(|failed| failed.0)?;
    }
    world.live(true).and_then(|()| world.settle()).map_err(|failed| failed.0)?;
    Ok(world.stats)
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let block = 4_096;
        let group_bytes_max = (2 + random.below(4)) * block;
        let file_bytes_first = group_bytes_max + (2 + random.below(4)) * block;
        let file_bytes_max = file_bytes_first * (1 + random.below(2));
        let segment_rows = 8 + u32::try_from(random.below(60)).expect("small");
        let clients = (0..1 + random.below(4)).map(|index| Client::new(index, &mut random)).collect();
        // Sometimes fewer sessions are remembered than there are clients.
        let few = random.chance(100);
        let stats = Stats { sessions_are_few: few, ..Stats::default() };
        Self {
            bug,
            disk: SimDisk::new(),
            now: Now { wall_ns: 1_800_000_000 * SECOND_NS, monotonic_ns: SECOND_NS },
            model: Model::new(),
            clients,
            journal: JournalOptions {
                file_bytes_least: file_bytes_first,
                file_bytes_first,
                file_bytes_max,
                group_bytes_max,
                // As an only book is kept, and as one of many.
                is_ahead: seed.is_multiple_of(2),
            },
            store: StoreOptions { segment_rows, segment_entries: 1 << 10, cache_bits: 2, ..StoreOptions::default() },
            sessions_max: if few { 2 } else { 100 },
            stats,
            torn: TornGroups::default(),
            clean: false,
            damaged: false,
            faulty: false,
            random,
        }
    }

    /// One life. The last one has no accident and ends when everybody is content.
    fn live(&mut self, last: bool) -> Outcome {
        self.prepare_disk(last);
        let lived = match self.open() {
            Ok(opened) => self.use_it(opened, last),
            Err(failed) => Err(failed),
        };
        match lived {
            // Nothing else may have gone wrong.
            Err(failed) if self.disk.is_off() && failed.0.contains("the power is off") => {}
            Err(failed) if self.faulty && failed.0.contains("os error 5") => {}
            Err(failed) => return Err(failed),
            Ok(()) if last => return Ok(()),
            Ok(()) => {}
        }
        self.stats.lives += 1;
        self.stats.crashes += u64::from(self.disk.is_off());
        self.disk = if self.random.chance(200) {
            // Only the process is gone, not what the system holds.
            self.disk.copy()
        } else {
            self.disk.crash(self.random.next_u64())
        };
        self.clients.iter_mut().for_each(Client::hang_up);
        self.pass_time(SECOND_NS * 5);
        Ok(())
    }

    fn prepare_disk(&mut self, last: bool) {
        self.faulty = false;
        self.disk.set_capacity(u64::MAX);
        self.disk.lie(match self.bug {
            Some(Bug::SyncSkipped) => Lies { sync: true, sync_folder: false, of: "" },
            Some(Bug::FolderNotSynced) => Lies { sync: false, sync_folder: true, of: "" },
            Some(Bug::TornNotSynced) => Lies { sync: true, sync_folder: false, of: "journal/cut" },
            Some(Bug::TornNameNotSynced) => Lies { sync: false, sync_folder: true, of: "journal/cut" },
            _ => Lies::default(),
        });
        if self.random.chance(50) {
            // Somebody deletes what can be made anew.
            for name in self.disk.list("checkpoints").unwrap_or_default() {
                self.disk.remove(&name).expect("it is listed");
            }
        }
        if self.random.chance(100)
            && let Some(name) = self.disk.list("checkpoints").ok().and_then(|names| names.last().cloned())
        {
            let length = self.disk.contents(&name).expect("it is listed").len() as u64;
            if length > 0 {
                self.disk.flip_bit(&name, index(self.random.below(length)), 3);
                self.damaged = true;
            }
        }
        if last {
            return;
        }
        if self.random.chance(850) {
            let within = if self.random.chance(300) { 30 } else { 400 };
            let point = self.disk.points() + 1 + self.random.below(within);
            self.disk.crash_at(point);
        }
        if self.random.chance(30) {
            self.disk.inject(Fault::SyncFails, self.random.below(60));
            self.faulty = true;
        }
    }

    fn open(&mut self) -> Result<Opened<SimDisk>, Failed> {
        self.torn.check(&self.disk)?;
        self.torn.foresee(&self.disk, self.journal);
        let options = OpenOptions {
            book: Some(BOOK),
            incarnation: [0x11; 16],
            writer: self.random_16(),
            now: self.now,
            clock_trusted: self.random.chance(500),
            journal: self.journal,
            store: self.store,
        };
        // A start that fails half-way may have taken the mark of a clean end away.
        let clean_before = core::mem::take(&mut self.clean);
        let mut opened = recover::open(&self.disk, &options)?;
        if clean_before {
            let clean = opened.recovery.as_ref().is_some_and(|recovery| recovery.clean);
            ensure(clean, || "the last life ended cleanly, and that cannot be seen".to_owned())?;
        }
        ensure(opened.passed_over.is_empty() || self.damaged, || format!("{:?}", opened.passed_over))?;
        self.stats.opened(&opened);
        self.model.recovered(&self.disk, opened.tip.number)?;
        self.model.compare(&opened.state)?;
        self.plant(&mut opened)?;
        Ok(opened)
    }

    /// Builds a planted bug into the state that the engine goes on from.
    fn plant(&self, opened: &mut Opened<SimDisk>) -> Outcome {
        match self.bug {
            Some(Bug::RetryForgotten) => {
                opened.state = replay(&self.disk, self.disk.clone(), self.store, opened.tip.number, true)?;
            }
            Some(Bug::RollbackOneShort) => opened.state.store_mut().roll_back_one_short(),
            _ => {}
        }
        Ok(())
    }

    fn use_it(&mut self, opened: Opened<SimDisk>, last: bool) -> Outcome {
        let trusted = self.random.chance(500);
        let file = opened.journal.header().file;
        let counters = opened.state.machine().store().counters();
        // The state of that planted bug has begun no checkpoint; it is not what gives it away.
        let closed = if self.bug == Some(Bug::RetryForgotten) { 0 } else { counters.segments - 1 };
        let mut node = Node::new(self.disk.clone(), opened, self.bug, self.sessions_max, trusted, self.now);
        let turns = if last { SETTLE_TURNS } else { 100 + self.random.below(1_500) };
        let stop_at = if self.random.chance(250) { self.random.below(turns) } else { u64::MAX };
        // Somebody fills the disk for a while.
        let full = if self.random.chance(60) { (self.random.below(turns), self.random.below(400)) } else { (0, 0) };
        let mut tears = !last && self.random.chance(250);
        for turn in 0..turns {
            if tears && turn > turns / 4 && node.is_writing() {
                // The power fails in the middle of a group, which is when one can be torn.
                self.disk.crash_at(self.disk.points() + 1);
                tears = false;
            }
            let stopping = !last && turn >= stop_at;
            let applied = node.engine().state().entry() == self.model.durable();
            // What was closed when it was opened need not be replayed again.
            let is_spared = node.engine().state().newest().segments >= closed;
            if last && applied && is_spared && self.clients.iter().all(Client::is_done) && node.is_quiet() {
                return self.examine(&node);
            }
            if !last && full.1 > 0 && (turn == full.0 || turn == full.0 + full.1) {
                self.disk.set_capacity(u64::MAX);
                let used = u64::MAX - self.disk.free_bytes()?;
                self.disk.set_capacity(if turn == full.0 { used + 2_048 } else { u64::MAX });
            }
            let below_ns = match self.random.below(200) {
                0 => 4 * SECOND_NS,
                1..4 => SECOND_NS,
                _ => 200_000,
            };
            self.pass_time(below_ns);
            if !last && self.random.chance(2) {
                self.jump();
            }
            // In the last life too, at first: whoever comes back must be answered on the new connection.
            let cut = if last { turn < LAST_CUTS && self.random.chance(20) } else { self.random.chance(4) };
            let mut around = Around {
                now: &mut self.now,
                random: &mut self.random,
                model: &mut self.model,
                clients: &mut self.clients,
                stats: &mut self.stats,
            };
            if cut {
                node.cut(&mut around);
            }
            if turn == stop_at && !last {
                node.stop(&mut around)?;
            }
            match node.turn(&mut around, !last && !stopping)? {
                Alive::Yes => {}
                Alive::Stopped => {
                    self.clean = true;
                    break;
                }
                Alive::Died => break,
            }
        }
        self.stats.rotations += node.file() - file;
        ensure(!last, || {
            let segments = node.engine().state().newest().segments;
            format!(
                "after {SETTLE_TURNS} turns not everybody has an answer, or the newest checkpoint has {segments} segments, \
                 not the {closed} that were replayed"
            )
        })
    }

    /// Time goes on, by less than this.
    fn pass_time(&mut self, below_ns: u64) {
        let passed_ns = self.random.below(below_ns);
        self.now.monotonic_ns += passed_ns;
        self.now.wall_ns += passed_ns;
    }

    /// Somebody sets the clock.
    fn jump(&mut self) {
        let jump_ns = self.random.below(JUMP_NS + JUMP_NS / 4);
        self.now.wall_ns =
            if self.random.chance(500) { self.now.wall_ns + jump_ns } else { self.now.wall_ns - jump_ns / 8 };
    }

    /// What the engine holds at the end is what the journal alone gives, to the byte, as often as one likes.
    fn examine(&mut self, node: &Node) -> Outcome {
        let state = node.engine().state();
        self.model.compare(state)?;
        let last_group = state.group();
        let disk = SimDisk::new();
        let one = replay(&self.disk, disk.clone(), self.store, last_group, false)?;
        let again = self.random.chance(250);
        let other = again.then(|| replay(&self.disk, SimDisk::new(), self.store, last_group, false)).transpose()?;
        for replayed in core::iter::once(&one).chain(&other) {
            ensure(state.mark() == replayed.mark(), || "a replay of the journal gives another state".to_owned())?;
            ensure(state.sessions() == replayed.sessions(), || "a replay gives other sessions".to_owned())?;
        }
        for name in disk.list("segments").unwrap_or_default() {
            let theirs = self.disk.contents(&name);
            ensure(theirs.is_none() || theirs == disk.contents(&name), || format!("{name} differs on two machines"))?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome {
        let abandoned: Vec<Key> = self.clients.iter().flat_map(|client| client.abandoned.clone()).collect();
        self.model.settle(&abandoned, &mut self.stats)?;
        self.torn.check(&self.disk)?;
        self.stats.kept += self.torn.kept(&self.disk);
        self.stats.seeds += 1;
        Ok(())
    }

    fn random_16(&mut self) -> [u8; 16] {
        let mut bytes = [1; 16];
        bytes[..8].copy_from_slice(&self.random.next_u64().to_le_bytes());
        bytes
    }
}

/// The state that the journal alone gives, with its segments on `target`; marks and hashes of results must say the same.
/// With `forget_retries` nobody keeps which session has used which number (a planted bug).
fn replay(
    disk: &SimDisk,
    target: SimDisk,
    options: StoreOptions,
    last_group: u64,
    forget_retries: bool,
) -> Result<State<SimDisk>, Failed> {
    let mut state = State::new(LedgerStore::new(target.clone(), BOOK, options));
    let mut results = Vec::new();
    let (mut marks, mut hashes) = (BTreeMap::new(), BTreeMap::from([(0, [0; 32])]));
    for group in read(disk, 1, last_group)? {
        let group = group?;
        let stated = (group.header().applied, group.header().results_hash);
        ensure(hashes.get(&stated.0) == Some(&stated.1), || format!("not the results of group {}", stated.0))?;
        for view in group.entries() {
            results.clear();
            let forget = forget_retries && view.header.kind == EntryKind::Command.number();
            let session = if forget { [0; 16] } else { view.header.session };
            let header = EntryHeader { session, ..*view.header };
            state.apply(&EntryView { header: &header, ..view }, None, &mut results)?;
            if state.ends_segment() {
                marks.insert(state.entry(), state.mark());
            }
            if view.header.kind == EntryKind::Mark.number() && !forget_retries {
                let mark = view.rows_as::<Mark>().expect("a mark")[0];
                ensure(marks.get(&mark.entry) == Some(&mark), || {
                    format!("entry {} marks another state", state.entry())
                })?;
            }
            while let Some(job) = state.take_seal_job() {
                let segment = job.run(&target)?;
                state.store_mut().sealed_at_once(segment);
            }
        }
        state.end_group(group.header().number);
        hashes.insert(group.header().number, *state.results_hash());
    }
    Ok(state)
}
