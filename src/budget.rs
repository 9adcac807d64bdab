//! What fan-outs may hold in memory, all of them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that there are, and how many of them are taken.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicU64,
    taken: AtomicU64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Arc<Budget> {
        Arc::new(Budget { bytes: AtomicU64::new(bytes), taken: AtomicU64::new(0) })
    }

    /// Makes it one of so many bytes. What is taken already stays, even if it is more.
    pub fn resize(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// A share for one request, empty at first.
    pub fn share(self: &Arc<Budget>) -> Arc<Share> {
        Arc::new(Share { budget: self.clone(), taken: AtomicU64::new(0) })
    }
}

/// What one request holds; it is given back when the request is over.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    taken: AtomicU64,
}

impl Share {
    /// Takes so many bytes more; false if there are not as many left.
    pub fn take(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let there_are = self.budget.bytes.load(Ordering::Relaxed);
        let took = self.budget.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(bytes).filter(|taken| *taken <= there_are)
        });
        if took.is_ok() {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        took.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(*self.taken.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_budget_counts_what_is_taken_already() {
        let budget = Budget::new(10);
        let (old, new) = (budget.share(), budget.share());
        assert!(old.take(8) && !new.take(3));
        budget.resize(5);
        assert!(!new.take(1));
        drop(old);
        assert!(new.take(5) && !new.take(1));
        budget.resize(6);
        assert!(new.take(1) && !new.take(1));
    }
}
