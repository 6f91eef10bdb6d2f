//! Reads that take longer than others can wait: they go on in steps, one at a wake.

use std::collections::VecDeque;

use qenex_journal::derived::LedgerStore;
use qenex_journal::disk::Disk;
use qenex_kernel::machine::Machine;
use qenex_kernel::store::Progress;

use super::write::Refusal;
use super::{Action, ConnectionId, Engine};
use crate::frame::{Draft, ErrorCode, Frame, Header, Row};
use crate::limits::{READINGS_MAX, READINGS_OF_CONNECTION_MAX};

/// What reads look at.
pub(super) type Ledger<D> = Machine<LedgerStore<D>>;

/// Goes on with a read; the frame once it is done.
pub(super) type Step<D> = Box<dyn FnMut(&Ledger<D>) -> Option<Frame> + Send>;

/// A read of which each step appends some rows.
pub(super) fn in_steps<D: Disk, R: Row + Send + 'static>(
    header: Header,
    capacity: usize,
    mut step: impl FnMut(&Ledger<D>, &mut Vec<R>) -> Progress + Send + 'static,
) -> Step<D> {
    let mut draft = Draft::new(capacity);
    Box::new(move |ledger| match step(ledger, draft.rows()) {
        Progress::More => None,
        Progress::Done => Some(draft.seal(header)),
    })
}

/// A read that is not done.
struct Reading<D: Disk> {
    connection: ConnectionId,
    header: Header,
    step: Step<D>,
}

/// Those under way, each in its turn.
pub(super) struct Readings<D: Disk>(VecDeque<Reading<D>>);

impl<D: Disk> Default for Readings<D> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<D: Disk> Readings<D> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A connection is over: nobody waits for its answers.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.0.retain(|reading| reading.connection != connection);
    }

    fn of(&self, connection: ConnectionId) -> usize {
        self.0.iter().filter(|reading| reading.connection == connection).count()
    }
}

impl<D: Disk> Engine<D> {
    /// Begins a read, which most often ends it.
    pub(super) fn begin_reading(
        &mut self,
        connection: ConnectionId,
        header: &Header,
        mut step: Step<D>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        if let Some(frame) = step(self.state.machine()) {
            self.metrics.reads += 1;
            actions.push(Action::Send { connection, frame });
            return Ok(());
        }
        if self.upkeep.stopping {
            return Err((ErrorCode::ShuttingDown, STOPPING.to_owned()));
        }
        let (all, own) = (self.readings.0.len(), self.readings.of(connection));
        if all >= READINGS_MAX || own >= READINGS_OF_CONNECTION_MAX {
            let text = format!(
                "{all} reads that take long are under way, {own} of them this connection's; {READINGS_MAX} are allowed, \
                 {READINGS_OF_CONNECTION_MAX} a connection"
            );
            return Err((ErrorCode::Busy, text));
        }
        self.readings.0.push_back(Reading { connection, header: *header, step });
        Ok(())
    }

    /// Takes one step of the read whose turn it is.
    pub(super) fn go_on_reading(&mut self, actions: &mut Vec<Action>) {
        let Some(mut reading) = self.readings.0.pop_front() else { return };
        match (reading.step)(self.state.machine()) {
            Some(frame) => {
                self.metrics.reads += 1;
                actions.push(Action::Send { connection: reading.connection, frame });
            }
            None => self.readings.0.push_back(reading),
        }
    }

    /// The engine ends: it waits for what changes something, not for questions.
    pub(super) fn end_readings(&mut self, actions: &mut Vec<Action>) {
        for reading in core::mem::take(&mut self.readings.0) {
            self.refuse(reading.connection, &reading.header, ErrorCode::ShuttingDown, STOPPING, actions);
        }
    }
}

const STOPPING: &str = "the server is stopping, and the read takes longer than it waits";
