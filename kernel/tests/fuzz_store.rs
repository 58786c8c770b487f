//! Stores whose files no one wrote: opening one, looking at all of it, and working with it ends, in an error if need
//! be, and takes no more memory than a sound store would.

mod support_crash;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cowshed_kernel::error::Result;
use cowshed_kernel::ids::VersionId;
use cowshed_kernel::kernel::Kernel;
use cowshed_kernel::log::{LOG_BYTES, Log};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::reserve::Reserve;
use cowshed_kernel::rows::{StateRow, seal_key};
use cowshed_kernel::storage::{MemoryStorage, Storage};
use cowshed_kernel::transaction::Op;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use support_crash::mutate::mutate;
use support_crash::programme::go_on;
use support_crash::redb_files::database;
use support_crash::rng::{Rng, for_seeds};
use support_crash::run::{Deed, Run, options};

/// Counts what is allocated.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Far more than a small store takes with its caches.
const ENOUGH: usize = 256 << 20;

/// A store after some work, closed or not.
fn some_store(rng: &mut Rng) -> Vec<MemoryStorage> {
    let mut run = Run::new();
    go_on(&mut run, rng, 25);
    run.apply(Deed::Flush);
    if rng.once_in(2) {
        run.apply(Deed::Close);
    }
    run.files()
}

/// Open, look at everything, and do some of everything.
fn use_it(files: Vec<MemoryStorage>, rng: &mut Rng, working: bool) -> Result<()> {
    let mut files = files.into_iter().map(Arc::new);
    let (blocks, catalog) = (files.next().unwrap(), files.next().unwrap());
    let kernel = Kernel::open_storage(blocks, catalog, &options())?;
    let looked = look(&kernel);
    if working {
        work(&kernel, rng)?;
    }
    let closed = kernel.close();
    looked.and(closed)
}

fn look(kernel: &Kernel) -> Result<()> {
    let checked = kernel.check();
    let core = kernel.core();
    let space = kernel.space();
    let versions = kernel.versions(VersionId(0), 100)?;
    // Behind the last id there is nothing.
    let last = VersionId(u64::MAX);
    assert!(kernel.versions(last, 10)?.is_empty());
    for (id, row) in &versions {
        let _ = core.children(*id, VersionId(0), 10);
        assert!(core.children(*id, last, 10).is_ok_and(|children| children.is_empty()));
        let _ = core.exclusive_blocks(*id);
        let _ = core.diff(row.parent, *id, 0, None, 10);
        let Ok(disk) = core.disk(*id) else { continue };
        let mut buffer = [0; 8192];
        for (offset, _, _) in disk.extents(0, disk.size(), 50).unwrap_or_default() {
            let len = (disk.size() - offset).min(8192) as usize;
            let _ = disk.read(offset, &mut buffer[..len]);
        }
    }
    let _ = core.hidden_blocks();
    core.scan(b"", None, 1000)?;
    checked.and(space.map(|_| ()))
}

fn work(kernel: &Kernel, rng: &mut Rng) -> Result<()> {
    let core = kernel.core();
    for (id, _) in kernel.versions(VersionId(0), 100)? {
        let new = core.new_version();
        if let Ok(disk) = core.disk(id) {
            let at = rng.below(disk.size().max(1));
            let len = 5000.min(disk.size() - at) as usize;
            let _ = disk.write(at, &rng.bytes(len));
            let _ = disk.discard(at / 2, disk.size() - at / 2);
        }
        let op = match rng.below(4) {
            0 => Op::Freeze(id, new),
            1 => Op::Derive(id, new),
            2 => Op::Resize(id, 5000),
            _ => Op::Drop(id),
        };
        let _ = core.transact(&[op]);
    }
    for _ in 0..20 {
        core.reclaim(100, Eager::Now)?;
    }
    Ok(())
}

/// The memory taken at once while it ran, in bytes.
fn most_memory(act: impl FnOnce()) -> usize {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    act();
    MOST.load(Relaxed).saturating_sub(before)
}

fn bounded(what: &str, act: impl FnOnce()) {
    let taken = most_memory(act);
    assert!(taken < ENOUGH, "{what}: took {taken} bytes of memory");
}

fn bytes_of(storage: &MemoryStorage) -> Vec<u8> {
    let mut bytes = vec![0; storage.len().unwrap() as usize];
    storage.read_at(0, &mut bytes).unwrap();
    bytes
}

fn storage_of(bytes: &[u8]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.write_at(0, bytes).unwrap();
    storage
}

/// A file with some of its bytes changed, lost, or taken from elsewhere in it.
fn damaged(rng: &mut Rng, file: &MemoryStorage) -> MemoryStorage {
    let mut bytes = bytes_of(file);
    // Most of the log is empty.
    let pages: Vec<usize> = (0..bytes.len() / 4096)
        .map(|page| page * 4096)
        .filter(|at| bytes[at + 8..at + 100] != [0; 92])
        .collect();
    let database = if bytes.len() > LOG_BYTES as usize { LOG_BYTES as usize } else { 0 };
    for _ in 0..1 + rng.below(4) {
        let page = *rng.pick(&pages).expect("some are in use");
        let other = *rng.pick(&pages).expect("some are in use");
        match rng.below(8) {
            0 => bytes[page..page + 512].fill(0),
            1 => bytes.copy_within(other..other + 4096, page),
            2 => {
                // The first page says where all else is.
                let at = database + rng.below(400) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
            _ => {
                let mut part = bytes[page..page + 4096].to_vec();
                mutate(rng, &mut part);
                part.resize(4096, 0);
                bytes[page..page + 4096].copy_from_slice(&part);
            }
        }
    }
    if rng.once_in(10) {
        bytes.truncate(rng.below(bytes.len() as u64) as usize);
    }
    storage_of(&bytes)
}

#[test]
fn damaged_files() {
    for_seeds(15, |seed| {
        let mut rng = Rng::new(seed);
        let files = some_store(&mut rng);
        let (mut fine, mut refused) = (0, 0);
        for _ in 0..20 {
            let damaged = vec![
                if rng.once_in(4) { damaged(&mut rng, &files[0]) } else { files[0].copy() },
                damaged(&mut rng, &files[1]),
            ];
            let working = rng.once_in(2);
            bounded("damaged files", || match use_it(damaged, &mut rng, working) {
                Ok(()) => fine += 1,
                Err(_) => refused += 1,
            });
        }
        assert!(fine + refused == 20);
    });
}

type Bytes = &'static [u8];

/// Rows that are sealed and yet wrong, in a database that is sound. With `counters` those of the whole store, too:
/// work relies on them.
fn with_wrong_rows(rng: &mut Rng, catalog: &MemoryStorage, counters: bool) -> MemoryStorage {
    let catalog = Arc::new(catalog.copy());
    let database = database(catalog.clone());
    let txn = database.begin_write().unwrap();
    for _ in 0..1 + rng.below(3) {
        let name = *rng.pick(&["pages", "pages", "versions", "versions", "chunks"]).unwrap();
        let mut table = txn.open_table(TableDefinition::<u64, Bytes>::new(name)).unwrap();
        let ids: Vec<u64> = table.iter().unwrap().map(|row| row.unwrap().0.value()).collect();
        let (Some(id), Some(other)) = (rng.pick(&ids), rng.pick(&ids)) else {
            continue;
        };
        let mut row = table.get(other).unwrap().unwrap().value().to_vec();
        let id = if rng.once_in(8) { id + 1 } else { *id };
        mutate(rng, &mut row);
        let row = seal_key(&id.to_le_bytes(), row.get(4..).unwrap_or_default());
        if rng.once_in(10) {
            table.remove(id).unwrap();
        } else {
            table.insert(id, &row[..]).unwrap();
        }
    }
    if rng.once_in(3) {
        let set = |name| TableDefinition::<(u64, u64), ()>::new(name);
        let mut table = txn.open_table(set("children")).unwrap();
        table.insert((rng.below(12), rng.below(12)), ()).unwrap();
    }
    if rng.once_in(3) {
        let mut table = txn.open_table(TableDefinition::<(u8, u64), ()>::new("work")).unwrap();
        table.insert((1 + rng.below(2) as u8, rng.below(12)), ()).unwrap();
    }
    if rng.once_in(3) {
        let mut table = txn.open_table(TableDefinition::<u64, u16>::new("spare")).unwrap();
        table.insert(rng.below(3), rng.next() as u16).unwrap();
    }
    if counters && rng.once_in(3) {
        let mut table = txn.open_table(TableDefinition::<u8, Bytes>::new("state")).unwrap();
        let mut row = table.get(0).unwrap().unwrap().value().to_vec();
        // Its counters.
        let mut counters = row.split_off(32);
        mutate(rng, &mut counters);
        counters.resize(48, 0);
        row.extend(counters);
        let row = seal_key(b"state", &row[4..]);
        table.insert(0, &row[..]).unwrap();
    }
    txn.commit().unwrap();
    drop(database);
    Arc::into_inner(catalog).expect("the database let it go")
}

/// The same store, with all of it in the database.
fn settled(files: Vec<MemoryStorage>) -> Vec<MemoryStorage> {
    let files: Vec<Arc<MemoryStorage>> = files.into_iter().map(Arc::new).collect();
    let kernel = Kernel::open_storage(files[0].clone(), files[1].clone(), &options()).unwrap();
    kernel.close().unwrap();
    files.iter().map(|file| file.copy()).collect()
}

/// Records of the log that have the right checksum and yet are wrong.
fn with_wrong_records(rng: &mut Rng, catalog: &MemoryStorage) -> MemoryStorage {
    let catalog = Arc::new(catalog.copy());
    let state = {
        let database = database(catalog.clone());
        let txn = database.begin_read().unwrap();
        let table = txn.open_table(TableDefinition::<u8, Bytes>::new("state")).unwrap();
        StateRow::decode(table.get(0).unwrap().unwrap().value()).unwrap()
    };
    let reserve = Arc::new(Reserve::none());
    let recover = || Log::recover(catalog.clone(), reserve.clone(), state.store_id, state.commits).unwrap();
    let (_, mut records) = recover();
    if records.is_empty() {
        records.push(vec![8, 1, 0, 5, 0, 0, 0, b'k', 1, 2, 3, 4, 5]);
    }
    let wrong = rng.below(records.len() as u64) as usize;
    mutate(rng, &mut records[wrong]);
    Log::create(&*catalog).unwrap();
    let (mut log, _) = recover();
    for (number, record) in (state.commits + 1..).zip(&records) {
        log.append(number, record).unwrap();
    }
    drop(log);
    catalog.copy()
}

#[test]
fn wrong_records() {
    for_seeds(15, |seed| {
        let mut rng = Rng::new(seed);
        let mut run = Run::new();
        go_on(&mut run, &mut rng, 25);
        run.apply(Deed::Flush);
        let files = run.files();
        for _ in 0..20 {
            let files = vec![files[0].copy(), with_wrong_records(&mut rng, &files[1])];
            let working = rng.once_in(2);
            bounded("wrong records", || {
                let _ = use_it(files, &mut rng, working);
            });
        }
    });
}

#[test]
fn wrong_rows() {
    for_seeds(15, |seed| {
        let mut rng = Rng::new(seed);
        let files = settled(some_store(&mut rng));
        for _ in 0..20 {
            let working = rng.once_in(2);
            let files = vec![files[0].copy(), with_wrong_rows(&mut rng, &files[1], !working)];
            bounded("wrong rows", || {
                let _ = use_it(files, &mut rng, working);
            });
        }
    });
}
