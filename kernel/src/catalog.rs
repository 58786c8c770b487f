//! The catalogue: one redb database over a [`Storage`], and its tables.
//!
//! redb brings commit, recovery and page checksums. Each row is sealed besides (`rows`), because redb checks its
//! checksums only on request. Whatever redb answers to a damaged file, a panic included, comes out as an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use redb::{Builder, Database, StorageBackend, Table, TableDefinition, WriteTransaction};

use crate::error::{Error, Kind, Result};
use crate::ids::{ChunkNo, PageId, VersionId};
use crate::page::Page;
use crate::quiet;
use crate::rows::{Bitmap, StateRow, VersionRow, encode_chunk, seal_key};
use crate::snapshot::Snapshot;
use crate::storage::Storage;

pub(crate) type Rows<K> = TableDefinition<'static, K, &'static [u8]>;
pub(crate) type Set<K> = TableDefinition<'static, K, ()>;

pub(crate) const STATE: Rows<u8> = Rows::new("state");
pub(crate) const PAGES: Rows<u64> = Rows::new("pages");
pub(crate) const VERSIONS: Rows<u64> = Rows::new("versions");
pub(crate) const CHILDREN: Set<(u64, u64)> = Set::new("children");
pub(crate) const WORK: Set<(u8, u64)> = Set::new("work");
pub(crate) const CHUNKS: Rows<u64> = Rows::new("chunks");
pub(crate) const SPARE: TableDefinition<u64, u16> = TableDefinition::new("spare");
pub(crate) const UNPUNCHED: Set<u64> = Set::new("unpunched");
pub(crate) const KEYS: Rows<&[u8]> = Rows::new("keys");

/// From this length on, every commit records redb's allocator state, which costs it a second sync. Without the
/// record opening after a crash walks the file, about a second for this many bytes; so in a smaller file only
/// [`Catalog::checkpoint`] records it, and closing.
const RECORD_ALWAYS_BYTES: u64 = 512 << 20;

/// A key of the package and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// What a commit changes; `None` deletes. Each key at most once.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) pages: Vec<(PageId, Option<Arc<Page>>)>,
    pub(crate) versions: Vec<(VersionId, Option<VersionRow>)>,
    pub(crate) children: Vec<((VersionId, VersionId), Option<()>)>,
    pub(crate) work: Vec<((u8, VersionId), Option<()>)>,
    pub(crate) chunks: Vec<(ChunkNo, ChunkChange)>,
    pub(crate) unpunched: Vec<(ChunkNo, Option<()>)>,
    pub(crate) keys: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A chunk's rows after a commit.
#[derive(Debug)]
pub struct ChunkChange {
    /// The bitmap's row, if any block is in use.
    pub(crate) used: Option<Box<Bitmap>>,
    /// The count of free blocks, if the chunk is before the end and not full.
    pub(crate) spare: Option<u16>,
}

/// The open catalogue.
pub struct Catalog {
    storage: Arc<dyn Storage>,
    /// `None` once closed.
    database: Mutex<Option<Database>>,
    /// Replaced by each commit; readers in between hold the one they began with.
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    /// Whether the last commit recorded redb's allocator state.
    recorded: AtomicBool,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Backend(Arc<dyn Storage>);

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, data)
    }
}

/// Run redb's code; an error or a panic of its becomes ours.
pub(crate) fn shield<T>(what: &str, f: impl FnOnce() -> std::result::Result<T, redb::Error>) -> Result<T> {
    match quiet::during(|| catch_unwind(AssertUnwindSafe(f))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(redb::Error::Io(error))) => Err(Error::io(format!("{what} the catalogue"), &error)),
        // redb does nothing more after an error of the file's.
        Ok(Err(error @ redb::Error::PreviousIo)) => {
            Err(Error::new(Kind::Failed, format!("{what} the catalogue: {error}")))
        }
        Ok(Err(error)) => Err(Error::damaged(format!("{what} the catalogue: {error}"))),
        Err(_) => Err(Error::damaged(format!("{what} the catalogue: its structure is broken"))),
    }
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder
}

impl Catalog {
    /// Make the tables of an empty store.
    pub fn create(storage: Arc<dyn Storage>, state: &StateRow) -> Result<()> {
        shield("making", || {
            let database = builder(1 << 20).create_with_backend(Backend(storage))?;
            let txn = database.begin_write()?;
            txn.open_table(PAGES)?;
            txn.open_table(VERSIONS)?;
            txn.open_table(CHILDREN)?;
            txn.open_table(WORK)?;
            txn.open_table(CHUNKS)?;
            txn.open_table(SPARE)?;
            txn.open_table(UNPUNCHED)?;
            txn.open_table(KEYS)?;
            txn.open_table(STATE)?.insert(0, &state.encode()[..])?;
            txn.commit()?;
            Ok(())
        })
    }

    /// Open; recovers from a crash.
    pub fn open(storage: Arc<dyn Storage>, cache_bytes: usize) -> Result<Catalog> {
        if storage.len().map_err(|e| Error::io("opening the catalogue", &e))? == 0 {
            return Err(Error::damaged("the catalogue is empty"));
        }
        let (database, snapshot) = shield("opening", || {
            let database = builder(cache_bytes).create_with_backend(Backend(storage.clone()))?;
            let snapshot = Snapshot::take(&database)?;
            Ok((database, snapshot))
        })?;
        Ok(Catalog {
            storage,
            database: Mutex::new(Some(database)),
            snapshot: RwLock::new(Some(Arc::new(snapshot))),
            recorded: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// The tables as of the last commit.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>> {
        match &*self.snapshot.read() {
            Some(snapshot) => Ok(snapshot.clone()),
            None if self.closed.load(Relaxed) => Err(closed()),
            None => {
                Err(Error::new(Kind::Failed, "the catalogue could not be read any more: reopen the store"))
            }
        }
    }

    /// The state row.
    pub fn state(&self) -> Result<StateRow> {
        self.snapshot()?.state()
    }

    /// Length of the file.
    pub fn len_bytes(&self) -> Result<u64> {
        self.storage.len().map_err(|e| Error::io("measuring the catalogue", &e))
    }

    /// Make a batch durable: all of it or, after an error, possibly none.
    ///
    /// `state.metadata_bytes` is taken as of the last commit, and is brought up to date; the new row is returned.
    pub fn commit(&self, batch: &Batch, mut state: StateRow) -> Result<StateRow> {
        let mut database = self.database.lock();
        let database = database.as_mut().ok_or_else(closed)?;
        let record = self.len_bytes()? > RECORD_ALWAYS_BYTES;
        let snapshot = shield("committing to", || {
            let mut txn = database.begin_write()?;
            txn.set_quick_repair(record);
            let delta = apply(&txn, batch)?;
            state.metadata_bytes = state.metadata_bytes.wrapping_add_signed(delta);
            txn.open_table(STATE)?.insert(0, &state.encode()[..])?;
            txn.commit()?;
            Snapshot::take(database)
        });
        match snapshot {
            Ok(snapshot) => {
                *self.snapshot.write() = Some(Arc::new(snapshot));
                self.recorded.store(record, Relaxed);
                Ok(state)
            }
            Err(error) => Err(error),
        }
    }

    /// Record redb's allocator state, unless the last commit did: opening after a crash takes milliseconds then.
    pub fn checkpoint(&self) -> Result<()> {
        let mut database = self.database.lock();
        let database = database.as_mut().ok_or_else(closed)?;
        if self.recorded.load(Relaxed) {
            return Ok(());
        }
        shield("committing to", || {
            let mut txn = database.begin_write()?;
            txn.set_quick_repair(true);
            Ok(txn.commit()?)
        })?;
        self.recorded.store(true, Relaxed);
        Ok(())
    }

    /// Have redb verify every page checksum; what it says when they do not hold.
    ///
    /// Readers of the catalogue wait meanwhile.
    pub fn verify_checksums(&self) -> Result<Option<String>> {
        let verified = self.alone(|database| shield("verifying", || Ok(database.check_integrity()?)))?;
        Ok(match verified {
            Ok(true) => None,
            Ok(false) => Some("the catalogue's own account of its pages was wrong (redb repaired it)".into()),
            Err(error) => Some(error.to_string()),
        })
    }

    /// Move the file's pages together and cut off what is free behind them. Readers wait meanwhile.
    pub fn compact(&self) -> Result<()> {
        self.alone(|database| shield("compacting", || Ok(database.compact()?)))?.map(|_| ())
    }

    /// Do what redb does only while no one reads.
    fn alone<T>(&self, f: impl FnOnce(&mut Database) -> T) -> Result<T> {
        let mut database = self.database.lock();
        let database = database.as_mut().ok_or_else(closed)?;
        let mut current = self.snapshot.write();
        release(current.take());
        let done = f(database);
        *current = Some(Arc::new(shield("reading", || Snapshot::take(database))?));
        Ok(done)
    }

    /// Let the file go. Everything asked for afterwards is refused.
    pub fn close(&self) -> Result<()> {
        let mut database = self.database.lock();
        self.closed.store(true, Relaxed);
        release(self.snapshot.write().take());
        match database.take() {
            Some(database) => shield("closing", || {
                drop(database);
                Ok(())
            }),
            None => Ok(()),
        }
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        // Within the shield; who wants to know of an error closes it himself.
        let _ = self.close();
    }
}

fn closed() -> Error {
    Error::new(Kind::Closed, "the store is closed")
}

/// Wait for the last reader of a snapshot; each is short.
fn release(snapshot: Option<Arc<Snapshot>>) {
    let mut snapshot = snapshot;
    while let Some(held) = snapshot.take() {
        match Arc::try_unwrap(held) {
            Ok(last) => drop(last),
            Err(held) => {
                snapshot = Some(held);
                std::thread::yield_now();
            }
        }
    }
}

fn apply(txn: &WriteTransaction, batch: &Batch) -> std::result::Result<i64, redb::Error> {
    let mut delta = 0;
    if !batch.pages.is_empty() {
        let mut table = txn.open_table(PAGES)?;
        for (id, page) in &batch.pages {
            let row = page.as_ref().map(|page| page.encode());
            delta += put_row(&mut table, id.0, 8, row.as_deref())?;
        }
    }
    if !batch.versions.is_empty() {
        let mut table = txn.open_table(VERSIONS)?;
        for (id, version) in &batch.versions {
            let row = version.map(|version| version.encode(*id));
            delta += put_row(&mut table, id.0, 8, row.as_deref())?;
        }
    }
    if !batch.children.is_empty() {
        let mut table = txn.open_table(CHILDREN)?;
        for ((parent, child), edge) in &batch.children {
            delta += put_member(&mut table, (parent.0, child.0), 16, edge.is_some())?;
        }
    }
    if !batch.work.is_empty() {
        let mut table = txn.open_table(WORK)?;
        for ((kind, version), there) in &batch.work {
            delta += put_member(&mut table, (*kind, version.0), 9, there.is_some())?;
        }
    }
    if !batch.chunks.is_empty() {
        let mut chunks = txn.open_table(CHUNKS)?;
        let mut spare = txn.open_table(SPARE)?;
        for (chunk, change) in &batch.chunks {
            let row = change.used.as_ref().map(|used| encode_chunk(chunk.0, used));
            delta += put_row(&mut chunks, chunk.0, 8, row.as_deref())?;
            let old = match change.spare {
                Some(free) => spare.insert(chunk.0, free)?.is_some(),
                None => spare.remove(chunk.0)?.is_some(),
            };
            delta += 10 * (i64::from(change.spare.is_some()) - i64::from(old));
        }
    }
    if !batch.unpunched.is_empty() {
        let mut table = txn.open_table(UNPUNCHED)?;
        for (chunk, there) in &batch.unpunched {
            delta += put_member(&mut table, chunk.0, 8, there.is_some())?;
        }
    }
    if !batch.keys.is_empty() {
        let mut table = txn.open_table(KEYS)?;
        for (key, value) in &batch.keys {
            let row = value.as_ref().map(|value| seal_key(key, value));
            delta += put_row(&mut table, &key[..], key.len(), row.as_deref())?;
        }
    }
    Ok(delta)
}

/// Store or delete a row; by how many bytes the table's keys and values grew.
fn put_row<'k, K: redb::Key + 'static>(
    table: &mut Table<K, &'static [u8]>,
    key: K::SelfType<'k>,
    key_len: usize,
    row: Option<&[u8]>,
) -> std::result::Result<i64, redb::Error> {
    let old = match row {
        Some(row) => table.insert(key, row)?,
        None => table.remove(key)?,
    };
    let bytes = |len: usize| (key_len + len) as i64;
    Ok(row.map_or(0, |row| bytes(row.len())) - old.map_or(0, |old| bytes(old.value().len())))
}

/// The same for a table that is a set.
fn put_member<'k, K: redb::Key + 'static>(
    table: &mut Table<K, ()>,
    key: K::SelfType<'k>,
    key_len: usize,
    there: bool,
) -> std::result::Result<i64, redb::Error> {
    let old = if there { table.insert(key, ())?.is_some() } else { table.remove(key)?.is_some() };
    Ok(key_len as i64 * (i64::from(there) - i64::from(old)))
}
