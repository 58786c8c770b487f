//! Grace periods: when has every read and write ended that may have seen a block before it was freed?
//!
//! Input and output enter before they look up blocks and leave when they are done with them. An epoch ends
//! when all that entered in the epoch before it have left; so once two epochs ended after a moment, everything
//! that was under way at that moment is over. No one waits: who frees blocks asks again later.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// Counts who is inside, by the parity of the epoch in which they entered.
#[derive(Debug, Default)]
pub struct Grace {
    epoch: AtomicU64,
    inside: [AtomicUsize; 2],
}

/// While it lives, blocks that were looked up are not reused.
pub struct Inside<'a> {
    count: &'a AtomicUsize,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, SeqCst);
    }
}

/// A moment, to be asked about later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Grace {
    /// Begin a read or write.
    pub fn enter(&self) -> Inside<'_> {
        loop {
            let epoch = self.epoch.load(SeqCst);
            let count = &self.inside[(epoch & 1) as usize];
            count.fetch_add(1, SeqCst);
            let inside = Inside { count };
            // If the epoch went on in between, this count may be taken for an older one's: enter anew.
            if self.epoch.load(SeqCst) == epoch {
                return inside;
            }
        }
    }

    /// Now.
    pub fn moment(&self) -> Moment {
        Moment(self.epoch.load(SeqCst))
    }

    /// Whether everything that was inside at `moment` has left. Ends epochs where it can.
    pub fn is_over(&self, moment: Moment) -> bool {
        loop {
            let epoch = self.epoch.load(SeqCst);
            if epoch >= moment.0 + 2 {
                return true;
            }
            if self.inside[((epoch + 1) & 1) as usize].load(SeqCst) != 0 {
                return false;
            }
            // Another may have ended it at the same time; either way it is over.
            let _ = self.epoch.compare_exchange(epoch, epoch + 1, SeqCst, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_those_inside_at_the_moment_and_no_others() {
        let grace = Grace::default();
        let first = grace.enter();
        let moment = grace.moment();
        assert!(!grace.is_over(moment));
        let second = grace.enter();
        drop(first);
        assert!(
            grace.is_over(moment) || {
                // The second one entered in the same epoch and counts with it.
                drop(second);
                grace.is_over(moment)
            }
        );
    }

    #[test]
    fn over_at_once_when_no_one_is_inside() {
        let grace = Grace::default();
        assert!(grace.is_over(grace.moment()));
    }
}
