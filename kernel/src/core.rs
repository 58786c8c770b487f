//! The open store's parts, and how they are reached.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::catalog::{Catalog, KeyValue};
use crate::commit::Commits;
use crate::error::{Error, Kind, Result};
use crate::grace::Grace;
use crate::ids::{BLOCK, BLOCK_SIZE, VersionId};
use crate::live::Live;
use crate::meta::Meta;
use crate::pace::Pace;
use crate::pages::Pages;
use crate::process::Home;
use crate::reserve::Reserve;
use crate::rows::{StateRow, VersionRow, VersionState, decode_header, encode_header};
use crate::space::{CHUNK_BYTES, Space};
use crate::storage::Storage;
use crate::tree::Edit;

/// An open store, without its files' lock and its background thread.
pub struct Core {
    pub(crate) blocks: Arc<dyn Storage>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) home: Home,
    pub(crate) pages: Pages,
    pub(crate) grace: Grace,
    pub(crate) meta: Mutex<Meta>,
    pub(crate) commits: Commits,
    pub(crate) next_page: AtomicU64,
    pub(crate) next_version: AtomicU64,
    /// Set once, by the first error that leaves memory and disk apart.
    failed: OnceLock<Error>,
    pub(crate) closed: AtomicBool,
    live: Mutex<HashMap<VersionId, Weak<Live>>>,
    /// One at a time takes trees apart and punches.
    pub(crate) reclaiming: Mutex<()>,
    pub(crate) pace: Pace,
    /// Told when there is work for the background.
    pub(crate) work: (Mutex<bool>, Condvar),
    /// Dirty pages beyond this many bytes make a writer commit.
    pub(crate) dirty_limit: u64,
}

impl Core {
    /// Write an empty store's files.
    pub fn create(blocks: &dyn Storage, catalog: Arc<dyn Storage>, store_id: [u8; 16]) -> Result<()> {
        let header = encode_header(&store_id);
        blocks
            .write_at(0, &header)
            .and_then(|()| blocks.sync())
            .map_err(|e| Error::io("making the blocks file", &e))?;
        let state = StateRow {
            store_id,
            next_page: 1,
            next_version: 1,
            used_blocks: 0,
            end_chunk: 0,
            metadata_bytes: 0,
            commits: 0,
        };
        Catalog::create(catalog, &state)
    }

    /// Open the files of a store; recovers from a crash.
    pub fn open(
        blocks: Arc<dyn Storage>,
        catalog: Arc<dyn Storage>,
        reserve: Reserve,
        cache_bytes: u64,
    ) -> Result<Core> {
        let reserve = Arc::new(reserve);
        // First of all, because the header says which format it all has.
        let mut header = vec![0; BLOCK];
        blocks.read_at(0, &mut header).map_err(|e| Error::io("reading the blocks file's header", &e))?;
        let store_id = decode_header(&header)?;
        let database_bytes = (cache_bytes / 4).max(1 << 20) as usize;
        let catalog = Arc::new(Catalog::open(catalog, reserve.clone(), database_bytes)?);
        let state = catalog.state()?;
        if store_id != state.store_id {
            return Err(Error::damaged("the blocks file and the catalogue belong to different stores"));
        }
        let mut space = Space::new(catalog.clone(), &state);
        cut_leftovers(&*blocks, &mut space, &state)?;
        let core = Core {
            home: Home::here(),
            pages: Pages::new(catalog.clone(), cache_bytes / 4 * 3),
            grace: Grace::default(),
            meta: Mutex::new(Meta::new(catalog.clone(), space)),
            commits: Commits::default(),
            next_page: AtomicU64::new(state.next_page),
            next_version: AtomicU64::new(state.next_version),
            failed: OnceLock::new(),
            closed: AtomicBool::new(false),
            live: Mutex::new(HashMap::new()),
            reclaiming: Mutex::new(()),
            pace: Pace::default(),
            work: (Mutex::new(true), Condvar::new()),
            dirty_limit: (cache_bytes / 2).max(1 << 20),
            blocks,
            catalog,
            reserve,
        };
        core.reserve.fit(state.used_blocks * BLOCK_SIZE);
        core.find_stale()?;
        Ok(core)
    }

    /// Which hidden versions have blocks of their own is not recorded: look at all of them once.
    fn find_stale(&self) -> Result<()> {
        let mut meta = self.meta.lock();
        let mut after = VersionId(0);
        loop {
            let some = meta.work(crate::meta::Work::Hidden, after, 1000)?;
            let Some(last) = some.last() else {
                return Ok(());
            };
            after = *last;
            meta.stale.extend(some.into_iter().map(|id| (id, 1)));
        }
    }

    /// The meta lock, unless the store failed.
    pub(crate) fn meta(&self) -> Result<MutexGuard<'_, Meta>> {
        self.check_usable()?;
        Ok(self.meta.lock())
    }

    /// What a change to trees needs.
    pub(crate) fn edit<'a>(&'a self, meta: &'a mut Meta) -> Edit<'a> {
        Edit {
            pages: &self.pages,
            space: &mut meta.space,
            next_page: &self.next_page,
            let_go: 0,
            halfway: false,
        }
    }

    /// Refuse what comes after closing, or in a fork.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.check_home()?;
        if self.closed.load(Acquire) {
            return Err(Error::new(Kind::Closed, "the store is closed"));
        }
        Ok(())
    }

    /// Refuse all of it in a fork.
    pub(crate) fn check_home(&self) -> Result<()> {
        self.home.check("the store")
    }

    /// Refuse what would build on a state that cannot become durable.
    pub(crate) fn check_usable(&self) -> Result<()> {
        self.check_open()?;
        match self.failed.get() {
            Some(cause) => {
                Err(Error::new(Kind::Failed, format!("the store stopped after an error, reopen it: {cause}")))
            }
            None => Ok(()),
        }
    }

    /// Memory and disk may differ now: commit nothing any more. What is durable stays, and reads go on.
    pub(crate) fn fail(&self, error: Error) -> Error {
        let _ = self.failed.set(error.clone());
        error
    }

    /// The same, but a file system that is full leaves memory and disk together.
    pub(crate) fn fail_unless_full(&self, error: Error) -> Error {
        if error.kind == Kind::NoSpace { error } else { self.fail(error) }
    }

    /// The shared state of a version that callers can name.
    pub(crate) fn live(&self, id: VersionId) -> Result<Arc<Live>> {
        let mut meta = self.meta.lock();
        self.live_locked(&mut meta, id)
    }

    /// The same, under the meta lock.
    pub(crate) fn live_locked(&self, meta: &mut Meta, id: VersionId) -> Result<Arc<Live>> {
        let row = meta.visible(id)?;
        let mut live = self.live.lock();
        if let Some(found) = live.get(&id).and_then(Weak::upgrade) {
            return Ok(found);
        }
        if live.len() >= 64 && live.len().is_power_of_two() {
            live.retain(|_, weak| weak.strong_count() > 0);
        }
        let new = Arc::new(Live::new(id, row, &self.pages));
        live.insert(id, Arc::downgrade(&new));
        Ok(new)
    }

    /// The shared state of a version if it is open.
    pub(crate) fn if_live(&self, id: VersionId) -> Option<Arc<Live>> {
        self.live.lock().get(&id).and_then(Weak::upgrade)
    }

    /// A version that callers can name, or a hidden one.
    pub fn version(&self, id: VersionId) -> Result<VersionRow> {
        self.check_open()?;
        match self.meta.lock().find(id)? {
            Some(row) if row.state != VersionState::Dying => Ok(row),
            _ => Err(Error::new(Kind::Missing, format!("there is no {id}"))),
        }
    }

    /// At most `limit` children of a version with ids behind `after`, ascending.
    pub fn children(&self, of: VersionId, after: VersionId, limit: usize) -> Result<Vec<VersionId>> {
        self.version(of)?;
        self.meta.lock().children(of, after, limit)
    }

    /// A key of the package.
    pub fn key(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.check_open()?;
        self.meta.lock().key(key)
    }

    /// At most `limit` keys that start with `prefix`, in byte order, behind `after`.
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        self.check_open()?;
        self.meta.lock().scan(prefix, after, limit)
    }

    /// Tell the background that there is work.
    pub(crate) fn wake(&self) {
        *self.work.0.lock() = true;
        self.work.1.notify_one();
    }
}

/// After a crash the blocks file may hold data that no commit knows: cut it off behind the end, and have it
/// punched elsewhere.
fn cut_leftovers(blocks: &dyn Storage, space: &mut Space, state: &StateRow) -> Result<()> {
    let io = |e| Error::io("measuring the blocks file", &e);
    let end = (state.end_chunk * CHUNK_BYTES).max(BLOCK as u64);
    if blocks.len().map_err(io)? > end {
        blocks.set_len(end).map_err(|e| Error::io("cutting the blocks file", &e))?;
    }
    let used = (state.used_blocks + 1) * BLOCK as u64;
    // A file system counts some blocks of its own in.
    let slack = (1 << 20) + used / 64;
    if blocks.allocated().map_err(io)? > used + slack
        && space.next_unpunched(crate::ids::ChunkNo(0))?.is_none()
    {
        space.mark_all_unpunched()?;
    }
    Ok(())
}
