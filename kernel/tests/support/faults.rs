//! A store whose calls fail by plan, and what it must hold afterwards.

use std::sync::Arc;

use cowshed_kernel::error::{Error, Kind, Result};
use cowshed_kernel::ids::{BLOCK_SIZE, VersionId};
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::rows::VersionState;
use cowshed_kernel::storage::{
    Call, Fate, FaultPlan, FaultyStorage, MemoryStorage, Recorder, RecordingStorage, Storage,
};
use cowshed_kernel::transaction::Op;

use super::compare;
use super::fixture::{Files, Script, quiet};
use super::oracle::{Oracle, Version};
use super::random::Rng;

/// A script's run. Every step is tried again when it fails; the run stops when that does not help.
pub struct Run {
    pub plan: Arc<FaultPlan>,
    recorder: Recorder,
    files: [Arc<RecordingStorage>; 2],
    options: Options,
    /// After so many errors the faults are over, and the script goes on.
    pub patience: usize,
    /// Behind so many steps that succeeded after a fault a crash is tried.
    pub crash_after: usize,
    went_on: usize,
    /// Errors that the script met.
    pub errors: usize,
    kernel: Option<Kernel>,
    /// What a commit that was acknowledged holds.
    durable: Oracle,
    /// What was acknowledged.
    now: Oracle,
    /// What it would be with the step that is under way.
    next: Oracle,
    /// Why no more steps are done.
    pub stopped: Option<Error>,
    next_byte: u64,
    /// Transactions that were applied, and for which there was no space then.
    pub applied: usize,
}

/// What of a store's versions a commit changes as a whole.
type Structure = Vec<(u64, VersionState, u64, u64)>;

impl Run {
    /// An empty store, to be opened by the script.
    pub fn new(cache_bytes: u64) -> Run {
        let Files { blocks, catalog } = Files::create();
        let recorder = Recorder::new();
        Run {
            plan: FaultPlan::new(),
            files: [blocks, catalog].map(|base| Arc::new(recorder.file(base.copy()))),
            recorder,
            options: quiet(cache_bytes),
            patience: usize::MAX,
            crash_after: usize::MAX,
            went_on: 0,
            errors: 0,
            kernel: None,
            durable: Oracle::default(),
            now: Oracle::default(),
            next: Oracle::default(),
            stopped: None,
            next_byte: 0,
            applied: 0,
        }
    }

    fn attempt<T>(&mut self, act: impl Fn(&Run) -> Result<T>) -> Option<T> {
        let mut tries = 3;
        while tries > 0 {
            if self.stopped.is_some() {
                return None;
            }
            match act(self) {
                Ok(done) => {
                    self.went_on += usize::from(!self.plan.failed().is_empty());
                    if self.went_on == self.crash_after {
                        self.examine_left();
                    }
                    return Some(done);
                }
                Err(error) => {
                    self.expect(&error);
                    self.errors += 1;
                    if error.kind == Kind::NoSpace {
                        self.look();
                    }
                    if self.errors == self.patience {
                        self.examine_left();
                        self.plan.end();
                    }
                    if error.kind == Kind::Failed {
                        self.stopped = Some(error);
                    }
                    tries -= usize::from(self.errors >= self.patience || self.patience == usize::MAX);
                }
            }
        }
        self.stopped.get_or_insert_with(|| Error::invalid("it fails every time"));
        None
    }

    /// The error is the fault's own, or says that one came before. There is no want of space in a sync.
    fn expect(&self, error: &Error) {
        let failed = self.plan.failed();
        let io = self.plan.errno() != 28 || failed.iter().any(|(_, call)| *call == Call::Sync);
        let right = match error.kind {
            Kind::NoSpace => self.plan.errno() == 28 && !failed.is_empty(),
            Kind::Io | Kind::Failed => io && !failed.is_empty(),
            _ => false,
        };
        assert!(right, "{:?} after {failed:?}: {error}", error.kind);
    }

    /// While there is no space, everything can be read, as it was or is to be.
    fn look(&self) {
        let Some(kernel) = &self.kernel else { return };
        for (id, ..) in self.structure(kernel) {
            let disk = kernel.open(VersionId(id));
            let mut bytes = vec![0xee; disk.size() as usize];
            disk.read(0, &mut bytes).expect("reading needs no space");
            let contents = [&self.now, &self.next].into_iter().filter_map(|state| state.versions.get(&id));
            let contents = contents.map(|version| {
                let mut content = vec![0; bytes.len()];
                let len = content.len().min(version.size as usize);
                version.read(0, &mut content[..len]);
                content
            });
            let contents: Vec<Vec<u8>> = contents.collect();
            let known = |i: usize| contents.iter().any(|content| content[i] == bytes[i]);
            assert!((0..bytes.len()).all(known), "version {id} reads wrongly while there is no space");
        }
        let keys = kernel.core().scan(b"", None, 1000).expect("reading needs no space");
        let like = |state: &&Oracle| state.keys.clone().into_iter().eq(keys.iter().cloned());
        assert!([&self.now, &self.next].iter().any(like), "the keys are wrong while there is no space");
    }

    /// Whether the store has what this state has, the contents of disks aside.
    fn is_like(&self, state: &Oracle) -> bool {
        let kernel = self.kernel();
        let keys = kernel.core().scan(b"", None, 1000).expect("reading needs no space");
        let visible = state.versions.iter().filter(|(_, version)| version.visible());
        let rows = visible.map(|(id, v)| (*id, v.state, v.size, v.blocks.len() as u64));
        rows.eq(self.structure(kernel)) && state.keys.clone().into_iter().eq(keys)
    }

    fn kernel(&self) -> &Kernel {
        self.kernel.as_ref().expect("the script opened it")
    }

    pub fn open(&mut self) {
        let opened = self.attempt(|run| {
            let faulty = |file: usize| {
                let inner: Arc<dyn Storage> = run.files[file].clone();
                Arc::new(FaultyStorage::new(inner, run.plan.clone()))
            };
            Kernel::open_storage(faulty(0), faulty(1), &run.options)
        });
        self.kernel = opened;
    }

    pub fn close(&mut self) {
        let Some(kernel) = self.kernel.take() else { return };
        match kernel.close() {
            // A store that stopped closes without a word.
            Ok(()) if self.stopped.is_some() => {}
            Ok(()) => self.durable = self.now.clone(),
            // What was not flushed may be lost.
            Err(error) => {
                self.expect(&error);
                self.stopped.get_or_insert(error);
            }
        }
    }

    /// A number that no other version has.
    pub fn id(&mut self) -> VersionId {
        match &self.kernel {
            Some(kernel) => kernel.core().new_version(),
            None => VersionId(u64::MAX >> 20),
        }
    }

    pub fn transact(&mut self, ops: &[Op]) {
        if self.stopped.is_some() {
            return;
        }
        self.next = self.now.clone();
        self.next.transact(ops).expect("the script is possible");
        let done = self.attempt(|run| match run.kernel().core().transact(ops) {
            // It was applied all the same, and waits for a flush.
            Err(error) if error.message.contains("it is done") => {
                assert!(run.is_like(&run.next), "it says that it is done: {error}");
                Ok(Some(error))
            }
            Err(error) => {
                let kept = error.kind != Kind::NoSpace || run.is_like(&run.now);
                assert!(kept, "it was refused, and something changed: {error}");
                Err(error)
            }
            Ok(()) => Ok(None),
        });
        if let Some(waits) = done {
            self.now = self.next.clone();
            match waits {
                Some(error) => {
                    self.expect(&error);
                    self.applied += 1;
                    self.flush();
                }
                None => self.durable = self.next.clone(),
            }
        }
    }

    pub fn create(&mut self, size: u64) -> VersionId {
        let id = self.id();
        self.transact(&[Op::Create(id, size)]);
        id
    }

    pub fn freeze(&mut self, head: VersionId) -> VersionId {
        let id = self.id();
        self.transact(&[Op::Freeze(head, id)]);
        id
    }

    pub fn derive(&mut self, frozen: VersionId) -> VersionId {
        let id = self.id();
        self.transact(&[Op::Derive(frozen, id)]);
        id
    }

    pub fn write(&mut self, id: VersionId, offset: u64, len: usize) {
        self.next_byte += 1;
        let data = Rng::new(self.next_byte).bytes(len);
        self.change(id, |version, next_token| version.write(offset, &data, next_token));
        self.done(|run| run.kernel().core().disk(id)?.write(offset, &data));
    }

    pub fn discard(&mut self, id: VersionId, offset: u64, len: u64) {
        self.change(id, |version, next_token| version.discard(offset, len, next_token));
        self.done(|run| run.kernel().core().disk(id)?.discard(offset, len));
    }

    fn change(&mut self, id: VersionId, change: impl FnOnce(&mut Version, &mut u64)) {
        if self.stopped.is_none() {
            self.next = self.now.clone();
            self.next.change(id.0, change);
        }
    }

    fn done(&mut self, act: impl Fn(&Run) -> Result<()>) {
        if self.attempt(act).is_some() {
            self.now = self.next.clone();
        }
    }

    pub fn flush(&mut self) {
        if self.attempt(|run| run.kernel().core().flush()).is_some() {
            self.durable = self.now.clone();
        }
    }

    pub fn reclaim(&mut self) {
        while let Some(done) = self.attempt(|run| run.kernel().core().reclaim(1000, Eager::Now)) {
            // It begins with a commit of all that was not committed.
            self.durable = self.now.clone();
            if done == 0 {
                break;
            }
        }
    }

    /// Everything reads as it was acknowledged.
    pub fn verify(&mut self) {
        let ids = self.now.visible();
        for id in ids {
            let size = self.now.versions[&id].size as usize;
            let read = self.attempt(|run| {
                let mut bytes = vec![0xee; size];
                run.kernel().core().disk(VersionId(id))?.read(0, &mut bytes)?;
                Ok(bytes)
            });
            let mut expected = vec![0; size];
            self.now.versions[&id].read(0, &mut expected);
            assert!(read.is_none_or(|bytes| bytes == expected), "version {id} reads wrongly");
        }
        let found = self.attempt(|run| run.kernel().core().scan(b"", None, 1000));
        let keys: Vec<_> = self.now.keys.clone().into_iter().collect();
        assert!(found.is_none_or(|found| found == keys), "the keys are wrong");
    }

    pub fn check(&mut self) {
        let findings = self.attempt(|run| run.kernel().check());
        // What it could not read is a finding.
        let faultless = self.plan.failed().is_empty();
        assert!(findings.is_none_or(|found| found.is_empty() || !faultless), "check finds something");
    }

    /// What the files hold now: all that was done, and what crashes might leave.
    fn left(&self) -> Vec<Vec<MemoryStorage>> {
        let mut replay = self.recorder.replay();
        replay.advance(self.recorder.len());
        let mut rng = Rng::new(self.plan.calls());
        vec![
            replay.crash(|_| Fate::Done),
            replay.crash(|_| Fate::Lost),
            replay.crash(|_| match rng.below(3) {
                0 => Fate::Lost,
                1 => Fate::Done,
                _ => Fate::Torn(rng.next()),
            }),
        ]
    }

    /// End the process, and see what it left.
    pub fn end(mut self) {
        if let Some(kernel) = self.kernel.take()
            && let Err(error) = kernel.close()
        {
            self.expect(&error);
        }
        self.examine_left();
    }

    /// Open what a crash might leave, without faults: nothing that was made durable is lost.
    fn examine_left(&self) {
        for mut files in self.left() {
            let catalog = Arc::new(files.pop().expect("two files"));
            let files = Files { blocks: Arc::new(files.pop().expect("two files")), catalog };
            let kernel = files.open(&quiet(64 << 20)).expect("the store opens again");
            self.examine(&kernel);
            let ids = self.structure(&kernel).into_iter().map(|(id, ..)| VersionId(id));
            ids.for_each(|id| kernel.apply(Op::Drop(id)));
            kernel.reclaim_all();
            kernel.assert_sound();
            let space = kernel.space().expect("space is counted");
            assert_eq!((space.used_blocks, space.pages, space.versions), (0, 0, 0));
        }
    }

    fn structure(&self, kernel: &Kernel) -> Structure {
        let rows = kernel.versions(VersionId(0), 1000).expect("versions are listed");
        let visible = rows.into_iter().filter(|(_, row)| row.state.visible());
        visible.map(|(id, row)| (id.0, row.state, row.size, row.mapped)).collect()
    }

    fn examine(&self, kernel: &Kernel) {
        let findings = kernel.check().expect("checking is possible");
        assert!(findings.is_empty(), "check says: {findings:#?}");
        let found = self.structure(kernel);
        let keys = kernel.core().scan(b"", None, 1000).expect("keys are listed");
        let states = [&self.durable, &self.now, &self.next];
        let is_like = |state: &&&Oracle| {
            let visible = state.versions.iter().filter(|(_, version)| version.visible());
            let rows = visible.map(|(id, v)| (*id, v.state, v.size, v.blocks.len() as u64));
            rows.eq(found.iter().copied()) && state.keys.clone().into_iter().eq(keys.iter().cloned())
        };
        let Some(state) = states.iter().find(is_like) else {
            let told = states.map(|s| {
                (
                    s.versions.iter().map(|(i, v)| (*i, v.size, v.blocks.len())).collect::<Vec<_>>(),
                    s.keys.len(),
                )
            });
            panic!(
                "neither what was durable nor what came next: {found:?}, {} keys of {told:?}, {:?}",
                keys.len(),
                self.plan.failed()
            );
        };
        for (id, ..) in found {
            let disk = kernel.open(VersionId(id));
            let version = &state.versions[&id];
            compare::extents(&disk, version, (0, version.size), 100);
            for index in version.blocks.keys() {
                let offset = index * BLOCK_SIZE;
                let len = BLOCK_SIZE.min(version.size - offset) as usize;
                let mut bytes = vec![0; len];
                disk.read(offset, &mut bytes).expect("it can be read");
                let contents = states.iter().filter_map(|state| state.versions.get(&id)).map(|version| {
                    let mut content = vec![0; len];
                    version.read(offset, &mut content);
                    content
                });
                let contents: Vec<Vec<u8>> = contents.collect();
                let known = |i: usize| contents.iter().any(|content| content[i] == bytes[i]);
                assert!((0..len).all(known), "version {id} holds at {offset} what was never written there");
            }
        }
    }
}
