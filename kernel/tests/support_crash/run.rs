//! A store over recorded storage and the oracle, taken through the same deeds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cowshed_kernel::core::Core;
use cowshed_kernel::disk::Disk;
use cowshed_kernel::error::{Kind, Result};
use cowshed_kernel::ids::VersionId;
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::storage::{Fate, MemoryStorage, Recorder, Storage};
use cowshed_kernel::transaction::Op;

use super::hooks::{HookedStorage, Hooks, When};
use super::oracle::World;

/// The number of the blocks file in the log; the catalogue comes next.
pub const BLOCKS: usize = 0;

/// One call.
#[derive(Clone, Debug)]
pub enum Deed {
    Write(VersionId, u64, Vec<u8>),
    Discard(VersionId, u64, u64),
    Transact(Vec<Op>),
    /// A transaction whose condition does not hold.
    Refused(Vec<Op>),
    Flush,
    Reclaim(u64),
    /// Opening is to be quick from here.
    Checkpoint,
    Close,
}

/// A call that comes in the midst of another.
#[derive(Clone, Debug)]
pub struct Nested {
    pub when: When,
    pub deed: Deed,
}

/// A call that was made, and what a crash in it or behind it must leave.
#[derive(Debug)]
pub struct Step {
    pub told: String,
    /// Storage calls recorded before and after it.
    pub from: usize,
    pub to: usize,
    /// What may be found when the crash came in between: one of these, and wholly.
    pub during: Vec<World>,
    pub after: World,
}

pub struct Run {
    pub recorder: Recorder,
    pub world: World,
    pub steps: Vec<Step>,
    pub kernel: Kernel,
    pub hooks: Hooks,
    /// Versions are kept open over what happens to them.
    disks: HashMap<VersionId, Disk>,
}

pub fn options() -> Options {
    Options { cache_bytes: 1 << 20, background: false, ..Options::default() }
}

/// An empty store's files.
pub fn empty_store() -> Vec<MemoryStorage> {
    let (blocks, catalog) = (MemoryStorage::new(), Arc::new(MemoryStorage::new()));
    Core::create(&blocks, catalog.clone(), [7; 16]).expect("memory does not fail");
    vec![blocks, catalog.copy()]
}

impl Run {
    /// Open a store that holds `world`; that is the first step.
    pub fn open(files: Vec<MemoryStorage>, world: World) -> Run {
        let recorder = Recorder::new();
        let hooks = Hooks::default();
        let mut storages = files.into_iter().enumerate().map(|(number, file)| {
            let storage = HookedStorage {
                inner: recorder.file(file),
                hooks: hooks.clone(),
                is_blocks: number == BLOCKS,
            };
            Arc::new(storage) as Arc<dyn Storage>
        });
        let (blocks, catalog) = (storages.next().unwrap(), storages.next().unwrap());
        drop(storages);
        let kernel = Kernel::open_storage(blocks, catalog, &options()).expect("a sound store opens");
        let open = Step {
            told: "open".to_string(),
            from: 0,
            to: recorder.len(),
            during: vec![world.clone()],
            after: world.clone(),
        };
        Run { recorder, world, steps: vec![open], kernel, hooks, disks: HashMap::new() }
    }

    pub fn new() -> Run {
        Run::open(empty_store(), World::default())
    }

    pub fn core(&self) -> &Arc<Core> {
        self.kernel.core()
    }

    pub fn apply(&mut self, deed: Deed) {
        self.nested(deed, None);
    }

    /// Make a call, which succeeds, with another in its midst.
    pub fn nested(&mut self, deed: Deed, nested: Option<Nested>) {
        self.make(deed, nested, None);
    }

    /// Make a call that fails because of another in its midst, and changes nothing.
    pub fn overtaken(&mut self, deed: Deed, nested: Nested, kind: Kind) {
        self.make(deed, Some(nested), Some(kind));
    }

    fn make(&mut self, deed: Deed, nested: Option<Nested>, fails: Option<Kind>) {
        let from = self.recorder.len();
        let told = format!("{}{}", tell(&deed), tell_nested(nested.as_ref()));
        if let Deed::Write(id, ..) | Deed::Discard(id, ..) = &deed
            && !self.disks.contains_key(id)
        {
            let disk = self.core().disk(*id).expect("the version is there");
            self.disks.insert(*id, disk);
        }
        let inner = Arc::new(Mutex::new(None));
        if let Some(Nested { when, deed }) = nested.clone() {
            let (core, inner) = (self.core().clone(), inner.clone());
            self.hooks.arm(when, move || {
                let result = elsewhere(move || perform(&core, &deed));
                *inner.lock().unwrap() = Some(result);
            });
        }
        let result = match &deed {
            Deed::Close => self.kernel.close(),
            deed => perform(self.kernel.core(), deed),
        };
        let result = match (result, fails) {
            (Err(error), Some(kind)) if error.kind == kind => Ok(()),
            (Ok(()), Some(kind)) => panic!("{told}: should have failed as {kind:?}"),
            (result, _) => result,
        };
        let ran = self.hooks.disarm();
        let inner = inner.lock().unwrap().take();
        let came = nested.filter(|_| ran).map(|nested| nested.deed);
        for (result, deed) in [(Some(result), Some(&deed)), (inner, came.as_ref())] {
            if let Some(Err(error)) = result {
                panic!("{told}: {:?} failed: {error}", deed.map(tell));
            }
        }
        let before = self.world.clone();
        let (during, after) = match (&came, fails) {
            (Some(came), Some(_)) => {
                let after = change(before.clone(), came);
                (vec![before, after.clone()], after)
            }
            _ => both(before, &deed, came.as_ref()),
        };
        self.disks.retain(|id, _| after.versions.contains_key(id));
        self.world = after.clone();
        self.steps.push(Step { told, from, to: self.recorder.len(), during, after });
    }

    /// Reclaim everything in small pieces. What is in use then must be what the versions need, and each version
    /// must have the parent that is left to it.
    pub fn settle(&mut self) {
        let from = self.recorder.len();
        let core = self.core().clone();
        while core.reclaim(3, Eager::Now).expect("memory does not fail") > 0 {}
        let space = self.kernel.space().expect("memory does not fail");
        let world = &self.world;
        assert_eq!(space.used_blocks, world.used_blocks(), "blocks in use after everything is reclaimed");
        assert_eq!((space.pending_blocks, space.dying_versions), (0, 0), "what is left to be reclaimed");
        for id in world.versions.keys() {
            let mut above = core.version(*id).expect("the version is there").parent;
            while let Some(parent) = above {
                let row = core.version(parent).expect("a parent is there");
                if row.state.visible() {
                    break;
                }
                above = row.parent;
            }
            assert_eq!(above, world.nearest(*id), "the parent of {id}");
        }
        self.steps.push(Step {
            told: "settle".to_string(),
            from,
            to: self.recorder.len(),
            during: vec![world.clone()],
            after: world.clone(),
        });
    }

    /// The files as they are.
    pub fn files(&self) -> Vec<MemoryStorage> {
        let mut replay = self.recorder.replay();
        replay.advance(self.recorder.len());
        replay.crash(|_| Fate::Done)
    }

    /// What the steps did, a line each.
    pub fn story(&self, upto: usize) -> String {
        let lines = self.steps[..=upto].iter();
        lines.map(|s| format!("  {}..{} {}\n", s.from, s.to, s.told)).collect()
    }
}

/// Do it in another thread, which must not have to wait for this one.
pub fn elsewhere<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(act()));
    // So long that only what never ends takes longer.
    told.recv_timeout(Duration::from_secs(20)).expect("what is done in the midst of a call comes to its end")
}

fn tell_nested(nested: Option<&Nested>) -> String {
    nested.map_or(String::new(), |n| format!(", at {:?}: {}", n.when, tell(&n.deed)))
}

fn tell(deed: &Deed) -> String {
    match deed {
        Deed::Write(id, offset, data) => format!("write {id} {offset}+{}", data.len()),
        Deed::Transact(ops) => {
            let short = |op: &Op| match op {
                Op::Put(key, value) => {
                    format!("Put({}, {} bytes)", String::from_utf8_lossy(key), value.len())
                }
                op => format!("{op:?}"),
            };
            format!("transact {}", ops.iter().map(short).collect::<Vec<_>>().join(", "))
        }
        deed => format!("{deed:?}"),
    }
}

fn perform(core: &Arc<Core>, deed: &Deed) -> Result<()> {
    match deed {
        Deed::Write(id, offset, data) => core.disk(*id)?.write(*offset, data),
        Deed::Discard(id, offset, len) => core.disk(*id)?.discard(*offset, *len),
        Deed::Transact(ops) => core.transact(ops),
        Deed::Refused(ops) => {
            let refused = core.transact(ops).expect_err("its condition does not hold");
            assert_eq!(refused.kind, Kind::Conflict, "{refused}");
            Ok(())
        }
        Deed::Flush => core.flush(),
        Deed::Reclaim(budget) => core.reclaim(*budget, Eager::Now).map(|_| ()),
        Deed::Checkpoint => core.checkpoint(),
        Deed::Close => unreachable!("the kernel is closed, not its core"),
    }
}

fn change(mut world: World, deed: &Deed) -> World {
    match deed {
        Deed::Write(id, offset, data) => world.write(*id, *offset, data),
        Deed::Discard(id, offset, len) => world.discard(*id, *offset, *len),
        Deed::Transact(ops) => world.transact(ops),
        Deed::Refused(_) | Deed::Reclaim(_) | Deed::Checkpoint => {}
        Deed::Flush | Deed::Close => world.flushed(),
    }
    world
}

/// What a crash in the midst may leave, and what a crash behind must.
fn both(before: World, deed: &Deed, nested: Option<&Deed>) -> (Vec<World>, World) {
    let after = change(before.clone(), deed);
    match (deed, nested) {
        (Deed::Write(..) | Deed::Discard(..), None) => (vec![after.clone()], after),
        // What is flushed or changed in the midst of a write comes before it.
        (Deed::Write(..), Some(nested)) => {
            let between = change(change(before, nested), deed);
            (vec![after, between.clone()], between)
        }
        (_, None) => (vec![before, after.clone()], after),
        // Only what a transaction does before it begins can be met by another.
        (Deed::Transact(_), Some(Deed::Transact(_))) => {
            let nested = change(before.clone(), nested.expect("it is"));
            let after = change(nested.clone(), deed);
            (vec![before, nested, after.clone()], after)
        }
        // What is written in the midst of a commit comes behind it, and may show in the state before, too.
        (_, Some(nested)) => {
            let with = |world: World| match nested {
                Deed::Write(id, ..) if !world.versions.contains_key(id) => world,
                nested => change(world, nested),
            };
            (vec![with(before), with(after.clone())], with(after))
        }
    }
}
