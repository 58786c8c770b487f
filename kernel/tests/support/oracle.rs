//! The naive store: every version has its own list of blocks and of the pages that lead to them.
//!
//! Blocks and pages carry a token: two versions share one exactly if the tokens are equal. Writing always gives new
//! tokens, even where the kernel overwrites in place, because what a head may overwrite no one else has.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE};
use cowshed_kernel::rows::{LEVELS, VersionState};

/// A mapped block.
#[derive(Clone)]
pub struct Mapped {
    pub token: u64,
    pub data: Rc<[u8; BLOCK]>,
}

/// A version, not yet gone.
#[derive(Clone)]
pub struct Version {
    pub parent: Option<u64>,
    /// Never dying: what is dropped is gone at once, unless it is hidden.
    pub state: VersionState,
    pub size: u64,
    pub blocks: BTreeMap<u64, Mapped>,
    /// The tokens of pages by level and place.
    pub pages: BTreeMap<(u8, u64), u64>,
}

/// All versions and keys.
#[derive(Clone, Default)]
pub struct Oracle {
    pub versions: BTreeMap<u64, Rc<Version>>,
    pub keys: BTreeMap<Vec<u8>, Vec<u8>>,
    pub next_token: u64,
}

/// Where a page of a level stands that leads to an index.
fn place(index: u64, level: u8) -> u64 {
    index >> (8 * (u32::from(level) + 1))
}

/// The indexes below a place.
fn below(level: u8, place: u64) -> Range<u64> {
    let span = 1 << (8 * (u32::from(level) + 1));
    place * span..(place + 1) * span
}

impl Version {
    pub fn new(size: u64) -> Version {
        Version {
            parent: None,
            state: VersionState::Head,
            size,
            blocks: BTreeMap::new(),
            pages: BTreeMap::new(),
        }
    }

    fn map(&mut self, index: u64, data: [u8; BLOCK], next_token: &mut u64) {
        *next_token += 1;
        let token = *next_token;
        let data = Rc::new(data);
        self.blocks.insert(index, Mapped { token, data });
        for level in 0..LEVELS {
            self.pages.insert((level, place(index, level)), token);
        }
    }

    fn unmap(&mut self, index: u64, next_token: &mut u64) {
        if self.blocks.remove(&index).is_none() {
            return;
        }
        *next_token += 1;
        for level in 0..LEVELS {
            let at = place(index, level);
            if self.blocks.range(below(level, at)).next().is_some() {
                self.pages.insert((level, at), *next_token);
            } else {
                self.pages.remove(&(level, at));
            }
        }
    }

    /// Change a part of one block.
    fn write_block(&mut self, index: u64, inside: usize, data: &[u8], next_token: &mut u64) {
        let old = self.blocks.get(&index);
        let zero = data.iter().all(|byte| *byte == 0);
        if zero && data.len() == BLOCK {
            return self.unmap(index, next_token);
        }
        if zero && old.is_none() {
            return;
        }
        let mut block = old.map_or([0; BLOCK], |old| *old.data);
        block[inside..inside + data.len()].copy_from_slice(data);
        self.map(index, block, next_token);
    }

    pub fn write(&mut self, offset: u64, data: &[u8], next_token: &mut u64) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let inside = (at % BLOCK_SIZE) as usize;
            let n = (BLOCK - inside).min(data.len() - done);
            self.write_block(at / BLOCK_SIZE, inside, &data[done..done + n], next_token);
            done += n;
        }
    }

    pub fn discard(&mut self, offset: u64, len: u64, next_token: &mut u64) {
        if len == 0 {
            return;
        }
        let end = offset + len;
        let touched = offset / BLOCK_SIZE..end.div_ceil(BLOCK_SIZE);
        let mapped: Vec<u64> = self.blocks.range(touched).map(|(index, _)| *index).collect();
        for index in mapped {
            let (first, last) = (index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE);
            // The last block counts as whole when the disk ends in it.
            if first >= offset && (last <= end || end == self.size) {
                self.unmap(index, next_token);
            } else {
                let (from, to) = (first.max(offset), last.min(end));
                let zeros = vec![0; (to - from) as usize];
                self.write_block(index, (from - first) as usize, &zeros, next_token);
            }
        }
    }

    /// Unmap whole blocks of zeros; how many.
    pub fn sparsify(&mut self, offset: u64, len: u64, next_token: &mut u64) -> u64 {
        let end = offset + len;
        let (first, size) = (offset.div_ceil(BLOCK_SIZE), self.size);
        let whole = |index: u64| index >= first && ((index + 1) * BLOCK_SIZE <= end || end >= size);
        // What lies behind the end of the disk does not count.
        let zero = |index: u64, block: &Mapped| {
            let len = BLOCK_SIZE.min(size - index * BLOCK_SIZE) as usize;
            block.data[..len].iter().all(|byte| *byte == 0)
        };
        let mapped = self.blocks.range(first..end.div_ceil(BLOCK_SIZE).max(first));
        let zeros: Vec<u64> = mapped
            .filter(|(index, block)| whole(**index) && zero(**index, block))
            .map(|(index, _)| *index)
            .collect();
        zeros.iter().for_each(|index| self.unmap(*index, next_token));
        zeros.len() as u64
    }

    pub fn read(&self, offset: u64, buf: &mut [u8]) {
        buf.fill(0);
        let end = offset + buf.len() as u64;
        for (index, block) in self.blocks.range(offset / BLOCK_SIZE..end.div_ceil(BLOCK_SIZE)) {
            let first = index * BLOCK_SIZE;
            let (from, to) = (first.max(offset), (first + BLOCK_SIZE).min(end));
            buf[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&block.data[(from - first) as usize..(to - first) as usize]);
        }
    }

    /// Zero what lies in the last block beyond the end.
    pub fn zero_tail(&mut self, next_token: &mut u64) {
        let inside = (self.size % BLOCK_SIZE) as usize;
        let zeros = vec![0; BLOCK - inside];
        self.write_block(self.size / BLOCK_SIZE, inside, &zeros, next_token);
    }

    /// Cut off, or extend with zeros.
    pub fn resize(&mut self, size: u64, next_token: &mut u64) {
        let gone = self.blocks.range(size.div_ceil(BLOCK_SIZE)..);
        let gone: Vec<u64> = gone.map(|(index, _)| *index).collect();
        for index in gone {
            self.unmap(index, next_token);
        }
        self.size = size;
    }

    pub fn visible(&self) -> bool {
        self.state.visible()
    }
}

impl Oracle {
    pub fn ids(&self, wanted: impl Fn(&Version) -> bool) -> Vec<u64> {
        let found = self.versions.iter().filter(|(_, version)| wanted(version));
        found.map(|(id, _)| *id).collect()
    }

    pub fn heads(&self) -> Vec<u64> {
        self.ids(|version| version.state == VersionState::Head)
    }

    pub fn frozen(&self) -> Vec<u64> {
        self.ids(|version| version.state == VersionState::Frozen)
    }

    pub fn visible(&self) -> Vec<u64> {
        self.ids(Version::visible)
    }

    pub fn children(&self, id: u64) -> Vec<u64> {
        self.ids(|version| version.parent == Some(id))
    }

    /// Change a version's blocks.
    pub fn change(&mut self, id: u64, change: impl FnOnce(&mut Version, &mut u64)) {
        let version = self.versions.get_mut(&id).expect("the version is there");
        change(Rc::make_mut(version), &mut self.next_token);
    }

    /// The tokens of all blocks that visible versions hold.
    pub fn visible_blocks(&self) -> BTreeSet<u64> {
        let visible = self.versions.values().filter(|version| version.visible());
        visible.flat_map(|version| version.blocks.values().map(|block| block.token)).collect()
    }

    /// Blocks that this visible version and no other holds.
    pub fn exclusive_blocks(&self, id: u64) -> u64 {
        let others = self.versions.iter().filter(|(other, version)| **other != id && version.visible());
        let held: BTreeSet<u64> =
            others.flat_map(|(_, version)| version.blocks.values().map(|block| block.token)).collect();
        let blocks = self.versions[&id].blocks.values();
        blocks.filter(|block| !held.contains(&block.token)).count() as u64
    }

    /// How many pages remain when nothing is left to be reclaimed: a hidden version keeps of its own only what leads
    /// to blocks that visible ones hold.
    pub fn pages(&self) -> u64 {
        let held = self.visible_blocks();
        let mut tokens = BTreeSet::new();
        for version in self.versions.values() {
            for ((level, place), token) in &version.pages {
                let mut blocks = version.blocks.range(below(*level, *place));
                if version.visible() || blocks.any(|(_, block)| held.contains(&block.token)) {
                    tokens.insert((*level, *place, *token));
                }
            }
        }
        tokens.len() as u64
    }
}
