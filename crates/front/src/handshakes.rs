//! Handshakes under way, of which there are few at a time: where one more comes, the oldest makes room. It takes nothing to
//! connect, so that whoever only connects must not keep others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Those of one door.
#[derive(Debug)]
pub(crate) struct Handshakes {
    at_most: usize,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// Dropping the sender tells the handshake that its time is over.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The place of one handshake, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    of: Arc<Handshakes>,
}

impl Handshakes {
    /// Room for this many, at least one.
    pub(crate) fn new(at_most: usize) -> Arc<Self> {
        Arc::new(Self { at_most: at_most.max(1), under_way: Mutex::default() })
    }

    /// Takes a place, and says what resolves once another needs it.
    pub(crate) fn enter(self: &Arc<Self>) -> (Place, oneshot::Receiver<()>) {
        let (sender, evicted) = oneshot::channel();
        let mut under_way = self.lock();
        let number = under_way.next;
        under_way.next += 1;
        if under_way.by_age.len() >= self.at_most {
            under_way.by_age.pop_first();
        }
        under_way.by_age.insert(number, sender);
        drop(under_way);
        (Place { number, of: self.clone() }, evicted)
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.lock().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_who_is_done_gives_its_place_back() {
        let handshakes = Handshakes::new(2);
        let (_first, mut evicted_first) = handshakes.enter();
        let (second, mut evicted_second) = handshakes.enter();
        drop(second);
        let (_third, mut evicted_third) = handshakes.enter();
        assert_eq!(evicted_first.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(matches!(evicted_second.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        let _fourth = handshakes.enter();
        assert_eq!(evicted_first.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(evicted_third.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    }
}
