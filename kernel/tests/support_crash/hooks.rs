//! Storage that lets a test act in the midst of a call, as another thread could, and yet the same way each time.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use cowshed_kernel::storage::{RecordingStorage, Storage};

/// A place in the kernel's work at which others may get their turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// A block that was looked up is about to be read.
    BlocksRead,
    /// Data is about to be written.
    BlocksWrite,
    /// Data was written and is not mapped yet.
    BlocksWritten,
    /// What a commit is to contain was captured; its data is not durable.
    BlocksSync,
    /// Its data is durable; the catalogue's transaction is not written.
    BlocksSynced,
    /// The catalogue's transaction is written, and not durable.
    CatalogSync,
    /// The commit is durable, and the kernel does not know it yet.
    CatalogSynced,
}

type Action = Box<dyn FnOnce() + Send>;

/// What is to happen once, and when.
#[derive(Clone, Default)]
pub struct Hooks(Arc<Mutex<Option<(When, Action)>>>);

impl Hooks {
    pub fn arm(&self, when: When, action: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some((when, Box::new(action)));
    }

    /// Forget what did not come to happen. Whether it did.
    pub fn disarm(&self) -> bool {
        self.0.lock().unwrap().take().is_none()
    }

    fn reach(&self, when: When) {
        let mut armed = self.0.lock().unwrap();
        if armed.as_ref().is_some_and(|(at, _)| *at == when) {
            let (_, action) = armed.take().unwrap();
            drop(armed);
            action();
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// A recorded file with hooks in its calls.
#[derive(Debug)]
pub struct HookedStorage {
    pub inner: RecordingStorage,
    pub hooks: Hooks,
    pub is_blocks: bool,
}

impl HookedStorage {
    fn reach(&self, blocks: When, catalog: When) {
        self.hooks.reach(if self.is_blocks { blocks } else { catalog });
    }
}

impl Storage for HookedStorage {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.is_blocks {
            self.hooks.reach(When::BlocksRead);
        }
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.is_blocks {
            self.hooks.reach(When::BlocksWrite);
        }
        self.inner.write_at(offset, data)?;
        if self.is_blocks {
            self.hooks.reach(When::BlocksWritten);
        }
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.reach(When::BlocksSync, When::CatalogSync);
        self.inner.sync()?;
        self.reach(When::BlocksSynced, When::CatalogSynced);
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        self.inner.allocated()
    }
}
