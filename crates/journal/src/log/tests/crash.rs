//! Power fails at every kind of moment: what was acknowledged is there, once, and nothing else.

use super::*;
use crate::disk::sim::Lies;

/// What a run of crashes must find again.
struct World {
    random: Random,
    disk: SimDisk,
    /// Hashes of the groups that were acknowledged, in order.
    acknowledged: Vec<Hash>,
    /// The group that was being appended when the power failed.
    doubtful: Option<Hash>,
    lies: Lies,
    starts: u64,
}

type Outcome = core::result::Result<(), String>;

impl World {
    fn new(seed: u64, lies: Lies) -> Self {
        let random = Random::new(seed);
        Self { random, disk: SimDisk::new(), acknowledged: Vec::new(), doubtful: None, lies, starts: 0 }
    }

    fn acknowledge(&mut self, tip: &Tip) {
        self.acknowledged.push(tip.hash);
        self.doubtful = None;
    }

    /// Opens, starts, appends and perhaps ends, until it is done or the power fails.
    fn live(&mut self) -> core::result::Result<(), JournalError> {
        if self.disk.list(FOLDER).map_or(0, |names| names.iter().filter(|name| name.ends_with(".qxj")).count()) == 0 {
            Journal::create(&self.disk, &genesis())?;
        }
        let (mut journal, _) = Journal::open(&self.disk, SMALL, 0)?;
        self.starts += 1;
        let tip = journal.start(writer(self.starts), 1, journal.tip().timestamp + 1000)?;
        self.acknowledge(&tip);
        let mut group = GroupBuilder::new(3 << 12);
        let mut job = None;
        for _ in 0..self.random.below(12) {
            // The background prepares a file a step at a time, between groups.
            job = job.or_else(|| journal.reserve().prepare_next());
            if let Some(work) = &mut job
                && work.step()? == Progress::Done
            {
                job = None;
            }
            fill(&mut self.random, journal.tip(), &mut group);
            if group.disk_bytes() > journal.reserve().reserved_bytes() {
                while let Some(work) = &mut job
                    && work.step()? != Progress::Done
                {}
                job = None;
            }
            let tip = *journal.tip();
            match journal.append(tip.number, &tip.hash, journal.header().epoch, &mut group)? {
                Appended::Appended(tip) => self.acknowledge(&tip),
                Appended::Unknown(error) => {
                    self.doubtful = Some(group.header().chain_hash());
                    return Err(error.into());
                }
                Appended::Fenced(epoch) => panic!("fenced by {epoch}"),
            }
        }
        if self.random.chance(300) {
            let tip = journal.end(journal.tip().timestamp + 1, 0, [0; 32])?;
            self.acknowledge(&tip);
        }
        Ok(())
    }

    /// Checks the disk against what was acknowledged. The journal's own groups (a start's, an end's) may
    /// be there without having been acknowledged, and so may the one that was under way: at the end, once.
    fn check(&mut self) -> Outcome {
        let opened = Journal::open(&self.disk, SMALL, 0);
        if matches!(opened, Err(JournalError::Missing)) && self.acknowledged.is_empty() {
            return Ok(());
        }
        let (journal, _) = opened.map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        let mut own = false;
        verify(&self.disk, None, |group, _| {
            found.push(*group.hash());
            let kind = group.entries().next().expect("one").header.kind;
            own = kind == EntryKind::Epoch.number() || kind == EntryKind::End.number();
            Ok(())
        })
        .map_err(|error| error.to_string())?;
        if !found.starts_with(&self.acknowledged) {
            return Err(format!("{} groups were acknowledged, {} found", self.acknowledged.len(), found.len()));
        }
        match &found[self.acknowledged.len()..] {
            [] => {}
            [hash] if Some(*hash) == self.doubtful || own => {}
            more => return Err(format!("{} groups were never appended", more.len())),
        }
        if journal.tip().number != found.len() as u64 {
            return Err("recovery and the walk disagree".to_owned());
        }
        self.acknowledged = found;
        self.doubtful = None;
        Ok(())
    }

    fn run(&mut self, lives: u64) -> Outcome {
        for _ in 0..lives {
            self.disk.lie(self.lies);
            let point = self.disk.points() + 1 + self.random.below(70);
            self.disk.crash_at(point);
            let lived = self.live();
            if let Err(error) = &lived
                && !self.disk.is_off()
            {
                return Err(format!("without a power failure: {error}"));
            }
            // Without a crash in its life the power fails after it.
            let seed = self.random.next_u64();
            self.disk = self.disk.crash(seed);
            // Recovery too can be cut short, and is then repeated.
            if self.random.chance(300) {
                let point = 1 + self.random.below(6);
                self.disk.crash_at(point);
                if Journal::open(&self.disk, SMALL, 0).is_err() && self.disk.is_off() {
                    let seed = self.random.next_u64();
                    self.disk = self.disk.crash(seed);
                } else {
                    self.disk = self.disk.copy();
                }
            }
            self.check()?;
        }
        Ok(())
    }
}

#[test]
fn what_was_acknowledged_is_there_once_and_nothing_else() {
    for seed in 0..3000 {
        World::new(seed, Lies::default()).run(4).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn the_simulation_sees_a_sync_that_is_skipped() {
    let lies = Lies { sync: true, sync_folder: false, of: "" };
    let caught = (0..50).filter(|seed| World::new(*seed, lies).run(4).is_err()).count();
    assert!(caught > 40, "{caught} of 50");
}

#[test]
fn the_simulation_sees_a_folder_that_is_not_synced() {
    let lies = Lies { sync: false, sync_folder: true, of: "" };
    let caught = (0..50).filter(|seed| World::new(*seed, lies).run(4).is_err()).count();
    assert!(caught > 25, "{caught} of 50");
}
