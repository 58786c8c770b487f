//! Errors of the operating system at every call of the storage: the store says so, opens again, is sound, and
//! has lost nothing that was acknowledged as durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use cowshed_kernel::core::Core;
use cowshed_kernel::error::{Kind, Result};
use cowshed_kernel::ids::{BLOCK, VersionId};
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::storage::{FaultPlan, FaultyStorage, MemoryStorage, Storage};
use cowshed_kernel::transaction::Op;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const BLOCKS: u64 = 600;

struct Files {
    blocks: Arc<MemoryStorage>,
    catalog: Arc<MemoryStorage>,
    plan: Arc<FaultPlan>,
}

impl Files {
    fn new() -> Files {
        let (blocks, catalog) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
        Core::create(&*blocks, catalog.clone(), [7; 16]).expect("memory does not fail");
        Files { blocks, catalog, plan: FaultPlan::new() }
    }

    fn open(&self) -> Result<Kernel> {
        let faulty = |inner: &Arc<MemoryStorage>| -> Arc<dyn Storage> {
            Arc::new(FaultyStorage::new(inner.clone(), self.plan.clone()))
        };
        let options = Options { background: false, cache_bytes: 1 << 20, ..Options::default() };
        Kernel::open_storage(faulty(&self.blocks), faulty(&self.catalog), &options)
    }
}

/// What must be there after a failure.
#[derive(Default)]
struct Promise {
    frozen: BTreeMap<VersionId, Vec<u8>>,
    /// The head as it reads now, and as it was at the last acknowledged flush.
    head: Vec<u8>,
    durable: Vec<u8>,
    /// What else a block of the head may hold: what was begun to be written to it since.
    since: BTreeMap<usize, Vec<Vec<u8>>>,
    keys: u64,
}

impl Promise {
    fn begin(&mut self, index: u64, block: &[u8]) {
        let at = index as usize * BLOCK;
        self.since.entry(index as usize).or_default().push(block.to_vec());
        self.head[at..at + BLOCK].copy_from_slice(block);
    }

    fn flushed(&mut self) {
        self.durable.clone_from(&self.head);
        self.since.clear();
    }
}

fn fill(round: u64, index: u64) -> [u8; BLOCK] {
    let mut block = [1; BLOCK];
    block[..8].copy_from_slice(&round.to_le_bytes());
    block[8..16].copy_from_slice(&index.to_le_bytes());
    block
}

/// A fixed programme that uses every call of the storage. Stops at the first error.
fn programme(kernel: &Kernel, promise: &mut Promise) -> Result<()> {
    let core = kernel.core();
    let head = core.new_version();
    core.transact(&[
        Op::Create(head, BLOCKS * BLOCK as u64),
        Op::Put(b"head".to_vec(), head.0.to_string().into()),
    ])?;
    promise.head = vec![0; BLOCKS as usize * BLOCK];
    promise.flushed();
    let disk = core.disk(head)?;
    let mut snapshots = Vec::new();
    for round in 0..6u64 {
        for index in (round..BLOCKS).step_by(7 + round as usize) {
            promise.begin(index, &fill(round, index));
            disk.write(index * BLOCK as u64, &fill(round, index))?;
        }
        for index in round * 20..round * 20 + 5 {
            promise.begin(index, &[0; BLOCK]);
        }
        disk.discard(round * 20 * BLOCK as u64, 5 * BLOCK as u64)?;
        core.flush()?;
        promise.flushed();
        let frozen = core.new_version();
        let key = format!("snap{round}").into_bytes();
        core.transact(&[Op::Freeze(head, frozen), Op::Put(key, frozen.0.to_string().into())])?;
        promise.keys += 1;
        promise.frozen.insert(frozen, promise.head.clone());
        snapshots.push(frozen);
        if round % 2 == 1 {
            let gone = snapshots.remove(0);
            // Whether it went is open from here on.
            promise.frozen.remove(&gone);
            core.transact(&[Op::Drop(gone)])?;
            while core.reclaim(64, Eager::Now)? > 0 {}
        }
    }
    Ok(())
}

fn read(kernel: &Kernel, version: VersionId) -> Vec<u8> {
    let disk = kernel.core().disk(version).expect("the version is there");
    let mut content = vec![0; disk.size() as usize];
    disk.read(0, &mut content).expect("it reads");
    content
}

/// Open without faults, and look at everything.
fn verify(files: &Files, promise: &Promise, case: &str) {
    files.plan.fail(u64::MAX >> 1, 0, EIO);
    let kernel = files.open().unwrap_or_else(|e| panic!("{case}: it opens again: {e}"));
    assert_eq!(kernel.check().unwrap(), Vec::<String>::new(), "{case}");
    for (version, content) in &promise.frozen {
        assert!(read(&kernel, *version) == *content, "{case}: {version} changed");
    }
    let head = kernel.core().key(b"head").unwrap();
    assert!(head.is_some() || promise.durable.is_empty(), "{case}: the head's key is lost");
    let Some(head) = head else { return };
    let head = VersionId(String::from_utf8(head).unwrap().parse().unwrap());
    let now = read(&kernel, head);
    for (index, block) in now.chunks(BLOCK).enumerate() {
        // All zeros is what a head holds whose making was not acknowledged.
        let durable = promise.durable.get(index * BLOCK..(index + 1) * BLOCK).unwrap_or(&[0; BLOCK]);
        let since = promise.since.get(&index).is_some_and(|since| since.iter().any(|b| b == block));
        assert!(block == durable || since, "{case}: block {index} lost what was flushed");
    }
    let keys = kernel.core().scan(b"snap", None, 100).unwrap().len() as u64;
    assert!(keys == promise.keys || keys == promise.keys + 1, "{case}: {keys} of {} keys", promise.keys);
    // And work goes on.
    let frozen = kernel.core().new_version();
    kernel.core().transact(&[Op::Freeze(head, frozen)]).unwrap_or_else(|e| panic!("{case}: {e}"));
    kernel.core().disk(head).unwrap().write(0, &fill(99, 0)).unwrap();
    while kernel.core().reclaim(4096, Eager::Now).unwrap() > 0 {}
    assert_eq!(kernel.check().unwrap(), Vec::<String>::new(), "{case}: afterwards");
    kernel.close().unwrap();
}

/// Fail call number `at` (and `length - 1` more), and everything must hold.
fn case(at: u64, length: u64, errno: i32) -> bool {
    let name = format!("errno {errno} at call {at}, {length} times");
    let files = Files::new();
    let mut promise = Promise::default();
    files.plan.fail(at, length, errno);
    let (result, calls) = match files.open() {
        Ok(kernel) => {
            let result = programme(&kernel, &mut promise);
            let calls = files.plan.calls();
            // Closing may fail as well; it must not panic.
            let _ = kernel.close();
            (result, calls)
        }
        Err(error) => (Err(error), files.plan.calls()),
    };
    if let Err(error) = &result {
        let expected = if errno == ENOSPC { Kind::NoSpace } else { Kind::Io };
        let kinds = [expected, Kind::Failed, Kind::Damaged];
        assert!(kinds.contains(&error.kind), "{name}: {:?} {error}", error.kind);
        assert!(!error.message.is_empty());
    }
    verify(&files, &promise, &name);
    result.is_err() || calls > at
}

#[test]
fn an_error_at_every_call_loses_nothing_that_was_durable() {
    let files = Files::new();
    programme(&files.open().unwrap(), &mut Promise::default()).unwrap();
    let calls = files.plan.calls();
    // Each call meets one kind of fault, the next call the next kind; with COWSHED_RUNS each meets all of them.
    let kinds = [(EIO, 1), (ENOSPC, 1), (EIO, u64::MAX >> 1), (ENOSPC, u64::MAX >> 1)];
    let all = std::env::var_os("COWSHED_RUNS").is_some();
    let mut met = 0;
    for at in 0..calls {
        for (kind, (errno, length)) in kinds.into_iter().enumerate() {
            if all || at % 4 == kind as u64 {
                met += u64::from(case(at, length, errno));
            }
        }
    }
    assert!(met > calls / 2, "hardly any fault was met: {met} of {calls} calls");
}

#[test]
fn a_full_disk_fails_the_write_and_stops_nothing() {
    let files = Files::new();
    let kernel = files.open().unwrap();
    let core = kernel.core();
    let head = core.new_version();
    core.transact(&[Op::Create(head, 1 << 20)]).unwrap();
    let disk = core.disk(head).unwrap();
    disk.write(0, &fill(1, 0)).unwrap();
    core.flush().unwrap();
    let frozen = core.new_version();
    core.transact(&[Op::Freeze(head, frozen)]).unwrap();
    files.plan.fail(0, 1, ENOSPC);
    let error = disk.write(0, &fill(2, 0)).unwrap_err();
    assert_eq!(error.kind, Kind::NoSpace);
    let mut block = [0; BLOCK];
    disk.read(0, &mut block).unwrap();
    assert!(block == fill(1, 0), "a failed write changed the disk");
    disk.write(0, &fill(3, 0)).unwrap();
    core.flush().unwrap();
    disk.read(0, &mut block).unwrap();
    assert!(block == fill(3, 0));
    while core.reclaim(64, Eager::Now).unwrap() > 0 {}
    assert_eq!(kernel.check().unwrap(), Vec::<String>::new());
}
