//! The catalogue: one redb database over a [`Storage`], and its tables.
//!
//! redb brings commit, recovery and page checksums. Each row is sealed besides (`rows`), because redb checks its
//! checksums only on request. Whatever redb answers to a damaged file, a panic included, comes out as an error.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use redb::{
    Builder, Database, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, StorageBackend, Table,
    TableDefinition, WriteTransaction,
};

use crate::error::{Error, Kind, Result};
use crate::ids::{ChunkNo, PageId, VersionId};
use crate::page::Page;
use crate::quiet;
use crate::rows::{Bitmap, StateRow, VersionRow, decode_chunk, encode_chunk, seal_key, unseal_key};
use crate::storage::Storage;

type Rows<K> = TableDefinition<'static, K, &'static [u8]>;
type Set<K> = TableDefinition<'static, K, ()>;

const STATE: Rows<u8> = Rows::new("state");
const PAGES: Rows<u64> = Rows::new("pages");
const VERSIONS: Rows<u64> = Rows::new("versions");
const CHILDREN: Set<(u64, u64)> = Set::new("children");
const WORK: Set<(u8, u64)> = Set::new("work");
const CHUNKS: Rows<u64> = Rows::new("chunks");
const SPARE: TableDefinition<u64, u16> = TableDefinition::new("spare");
const UNPUNCHED: Set<u64> = Set::new("unpunched");
const KEYS: Rows<&[u8]> = Rows::new("keys");

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

/// The tables as the last commit left them.
pub struct Snapshot {
    pub(crate) state: ReadOnlyTable<u8, &'static [u8]>,
    pub(crate) pages: ReadOnlyTable<u64, &'static [u8]>,
    pub(crate) versions: ReadOnlyTable<u64, &'static [u8]>,
    pub(crate) children: ReadOnlyTable<(u64, u64), ()>,
    pub(crate) work: ReadOnlyTable<(u8, u64), ()>,
    pub(crate) chunks: ReadOnlyTable<u64, &'static [u8]>,
    pub(crate) spare: ReadOnlyTable<u64, u16>,
    pub(crate) unpunched: ReadOnlyTable<u64, ()>,
    pub(crate) keys: ReadOnlyTable<&'static [u8], &'static [u8]>,
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
        })
    }

    /// The tables as of the last commit.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>> {
        self.snapshot.read().clone().ok_or_else(closed)
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

impl Snapshot {
    fn take(database: &Database) -> std::result::Result<Snapshot, redb::Error> {
        let txn = database.begin_read()?;
        Ok(Snapshot {
            state: txn.open_table(STATE)?,
            pages: txn.open_table(PAGES)?,
            versions: txn.open_table(VERSIONS)?,
            children: txn.open_table(CHILDREN)?,
            work: txn.open_table(WORK)?,
            chunks: txn.open_table(CHUNKS)?,
            spare: txn.open_table(SPARE)?,
            unpunched: txn.open_table(UNPUNCHED)?,
            keys: txn.open_table(KEYS)?,
        })
    }

    /// The state row.
    pub fn state(&self) -> Result<StateRow> {
        let row = shield("reading", || Ok(self.state.get(0)?.map(|row| row.value().to_vec())))?;
        StateRow::decode(&row.ok_or_else(|| Error::damaged("the catalogue has no state row"))?)
    }

    /// A page.
    pub fn page(&self, id: PageId) -> Result<Option<Page>> {
        match shield("reading", || Ok(self.pages.get(id.0)?))? {
            Some(row) => Page::decode(id, row.value()).map(Some),
            None => Ok(None),
        }
    }

    /// A version.
    pub fn version(&self, id: VersionId) -> Result<Option<VersionRow>> {
        match shield("reading", || Ok(self.versions.get(id.0)?))? {
            Some(row) => VersionRow::decode(id, row.value()).map(Some),
            None => Ok(None),
        }
    }

    /// At most `limit` versions with ids behind `after`.
    pub fn versions_after(&self, after: VersionId, limit: usize) -> Result<Vec<(VersionId, VersionRow)>> {
        shield("reading", || {
            let mut rows = Vec::new();
            for row in self.versions.range(after.0 + 1..)?.take(limit) {
                let (id, row) = row?;
                rows.push((VersionId(id.value()), row.value().to_vec()));
            }
            Ok(rows)
        })?
        .into_iter()
        .map(|(id, row)| Ok((id, VersionRow::decode(id, &row)?)))
        .collect()
    }

    /// At most `limit` children of a version with ids behind `after`.
    pub fn children_after(&self, of: VersionId, after: VersionId, limit: usize) -> Result<Vec<VersionId>> {
        shield("reading", || {
            let range = self.children.range((of.0, after.0 + 1)..=(of.0, u64::MAX))?;
            let mut found = Vec::new();
            for row in range.take(limit) {
                found.push(VersionId(row?.0.value().1));
            }
            Ok(found)
        })
    }

    /// At most `limit` versions with a kind of work, behind `after`.
    pub fn work_after(&self, kind: u8, after: VersionId, limit: usize) -> Result<Vec<VersionId>> {
        shield("reading", || {
            let range = self.work.range((kind, after.0 + 1)..=(kind, u64::MAX))?;
            let mut found = Vec::new();
            for row in range.take(limit) {
                found.push(VersionId(row?.0.value().1));
            }
            Ok(found)
        })
    }

    /// A chunk's blocks in use.
    pub fn chunk(&self, chunk: ChunkNo) -> Result<Bitmap> {
        match shield("reading", || Ok(self.chunks.get(chunk.0)?))? {
            Some(row) => decode_chunk(chunk.0, row.value()),
            None => Ok([0; crate::rows::CHUNK_WORDS]),
        }
    }

    /// At most `limit` chunks from `from` on that are not full, with their free blocks.
    pub fn spare_from(&self, from: ChunkNo, limit: usize) -> Result<Vec<(ChunkNo, u16)>> {
        shield("reading", || {
            let mut found = Vec::new();
            for row in self.spare.range(from.0..)?.take(limit) {
                let (chunk, free) = row?;
                found.push((ChunkNo(chunk.value()), free.value()));
            }
            Ok(found)
        })
    }

    /// At most `limit` chunks from `from` on with freed space to return.
    pub fn unpunched_from(&self, from: ChunkNo, limit: usize) -> Result<Vec<ChunkNo>> {
        shield("reading", || {
            let mut found = Vec::new();
            for row in self.unpunched.range(from.0..)?.take(limit) {
                found.push(ChunkNo(row?.0.value()));
            }
            Ok(found)
        })
    }

    /// A key of the package.
    pub fn key(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match shield("reading", || Ok(self.keys.get(key)?))? {
            Some(row) => Ok(Some(unseal_key(key, row.value())?.to_vec())),
            None => Ok(None),
        }
    }

    /// At most `limit` keys that start with `prefix`, from `from` on.
    pub fn keys_from(&self, prefix: &[u8], from: Bound<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        shield("reading", || {
            let mut found = Vec::new();
            for row in self.keys.range::<&[u8]>((from, Bound::Unbounded))?.take(limit) {
                let (key, value) = row?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(found)
        })?
        .into_iter()
        .map(|(key, row)| {
            let value = unseal_key(&key, &row)?.to_vec();
            Ok((key, value))
        })
        .collect()
    }

    /// Rows in a table, by name, for the space account.
    pub fn count(&self, table: Counted) -> Result<u64> {
        shield("reading", || {
            Ok(match table {
                Counted::Pages => self.pages.len()?,
                Counted::Versions => self.versions.len()?,
                Counted::Keys => self.keys.len()?,
                Counted::Unpunched => self.unpunched.len()?,
            })
        })
    }
}

/// What [`Snapshot::count`] counts.
#[derive(Clone, Copy, Debug)]
pub enum Counted {
    /// Tree pages.
    Pages,
    /// Versions.
    Versions,
    /// The package's keys.
    Keys,
    /// Chunks with freed space.
    Unpunched,
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
