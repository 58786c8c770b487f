//! Reading and writing one open version.

use std::ops::Range;
use std::sync::Arc;

use crate::core::Core;
use crate::error::{Error, Result, is_no_space};
use crate::ids::{BLOCK, BLOCK_SIZE, BlockNo, Index, MAX_DISK_SIZE, VersionId};
use crate::live::{Live, View};
use crate::meta::Meta;
use crate::page::{Page, span};
use crate::rows::{FANOUT, LEVELS, Pointer, VersionRow};
use crate::space::Run;
use crate::tree::{Edit, next_mapped};

/// Bytes that one leaf maps.
const LEAF_BYTES: u64 = BLOCK_SIZE * FANOUT as u64;
/// From so many bytes on, a read or write is a large one.
const LARGE: usize = 64 << 10;
/// Blocks that are unmapped under one hold of the meta lock.
const UNMAP_BLOCKS: u64 = span(2);

/// An open version. Cheap to clone; needs no file of its own.
#[derive(Clone)]
pub struct Disk {
    pub(crate) core: Arc<Core>,
    pub(crate) live: Arc<Live>,
    /// How its data is read and written.
    keeping: Keeping,
}

/// What of the data that is read and written the system may keep in memory.
#[derive(Clone, Copy)]
enum Keeping {
    /// All of it.
    All,
    /// Nothing that comes in large pieces.
    Small,
}

/// A part of a write that lies in one leaf, and is stored in one way.
enum Part {
    /// Into blocks that the head owns: byte offset in the blocks file, range of the data.
    InPlace(u64, Range<usize>),
    /// Whole blocks into new ones.
    Fresh(Index, Range<usize>),
    /// A part of a block into a new one, with the rest of the old one: offset in the block.
    Mixed(Index, Pointer, usize, Range<usize>),
    /// Whole blocks of zeros where something is mapped.
    Zero(Index, u64),
}

/// A mapped or unmapped piece of a disk: offset, length in bytes, whether it is mapped.
pub type Extent = (u64, u64, bool);

/// The pieces of `offset..offset + len` that lie in one leaf each.
fn leaf_pieces(offset: u64, len: u64) -> impl Iterator<Item = Range<u64>> {
    let end = offset + len;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let start = at;
        at = ((at / LEAF_BYTES + 1) * LEAF_BYTES).min(end);
        Some(start..at)
    })
}

fn is_zero(data: &[u8]) -> bool {
    let mut words = data.chunks_exact(16);
    words.all(|word| u128::from_ne_bytes(word.try_into().expect("sixteen bytes")) == 0)
        && words.remainder().iter().all(|&byte| byte == 0)
}

impl Disk {
    /// The same disk for one who reads or writes in bulk: what comes in large pieces is not kept in memory.
    pub fn uncached(self) -> Disk {
        Disk { keeping: Keeping::Small, ..self }
    }

    /// Whether it is kept, as a rule.
    pub fn is_cached(&self) -> bool {
        matches!(self.keeping, Keeping::All)
    }

    /// Which version it is.
    pub fn version(&self) -> VersionId {
        self.live.id
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.live.view.read().row.size
    }

    /// Whether writes are refused.
    pub fn read_only(&self) -> bool {
        self.live.view.read().check_writable(self.live.id).is_err()
    }

    /// Refuse a range that does not lie within the disk.
    pub fn check_range(&self, offset: u64, len: u64) -> Result<()> {
        self.live.view.read().check_range(offset, len)
    }

    /// Fill `buf` from `offset` on.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let read = match self.keeping {
            Keeping::All => Core::read_blocks,
            Keeping::Small => Core::read_blocks_uncached,
        };
        self.read_pieces(offset, buf, read).map(|_| ())
    }

    /// The same if the data is in memory; whether it was. What `buf` holds otherwise is undefined.
    pub fn read_at_once(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        self.read_pieces(offset, buf, Core::read_blocks_at_once)
    }

    fn read_pieces(&self, offset: u64, buf: &mut [u8], read: impl ReadBlocks) -> Result<bool> {
        self.core.check_open()?;
        let len = buf.len() as u64;
        if len <= LEAF_BYTES - offset % LEAF_BYTES && offset <= MAX_DISK_SIZE {
            return self.read_piece(&(offset..offset + len), buf, &read);
        }
        // All of it, before any of it is read.
        self.check_range(offset, len)?;
        for piece in leaf_pieces(offset, len) {
            let out = &mut buf[(piece.start - offset) as usize..(piece.end - offset) as usize];
            if !self.read_piece(&piece, out, &read)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Read within a leaf; false as soon as `read` says so.
    fn read_piece(&self, piece: &Range<u64>, out: &mut [u8], read: &impl ReadBlocks) -> Result<bool> {
        let _inside = self.core.grace.enter();
        let Some(leaf) = self.leaf(piece)? else {
            out.fill(0);
            return Ok(true);
        };
        let mut at = piece.start;
        while at < piece.end {
            // As many blocks as follow one another, in the file or in being unmapped.
            let first = leaf.get((at / BLOCK_SIZE) as usize % FANOUT);
            let mut next = (at / BLOCK_SIZE + 1) * BLOCK_SIZE;
            while next < piece.end {
                let pointer = leaf.get((next / BLOCK_SIZE) as usize % FANOUT);
                let expected = match first.is_none() {
                    true => 0,
                    false => first.number() + next / BLOCK_SIZE - at / BLOCK_SIZE,
                };
                if pointer.number() != expected {
                    break;
                }
                next += BLOCK_SIZE;
            }
            let next = next.min(piece.end);
            let out = &mut out[(at - piece.start) as usize..(next - piece.start) as usize];
            if first.is_none() {
                out.fill(0);
            } else {
                let from = BlockNo(first.number()).offset() + at % BLOCK_SIZE;
                if !read(&self.core, from, out)? {
                    return Ok(false);
                }
            }
            at = next;
        }
        Ok(true)
    }

    fn leaf(&self, piece: &Range<u64>) -> Result<Option<Arc<Page>>> {
        let view = self.live.view.read();
        view.check_alive(self.live.id)?;
        // The disk may have shrunk since the range was checked.
        view.check_range(piece.start, piece.end - piece.start)?;
        let leaf = view.leaf(&self.core.pages, Index(piece.start / BLOCK_SIZE))?;
        Ok(leaf.map(|(leaf, _)| leaf))
    }

    /// Store `data` at `offset`. Whole blocks of zeros are unmapped.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let len = data.len() as u64;
        self.check_write(offset, len)?;
        if data.is_empty() {
            return Ok(());
        }
        let _held = self.live.ranges.hold(offset / BLOCK_SIZE, (offset + len).div_ceil(BLOCK_SIZE));
        self.write_held(offset, data)
    }

    fn check_write(&self, offset: u64, len: u64) -> Result<()> {
        self.core.check_usable()?;
        let view = self.live.view.read();
        view.check_writable(self.live.id)?;
        view.check_range(offset, len)
    }

    /// Zero what lies in the last block beyond the end of a disk of `size`; unless a rollback or resize has come
    /// since that was seen, when something may have been written there.
    pub(crate) fn zero_tail(&self, size: u64, generation: u64) -> Result<()> {
        let block = size / BLOCK_SIZE;
        let _held = self.live.ranges.hold(block, block + 1);
        let zeros = [0; BLOCK];
        self.write_piece(size, &zeros[(size % BLOCK_SIZE) as usize..], Some(generation))?;
        Ok(())
    }

    /// Write where the blocks are held.
    fn write_held(&self, offset: u64, data: &[u8]) -> Result<()> {
        for piece in leaf_pieces(offset, data.len() as u64) {
            let data = &data[(piece.start - offset) as usize..(piece.end - offset) as usize];
            while !self.write_piece(piece.start, data, None)? {}
        }
        Ok(())
    }

    /// One attempt to write within a leaf; false when a rollback or resize came in between, or is not the latest
    /// that is `expected`.
    fn write_piece(&self, offset: u64, data: &[u8], expected: Option<u64>) -> Result<bool> {
        let _inside = self.core.grace.enter();
        let (parts, generation) = {
            let _gate = self.live.gate.read();
            let (leaf, generation) = {
                let view = self.live.view.read();
                view.check_writable(self.live.id)?;
                if expected.is_some_and(|generation| generation != view.generation) {
                    return Ok(false);
                }
                // The disk may have shrunk since the range was checked.
                view.check_blocks(offset, data.len() as u64)?;
                (view.leaf(&self.core.pages, Index(offset / BLOCK_SIZE))?, view.generation)
            };
            let mut parts = split(offset, data, leaf.as_ref());
            for part in &parts {
                if let Part::InPlace(at, range) = part {
                    self.core.write_blocks(*at, &data[range.clone()], self.keeping)?;
                }
            }
            parts.retain(|part| !matches!(part, Part::InPlace(..)));
            (parts, generation)
        };
        if parts.is_empty() {
            return Ok(true);
        }
        if parts.iter().any(|part| !matches!(part, Part::Zero(..))) {
            self.core.find_blocks()?;
        }
        self.core.limit_dirty()?;
        let mut placed: Vec<(Index, Run)> = Vec::new();
        let stored = parts.iter().try_for_each(|part| self.store(part, data, &mut placed));
        let published = stored.and_then(|()| self.publish(&parts, &placed, generation));
        match published {
            Ok(true) => Ok(true),
            other => {
                let mut meta = self.core.meta.lock();
                for (_, run) in placed {
                    meta.space.give_back(run)?;
                }
                other
            }
        }
    }

    /// Write a part into newly reserved blocks.
    fn store(&self, part: &Part, data: &[u8], placed: &mut Vec<(Index, Run)>) -> Result<()> {
        match part {
            Part::InPlace(..) | Part::Zero(..) => Ok(()),
            Part::Fresh(index, range) => {
                let mut index = *index;
                let mut data = &data[range.clone()];
                while !data.is_empty() {
                    let run = self.core.meta()?.space.reserve((data.len() / BLOCK) as u64)?;
                    placed.push((index, run));
                    let (now, later) = data.split_at(run.1 as usize * BLOCK);
                    self.core.write_blocks(run.0.offset(), now, self.keeping)?;
                    index.0 += run.1;
                    data = later;
                }
                Ok(())
            }
            Part::Mixed(index, old, inside, range) => {
                let mut block = [0; BLOCK];
                if !old.is_none() {
                    self.core.read_blocks(BlockNo(old.number()).offset(), &mut block)?;
                }
                block[*inside..*inside + range.len()].copy_from_slice(&data[range.clone()]);
                let run = self.core.meta()?.space.reserve(1)?;
                placed.push((*index, run));
                self.core.write_blocks(run.0.offset(), &block, Keeping::All)
            }
        }
    }

    /// Map the stored blocks on a fresh walk (rule 5) and unmap what became zero. False when what was read for it may
    /// no longer hold.
    fn publish(&self, parts: &[Part], placed: &[(Index, Run)], generation: u64) -> Result<bool> {
        let mut meta = self.core.meta()?;
        let mut view = self.live.view.write();
        view.check_writable(self.live.id)?;
        if view.generation != generation {
            return Ok(false);
        }
        let parent = meta.parent_root(&view.row)?;
        self.change(&mut meta, &mut view, |edit, row| {
            for (index, run) in placed {
                edit.map(row, parent, *index, *run)?;
            }
            for part in parts {
                if let Part::Zero(index, blocks) = part {
                    edit.unmap(row, parent, index.0, index.0 + blocks)?;
                }
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// Change the head's tree, and show it to those that have the head open.
    fn change(
        &self,
        meta: &mut Meta,
        view: &mut View,
        change: impl FnOnce(&mut Edit<'_>, &mut VersionRow) -> Result<()>,
    ) -> Result<()> {
        let mut row = view.row;
        let mut edit = self.core.edit(meta);
        let result = change(&mut edit, &mut row);
        if edit.halfway {
            return result.map_err(|error| self.core.fail(error));
        }
        let let_go = edit.let_go;
        view.set_row(row, &self.core.pages);
        meta.changed_head(self.live.id, &row, let_go).map_err(|error| self.core.fail(error))?;
        result
    }

    /// Make a range read as zeros; whole blocks are unmapped.
    pub fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.check_write(offset, len)?;
        if len == 0 {
            return Ok(());
        }
        let end = offset + len;
        let _held = self.live.ranges.hold(offset / BLOCK_SIZE, end.div_ceil(BLOCK_SIZE));
        while !self.discard_held(offset, end)? {}
        Ok(())
    }

    /// One attempt to discard where the blocks are held; false when a rollback or resize came in between.
    fn discard_held(&self, offset: u64, end: u64) -> Result<bool> {
        let (size, generation) = {
            let view = self.live.view.read();
            view.check_range(offset, end - offset)?;
            (view.row.size, view.generation)
        };
        let first = offset.div_ceil(BLOCK_SIZE);
        // The last block counts as whole when the disk ends in it.
        let last = if end == size { end.div_ceil(BLOCK_SIZE) } else { end / BLOCK_SIZE };
        let zeros = [0; BLOCK];
        if first > last || (first == last && !offset.is_multiple_of(BLOCK_SIZE) && end <= first * BLOCK_SIZE)
        {
            self.write_held(offset, &zeros[..(end - offset) as usize])?;
            return Ok(true);
        }
        if offset < first * BLOCK_SIZE {
            self.write_held(offset, &zeros[..(first * BLOCK_SIZE - offset) as usize])?;
        }
        if last * BLOCK_SIZE < end {
            self.write_held(last * BLOCK_SIZE, &zeros[..(end - last * BLOCK_SIZE) as usize])?;
        }
        self.unmap(first, last, generation)
    }

    /// Unmap blocks; false when a rollback or resize came in between.
    fn unmap(&self, first: u64, last: u64, generation: u64) -> Result<bool> {
        let mut from = first;
        loop {
            self.core.limit_dirty()?;
            {
                let mut meta = self.core.meta()?;
                let mut view = self.live.view.write();
                view.check_writable(self.live.id)?;
                if view.generation != generation {
                    return Ok(false);
                }
                let root = view.row.root;
                let Some(found) = next_mapped(&self.core.pages, root, LEVELS, 0, from, last)? else {
                    return Ok(true);
                };
                let end = ((found / UNMAP_BLOCKS + 1) * UNMAP_BLOCKS).min(last);
                let parent = meta.parent_root(&view.row)?;
                self.change(&mut meta, &mut view, |edit, row| edit.unmap(row, parent, found, end))?;
                from = end;
            }
        }
    }

    /// Unmap the blocks of a range that hold nothing but zeros, up to the disk's end; how many that were.
    pub fn sparsify(&self, offset: u64, len: u64) -> Result<u64> {
        self.check_write(offset, len)?;
        let end = offset + len;
        let (mut from, mut unmapped) = (offset.div_ceil(BLOCK_SIZE), 0);
        loop {
            let (found, last) = {
                let view = self.live.view.read();
                view.check_writable(self.live.id)?;
                let (size, root) = (view.row.size, view.row.root);
                // The last block counts as whole when the disk ends in it.
                let last = if end >= size { size.div_ceil(BLOCK_SIZE) } else { end / BLOCK_SIZE };
                (next_mapped(&self.core.pages, root, LEVELS, 0, from, last)?, last)
            };
            let Some(found) = found else {
                return Ok(unmapped);
            };
            from = ((found / FANOUT as u64 + 1) * FANOUT as u64).min(last);
            unmapped += self.sparsify_piece(found, from)?;
        }
    }

    /// The same for blocks of one leaf.
    fn sparsify_piece(&self, first: u64, last: u64) -> Result<u64> {
        // No one writes there meanwhile.
        let _held = self.live.ranges.hold(first, last);
        loop {
            let (size, generation) = {
                let view = self.live.view.read();
                (view.row.size, view.generation)
            };
            let piece = first * BLOCK_SIZE..(last * BLOCK_SIZE).min(size);
            if piece.is_empty() {
                return Ok(0);
            }
            let mut bytes = vec![0; (piece.end - piece.start) as usize];
            self.read_piece(&piece, &mut bytes, &Core::read_blocks)?;
            let leaf = self.leaf(&piece)?;
            let mapped =
                |block: u64| leaf.as_ref().is_some_and(|leaf| !leaf.get(block as usize % FANOUT).is_none());
            let zero = |(i, block): (usize, &[u8])| {
                let block_no = first + i as u64;
                (is_zero(block) && mapped(block_no)).then_some(block_no)
            };
            let zeros: Vec<u64> = bytes.chunks(BLOCK).enumerate().filter_map(zero).collect();
            let runs = zeros.chunk_by(|a, b| a + 1 == *b);
            // What was read may be gone when a rollback or resize has come: look again.
            let mut unchanged = true;
            for run in runs {
                unchanged = unchanged && self.unmap(run[0], run[run.len() - 1] + 1, generation)?;
            }
            if unchanged {
                return Ok(zeros.len() as u64);
            }
        }
    }

    /// Which pieces of a range are mapped: they cover it without gaps from `offset` on, `limit` of them at most.
    pub fn extents(&self, offset: u64, len: u64, limit: usize) -> Result<Vec<Extent>> {
        self.core.check_open()?;
        let view = self.live.view.read();
        view.check_alive(self.live.id)?;
        view.check_range(offset, len)?;
        let end = offset + len;
        let mut extents: Vec<Extent> = Vec::new();
        let mut push = |from: u64, to: u64, mapped: bool| match extents.last_mut() {
            Some((_, n, m)) if *m == mapped => *n += to - from,
            _ => extents.push((from, to - from, mapped)),
        };
        let mut at = offset;
        let mut count = 0;
        while at < end && count < limit {
            let index = at / BLOCK_SIZE;
            let pages = &self.core.pages;
            let found = next_mapped(pages, view.row.root, LEVELS, 0, index, end.div_ceil(BLOCK_SIZE))?;
            let Some(mapped) = found else {
                push(at, end, false);
                break;
            };
            if mapped * BLOCK_SIZE > at {
                push(at, mapped * BLOCK_SIZE, false);
                at = mapped * BLOCK_SIZE;
                count += 1;
                continue;
            }
            let Some((leaf, _)) = view.leaf(pages, Index(mapped))? else {
                break;
            };
            let start = at;
            while at < end && !leaf.get((at / BLOCK_SIZE) as usize % FANOUT).is_none() {
                at = (at / BLOCK_SIZE + 1) * BLOCK_SIZE;
                if at.is_multiple_of(LEAF_BYTES) {
                    break;
                }
            }
            at = at.min(end);
            push(start, at, true);
            count += 1;
        }
        Ok(extents)
    }
}

/// Fills a buffer from an offset in the blocks file on; false when that had to wait for the medium and may not.
trait ReadBlocks: Fn(&Core, u64, &mut [u8]) -> Result<bool> {}
impl<F: Fn(&Core, u64, &mut [u8]) -> Result<bool>> ReadBlocks for F {}

fn reading(offset: u64, error: &std::io::Error) -> Error {
    Error::io(format_args!("reading block {}", offset / BLOCK_SIZE), error)
}

/// How each block of a write within a leaf is to be stored.
fn split(offset: u64, data: &[u8], leaf: Option<&(Arc<Page>, bool)>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut done = 0;
    while done < data.len() {
        let at = offset + done as u64;
        let inside = (at % BLOCK_SIZE) as usize;
        let n = (BLOCK - inside).min(data.len() - done);
        let index = Index(at / BLOCK_SIZE);
        let range = done..done + n;
        let pointer = leaf.map_or(Pointer::NONE, |(leaf, _)| leaf.get(index.0 as usize % FANOUT));
        let in_place = pointer.owned() && leaf.is_some_and(|(_, owned)| *owned);
        let zero = (n == BLOCK || pointer.is_none()) && is_zero(&data[range.clone()]);
        done += n;
        if zero {
            match parts.last_mut() {
                _ if pointer.is_none() => {}
                Some(Part::Zero(first, blocks)) if first.0 + *blocks == index.0 => *blocks += 1,
                _ => parts.push(Part::Zero(index, 1)),
            }
        } else if in_place {
            let to = BlockNo(pointer.number()).offset() + inside as u64;
            match parts.last_mut() {
                Some(Part::InPlace(start, before))
                    if *start + before.len() as u64 == to && before.end == range.start =>
                {
                    before.end = range.end;
                }
                _ => parts.push(Part::InPlace(to, range)),
            }
        } else if n < BLOCK {
            parts.push(Part::Mixed(index, pointer, inside, range));
        } else {
            match parts.last_mut() {
                Some(Part::Fresh(_, before)) if before.end == range.start => before.end = range.end,
                _ => parts.push(Part::Fresh(index, range)),
            }
        }
    }
    parts
}

impl Core {
    /// Always true: it waits for the medium where it must.
    fn read_blocks(&self, offset: u64, out: &mut [u8]) -> Result<bool> {
        let read = self.blocks.read_at(offset, out);
        read.map(|()| true).map_err(|e| reading(offset, &e))
    }

    /// As `read_blocks`; what is long is not kept in memory, unless it is there already.
    fn read_blocks_uncached(&self, offset: u64, out: &mut [u8]) -> Result<bool> {
        if out.len() < LARGE {
            return self.read_blocks(offset, out);
        }
        let read = self.blocks.read_uncached(offset, out);
        read.map(|()| true).map_err(|e| reading(offset, &e))
    }

    fn read_blocks_at_once(&self, offset: u64, out: &mut [u8]) -> Result<bool> {
        self.blocks.read_at_once(offset, out).map_err(|e| reading(offset, &e))
    }

    fn write_blocks(&self, offset: u64, data: &[u8], keeping: Keeping) -> Result<()> {
        let written = match keeping {
            Keeping::Small if data.len() >= LARGE => self.blocks.write_uncached(offset, data),
            _ => self.blocks.write_at(offset, data),
        };
        if let Err(error) = written {
            if is_no_space(&error) {
                self.pace.note_full();
                self.wake();
            }
            return Err(Error::io(format_args!("writing block {}", offset / BLOCK_SIZE), &error));
        }
        self.commits.note_write();
        Ok(())
    }

    /// Open a version.
    pub fn disk(self: &Arc<Core>, id: VersionId) -> Result<Disk> {
        self.check_open()?;
        Ok(Disk { core: self.clone(), live: self.live(id)?, keeping: Keeping::All })
    }
}
