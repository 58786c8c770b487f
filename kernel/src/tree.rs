//! Trees of pages: looking up, mapping and unmapping blocks of one head.
//!
//! A pointer's *height* is 0 when it leads to a block and 1 + level when it leads to a page; it spans
//! `256 ^ height` blocks, and a root has height [`LEVELS`]. Every walk that changes a head's tree descends the tree
//! of its parent version beside it: a pointer that is replaced or dropped is freed exactly when the parent's
//! pointer at that place differs (then no other version can have it; docs/design.md).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::ids::{BlockNo, Index, PageId};
use crate::page::{Page, ROOT_LEVEL, digit, span};
use crate::pages::Pages;
use crate::rows::{FANOUT, LEVELS, Pointer, VersionRow};
use crate::space::{Run, Space};

/// What a change to trees needs. Lives under the meta lock.
///
/// A change that fails because a page cannot be read leaves a tree that is whole: the row that it was working on is
/// to be stored all the same. Only if `halfway` is set was it stopped where memory makes no sense any more.
pub struct Edit<'a> {
    pub(crate) pages: &'a Pages,
    pub(crate) space: &'a mut Space,
    pub(crate) next_page: &'a AtomicU64,
    /// Pointers given up that the parent has too.
    pub(crate) let_go: u64,
    pub(crate) halfway: bool,
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
pub fn leaf_below(
    pages: &Pages,
    top: &Arc<Page>,
    mut owned: bool,
    index: Index,
) -> Result<Option<(Arc<Page>, bool)>> {
    let mut below: Option<Arc<Page>> = None;
    loop {
        let page = below.as_ref().unwrap_or(top);
        if page.level == 0 {
            let leaf = below.unwrap_or_else(|| top.clone());
            return Ok(Some((leaf, owned)));
        }
        let pointer = page.get(digit(index, page.level));
        owned &= pointer.owned();
        match page_of(pages, pointer, page.level)? {
            Some(next) => below = Some(next),
            None => return Ok(None),
        }
    }
}

/// The first mapped index in `from..end` below a pointer that covers indexes from `base` on.
pub fn next_mapped(
    pages: &Pages,
    pointer: Pointer,
    height: u8,
    base: u64,
    from: u64,
    end: u64,
) -> Result<Option<u64>> {
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
        self.halfway = true;
        self.space.publish(run)?;
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
        self.halfway = false;
        Ok(())
    }

    /// Unmap `from..end`.
    pub fn unmap(&mut self, row: &mut VersionRow, parent_root: Pointer, from: u64, end: u64) -> Result<()> {
        let (mut root, mut gone) = (row.root, 0);
        let result = self.unmap_below(&mut root, parent_root, LEVELS, 0, from..end, &mut gone);
        row.root = root;
        let Some(mapped) = row.mapped.checked_sub(gone) else {
            self.halfway = true;
            return Err(Error::damaged(format!(
                "{gone} blocks of {} that a version counts were unmapped",
                row.mapped
            )));
        };
        row.mapped = mapped;
        result
    }

    /// Unmap what lies below `slot`, which covers indexes from `base` on; counts the blocks in `gone`.
    fn unmap_below(
        &mut self,
        slot: &mut Pointer,
        parent: Pointer,
        height: u8,
        base: u64,
        range: Range<u64>,
        gone: &mut u64,
    ) -> Result<()> {
        if next_mapped(self.pages, *slot, height, base, range.start, range.end)?.is_none() {
            return Ok(());
        }
        if range.start <= base && base + span(height) <= range.end {
            *gone += self.forget(*slot, parent, height)?;
            *slot = Pointer::NONE;
            return Ok(());
        }
        let above = page_of(self.pages, parent, height)?;
        let page = self.own(slot, parent, height)?;
        let step = span(height - 1);
        let first = range.start.saturating_sub(base) / step;
        let last = ((range.end - base).div_ceil(step)).min(FANOUT as u64);
        let mut result = Ok(());
        for i in first..last {
            let k = i as usize;
            let before = page.get(k);
            let mut below = before;
            let parent = child(above.as_ref(), k);
            result = self.unmap_below(&mut below, parent, height - 1, base + i * step, range.clone(), gone);
            if below != before {
                page.set(k, below);
            }
            if result.is_err() {
                break;
            }
        }
        if page.is_empty() {
            self.pages.delete(&page);
            *slot = Pointer::NONE;
        }
        result
    }

    /// A head gives up a pointer: free what the parent does not have at that place. How many blocks were below.
    fn forget(&mut self, pointer: Pointer, parent: Pointer, height: u8) -> Result<u64> {
        // Look first, so that a page that cannot be read stops this before anything was freed.
        let blocks = count_blocks(self.pages, pointer, height)?;
        if !pointer.same(parent) {
            count_blocks(self.pages, parent, height)?;
        }
        self.halfway = true;
        self.free_below(pointer, parent, height)?;
        self.halfway = false;
        Ok(blocks)
    }

    fn free_below(&mut self, pointer: Pointer, parent: Pointer, height: u8) -> Result<()> {
        if height == 0 || pointer.is_none() || pointer.same(parent) {
            return self.free_unless(pointer, parent);
        }
        let page = self.pages.get_at(PageId(pointer.number()), height - 1)?;
        let above = page_of(self.pages, parent, height)?;
        for i in 0..FANOUT {
            self.free_below(page.get(i), child(above.as_ref(), i), height - 1)?;
        }
        self.pages.delete(&page);
        Ok(())
    }

    /// A head gave up a pointer to a block, or to nothing, or one that its parent has too.
    fn free_unless(&mut self, old: Pointer, parent: Pointer) -> Result<()> {
        if old.is_none() {
            return Ok(());
        }
        if old.same(parent) {
            self.let_go += 1;
            return Ok(());
        }
        self.space.free((BlockNo(old.number()), 1))
    }
}
