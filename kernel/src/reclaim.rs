//! Getting space back: taking dropped trees apart, trimming hidden versions, punching.
//!
//! All of it in bounded steps, each a legal commit, so that other work goes on and a crash loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::{BLOCK, BlockNo, ChunkNo, PageId, VersionId};
use crate::log::LOG_BYTES;
use crate::meta::{Meta, Work};
use crate::page::{Page, span};
use crate::rows::{FANOUT, LEVELS, Pointer, VersionState};
use crate::space::CHUNK_BYTES;
use crate::tree::{Edit, child, page_of};

/// Pages looked at under one hold of the meta lock.
const PAGES_PER_STEP: i64 = 128;
/// Pages looked at between two commits, at most, and versions listed at a time.
const PAGES_PER_COMMIT: u64 = 16384;
const VERSIONS_AT_ONCE: usize = 256;
/// A catalogue file of up to twice what lives in it and this many bytes is left as it is.
const CATALOG_SLACK: u64 = 4 << 20;
/// Blocks that a hidden version may hold alone before the background trims it; on request it is trimmed at once.
const STALE_ENOUGH: u64 = 1024;

/// How much of the work may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eager {
    /// What is worth doing now.
    Background,
    /// Everything.
    Now,
}

impl Core {
    /// Do about `budget` pages' worth of work and make it durable; how much was done, 0 when nothing is left.
    pub fn reclaim(&self, budget: u64, eager: Eager) -> Result<u64> {
        self.check_open()?;
        let _hurry = (eager == Eager::Now).then(|| self.pace.hurry());
        let _one = self.reclaiming.lock();
        let budget = budget.min(PAGES_PER_COMMIT);
        let mut done = 0;
        if let Err(error) = self.find_room(0) {
            // What was freed before may be enough.
            if error.kind != Kind::NoSpace || !self.punch_chunks(budget, &mut done)? {
                return Err(error);
            }
            self.find_room(0)?;
        }
        let mut after = VersionId(0);
        while done < budget {
            // Those behind the last one: what cannot be taken apart, being damaged, is passed over.
            let dying = self.meta()?.work(Work::Dying, after, VERSIONS_AT_ONCE)?;
            let Some(last) = dying.last() else { break };
            after = *last;
            for id in dying {
                while done < budget && self.take_apart(id, &mut done)? {
                    self.limit_dirty()?;
                }
            }
        }
        while done < budget {
            let least = if eager == Eager::Now { 1 } else { STALE_ENOUGH };
            let stale = self.meta()?.stale.iter().find(|(_, n)| **n >= least).map(|(id, _)| *id);
            let Some(id) = stale else { break };
            done += self.trim(id)?;
        }
        let (dirty, held) = {
            let meta = self.meta()?;
            (!meta.is_clean() || !self.pages.is_clean(), meta.space.held_blocks() > 0)
        };
        if done > 0 || held || (dirty && eager == Eager::Now) {
            self.flush()?;
            if self.meta()?.space.release(&self.grace)? {
                // Someone reads or writes what was freed; that is short.
                std::thread::yield_now();
            }
            done += u64::from(held);
        }
        if self.punch_chunks(budget, &mut done)? {
            self.flush()?;
        }
        if done == 0 && eager == Eager::Now && self.compact_catalog()? {
            done = 1;
        }
        if done == 0 {
            self.pace.note_done();
        }
        Ok(done)
    }

    /// Give freed space back, until `done` comes to the budget; whether there was any.
    fn punch_chunks(&self, budget: u64, done: &mut u64) -> Result<bool> {
        let mut from = ChunkNo(0);
        let mut punched = false;
        while *done < budget {
            let Some(chunk) = self.meta()?.space.next_unpunched(from)? else {
                break;
            };
            self.punch(chunk)?;
            from = ChunkNo(chunk.0 + 1);
            *done += 1;
            punched = true;
        }
        Ok(punched)
    }

    /// Have the catalogue's file shrink, if a good part of it is free. Whether that was tried.
    fn compact_catalog(&self) -> Result<bool> {
        let live = self.catalog.state()?.metadata_bytes;
        if self.catalog.len_bytes()? < LOG_BYTES + CATALOG_SLACK + 2 * live
            || !self.commits.first_compaction()
        {
            return Ok(false);
        }
        self.catalog.compact().map_err(|error| self.fail_unless_full(error))?;
        Ok(true)
    }

    /// One step of taking a dying version apart; whether there are more. Pages looked at are added to `done`.
    fn take_apart(&self, id: VersionId, done: &mut u64) -> Result<bool> {
        let mut meta = self.meta()?;
        if meta.stuck.contains(&id) {
            return Ok(false);
        }
        let mut row = meta.version(id)?;
        let parent = meta.parent_root(&row)?;
        let only = meta.only_child(id, &row)?;
        let below = match only {
            Some(only) => meta.version(only)?.root,
            None => Pointer::NONE,
        };
        let mut budget = PAGES_PER_STEP;
        let mut edit = self.edit(&mut meta);
        let finished = edit.turn_into(&mut row.root, parent, below, LEVELS, &mut budget);
        *done += (PAGES_PER_STEP - budget).max(1) as u64;
        if edit.halfway {
            return finished.map_err(|error| self.fail(error));
        }
        // Also where a page could not be read: what was done before is a step like any other.
        meta.put(id, row);
        match finished {
            Ok(true) => self.unlink(&mut meta, id, only).map_err(|error| self.fail(error)).map(|()| false),
            Ok(false) => Ok(true),
            Err(error) => {
                meta.stuck.insert(id);
                Err(error)
            }
        }
    }

    /// A dying version has become its parent's equal: its child gets the parent, and it is gone.
    fn unlink(&self, meta: &mut Meta, id: VersionId, only: Option<VersionId>) -> Result<()> {
        let row = meta.version(id)?;
        if let Some(only) = only {
            let mut below = meta.version(only)?;
            below.parent = row.parent;
            meta.put(only, below);
            meta.edge(id, only, false);
            if let Some(live) = self.if_live(only) {
                live.view.write().row.parent = row.parent;
            }
            if let Some(parent) = row.parent {
                meta.edge(parent, only, true);
            }
            if below.state == VersionState::Hidden {
                *meta.stale.entry(only).or_default() += 1;
            }
        }
        meta.set_work(Work::Dying, id, false);
        meta.remove(id);
        if let Some(parent) = row.parent {
            meta.edge(parent, id, false);
            let mut above = meta.version(parent)?;
            let fewer = above.children.checked_sub(u64::from(only.is_none()));
            above.children =
                fewer.ok_or_else(|| Error::damaged(format!("{parent} counts too few children")))?;
            meta.put(parent, above);
            meta.recheck_hidden(parent)?;
        }
        Ok(())
    }

    /// Free what only the hidden versions around `id` hold.
    fn trim(&self, id: VersionId) -> Result<u64> {
        let mut from = 0;
        let mut done = 1;
        loop {
            let mut meta = self.meta()?;
            let Some(set) = HiddenSet::around(&mut meta, id)? else {
                meta.stale.remove(&id);
                return Ok(done);
            };
            let mut trim = Trim {
                edit: self.edit(&mut meta),
                budget: PAGES_PER_STEP,
                from,
                resume: None,
                count_only: false,
                blocks: 0,
            };
            let mut emptied = Vec::new();
            let result = trim.roots(&set, &mut emptied);
            done += (PAGES_PER_STEP - trim.budget).max(0) as u64;
            let (resume, halfway) = (trim.resume, trim.edit.halfway);
            for version in emptied {
                let mut row = meta.version(version)?;
                row.root = Pointer::NONE;
                meta.put(version, row);
            }
            if let Err(error) = result {
                meta.stale.remove(&id);
                return Err(if halfway { self.fail(error) } else { error });
            }
            match resume {
                Some(next) => from = next,
                None => {
                    for (version, _) in &set.hidden {
                        meta.stale.remove(version);
                    }
                    return Ok(done);
                }
            }
            drop(meta);
            self.limit_dirty()?;
        }
    }

    /// Blocks that only hidden versions hold.
    pub fn hidden_blocks(&self) -> Result<u64> {
        let mut seen = BTreeSet::new();
        let mut blocks = 0;
        let mut after = VersionId(0);
        loop {
            let Some(id) = self.meta()?.work(Work::Hidden, after, 1)?.first().copied() else {
                return Ok(blocks);
            };
            after = id;
            if seen.contains(&id) {
                continue;
            }
            let mut from = Some(0);
            while let Some(start) = from {
                let mut meta = self.meta()?;
                let Some(set) = HiddenSet::around(&mut meta, id)? else {
                    break;
                };
                seen.extend(set.hidden.iter().map(|(id, _)| *id));
                let mut count = Trim {
                    edit: self.edit(&mut meta),
                    budget: PAGES_PER_STEP,
                    from: start,
                    resume: None,
                    count_only: true,
                    blocks: 0,
                };
                count.roots(&set, &mut Vec::new())?;
                blocks += count.blocks;
                from = count.resume;
            }
        }
    }

    fn punch(&self, chunk: ChunkNo) -> Result<()> {
        let runs = self.meta()?.space.begin_punch(chunk)?;
        let result = runs.iter().try_for_each(|(start, len)| {
            let end = self.blocks.len()?;
            let offset = start.offset();
            let len = (len * BLOCK as u64).min(end.saturating_sub(offset));
            if len == 0 {
                return Ok(());
            }
            let began = Instant::now();
            self.blocks.punch(offset, len)?;
            let rest = self.pace.rest(began.elapsed(), self.commits.writes());
            if !rest.is_zero() && !self.reserve.is_short() && self.check_usable().is_ok() {
                thread::sleep(rest);
            }
            Ok(())
        });
        // Whatever came of it, the blocks may be taken again.
        let mut meta = self.meta.lock();
        let cut = meta.space.end_punch(chunk, &runs, result.is_ok())?;
        result.map_err(|e| Error::io("returning freed space", &e))?;
        if cut {
            // Under the meta lock: no one can be writing behind the end.
            let end = (meta.space.end().0 * CHUNK_BYTES).max(BLOCK as u64);
            self.blocks.set_len(end).map_err(|e| Error::io("cutting the blocks file", &e))?;
        }
        Ok(())
    }
}

impl Edit<'_> {
    /// Turn a dying version's tree into its parent's, entry by entry, freeing what neither the parent nor the only
    /// child holds at the same place. False when the budget of pages ran out before the end.
    fn turn_into(
        &mut self,
        slot: &mut Pointer,
        parent: Pointer,
        below: Pointer,
        height: u8,
        budget: &mut i64,
    ) -> Result<bool> {
        if slot.same(parent) {
            return Ok(true);
        }
        if slot.is_none() || slot.same(below) {
            *slot = parent.disowned();
            return Ok(true);
        }
        if height == 0 {
            self.halfway = true;
            self.space.free((BlockNo(slot.number()), 1))?;
            self.halfway = false;
            *slot = parent.disowned();
            return Ok(true);
        }
        if *budget <= 0 {
            return Ok(false);
        }
        *budget -= 1;
        let page = self.pages.get_at(PageId(slot.number()), height - 1)?;
        let above_page = page_of(self.pages, parent, height)?;
        let below_page = page_of(self.pages, below, height)?;
        for i in 0..FANOUT {
            let mut pointer = page.get(i);
            let below = child(below_page.as_ref(), i);
            let done = self.turn_into(&mut pointer, child(above_page.as_ref(), i), below, height - 1, budget);
            if !matches!(done, Ok(true)) {
                // The entries before are done; this one keeps its page, which was changed in place.
                let page = self.pages.writable(page);
                for k in 0..i {
                    page.set(k, child(above_page.as_ref(), k).disowned());
                }
                return done;
            }
        }
        self.pages.delete(&page);
        *slot = parent.disowned();
        Ok(true)
    }
}

/// Hidden versions that are connected, and all others that touch them.
struct HiddenSet {
    hidden: Vec<(VersionId, Pointer)>,
    /// The pages that are the others' roots.
    neighbours: BTreeSet<u64>,
}

impl HiddenSet {
    /// The set around a version; none if it is not hidden any more.
    fn around(meta: &mut Meta, id: VersionId) -> Result<Option<HiddenSet>> {
        match meta.find(id)? {
            Some(row) if row.state == VersionState::Hidden => {}
            _ => return Ok(None),
        }
        let mut set = HiddenSet { hidden: Vec::new(), neighbours: BTreeSet::new() };
        let mut seen = BTreeSet::from([id]);
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let row = meta.version(id)?;
            if row.state != VersionState::Hidden {
                if !row.root.is_none() {
                    set.neighbours.insert(row.root.number());
                }
                continue;
            }
            set.hidden.push((id, row.root));
            let mut near: Vec<VersionId> = row.parent.into_iter().collect();
            let mut after = VersionId(0);
            loop {
                let some = meta.children(id, after, 1000)?;
                let Some(last) = some.last() else { break };
                after = *last;
                near.extend(some);
            }
            todo.extend(near.into_iter().filter(|id| seen.insert(*id)));
        }
        Ok(Some(set))
    }
}

/// A walk of all trees of a hidden set at once, against all its neighbours.
struct Trim<'a> {
    edit: Edit<'a>,
    budget: i64,
    /// Indexes before this were done.
    from: u64,
    /// Where to go on, once the budget ran out.
    resume: Option<u64>,
    count_only: bool,
    blocks: u64,
}

impl Trim<'_> {
    /// Walk from the roots; the versions that map nothing afterwards go to `emptied`.
    fn roots(&mut self, set: &HiddenSet, emptied: &mut Vec<VersionId>) -> Result<()> {
        let mut own = BTreeMap::new();
        for (_, root) in &set.hidden {
            if let Some(page) = page_of(self.edit.pages, *root, LEVELS)?
                && !set.neighbours.contains(&root.number())
            {
                own.insert(root.number(), page);
            }
        }
        let mut others = Vec::new();
        for number in &set.neighbours {
            others.push(self.edit.pages.get_at(PageId(*number), LEVELS - 1)?);
        }
        let mut pages: Vec<Arc<Page>> = own.into_values().collect();
        let result = self.below(&mut pages, &others, LEVELS - 1, 0);
        for page in pages.iter().filter(|page| page.is_empty()) {
            self.edit.pages.delete(page);
            let holders = set.hidden.iter().filter(|(_, root)| root.number() == page.id.0);
            emptied.extend(holders.map(|(id, _)| *id));
        }
        result
    }

    /// `pages` stand at one place in trees of the set, and in no neighbour's; their pointers have `height`.
    fn below(&mut self, pages: &mut [Arc<Page>], others: &[Arc<Page>], height: u8, base: u64) -> Result<()> {
        let step = span(height);
        for i in 0..FANOUT {
            let base = base + i as u64 * step;
            if base + step <= self.from {
                continue;
            }
            let mut holders: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
            for (k, page) in pages.iter().enumerate() {
                let pointer = page.get(i);
                if !pointer.is_none() {
                    holders.entry(pointer.number()).or_default().push(k);
                }
            }
            if holders.is_empty() {
                continue;
            }
            let seen: BTreeSet<u64> =
                others.iter().map(|page| page.get(i).number()).filter(|n| *n != 0).collect();
            holders.retain(|number, _| !seen.contains(number));
            if holders.is_empty() {
                continue;
            }
            let mut gone: Vec<u64> = Vec::new();
            let mut result = Ok(());
            if height == 0 {
                self.blocks += holders.len() as u64;
                if !self.count_only {
                    self.edit.halfway = true;
                    for block in holders.keys() {
                        self.edit.space.free((BlockNo(*block), 1))?;
                    }
                    self.edit.halfway = false;
                    gone.extend(holders.keys());
                }
            } else {
                if self.budget <= 0 {
                    self.resume = Some(base);
                    return Ok(());
                }
                self.budget -= holders.len() as i64 + seen.len() as i64;
                let load = |number: &u64| self.edit.pages.get_at(PageId(*number), height - 1);
                let mut own = holders.keys().map(load).collect::<Result<Vec<_>>>()?;
                let others = seen.iter().map(load).collect::<Result<Vec<_>>>()?;
                result = self.below(&mut own, &others, height - 1, base);
                for page in own.iter().filter(|page| page.is_empty()) {
                    self.edit.pages.delete(page);
                    gone.push(page.id.0);
                }
            }
            for number in gone {
                for &k in &holders[&number] {
                    pages[k] = self.edit.pages.writable(pages[k].clone());
                    pages[k].set(i, Pointer::NONE);
                }
            }
            if result.is_err() || self.resume.is_some() {
                return result;
            }
        }
        Ok(())
    }
}
