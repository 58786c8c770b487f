//! The catalogue's database, without the kernel.

use std::sync::Arc;

use cowshed_kernel::log::LOG_BYTES;
use cowshed_kernel::storage::{MemoryStorage, Storage};
use redb::{Builder, Database, StorageBackend};

#[derive(Debug)]
struct Backend(Arc<MemoryStorage>);

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.len()? - LOG_BYTES)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(LOG_BYTES + offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(LOG_BYTES + len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_at(LOG_BYTES + offset, data)
    }
}

/// Open the database in a catalogue's file; what only the log has is not there.
pub fn database(file: Arc<MemoryStorage>) -> Database {
    let mut builder = Builder::new();
    builder.set_cache_size(1 << 20);
    builder.create_with_backend(Backend(file)).expect("a sound database")
}
