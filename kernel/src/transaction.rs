//! Operations on versions and keys that are applied together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::{BLOCK_SIZE, MAX_DISK_SIZE, VersionId};
use crate::live::Live;
use crate::meta::{Meta, Work};
use crate::page::span;
use crate::rows::{LEVELS, Pointer, VersionRow, VersionState};
use crate::tree::next_mapped;

/// One operation. Ids of new versions come from [`Core::new_version`].
#[derive(Clone, Debug)]
pub enum Op {
    /// A new empty head.
    Create(VersionId, u64),
    /// `.1` becomes a frozen version with the content of the head `.0`, and its parent.
    Freeze(VersionId, VersionId),
    /// `.1` becomes a head with the content of the frozen version `.0`.
    Derive(VersionId, VersionId),
    /// Forget a version.
    Drop(VersionId),
    /// Give the head `.0` the content and size of the frozen version `.1`.
    Rollback(VersionId, VersionId),
    /// Change a head's size.
    Resize(VersionId, u64),
    /// Store a key.
    Put(Vec<u8>, Vec<u8>),
    /// Delete a key.
    Delete(Vec<u8>),
    /// Go on only if the key has this value, or is absent.
    Require(Vec<u8>, Option<Vec<u8>>),
}

impl Op {
    /// Bytes that it brings into the catalogue, as far as the caller decides on them.
    fn bytes(&self) -> usize {
        match self {
            Op::Put(key, value) => key.len() + value.len(),
            Op::Delete(key) => key.len(),
            _ => 0,
        }
    }
}

/// What the checks of a transaction know of a version at some point in it.
#[derive(Clone, Copy)]
struct Sketch {
    state: Option<VersionState>,
    size: u64,
    /// The size came about within the transaction, when no tail can be zeroed any more.
    new: bool,
}

impl Core {
    /// An id for a version that a transaction is to make.
    pub fn new_version(&self) -> VersionId {
        VersionId(self.next_version.fetch_add(1, SeqCst))
    }

    /// Apply all operations, in their order, and return when they are durable; or none of them.
    ///
    /// Where it is known that space is short, an operation is refused before it is applied. If the commit itself is the
    /// first to find no space, the operations are applied (others may have built on them), and become durable with
    /// the next commit that succeeds; the error says so.
    pub fn transact(self: &Arc<Core>, ops: &[Op]) -> Result<()> {
        self.check_usable()?;
        self.find_room(ops.iter().map(Op::bytes).sum())?;
        while !self.apply(ops)? {}
        let flushed = self.flush();
        if ops.iter().any(|op| matches!(op, Op::Drop(_) | Op::Rollback(..) | Op::Resize(..))) {
            self.wake();
        }
        flushed.map_err(|mut error| {
            if error.kind == Kind::NoSpace {
                error.message += "; it is done, and becomes durable when there is space again";
            }
            error
        })
    }

    /// One attempt to apply all operations; false when another rollback or resize came in between.
    fn apply(self: &Arc<Core>, ops: &[Op]) -> Result<bool> {
        let zeroed = self.zero_tails(ops)?;
        let heads = self.heads_to_drain(ops)?;
        // Writes in place are complete, and new ones wait, until the heads' blocks belong to others (rule 4).
        let _gates: Vec<_> = heads.iter().map(|live| live.gate.write()).collect();
        let mut meta = self.meta()?;
        if zeroed.iter().any(|(live, generation)| live.view.read().generation != *generation) {
            return Ok(false);
        }
        Checks::new(&mut meta).run(ops)?;
        let mut apply = Apply { core: self, meta: &mut meta };
        ops.iter().try_for_each(|op| apply.op(op)).map_err(|error| self.fail(error))?;
        Ok(true)
    }

    /// The heads from which a transaction takes blocks, in the order of their ids.
    fn heads_to_drain(&self, ops: &[Op]) -> Result<Vec<Arc<Live>>> {
        let mut ids = BTreeSet::new();
        for op in ops {
            if let Op::Freeze(head, _) | Op::Rollback(head, _) | Op::Resize(head, _) = op {
                ids.insert(*head);
            }
        }
        let mut meta = self.meta()?;
        let mut heads = Vec::new();
        for id in ids {
            // Those that the transaction makes itself have no writers.
            if meta.find(id)?.is_some_and(|row| row.state.visible()) {
                heads.push(self.live_locked(&mut meta, id)?);
            }
        }
        Ok(heads)
    }

    /// What lies in a disk's last block beyond its end is not defined: before a disk grows it becomes zero. Returns
    /// the heads that this looked at, with the generation for which it holds.
    fn zero_tails(self: &Arc<Core>, ops: &[Op]) -> Result<Vec<(Arc<Live>, u64)>> {
        let mut zeroed = Vec::new();
        for op in ops {
            let Op::Resize(id, size) = op else { continue };
            let row = self.meta()?.find(*id)?;
            if row.is_none_or(|row| row.state != VersionState::Head) {
                continue;
            }
            let disk = self.disk(*id)?;
            let (before, generation) = {
                let view = disk.live.view.read();
                (view.row.size, view.generation)
            };
            if *size > before && before % BLOCK_SIZE != 0 {
                disk.zero_tail(before, generation)?;
            }
            zeroed.push((disk.live, generation));
        }
        Ok(zeroed)
    }
}

/// Finds out whether a transaction can be applied, without changing anything.
struct Checks<'a> {
    meta: &'a mut Meta,
    versions: HashMap<VersionId, Sketch>,
    keys: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Checks<'_> {
    fn new(meta: &mut Meta) -> Checks<'_> {
        Checks { meta, versions: HashMap::new(), keys: HashMap::new() }
    }

    fn sketch(&mut self, id: VersionId) -> Result<Sketch> {
        if let Some(known) = self.versions.get(&id) {
            return Ok(*known);
        }
        let row = self.meta.find(id)?;
        Ok(Sketch {
            state: row.map(|row| row.state).filter(|state| state.visible()),
            size: row.map_or(0, |row| row.size),
            new: false,
        })
    }

    /// The version must be there and be a head (or frozen).
    fn expect(&mut self, id: VersionId, state: VersionState) -> Result<Sketch> {
        let sketch = self.sketch(id)?;
        match sketch.state {
            Some(found) if found == state => Ok(sketch),
            Some(VersionState::Head) => {
                Err(Error::invalid(format!("{id} is a head, and a frozen version is needed")))
            }
            Some(_) => Err(Error::new(Kind::ReadOnly, format!("{id} is frozen, and a head is needed"))),
            None => Err(Error::new(Kind::Missing, format!("there is no {id}"))),
        }
    }

    fn add(&mut self, id: VersionId, state: VersionState, size: u64) {
        let sketch = Sketch { state: Some(state), size, new: true };
        self.versions.insert(id, sketch);
    }

    fn run(&mut self, ops: &[Op]) -> Result<()> {
        for op in ops {
            match op {
                Op::Create(id, size) => {
                    check_size(*size)?;
                    self.add(*id, VersionState::Head, *size);
                }
                Op::Freeze(head, id) => {
                    let size = self.expect(*head, VersionState::Head)?.size;
                    self.add(*id, VersionState::Frozen, size);
                }
                Op::Derive(frozen, id) => {
                    let size = self.expect(*frozen, VersionState::Frozen)?.size;
                    self.add(*id, VersionState::Head, size);
                }
                Op::Drop(id) => {
                    let sketch = self.sketch(*id)?;
                    if sketch.state.is_none() {
                        return Err(Error::new(Kind::Missing, format!("there is no {id}")));
                    }
                    self.versions.insert(*id, Sketch { state: None, ..sketch });
                }
                Op::Rollback(head, frozen) => {
                    let sketch = self.expect(*head, VersionState::Head)?;
                    let size = self.expect(*frozen, VersionState::Frozen)?.size;
                    self.versions.insert(*head, Sketch { size, new: true, ..sketch });
                }
                Op::Resize(head, size) => {
                    check_size(*size)?;
                    let sketch = self.expect(*head, VersionState::Head)?;
                    if sketch.new && *size > sketch.size && sketch.size % BLOCK_SIZE != 0 {
                        return Err(Error::invalid(
                            "a disk that does not end with a block can grow only in a transaction of its own",
                        ));
                    }
                    let size = *size;
                    self.versions.insert(*head, Sketch { size, new: true, ..sketch });
                }
                Op::Put(key, value) => {
                    check_key(key)?;
                    self.keys.insert(key.clone(), Some(value.clone()));
                }
                Op::Delete(key) => {
                    check_key(key)?;
                    self.keys.insert(key.clone(), None);
                }
                Op::Require(key, value) => {
                    let found = match self.keys.get(key) {
                        Some(known) => known.clone(),
                        None => self.meta.key(key)?,
                    };
                    if found != *value {
                        let key = String::from_utf8_lossy(key);
                        return Err(Error::new(
                            Kind::Conflict,
                            format!("the key {key:?} was changed by another"),
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn check_size(size: u64) -> Result<()> {
    if size <= MAX_DISK_SIZE {
        return Ok(());
    }
    Err(Error::invalid(format!("a disk of {size} bytes is too large: {MAX_DISK_SIZE} (1 PiB) is the most")))
}

fn check_key(key: &[u8]) -> Result<()> {
    if !key.is_empty() && key.len() <= 4096 {
        return Ok(());
    }
    Err(Error::invalid(format!("a key of {} bytes: 1 to 4096 are allowed", key.len())))
}

/// Changes the versions. Whatever fails here leaves half a change, and the store stops.
struct Apply<'a> {
    core: &'a Core,
    meta: &'a mut Meta,
}

impl Apply<'_> {
    fn op(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Create(id, size) => {
                let row = VersionRow {
                    root: Pointer::NONE,
                    parent: None,
                    size: *size,
                    mapped: 0,
                    children: 0,
                    state: VersionState::Head,
                };
                self.meta.put(*id, row);
                Ok(())
            }
            Op::Freeze(head, id) => self.freeze(*head, *id, VersionState::Frozen).map(|_| ()),
            Op::Derive(frozen, id) => self.derive(*frozen, *id),
            Op::Drop(id) => self.forget(*id),
            Op::Rollback(head, frozen) => self.rollback(*head, *frozen),
            Op::Resize(head, size) => self.resize(*head, *size),
            Op::Put(key, value) => {
                self.meta.keys.set(key.clone(), Some(value.clone()));
                Ok(())
            }
            Op::Delete(key) => {
                self.meta.keys.set(key.clone(), None);
                Ok(())
            }
            Op::Require(..) => Ok(()),
        }
    }

    /// Store a head's row, and show it to those that have it open.
    fn show(&mut self, id: VersionId, row: VersionRow, new_generation: bool) {
        self.meta.put(id, row);
        if let Some(live) = self.core.if_live(id) {
            let mut view = live.view.write();
            view.generation += u64::from(new_generation);
            view.set_row(row, &self.core.pages);
        }
    }

    /// The new version takes the head's tree and its place, and becomes its parent. Returns the head's row.
    fn freeze(&mut self, head: VersionId, id: VersionId, state: VersionState) -> Result<VersionRow> {
        let mut row = self.meta.version(head)?;
        let frozen = VersionRow { children: 1, state, ..row };
        if let Some(parent) = row.parent {
            self.meta.edge(parent, head, false);
            self.meta.edge(parent, id, true);
        }
        self.meta.put(id, frozen);
        self.meta.edge(id, head, true);
        row.parent = Some(id);
        row.root = row.root.disowned();
        self.show(head, row, false);
        Ok(row)
    }

    fn derive(&mut self, frozen: VersionId, id: VersionId) -> Result<()> {
        let mut row = self.meta.version(frozen)?;
        row.children += 1;
        self.meta.put(frozen, row);
        self.meta.edge(frozen, id, true);
        let head = VersionRow {
            root: row.root.disowned(),
            parent: Some(frozen),
            children: 0,
            state: VersionState::Head,
            ..row
        };
        self.meta.put(id, head);
        Ok(())
    }

    fn forget(&mut self, id: VersionId) -> Result<()> {
        let mut row = self.meta.version(id)?;
        row.mapped = 0;
        if row.children >= 2 {
            row.state = VersionState::Hidden;
            self.meta.set_work(Work::Hidden, id, true);
            self.meta.stale.insert(id, 1);
        } else {
            row.state = VersionState::Dying;
            self.meta.set_work(Work::Dying, id, true);
        }
        self.meta.put(id, row);
        if let Some(live) = self.core.if_live(id) {
            live.view.write().alive = false;
        }
        Ok(())
    }

    /// The old tree goes to a version of its own, which dies; the head begins anew below the frozen one.
    fn rollback(&mut self, head: VersionId, frozen: VersionId) -> Result<()> {
        let mut row = self.meta.version(head)?;
        let old = self.core.new_version();
        let dying = VersionRow { mapped: 0, state: VersionState::Dying, ..row };
        self.meta.put(old, dying);
        self.meta.set_work(Work::Dying, old, true);
        if let Some(parent) = row.parent {
            self.meta.edge(parent, head, false);
            self.meta.edge(parent, old, true);
        }
        let mut source = self.meta.version(frozen)?;
        source.children += 1;
        self.meta.put(frozen, source);
        self.meta.edge(frozen, head, true);
        row.root = source.root.disowned();
        row.parent = Some(frozen);
        row.size = source.size;
        row.mapped = source.mapped;
        self.show(head, row, true);
        Ok(())
    }

    /// What is cut off stays with a version that the head is frozen to, which dies: so that too is O(1).
    fn resize(&mut self, head: VersionId, size: u64) -> Result<()> {
        let mut row = self.meta.version(head)?;
        let from = size.div_ceil(BLOCK_SIZE);
        let pages = &self.core.pages;
        if size < row.size && next_mapped(pages, row.root, LEVELS, 0, from, span(LEVELS))?.is_some() {
            let rest = self.core.new_version();
            row = self.freeze(head, rest, VersionState::Dying)?;
            let mut dying = self.meta.version(rest)?;
            dying.mapped = 0;
            self.meta.put(rest, dying);
            self.meta.set_work(Work::Dying, rest, true);
            let mut edit = self.core.edit(self.meta);
            edit.unmap(&mut row, dying.root, from, span(LEVELS))?;
        }
        row.size = size;
        self.show(head, row, true);
        Ok(())
    }
}
