//! How fast freed space is given back while others write.
//!
//! While a file system makes a hole it may let nobody write to the file, and where it passes discards on to its disk that
//! can take longer than many writes. So in the background each hole is followed by a rest, as long as someone writes;
//! not so where someone waits for the space.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// A rest is so many times as long as the hole took: writers lose a twentieth of their time at most.
const REST: u32 = 19;
/// The longest rest, so that who begins to hurry waits no longer than this.
const LONGEST: Duration = Duration::from_millis(20);

/// Says when to rest.
#[derive(Debug, Default)]
pub struct Pace {
    /// Those who wait for all to be given back.
    hurried: AtomicUsize,
    /// A write found no space, and what was free then is not all given back yet.
    full: AtomicBool,
    /// The number of writes after the last hole.
    writes: AtomicU64,
}

/// Someone waits, until this is dropped.
pub struct Hurry<'a>(&'a Pace);

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.hurried.fetch_sub(1, SeqCst);
    }
}

impl Pace {
    /// Someone waits for all to be given back.
    pub fn hurry(&self) -> Hurry<'_> {
        self.hurried.fetch_add(1, SeqCst);
        Hurry(self)
    }

    /// A write found no space.
    pub fn note_full(&self) {
        self.full.store(true, SeqCst);
    }

    /// Nothing is left to be given back.
    pub fn note_done(&self) {
        self.full.store(false, SeqCst);
    }

    /// How long to rest after a hole that took so long, there having been so many writes in all by then.
    pub fn rest(&self, took: Duration, writes: u64) -> Duration {
        let quiet = self.writes.swap(writes, SeqCst) == writes;
        if quiet || self.hurried.load(SeqCst) > 0 || self.full.load(SeqCst) {
            return Duration::ZERO;
        }
        (took * REST).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_unless_someone_waits_or_there_is_no_space() {
        let pace = Pace::default();
        let took = Duration::from_micros(100);
        let mut writes = 0;
        let mut rest = |took| {
            writes += 1;
            pace.rest(took, writes)
        };
        assert_eq!(rest(took), took * REST);
        assert_eq!(rest(Duration::from_secs(1)), LONGEST);
        let first = pace.hurry();
        let second = pace.hurry();
        drop(first);
        assert_eq!(rest(took), Duration::ZERO);
        drop(second);
        assert_eq!(rest(took), took * REST);
        pace.note_full();
        assert_eq!(rest(took), Duration::ZERO);
        pace.note_done();
        assert_eq!(rest(took), took * REST);
        assert_eq!(pace.rest(took, writes), Duration::ZERO, "no one wrote");
    }
}
