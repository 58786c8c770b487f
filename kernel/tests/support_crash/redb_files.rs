//! The catalogue as the database that it is, without the kernel.

use std::sync::Arc;

use cowshed_kernel::storage::{MemoryStorage, Storage};
use redb::{Builder, Database, StorageBackend};

#[derive(Debug)]
struct Backend(Arc<MemoryStorage>);

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, data)
    }
}

/// Open a catalogue's file.
pub fn database(file: Arc<MemoryStorage>) -> Database {
    let mut builder = Builder::new();
    builder.set_cache_size(1 << 20);
    builder.create_with_backend(Backend(file)).expect("a sound database")
}
