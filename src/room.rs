//! How much may be under way somewhere at a time, and a short queue for what comes when that is full.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound with a queue: as many as may be under way may wait for their turn, for a short time.
#[derive(Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    queue: Semaphore,
    most: usize,
    patience: Duration,
}

/// A place in it, held as long as what it was taken for is under way.
pub type Seat = OwnedSemaphorePermit;

impl Room {
    /// Room for `most` at a time; one more waits for `patience` at most.
    pub fn new(most: usize, patience: Duration) -> Room {
        let most = most.min(Semaphore::MAX_PERMITS);
        Room { places: Arc::new(Semaphore::new(most)), queue: Semaphore::new(most), most, patience }
    }

    /// A place, now or soon; `None` if there is none.
    pub async fn enter(&self) -> Option<Seat> {
        if let Some(place) = self.try_enter() {
            return Some(place);
        }
        let _waiting = self.queue.try_acquire().ok()?;
        tokio::time::timeout(self.patience, self.places.clone().acquire_owned()).await.ok()?.ok()
    }

    /// A place, if there is one now.
    pub fn try_enter(&self) -> Option<Seat> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_more_waits_for_its_turn_and_no_more_than_that_wait() {
        let room = Arc::new(Room::new(1, Duration::from_secs(60)));
        let seat = room.enter().await.unwrap();
        assert_eq!((room.taken(), room.try_enter().is_none()), (1, true));
        let mut waiting = Box::pin(room.enter());
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(room.enter().await.is_none(), "the queue is full");
        drop(seat);
        drop(waiting.await.unwrap());
        assert_eq!(room.taken(), 0);
        let room = Room::new(1, Duration::from_millis(1));
        let _seat = room.try_enter().unwrap();
        assert!(room.enter().await.is_none(), "its time is over");
    }
}
