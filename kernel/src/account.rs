//! Walks that only look: differences, and what a version holds alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::Core;
use crate::disk::Extent;
use crate::error::Result;
use crate::ids::{BLOCK_SIZE, VersionId};
use crate::meta::Meta;
use crate::page::{Page, span};
use crate::pages::Pages;
use crate::rows::{FANOUT, LEVELS, Pointer};
use crate::tree::{child, count_blocks, next_mapped, page_of};

/// Pages that one call may look at before it says where to go on.
const PAGES_PER_CALL: usize = 16384;
/// Blocks that are counted under one hold of the meta lock: 4 GiB, 4096 leaves.
const BLOCKS_PER_STEP: u64 = 16 * span(2);

impl Core {
    /// What differs between two versions (or between nothing and one) in a range of bytes, as extents, and where
    /// to go on when not all was looked at.
    pub fn diff(
        &self,
        old: Option<VersionId>,
        new: VersionId,
        offset: u64,
        len: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Extent>, Option<u64>)> {
        self.check_open()?;
        let old = old.map(|old| self.live(old)).transpose()?;
        let new = self.live(new)?;
        // Both stay as they are while they are walked; one after the other by id, so that no two callers cross.
        let (a, b) = match &old {
            Some(old) if old.id == new.id => return Ok((Vec::new(), None)),
            Some(old) if old.id < new.id => {
                let a = old.view.read();
                (Some(a), new.view.read())
            }
            Some(old) => {
                let b = new.view.read();
                (Some(old.view.read()), b)
            }
            None => (None, new.view.read()),
        };
        b.check_alive(new.id)?;
        let mut size = b.row.size;
        let mut ragged = None;
        if let (Some(view), Some(old)) = (&a, &old) {
            view.check_alive(old.id)?;
            let shorter = size.min(view.row.size);
            size = size.max(view.row.size);
            ragged = (shorter < size && shorter % BLOCK_SIZE != 0).then_some(shorter / BLOCK_SIZE);
        }
        let end = len.map_or(size, |len| offset.saturating_add(len).min(size));
        let mut diff = Diff {
            pages: &self.pages,
            extents: Vec::new(),
            limit: limit.max(1),
            visits: 0,
            from: offset / BLOCK_SIZE,
            end: end.div_ceil(BLOCK_SIZE),
            ragged,
            resume: None,
        };
        if offset < end {
            let root = a.as_ref().map_or(Pointer::NONE, |view| view.row.root);
            diff.walk(root, b.row.root, LEVELS, 0)?;
        }
        let mut extents = diff.extents;
        for (start, len, _) in &mut extents {
            let stop = (*start + *len).min(end);
            *start = (*start).max(offset);
            *len = stop - *start;
        }
        Ok((extents, diff.resume.map(|index| index * BLOCK_SIZE)))
    }

    /// Blocks that no other version that callers can name holds.
    pub fn exclusive_blocks(&self, id: VersionId) -> Result<u64> {
        let mut blocks = 0;
        let mut from = 0;
        loop {
            let mut meta = self.meta()?;
            let row = meta.visible(id)?;
            let others = visible_neighbours(&mut meta, id)?;
            if others.is_empty() {
                return Ok(row.mapped);
            }
            let found = next_mapped(&self.pages, row.root, LEVELS, 0, from, span(LEVELS))?;
            let Some(found) = found else {
                return Ok(blocks);
            };
            let end = (found / BLOCKS_PER_STEP + 1) * BLOCKS_PER_STEP;
            let others: Vec<Pointer> = others.into_iter().map(Pointer::from_bits).collect();
            blocks += exclusive(&self.pages, row.root, &others, LEVELS, 0, found, end)?;
            from = end;
        }
    }
}

/// The roots of the visible versions next to this one, where "next to" passes through those that are not visible:
/// if another visible version shares a block with it at all, then one of these does.
fn visible_neighbours(meta: &mut Meta, id: VersionId) -> Result<BTreeSet<u64>> {
    let mut roots = BTreeSet::new();
    let mut seen = BTreeSet::from([id]);
    let mut todo = vec![id];
    while let Some(at) = todo.pop() {
        let row = meta.version(at)?;
        if at != id && row.state.visible() {
            roots.insert(row.root.number());
            continue;
        }
        let mut near: Vec<VersionId> = row.parent.into_iter().collect();
        let mut after = VersionId(0);
        loop {
            let some = meta.children(at, after, 1000)?;
            let Some(last) = some.last() else { break };
            after = *last;
            near.extend(some);
        }
        todo.extend(near.into_iter().filter(|id| seen.insert(*id)));
    }
    Ok(roots)
}

/// Blocks in `from..end` below `pointer` that none of `others` has at the same place.
fn exclusive(
    pages: &Pages,
    pointer: Pointer,
    others: &[Pointer],
    height: u8,
    base: u64,
    from: u64,
    end: u64,
) -> Result<u64> {
    if pointer.is_none()
        || base >= end
        || base + span(height) <= from
        || others.iter().any(|p| p.same(pointer))
    {
        return Ok(0);
    }
    if from <= base && base + span(height) <= end && others.iter().all(|p| p.is_none()) {
        return count_blocks(pages, pointer, height);
    }
    let Some(page) = (height > 0).then(|| page_of(pages, pointer, height)).transpose()?.flatten() else {
        return Ok(1);
    };
    let numbers: BTreeSet<u64> = others.iter().map(|p| p.number()).filter(|n| *n != 0).collect();
    let others = numbers
        .into_iter()
        .filter_map(|number| page_of(pages, Pointer::from_bits(number), height).transpose())
        .collect::<Result<Vec<Arc<Page>>>>()?;
    let step = span(height - 1);
    let mut blocks = 0;
    for i in 0..FANOUT {
        let pointer = page.get(i);
        if !pointer.is_none() {
            let others: Vec<Pointer> = others.iter().map(|page| page.get(i)).collect();
            blocks += exclusive(pages, pointer, &others, height - 1, base + i as u64 * step, from, end)?;
        }
    }
    Ok(blocks)
}

/// A walk of two trees, skipping what both share.
struct Diff<'a> {
    pages: &'a Pages,
    extents: Vec<Extent>,
    limit: usize,
    visits: usize,
    from: u64,
    end: u64,
    /// The block in which the shorter of the two disks ends: behind that end it counts as zero there, and what the
    /// longer one has differs, be the block the same.
    ragged: Option<u64>,
    resume: Option<u64>,
}

impl Diff<'_> {
    fn walk(&mut self, old: Pointer, new: Pointer, height: u8, base: u64) -> Result<()> {
        if base >= self.end || base + span(height) <= self.from {
            return Ok(());
        }
        let ragged = |index| !new.is_none() && (base..base + span(height)).contains(&index);
        if old.same(new) && !self.ragged.is_some_and(ragged) {
            return Ok(());
        }
        if height == 0 {
            self.push(base, !new.is_none());
            return Ok(());
        }
        if self.extents.len() >= self.limit || self.visits >= PAGES_PER_CALL {
            self.resume = Some(base.max(self.from));
            return Ok(());
        }
        self.visits += 1;
        let old = page_of(self.pages, old, height)?;
        let new = page_of(self.pages, new, height)?;
        let step = span(height - 1);
        // Most pointers are the same on both sides: they are passed over here, and not one call deeper.
        let ragged = self.ragged.and_then(|index| index.checked_sub(base)).map(|index| index / step);
        for i in 0..FANOUT {
            let (old, new) = (child(old.as_ref(), i), child(new.as_ref(), i));
            if old.same(new) && ragged != Some(i as u64) {
                continue;
            }
            self.walk(old, new, height - 1, base + i as u64 * step)?;
            if self.resume.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn push(&mut self, index: u64, mapped: bool) {
        let start = index * BLOCK_SIZE;
        match self.extents.last_mut() {
            Some((at, len, was)) if *was == mapped && *at + *len == start => *len += BLOCK_SIZE,
            _ => self.extents.push((start, BLOCK_SIZE, mapped)),
        }
    }
}
