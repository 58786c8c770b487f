//! The one way in which anything becomes durable.
//!
//! The steps are numbered in docs/format.md, which says what a crash after each leaves.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;

use crate::changes::Batch;
use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::BLOCK_SIZE;
use crate::rows::StateRow;

/// What an operation may change beside the keys that it sets, with what others change at the same time.
const ROOM: usize = 64 << 10;

/// Commits run one after the other; callers that wait at the same time share one.
#[derive(Default)]
pub struct Commits {
    /// Held from the capture to the end of a commit.
    running: Mutex<()>,
    /// Captures begun, and the number of the last one whose commit succeeded.
    begun: AtomicU64,
    done: AtomicU64,
    /// The last capture if there was no space to commit it, and the error.
    refused: Mutex<Option<(u64, Error)>>,
    /// Whether there was no space for the last commit, or not for all that comes with it.
    tight: AtomicBool,
    /// Writes to the blocks file that returned, and how many of them were synced.
    written: AtomicU64,
    synced: AtomicU64,
    /// One more than the last commit when compacting the catalogue was considered; zero before the first time.
    compacted: AtomicU64,
}

impl Commits {
    /// Whether anything was committed since this was last asked, or it never was.
    pub(crate) fn first_compaction(&self) -> bool {
        let next = self.done.load(SeqCst) + 1;
        self.compacted.swap(next, SeqCst) != next
    }

    /// A write to the blocks file returned.
    pub(crate) fn note_write(&self) {
        self.written.fetch_add(1, SeqCst);
    }

    /// How many there were.
    pub(crate) fn writes(&self) -> u64 {
        self.written.load(SeqCst)
    }
}

impl Core {
    /// Return when all that was acknowledged before the call is durable. If there is no space for it, all of it waits
    /// for the next flush, and the store goes on; any other error stops it.
    pub fn flush(&self) -> Result<()> {
        self.check_usable()?;
        let seen = self.commits.begun.load(SeqCst);
        let _running = self.commits.running.lock();
        if self.commits.done.load(SeqCst) > seen {
            return Ok(());
        }
        if let Some((number, error)) = &*self.commits.refused.lock()
            && *number > seen
        {
            return Err(error.clone());
        }
        self.check_usable()?;
        self.commit().map_err(|error| self.fail_unless_full(error))
    }

    fn commit(&self) -> Result<()> {
        let commits = &self.commits;
        // 1. Capture: a state of all metadata that belongs together.
        let number = commits.begun.fetch_add(1, SeqCst) + 1;
        let captured = self.capture()?;
        // 2. The data that it maps, of all images (rule 2).
        let written = commits.written.load(SeqCst);
        if commits.synced.load(SeqCst) < written {
            self.blocks.sync().map_err(|e| Error::sync("syncing the blocks file", &e))?;
            commits.synced.store(written, SeqCst);
        }
        if let Some((batch, state)) = captured {
            // 3. The catalogue: its log, or its database.
            let committed = self.catalog.commit(&batch, state);
            commits.tight.store(committed.is_err() || self.catalog.is_detached(), SeqCst);
            if let Err(error) = committed {
                if error.kind == Kind::NoSpace {
                    let mut meta = self.meta.lock();
                    meta.uncapture();
                    self.pages.uncapture(batch.pages);
                    *commits.refused.lock() = Some((number, error.clone()));
                }
                return Err(error);
            }
            // 4. What it freed may be reused (rule 1), when no one uses it still (rule 6).
            let mut meta = self.meta.lock();
            meta.committed();
            meta.space.committed(&self.grace)?;
            self.pages.committed(batch.pages);
        }
        commits.done.store(number, SeqCst);
        Ok(())
    }

    /// What has changed since the last capture; nothing, if nothing has.
    fn capture(&self) -> Result<Option<(Batch, StateRow)>> {
        let mut meta = self.meta.lock();
        // A change that failed half way may have been made under the lock just now.
        self.check_usable()?;
        if meta.is_clean() && self.pages.is_clean() {
            return Ok(None);
        }
        let (chunks, unpunched) = meta.space.capture()?;
        let (versions, children, work, keys) = meta.capture();
        let pages = self.pages.capture();
        let (used_blocks, end) = meta.space.counters();
        let before = self.catalog.state()?;
        let state = StateRow {
            next_page: self.next_page.load(SeqCst),
            next_version: self.next_version.load(SeqCst),
            used_blocks,
            end_chunk: end.0,
            ..before
        };
        let batch = Batch { pages, versions, children, work, chunks, unpunched, keys };
        Ok(Some((batch, state)))
    }

    /// Have the catalogue's database take over what its log has, so that a crash leaves nothing to recover.
    pub fn checkpoint(&self) -> Result<()> {
        self.check_usable()?;
        let _running = self.commits.running.lock();
        self.check_usable()?;
        let (used_blocks, _) = self.meta.lock().space.counters();
        self.reserve.fit(used_blocks * BLOCK_SIZE);
        let done = self.catalog.checkpoint();
        self.commits.tight.store(self.catalog.is_detached(), SeqCst);
        done.map_err(|error| self.fail_unless_full(error))
    }

    /// Where space is short: see to it that a commit of `bytes` more has room in the log, or refuse what would need
    /// it before it is applied. Called without locks.
    pub(crate) fn find_room(&self, bytes: usize) -> Result<()> {
        if !self.commits.tight.load(SeqCst) && !self.reserve.is_short() {
            return Ok(());
        }
        self.reserve.fill();
        self.flush()?;
        let logged = self.catalog.has_room(bytes + ROOM);
        if logged && !self.catalog.is_detached() {
            return Ok(());
        }
        match self.checkpoint() {
            Err(error) if error.kind == Kind::NoSpace && logged => Ok(()),
            other => other,
        }
    }

    /// Refuse what takes new blocks while the catalogue has not what is kept for it: what is freed goes there first.
    pub(crate) fn find_blocks(&self) -> Result<()> {
        if self.reserve.is_short() && !self.reserve.fill() {
            let why = "the file system is full: what is left of it is kept for removing things";
            return Err(Error::new(Kind::NoSpace, why));
        }
        Ok(())
    }

    /// How many commits there were.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.done.load(SeqCst)
    }

    /// Keep what waits for a commit within its bound: asked before a change, so that one that there is no space for is
    /// refused before it is made. Called without locks.
    pub(crate) fn limit_dirty(&self) -> Result<()> {
        if self.pages.dirty_bytes() > self.dirty_limit {
            self.flush()?;
        }
        Ok(())
    }
}
