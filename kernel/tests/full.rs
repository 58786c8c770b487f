//! A store on a file system that is full: it goes on with what needs no space, and with all else when there is space.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cowshed_kernel::error::{Error, Kind};
use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE, VersionId};
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::storage::Storage;
use cowshed_kernel::transaction::Op;
use support::fixture::{Script, quiet};
use support::full::Disk;

/// More than the log has room for.
const MANY: usize = 600;

/// Write to a disk from an offset on until there is no space; how much was written.
fn fill(kernel: &Kernel, head: VersionId, from: usize, byte: u8) -> usize {
    let disk = kernel.open(head);
    let piece = 60 * BLOCK;
    let mut at = from;
    loop {
        match disk.write(at as u64, &vec![byte; piece]) {
            Ok(()) => at += piece,
            Err(error) => {
                assert_eq!(error.kind, Kind::NoSpace, "{error}");
                return at - from;
            }
        }
    }
}

#[test]
fn full_blocks_refuse_writes_and_nothing_else() {
    let host = Disk::new();
    let kernel = host.open(false, &quiet(64 << 20)).expect("a new store opens");
    let (old, head) = (kernel.create(1 << 20), kernel.create(64 << 20));
    kernel.write(old, 0, &[1; 1 << 20]);
    host.space.leave(3 << 20);
    let disk = kernel.open(head);
    let written = fill(&kernel, head, 0, 2);
    assert!(written > 0);
    // What was written stays, can be overwritten in place, and frozen.
    assert!(kernel.read(head, 0, written) == vec![2; written]);
    disk.write(0, &[3; BLOCK]).expect("it is there already");
    host.space.leave(1 << 20);
    let frozen = kernel.freeze(head);
    kernel.write(old, 0, &[1; BLOCK]);
    host.space.leave(0);
    assert_eq!(disk.write(0, &[4; BLOCK]).expect_err("it needs a new block").kind, Kind::NoSpace);
    assert!(kernel.read(head, 0, BLOCK) == [3; BLOCK]);
    // What writes that failed had reserved is free again.
    kernel.reclaim_all();
    kernel.assert_sound();
    let space = kernel.space().expect("space is counted");
    assert_eq!(space.blocks_file_bytes, (1 + space.used_blocks) * BLOCK_SIZE, "what the blocks file takes");
    // Dropping makes room.
    kernel.apply(Op::Drop(old));
    kernel.reclaim_all();
    disk.write(0, &[4; BLOCK]).expect("there is room now");
    assert!(kernel.read(frozen, 0, BLOCK) == [3; BLOCK]);
    kernel.assert_sound();
}

/// Put keys until there is no space; how many were put, the last of them perhaps applied only.
fn put_until_full(kernel: &Kernel, bytes: usize) -> (u32, Error) {
    for number in 0u32.. {
        let key = number.to_be_bytes().to_vec();
        if let Err(error) = kernel.core().transact(&[Op::Put(key, vec![7; bytes])]) {
            assert_eq!(error.kind, Kind::NoSpace, "{error}");
            let applied = u32::from(error.message.contains("it is done"));
            return (number + applied, error);
        }
    }
    unreachable!()
}

fn keys(kernel: &Kernel) -> usize {
    kernel.core().scan(b"", None, usize::MAX >> 1).expect("keys are listed").len()
}

/// Without a reserve, with records that fit the log and with some that do not.
#[test]
fn a_full_catalogue_refuses_what_needs_space_and_goes_on() {
    for bytes in [3000, 3 << 20] {
        let host = Disk::new();
        let kernel = host.open(false, &quiet(64 << 20)).expect("a new store opens");
        let head = kernel.create(64 << 20);
        kernel.write(head, 0, &[1; BLOCK]);
        kernel.core().flush().expect("there is room");
        host.space.leave(0);
        let (put, _) = put_until_full(&kernel, bytes);
        assert_eq!(keys(&kernel), put as usize);
        for _ in 0..3 {
            let again = kernel.core().transact(&[Op::Put(vec![1], vec![1])]).expect_err("it is full");
            assert_eq!(again.kind, Kind::NoSpace);
            assert!(!again.message.contains("it is done"), "it is refused before: {again}");
            assert_eq!(
                kernel.core().flush().err().map(|error| error.kind),
                (put > 0).then_some(Kind::NoSpace)
            );
        }
        assert_eq!(keys(&kernel), put as usize, "what is refused changes nothing");
        kernel.open(head).write(0, &[2; BLOCK]).expect("in place it needs no space");
        assert!(kernel.read(head, 0, BLOCK) == [2; BLOCK]);
        host.space.leave(u64::MAX);
        kernel.core().flush().expect("there is space again");
        kernel.apply(Op::Put(vec![1], vec![1]));
        kernel.assert_sound();
        kernel.close().expect("there is space");
        let kernel = host.open(false, &quiet(64 << 20)).expect("the store opens again");
        kernel.assert_sound();
        assert_eq!(keys(&kernel), put as usize + 1);
    }
}

/// A store that is closed while it is full opens again, and has all that was flushed.
#[test]
fn closing_a_full_store() {
    for flushed in [true, false] {
        let host = Disk::new();
        let kernel = host.open(false, &quiet(64 << 20)).expect("a new store opens");
        let head = kernel.create(64 << 20);
        host.space.leave(0);
        let (mut put, _) = put_until_full(&kernel, 3000);
        if flushed {
            host.space.leave(16 << 20);
            kernel.core().flush().expect("there is space for that");
            host.space.leave(0);
            // The log takes some more, and the rest of the catalogue does not.
            for number in put..put + 100 {
                kernel.apply(Op::Put(number.to_be_bytes().to_vec(), vec![7; 3000]));
            }
            put += 100;
        } else {
            // The last one was applied only.
            put -= 1;
        }
        assert_eq!(kernel.close().is_ok(), flushed, "it says when something may be lost");
        assert!(kernel.core().flush().is_err_and(|error| error.kind == Kind::Closed));
        let kernel = host.open(false, &quiet(64 << 20)).expect("the store opens again, full as it is");
        assert_eq!(keys(&kernel), put as usize);
        assert!(kernel.read(head, 0, BLOCK) == [0; BLOCK]);
        host.space.leave(u64::MAX);
        kernel.apply(Op::Put(vec![1], vec![1]));
        kernel.assert_sound();
    }
}

/// A disk with many snapshots, filled until nothing is left but the reserve.
fn full_of_snapshots(host: &Disk, kernel: &Kernel) -> (VersionId, Vec<VersionId>) {
    let head = kernel.create(1 << 30);
    host.space.leave(24 << 20);
    let mut snapshots = Vec::new();
    for i in 0..MANY {
        kernel.write(head, (i % 50) as u64 * BLOCK_SIZE * 256, &[i as u8 | 1; 2 * BLOCK]);
        snapshots.push(kernel.freeze(head));
    }
    fill(kernel, head, 512 << 20, 9);
    let key = |i: usize| [b"ballast".to_vec(), i.to_be_bytes().to_vec()].concat();
    for i in 0..100 {
        kernel.apply(Op::Put(key(i), vec![1; 1000]));
    }
    (head, snapshots)
}

/// With nothing left on the file system, everything can be deleted, and so everything else goes on.
#[test]
fn deleting_needs_no_space() {
    let host = Disk::new();
    let kernel = host.open(true, &quiet(64 << 20)).expect("a new store opens");
    let (head, snapshots) = full_of_snapshots(&host, &kernel);
    host.space.leave(0);
    let before = host.space.refusals();
    assert_eq!(kernel.open(head).write(0, &[1; BLOCK]).expect_err("it is full").kind, Kind::NoSpace);
    // Nothing comes back meanwhile: all of it is done with what there is.
    snapshots.iter().for_each(|snapshot| kernel.apply(Op::Drop(*snapshot)));
    assert!(host.space.refusals() > before + 1, "the catalogue found space for all that it wrote");
    assert!(kernel.read(head, 512 << 20, BLOCK) == [9; BLOCK]);
    kernel.reclaim_all();
    kernel.write(head, 0, &[1; BLOCK]);
    assert!(host.reserve.len().expect("a length") >= 4 << 20, "the reserve is kept again");
    kernel.assert_sound();
    kernel.close().expect("it closes");
    let kernel = host.open(true, &quiet(64 << 20)).expect("it opens");
    kernel.assert_sound();
    assert_eq!(kernel.space().expect("space is counted").versions, 1);
}

/// What is freed goes to the reserve first, and to writers then.
#[test]
fn what_is_freed_is_kept_before_it_is_given_out() {
    let host = Disk::new();
    let kernel = host.open(true, &quiet(64 << 20)).expect("a new store opens");
    let (small, head) = (kernel.create(64 << 20), kernel.create(64 << 20));
    kernel.write(small, 0, &vec![1; 2 << 20]);
    kernel.core().flush().expect("there is space");
    // Someone else takes all of it, the reserve's included.
    host.reserve.set_len(0).expect("memory does not fail");
    host.space.leave(0);
    drop(kernel);
    let kernel = host.open(true, &quiet(64 << 20)).expect("it opens");
    let refused = |why: &str| {
        let error = kernel.open(head).write(0, &[1; BLOCK]).expect_err(why);
        assert_eq!(error.kind, Kind::NoSpace);
        assert!(error.message.contains("kept for removing things"), "{error}");
    };
    refused("it is full");
    kernel.open(small).write(0, &[2; BLOCK]).expect("it is there already");
    kernel.apply(Op::Resize(small, 1 << 20));
    kernel.reclaim_all();
    assert!(host.reserve.len().expect("a length") > 0, "it takes what there is");
    refused("the reserve is not whole");
    host.space.leave(8 << 20);
    kernel.write(head, 0, &[1; BLOCK]);
    kernel.assert_sound();
}

/// Readers with hardly any memory, while the file system is full and is not, and everything is changed.
#[test]
fn readers_see_nothing_of_it() {
    let host = Disk::new();
    let kernel = host.open(false, &quiet(0)).expect("a new store opens");
    let head = kernel.create(1 << 30);
    for i in 0..200u64 {
        kernel.write(head, i << 20, &[i as u8; BLOCK]);
    }
    let frozen = kernel.freeze(head);
    kernel.core().checkpoint().expect("there is space");
    let (done, read) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (kernel, done, read) = (&kernel, &done, &read);
            scope.spawn(move || {
                let mut i = reader;
                while !done.load(SeqCst) {
                    i = (i + 7) % 200;
                    assert!(kernel.read(frozen, i << 20, BLOCK) == [i as u8; BLOCK]);
                    assert!(kernel.core().scan(b"k", None, 10).is_ok());
                    read.fetch_add(1, SeqCst);
                }
            });
        }
        let mut refused = 0;
        for round in 0..16u64 {
            host.space.leave(if round % 2 == 0 { 0 } else { u64::MAX });
            for i in 0..20u64 {
                let key = format!("k{round}-{i}").into_bytes();
                let put = kernel.core().transact(&[Op::Put(key, vec![round as u8; 150_000])]);
                let wrote = kernel.open(head).write(((round * 20 + i) % 1000) << 20, &[7; BLOCK]);
                for result in [put, wrote] {
                    refused += u64::from(result.as_ref().is_err_and(|error| error.kind == Kind::NoSpace));
                    if !result.is_ok_or_full() {
                        done.store(true, SeqCst);
                    }
                    assert!(result.is_ok_or_full(), "{result:?}");
                }
            }
        }
        assert!(refused > 0, "it was never full");
        let seen = read.load(SeqCst);
        let deadline = Instant::now() + Duration::from_secs(60);
        while read.load(SeqCst) < seen + 10 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        done.store(true, SeqCst);
    });
    assert!(read.load(SeqCst) > 10);
    host.space.leave(u64::MAX);
    kernel.assert_sound();
}

trait OkOrFull {
    fn is_ok_or_full(&self) -> bool;
}

impl<T> OkOrFull for Result<T, Error> {
    fn is_ok_or_full(&self) -> bool {
        self.as_ref().err().is_none_or(|error| error.kind == Kind::NoSpace)
    }
}

/// The background goes on when there is space again, and does not try all the time while there is none.
#[test]
fn the_background_waits_for_space() {
    let host = Disk::new();
    let options = Options { background: true, ..quiet(64 << 20) };
    let kernel = host.open(false, &options).expect("a new store opens");
    host.space.leave(0);
    let (put, _) = put_until_full(&kernel, 3000);
    let deadline = Instant::now() + Duration::from_secs(60);
    let wait = |what: &str, until: &dyn Fn() -> bool| {
        while !until() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let before = host.space.refusals();
    wait("it never tries", &|| host.space.refusals() > before);
    wait("it tries all the time", &|| {
        let before = host.space.refusals();
        std::thread::sleep(Duration::from_secs(1));
        host.space.refusals() == before
    });
    host.space.leave(u64::MAX);
    wait("it never commits", &|| {
        keys(&host.files().open(&quiet(64 << 20)).expect("it opens")) == put as usize
    });
    kernel.assert_sound();
}
