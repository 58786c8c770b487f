//! A store in memory.

use std::sync::Arc;

use cowshed_kernel::core::Core;
use cowshed_kernel::disk::Disk;
use cowshed_kernel::error::Result;
use cowshed_kernel::ids::VersionId;
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::storage::{MemoryStorage, Storage};
use cowshed_kernel::transaction::Op;

/// The store id that tests give.
pub const STORE_ID: [u8; 16] = *b"a store of tests";

/// A store's two files.
pub struct Files {
    pub blocks: Arc<MemoryStorage>,
    pub catalog: Arc<MemoryStorage>,
}

impl Files {
    /// Those of an empty store.
    pub fn create() -> Files {
        Files::create_as(STORE_ID)
    }

    pub fn create_as(store_id: [u8; 16]) -> Files {
        let files = Files { blocks: Arc::new(MemoryStorage::new()), catalog: Arc::new(MemoryStorage::new()) };
        Core::create(&*files.blocks, files.catalog.clone(), store_id).expect("memory does not fail");
        files
    }

    /// As they are now, as after a crash that lost nothing.
    pub fn copy(&self) -> Files {
        Files { blocks: Arc::new(self.blocks.copy()), catalog: Arc::new(self.catalog.copy()) }
    }

    pub fn open(&self, options: &Options) -> Result<Kernel> {
        Kernel::open_storage(self.blocks.clone(), self.catalog.clone(), options)
    }
}

/// No thread of its own, and a cache of `cache_bytes`.
pub fn quiet(cache_bytes: u64) -> Options {
    Options { cache_bytes, background: false, ..Options::default() }
}

/// All bytes of a storage.
pub fn contents(storage: &dyn Storage) -> Vec<u8> {
    let len = storage.len().expect("a length");
    let mut bytes = vec![0; len as usize];
    storage.read_at(0, &mut bytes).expect("its bytes");
    bytes
}

/// Short forms for scripts. They panic on errors.
pub trait Script {
    fn create(&self, size: u64) -> VersionId;
    fn freeze(&self, head: VersionId) -> VersionId;
    fn derive(&self, frozen: VersionId) -> VersionId;
    fn apply(&self, op: Op);
    fn open(&self, id: VersionId) -> Disk;
    fn write(&self, id: VersionId, offset: u64, data: &[u8]);
    fn read(&self, id: VersionId, offset: u64, len: usize) -> Vec<u8>;
    fn reclaim_all(&self);
    fn assert_sound(&self);
}

impl Script for Kernel {
    fn create(&self, size: u64) -> VersionId {
        let id = self.core().new_version();
        self.apply(Op::Create(id, size));
        id
    }

    fn freeze(&self, head: VersionId) -> VersionId {
        let id = self.core().new_version();
        self.apply(Op::Freeze(head, id));
        id
    }

    fn derive(&self, frozen: VersionId) -> VersionId {
        let id = self.core().new_version();
        self.apply(Op::Derive(frozen, id));
        id
    }

    fn apply(&self, op: Op) {
        self.core().transact(&[op]).expect("the operation is possible");
    }

    fn open(&self, id: VersionId) -> Disk {
        self.core().disk(id).expect("the version is there")
    }

    fn write(&self, id: VersionId, offset: u64, data: &[u8]) {
        self.open(id).write(offset, data).expect("the write is possible");
    }

    fn read(&self, id: VersionId, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xee; len];
        self.open(id).read(offset, &mut bytes).expect("the read is possible");
        bytes
    }

    fn reclaim_all(&self) {
        while self.core().reclaim(1000, Eager::Now).expect("reclaiming is possible") > 0 {}
    }

    fn assert_sound(&self) {
        self.core().flush().expect("flushing is possible");
        let findings = self.check().expect("checking is possible");
        assert!(findings.is_empty(), "check says: {findings:#?}");
    }
}
