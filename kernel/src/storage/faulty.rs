//! [`Storage`] that fails on request.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Storage;

/// When to fail, shared by the storages of one store.
#[derive(Debug)]
pub struct FaultPlan {
    calls: AtomicU64,
    /// Calls that still succeed; below zero every call fails while `length` lasts.
    countdown: AtomicI64,
    length: AtomicI64,
    errno: AtomicI64,
}

impl FaultPlan {
    /// No faults until [`FaultPlan::fail`].
    pub fn new() -> Arc<FaultPlan> {
        Arc::new(FaultPlan {
            calls: AtomicU64::new(0),
            countdown: AtomicI64::new(i64::MAX),
            length: AtomicI64::new(0),
            errno: AtomicI64::new(0),
        })
    }

    /// Let `after` more calls succeed, then fail `length` calls with the operating system's `errno`.
    pub fn fail(&self, after: u64, length: u64, errno: i32) {
        self.errno.store(errno.into(), Ordering::SeqCst);
        self.length.store(length as i64, Ordering::SeqCst);
        self.countdown.store(after as i64, Ordering::SeqCst);
    }

    /// Calls made so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn step(&self) -> io::Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.countdown.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        if self.length.fetch_sub(1, Ordering::SeqCst) > 0 {
            let errno = self.errno.load(Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(errno as i32));
        }
        Ok(())
    }
}

/// Passes calls on until the plan says otherwise. A failed call does nothing.
#[derive(Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    plan: Arc<FaultPlan>,
}

impl FaultyStorage {
    /// Fail `inner` by `plan`.
    pub fn new(inner: Arc<dyn Storage>, plan: Arc<FaultPlan>) -> FaultyStorage {
        FaultyStorage { inner, plan }
    }
}

impl Storage for FaultyStorage {
    fn len(&self) -> io::Result<u64> {
        self.plan.step()?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.plan.step()?;
        self.inner.set_len(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.plan.step()?;
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.plan.step()?;
        self.inner.write_at(offset, data)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.plan.step()?;
        self.inner.punch(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.step()?;
        self.inner.sync()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.plan.step()?;
        self.inner.allocated()
    }
}
