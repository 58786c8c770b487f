//! Calls that come in the midst of others: what another thread may do, at the places where it matters most.

mod support_crash;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use cowshed_kernel::core::Core;
use cowshed_kernel::error::Kind;
use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE, VersionId};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::transaction::Op;
use support_crash::crashes::{ALL_FATES, Plan, crash_all};
use support_crash::hooks::When;
use support_crash::rng::Rng;
use support_crash::run::{Deed, Nested, Run};

/// Two heads of six blocks that share what a frozen version between them has; nothing is owned.
fn store(rng: &mut Rng) -> (Run, [VersionId; 3]) {
    let mut run = Run::new();
    let [head, frozen, other] = [(); 3].map(|()| run.core().new_version());
    run.apply(Deed::Transact(vec![Op::Create(head, 6 * BLOCK_SIZE)]));
    run.apply(Deed::Write(head, 0, rng.bytes(4 * BLOCK)));
    run.apply(Deed::Transact(vec![Op::Freeze(head, frozen), Op::Derive(frozen, other)]));
    (run, [head, frozen, other])
}

/// All that a crash could leave, and all that must be reclaimed.
fn judge(mut run: Run, rng: &mut Rng) {
    run.settle();
    let plan = Plan { from_step: 0, places: 60, fates: &ALL_FATES, of_fates: ALL_FATES.len(), go_on: 0 };
    crash_all(&run, rng, &plan);
}

fn written(ops: Vec<Op>) -> Nested {
    Nested { when: When::BlocksWritten, deed: Deed::Transact(ops) }
}

/// A write whose data lies in new blocks, which are not mapped yet, meets each change of its head.
#[test]
fn a_write_overtaken() {
    let mut rng = Rng::new(1);
    for (offset, len) in [(0, BLOCK), (700, 900), (4096 + 50, 2 * BLOCK), (5 * BLOCK as u64, BLOCK)] {
        type Change = fn([VersionId; 3], VersionId) -> Vec<Op>;
        let changes: [Change; 8] = [
            |[head, ..], new| vec![Op::Freeze(head, new)],
            |[head, frozen, _], _| vec![Op::Rollback(head, frozen)],
            |[head, frozen, _], _| vec![Op::Drop(frozen), Op::Resize(head, 7 * BLOCK_SIZE)],
            |[_, frozen, other], _| vec![Op::Drop(other), Op::Drop(frozen)],
            |[head, ..], new| vec![Op::Freeze(head, new), Op::Drop(new)],
            // The end of its last block is cut off: it comes before that.
            |[head, ..], _| vec![Op::Resize(head, 6 * BLOCK_SIZE - 1)],
            |[head, ..], _| vec![Op::Resize(head, 5 * BLOCK_SIZE + 10)],
            |[_, _, other], new| vec![Op::Freeze(other, new)],
        ];
        for change in changes {
            let (mut run, ids) = store(&mut rng);
            let ops = change(ids, run.core().new_version());
            let deed = Deed::Write(ids[0], offset, rng.bytes(len));
            run.nested(deed, Some(written(ops)));
            // What was written behind an end must not come back.
            run.apply(Deed::Transact(vec![Op::Resize(ids[0], 8 * BLOCK_SIZE)]));
            judge(run, &mut rng);
        }
    }
}

/// A disk shrinks while a write is under way behind its new end: nothing is mapped there.
#[test]
fn a_write_that_a_shrink_overtakes() {
    let mut rng = Rng::new(1);
    for (size, offset, len) in
        [(0, 0, 100), (BLOCK_SIZE, 2 * BLOCK_SIZE, BLOCK), (2 * BLOCK_SIZE, BLOCK_SIZE, 3 * BLOCK)]
    {
        let (mut run, [head, ..]) = store(&mut rng);
        let shrink = written(vec![Op::Resize(head, size)]);
        let write = Deed::Write(head, offset, rng.bytes(len));
        run.overtaken(write, shrink, Kind::Invalid);
        judge(run, &mut rng);
    }
}

/// A head is dropped while a write to it is under way: its blocks go back.
#[test]
fn a_write_that_a_drop_overtakes() {
    let mut rng = Rng::new(1);
    let (mut run, [head, ..]) = store(&mut rng);
    let write = Deed::Write(head, 100, rng.bytes(2 * BLOCK));
    run.overtaken(write, written(vec![Op::Drop(head)]), Kind::Stale);
    judge(run, &mut rng);
}

/// A disk shrinks and grows at once: what was cut off does not come back.
#[test]
fn shrinking_and_growing_in_one_transaction() {
    let mut rng = Rng::new(1);
    let (mut run, [head, ..]) = store(&mut rng);
    let resize = |size| Op::Resize(head, size);
    run.apply(Deed::Transact(vec![resize(BLOCK_SIZE), resize(3 * BLOCK_SIZE)]));
    let refused = run.core().transact(&[resize(100), resize(2 * BLOCK_SIZE)]);
    assert_eq!(refused.expect_err("its tail would come back").kind, Kind::Invalid);
    judge(run, &mut rng);
}

/// A disk shrinks while the tail behind its end is zeroed so that it can grow.
#[test]
fn a_growth_that_a_shrink_overtakes() {
    let mut rng = Rng::new(1);
    let (mut run, [head, ..]) = store(&mut rng);
    let resize = |size| Deed::Transact(vec![Op::Resize(head, size)]);
    run.apply(resize(2000));
    let shrink = Nested { when: When::BlocksWritten, deed: resize(1000) };
    run.nested(resize(2 * BLOCK_SIZE), Some(shrink));
    judge(run, &mut rng);
}

/// The file is to be cut behind what is in use while a write has its data there, and not mapped yet.
#[test]
fn a_write_that_a_cut_overtakes() {
    let mut rng = Rng::new(1);
    let mut run = Run::new();
    let head = run.core().new_version();
    run.apply(Deed::Transact(vec![Op::Create(head, 6 * BLOCK_SIZE)]));
    run.apply(Deed::Write(head, 0, rng.bytes(4 * BLOCK)));
    run.apply(Deed::Discard(head, 0, 4 * BLOCK_SIZE));
    run.apply(Deed::Flush);
    let reclaim = Nested { when: When::BlocksWritten, deed: Deed::Reclaim(1000) };
    run.nested(Deed::Write(head, 0, rng.bytes(BLOCK)), Some(reclaim));
    run.apply(Deed::Flush);
    judge(run, &mut rng);
}

/// What is freed in the midst of a commit waits for the next one, and what was freed before for the end of this.
#[test]
fn writes_in_the_midst_of_a_commit() {
    let mut rng = Rng::new(1);
    for when in [When::BlocksSync, When::BlocksSynced, When::CatalogSync, When::CatalogSynced] {
        for deed in [Deed::Flush, Deed::Reclaim(100)] {
            let (mut run, [head, _, other]) = store(&mut rng);
            for _ in 0..3 {
                run.apply(Deed::Write(head, 0, rng.bytes(3 * BLOCK)));
                run.apply(Deed::Discard(head, 0, 2 * BLOCK_SIZE));
                run.apply(Deed::Write(head, BLOCK_SIZE, rng.bytes(2 * BLOCK)));
                let midst = Deed::Write(other, 500, rng.bytes(2 * BLOCK));
                run.nested(deed.clone(), Some(Nested { when, deed: midst }));
                run.apply(Deed::Write(head, 0, rng.bytes(4 * BLOCK)));
            }
            judge(run, &mut rng);
        }
    }
}

/// Drop a head, reclaim all that can be, and fill a new disk, which takes whatever blocks may be taken.
fn drop_and_fill(core: &Arc<Core>, head: VersionId, fill: &[u8]) -> VersionId {
    let new = core.new_version();
    let size = fill.len() as u64;
    core.transact(&[Op::Drop(head), Op::Create(new, size)]).unwrap();
    for _ in 0..5 {
        core.reclaim(1000, Eager::Now).unwrap();
    }
    core.disk(new).unwrap().write(0, fill).unwrap();
    new
}

/// A store with one disk of one block, in the first block of the file; free blocks are taken from there on.
fn one_block() -> (Run, VersionId) {
    let mut run = Run::new();
    let head = run.core().new_version();
    run.apply(Deed::Transact(vec![Op::Create(head, BLOCK_SIZE)]));
    run.apply(Deed::Write(head, 0, vec![1; BLOCK]));
    run.apply(Deed::Close);
    (Run::open(run.files(), run.world.clone()), head)
}

/// A block is freed and its freeing committed while it is being read: it is not taken before (rule 6).
#[test]
fn a_read_from_a_block_that_is_freed() {
    let (run, head) = one_block();
    let core = run.core().clone();
    run.hooks.arm(When::BlocksRead, move || {
        drop_and_fill(&core, head, &[2; 5 * BLOCK]);
    });
    let mut read = [0; BLOCK];
    run.core().disk(head).unwrap().read(0, &mut read).unwrap();
    assert!(run.hooks.disarm());
    assert!(read == [1; BLOCK], "the block was given to another while it was read");
}

/// The same while it is written in place: what another has is not overwritten.
#[test]
fn a_write_in_place_to_a_block_that_is_freed() {
    let (run, head) = one_block();
    let core = run.core().clone();
    let (tell, told) = mpsc::channel();
    run.hooks.arm(When::BlocksWrite, move || {
        tell.send(drop_and_fill(&core, head, &[2; 5 * BLOCK])).unwrap();
    });
    run.core().disk(head).unwrap().write(0, &[3; BLOCK]).unwrap();
    let other = run.core().disk(told.try_recv().unwrap()).unwrap();
    let mut read = [0; 5 * BLOCK];
    other.read(0, &mut read).unwrap();
    assert!(read == [2; 5 * BLOCK], "another's block was overwritten");
}

/// A freeze waits for a write in place (rule 4).
#[test]
fn a_freeze_in_the_midst_of_a_write_in_place() {
    let (run, head) = one_block();
    let core = run.core().clone();
    let (tell, told) = mpsc::channel();
    let frozen = core.new_version();
    run.hooks.arm(When::BlocksWrite, move || {
        let (frozen_tell, frozen_told) = mpsc::channel();
        std::thread::spawn(move || {
            core.transact(&[Op::Freeze(head, frozen)]).unwrap();
            let mut read = [0; BLOCK];
            core.disk(frozen).unwrap().read(0, &mut read).unwrap();
            frozen_tell.send(read).unwrap();
        });
        // It cannot come to its end; if it could, this would be long enough.
        let came = frozen_told.recv_timeout(Duration::from_millis(200));
        tell.send((came.is_ok(), frozen_told)).unwrap();
    });
    run.core().disk(head).unwrap().write(0, &[3; BLOCK]).unwrap();
    let (came, frozen_told) = told.try_recv().unwrap();
    assert!(!came, "frozen while it was written in place");
    assert!(frozen_told.recv().unwrap() == [3; BLOCK]);
}
