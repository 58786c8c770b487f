//! The catalogue: one redb database over a [`Storage`], its tables, and the log before it.
//!
//! A commit is durable when the log has it; the database has it in memory, and takes it to its file with all others
//! when the log is full, or at rest. Where the file system has no space for that, the database goes on in memory
//! (`backend`) as long as the log has room, and is opened anew when it is tried again. redb brings transactions, recovery and page checksums. Each row is sealed besides
//! (`rows`), because redb checks its checksums only on request. Whatever redb answers to a damaged file, a panic
//! included, comes out as an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redb::{Builder, Database, Durability, TableDefinition};

use crate::backend::Backend;
use crate::changes::{Batch, Changes, apply, parse};
use crate::error::{Error, Kind, Result};
use crate::log::{LOG_BYTES, Log};
use crate::quiet;
use crate::reserve::Reserve;
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

/// How long the database's readers are waited for before it is opened anew; each but a verifier is short.
const PATIENCE: Duration = Duration::from_millis(100);

/// A key of the package and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// The open catalogue.
pub struct Catalog {
    storage: Arc<dyn Storage>,
    reserve: Arc<Reserve>,
    cache_bytes: usize,
    /// `None` once closed.
    writer: Mutex<Option<Writer>>,
    /// Replaced by each commit; readers in between hold the one they began with.
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    closed: AtomicBool,
}

/// What commits need.
struct Writer {
    opened: Opened,
    log: Log,
    /// The database, being detached, has a commit that neither its file nor the log has, or its file has more than the
    /// log follows on: it serves readers, and nothing is to be built on it.
    ahead: bool,
}

/// The open database.
struct Opened {
    database: Database,
    backend: Backend,
    /// Held by each snapshot.
    readers: Arc<()>,
    /// As it was found.
    state: StateRow,
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
            let backend = Backend::new(storage, Arc::new(Reserve::none()))?;
            let database = builder(1 << 20).create_with_backend(backend.clone())?;
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
            drop(database);
            Ok(backend.is_detached())
        })
        .and_then(|full| if full { Err(no_space("the catalogue could not be made")) } else { Ok(()) })
    }

    /// Open; recovers from a crash.
    pub fn open(storage: Arc<dyn Storage>, reserve: Arc<Reserve>, cache_bytes: usize) -> Result<Catalog> {
        if storage.len().map_err(|e| Error::io("opening the catalogue", &e))? <= LOG_BYTES {
            return Err(Error::damaged("the catalogue is cut off"));
        }
        let opened = Opened::new(&storage, &reserve, cache_bytes)?;
        let (id, last) = (opened.state.store_id, opened.state.commits);
        let (log, records) = Log::recover(storage.clone(), reserve.clone(), id, last)?;
        if !records.is_empty() {
            opened.recover(&records, false)?;
        }
        Ok(Catalog {
            snapshot: RwLock::new(Some(opened.snapshot()?)),
            writer: Mutex::new(Some(Writer { opened, log, ahead: false })),
            storage,
            reserve,
            cache_bytes,
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

    /// Make a batch durable: all of it or, after an error, possibly none. If there is no space for it, it is as if it
    /// had not been tried; only a crash may bring it to light.
    ///
    /// `state.metadata_bytes` and `state.commits` are taken as of the last commit, and are brought up to date.
    pub fn commit(&self, batch: &Batch, mut state: StateRow) -> Result<()> {
        let mut writer = self.writer.lock();
        let writer = writer.as_mut().ok_or_else(closed)?;
        let mut changes = Changes::of(batch);
        let own = changes.bytes().len();
        self.make_ready(writer, own)?;
        let Writer { opened, log, ahead } = writer;
        let parsed = parse(changes.bytes())?;
        let (txn, grown) = shield("changing", || {
            let txn = opened.database.begin_write()?;
            let grown = apply(&txn, &parsed)?;
            Ok((txn, grown))
        })?;
        state.metadata_bytes = state.metadata_bytes.wrapping_add_signed(grown);
        state.commits += 1;
        changes.add_state(&state);
        let logged = log.has_room(changes.bytes().len());
        if logged {
            // An error leaves the transaction to be aborted.
            log.append(state.commits, changes.bytes())?;
        }
        let commit = || {
            shield("committing to", || {
                let mut txn = txn;
                apply(&txn, &parse(&changes.bytes()[own..]).expect("written just now"))?;
                if logged {
                    txn.set_durability(Durability::None)?;
                } else {
                    txn.set_quick_repair(true);
                }
                Ok(txn.commit()?)
            })
        };
        if logged {
            commit()?;
        } else if opened.backend.commits(commit)? {
            log.restart();
        } else {
            *ahead = true;
            return Err(no_space("committing to the catalogue"));
        }
        let snapshot = opened.snapshot()?;
        *self.snapshot.write() = Some(snapshot);
        Ok(())
    }

    /// Before so many bytes of changes are committed: if they need the database's file, or the database cannot be
    /// built on, it is not to be a detached one.
    fn make_ready(&self, writer: &mut Writer, changes: usize) -> Result<()> {
        let backend = &writer.opened.backend;
        if !backend.is_detached() {
            return Ok(());
        }
        let io = |e| Error::io("writing the catalogue", &e);
        let logged = writer.log.has_room(changes + Changes::STATE_BYTES);
        if logged && !writer.ahead && backend.is_whole().map_err(io)? {
            return Ok(());
        }
        match self.reopen(writer) {
            // What was built on nothing durable is gone at least, and the log may serve.
            Err(error) if error.kind == Kind::NoSpace => {
                let serves = logged && !writer.ahead && writer.opened.backend.is_whole().map_err(io)?;
                if serves { Ok(()) } else { Err(error) }
            }
            other => other,
        }
    }

    /// Open the database anew, with what the log has, and have its file take that over. If there is no space for
    /// it, the new one serves as well as the old one did.
    fn reopen(&self, writer: &mut Writer) -> Result<()> {
        let mut current = self.snapshot.write();
        let Some(snapshot) = &mut *current else {
            return Err(Error::new(
                Kind::Failed,
                "the catalogue could not be read any more: reopen the store",
            ));
        };
        // Pages that the old one reads are written over once the new one is durable.
        let until = Instant::now() + PATIENCE;
        while Arc::get_mut(snapshot).is_none() || Arc::strong_count(&writer.opened.readers) > 2 {
            if Instant::now() > until {
                return Err(no_space("the catalogue is being read, and waits for that to end"));
            }
            std::thread::yield_now();
        }
        let opened = Opened::new(&self.storage, &self.reserve, self.cache_bytes)?;
        let records = writer.log.since(opened.state.commits)?;
        let through = opened.backend.commits(|| opened.recover(&records, true))?;
        *current = Some(opened.snapshot()?);
        let old = std::mem::replace(&mut writer.opened, opened);
        // Its file may turn out to have what was not known to be durable: nothing goes to the log behind that.
        writer.ahead = !through && !writer.log.follows(writer.opened.state.commits)?;
        old.backend.replace();
        shield("closing", || {
            drop(old);
            Ok(())
        })?;
        if !through {
            return Err(no_space("writing the catalogue"));
        }
        writer.log.restart();
        Ok(())
    }

    /// Whether the database's file waits for space.
    pub fn is_detached(&self) -> bool {
        self.writer.lock().as_ref().is_some_and(|writer| writer.opened.backend.is_detached())
    }

    /// Whether the log has room for so many bytes of changes.
    pub fn has_room(&self, changes: usize) -> bool {
        self.writer.lock().as_ref().is_some_and(|writer| writer.log.has_room(changes + Changes::STATE_BYTES))
    }

    /// Take to the database's file what only the log has.
    pub fn checkpoint(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        self.checkpoint_by(writer.as_mut().ok_or_else(closed)?)
    }

    fn checkpoint_by(&self, writer: &mut Writer) -> Result<()> {
        if writer.opened.backend.is_detached() {
            self.reopen(writer)
        } else if writer.log.is_empty() {
            Ok(())
        } else {
            writer.checkpoint()
        }
    }

    /// Have redb verify every page checksum; what it says when they do not hold.
    ///
    /// Readers of the catalogue wait meanwhile.
    pub fn verify_checksums(&self) -> Result<Option<String>> {
        let verified = self.alone(|opened| {
            // redb verifies what it takes to be durable.
            if opened.backend.is_detached() {
                opened.commit_all()?;
            }
            shield("verifying", || Ok(opened.database.check_integrity()?))
        })?;
        Ok(match verified {
            Ok(true) => None,
            Ok(false) => Some("the catalogue's own account of its pages was wrong (redb repaired it)".into()),
            Err(error) => Some(error.to_string()),
        })
    }

    /// Move the file's pages together and cut off what is free behind them. Readers wait meanwhile.
    pub fn compact(&self) -> Result<()> {
        self.checkpoint()?;
        self.alone(|opened| shield("compacting", || Ok(opened.database.compact()?)))?.map(|_| ())
    }

    /// Do what redb does only while no one reads.
    fn alone<T>(&self, f: impl FnOnce(&mut Opened) -> T) -> Result<T> {
        let mut writer = self.writer.lock();
        let writer = writer.as_mut().ok_or_else(closed)?;
        match self.checkpoint_by(writer) {
            Err(error) if error.kind == Kind::NoSpace && !writer.ahead => {}
            other => other?,
        }
        let mut current = self.snapshot.write();
        release(current.take());
        let done = f(&mut writer.opened);
        *current = Some(writer.opened.snapshot()?);
        drop(current);
        // What redb commits in such work does not record what is free in its file.
        if !writer.opened.backend.is_detached() {
            writer.checkpoint()?;
        }
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
    /// Commit to the database's file, and begin the log anew.
    fn checkpoint(&mut self) -> Result<()> {
        let opened = &self.opened;
        if !opened.backend.commits(|| opened.commit_all())? {
            return Err(no_space("writing the catalogue"));
        }
        self.log.restart();
        Ok(())
    }
}

impl Opened {
    /// Open the database in a catalogue's file, as it is there.
    fn new(storage: &Arc<dyn Storage>, reserve: &Arc<Reserve>, cache_bytes: usize) -> Result<Opened> {
        let readers = Arc::new(());
        let (database, backend, state) = shield("opening", || {
            let backend = Backend::new(storage.clone(), reserve.clone())?;
            let database = builder(cache_bytes).create_with_backend(backend.clone())?;
            let state = Snapshot::take(&database, &readers)?.state();
            Ok((database, backend, state))
        })?;
        Ok(Opened { database, backend, readers, state: state? })
    }

    /// Put in what the log has, in memory only or into the file.
    fn recover(&self, records: &[Vec<u8>], durable: bool) -> Result<()> {
        let changes = records.iter().map(|record| parse(record)).collect::<Result<Vec<_>>>()?;
        shield("recovering", || {
            let mut txn = self.database.begin_write()?;
            for changes in &changes {
                apply(&txn, changes)?;
            }
            if durable {
                txn.set_quick_repair(true);
            } else {
                txn.set_durability(Durability::None)?;
            }
            Ok(txn.commit()?)
        })
    }

    /// Commit to the file what was not, with a record of what is free in it, so that opening after a crash need not
    /// walk it.
    fn commit_all(&self) -> Result<()> {
        shield("committing to", || {
            let mut txn = self.database.begin_write()?;
            txn.set_quick_repair(true);
            Ok(txn.commit()?)
        })
    }

    fn snapshot(&self) -> Result<Arc<Snapshot>> {
        shield("reading", || Snapshot::take(&self.database, &self.readers)).map(Arc::new)
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        // Within the shield; who wants to know of an error closes it himself.
        let _ = self.close();
    }
}

/// The file system is full.
fn no_space(what: &str) -> Error {
    Error::new(Kind::NoSpace, format!("{what}: there is no space left"))
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
