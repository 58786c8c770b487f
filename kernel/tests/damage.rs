//! Damage: the verifier names it, or it was none.

mod support_crash;

use std::collections::BTreeMap;
use std::sync::Arc;

use cowshed_kernel::error::{Kind, Result};
use cowshed_kernel::ids::{BLOCK, VersionId};
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::log::{LOG_BYTES, Log};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::reserve::Reserve;
use cowshed_kernel::rows::{
    CHUNK_BLOCKS, Pointer, StateRow, VersionRow, VersionState, decode_chunk, encode_chunk, encode_page,
    seal_key,
};
use cowshed_kernel::storage::{MemoryStorage, Storage};
use cowshed_kernel::transaction::Op;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use support_crash::redb_files::database;
use support_crash::rng::{Rng, for_seeds};

type Rows = TableDefinition<'static, u64, &'static [u8]>;
const PAGES: Rows = Rows::new("pages");
const VERSIONS: Rows = Rows::new("versions");
const CHUNKS: Rows = Rows::new("chunks");
const CHILDREN: TableDefinition<(u64, u64), ()> = TableDefinition::new("children");
const WORK: TableDefinition<(u8, u64), ()> = TableDefinition::new("work");
const SPARE: TableDefinition<u64, u16> = TableDefinition::new("spare");

/// All that can be read of a store.
#[derive(PartialEq)]
struct Content {
    versions: BTreeMap<u64, Vec<u8>>,
    keys: Vec<(Vec<u8>, Vec<u8>)>,
    used_blocks: u64,
}

fn open(blocks: &MemoryStorage, catalog: &MemoryStorage) -> Result<Kernel> {
    let options = Options { background: false, cache_bytes: 1 << 20, ..Options::default() };
    Kernel::open_storage(Arc::new(blocks.copy()), Arc::new(catalog.copy()), &options)
}

fn content(kernel: &Kernel) -> Result<Content> {
    let mut versions = BTreeMap::new();
    for (id, row) in kernel.versions(VersionId(0), 1000)? {
        if row.state.visible() {
            let mut bytes = vec![0; row.size as usize];
            kernel.core().disk(id)?.read(0, &mut bytes)?;
            versions.insert(id.0, bytes);
        }
    }
    let keys = kernel.core().scan(b"", None, 1000)?;
    Ok(Content { versions, keys, used_blocks: kernel.space()?.used_blocks })
}

/// A small store with all there can be: a head, frozen versions, a clone, a hidden version, keys.
fn store() -> (MemoryStorage, MemoryStorage) {
    let (blocks, catalog) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
    cowshed_kernel::core::Core::create(&*blocks, catalog.clone(), [3; 16]).unwrap();
    let options = Options { background: false, ..Options::default() };
    let kernel = Kernel::open_storage(blocks.clone(), catalog.clone(), &options).unwrap();
    let core = kernel.core();
    let head = core.new_version();
    core.transact(&[Op::Create(head, 3 << 20), Op::Put(b"a".to_vec(), vec![7; 100])]).unwrap();
    let mut rng = Rng::new(5);
    let mut frozen = Vec::new();
    for round in 0..4 {
        for _ in 0..30 {
            let at = rng.below(700) * BLOCK as u64;
            core.disk(head).unwrap().write(at, &[round + 1; BLOCK]).unwrap();
        }
        let id = core.new_version();
        core.transact(&[Op::Freeze(head, id), Op::Put(vec![b's', round], vec![round; 50])]).unwrap();
        frozen.push(id);
    }
    let clone = core.new_version();
    core.transact(&[Op::Derive(frozen[1], clone)]).unwrap();
    core.disk(clone).unwrap().write(5000, &[9; 9000]).unwrap();
    core.transact(&[Op::Drop(frozen[1])]).unwrap();
    while core.reclaim(4096, Eager::Now).unwrap() > 0 {}
    assert_eq!(kernel.check().unwrap(), Vec::<String>::new());
    kernel.close().unwrap();
    (blocks.copy(), catalog.copy())
}

#[test]
fn a_flipped_bit_is_seen_or_changes_nothing() {
    let (blocks, catalog) = store();
    let sound = content(&open(&blocks, &catalog).unwrap()).unwrap();
    let database = catalog.len().unwrap() - LOG_BYTES;
    for_seeds(400, |seed| {
        let mut rng = Rng::new(seed);
        let (blocks, catalog) = (blocks.copy(), catalog.copy());
        let (file, at) = match rng.below(12) {
            // The header's magic, version and id.
            0 => (&blocks, rng.below(28)),
            // Records of the log that the database has.
            1 => (&catalog, rng.below(LOG_BYTES / 8)),
            _ => (&catalog, LOG_BYTES + rng.below(database)),
        };
        let mut byte = [0];
        file.read_at(at, &mut byte).unwrap();
        byte[0] ^= 1 << rng.below(8);
        file.write_at(at, &byte).unwrap();
        let Ok(kernel) = open(&blocks, &catalog) else { return };
        let now = content(&kernel);
        let found = kernel.check();
        if found.as_ref().is_ok_and(Vec::is_empty) {
            let now = now.unwrap_or_else(|error| panic!("check saw nothing, and reading did: {error}"));
            assert!(now == sound, "byte {at}: the content changed, and check saw nothing");
        }
    });
}

/// A store whose process was killed: a commit by commit log, whose last record alone may go unnoticed, because a
/// crash in the midst of its writing leaves the same.
#[test]
fn a_flipped_bit_in_the_log() {
    let (blocks, catalog) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
    cowshed_kernel::core::Core::create(&*blocks, catalog.clone(), [3; 16]).unwrap();
    let options = Options { background: false, ..Options::default() };
    let kernel = Kernel::open_storage(blocks.clone(), catalog.clone(), &options).unwrap();
    let commits = 10;
    for commit in 0..commits {
        let value = vec![7; 100 + 1000 * commit as usize];
        kernel.core().transact(&[Op::Put(vec![commit], value)]).unwrap();
    }
    // Where each record begins, and where its changes end: the put, and the state row.
    let record = |commit: u8| {
        let len = |commit: u8| 16 + (7 + 1 + 4 + 100 + 1000 * u64::from(commit)) + (7 + 1 + 80);
        let begin = (0..commit).map(|before| len(before).next_multiple_of(BLOCK as u64)).sum::<u64>();
        (begin, len(commit))
    };
    for commit in 0..commits {
        let (begin, len) = record(commit);
        let mut head = [0; 16];
        catalog.read_at(begin, &mut head).unwrap();
        assert_eq!(head[4..8], (len as u32 - 16).to_le_bytes());
        assert_eq!(head[8..], (u64::from(commit) + 1).to_le_bytes());
    }
    for_seeds(200, |seed| {
        let mut rng = Rng::new(seed);
        let catalog = catalog.copy();
        let commit = rng.below(u64::from(commits)) as u8;
        let (begin, len) = record(commit);
        let at = begin + rng.below(len);
        let mut byte = [0];
        catalog.read_at(at, &mut byte).unwrap();
        byte[0] ^= 1 << rng.below(8);
        catalog.write_at(at, &byte).unwrap();
        match open(&blocks, &catalog) {
            Err(error) if commit < commits - 1 => {
                assert_eq!(error.kind, Kind::Damaged);
                let words = format!("breaks off at commit {}", commit + 1);
                assert!(error.message.contains(&words), "{error}");
            }
            Ok(kernel) if commit == commits - 1 => {
                assert_eq!(kernel.core().scan(b"", None, 1000).unwrap().len(), usize::from(commit));
                assert_eq!(kernel.check().unwrap(), Vec::<String>::new());
            }
            other => panic!("byte {at}, of commit {commit}: {:?}", other.err()),
        }
    });
}

/// The log goes on where the database is not: one of them is an older copy.
#[test]
fn a_log_that_is_ahead() {
    let (blocks, catalog) = store();
    let catalog = Arc::new(catalog);
    let state = state_of(&catalog);
    let reserve = Arc::new(Reserve::none());
    let (mut log, records) = Log::recover(catalog.clone(), reserve, state.store_id, state.commits).unwrap();
    assert!(records.is_empty());
    log.append(state.commits + 2, &[]).unwrap();
    let error = open(&blocks, &catalog).err().expect("a commit is missing");
    assert_eq!(error.kind, Kind::Damaged);
    let words = format!("breaks off at commit {}, and has commit {}", state.commits + 1, state.commits + 2);
    assert!(error.message.contains(&words), "{error}");
}

fn state_of(catalog: &Arc<MemoryStorage>) -> StateRow {
    let database = database(catalog.clone());
    let txn = database.begin_read().unwrap();
    let table = txn.open_table(TableDefinition::<u8, &[u8]>::new("state")).unwrap();
    StateRow::decode(table.get(0).unwrap().unwrap().value()).unwrap()
}

/// Change rows behind the kernel's back; the verifier must say `words`.
fn must_name(words: &str, damage: impl FnOnce(&WriteTransaction)) {
    let (blocks, catalog) = store();
    let catalog = Arc::new(catalog);
    {
        let database = database(catalog.clone());
        let txn = database.begin_write().unwrap();
        damage(&txn);
        txn.commit().unwrap();
    }
    let kernel = open(&blocks, &catalog).unwrap();
    let found = kernel.check().unwrap();
    assert!(found.iter().any(|finding| finding.contains(words)), "{words:?} is not among {found:#?}");
}

fn rows(txn: &WriteTransaction, table: Rows) -> Vec<(u64, Vec<u8>)> {
    let table = txn.open_table(table).unwrap();
    table.iter().unwrap().map(|row| row.unwrap()).map(|(k, v)| (k.value(), v.value().to_vec())).collect()
}

fn put(txn: &WriteTransaction, table: Rows, key: u64, row: &[u8]) {
    txn.open_table(table).unwrap().insert(key, row).unwrap();
}

/// The first version in a state, changed.
fn change_version(txn: &WriteTransaction, state: VersionState, change: impl FnOnce(&mut VersionRow)) {
    let (id, mut row) = rows(txn, VERSIONS)
        .into_iter()
        .map(|(id, row)| (VersionId(id), VersionRow::decode(VersionId(id), &row).unwrap()))
        .find(|(_, row)| row.state == state)
        .unwrap();
    change(&mut row);
    put(txn, VERSIONS, id.0, &row.encode(id));
}

#[test]
fn pages() {
    must_name("is missing, and a tree needs it", |txn| {
        let (id, _) = rows(txn, PAGES)[2];
        txn.open_table(PAGES).unwrap().remove(id).unwrap();
    });
    must_name("is used by no version", |txn| {
        let taken: Vec<u64> = rows(txn, PAGES).into_iter().map(|(id, _)| id).collect();
        let id = (1..).find(|id| !taken.contains(id)).unwrap();
        put(txn, PAGES, id, &encode_page(id, 0, |i| Pointer::new(50 + i as u64, false)));
    });
    must_name("the checksum does not match", |txn| {
        let (id, mut row) = rows(txn, PAGES).remove(0);
        row[9] ^= 4;
        put(txn, PAGES, id, &row);
    });
    must_name("stands where level", |txn| {
        let (id, row) = rows(txn, PAGES).remove(0);
        let level = (row[4] + 1) % 5;
        let mut body = row[4..].to_vec();
        body[0] = level;
        put(txn, PAGES, id, &seal_key(&id.to_le_bytes(), &body));
    });
}

#[test]
fn blocks() {
    let spoil = |txn: &WriteTransaction, change: fn(&mut [u64])| {
        let (id, row) = rows(txn, CHUNKS).remove(0);
        let mut used = decode_chunk(id, &row).unwrap();
        change(&mut used);
        put(txn, CHUNKS, id, &encode_chunk(id, &used));
    };
    must_name("count as used, and no version maps them", |txn| spoil(txn, |used| used[100] |= 1 << 9));
    must_name("count as free, and are mapped", |txn| spoil(txn, |used| used[0] &= !4));
    must_name("and 3 are recorded", |txn| {
        txn.open_table(SPARE).unwrap().insert(0, 3).unwrap();
    });
    must_name("lies behind the end", |txn| {
        txn.open_table(SPARE).unwrap().insert(77, CHUNK_BLOCKS as u16).unwrap();
    });
    must_name("is used twice", |txn| {
        // A leaf whose blocks follow one another is given another leaf's.
        let leaves: Vec<_> = rows(txn, PAGES).into_iter().filter(|(_, row)| row[4] == 0).collect();
        let (_, from) = &leaves[0];
        let (id, _) = leaves[leaves.len() - 1];
        put(txn, PAGES, id, &seal_key(&id.to_le_bytes(), &from[4..]));
    });
}

#[test]
fn versions() {
    must_name("blocks, and maps", |txn| change_version(txn, VersionState::Head, |row| row.mapped += 1));
    must_name("which is missing", |txn| {
        change_version(txn, VersionState::Head, |row| row.parent = Some(VersionId(1 << 40)));
    });
    must_name("maps blocks beyond its end", |txn| {
        change_version(txn, VersionState::Head, |row| row.size = 4096)
    });
    must_name("children, and", |txn| change_version(txn, VersionState::Frozen, |row| row.children += 1));
    must_name("is a head and has", |txn| change_version(txn, VersionState::Head, |row| row.children = 2));
    must_name("is not listed", |txn| {
        let key = txn.open_table(WORK).unwrap().first().unwrap().unwrap().0.value();
        txn.open_table(WORK).unwrap().remove(key).unwrap();
    });
    must_name("and is not dropped", |txn| {
        let (id, _) = rows(txn, VERSIONS)[0];
        txn.open_table(WORK).unwrap().insert((1, id), ()).unwrap();
    });
    must_name("which does not record it", |txn| {
        let key = txn.open_table(CHILDREN).unwrap().first().unwrap().unwrap().0.value();
        txn.open_table(CHILDREN).unwrap().remove(key).unwrap();
    });
    must_name("and does not derive from it", |txn| {
        txn.open_table(CHILDREN).unwrap().insert((1, 999), ()).unwrap();
    });
}

#[test]
fn keys_and_the_account() {
    must_name("a key of the package", |txn| {
        let keys = TableDefinition::<&[u8], &[u8]>::new("keys");
        txn.open_table(keys).unwrap().insert(&b"a"[..], &[1, 2, 3, 4, 5][..]).unwrap();
    });
    must_name("bytes, and", |txn| {
        let keys = TableDefinition::<&[u8], &[u8]>::new("keys");
        let row = seal_key(b"new", b"value");
        txn.open_table(keys).unwrap().insert(&b"new"[..], &row[..]).unwrap();
    });
}

#[test]
fn files_of_two_stores_do_not_open() {
    let (_, catalog) = store();
    let blocks = Arc::new(MemoryStorage::new());
    cowshed_kernel::core::Core::create(&*blocks, Arc::new(MemoryStorage::new()), [4; 16]).unwrap();
    let error = open(&blocks, &catalog).err().expect("they belong to different stores");
    assert!(error.message.contains("different stores"), "{error}");
}
