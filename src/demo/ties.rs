//! Arbitrary order, chosen by a seed.
//!
//! zot's sort is not stable and its input comes out of maps: among items with equal keys any order may be answered, and
//! mostly a different one each time. A stand-in that always answered ties in one order would hide every gateway that
//! leans on it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of arbitrary orders.
#[derive(Debug)]
pub struct Ties {
    seed: u64,
    asked: AtomicU64,
}

impl Ties {
    /// The orders of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, asked: AtomicU64::new(0) }
    }

    /// The order of one request: another one each time.
    pub fn fresh(&self) -> Shuffle {
        Shuffle(self.seed ^ self.asked.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The order that stays the same in one process, as what a zot stored in map order once.
    pub fn lasting(&self) -> Shuffle {
        Shuffle(self.seed)
    }
}

/// One sequence of choices (splitmix64).
#[derive(Debug)]
pub struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Brings some items into an arbitrary order.
    pub fn order<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = usize::try_from(self.next() % (last as u64 + 1)).unwrap_or(last);
            items.swap(last, chosen);
        }
    }

    /// A number of 32 hexadecimal digits, for the names of uploads and sessions.
    pub fn name(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_and_requests_differ() {
        let order = |mut shuffle: Shuffle| {
            let mut items: Vec<u32> = (0..20).collect();
            shuffle.order(&mut items);
            items
        };
        let (one, other) = (Ties::new(1), Ties::new(1));
        assert_eq!(order(one.fresh()), order(other.fresh()));
        assert_ne!(order(one.fresh()), order(one.fresh()));
        assert_eq!(order(one.lasting()), order(one.lasting()));
        assert_ne!(order(Ties::new(1).lasting()), order(Ties::new(2).lasting()));
    }
}
