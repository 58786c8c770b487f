//! The one way in which anything becomes durable.
//!
//! The steps are numbered in docs/format.md, which says what a crash after each leaves.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;

use crate::changes::Batch;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::rows::StateRow;

/// Commits run one after the other; callers that wait at the same time share one.
#[derive(Default)]
pub struct Commits {
    /// Held from the capture to the end of a commit.
    running: Mutex<()>,
    /// Captures begun, and the number of the last one whose commit succeeded.
    begun: AtomicU64,
    done: AtomicU64,
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
}

impl Core {
    /// Return when all that was acknowledged before the call is durable.
    pub fn flush(&self) -> Result<()> {
        self.check_usable()?;
        let seen = self.commits.begun.load(SeqCst);
        let _running = self.commits.running.lock();
        if self.commits.done.load(SeqCst) > seen {
            return Ok(());
        }
        self.check_usable()?;
        self.commit().map_err(|error| self.fail(error))
    }

    fn commit(&self) -> Result<()> {
        let commits = &self.commits;
        // 1. Capture: a state of all metadata that belongs together.
        let number = commits.begun.fetch_add(1, SeqCst) + 1;
        let captured = self.capture()?;
        // 2. The data that it maps, of all images (rule 2).
        let written = commits.written.load(SeqCst);
        if commits.synced.load(SeqCst) < written {
            self.blocks.sync().map_err(|e| Error::io("syncing the blocks file", &e))?;
            commits.synced.store(written, SeqCst);
        }
        if let Some((batch, state)) = captured {
            // 3. The catalogue: its log, or its database.
            self.catalog.commit(&batch, state)?;
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
        let _running = self.commits.running.lock();
        self.check_usable()?;
        self.catalog.checkpoint().map_err(|error| self.fail(error))
    }

    /// How many commits there were.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.done.load(SeqCst)
    }

    /// Keep what waits for a commit within its bound. Called without locks.
    pub(crate) fn limit_dirty(&self) -> Result<()> {
        if self.pages.dirty_bytes() > self.dirty_limit {
            self.flush()?;
        }
        Ok(())
    }
}
