//! A catalogue as it comes: whatever is in it, opening and looking at all of it ends. The first two bytes say how
//! much of the rest is the log's beginning; what follows is the database.

#![no_main]

use std::sync::{Arc, LazyLock};

use cowshed_kernel::error::Result;
use cowshed_kernel::ids::VersionId;
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::log::LOG_BYTES;
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::storage::{MemoryStorage, Storage};
use libfuzzer_sys::fuzz_target;

static BLOCKS: LazyLock<MemoryStorage> =
    LazyLock::new(|| storage(include_bytes!("../../tests/golden/v2/blocks")));

fn storage(bytes: &[u8]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.write_at(0, bytes).expect("memory does not fail");
    storage
}

fn catalog(data: &[u8]) -> Option<MemoryStorage> {
    let (len, rest) = data.split_first_chunk::<2>()?;
    let (log, database) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    let catalog = storage(log);
    catalog.write_at(LOG_BYTES, database).expect("memory does not fail");
    Some(catalog)
}

fn look(catalog: MemoryStorage) -> Result<()> {
    let options = Options { background: false, cache_bytes: 1 << 20, ..Options::default() };
    let kernel = Kernel::open_storage(Arc::new(BLOCKS.copy()), Arc::new(catalog), &options)?;
    let checked = kernel.check();
    for (id, _) in kernel.versions(VersionId(0), 50)? {
        let Ok(disk) = kernel.core().disk(id) else { continue };
        let mut buffer = [0; 4096];
        for (offset, _, _) in disk.extents(0, disk.size(), 20).unwrap_or_default() {
            let len = (disk.size() - offset).min(4096) as usize;
            let _ = disk.read(offset, &mut buffer[..len]);
        }
        let _ = disk.write(0, &[1; 100][..disk.size().min(100) as usize]);
    }
    kernel.core().scan(b"", None, 100)?;
    kernel.core().reclaim(100, Eager::Now)?;
    checked.map(|_| ())
}

fuzz_target!(|data: &[u8]| {
    if let Some(catalog) = catalog(data) {
        let _ = look(catalog);
    }
});
