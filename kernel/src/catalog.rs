//! The catalogue: one redb database over a [`Storage`], its tables, and the log before it.
//!
//! A commit is durable when the log has it; the database has it in memory, and takes it to its file with all others
//! when the log is full, or at rest. redb brings transactions, recovery and page checksums. Each row is sealed besides
//! (`rows`), because redb checks its checksums only on request. Whatever redb answers to a damaged file, a panic
//! included, comes out as an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use redb::{Builder, Database, Durability, StorageBackend, TableDefinition};

use crate::changes::{Batch, Changes, apply, parse};
use crate::error::{Error, Kind, Result};
use crate::log::{LOG_BYTES, Log};
use crate::quiet;
use crate::rows::StateRow;
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

/// A key of the package and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// The open catalogue.
pub struct Catalog {
    storage: Arc<dyn Storage>,
    /// `None` once closed.
    writer: Mutex<Option<Writer>>,
    /// Replaced by each commit; readers in between hold the one they began with.
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    closed: AtomicBool,
}

/// What commits need.
struct Writer {
    database: Database,
    log: Log,
}

/// The database's part of the file, behind the log.
#[derive(Debug)]
struct Backend(Arc<dyn Storage>);

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.len()?.saturating_sub(LOG_BYTES))
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(LOG_BYTES + offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(LOG_BYTES + len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_at(LOG_BYTES + offset, data)
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
        Log::create(&*storage)?;
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
        if storage.len().map_err(|e| Error::io("opening the catalogue", &e))? <= LOG_BYTES {
            return Err(Error::damaged("the catalogue is cut off"));
        }
        let (database, state) = shield("opening", || {
            let database = builder(cache_bytes).create_with_backend(Backend(storage.clone()))?;
            let state = Snapshot::take(&database)?.state();
            Ok((database, state))
        })?;
        let state = state?;
        let (log, records) = Log::recover(storage.clone(), state.store_id, state.commits)?;
        let changes = records.iter().map(|record| parse(record)).collect::<Result<Vec<_>>>()?;
        let snapshot = shield("recovering", || {
            if !changes.is_empty() {
                let mut txn = database.begin_write()?;
                for changes in &changes {
                    apply(&txn, changes)?;
                }
                txn.set_durability(Durability::None)?;
                txn.commit()?;
            }
            Snapshot::take(&database)
        })?;
        Ok(Catalog {
            storage,
            writer: Mutex::new(Some(Writer { database, log })),
            snapshot: RwLock::new(Some(Arc::new(snapshot))),
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
    /// `state.metadata_bytes` and `state.commits` are taken as of the last commit, and are brought up to date.
    pub fn commit(&self, batch: &Batch, mut state: StateRow) -> Result<()> {
        let mut writer = self.writer.lock();
        let Writer { database, log } = writer.as_mut().ok_or_else(closed)?;
        let mut changes = Changes::of(batch);
        let parsed = parse(changes.bytes())?;
        let (txn, grown) = shield("changing", || {
            let txn = database.begin_write()?;
            let grown = apply(&txn, &parsed)?;
            Ok((txn, grown))
        })?;
        state.metadata_bytes = state.metadata_bytes.wrapping_add_signed(grown);
        state.commits += 1;
        let own = changes.bytes().len();
        changes.add_state(&state);
        let logged = log.has_room(changes.bytes().len());
        if logged {
            // An error leaves the transaction to be aborted.
            log.append(state.commits, changes.bytes())?;
        }
        let snapshot = shield("committing to", || {
            let mut txn = txn;
            apply(&txn, &parse(&changes.bytes()[own..]).expect("written just now"))?;
            if logged {
                txn.set_durability(Durability::None)?;
            } else {
                txn.set_quick_repair(true);
            }
            txn.commit()?;
            Snapshot::take(database)
        })?;
        if !logged {
            log.restart();
        }
        *self.snapshot.write() = Some(Arc::new(snapshot));
        Ok(())
    }

    /// Take to the database's file what only the log has.
    pub fn checkpoint(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        let writer = writer.as_mut().ok_or_else(closed)?;
        if writer.log.is_empty() { Ok(()) } else { writer.checkpoint() }
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
        let mut writer = self.writer.lock();
        let writer = writer.as_mut().ok_or_else(closed)?;
        writer.checkpoint()?;
        let mut current = self.snapshot.write();
        release(current.take());
        let done = f(&mut writer.database);
        *current = Some(Arc::new(shield("reading", || Snapshot::take(&writer.database))?));
        // What redb commits in such work does not record what is free in its file.
        writer.checkpoint()?;
        Ok(done)
    }

    /// Let the file go. Everything asked for afterwards is refused.
    pub fn close(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        self.closed.store(true, Relaxed);
        release(self.snapshot.write().take());
        match writer.take() {
            Some(writer) => shield("closing", || {
                drop(writer);
                Ok(())
            }),
            None => Ok(()),
        }
    }
}

impl Writer {
    /// Commit to the database's file, with a record of what is free in it, so that opening after a crash need not
    /// walk it.
    fn checkpoint(&mut self) -> Result<()> {
        shield("committing to", || {
            let mut txn = self.database.begin_write()?;
            txn.set_quick_repair(true);
            Ok(txn.commit()?)
        })?;
        self.log.restart();
        Ok(())
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
