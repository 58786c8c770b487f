//! A store on disk: its directory, its one owner, its background.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::check::check;
use crate::core::Core;
use crate::error::{Error, Kind, Result};
use crate::ids::VersionId;
use crate::meta::Work;
use crate::reclaim::Eager;
use crate::reserve::Reserve;
use crate::rows::VersionState;
use crate::snapshot::Counted;
use crate::storage::{FileStorage, Storage};

const BLOCKS: &str = "blocks";
const CATALOG: &str = "catalog";
const LOCK: &str = "lock";
const RESERVE: &str = "reserve";

/// After this long without being told of work the background looks by itself, and commits what was written.
const BACKGROUND_INTERVAL: Duration = Duration::from_secs(5);
/// How long the background lets work gather.
const BACKGROUND_PAUSE: Duration = Duration::from_millis(100);
/// Pages that the background looks at before it looks whether to stop.
const BACKGROUND_BUDGET: u64 = 4096;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bound of the page cache, in bytes.
    pub cache_bytes: u64,
    /// How long to wait for another owner to go.
    pub wait: Duration,
    /// What to tell whoever finds the store locked.
    pub owner: String,
    /// Whether a thread reclaims space and commits by itself.
    pub background: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 64 << 20, wait: Duration::ZERO, owner: String::new(), background: true }
    }
}

/// An open store.
pub struct Kernel {
    core: Arc<Core>,
    background: Mutex<Option<JoinHandle<()>>>,
    /// Held locked while the store is open.
    lock: Mutex<Option<File>>,
}

/// The store's space, and what it consists of.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpaceReport {
    /// Blocks that some version maps.
    pub used_blocks: u64,
    /// Blocks before the end of the blocks file that may be taken.
    pub free_blocks: u64,
    /// Freed blocks that may not be taken yet.
    pub pending_blocks: u64,
    /// Chunks with freed space that the file system does not have back yet.
    pub unpunched_chunks: u64,
    /// Version rows.
    pub versions: u64,
    /// Those that are hidden.
    pub hidden_versions: u64,
    /// Those that are being taken apart.
    pub dying_versions: u64,
    /// Tree pages.
    pub pages: u64,
    /// The package's keys.
    pub keys: u64,
    /// Bytes of keys and values in the catalogue.
    pub metadata_bytes: u64,
    /// Length of the catalogue file.
    pub catalog_bytes: u64,
    /// What the blocks file takes on its file system.
    pub blocks_file_bytes: u64,
    /// Clean pages in memory.
    pub cache_bytes: u64,
}

impl Kernel {
    /// Make an empty store in a new or empty directory.
    pub fn create(path: &Path) -> Result<()> {
        let io = |what: &str, e: &std::io::Error| Error::io(format_args!("{what} {}", path.display()), e);
        match fs::create_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(|e| io("making", &e))?,
        }
        let mut entries = fs::read_dir(path).map_err(|e| io("reading", &e))?;
        if entries.next().is_some() {
            let what = if path.join(CATALOG).exists() { "is a store already" } else { "is not empty" };
            return Err(Error::new(Kind::Exists, format!("{} {what}", path.display())));
        }
        let mut store_id = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut store_id))
            .map_err(|e| Error::io("drawing the store's id", &e))?;
        let blocks = FileStorage::open(&path.join(BLOCKS), true).map_err(|e| io("making", &e))?;
        let catalog = FileStorage::open(&path.join(CATALOG), true).map_err(|e| io("making", &e))?;
        File::create_new(path.join(LOCK)).map_err(|e| io("making", &e))?;
        Core::create(&blocks, Arc::new(catalog), store_id)?;
        // The names must last, too.
        File::open(path).and_then(|directory| directory.sync_all()).map_err(|e| io("syncing", &e))
    }

    /// Own and open the store in a directory.
    pub fn open(path: &Path, options: &Options) -> Result<Kernel> {
        if !path.join(CATALOG).exists() || !path.join(BLOCKS).exists() {
            let matter = if path.exists() { "holds no store" } else { "does not exist" };
            return Err(Error::new(Kind::Missing, format!("{} {matter}", path.display())));
        }
        let lock = own(path, options)?;
        let file = |name: &str| {
            FileStorage::open(&path.join(name), false)
                .map_err(|e| Error::io(format_args!("opening {}", path.join(name).display()), &e))
        };
        let (blocks, catalog) = (Arc::new(file(BLOCKS)?), Arc::new(file(CATALOG)?));
        // It holds nothing: whoever finds none makes it, and without one the store is the same.
        let kept = FileStorage::open(&path.join(RESERVE), false)
            .or_else(|_| FileStorage::open(&path.join(RESERVE), true))
            .map_or_else(|_| Reserve::none(), |file| Reserve::new(Arc::new(file)));
        let mut kernel = Kernel::open_files(blocks, catalog, kept, options)?;
        kernel.lock = Mutex::new(Some(lock));
        Ok(kernel)
    }

    /// Open a store in two storages; no one else may have them.
    pub fn open_storage(
        blocks: Arc<dyn Storage>,
        catalog: Arc<dyn Storage>,
        options: &Options,
    ) -> Result<Kernel> {
        Kernel::open_files(blocks, catalog, Reserve::none(), options)
    }

    /// The same, with room kept for the catalogue.
    pub fn open_files(
        blocks: Arc<dyn Storage>,
        catalog: Arc<dyn Storage>,
        reserve: Reserve,
        options: &Options,
    ) -> Result<Kernel> {
        let core = Arc::new(Core::open(blocks, catalog, reserve, options.cache_bytes)?);
        let background = if options.background {
            let core = core.clone();
            let thread = std::thread::Builder::new().name("cowshed".into());
            let handle = thread
                .spawn(move || background(&core))
                .map_err(|e| Error::io("starting the background thread", &e))?;
            Some(handle)
        } else {
            None
        };
        Ok(Kernel { core, background: Mutex::new(background), lock: Mutex::new(None) })
    }

    /// The parts of the open store.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Flush, and let the store go, be there space for the flush or not. Closing again does nothing, nor does closing
    /// what another process opened.
    pub fn close(&self) -> Result<()> {
        if !self.core.home.is_here() || self.core.closed.load(SeqCst) {
            return Ok(());
        }
        let rested = |()| match self.core.checkpoint() {
            // The log has it all.
            Err(error) if error.kind == Kind::NoSpace => Ok(()),
            other => other,
        };
        let flushed = match self.core.flush().and_then(rested) {
            // It said so when it failed; closing it is what is to be done about it.
            Err(error) if error.kind == Kind::Failed => Ok(()),
            other => other,
        };
        self.core.closed.store(true, SeqCst);
        self.core.wake();
        if let Some(thread) = self.background.lock().take() {
            // It catches nothing and panics nowhere; should it have, the store is closed all the same.
            let _ = thread.join();
        }
        let closed = self.core.catalog.close();
        if let Some(lock) = self.lock.lock().take() {
            // A fork that has it, too, must not keep it.
            let _ = lock.unlock();
        }
        flushed.and(closed)
    }

    /// The space account.
    pub fn space(&self) -> Result<SpaceReport> {
        let core = &self.core;
        core.check_open()?;
        let snapshot = core.catalog.snapshot()?;
        let state = snapshot.state()?;
        let mut report = SpaceReport {
            versions: snapshot.count(Counted::Versions)?,
            pages: snapshot.count(Counted::Pages)?,
            keys: snapshot.count(Counted::Keys)?,
            unpunched_chunks: snapshot.count(Counted::Unpunched)?,
            metadata_bytes: state.metadata_bytes,
            catalog_bytes: core.catalog.len_bytes()?,
            blocks_file_bytes: core
                .blocks
                .allocated()
                .map_err(|e| Error::io("measuring the blocks file", &e))?,
            cache_bytes: core.pages.clean_bytes(),
            ..SpaceReport::default()
        };
        drop(snapshot);
        let meta = core.meta.lock();
        let (used, end) = meta.space.counters();
        report.used_blocks = used;
        report.pending_blocks = meta.space.held_blocks();
        let all = end.0 * crate::rows::CHUNK_BLOCKS;
        report.free_blocks = all.saturating_sub(used + report.pending_blocks + u64::from(all > 0));
        for (work, count) in
            [(Work::Hidden, &mut report.hidden_versions), (Work::Dying, &mut report.dying_versions)]
        {
            let mut after = VersionId(0);
            loop {
                let some = meta.work(work, after, 1000)?;
                let Some(last) = some.last() else { break };
                after = *last;
                *count += some.len() as u64;
            }
        }
        Ok(report)
    }

    /// Verify the last committed state; all that is wrong, a sentence each.
    pub fn check(&self) -> Result<Vec<String>> {
        self.core.check_open()?;
        check(&*self.core.blocks, &self.core.catalog)
    }

    /// At most `limit` versions with ids behind `after` that are not being taken apart, with their rows.
    pub fn versions(
        &self,
        after: VersionId,
        limit: usize,
    ) -> Result<Vec<(VersionId, crate::rows::VersionRow)>> {
        let mut after = after;
        loop {
            let mut rows = self.core.meta()?.versions(after, limit)?;
            let Some((last, _)) = rows.last() else {
                return Ok(rows);
            };
            after = *last;
            rows.retain(|(_, row)| row.state != VersionState::Dying);
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if !self.core.home.is_here() {
            // Its parts end with the process: some of them would write what they know to the parent's files.
            std::mem::forget(self.core.clone());
            return;
        }
        // Who wants to know of an error closes it himself; what was flushed is safe either way.
        let _ = self.close();
    }
}

/// Lock the store, or say who has it.
fn own(path: &Path, options: &Options) -> Result<File> {
    let io = |e| Error::io(format_args!("locking {}", path.display()), &e);
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK))
        .map_err(io)?;
    let deadline = Instant::now() + options.wait;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(e)) => return Err(io(e)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10).min(options.wait));
            }
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = lock.read_to_string(&mut owner);
                let owner = if owner.trim().is_empty() { "another process" } else { owner.trim() };
                return Err(Error::new(Kind::Locked, format!("{} is in use by {owner}", path.display())));
            }
        }
    }
    let name = if options.owner.is_empty() { "cowshed" } else { &options.owner };
    lock.set_len(0)
        .and_then(|()| lock.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(lock, "{name} (pid {})", std::process::id()))
        .map_err(io)?;
    Ok(lock)
}

fn background(core: &Core) {
    let mut commits = core.commits();
    while core.check_usable().is_ok() {
        {
            let mut told = core.work.0.lock();
            if !*told {
                core.work.1.wait_for(&mut told, BACKGROUND_INTERVAL);
            }
            // More may be dropped right behind: it is cheaper together, and commits of others go first.
            let until = Instant::now() + BACKGROUND_PAUSE;
            while core.check_usable().is_ok() && !core.work.1.wait_until(&mut told, until).timed_out() {}
            *told = false;
        }
        // An error here stops the store where it must, and is told to the next caller. Where there is no space, all
        // is tried again, but not before the interval is over or there is work.
        while core.check_usable().is_ok()
            && core.reclaim(BACKGROUND_BUDGET, Eager::Background).is_ok_and(|n| n > 0)
        {}
        let quiet = core.commits() == commits;
        let _ = core.flush().and_then(|()| if quiet { core.checkpoint() } else { Ok(()) });
        commits = core.commits();
    }
}
