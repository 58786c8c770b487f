//! The database's part of the catalogue's file, behind the log; and what becomes of it on a full file system.
//!
//! redb does nothing more after an error of its file's, and reads no more either. So it is never told that there is no
//! space: from the first write that finds none, everything that it writes is kept in memory, and the file is left
//! alone. The database is *detached* then. Its file holds what redb last made durable (redb never writes over
//! that), the log what was committed since, so nothing is lost; what redb commits while detached is not durable by
//! that, and whoever commits has to ask. The way back is to open the file anew (`catalog`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use parking_lot::{Mutex, RwLock};
use redb::StorageBackend;

use crate::error::is_no_space;
use crate::log::LOG_BYTES;
use crate::reserve::Reserve;
use crate::storage::Storage;

/// The database's header, at its start, says which of two states is the durable one.
const HEADER_BYTES: usize = 320;
const PAGE: u64 = 4096;

/// The file as redb sees it. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Backend(Arc<File>);

#[derive(Debug)]
struct File {
    storage: Arc<dyn Storage>,
    reserve: Arc<Reserve>,
    detached: AtomicBool,
    /// Another database has the file now.
    replaced: AtomicBool,
    /// What was written since it is detached.
    apart: RwLock<Option<Apart>>,
    /// Held to write the header, and to detach.
    header: Mutex<Header>,
}

/// The header as it was last synced, and whether something else was written since.
#[derive(Debug, Default)]
struct Header {
    durable: Vec<u8>,
    now: Vec<u8>,
    touched: bool,
    /// How often another one was synced.
    synced: u64,
}

impl Backend {
    /// Over a catalogue's file.
    pub fn new(storage: Arc<dyn Storage>, reserve: Arc<Reserve>) -> io::Result<Backend> {
        let mut header = Header::default();
        if storage.len()? >= LOG_BYTES + HEADER_BYTES as u64 {
            header.durable.resize(HEADER_BYTES, 0);
            storage.read_at(LOG_BYTES, &mut header.durable)?;
        }
        Ok(Backend(Arc::new(File {
            storage,
            reserve,
            detached: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            apart: RwLock::new(None),
            header: Mutex::new(header),
        })))
    }

    /// Whether the file does not have what redb takes it to have. It stays so.
    pub fn is_detached(&self) -> bool {
        self.0.detached.load(SeqCst)
    }

    /// Read nothing more: another database has the file now. redb looks at its tables once more when it is closed, and
    /// can do without them after an error, but not with what another one has written there.
    pub fn replace(&self) {
        self.0.replaced.store(true, SeqCst);
    }

    /// Run what commits to the file in two phases; whether that was through before the file was left alone, if it was.
    pub fn commits<E>(&self, commit: impl FnOnce() -> Result<(), E>) -> Result<bool, E> {
        let synced = || self.0.header.lock().synced;
        let before = synced();
        commit()?;
        // The first phase syncs a header that names the new state, the second one that makes it the state.
        Ok(!self.is_detached() || synced() == before + 2)
    }

    /// Whether the file's header is as it was before it was detached. If not, redb may find there what it never
    /// finished, and the log must not be written behind that.
    pub fn is_whole(&self) -> io::Result<bool> {
        let mut header = self.0.header.lock();
        if self.is_detached() {
            self.0.restore(&mut header)?;
        }
        Ok(!self.is_detached() || !header.touched)
    }
}

impl File {
    /// Leave the file alone from now on.
    fn detach(&self, header: &mut Header) -> io::Result<()> {
        let mut apart = self.apart.write();
        if apart.is_none() {
            let len = self.storage.len()?.saturating_sub(LOG_BYTES);
            *apart = Some(Apart { len, below: len, pages: BTreeMap::new() });
            self.detached.store(true, SeqCst);
            self.restore(header)?;
        }
        Ok(())
    }

    /// Write the header as it was. That is durable with the log's next sync.
    fn restore(&self, header: &mut Header) -> io::Result<()> {
        if header.touched {
            match self.storage.write_at(LOG_BYTES, &header.durable) {
                Ok(()) => header.touched = false,
                Err(error) if is_no_space(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn with_apart<T>(&self, act: impl FnOnce(&mut Apart) -> T) -> T {
        act(self.apart.write().as_mut().expect("it is detached"))
    }

    fn is_detached(&self) -> bool {
        self.detached.load(SeqCst)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        match &*self.0.apart.read() {
            Some(apart) => Ok(apart.len),
            None => Ok(self.0.storage.len()?.saturating_sub(LOG_BYTES)),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let file = &*self.0;
        if file.replaced.load(SeqCst) {
            return Err(io::Error::other("another database has the file"));
        }
        if !file.is_detached() {
            return file.storage.read_at(LOG_BYTES + offset, out);
        }
        file.apart.read().as_ref().expect("it is detached").read(&*file.storage, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let file = &*self.0;
        if !file.is_detached() {
            match file.storage.set_len(LOG_BYTES + len) {
                Err(error) if is_no_space(&error) => file.detach(&mut file.header.lock())?,
                other => return other,
            }
        }
        file.with_apart(|apart| apart.set_len(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let file = &*self.0;
        if file.is_detached() {
            return Ok(());
        }
        // What a sync could not write may be lost, be it for want of space or not: no reason to go on.
        file.storage.sync().map_err(|error| io::Error::other(format!("it could not be synced: {error}")))?;
        let mut header = file.header.lock();
        if header.touched && !file.is_detached() {
            header.durable = std::mem::take(&mut header.now);
            header.touched = false;
            header.synced += 1;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let file = &*self.0;
        let mut header = (offset == 0).then(|| file.header.lock());
        if !file.is_detached() {
            if let Some(header) = &mut header {
                header.now = data.to_vec();
                header.touched = true;
            }
            match file.reserve.write(&*file.storage, LOG_BYTES + offset, data) {
                Err(error) if is_no_space(&error) => match &mut header {
                    Some(header) => file.detach(header)?,
                    None => file.detach(&mut file.header.lock())?,
                },
                other => return other,
            }
        }
        file.with_apart(|apart| apart.write(&*file.storage, offset, data))
    }
}

/// What a detached database wrote, over what its file has.
#[derive(Debug)]
struct Apart {
    len: u64,
    /// Up to here the file shows through.
    below: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
}

impl Apart {
    fn read(&self, file: &dyn Storage, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (through, beyond) = out.split_at_mut(self.below.clamp(offset, end).abs_diff(offset) as usize);
        if !through.is_empty() {
            file.read_at(LOG_BYTES + offset, through)?;
        }
        beyond.fill(0);
        for (page, bytes) in self.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let (from, to) = ((page * PAGE).max(offset), ((page + 1) * PAGE).min(end));
            let inside = (from - page * PAGE) as usize..(to - page * PAGE) as usize;
            out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(&bytes[inside]);
        }
        Ok(())
    }

    fn write(&mut self, file: &dyn Storage, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset + data.len() as u64;
        self.len = self.len.max(end);
        for page in offset / PAGE..end.div_ceil(PAGE) {
            let (from, to) = ((page * PAGE).max(offset), ((page + 1) * PAGE).min(end));
            if !self.pages.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE as usize]);
                let there = PAGE.min(self.len - page * PAGE) as usize;
                if to - from < PAGE {
                    self.read(file, page * PAGE, &mut bytes[..there])?;
                }
                self.pages.insert(page, bytes);
            }
            let bytes = self.pages.get_mut(&page).expect("it was put there");
            bytes[(from - page * PAGE) as usize..(to - page * PAGE) as usize]
                .copy_from_slice(&data[(from - offset) as usize..(to - offset) as usize]);
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        self.pages.split_off(&len.div_ceil(PAGE));
        if let Some(bytes) = self.pages.get_mut(&(len / PAGE)) {
            bytes[(len % PAGE) as usize..].fill(0);
        }
        self.below = self.below.min(len);
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use redb::{Builder, Database, ReadableDatabase, TableDefinition};

    use super::*;
    use crate::storage::{FaultPlan, FaultyStorage, MemoryStorage};

    const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("t");

    fn open(storage: Arc<dyn Storage>) -> (Database, Backend) {
        let backend = Backend::new(storage, Arc::new(Reserve::none())).unwrap();
        let database = Builder::new().set_cache_size(1 << 20).create_with_backend(backend.clone()).unwrap();
        (database, backend)
    }

    /// Have `rows` rows of a kind, and no others, by a commit like the catalogue's.
    fn put(database: &Database, rows: u64, kind: u8) -> Result<(), redb::Error> {
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        {
            let mut table = txn.open_table(TABLE)?;
            table.retain(|_, _| false)?;
            for row in 0..rows {
                table.insert(row, [kind; 3000].as_slice())?;
            }
        }
        Ok(txn.commit()?)
    }

    /// The number of rows and their kind.
    fn found(database: &Database) -> (u64, u8) {
        let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
        let rows: Vec<Vec<u8>> =
            table.range::<u64>(..).unwrap().map(|row| row.unwrap().1.value().to_vec()).collect();
        let kind = rows[0][0];
        assert!(rows.iter().all(|row| *row == [kind; 3000]), "rows of two commits");
        (rows.len() as u64, kind)
    }

    /// Space ends, for good or for one call, before a call of a commit that lets the file grow or shrink. What the
    /// file has then is what was there before, or what was committed if that was said.
    #[test]
    fn the_file_of_a_detached_database_has_a_commit_or_the_one_before() {
        for (before, after) in [(30, 400), (400, 30), (60, 60)] {
            let first = Arc::new(MemoryStorage::new());
            let (database, backend) = open(first.clone());
            assert!(backend.commits(|| put(&database, 900, 1)).unwrap());
            assert!(backend.commits(|| put(&database, before, 2)).unwrap());
            drop(database);
            let mut outcomes = [0; 2];
            let plan = FaultPlan::new();
            let (database, _) = open(Arc::new(FaultyStorage::new(Arc::new(first.copy()), plan.clone())));
            let opened = plan.calls();
            put(&database, after, 3).unwrap();
            let all = plan.calls() - opened;
            // The header is written last.
            let some = (0..all).filter(|calls| calls % 29 == 0 || calls + 40 > all);
            for calls in some {
                for length in [u64::MAX, 1] {
                    let file = Arc::new(first.copy());
                    let plan = FaultPlan::new();
                    let (database, backend) = open(Arc::new(FaultyStorage::new(file.clone(), plan.clone())));
                    plan.fill(calls, length);
                    let through = backend.commits(|| put(&database, after, 3)).unwrap();
                    assert_eq!(found(&database), (after, 3), "what is read while detached");
                    if !backend.is_detached() {
                        assert!(through);
                        continue;
                    }
                    plan.end();
                    assert!(backend.is_whole().unwrap());
                    // As a crash leaves it: the database is not closed.
                    let (again, _) = open(Arc::new(file.copy()));
                    let expected = if through { (after, 3) } else { (before, 2) };
                    assert_eq!(
                        found(&again),
                        expected,
                        "{before} to {after}, {length} failed from call {calls}"
                    );
                    outcomes[usize::from(through)] += 1;
                    put(&again, 50, 4).unwrap();
                    assert_eq!(found(&again), (50, 4));
                }
            }
            println!("{before} to {after} rows, not through and through: {outcomes:?}");
            // Where the file grows, redb makes more room in it behind the commit.
            assert!(outcomes[0] > 20 && (outcomes[1] > 0 || after < 400));
        }
    }

    /// What is written over a file, in any pieces, reads as if it had been written to it.
    #[test]
    fn a_detached_file_reads_like_one_that_was_written() {
        let mut seed = 7u64;
        let mut below = |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        for _ in 0..200 {
            let (file, like) = (MemoryStorage::new(), MemoryStorage::new());
            let len = below(5 * PAGE);
            let bytes: Vec<u8> = (0..len).map(|i| i as u8 | 1).collect();
            file.write_at(LOG_BYTES, &bytes).unwrap();
            like.write_at(0, &bytes).unwrap();
            let mut apart = Apart { len, below: len, pages: BTreeMap::new() };
            for step in 0..20u8 {
                if below(4) == 0 {
                    let len = below(7 * PAGE);
                    apart.set_len(len);
                    like.set_len(len).unwrap();
                } else {
                    let data = vec![step | 128; below(3 * PAGE) as usize];
                    let offset = below(6 * PAGE);
                    apart.write(&file, offset, &data).unwrap();
                    like.write_at(offset, &data).unwrap();
                }
                assert_eq!(apart.len, like.len().unwrap());
                let offset = below(apart.len + 1);
                let mut found = vec![9; below(apart.len - offset + 1) as usize];
                let mut expected = found.clone();
                apart.read(&file, offset, &mut found).unwrap();
                like.read_at(offset, &mut expected).unwrap();
                assert!(found == expected, "{} bytes at {offset}", found.len());
                assert!(apart.read(&file, apart.len, &mut [0]).is_err());
            }
        }
    }
}
