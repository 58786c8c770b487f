//! Crashes at every call, with every fate of what was not synced: see `support_crash`.

mod support_crash;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cowshed_kernel::core::Core;
use cowshed_kernel::error::Kind;
use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE};
use cowshed_kernel::kernel::Kernel;
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::rows::CHUNK_BLOCKS;
use cowshed_kernel::storage::{Fate, MemoryStorage, Recorder, Storage};
use cowshed_kernel::transaction::Op;
use support_crash::crashes::{ALL_FATES, Left, PLAIN_FATES, Plan, TRIED, crash_all};
use support_crash::programme::go_on;
use support_crash::rng::{Rng, for_seeds};
use support_crash::run::{Deed, Run, options};
use support_crash::verify::verify;

/// Work, crash, work on with what is left, crash again; the opening is recorded, and so crashes, too.
fn explore(mut run: Run, rng: &mut Rng, depth: usize) {
    let plan = Plan {
        from_step: 0,
        places: 64 >> depth,
        fates: &ALL_FATES,
        of_fates: 3,
        go_on: if depth < 2 { 2 } else { 0 },
    };
    go_on(&mut run, rng, 24 >> depth);
    if rng.once_in(2) {
        run.settle();
    }
    if rng.once_in(2) {
        run.apply(Deed::Close);
    }
    let left = crash_all(&run, rng, &plan);
    work_on(left, rng, depth);
}

fn work_on(left: Vec<Left>, rng: &mut Rng, depth: usize) {
    for left in left {
        explore(Run::open(left.files, left.world), rng, depth + 1);
    }
}

#[test]
fn random_programmes() {
    for_seeds(40, |seed| {
        let mut rng = Rng::new(seed);
        explore(Run::new(), &mut rng, 0);
    });
    println!("{} crashes in all tests", TRIED.load(Ordering::Relaxed));
}

/// Deeds that a small store allows in any order: a head of three blocks and what becomes of it.
#[derive(Clone, Copy, Debug)]
enum Small {
    Write,
    WriteAgain,
    WritePart,
    Discard,
    Freeze,
    DeriveAndDropHead,
    DropFrozen,
    Rollback,
    Shrink,
    Flush,
    Reclaim,
}

const SMALL: [Small; 11] = [
    Small::Write,
    Small::WriteAgain,
    Small::WritePart,
    Small::Discard,
    Small::Freeze,
    Small::DeriveAndDropHead,
    Small::DropFrozen,
    Small::Rollback,
    Small::Shrink,
    Small::Flush,
    Small::Reclaim,
];

fn small(run: &mut Run, what: Small, rng: &mut Rng) {
    let head = *run.world.heads().last().expect("there is always one");
    let frozen = run.world.frozen().last().copied();
    let data = |rng: &mut Rng, len| rng.bytes(len);
    let ops = match (what, frozen) {
        (Small::Write, _) => return run.apply(Deed::Write(head, 0, data(rng, BLOCK))),
        (Small::WriteAgain, _) => {
            let size = run.world.get(head).size.min(2 * BLOCK_SIZE) as usize;
            return run.apply(Deed::Write(head, 0, data(rng, size)));
        }
        (Small::WritePart, _) => return run.apply(Deed::Write(head, 1000, data(rng, 2000))),
        (Small::Discard, _) => return run.apply(Deed::Discard(head, 0, BLOCK_SIZE)),
        (Small::Flush, _) => return run.apply(Deed::Flush),
        (Small::Reclaim, _) => return run.apply(Deed::Reclaim(1000)),
        (Small::DeriveAndDropHead, Some(frozen)) => {
            vec![Op::Derive(frozen, run.core().new_version()), Op::Drop(head)]
        }
        (Small::DropFrozen, Some(frozen)) => vec![Op::Drop(frozen)],
        (Small::Rollback, Some(frozen)) => vec![Op::Rollback(head, frozen)],
        (Small::Shrink, _) => vec![Op::Resize(head, BLOCK_SIZE + 100)],
        _ => vec![Op::Freeze(head, run.core().new_version())],
    };
    run.apply(Deed::Transact(ops));
}

/// A head with a block that was flushed and one that was not.
fn small_store(rng: &mut Rng) -> Run {
    let mut run = Run::new();
    let head = run.core().new_version();
    run.apply(Deed::Transact(vec![Op::Create(head, 3 * BLOCK_SIZE)]));
    run.apply(Deed::Write(head, 0, rng.bytes(BLOCK)));
    run.apply(Deed::Flush);
    run.apply(Deed::Write(head, BLOCK_SIZE, rng.bytes(BLOCK)));
    run
}

/// Every programme of up to `COWSHED_DEEDS` (3) deeds, crashed at every call.
#[test]
fn all_small_programmes() {
    let deeds = std::env::var("COWSHED_DEEDS").map_or(3, |n| n.parse().expect("a number"));
    for deeds in 1..=deeds {
        for number in 0..SMALL.len().pow(deeds) {
            small_programme(deeds, number);
        }
    }
    println!("{} crashes in all tests", TRIED.load(Ordering::Relaxed));
}

/// The digits of `number` are the deeds. Crashes before the last one belong to a shorter programme.
fn small_programme(deeds: u32, number: usize) {
    let mut rng = Rng::new(1);
    let mut run = small_store(&mut rng);
    let mut rest = number;
    for _ in 0..deeds {
        small(&mut run, SMALL[rest % SMALL.len()], &mut rng);
        rest /= SMALL.len();
    }
    let plan = Plan {
        from_step: if deeds == 1 { 0 } else { run.steps.len() - 1 },
        places: usize::MAX,
        fates: &PLAIN_FATES,
        of_fates: PLAIN_FATES.len(),
        go_on: 0,
    };
    crash_all(&run, &mut rng, &plan);
}

/// Creating a store is not one commit: a crash leaves an empty store, or what is refused for what it is.
#[test]
fn creation() {
    let recorder = Recorder::new();
    let blocks = recorder.file(MemoryStorage::new());
    let catalog = recorder.file(MemoryStorage::new());
    Core::create(&blocks, Arc::new(catalog), [7; 16]).expect("memory does not fail");
    let mut replay = recorder.replay();
    let mut rng = Rng::new(1);
    for at in 0..=recorder.len() {
        replay.advance(at);
        for _ in 0..40 {
            let files = replay.crash(|_| match rng.below(3) {
                0 => Fate::Lost,
                1 => Fate::Done,
                _ => Fate::Torn(rng.next()),
            });
            let mut files = files.into_iter().map(Arc::new);
            let (blocks, catalog) = (files.next().unwrap(), files.next().unwrap());
            match Kernel::open_storage(blocks, catalog, &options()) {
                Ok(kernel) => assert_eq!(kernel.check().expect("it opened"), Vec::<String>::new()),
                Err(error) => {
                    assert!(at < recorder.len(), "a store that was made does not open: {error}");
                    assert!(matches!(error.kind, Kind::Damaged | Kind::Io), "{error:?}");
                }
            }
        }
    }
}

/// Data of several chunks, all of which goes again: holes are punched, and the file is cut.
#[test]
fn several_chunks() {
    for_seeds(2, |seed| {
        let mut rng = Rng::new(seed);
        let mut run = Run::new();
        let (head, small) = (run.core().new_version(), run.core().new_version());
        let size = 2 * CHUNK_BLOCKS * BLOCK_SIZE;
        run.apply(Deed::Transact(vec![Op::Create(head, size), Op::Create(small, size)]));
        run.apply(Deed::Write(small, 0, rng.bytes(3 * BLOCK)));
        let data = rng.bytes((CHUNK_BLOCKS as usize + 100) * BLOCK);
        run.apply(Deed::Write(head, 5 * BLOCK_SIZE, data));
        run.apply(Deed::Write(small, 7 * BLOCK_SIZE, rng.bytes(BLOCK)));
        run.apply(Deed::Flush);
        let from_step = run.steps.len();
        run.apply(Deed::Transact(vec![Op::Drop(head)]));
        run.apply(Deed::Write(small, BLOCK_SIZE, rng.bytes(BLOCK)));
        for _ in 0..4 {
            run.apply(Deed::Reclaim(1));
            run.apply(Deed::Write(small, rng.below(40) * BLOCK_SIZE, rng.bytes(3 * BLOCK)));
        }
        if rng.once_in(2) {
            run.apply(Deed::Transact(vec![Op::Drop(small)]));
        }
        run.settle();
        let plan = Plan { from_step, places: 60, fates: &ALL_FATES, of_fates: 2, go_on: 3 };
        let left = crash_all(&run, &mut rng, &plan);
        work_on(left, &mut rng, 1);
    });
}

/// Trees of hundreds of pages: writers commit by themselves, and drops and trims take several steps.
#[test]
fn large_trees() {
    for_seeds(2, |seed| {
        let mut rng = Rng::new(seed);
        let mut run = Run::new();
        let head = run.core().new_version();
        run.apply(Deed::Transact(vec![Op::Create(head, 1 << 40)]));
        let sparse = |run: &mut Run, rng: &mut Rng, head, leaves: Range<u64>| {
            for leaf in leaves {
                run.apply(Deed::Write(head, leaf << 20, rng.bytes(500)));
            }
        };
        sparse(&mut run, &mut rng, head, 0..520);
        let from_step = run.steps.len();
        let [frozen, left, right] = [(); 3].map(|()| run.core().new_version());
        run.apply(Deed::Transact(vec![
            Op::Freeze(head, frozen),
            Op::Derive(frozen, left),
            Op::Derive(frozen, right),
            Op::Drop(head),
            Op::Drop(frozen),
        ]));
        sparse(&mut run, &mut rng, left, 0..300);
        sparse(&mut run, &mut rng, right, 150..520);
        run.apply(Deed::Flush);
        for _ in 0..2 {
            run.apply(Deed::Reclaim(1));
            sparse(&mut run, &mut rng, left, 290..310);
        }
        run.apply(Deed::Transact(vec![Op::Drop(right)]));
        for _ in 0..3 {
            run.apply(Deed::Reclaim(1));
            sparse(&mut run, &mut rng, left, 280..290);
        }
        run.settle();
        let plan = Plan { from_step, places: 80, fates: &ALL_FATES, of_fates: 1, go_on: 1 };
        let left = crash_all(&run, &mut rng, &plan);
        work_on(left, &mut rng, 1);
    });
}

/// A catalogue of which little is left in use is made smaller.
#[test]
fn a_catalogue_that_shrinks() {
    let mut rng = Rng::new(1);
    let mut run = Run::new();
    let head = run.core().new_version();
    run.apply(Deed::Transact(vec![Op::Create(head, 1 << 20)]));
    let key = |i: u64| format!("key {i:04}").into_bytes();
    let put = |i| Op::Put(key(i), vec![i as u8; 9000]);
    for from in (0..800).step_by(100) {
        run.apply(Deed::Transact((from..from + 100).map(put).collect()));
    }
    let from_step = run.steps.len();
    run.apply(Deed::Transact((0..790).map(key).map(Op::Delete).collect()));
    run.apply(Deed::Write(head, 0, rng.bytes(3 * BLOCK)));
    let before = run.kernel.space().unwrap().catalog_bytes;
    run.settle();
    assert!(run.kernel.space().unwrap().catalog_bytes < before / 2);
    run.apply(Deed::Transact((790..800).map(key).map(Op::Delete).collect()));
    let plan = Plan { from_step, places: 60, fates: &ALL_FATES, of_fates: 2, go_on: 1 };
    let left = crash_all(&run, &mut rng, &plan);
    work_on(left, &mut rng, 1);
}

/// The log is filled round after round, with records of all lengths, so that what is left of an earlier round lies
/// behind the last record in every way.
#[test]
fn the_log_round_after_round() {
    for_seeds(3, |seed| {
        let mut rng = Rng::new(seed);
        let mut run = Run::new();
        let head = run.core().new_version();
        run.apply(Deed::Transact(vec![Op::Create(head, 1 << 20)]));
        let mut rounds = 0;
        let mut before = 0;
        while rounds < 4 {
            let len = [10, 5000, 90_000, 400_000][rng.below(4) as usize];
            let key = format!("key {}", rng.below(5)).into_bytes();
            let put = Op::Put(key, vec![rng.next() as u8; rng.below(len) as usize]);
            run.apply(Deed::Write(head, rng.below(200) * BLOCK_SIZE, rng.bytes(BLOCK)));
            run.apply(Deed::Transact(vec![put]));
            if rng.once_in(30) {
                run.apply(Deed::Checkpoint);
            }
            // A full log makes the database write: a commit with more than one sync of the catalogue.
            let syncs = run.recorder.syncs().len();
            rounds += usize::from(syncs > before + 2);
            before = syncs;
        }
        let plan = Plan { from_step: 0, places: 150, fates: &ALL_FATES, of_fates: 3, go_on: 2 };
        let left = crash_all(&run, &mut rng, &plan);
        work_on(left, &mut rng, 1);
    });
}

/// What was written and never committed takes no space for long.
#[test]
fn leftovers() {
    let mut rng = Rng::new(1);
    let mut run = Run::new();
    let head = run.core().new_version();
    run.apply(Deed::Transact(vec![Op::Create(head, 64 << 20)]));
    run.apply(Deed::Write(head, 0, rng.bytes(BLOCK)));
    run.apply(Deed::Flush);
    run.apply(Deed::Write(head, 0, rng.bytes(3 << 20)));
    let mut files = run.files().into_iter().map(Arc::new);
    let (blocks, catalog) = (files.next().unwrap(), files.next().unwrap());
    assert!(blocks.allocated().unwrap() > 3 << 20);
    let kernel = Kernel::open_storage(blocks.clone(), catalog.clone(), &options()).unwrap();
    while kernel.core().reclaim(10, Eager::Now).unwrap() > 0 {}
    let used = (kernel.space().unwrap().used_blocks + 1) * BLOCK_SIZE;
    assert_eq!(blocks.allocated().unwrap(), used);
    kernel.close().unwrap();
    verify(vec![blocks.copy(), catalog.copy()], &[run.world], false).unwrap();
}
