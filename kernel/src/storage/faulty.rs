//! [`Storage`] that fails on request.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use super::Storage;

/// The calls of [`Storage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// [`Storage::len`].
    Len,
    /// [`Storage::set_len`].
    SetLen,
    /// [`Storage::read_at`].
    Read,
    /// [`Storage::write_at`].
    Write,
    /// [`Storage::allocate`].
    Allocate,
    /// [`Storage::punch`].
    Punch,
    /// [`Storage::sync`].
    Sync,
    /// [`Storage::allocated`].
    Allocated,
}

/// When to fail, shared by the storages of one store.
#[derive(Debug)]
pub struct FaultPlan {
    files: AtomicUsize,
    calls: Mutex<Vec<(usize, Call)>>,
    /// Calls that still succeed; below zero every call fails while `length` lasts.
    countdown: AtomicI64,
    length: AtomicI64,
    errno: AtomicI64,
    /// Calls that never fail, though their turn has come.
    spared: Mutex<Vec<Call>>,
    /// Writes that begin before this offset do not fail either.
    spared_before: AtomicU64,
    failed: Mutex<Vec<(usize, Call)>>,
}

impl FaultPlan {
    /// No faults until [`FaultPlan::fail`].
    pub fn new() -> Arc<FaultPlan> {
        Arc::new(FaultPlan {
            files: AtomicUsize::new(0),
            calls: Mutex::new(Vec::new()),
            countdown: AtomicI64::new(i64::MAX),
            length: AtomicI64::new(0),
            errno: AtomicI64::new(0),
            spared: Mutex::new(Vec::new()),
            spared_before: AtomicU64::new(0),
            failed: Mutex::new(Vec::new()),
        })
    }

    /// Let `after` more calls succeed, then fail `length` calls with the operating system's `errno`.
    pub fn fail(&self, after: u64, length: u64, errno: i32) {
        let bounded = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.errno.store(errno.into(), SeqCst);
        self.length.store(bounded(length), SeqCst);
        self.countdown.store(bounded(after), SeqCst);
    }

    /// The same with a file system that is full: what takes no space does not fail.
    pub fn fill(&self, after: u64, length: u64) {
        *self.spared.lock() = vec![Call::Len, Call::Read, Call::Sync, Call::Allocated];
        self.fail(after, length, 28);
    }

    /// The error that calls fail with, or failed with.
    pub fn errno(&self) -> i32 {
        self.errno.load(SeqCst) as i32
    }

    /// Let writes that begin before an offset succeed, as where a file has its space already.
    pub fn spare_before(&self, offset: u64) {
        self.spared_before.store(offset, SeqCst);
    }

    /// No more faults.
    pub fn end(&self) {
        self.fail(u64::MAX, 0, self.errno());
    }

    /// Calls made so far, failed ones included.
    pub fn calls(&self) -> u64 {
        self.calls.lock().len() as u64
    }

    /// Those calls, each with the number of its file, in the order of [`FaultyStorage::new`].
    pub fn made(&self) -> Vec<(usize, Call)> {
        self.calls.lock().clone()
    }

    /// The calls that failed, like [`FaultPlan::made`].
    pub fn failed(&self) -> Vec<(usize, Call)> {
        self.failed.lock().clone()
    }

    fn step(&self, file: usize, call: Call) -> io::Result<()> {
        self.calls.lock().push((file, call));
        if self.countdown.fetch_sub(1, SeqCst) > 0 {
            return Ok(());
        }
        if !self.spared.lock().contains(&call) && self.length.fetch_sub(1, SeqCst) > 0 {
            self.failed.lock().push((file, call));
            let errno = self.errno.load(SeqCst);
            return Err(io::Error::from_raw_os_error(errno as i32));
        }
        Ok(())
    }
}

/// Passes calls on until the plan says otherwise. A write that fails stores the first half of its data; any other
/// call that fails does nothing.
#[derive(Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    plan: Arc<FaultPlan>,
    file: usize,
}

impl FaultyStorage {
    /// Fail `inner` by `plan`.
    pub fn new(inner: Arc<dyn Storage>, plan: Arc<FaultPlan>) -> FaultyStorage {
        let file = plan.files.fetch_add(1, SeqCst);
        FaultyStorage { inner, plan, file }
    }

    fn step(&self, call: Call) -> io::Result<()> {
        self.plan.step(self.file, call)
    }
}

impl Storage for FaultyStorage {
    fn len(&self) -> io::Result<u64> {
        self.step(Call::Len)?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Call::SetLen)?;
        self.inner.set_len(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.step(Call::Read)?;
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let spared = offset < self.plan.spared_before.load(SeqCst);
        if let Err(error) = self.step(Call::Write)
            && !spared
        {
            self.inner.write_at(offset, &data[..data.len() / 2])?;
            return Err(error);
        }
        self.inner.write_at(offset, data)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.step(Call::Allocate)?;
        self.inner.allocate(offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.step(Call::Punch)?;
        self.inner.punch(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.step(Call::Sync)?;
        self.inner.sync()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.step(Call::Allocated)?;
        self.inner.allocated()
    }
}
