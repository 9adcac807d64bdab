//! How much may be under way somewhere at a time, and a short queue for what comes when that is full.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound with a queue: as many as may be under way may wait for their turn, for a short time.
#[derive(Debug)]
pub struct Room {
    seats: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    bounds: Mutex<Bounds>,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    most: usize,
    patience: Duration,
}

/// A place in it, held as long as what it was taken for is under way.
pub type Seat = OwnedSemaphorePermit;

impl Room {
    /// Room for `most` at a time; one more waits for `patience` at most.
    pub fn new(most: usize, patience: Duration) -> Room {
        let most = most.min(Semaphore::MAX_PERMITS);
        let [seats, queue] = [(); 2].map(|()| Arc::new(Semaphore::new(most)));
        Room { seats, queue, bounds: Mutex::new(Bounds { most, patience }) }
    }

    /// Has other bounds from now on. Seats that are too many at the moment go when they are given back.
    pub fn resize(&self, most: usize, patience: Duration) {
        let most = most.min(Semaphore::MAX_PERMITS);
        let before = std::mem::replace(&mut *self.bounds.lock(), Bounds { most, patience });
        resize(&self.seats, before.most, most);
        resize(&self.queue, before.most, most);
    }

    /// Has the bounds of another room from now on.
    pub fn resize_as(&self, other: &Room) {
        let Bounds { most, patience } = *other.bounds.lock();
        self.resize(most, patience);
    }

    /// A place, now or soon; `None` if there is none.
    pub async fn enter(&self) -> Option<Seat> {
        if let Some(seat) = self.try_enter() {
            return Some(seat);
        }
        let _waiting = self.queue.try_acquire().ok()?;
        let patience = self.bounds.lock().patience;
        tokio::time::timeout(patience, self.seats.clone().acquire_owned()).await.ok()?.ok()
    }

    /// A place, if there is one now.
    pub fn try_enter(&self) -> Option<Seat> {
        self.seats.clone().try_acquire_owned().ok()
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.bounds.lock().most.saturating_sub(self.seats.available_permits())
    }
}

/// Changes how many permits there are. Those that are too many at the moment go when they are given back.
fn resize(semaphore: &Arc<Semaphore>, from: usize, to: usize) {
    semaphore.add_permits(to.saturating_sub(from));
    let surplus = from.saturating_sub(to);
    let held = surplus - semaphore.forget_permits(surplus);
    if held > 0 {
        let semaphore = semaphore.clone();
        tokio::spawn(async move {
            // One by one: there may be more than one call can take. Nobody closes the semaphore.
            for _ in 0..held {
                if let Ok(permit) = semaphore.acquire().await {
                    permit.forget();
                }
            }
        });
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

    #[tokio::test]
    async fn permits_that_are_held_go_when_they_are_given_back() {
        let semaphore = Arc::new(Semaphore::new(4));
        let mut held: Vec<_> = (0..3).map(|_| semaphore.clone().try_acquire_owned().unwrap()).collect();
        resize(&semaphore, 4, 2);
        resize(&semaphore, 2, 1);
        tokio::task::yield_now().await;
        assert!(semaphore.try_acquire().is_err());
        while let Some(permit) = held.pop() {
            drop(permit);
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            assert_eq!(semaphore.available_permits(), usize::from(held.is_empty()));
        }
        resize(&semaphore, 1, 5);
        assert_eq!(semaphore.available_permits(), 5);
    }
}
