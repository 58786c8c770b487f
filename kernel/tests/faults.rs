//! A storage call that fails: at every place of a script, once and for ever.

mod support;

use std::sync::Arc;

use cowshed_kernel::error::{Error, Kind};
use cowshed_kernel::ids::BLOCK_SIZE;
use cowshed_kernel::kernel::Kernel;
use cowshed_kernel::log::LOG_BYTES;
use cowshed_kernel::storage::{Call, Fate, FaultPlan, FaultyStorage, Recorder};
use cowshed_kernel::transaction::Op;
use support::faults::Run;
use support::fixture::{Files, quiet};

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

/// Only closing may end a run: what was not flushed may be lost then, and it says so.
fn assert_went_on(ended: &[Ended]) {
    for Ended { file, call, stopped, .. } in ended {
        let stopped = stopped.as_ref().filter(|error| error.kind != Kind::NoSpace);
        assert!(stopped.is_none(), "{call:?} of file {file} stopped it: {}", stopped.expect("it stopped"));
    }
}

#[test]
fn no_space_once() {
    assert_went_on(&at_every_call(64 << 20, takes_space, |run, at| {
        run.crash_after = 2 + at as usize % 5;
        run.plan.fill(at, 1);
    }));
}

/// Full from some call on, and until so many errors were met: everything goes on.
#[test]
fn no_space_until_a_moment() {
    let ended = at_every_call(64 << 20, takes_space, |run, at| {
        run.patience = [1, 2, 7][at as usize % 3];
        run.plan.fill(at, u64::MAX);
    });
    assert_went_on(&ended);
    let applied: usize = ended.iter().map(|ended| ended.applied).sum();
    assert!(applied > 0, "no transaction was applied that there was no space for");
}

/// The same with so little memory that pages are read again, and the catalogue's database writes what it did not commit.
#[test]
fn no_space_until_a_moment_with_little_memory() {
    let ended = at_every_call(0, takes_space, |run, at| {
        run.patience = 3;
        run.plan.fill(at, u64::MAX);
    });
    assert_went_on(&ended);
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

/// The catalogue's file grows, shrinks, and is written, and from some call on there is space for the log alone; commits
/// follow, and a kill.
#[test]
fn what_is_committed_behind_a_fault_lasts() {
    let key = |i: usize| format!("key {i}").into_bytes();
    let run = |at: u64| {
        let files = Files::create();
        let plan = FaultPlan::new();
        let catalog = Arc::new(FaultyStorage::new(files.catalog.clone(), plan.clone()));
        let kernel =
            Kernel::open_storage(files.blocks.clone(), catalog, &quiet(64 << 20)).expect("a new store opens");
        plan.spare_before(LOG_BYTES);
        plan.fill(at, u64::MAX);
        let is_done = |result: Result<(), Error>| {
            let full = result.err().map(|error| assert_eq!(error.kind, Kind::NoSpace, "{error}"));
            full.is_none()
        };
        for i in 0..60 {
            is_done(kernel.core().transact(&[Op::Put(key(i), vec![i as u8; 10_000])]));
        }
        for round in 0..4 {
            is_done(kernel.core().checkpoint());
            let deletes = (0..60).filter(|i| i % 4 == round).map(|i| Op::Delete(key(i)));
            is_done(kernel.core().transact(&deletes.collect::<Vec<_>>()));
        }
        is_done(kernel.core().checkpoint());
        let mut committed = 0;
        for i in 100..104 {
            let done = is_done(kernel.core().transact(&[Op::Put(key(i), vec![1])]));
            let left = files.copy().open(&quiet(64 << 20)).expect("it opens after a kill");
            let found = left.core().key(&key(i)).expect("it can be read");
            assert!(found.is_some() || !done, "key {i} is lost after call {at} failed: {:?}", plan.failed());
            assert_eq!(left.check().expect("it can be checked"), Vec::<String>::new());
            committed += usize::from(done);
        }
        (plan.made(), committed)
    };
    let (calls, _) = run(u64::MAX);
    let shrunk = calls.iter().filter(|(_, call)| *call == Call::SetLen).count();
    assert!(shrunk > 2, "the file does not grow and shrink");
    let mut committed = 0;
    for (at, (_, call)) in (0..).zip(calls) {
        if takes_space(call) {
            let _told = Told(at);
            committed += run(at).1;
        }
    }
    assert!(committed > 0, "nothing is committed where the log alone has space");
}
