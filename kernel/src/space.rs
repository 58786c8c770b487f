//! Which blocks of the blocks file are in use, which may be taken, and which hold space to give back.
//!
//! A block is *used* when some version's tree maps it: that is what a commit records. It is *busy* when it must
//! not be taken: used, or reserved by a writer that has not published it yet, or freed so recently that the
//! freeing is not durable (rule 1), or that input or output may still be under way on it (rule 6).
//! A reserved block is not used, so it counts as free in what is captured (rule 7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::changes::ChunkChange;
use crate::error::{Error, Result};
use crate::grace::{Grace, Moment};
use crate::ids::{BLOCK_SIZE, BlockNo, ChunkNo};
use crate::overlay::Overlay;
use crate::rows::{Bitmap, CHUNK_BLOCKS, CHUNK_WORDS, StateRow, bit_runs};

/// Bytes of a chunk in the blocks file.
pub const CHUNK_BYTES: u64 = CHUNK_BLOCKS * BLOCK_SIZE;

/// A chunk is turned to again when half of it is free: filling smaller gaps would scatter what is written
/// together. The gaps cost nothing, being punched.
const WORTHWHILE: u64 = CHUNK_BLOCKS / 2;
/// Chunks kept in memory beyond those that must be.
const CHUNKS_IN_MEMORY: usize = 1024;
/// Rows read at a time when looking for free blocks.
const SCAN_ROWS: usize = 256;

/// Blocks that follow one another.
pub type Run = (BlockNo, u64);

struct Chunk {
    used: Bitmap,
    busy: Bitmap,
    used_count: u64,
    busy_count: u64,
    /// Freed blocks that are busy still.
    held: u64,
    /// Waits in `candidates`.
    queued: bool,
}

/// The space account.
pub struct Space {
    catalog: Arc<Catalog>,
    chunks: BTreeMap<ChunkNo, Box<Chunk>>,
    changed: BTreeSet<ChunkNo>,
    committing: BTreeSet<ChunkNo>,
    unpunched: Overlay<ChunkNo, ()>,
    used_blocks: u64,
    end: ChunkNo,
    /// Where blocks are taken from, and the next bit to look at.
    current: Option<(ChunkNo, u64)>,
    candidates: VecDeque<ChunkNo>,
    /// Where to go on looking for candidates in the catalogue; `None` when all were seen.
    scan: Option<ChunkNo>,
    freed: Vec<Run>,
    freed_committing: Vec<Run>,
    waiting: VecDeque<(Moment, Vec<Run>)>,
    held_blocks: u64,
}

/// The chunk of a block and its bit there.
fn place(block: BlockNo) -> (ChunkNo, u64) {
    (ChunkNo(block.0 / CHUNK_BLOCKS), block.0 % CHUNK_BLOCKS)
}

/// A run's pieces by chunk: chunk, first bit, length.
fn pieces((start, len): Run) -> impl Iterator<Item = (ChunkNo, u64, u64)> {
    let end = start.0 + len;
    let mut at = start.0;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (chunk, bit) = place(BlockNo(at));
        let n = (CHUNK_BLOCKS - bit).min(end - at);
        at += n;
        Some((chunk, bit, n))
    })
}

/// Each word that `bit..bit + len` touches, with the mask of its bits.
fn masks(bit: u64, len: u64) -> impl Iterator<Item = (usize, u64)> {
    let end = bit + len;
    let mut at = bit;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let word = at / 64;
        let n = ((word + 1) * 64).min(end) - at;
        let mask = (u64::MAX >> (64 - n)) << (at % 64);
        at += n;
        Some((word as usize, mask))
    })
}

fn set(bits: &mut Bitmap, bit: u64, len: u64) {
    for (word, mask) in masks(bit, len) {
        bits[word] |= mask;
    }
}

fn clear(bits: &mut Bitmap, bit: u64, len: u64) {
    for (word, mask) in masks(bit, len) {
        bits[word] &= !mask;
    }
}

/// Whether all (or none) of the bits are set.
fn all(bits: &Bitmap, bit: u64, len: u64, value: bool) -> bool {
    masks(bit, len).all(|(word, mask)| bits[word] & mask == if value { mask } else { 0 })
}

/// Blocks of a chunk that are never given out: the header, in the first chunk.
pub(crate) fn reserved(chunk: ChunkNo) -> u64 {
    u64::from(chunk.0 == 0)
}

impl Chunk {
    fn new(chunk: ChunkNo, used: Bitmap) -> Chunk {
        let mut busy = used;
        set(&mut busy, 0, reserved(chunk));
        let count = |bits: &Bitmap| bits.iter().map(|word| u64::from(word.count_ones())).sum();
        Chunk { used_count: count(&used), busy_count: count(&busy), used, busy, held: 0, queued: false }
    }

    fn free(&self) -> u64 {
        CHUNK_BLOCKS - self.busy_count
    }

    fn set_busy(&mut self, bit: u64, len: u64) {
        debug_assert!(all(&self.busy, bit, len, false));
        set(&mut self.busy, bit, len);
        self.busy_count += len;
    }

    fn clear_busy(&mut self, bit: u64, len: u64) {
        debug_assert!(all(&self.busy, bit, len, true));
        clear(&mut self.busy, bit, len);
        self.busy_count -= len;
    }
}

impl Space {
    /// The account as the catalogue has it.
    pub fn new(catalog: Arc<Catalog>, state: &StateRow) -> Space {
        Space {
            catalog,
            chunks: BTreeMap::new(),
            changed: BTreeSet::new(),
            committing: BTreeSet::new(),
            unpunched: Overlay::new(),
            used_blocks: state.used_blocks,
            end: ChunkNo(state.end_chunk),
            current: None,
            candidates: VecDeque::new(),
            scan: Some(ChunkNo(0)),
            freed: Vec::new(),
            freed_committing: Vec::new(),
            waiting: VecDeque::new(),
            held_blocks: 0,
        }
    }

    fn chunk(&mut self, no: ChunkNo) -> Result<&mut Chunk> {
        if !self.chunks.contains_key(&no) {
            let used = self.catalog.snapshot()?.chunk(no)?;
            self.chunks.insert(no, Box::new(Chunk::new(no, used)));
        }
        Ok(self.chunks.get_mut(&no).expect("just loaded"))
    }

    /// Reserve blocks that follow one another: at least one, at most `want`.
    pub fn reserve(&mut self, want: u64) -> Result<Run> {
        loop {
            if let Some((no, from)) = self.current {
                let chunk = self.chunk(no)?;
                // Only what is free from the cursor on, so that writes stay in order; the rest is found again
                // as a candidate when enough of it came together.
                let found = bit_runs(&chunk.busy, false, from).next();
                if let Some((start, len)) = found {
                    let len = len.min(want);
                    chunk.set_busy(start, len);
                    self.current = Some((no, start + len));
                    return Ok((BlockNo(no.0 * CHUNK_BLOCKS + start), len));
                }
            }
            let next = self.next_chunk()?;
            self.current = Some((next, 0));
        }
    }

    /// The next chunk to take blocks from.
    fn next_chunk(&mut self) -> Result<ChunkNo> {
        if let Some((no, _)) = self.current.take()
            && self.chunk(no)?.free() >= WORTHWHILE
        {
            self.queue(no)?;
        }
        // One look into the catalogue at a time: if it finds nothing, the file grows meanwhile.
        let mut looked = false;
        loop {
            while let Some(no) = self.candidates.pop_front() {
                let chunk = self.chunk(no)?;
                chunk.queued = false;
                if chunk.free() >= WORTHWHILE {
                    return Ok(no);
                }
            }
            let from = match self.scan {
                Some(from) if !looked => from,
                _ => break,
            };
            looked = true;
            let rows = self.catalog.snapshot()?.spare_from(from, SCAN_ROWS)?;
            self.scan = (rows.len() == SCAN_ROWS).then(|| ChunkNo(rows[SCAN_ROWS - 1].0.0 + 1));
            for (no, free) in rows {
                if u64::from(free) >= WORTHWHILE && no < self.end {
                    self.queue(no)?;
                }
            }
        }
        let no = self.end;
        self.end = ChunkNo(no.0 + 1);
        // Its row says that it is before the end, with all its blocks free.
        self.changed.insert(no);
        Ok(no)
    }

    fn queue(&mut self, no: ChunkNo) -> Result<()> {
        let chunk = self.chunk(no)?;
        if !chunk.queued {
            chunk.queued = true;
            self.candidates.push_back(no);
        }
        Ok(())
    }

    /// Reserved blocks are mapped from now on.
    pub fn publish(&mut self, run: Run) -> Result<()> {
        for (no, bit, len) in pieces(run) {
            let chunk = self.chunk(no)?;
            debug_assert!(all(&chunk.busy, bit, len, true) && all(&chunk.used, bit, len, false));
            set(&mut chunk.used, bit, len);
            chunk.used_count += len;
            self.changed.insert(no);
        }
        self.used_blocks += run.1;
        Ok(())
    }

    /// Reserved blocks are not needed after all.
    pub fn give_back(&mut self, run: Run) -> Result<()> {
        for (no, bit, len) in pieces(run) {
            self.chunk(no)?.clear_busy(bit, len);
            // A write may have put data there already.
            self.unpunched.set(no, Some(()));
        }
        Ok(())
    }

    /// Mapped blocks are mapped no longer.
    pub fn free(&mut self, run: Run) -> Result<()> {
        for (no, bit, len) in pieces(run) {
            if no >= self.end || bit < reserved(no) || !all(&self.chunk(no)?.used, bit, len, true) {
                return Err(Error::damaged(format!(
                    "blocks {} to {} are mapped, and the space account has them as free",
                    run.0.0,
                    run.0.0 + run.1 - 1
                )));
            }
            let chunk = self.chunk(no)?;
            clear(&mut chunk.used, bit, len);
            chunk.used_count -= len;
            chunk.held += len;
            self.changed.insert(no);
            self.unpunched.set(no, Some(()));
        }
        self.used_blocks -= run.1;
        self.held_blocks += run.1;
        match self.freed.last_mut() {
            Some((start, n)) if start.0 + *n == run.0.0 => *n += run.1,
            _ => self.freed.push(run),
        }
        Ok(())
    }

    /// Whether nothing waits for a capture.
    pub fn is_clean(&self) -> bool {
        self.changed.is_empty() && self.unpunched.is_clean()
    }

    /// Begin a commit: the rows that it is to write.
    #[allow(clippy::type_complexity)]
    pub fn capture(&mut self) -> Result<(Vec<(ChunkNo, ChunkChange)>, Vec<(ChunkNo, Option<()>)>)> {
        self.committing = std::mem::take(&mut self.changed);
        self.freed_committing = std::mem::take(&mut self.freed);
        let mut rows = Vec::with_capacity(self.committing.len());
        let end = self.end;
        for no in self.committing.clone() {
            let chunk = self.chunk(no)?;
            let spare = CHUNK_BLOCKS - reserved(no) - chunk.used_count;
            rows.push((
                no,
                ChunkChange {
                    used: (chunk.used_count > 0).then(|| Box::new(chunk.used)),
                    spare: (no < end && spare > 0).then_some(spare as u16),
                },
            ));
        }
        Ok((rows, self.unpunched.capture()))
    }

    /// The commit came to nothing: its rows wait for the next one, and what it freed waits for that to be durable.
    pub fn uncapture(&mut self) {
        self.changed.append(&mut self.committing);
        self.freed.append(&mut self.freed_committing);
        self.unpunched.uncapture();
    }

    /// The counters of the state row.
    pub fn counters(&self) -> (u64, ChunkNo) {
        (self.used_blocks, self.end)
    }

    /// The commit is durable: what it freed may be taken as soon as no one can be using it still.
    pub fn committed(&mut self, grace: &Grace) -> Result<()> {
        self.unpunched.committed();
        self.committing.clear();
        let freed = std::mem::take(&mut self.freed_committing);
        if !freed.is_empty() {
            self.waiting.push_back((grace.moment(), freed));
        }
        self.release(grace)?;
        if self.chunks.len() > CHUNKS_IN_MEMORY {
            let (changed, current) = (&self.changed, self.current);
            self.chunks.retain(|no, chunk| {
                chunk.queued
                    || chunk.busy_count != chunk.used_count + reserved(*no)
                    || changed.contains(no)
                    || current.is_some_and(|(c, _)| c == *no)
            });
        }
        Ok(())
    }

    /// Let go of freed blocks whose time has come. Whether some still wait.
    pub fn release(&mut self, grace: &Grace) -> Result<bool> {
        while let Some((moment, _)) = self.waiting.front() {
            if !grace.is_over(*moment) {
                return Ok(true);
            }
            let (_, runs) = self.waiting.pop_front().expect("just seen");
            for run in runs {
                for (no, bit, len) in pieces(run) {
                    let current = self.current;
                    let chunk = self.chunk(no)?;
                    chunk.clear_busy(bit, len);
                    chunk.held -= len;
                    if chunk.free() >= WORTHWHILE && current.is_none_or(|(c, _)| c != no) {
                        self.queue(no)?;
                    }
                }
                self.held_blocks -= run.1;
            }
        }
        Ok(!self.freed.is_empty() || !self.freed_committing.is_empty())
    }

    /// Freed blocks that must not be taken yet.
    pub fn held_blocks(&self) -> u64 {
        self.held_blocks
    }

    /// Chunks before the end.
    pub fn end(&self) -> ChunkNo {
        self.end
    }

    /// The first chunk from `from` on with space to give back.
    pub fn next_unpunched(&self, from: ChunkNo) -> Result<Option<ChunkNo>> {
        let snapshot = self.catalog.snapshot()?;
        let found = self.unpunched.merge(
            Bound::Included(from),
            1,
            |_| true,
            |from, limit| {
                let from = match from {
                    Bound::Included(no) => *no,
                    Bound::Excluded(no) => ChunkNo(no.0 + 1),
                    Bound::Unbounded => ChunkNo(0),
                };
                let rows = snapshot.unpunched_from(from, limit)?;
                Ok::<_, Error>(rows.into_iter().map(|no| (no, ())).collect())
            },
        )?;
        Ok(found.first().map(|(no, ())| *no))
    }

    /// Keep a chunk's free blocks from being taken while they are punched; which they are.
    pub fn begin_punch(&mut self, no: ChunkNo) -> Result<Vec<Run>> {
        let chunk = self.chunk(no)?;
        let free: Vec<(u64, u64)> = bit_runs(&chunk.busy, false, 0).collect();
        for &(bit, len) in &free {
            chunk.set_busy(bit, len);
        }
        let run = |(bit, len)| (BlockNo(no.0 * CHUNK_BLOCKS + bit), len);
        Ok(free.into_iter().map(run).collect())
    }

    /// They were punched, or (`done` is false) could not be. Returns whether the file may be cut at the new end.
    pub fn end_punch(&mut self, no: ChunkNo, runs: &[Run], done: bool) -> Result<bool> {
        let chunk = self.chunk(no)?;
        for &(start, len) in runs {
            chunk.clear_busy(place(start).1, len);
        }
        if !done {
            return Ok(false);
        }
        if chunk.held == 0 {
            self.unpunched.set(no, None);
        }
        self.cut_end()
    }

    /// Take empty chunks off the end.
    fn cut_end(&mut self) -> Result<bool> {
        let before = self.end;
        while self.end.0 > 0 {
            let last = ChunkNo(self.end.0 - 1);
            let chunk = self.chunk(last)?;
            if chunk.busy_count != reserved(last) || self.next_unpunched(last)?.is_some() {
                break;
            }
            self.end = last;
            self.changed.insert(last);
            if self.current.is_some_and(|(c, _)| c == last) {
                self.current = None;
            }
            let chunk = self.chunk(last)?;
            if chunk.queued {
                chunk.queued = false;
                self.candidates.retain(|c| *c != last);
            }
        }
        Ok(self.end != before)
    }

    /// Mark every chunk with free blocks as holding space to give back: after a crash, data that was written and
    /// never committed may lie there.
    pub fn mark_all_unpunched(&mut self) -> Result<()> {
        let mut from = ChunkNo(0);
        loop {
            let rows = self.catalog.snapshot()?.spare_from(from, 1024)?;
            for (no, _) in &rows {
                self.unpunched.set(*no, Some(()));
            }
            match rows.last() {
                Some((no, _)) => from = ChunkNo(no.0 + 1),
                None => return Ok(()),
            }
        }
    }
}

const _: () = assert!(CHUNK_WORDS as u64 * 64 == CHUNK_BLOCKS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Core;
    use crate::reserve::Reserve;
    use crate::storage::MemoryStorage;

    fn space() -> Space {
        let (blocks, catalog) = (MemoryStorage::new(), Arc::new(MemoryStorage::new()));
        Core::create(&blocks, catalog.clone(), [1; 16]).unwrap();
        let catalog = Arc::new(Catalog::open(catalog, Arc::new(Reserve::none()), 1 << 20).unwrap());
        let state = catalog.state().unwrap();
        Space::new(catalog, &state)
    }

    /// What a commit frees that came to nothing is neither given out nor forgotten before the next one is durable.
    #[test]
    fn uncaptured_blocks_stay_out_of_use() {
        let (mut space, grace) = (space(), Grace::default());
        let all = CHUNK_BLOCKS - 1;
        let run = space.reserve(all).unwrap();
        assert_eq!(run, (BlockNo(1), all));
        space.publish(run).unwrap();
        space.capture().unwrap();
        space.committed(&grace).unwrap();
        assert!(space.is_clean());
        space.free((BlockNo(1), 5000)).unwrap();
        space.capture().unwrap();
        space.free((BlockNo(5001), 1000)).unwrap();
        space.uncapture();
        assert!(!space.is_clean());
        // Nothing is to be released, by whatever else is durable by now.
        assert!(space.release(&grace).unwrap());
        assert_eq!(space.held_blocks(), 6000);
        assert!(space.begin_punch(ChunkNo(0)).unwrap().is_empty(), "none of them is free");
        let (chunks, unpunched) = space.capture().unwrap();
        let used: Vec<(u64, Option<u16>)> = chunks.iter().map(|(no, change)| (no.0, change.spare)).collect();
        assert_eq!(used, [(0, Some(6000))]);
        assert_eq!(unpunched, [(ChunkNo(0), Some(()))]);
        space.committed(&grace).unwrap();
        assert_eq!(space.held_blocks(), 0);
        assert_eq!(space.begin_punch(ChunkNo(0)).unwrap(), [(BlockNo(1), 6000)]);
    }
}
