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
        let done = std::mem::take(&mut *self.done.lock());
        if !done.is_empty() {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
        done
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
