//! A file system that can be full.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use cowshed_kernel::error::Result;
use cowshed_kernel::ids::BLOCK;
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::reserve::Reserve;
use cowshed_kernel::storage::{MemoryStorage, Storage};
use parking_lot::Mutex;

use super::fixture::Files;

/// A store's files on one file system.
pub struct Disk {
    pub blocks: Arc<FullStorage>,
    pub catalog: Arc<FullStorage>,
    pub reserve: Arc<FullStorage>,
    pub space: Arc<Space>,
}

/// What a file system's files may take together.
#[derive(Debug)]
pub struct Space {
    files: Vec<Arc<MemoryStorage>>,
    limit: Mutex<u64>,
    /// How often there was none.
    refused: AtomicU64,
}

impl Disk {
    /// With an empty store, and no limit yet.
    pub fn new() -> Disk {
        let Files { blocks, catalog } = Files::create();
        let files = vec![blocks, catalog, Arc::new(MemoryStorage::new())];
        let space =
            Arc::new(Space { files: files.clone(), limit: Mutex::new(u64::MAX), refused: AtomicU64::new(0) });
        let mut files = files.into_iter().map(|inner| Arc::new(FullStorage { inner, space: space.clone() }));
        let mut next = || files.next().expect("three files");
        Disk { blocks: next(), catalog: next(), reserve: next(), space }
    }

    /// What another process would find if this one were killed.
    pub fn files(&self) -> Files {
        Files { blocks: Arc::new(self.blocks.inner.copy()), catalog: Arc::new(self.catalog.inner.copy()) }
    }

    /// Open the store, with a reserve or without one.
    pub fn open(&self, reserve: bool, options: &Options) -> Result<Kernel> {
        let reserve = if reserve { Reserve::new(self.reserve.clone()) } else { Reserve::none() };
        Kernel::open_files(self.blocks.clone(), self.catalog.clone(), reserve, options)
    }
}

impl Space {
    /// How often there was no space so far.
    pub fn refusals(&self) -> u64 {
        self.refused.load(SeqCst)
    }

    /// What all files take.
    pub fn taken(&self) -> u64 {
        self.files.iter().map(|file| file.allocated().expect("memory does not fail")).sum()
    }

    /// From now on there are so many bytes more than are taken.
    pub fn leave(&self, bytes: u64) {
        *self.limit.lock() = self.taken().saturating_add(bytes);
    }
}

/// One of its files.
#[derive(Debug)]
pub struct FullStorage {
    pub inner: Arc<MemoryStorage>,
    space: Arc<Space>,
}

impl FullStorage {
    /// Act on each piece of a range until there is no space for one, as a file system does.
    fn pieces(
        &self,
        offset: u64,
        len: usize,
        act: impl Fn(usize, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let limit = self.space.limit.lock();
        for from in (0..len).step_by(BLOCK) {
            let len = BLOCK.min(len - from);
            let before = self.space.taken();
            act(from, len)?;
            let after = self.space.taken();
            if after > before && after > *limit {
                self.inner.punch(offset + from as u64, len as u64)?;
                self.space.refused.fetch_add(1, SeqCst);
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }
}

impl Storage for FullStorage {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _one = self.space.limit.lock();
        self.inner.set_len(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.pieces(offset, data.len(), |from, len| {
            self.inner.write_at(offset + from as u64, &data[from..from + len])
        })
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let before = self.inner.len()?;
        let done = self
            .pieces(offset, len as usize, |from, len| self.inner.allocate(offset + from as u64, len as u64));
        if done.is_err() {
            self.inner.set_len(before)?;
        }
        done
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let _one = self.space.limit.lock();
        self.inner.punch(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.inner.allocated()
    }
}
