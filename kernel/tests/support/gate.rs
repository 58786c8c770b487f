//! [`Storage`] that lets others go first: one call until the test has done something, or every call a little.

use std::io;
use std::sync::Arc;

use cowshed_kernel::storage::Storage;
use parking_lot::{Condvar, Mutex};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// The next call of the kind stops.
    Armed(Kind),
    /// One call has stopped.
    Stopped,
}

/// Which calls stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Read,
    Write,
    Sync,
}

#[derive(Debug)]
pub struct GateStorage {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
    changed: Condvar,
}

impl GateStorage {
    pub fn new(inner: Arc<dyn Storage>) -> GateStorage {
        GateStorage { inner, state: Mutex::new(State::Open), changed: Condvar::new() }
    }

    /// Let `act` run, and when a call of this kind comes from it stop that until `meanwhile` is done.
    pub fn between<T: Send>(
        &self,
        kind: Kind,
        act: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        *self.state.lock() = State::Armed(kind);
        std::thread::scope(|scope| {
            let act = scope.spawn(|| {
                let _opens = Opens(self);
                act()
            });
            let opens = Opens(self);
            let mut state = self.state.lock();
            while matches!(*state, State::Armed(_)) {
                self.changed.wait(&mut state);
            }
            assert_eq!(*state, State::Stopped, "no {kind:?} came");
            drop(state);
            meanwhile();
            drop(opens);
            act.join().expect("it does not panic")
        })
    }

    fn pass(&self, kind: Kind) {
        let mut state = self.state.lock();
        if *state == State::Armed(kind) {
            *state = State::Stopped;
            self.changed.notify_all();
            while *state == State::Stopped {
                self.changed.wait(&mut state);
            }
        }
    }
}

/// Opens the gate even if the test fails.
struct Opens<'a>(&'a GateStorage);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        *self.0.state.lock() = State::Open;
        self.0.changed.notify_all();
    }
}

impl Storage for GateStorage {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.pass(Kind::Read);
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.pass(Kind::Write);
        self.inner.write_at(offset, data)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.pass(Kind::Sync);
        self.inner.sync()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.inner.allocated()
    }
}

/// Every call gives other threads a turn, before and after it has its effect.
#[derive(Debug)]
pub struct RestlessStorage(pub Arc<dyn Storage>);

impl RestlessStorage {
    fn turns<T>(&self, call: impl FnOnce(&dyn Storage) -> T) -> T {
        std::thread::yield_now();
        let result = call(&*self.0);
        std::thread::yield_now();
        result
    }
}

impl Storage for RestlessStorage {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.turns(|inner| inner.set_len(len))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.turns(|inner| inner.read_at(offset, buf))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.turns(|inner| inner.write_at(offset, data))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.turns(|inner| inner.punch(offset, len))
    }

    fn sync(&self) -> io::Result<()> {
        self.turns(|inner| inner.sync())
    }

    fn allocated(&self) -> io::Result<u64> {
        self.0.allocated()
    }
}
