//! What a store must hold: versions as maps of blocks, keys, and for each head what a crash may leave of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE, VersionId};
use cowshed_kernel::transaction::Op;

/// A stored block. Versions that share a block share the `Rc`.
pub type Block = Rc<[u8]>;

/// The stored blocks of a disk by index; all else reads as zeros.
pub type Blocks = BTreeMap<u64, Block>;

/// Bytes within one block that were written, or begun to be.
#[derive(Clone, Debug)]
pub struct Touch {
    pub index: u64,
    pub inside: Range<usize>,
    pub data: Rc<[u8]>,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub head: bool,
    pub parent: Option<VersionId>,
    pub size: u64,
    pub now: Blocks,
    /// What the last flush covered, and what came after it. Of use for heads alone.
    pub flushed: Blocks,
    pub since: Vec<Touch>,
    /// Blocks that may be written in place.
    pub own: BTreeSet<u64>,
}

/// Versions as one can list them, with whether they are heads and their sizes; and keys with their values.
pub type Listing = (Vec<(VersionId, bool, u64)>, Vec<(Vec<u8>, Vec<u8>)>);

/// A store's versions and keys.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub versions: BTreeMap<VersionId, Version>,
    /// Dropped versions' parents, by which the nearest one that is left is found.
    pub gone: BTreeMap<VersionId, Option<VersionId>>,
    pub keys: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The parts of a range of bytes by block: index, range within the block, range within the whole.
pub fn by_block(offset: u64, len: u64) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let end = offset + len;
    let first = offset / BLOCK_SIZE;
    (first..end.div_ceil(BLOCK_SIZE)).map(move |index| {
        let from = (index * BLOCK_SIZE).max(offset);
        let to = ((index + 1) * BLOCK_SIZE).min(end);
        let start = index * BLOCK_SIZE;
        let inside = (from - start) as usize..(to - start) as usize;
        (index, inside, (from - offset) as usize..(to - offset) as usize)
    })
}

fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|byte| *byte == 0)
}

impl Version {
    /// The bytes of a block, of `blocks`.
    pub fn block(blocks: &Blocks, index: u64) -> Block {
        blocks.get(&index).cloned().unwrap_or_else(zeros)
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        for (index, inside, range) in by_block(offset, data.len() as u64) {
            let data: Rc<[u8]> = data[range].into();
            let whole = inside.len() == BLOCK;
            if is_zero(&data) && (whole || !self.now.contains_key(&index)) {
                // Not stored, and unmapped where something is.
                if self.now.remove(&index).is_some() {
                    self.since.push(Touch { index, inside, data });
                }
                continue;
            }
            let mut block = Version::block(&self.now, index).to_vec();
            block[inside.clone()].copy_from_slice(&data);
            self.now.insert(index, block.into());
            self.own.insert(index);
            self.since.push(Touch { index, inside, data });
        }
    }

    fn discard(&mut self, offset: u64, len: u64) {
        let end = offset + len;
        // Where the disk ends within a block, the block counts as whole.
        let whole_to = if end == self.size { end.next_multiple_of(BLOCK_SIZE) } else { end };
        let stored: Vec<u64> =
            self.now.range(offset / BLOCK_SIZE..end.div_ceil(BLOCK_SIZE)).map(|(index, _)| *index).collect();
        for index in stored {
            let start = index * BLOCK_SIZE;
            if offset <= start && start + BLOCK_SIZE <= whole_to {
                self.now.remove(&index);
                self.since.push(Touch { index, inside: 0..BLOCK, data: zeros() });
            } else {
                let from = start.max(offset);
                let to = (start + BLOCK_SIZE).min(end);
                self.write(from, &vec![0; (to - from) as usize]);
            }
        }
    }

    fn flushed(&mut self) {
        self.flushed = self.now.clone();
        self.since.clear();
    }

    fn resize(&mut self, size: u64) {
        if size < self.size {
            self.now.split_off(&size.div_ceil(BLOCK_SIZE));
        }
        self.size = size;
    }

    /// What lies in the last block beyond the end becomes zero.
    fn zero_tail(&mut self) {
        let index = self.size / BLOCK_SIZE;
        if let Some(block) = self.now.get(&index) {
            let mut block = block.to_vec();
            block[(self.size % BLOCK_SIZE) as usize..].fill(0);
            self.now.insert(index, block.into());
            self.own.insert(index);
        }
    }

    /// Whether a crash may leave this in a block of a head. `torn` says whether writes may have happened in part.
    pub fn may_hold(&self, index: u64, found: &[u8], torn: bool) -> bool {
        let base = Version::block(&self.flushed, index);
        let touches: Vec<&Touch> = self.since.iter().filter(|t| t.index == index).collect();
        if torn || touches.len() > 8 {
            return (0..found.len()).all(|i| {
                let written = |t: &&Touch| t.inside.contains(&i) && t.data[i - t.inside.start] == found[i];
                found[i] == base[i] || touches.iter().any(written)
            });
        }
        // Any of the writes may have been lost.
        (0..1u32 << touches.len()).any(|kept| {
            let mut block = base.to_vec();
            for (i, touch) in touches.iter().enumerate() {
                if kept >> i & 1 != 0 {
                    block[touch.inside.clone()].copy_from_slice(&touch.data);
                }
            }
            block[..found.len()] == *found
        })
    }

    /// Every block that may hold something after a crash.
    pub fn known(&self) -> BTreeSet<u64> {
        let touched = self.since.iter().map(|touch| touch.index);
        let stored = self.now.keys().chain(self.flushed.keys()).copied();
        stored.chain(touched).collect()
    }
}

/// A block of zeros.
pub fn zeros() -> Block {
    vec![0; BLOCK].into()
}

impl World {
    pub fn get(&self, id: VersionId) -> &Version {
        &self.versions[&id]
    }

    fn head(&mut self, id: VersionId) -> &mut Version {
        self.versions.get_mut(&id).expect("a version of this world")
    }

    pub fn heads(&self) -> Vec<VersionId> {
        self.some(|version| version.head)
    }

    pub fn frozen(&self) -> Vec<VersionId> {
        self.some(|version| !version.head)
    }

    fn some(&self, of: impl Fn(&Version) -> bool) -> Vec<VersionId> {
        let found = self.versions.iter().filter(|(_, version)| of(version));
        found.map(|(id, _)| *id).collect()
    }

    pub fn write(&mut self, head: VersionId, offset: u64, data: &[u8]) {
        self.head(head).write(offset, data);
    }

    pub fn discard(&mut self, head: VersionId, offset: u64, len: u64) {
        self.head(head).discard(offset, len);
    }

    /// All that came before is durable.
    pub fn flushed(&mut self) {
        for version in self.versions.values_mut() {
            version.flushed();
        }
    }

    /// Apply a transaction, which can be applied, and which makes everything durable.
    pub fn transact(&mut self, ops: &[Op]) {
        for op in ops {
            if let Op::Resize(head, size) = op
                && let Some(version) = self.versions.get_mut(head)
                && *size > version.size
                && version.size % BLOCK_SIZE != 0
            {
                version.zero_tail();
            }
        }
        for op in ops {
            self.op(op);
        }
        self.flushed();
    }

    pub fn op(&mut self, op: &Op) {
        match op {
            Op::Create(id, size) => {
                let version = Version {
                    head: true,
                    parent: None,
                    size: *size,
                    now: Blocks::new(),
                    flushed: Blocks::new(),
                    since: Vec::new(),
                    own: BTreeSet::new(),
                };
                self.versions.insert(*id, version);
            }
            Op::Freeze(head, id) => {
                let version = self.head(*head);
                version.own.clear();
                let mut frozen = version.clone();
                frozen.head = false;
                version.parent = Some(*id);
                self.versions.insert(*id, frozen);
            }
            Op::Derive(frozen, id) => {
                let mut version = self.get(*frozen).clone();
                version.head = true;
                version.parent = Some(*frozen);
                self.versions.insert(*id, version);
            }
            Op::Drop(id) => {
                let version = self.versions.remove(id).expect("a version of this world");
                self.gone.insert(*id, version.parent);
            }
            Op::Rollback(head, frozen) => {
                let mut version = self.get(*frozen).clone();
                version.head = true;
                version.parent = Some(*frozen);
                self.versions.insert(*head, version);
            }
            Op::Resize(head, size) => self.head(*head).resize(*size),
            Op::Put(key, value) => {
                self.keys.insert(key.clone(), value.clone());
            }
            Op::Delete(key) => {
                self.keys.remove(key);
            }
            Op::Require(..) => {}
        }
    }

    /// The nearest version above that was not dropped.
    pub fn nearest(&self, id: VersionId) -> Option<VersionId> {
        let mut above = self.get(id).parent;
        while let Some(id) = above {
            if self.versions.contains_key(&id) {
                return Some(id);
            }
            above = self.gone[&id];
        }
        None
    }

    /// Blocks in use once everything that was dropped is reclaimed.
    pub fn used_blocks(&self) -> u64 {
        let stored = self.versions.values().flat_map(|version| version.now.values());
        let distinct: BTreeSet<*const u8> = stored.map(|block| block.as_ptr()).collect();
        distinct.len() as u64
    }

    /// Versions and keys as one can list them.
    pub fn listing(&self) -> Listing {
        let versions = self.versions.iter().map(|(id, v)| (*id, v.head, v.size));
        let keys = self.keys.iter().map(|(k, v)| (k.clone(), v.clone()));
        (versions.collect(), keys.collect())
    }
}
