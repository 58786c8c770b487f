//! Requests that are done apart from their connection, and what they came to.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use super::proto::Request;
use crate::error::Error;

/// A request that is done.
pub struct Done {
    /// Which.
    pub request: Request,
    /// When it came.
    pub began: Instant,
    /// The data of a read.
    pub result: Result<Vec<u8>, Error>,
}

/// Where a connection finds what was done for it. Who puts something there never waits for the client.
///
/// While the lock is not held, the event is readable exactly when something is there: both change together.
pub struct Outbox {
    done: Mutex<Vec<Done>>,
    event: OwnedFd,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> io::Result<Outbox> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Outbox { done: Mutex::new(Vec::new()), event })
    }

    /// A request is done.
    pub fn put(&self, done: Done) {
        let mut waiting = self.done.lock();
        waiting.push(done);
        if waiting.len() == 1 {
            // It cannot fail: the counter is far from its end.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// All that is done by now.
    pub fn take(&self) -> Vec<Done> {
        let mut waiting = self.done.lock();
        if !waiting.is_empty() {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
        std::mem::take(&mut waiting)
    }
}

impl AsFd for Outbox {
    /// Readable when something is there.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// What connections share and is not to be used up: bytes of memory for requests done apart, places to wait awake in.
#[derive(Debug)]
pub struct Budget(AtomicUsize);

/// A part of it, until it is dropped.
pub struct Granted {
    budget: Arc<Budget>,
    part: usize,
}

impl Budget {
    /// So much.
    pub fn new(all: usize) -> Budget {
        Budget(AtomicUsize::new(all))
    }

    /// Take some, if it is left.
    pub fn take(self: &Arc<Budget>, part: usize) -> Option<Granted> {
        self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(part)).ok()?;
        Some(Granted { budget: self.clone(), part })
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.part, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// However puts and takes meet, whoever waits for the event hears of everything.
    #[test]
    fn nothing_is_put_unheard() {
        const EACH: usize = 100_000;
        let outbox = Arc::new(Outbox::new().unwrap());
        let putters = [(); 2].map(|()| {
            let outbox = outbox.clone();
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    let request = Request { flags: 0, command: 0, cookie: 0, offset: 0, length: 0 };
                    outbox.put(Done { request, began: Instant::now(), result: Ok(Vec::new()) });
                }
            })
        });
        let mut left = 2 * EACH;
        while left > 0 {
            let mut fds = [PollFd::new(&*outbox, PollFlags::IN)];
            let long = Timespec { tv_sec: 30, tv_nsec: 0 };
            assert_eq!(poll(&mut fds, Some(&long)).unwrap(), 1, "{left} were put unheard");
            let taken = outbox.take().len();
            assert!(taken > 0, "the event told of nothing");
            left -= taken;
        }
        for putter in putters {
            putter.join().unwrap();
        }
    }
}
