//! A storage call that fails: at every place of a script, once and for ever.

mod support;

use std::sync::Arc;

use cowshed_kernel::error::{Error, Kind};
use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE};
use cowshed_kernel::kernel::Kernel;
use cowshed_kernel::storage::{Call, Fate, FaultPlan, FaultyStorage, Recorder};
use cowshed_kernel::transaction::Op;
use support::faults::{FullStorage, Run};
use support::fixture::{Files, Script, quiet};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// Every operation, with commits in between.
fn script(run: &mut Run) {
    run.open();
    let a = run.create((3 << 20) + 5000);
    run.write(a, 100, 10_000);
    run.write(a, (1 << 20) - 5000, 9000);
    run.transact(&[Op::Put(b"a".into(), vec![1; 100]), Op::Put(b"b".into(), vec![2; 100])]);
    let s1 = run.freeze(a);
    run.write(a, 100, 5000);
    run.write(a, 4096, 8192);
    run.discard(a, 0, 4096);
    let b = run.derive(s1);
    run.write(b, (1 << 20) - 4096, 100_000);
    run.flush();
    let s2 = run.freeze(b);
    run.verify();
    run.transact(&[Op::Resize(a, (1 << 20) + 100)]);
    run.write(a, 1 << 20, 100);
    run.transact(&[Op::Resize(a, 2 << 20)]);
    run.write(a, (1 << 20) + 50, 20_000);
    run.transact(&[Op::Rollback(b, s1)]);
    let s3 = run.id();
    run.transact(&[Op::Freeze(a, s3), Op::Require(b"a".into(), Some(vec![1; 100])), Op::Delete(b"a".into())]);
    run.transact(&[Op::Drop(s1)]);
    run.write(b, 0, 30_000);
    run.reclaim();
    run.transact(&[Op::Drop(s2)]);
    run.discard(b, 0, 2 << 20);
    run.reclaim();
    run.write(b, 50_000, 200_000);
    run.close();
    run.open();
    run.verify();
    run.write(a, 0, 3 * BLOCK_SIZE as usize);
    run.transact(&[Op::Drop(s3)]);
    run.reclaim();
    run.check();
    run.write(a, 5, 10_000);
    run.close();
    run.open();
    run.verify();
}

/// The calls that the script makes, those of a kind.
fn calls(cache_bytes: u64, kind: impl Fn(Call) -> bool) -> Vec<(u64, (usize, Call))> {
    let mut clean = Run::new(cache_bytes);
    script(&mut clean);
    assert!(clean.stopped.is_none());
    let made = clean.plan.made();
    clean.end();
    (0..).zip(made).filter(|(_, (_, call))| kind(*call)).collect()
}

/// Run the script with faults from each call on that `kind` holds for.
fn at_every_call(cache_bytes: u64, kind: impl Fn(Call) -> bool, fail: impl Fn(&mut Run, u64)) -> Vec<Ended> {
    let mut all = Vec::new();
    for (at, (file, call)) in calls(cache_bytes, kind) {
        let _told = Told(at);
        let mut run = Run::new(cache_bytes);
        fail(&mut run, at);
        script(&mut run);
        assert!(run.plan.failed().first() == Some(&(file, call)), "the script is not the same every time");
        run.plan.end();
        all.push(Ended {
            file,
            call,
            stopped: run.stopped.clone(),
            applied: run.applied,
            errors: run.errors,
        });
        run.end();
    }
    all
}

/// How a run ended whose first fault was in this call.
struct Ended {
    file: usize,
    call: Call,
    stopped: Option<Error>,
    applied: usize,
    errors: usize,
}

fn takes_space(call: Call) -> bool {
    matches!(call, Call::Write | Call::SetLen | Call::Punch)
}

/// Files are numbered as they are opened, the blocks file first.
fn is_blocks(file: usize) -> bool {
    file.is_multiple_of(2)
}

/// Tells where the fault was when the test panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the fault was at call {}", self.0);
        }
    }
}

#[test]
fn no_space_once() {
    for ended in at_every_call(64 << 20, takes_space, |run, at| run.plan.fill(at, 1)) {
        let Ended { file, call, stopped, .. } = ended;
        assert!(
            stopped.is_none(),
            "{call:?} of file {file} stopped the store: {}",
            stopped.expect("it stopped")
        );
    }
}

/// Full from some call on, and until so many errors were met: everything goes on.
#[test]
fn no_space_until_a_moment() {
    let mut applied = 0;
    for patience in [1, 2, 7] {
        let ended = at_every_call(64 << 20, takes_space, |run, at| {
            run.patience = patience;
            run.plan.fill(at, u64::MAX);
        });
        for Ended { file, call, stopped, applied: more, .. } in ended {
            applied += more;
            let stopped = stopped.filter(|error| error.kind != Kind::NoSpace);
            assert!(
                stopped.is_none(),
                "{call:?} of file {file} stopped it: {}",
                stopped.expect("it stopped")
            );
        }
    }
    assert!(applied > 0, "no transaction was applied that there was no space for");
}

/// The same with so little memory that pages are read again, and the catalogue's database writes what it did not commit.
#[test]
fn no_space_until_a_moment_with_little_memory() {
    at_every_call(0, takes_space, |run, at| {
        run.patience = 3;
        run.plan.fill(at, u64::MAX);
    });
}

/// Full for ever: what was flushed is there when the store is opened again, with space.
#[test]
fn no_space_from_some_call_on() {
    let ended = at_every_call(64 << 20, takes_space, |run, at| run.plan.fill(at, u64::MAX));
    assert!(ended.iter().any(|ended| ended.errors > 0));
}

/// What a sync did not write may be lost, whatever it says of the reason.
#[test]
fn no_space_in_a_sync_stops_the_store() {
    let sync = |call| call == Call::Sync;
    let mut stopped = 0;
    for ended in at_every_call(64 << 20, sync, |run, at| run.plan.fail(at, 1, ENOSPC)) {
        let error = ended.stopped;
        stopped += usize::from(error.is_some_and(|error| matches!(error.kind, Kind::Failed | Kind::Io)));
    }
    assert!(stopped > 20, "{stopped} runs stopped");
}

#[test]
fn an_error_once() {
    for ended in at_every_call(0, |_| true, |run, at| run.plan.fail(at, 1, EIO)) {
        let Ended { file, call, stopped, .. } = ended;
        // The blocks file may fail once in anything but a sync, and the store goes on.
        let harmless = is_blocks(file) && call != Call::Sync;
        assert!(!harmless || stopped.is_none(), "it stopped the store: {}", stopped.expect("it stopped"));
    }
}

#[test]
fn errors_from_some_call_on() {
    at_every_call(0, |_| true, |run, at| run.plan.fail(at, u64::MAX, EIO));
}

/// A store whose files may not take more than so many bytes.
fn limited() -> (Kernel, [Arc<FullStorage>; 2], Files) {
    let files = Files::create();
    let limited = [files.blocks.clone(), files.catalog.clone()].map(|file| Arc::new(FullStorage::new(file)));
    let [blocks, catalog] = limited.clone();
    let kernel = Kernel::open_storage(blocks, catalog, &quiet(64 << 20)).expect("a new store opens");
    (kernel, limited, files)
}

#[test]
fn a_full_blocks_file_refuses_writes_and_nothing_else() {
    let (kernel, [blocks, _], _) = limited();
    let (old, head) = (kernel.create(1 << 20), kernel.create(64 << 20));
    kernel.write(old, 0, &[1; 1 << 20]);
    blocks.limit(4 << 20);
    let disk = kernel.open(head);
    let piece = 300 * BLOCK;
    let mut written = 0;
    let error = loop {
        match disk.write(written as u64, &vec![2; piece]) {
            Ok(()) => written += piece,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, Kind::NoSpace);
    assert!(written > 0);
    // What was written stays, can be overwritten in place, and frozen.
    assert!(kernel.read(head, 0, written) == vec![2; written]);
    disk.write(0, &[3; BLOCK]).expect("it is there already");
    let frozen = kernel.freeze(head);
    kernel.write(old, 0, &[1; BLOCK]);
    blocks.limit(0);
    assert_eq!(disk.write(0, &[4; BLOCK]).expect_err("it needs a new block").kind, Kind::NoSpace);
    assert!(kernel.read(head, 0, BLOCK) == [3; BLOCK]);
    // What writes that failed had reserved is free again.
    kernel.reclaim_all();
    kernel.assert_sound();
    let space = kernel.space().expect("space is counted");
    assert_eq!(space.blocks_file_bytes, (1 + space.used_blocks) * BLOCK_SIZE, "what the blocks file takes");
    // Dropping makes room.
    blocks.limit(4 << 20);
    kernel.apply(Op::Drop(old));
    kernel.reclaim_all();
    disk.write(0, &[4; BLOCK]).expect("there is room now");
    assert!(kernel.read(frozen, 0, BLOCK) == [3; BLOCK]);
    kernel.assert_sound();
}

#[test]
fn a_full_catalogue_stops_the_store_and_loses_nothing() {
    let (kernel, [_, catalog], files) = limited();
    let head = kernel.create(64 << 20);
    kernel.write(head, 0, &[1; BLOCK]);
    kernel.core().flush().expect("there is room");
    catalog.limit(0);
    let mut keys = 0u32;
    let error = loop {
        let key = keys.to_be_bytes().to_vec();
        match kernel.core().transact(&[Op::Put(key, vec![7; 3000])]) {
            Ok(()) => keys += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, Kind::NoSpace);
    let refused = kernel.core().transact(&[Op::Put(vec![1], vec![1])]);
    assert_eq!(refused.expect_err("the store stopped").kind, Kind::Failed);
    assert_eq!(kernel.open(head).write(0, &[2; BLOCK]).expect_err("the store stopped").kind, Kind::Failed);
    assert!(kernel.read(head, 0, BLOCK) == [1; BLOCK], "reads go on");
    kernel.close().expect("it said so already");
    let kernel = files.open(&quiet(64 << 20)).expect("the store opens again");
    kernel.assert_sound();
    assert!(kernel.read(head, 0, BLOCK) == [1; BLOCK]);
    let found = kernel.core().scan(b"", None, usize::MAX >> 1).expect("keys are listed").len();
    assert!((keys as usize..=keys as usize + 1).contains(&found), "{found} of {keys} keys");
}

/// The sync of a commit fails when the commit is written already. Whoever opens the store next may find it or not; but
/// what he finds, no crash takes from him.
#[test]
fn what_was_found_lasts() {
    let files = Files::create();
    let recorder = Recorder::new();
    let recorded = [&files.blocks, &files.catalog].map(|file| Arc::new(recorder.file(file.copy())));
    let [blocks, catalog] = recorded.clone();
    let plan = FaultPlan::new();
    let faulty = Arc::new(FaultyStorage::new(catalog.clone(), plan.clone()));
    let kernel = Kernel::open_storage(blocks.clone(), faulty, &quiet(64 << 20)).expect("a new store opens");
    let put = [Op::Put(b"key".into(), b"value".into())];
    // The log is written by one call, and synced by the next.
    plan.fail(1, 1, EIO);
    assert_eq!(kernel.core().transact(&put).expect_err("its sync fails").kind, Kind::Io);
    assert!(matches!(plan.failed()[..], [(0, Call::Sync)]), "{:?}", plan.failed());
    // The process ends without closing anything.
    std::mem::forget(kernel);
    let kernel = Kernel::open_storage(blocks, catalog, &quiet(64 << 20)).expect("it opens again");
    let found = kernel.core().key(b"key").expect("it reads");
    assert_eq!(found.as_deref(), Some(&b"value"[..]), "this system had written it");
    let mut replay = recorder.replay();
    replay.advance(recorder.len());
    let mut left = replay.crash(|_| Fate::Lost).into_iter().map(Arc::new);
    let files = Files { blocks: left.next().expect("two files"), catalog: left.next().expect("two files") };
    let kernel = files.open(&quiet(64 << 20)).expect("the store opens again");
    assert_eq!(kernel.core().key(b"key").expect("it reads"), found);
}
