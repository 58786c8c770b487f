//! Many threads on the same disks, and races that are staged.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use cowshed_kernel::error::Kind;
use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE, VersionId};
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::rows::CHUNK_BLOCKS;
use cowshed_kernel::transaction::Op;
use support::arena::Arena;
use support::fixture::{Files, Script, quiet};
use support::gate::{self, GateStorage, RestlessStorage};
use support::random::{Rng, with_seeds};

#[test]
fn threads_see_what_was_written_and_snapshots_stay() {
    with_seeds(6, |seed| {
        let files = Files::create();
        let background = seed.is_multiple_of(2);
        let cache_bytes = if seed.is_multiple_of(3) { 0 } else { 64 << 20 };
        let options = Options { background, ..quiet(cache_bytes) };
        let blocks = Arc::new(RestlessStorage(files.blocks.clone()));
        let kernel = Kernel::open_storage(blocks, files.catalog.clone(), &options);
        let arena = Arena::new(kernel.expect("a new store opens"));
        arena.run(seed, 4, 1500);
        arena.end_all();
    });
}

/// A writer writes n to one block, and when that is done n to another: a snapshot between any two moments must not
/// have the second without the first.
#[test]
fn a_snapshot_is_one_moment() {
    const WRITERS: u64 = 3;
    with_seeds(3, |seed| {
        let files = Files::create();
        let kernel = files.open(&quiet(64 << 20)).expect("a new store opens");
        let head = kernel.create(1 << 40);
        let mut rng = Rng::new(seed);
        let place = |_| [rng.below(1 << 20), (1 << 24) + rng.below(1 << 20)].map(|index| index * BLOCK_SIZE);
        let places: Vec<[u64; 2]> = (0..WRITERS).map(place).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for [first, second] in &places {
                let (kernel, done) = (&kernel, &done);
                scope.spawn(move || {
                    let disk = kernel.open(head);
                    let mut n = 0u64;
                    while !done.load(SeqCst) {
                        n += 1;
                        for at in [*first, *second] {
                            disk.write(at, &n.to_le_bytes().repeat(BLOCK / 8)).expect("it can be written");
                        }
                    }
                });
            }
            let number = |id, at| u64::from_le_bytes(kernel.read(id, at, 8).try_into().expect("eight bytes"));
            for round in 0..200 {
                let frozen = kernel.freeze(head);
                for [first, second] in &places {
                    let (a, b) = (number(frozen, *first), number(frozen, *second));
                    if !(b <= a && a <= b + 1) {
                        done.store(true, SeqCst);
                        panic!(
                            "a snapshot has {a} in the first block and {b} in the second, in round {round}"
                        );
                    }
                }
                kernel.apply(Op::Drop(frozen));
            }
            done.store(true, SeqCst);
        });
        kernel.assert_sound();
    });
}

/// What is written while zeros are looked for is not taken for one of them.
#[test]
fn sparsifying_beside_writers() {
    let kernel = Files::create().open(&quiet(64 << 20)).expect("a new store opens");
    let head = kernel.create(2 * BLOCK_SIZE);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let disk = kernel.open(head);
            while !done.load(SeqCst) {
                disk.sparsify(0, 2 * BLOCK_SIZE).expect("it can be looked at");
            }
        });
        let disk = kernel.open(head);
        for round in 0..20_000u64 {
            let at = round % 2 * BLOCK_SIZE;
            // Data, and zeros in two pieces: so the block is mapped, and zero, and then it is not.
            disk.write(at, &[1; BLOCK]).expect("it is there");
            for half in [at, at + BLOCK_SIZE / 2] {
                disk.write(half, &[0; BLOCK / 2]).expect("it is there");
            }
            disk.write(at + 8, &round.to_le_bytes()).expect("it is there");
            let read = kernel.read(head, at + 8, 8);
            if read != round.to_le_bytes() {
                done.store(true, SeqCst);
                panic!("what round {round} wrote is lost: {read:?}");
            }
        }
        done.store(true, SeqCst);
    });
    kernel.assert_sound();
}

/// A store whose blocks file can be stopped in a call.
fn gated() -> (Kernel, Arc<GateStorage>) {
    let files = Files::create();
    let blocks = Arc::new(GateStorage::new(files.blocks.clone()));
    let kernel = Kernel::open_storage(blocks.clone(), files.catalog.clone(), &quiet(64 << 20));
    (kernel.expect("a new store opens"), blocks)
}

/// A store with a disk of 300 blocks that hold 1, behind which the first chunk is full.
fn gated_and_full() -> (Kernel, Arc<GateStorage>, VersionId) {
    let (kernel, blocks) = gated();
    let disk = kernel.create(300 * BLOCK_SIZE);
    kernel.write(disk, 0, &[1; 300 * BLOCK]);
    let filler = kernel.create(CHUNK_BLOCKS * BLOCK_SIZE);
    kernel.write(filler, 0, &vec![2; (CHUNK_BLOCKS as usize - 301) * BLOCK]);
    (kernel, blocks, disk)
}

/// Drop a disk, try to get its space back, and have a new one take what it can.
fn replace(kernel: &Kernel, disk: VersionId) -> VersionId {
    kernel.apply(Op::Drop(disk));
    for _ in 0..10 {
        kernel.core().reclaim(1000, Eager::Now).expect("reclaiming is possible");
    }
    let other = kernel.create(300 * BLOCK_SIZE);
    kernel.write(other, 0, &[3; 300 * BLOCK]);
    other
}

#[test]
fn blocks_are_not_given_away_while_they_are_read() {
    let (kernel, blocks, id) = gated_and_full();
    let disk = kernel.open(id);
    let mut bytes = [0; BLOCK];
    let read = blocks.between(
        gate::Kind::Read,
        || disk.read(0, &mut bytes),
        || {
            replace(&kernel, id);
        },
    );
    read.expect("it began in time");
    assert!(bytes == [1; BLOCK], "the read found {}", bytes[0]);
}

#[test]
fn blocks_are_not_given_away_while_they_are_written() {
    let (kernel, blocks, id) = gated_and_full();
    let disk = kernel.open(id);
    let mut other = id;
    let written = blocks.between(
        gate::Kind::Write,
        || disk.write(0, &[4; 256 * BLOCK]),
        || other = replace(&kernel, id),
    );
    written.expect("it began in time");
    assert!(kernel.read(other, 0, 300 * BLOCK) == [3; 300 * BLOCK], "the write went to another disk");
    kernel.reclaim_all();
    kernel.assert_sound();
}

#[test]
fn a_write_that_a_shrink_overtakes_writes_nothing_behind_the_end() {
    let (kernel, blocks) = gated();
    let head = kernel.create(2 << 20);
    // In the leaf that stays, at the place that index 300 has in its own.
    kernel.write(head, 44 * BLOCK_SIZE, &[1; BLOCK]);
    let disk = kernel.open(head);
    let written = blocks.between(
        gate::Kind::Write,
        || disk.write(300 * BLOCK_SIZE, &[2; BLOCK]),
        || kernel.apply(Op::Resize(head, 1 << 20)),
    );
    assert_eq!(written.expect_err("it lies behind the end").kind, Kind::Invalid);
    assert!(kernel.read(head, 44 * BLOCK_SIZE, BLOCK) == [1; BLOCK], "it wrote elsewhere");
    kernel.assert_sound();
    kernel.apply(Op::Resize(head, 2 << 20));
    assert!(kernel.read(head, 300 * BLOCK_SIZE, BLOCK) == [0; BLOCK], "it wrote behind the end");
}

#[test]
fn a_read_that_a_shrink_overtakes_reads_nothing_behind_the_end() {
    let (kernel, blocks) = gated();
    let head = kernel.create(2 << 20);
    kernel.write(head, 0, &[1; BLOCK]);
    kernel.write(head, 255 * BLOCK_SIZE, &[2; BLOCK]);
    kernel.write(head, 256 * BLOCK_SIZE, &[3; BLOCK]);
    let disk = kernel.open(head);
    let mut bytes = [0; 2 * BLOCK];
    let read = blocks.between(
        gate::Kind::Read,
        || disk.read(255 * BLOCK_SIZE, &mut bytes),
        || kernel.apply(Op::Resize(head, 1 << 20)),
    );
    assert_eq!(read.expect_err("it lies behind the end").kind, Kind::Invalid);
}

#[test]
fn a_discard_to_the_end_of_a_disk_that_grows_spares_what_is_behind() {
    for _ in 0..20 {
        let (kernel, blocks) = gated();
        let head = kernel.create(BLOCK_SIZE + 100);
        kernel.write(head, BLOCK_SIZE, &[1; 100]);
        let disk = kernel.open(head);
        std::thread::scope(|scope| {
            let meanwhile = || {
                // It waits for the write to the first block, before or after the disk has grown.
                scope.spawn(|| disk.discard(0, BLOCK_SIZE + 100).expect("it can be discarded"));
                kernel.apply(Op::Resize(head, 2 * BLOCK_SIZE));
                kernel.write(head, BLOCK_SIZE + 100, &[3; BLOCK - 100]);
            };
            blocks.between(gate::Kind::Write, || kernel.write(head, 0, &[2; BLOCK]), meanwhile);
        });
        let tail = kernel.read(head, BLOCK_SIZE + 100, BLOCK - 100);
        assert!(tail.iter().all(|byte| *byte == 3), "the discard went beyond the end that it was told");
    }
}

#[test]
fn a_discard_to_the_end_that_a_rollback_overtakes_spares_what_is_behind() {
    let (kernel, blocks) = gated();
    let head = kernel.create(3 * BLOCK_SIZE);
    kernel.write(head, 0, &[1; 3 * BLOCK]);
    let longer = kernel.freeze(head);
    let end = 2 * BLOCK_SIZE + 100;
    kernel.apply(Op::Resize(head, end));
    let disk = kernel.open(head);
    blocks.between(
        gate::Kind::Write,
        || disk.discard(100, end - 100).expect("it can be discarded"),
        || kernel.apply(Op::Rollback(head, longer)),
    );
    let tail = kernel.read(head, end, BLOCK - 100);
    assert!(tail.iter().all(|byte| *byte == 1), "the discard went beyond the end that it was told");
}

#[test]
fn growing_a_disk_that_a_rollback_overtakes_spares_what_came_back() {
    for _ in 0..20 {
        let (kernel, blocks) = gated();
        let head = kernel.create(3 * BLOCK_SIZE);
        kernel.write(head, 0, &[1; 3 * BLOCK]);
        let longer = kernel.freeze(head);
        let end = 2 * BLOCK_SIZE + 100;
        kernel.apply(Op::Resize(head, end));
        std::thread::scope(|scope| {
            let meanwhile = || {
                // Its zeroing waits for the write to the last block, before or after the rollback.
                scope.spawn(|| kernel.apply(Op::Resize(head, 3 * BLOCK_SIZE)));
                kernel.apply(Op::Rollback(head, longer));
            };
            blocks.between(gate::Kind::Write, || kernel.write(head, end - 100, &[2; 100]), meanwhile);
        });
        let tail = kernel.read(head, end, BLOCK - 100);
        assert!(tail.iter().all(|byte| *byte == 1), "what the rollback brought was zeroed");
    }
}

#[test]
fn what_a_shrink_cuts_off_while_the_disk_is_about_to_grow_never_comes_back() {
    let (kernel, blocks) = gated();
    let (first, second) = (kernel.create(2 * BLOCK_SIZE), kernel.create(100));
    kernel.write(first, 0, &[1; 2 * BLOCK]);
    kernel.write(second, 0, &[1; 100]);
    let grow = [Op::Resize(first, 4 * BLOCK_SIZE), Op::Resize(second, BLOCK_SIZE)];
    // The transaction stops at zeroing the second disk's tail, and saw that the first has none.
    blocks.between(
        gate::Kind::Write,
        || kernel.core().transact(&grow).expect("both can grow"),
        || kernel.apply(Op::Resize(first, BLOCK_SIZE + 100)),
    );
    let tail = kernel.read(first, BLOCK_SIZE + 100, BLOCK - 100);
    assert!(tail.iter().all(|byte| *byte == 0), "bytes that were cut off can be read again");
}
