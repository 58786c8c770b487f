//! What concurrent readers may see: for every piece of a disk, when which token was written to it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;

/// Moments, in one order for all threads.
#[derive(Default)]
pub struct Clock(AtomicU64);

impl Clock {
    pub fn now(&self) -> u64 {
        self.0.fetch_add(1, SeqCst) + 1
    }
}

/// Something that gave a piece a token, at some moment between its start and its end.
struct Event {
    token: u64,
    start: u64,
    end: u64,
}

/// An event under way, for [`History::end`].
pub struct Begun(usize);

/// The past of one piece.
pub struct History(Mutex<Vec<Event>>);

impl History {
    /// A piece that holds `token` from the first.
    pub fn new(token: u64) -> History {
        History(Mutex::new(vec![Event { token, start: 0, end: 0 }]))
    }

    pub fn begin(&self, token: u64, now: u64) -> Begun {
        let mut events = self.0.lock();
        events.push(Event { token, start: now, end: u64::MAX });
        Begun(events.len() - 1)
    }

    /// It is done. One that failed and may show or may not never ends.
    pub fn end(&self, begun: &Begun, now: u64) {
        self.0.lock()[begun.0].end = now;
    }

    /// It did not happen.
    pub fn undo(&self, begun: &Begun) {
        self.0.lock()[begun.0].start = u64::MAX;
    }

    /// Whether someone who looked between two moments may have seen a token: one that was written, and not surely
    /// overwritten before they began.
    pub fn allows(&self, token: u64, start: u64, end: u64) -> bool {
        let events = self.0.lock();
        let gone_by = events.iter().filter(|event| event.end < start).map(|event| event.start).max();
        let gone_by = gone_by.unwrap_or(0);
        events.iter().any(|event| event.token == token && event.start < end && event.end >= gone_by)
    }

    /// For people: the last events, as token, start and end.
    pub fn told(&self) -> String {
        let events = self.0.lock();
        let last = events.iter().rev().take(8).map(|e| format!("{}@{}..{}", e.token, e.start, e.end));
        last.collect::<Vec<_>>().join(", ")
    }
}
