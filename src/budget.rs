//! What fan-outs may hold in memory, all of them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that are left.
#[derive(Debug)]
pub struct Budget(AtomicU64);

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Arc<Budget> {
        Arc::new(Budget(AtomicU64::new(bytes)))
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
        let took = self.budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if took.is_ok() {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        took.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_add(*self.taken.get_mut(), Ordering::Relaxed);
    }
}
