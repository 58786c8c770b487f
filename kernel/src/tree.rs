//! Trees of pages: looking up, mapping and unmapping blocks of one head.
//!
//! A pointer's *height* is 0 when it leads to a block and 1 + level when it leads to a page; it spans
//! `256 ^ height` blocks, and a root has height [`LEVELS`]. Every walk that changes a head's tree descends the tree
//! of its parent version beside it: a pointer that is replaced or dropped is freed exactly when the parent's
//! pointer at that place differs (then no other version can have it; docs/design.md).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::ids::{BlockNo, Index, PageId};
use crate::page::{Page, ROOT_LEVEL, digit, span};
use crate::pages::Pages;
use crate::rows::{FANOUT, LEVELS, Pointer, VersionRow};
use crate::space::{Run, Space};

/// What a change to trees needs. Lives under the meta lock.
pub struct Edit<'a> {
    pub(crate) pages: &'a Pages,
    pub(crate) space: &'a mut Space,
    pub(crate) next_page: &'a AtomicU64,
    /// Pointers given up that the parent has too.
    pub(crate) let_go: u64,
}

/// The page that a pointer of `height` leads to, if any.
pub fn page_of(pages: &Pages, pointer: Pointer, height: u8) -> Result<Option<Arc<Page>>> {
    if pointer.is_none() {
        return Ok(None);
    }
    pages.get_at(PageId(pointer.number()), height - 1).map(Some)
}

/// The pointer at `i` of a page that may not be there.
pub fn child(page: Option<&Arc<Page>>, i: usize) -> Pointer {
    page.map_or(Pointer::NONE, |page| page.get(i))
}

/// Go down from a page that covers `index` to its leaf, if there is one. `owned` says whether the way so far is
/// owned; the answer says so of the whole way.
pub fn leaf_below(pages: &Pages, mut page: Arc<Page>, mut owned: bool, index: Index) -> Result<Option<(Arc<Page>, bool)>> {
    while page.level > 0 {
        let pointer = page.get(digit(index, page.level));
        let Some(next) = page_of(pages, pointer, page.level)? else {
            return Ok(None);
        };
        owned &= pointer.owned();
        page = next;
    }
    Ok(Some((page, owned)))
}

/// The first mapped index in `from..end` below a pointer that covers indexes from `base` on.
pub fn next_mapped(pages: &Pages, pointer: Pointer, height: u8, base: u64, from: u64, end: u64) -> Result<Option<u64>> {
    if pointer.is_none() || base >= end || base + span(height) <= from {
        return Ok(None);
    }
    let Some(page) = (height > 0).then(|| page_of(pages, pointer, height)).transpose()?.flatten() else {
        return Ok(Some(base.max(from)));
    };
    let step = span(height - 1);
    let first = (from.saturating_sub(base) / step) as usize;
    for i in first..FANOUT {
        let found = next_mapped(pages, page.get(i), height - 1, base + i as u64 * step, from, end)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// How many blocks a pointer of `height` leads to.
pub fn count_blocks(pages: &Pages, pointer: Pointer, height: u8) -> Result<u64> {
    if height == 0 {
        return Ok(u64::from(!pointer.is_none()));
    }
    let Some(page) = page_of(pages, pointer, height)? else {
        return Ok(0);
    };
    let mut count = 0;
    for i in 0..FANOUT {
        let pointer = page.get(i);
        if !pointer.is_none() {
            count += count_blocks(pages, pointer, height - 1)?;
        }
    }
    Ok(count)
}

impl Edit<'_> {
    pub(crate) fn new_id(&self) -> PageId {
        PageId(self.next_page.fetch_add(1, Ordering::Relaxed))
    }

    /// The page at `slot`, free to be changed. A page that is not owned is copied, with nothing below it owned; the
    /// old one is freed when the parent has another (or none) at that place.
    fn own(&mut self, slot: &mut Pointer, parent: Pointer, height: u8) -> Result<Arc<Page>> {
        let Some(old) = page_of(self.pages, *slot, height)? else {
            let page = self.pages.add(Page::empty(self.new_id(), height - 1));
            *slot = Pointer::new(page.id.0, true);
            return Ok(page);
        };
        if slot.owned() {
            return Ok(self.pages.writable(old));
        }
        let page = self.pages.add(old.copy_as(self.new_id()));
        if slot.same(parent) {
            self.let_go += 1;
        } else {
            self.pages.delete(&old);
        }
        *slot = Pointer::new(page.id.0, true);
        Ok(page)
    }

    /// Map indexes from `first` on, all in one leaf, to the blocks of a reserved run, which is published.
    pub fn map(&mut self, row: &mut VersionRow, parent_root: Pointer, first: Index, run: Run) -> Result<()> {
        self.space.publish(run)?;
        let mut parent = parent_root;
        let mut page = self.own(&mut row.root, parent, LEVELS)?;
        for level in (1..=ROOT_LEVEL).rev() {
            let i = digit(first, level);
            parent = child(page_of(self.pages, parent, level + 1)?.as_ref(), i);
            let before = page.get(i);
            let mut slot = before;
            let next = self.own(&mut slot, parent, level)?;
            if slot != before {
                page.set(i, slot);
            }
            page = next;
        }
        let parent = page_of(self.pages, parent, 1)?;
        for k in 0..run.1 {
            let i = digit(first, 0) + k as usize;
            let old = page.get(i);
            page.set(i, Pointer::new(run.0.0 + k, true));
            if old.is_none() {
                row.mapped += 1;
            } else {
                self.free_unless(old, child(parent.as_ref(), i))?;
            }
        }
        Ok(())
    }

    /// Unmap `from..end`.
    pub fn unmap(&mut self, row: &mut VersionRow, parent_root: Pointer, from: u64, end: u64) -> Result<()> {
        let mut root = row.root;
        let gone = self.unmap_below(&mut root, parent_root, LEVELS, 0, from, end)?;
        row.root = root;
        row.mapped -= gone;
        Ok(())
    }

    /// Unmap what lies below `slot`, which covers indexes from `base` on; how many blocks that were.
    fn unmap_below(&mut self, slot: &mut Pointer, parent: Pointer, height: u8, base: u64, from: u64, end: u64) -> Result<u64> {
        if next_mapped(self.pages, *slot, height, base, from, end)?.is_none() {
            return Ok(0);
        }
        if from <= base && base + span(height) <= end {
            let gone = self.forget(*slot, parent, height)?;
            *slot = Pointer::NONE;
            return Ok(gone);
        }
        let page = self.own(slot, parent, height)?;
        let parent = page_of(self.pages, parent, height)?;
        let step = span(height - 1);
        let first = from.saturating_sub(base) / step;
        let last = ((end - base).div_ceil(step)).min(FANOUT as u64);
        let mut gone = 0;
        for i in first..last {
            let k = i as usize;
            let before = page.get(k);
            let mut below = before;
            gone += self.unmap_below(&mut below, child(parent.as_ref(), k), height - 1, base + i * step, from, end)?;
            if below != before {
                page.set(k, below);
            }
        }
        if page.is_empty() {
            self.pages.delete(&page);
            *slot = Pointer::NONE;
        }
        Ok(gone)
    }

    /// A head gives up a pointer: free what the parent does not have at that place. How many blocks were below.
    fn forget(&mut self, pointer: Pointer, parent: Pointer, height: u8) -> Result<u64> {
        if pointer.is_none() {
            return Ok(0);
        }
        if pointer.same(parent) {
            self.let_go += 1;
            return count_blocks(self.pages, pointer, height);
        }
        if height == 0 {
            self.space.free((BlockNo(pointer.number()), 1))?;
            return Ok(1);
        }
        let page = self.pages.get_at(PageId(pointer.number()), height - 1)?;
        let parent = page_of(self.pages, parent, height)?;
        let mut gone = 0;
        for i in 0..FANOUT {
            gone += self.forget(page.get(i), child(parent.as_ref(), i), height - 1)?;
        }
        self.pages.delete(&page);
        Ok(gone)
    }

    fn free_unless(&mut self, old: Pointer, parent: Pointer) -> Result<()> {
        if old.same(parent) {
            self.let_go += 1;
            return Ok(());
        }
        self.space.free((BlockNo(old.number()), 1))
    }
}
