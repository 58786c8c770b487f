//! Serialises the writers of a block: each holds the range of blocks that it changes.

use parking_lot::{Condvar, Mutex};

/// The ranges of one disk that are being changed.
#[derive(Debug, Default)]
pub struct Ranges {
    held: Mutex<Vec<(u64, u64)>>,
    freed: Condvar,
}

/// Holds a range until dropped.
pub struct Held<'a> {
    ranges: &'a Ranges,
    range: (u64, u64),
}

impl Ranges {
    /// Wait until no one holds a block of `first..end`, and hold it.
    pub fn hold(&self, first: u64, end: u64) -> Held<'_> {
        let mut held = self.held.lock();
        while held.iter().any(|&(a, b)| a < end && first < b) {
            self.freed.wait(&mut held);
        }
        held.push((first, end));
        Held { ranges: self, range: (first, end) }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = self.ranges.held.lock();
        let at = held.iter().position(|r| *r == self.range).expect("held");
        held.swap_remove(at);
        drop(held);
        self.ranges.freed.notify_all();
    }
}
