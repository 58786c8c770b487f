//! The bytes that docs/format.md describes. Whoever changes these tests changes the format, and must raise its
//! version: stores that were made before must open for ever.

mod support_crash;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cowshed_kernel::error::Kind;
use cowshed_kernel::ids::{BLOCK, BLOCK_SIZE, MAX_DISK_SIZE, VersionId};
use cowshed_kernel::kernel::{Kernel, Options};
use cowshed_kernel::reclaim::Eager;
use cowshed_kernel::rows::{
    CHUNK_BLOCKS, CHUNK_WORDS, FANOUT, FORMAT_VERSION, LEVELS, MAGIC, Pointer, StateRow, VersionRow,
    VersionState, decode_chunk, decode_header, decode_page, encode_chunk, encode_header, encode_page,
    seal_key, unseal_key,
};
use cowshed_kernel::storage::{MemoryStorage, Storage};
use cowshed_kernel::transaction::Op;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableHandle};
use support_crash::redb_files::database;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pointers_of(id: u64, row: &[u8]) -> (u8, [Pointer; FANOUT]) {
    let mut pointers = [Pointer::NONE; FANOUT];
    let level = decode_page(id, row, |i, pointer| pointers[i] = pointer).unwrap();
    (level, pointers)
}

#[test]
fn limits() {
    assert_eq!(FORMAT_VERSION, 2);
    assert_eq!(&MAGIC, b"COWSHED\n");
    assert_eq!((BLOCK_SIZE, CHUNK_BLOCKS, CHUNK_WORDS), (4096, 8192, 128));
    assert_eq!((FANOUT, LEVELS), (256, 5));
    assert_eq!(MAX_DISK_SIZE, 1 << 50);
    // The tree spans more than the largest disk, so its size never sets the limit.
    assert!(BLOCK_SIZE * (FANOUT as u64).pow(LEVELS.into()) >= MAX_DISK_SIZE);
    assert_eq!(Pointer::new((1 << 47) - 1, true).bits(), (1 << 48) - 1);
}

#[test]
fn page() {
    let mut pointers = [Pointer::NONE; FANOUT];
    for (i, number, owned) in [
        // Three that follow one another, owned; the next one is not owned, so it begins a run.
        (0, 5, true),
        (1, 6, true),
        (2, 7, true),
        (3, 8, false),
        // The same target twice is two runs.
        (16, 0x123456789abc & ((1 << 47) - 1), false),
        (17, 0x123456789abc & ((1 << 47) - 1), false),
        (255, (1 << 47) - 1, true),
    ] {
        pointers[i] = Pointer::new(number, owned);
    }
    let row = encode_page(0x0102, 4, |i| pointers[i]);
    assert_eq!(
        hex(&row),
        concat!(
            "c615f39b",
            "04",
            "0500000000800200",
            "0800000000000003",
            "bc9a785634120010",
            "bc9a785634120011",
            "ffffffffffff00ff"
        )
    );
    assert_eq!(pointers_of(0x0102, &row), (4, pointers));
    let full = encode_page(1, 0, |i| Pointer::new(1000 + i as u64, true));
    assert_eq!(hex(&full), "45f8855d00e80300000080ff00");
}

#[test]
fn version() {
    let row = VersionRow {
        root: Pointer::new(9, true),
        parent: Some(VersionId(4)),
        size: MAX_DISK_SIZE,
        mapped: 0x1122,
        children: 3,
        state: VersionState::Frozen,
    };
    let bytes = row.encode(VersionId(5));
    assert_eq!(
        hex(&bytes),
        concat!(
            "ffd650ad",
            "01000000",
            "0900000000800000",
            "0400000000000000",
            "0000000000000400",
            "2211000000000000",
            "0300000000000000"
        )
    );
    assert_eq!(VersionRow::decode(VersionId(5), &bytes).unwrap(), row);
    let states = [VersionState::Head, VersionState::Frozen, VersionState::Hidden, VersionState::Dying];
    for (number, state) in states.into_iter().enumerate() {
        let row = VersionRow { state, parent: None, root: Pointer::NONE, ..row };
        let bytes = row.encode(VersionId(5));
        assert_eq!(bytes[4], number as u8);
        assert_eq!(VersionRow::decode(VersionId(5), &bytes).unwrap(), row);
    }
}

#[test]
fn chunk() {
    let mut used = [u64::MAX; CHUNK_WORDS];
    assert_eq!(hex(&encode_chunk(2, &used)), "283cffc800");
    assert_eq!(decode_chunk(2, &encode_chunk(2, &used)).unwrap(), used);
    used = [0; CHUNK_WORDS];
    used[0] = 0b1110;
    used[1] = 1;
    used[127] = 1 << 63;
    let runs = encode_chunk(2, &used);
    assert_eq!(hex(&runs), concat!("aa28613a", "01", "01000300", "40000100", "ff1f0100"));
    assert_eq!(decode_chunk(2, &runs).unwrap(), used);
    used = [0x5555_5555_5555_5555; CHUNK_WORDS];
    let bits = encode_chunk(2, &used);
    assert_eq!(hex(&bits[..13]), concat!("ed180cae", "02", "5555555555555555"));
    assert_eq!(bits.len(), 4 + 1 + 1024);
    assert_eq!(decode_chunk(2, &bits).unwrap(), used);
    // 255 runs of four bytes are shorter than the bits, 256 are not.
    for (runs, form) in [(255, 1), (256, 2)] {
        used = [0; CHUNK_WORDS];
        for run in 0..runs {
            used[run / 2] |= 1 << (run % 2 * 32);
        }
        assert_eq!(encode_chunk(2, &used)[4], form);
    }
}

const STORE_ID: [u8; 16] = *b"a store's own id";

#[test]
fn state() {
    let state = StateRow {
        store_id: STORE_ID,
        next_page: 1,
        next_version: 2,
        used_blocks: 3,
        end_chunk: 4,
        metadata_bytes: 5,
        commits: 6,
    };
    let bytes = state.encode();
    assert_eq!(
        hex(&bytes),
        concat!(
            "cdf19646",
            "434f57534845440a",
            "02000000",
            "612073746f72652773206f776e206964",
            "0100000000000000",
            "0200000000000000",
            "0300000000000000",
            "0400000000000000",
            "0500000000000000",
            "0600000000000000"
        )
    );
    assert_eq!(StateRow::decode(&bytes).unwrap(), state);
}

#[test]
fn header() {
    let bytes = encode_header(&STORE_ID);
    assert_eq!(bytes.len(), BLOCK);
    assert_eq!(
        hex(&bytes[..32]),
        concat!("434f57534845440a", "02000000", "612073746f72652773206f776e206964", "00000000")
    );
    assert!(bytes[32..].iter().all(|byte| *byte == 0));
    assert_eq!(decode_header(&bytes).unwrap(), STORE_ID);
}

#[test]
fn key() {
    // The value behind the CRC-32 of key and value: that of "123456789" is the algorithm's check value.
    let row = seal_key(b"1234", b"56789");
    assert_eq!(hex(&row), "2639f4cb3536373839");
    assert_eq!(unseal_key(b"1234", &row).unwrap(), b"56789");
    assert_eq!(unseal_key(b"1235", &row).unwrap_err().kind, Kind::Damaged);
}

/// A commit in the log: one put, one delete, and the state row, of a store where nothing else was done.
#[test]
fn a_record_of_the_log() {
    let files = support_crash::run::empty_store();
    let (blocks, catalog) = (Arc::new(files[0].copy()), Arc::new(files[1].copy()));
    let kernel = Kernel::open_storage(blocks, catalog.clone(), &options()).unwrap();
    kernel.core().transact(&[Op::Put(b"old".to_vec(), b"1".to_vec())]).unwrap();
    kernel
        .core()
        .transact(&[Op::Put(b"key".to_vec(), b"value".to_vec()), Op::Delete(b"old".to_vec())])
        .unwrap();
    let mut record = vec![0; 0x90];
    catalog.read_at(4096, &mut record).unwrap();
    let state = StateRow {
        store_id: [7; 16],
        next_page: 1,
        next_version: 1,
        used_blocks: 0,
        end_chunk: 0,
        metadata_bytes: 12,
        commits: 2,
    };
    let changes = [
        "08",
        "0300",
        "09000000",
        "6b6579",
        &hex(&seal_key(b"key", b"value")),
        "88",
        "0300",
        "00000000",
        "6f6c64",
        "00",
        "0100",
        "50000000",
        "00",
        &hex(&state.encode()),
    ];
    let changes = changes.concat();
    let behind =
        [&format!("{:08x}", (changes.len() as u32 / 2).swap_bytes()), "0200000000000000", &changes].concat();
    let sum = crc32fast::hash(&[&[7; 16][..], &unhex(&behind)].concat());
    let expected = [&format!("{:08x}", sum.swap_bytes()), &behind[..]].concat();
    assert!(hex(&record).starts_with(&expected), "{}\n{expected}", hex(&record));
    assert!(hex(&record)[expected.len()..].bytes().all(|digit| digit == b'0'));
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

type Bytes = &'static [u8];

const STATE: TableDefinition<u8, Bytes> = TableDefinition::new("state");
const PAGES: TableDefinition<u64, Bytes> = TableDefinition::new("pages");
const VERSIONS: TableDefinition<u64, Bytes> = TableDefinition::new("versions");
const CHILDREN: TableDefinition<(u64, u64), ()> = TableDefinition::new("children");
const WORK: TableDefinition<(u8, u64), ()> = TableDefinition::new("work");
const CHUNKS: TableDefinition<u64, Bytes> = TableDefinition::new("chunks");
const SPARE: TableDefinition<u64, u16> = TableDefinition::new("spare");
const UNPUNCHED: TableDefinition<u64, ()> = TableDefinition::new("unpunched");
const KEYS: TableDefinition<Bytes, Bytes> = TableDefinition::new("keys");

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2")
}

/// The golden store's files in memory: what is committed to git is never written to.
fn golden_files() -> (Arc<MemoryStorage>, Arc<MemoryStorage>) {
    (file(&golden().join("blocks")), file(&golden().join("catalog")))
}

fn file(path: &Path) -> Arc<MemoryStorage> {
    let storage = MemoryStorage::new();
    storage.write_at(0, &std::fs::read(path).unwrap()).unwrap();
    Arc::new(storage)
}

fn options() -> Options {
    Options { background: false, ..Options::default() }
}

/// Content that compresses well: each block says whose it is.
fn stamp(name: &str, blocks: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for k in 0..blocks {
        let line = format!("{name} {k}\n");
        data.extend(line.bytes().cycle().take(BLOCK));
    }
    data
}

const BASE: VersionId = VersionId(1);
const HIDDEN: VersionId = VersionId(2);
const LEFT: VersionId = VersionId(3);
const RIGHT: VersionId = VersionId(4);
const DYING: VersionId = VersionId(5);
const SNAPSHOT: VersionId = VersionId(6);
const FAR: u64 = MAX_DISK_SIZE - BLOCK_SIZE;

/// Makes the golden store anew, in a directory to be named: only for a new format.
#[test]
#[ignore = "writes files"]
fn make_golden() {
    let path = PathBuf::from(std::env::var("COWSHED_GOLDEN").expect("COWSHED_GOLDEN=directory"));
    Kernel::create(&path).unwrap();
    let kernel = Kernel::open(&path, &options()).unwrap();
    let core = kernel.core();
    let write = |id, offset, data: &[u8]| core.disk(id).unwrap().write(offset, data).unwrap();
    for id in [BASE, HIDDEN, LEFT, RIGHT, DYING, SNAPSHOT] {
        assert_eq!(core.new_version(), id);
    }
    core.transact(&[Op::Create(BASE, MAX_DISK_SIZE)]).unwrap();
    write(BASE, 0, &stamp("base", 3));
    write(BASE, FAR, &stamp("far", 1));
    core.transact(&[
        Op::Freeze(BASE, HIDDEN),
        Op::Derive(HIDDEN, LEFT),
        Op::Derive(HIDDEN, RIGHT),
        Op::Derive(HIDDEN, DYING),
    ])
    .unwrap();
    // The rest is in the log only.
    core.checkpoint().unwrap();
    write(LEFT, BLOCK_SIZE, &stamp("left", 1));
    write(DYING, 5 * BLOCK_SIZE, &stamp("dying", 1));
    write(RIGHT, 100, b"right");
    core.transact(&[
        Op::Freeze(LEFT, SNAPSHOT),
        Op::Drop(HIDDEN),
        Op::Drop(DYING),
        Op::Resize(RIGHT, 2 * BLOCK_SIZE + 10),
        Op::Put(b"image/1".to_vec(), b"{\"head\":3}".to_vec()),
        Op::Put(vec![0xff; 3], vec![]),
    ])
    .unwrap();
    write(LEFT, 0, &stamp("left again", 1));
    write(LEFT, 9 * BLOCK_SIZE, &stamp("gone", 1));
    core.flush().unwrap();
    core.disk(LEFT).unwrap().discard(9 * BLOCK_SIZE, BLOCK_SIZE).unwrap();
    core.disk(BASE).unwrap().discard(FAR, BLOCK_SIZE).unwrap();
    core.flush().unwrap();
    // As a crash would leave it.
    let (blocks, catalog) = (file(&path.join("blocks")), file(&path.join("catalog")));
    kernel.close().unwrap();
    std::fs::remove_file(path.join("lock")).unwrap();
    std::fs::write(path.join("blocks"), contents(&blocks)).unwrap();
    std::fs::write(path.join("catalog"), contents(&catalog)).unwrap();
    std::fs::write(path.join("rows"), rows(&blocks, &catalog)).unwrap();
}

fn contents(file: &MemoryStorage) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// What the golden store says, version by version.
fn expect_golden(kernel: &Kernel) {
    assert_eq!(kernel.check().unwrap(), Vec::<String>::new());
    let core = kernel.core();
    type Content<'a> = (VersionId, VersionState, u64, u64, &'a [(u64, Vec<u8>)]);
    let contents: [Content; 4] = [
        (BASE, VersionState::Head, MAX_DISK_SIZE, 3, &[(0, stamp("base", 3)), (FAR, vec![0; BLOCK])]),
        (
            LEFT,
            VersionState::Head,
            MAX_DISK_SIZE,
            4,
            &[
                (0, stamp("left again", 1)),
                (BLOCK_SIZE, stamp("left", 1)),
                (2 * BLOCK_SIZE, stamp("base", 3)[2 * BLOCK..].to_vec()),
                (FAR, stamp("far", 1)),
            ],
        ),
        (
            RIGHT,
            VersionState::Head,
            2 * BLOCK_SIZE + 10,
            3,
            &[
                (0, stamp("base", 1)[..100].to_vec()),
                (100, b"right".to_vec()),
                (105, stamp("base", 3)[105..2 * BLOCK + 10].to_vec()),
            ],
        ),
        (
            SNAPSHOT,
            VersionState::Frozen,
            MAX_DISK_SIZE,
            4,
            &[(0, stamp("base", 1)), (BLOCK_SIZE, stamp("left", 1)), (FAR, stamp("far", 1))],
        ),
    ];
    for (id, state, size, mapped, pieces) in contents {
        let row = core.version(id).unwrap();
        assert_eq!((row.state, row.size, row.mapped), (state, size, mapped), "{id}");
        for (offset, data) in pieces {
            let mut read = vec![0; data.len()];
            core.disk(id).unwrap().read(*offset, &mut read).unwrap();
            assert!(read == *data, "{id} at {offset}");
        }
    }
    assert_eq!(core.version(LEFT).unwrap().parent, Some(SNAPSHOT));
    assert_eq!(core.key(b"image/1").unwrap().unwrap(), b"{\"head\":3}");
    assert_eq!(core.key(&[0xff; 3]).unwrap().unwrap(), b"");
    assert_eq!(core.scan(b"", None, 10).unwrap().len(), 2);
}

#[test]
fn the_golden_store_opens() {
    let (blocks, catalog) = golden_files();
    let kernel = Kernel::open_storage(blocks, catalog, &options()).unwrap();
    expect_golden(&kernel);
    let space = kernel.space().unwrap();
    assert_eq!((space.hidden_versions, space.keys), (1, 2));
    assert!(space.dying_versions > 0 && space.unpunched_chunks > 0);
    // It goes on from there.
    while kernel.core().reclaim(100, Eager::Now).unwrap() > 0 {}
    expect_golden(&kernel);
    let space = kernel.space().unwrap();
    assert_eq!((space.dying_versions, space.used_blocks), (0, 7));
}

/// Every row of every table, a line each.
fn rows(blocks: &MemoryStorage, catalog: &MemoryStorage) -> String {
    let (blocks, catalog) = (Arc::new(blocks.copy()), Arc::new(catalog.copy()));
    // What the log has, the database gets.
    Kernel::open_storage(blocks, catalog.clone(), &options()).unwrap().close().unwrap();
    let database = database(catalog);
    let txn = database.begin_read().unwrap();
    let mut said = String::new();
    // A table opens only with the types that it was made with.
    macro_rules! tell {
        ($table:expr, |$key:pat_param, $value:pat_param| $line:expr) => {
            for row in txn.open_table($table).unwrap().iter().unwrap() {
                let (key, value) = row.unwrap();
                let ($key, $value) = (key.value(), value.value());
                said += &($line + "\n");
            }
        };
    }
    tell!(STATE, |key, row| format!("state {key} {}", hex(row)));
    tell!(VERSIONS, |id, row| format!("version {id} {}", hex(row)));
    tell!(CHILDREN, |(parent, child), ()| format!("child {parent} {child}"));
    tell!(WORK, |(kind, id), ()| format!("work {kind} {id}"));
    tell!(PAGES, |id, row| format!("page {id} {}", hex(row)));
    tell!(CHUNKS, |id, row| format!("chunk {id} {}", hex(row)));
    tell!(SPARE, |id, free| format!("spare {id} {free}"));
    tell!(UNPUNCHED, |id, ()| format!("unpunched {id}"));
    tell!(KEYS, |key, row| format!("key {} {}", hex(key), hex(row)));
    said
}

#[test]
fn the_golden_store_row_by_row() {
    let (blocks, catalog) = golden_files();
    let said = rows(&blocks, &catalog);
    let golden = std::fs::read_to_string(golden().join("rows")).unwrap();
    assert!(said == golden, "the golden store's rows are:\n{said}");
}

#[test]
fn the_tables() {
    let (_, catalog) = golden_files();
    let database = database(catalog);
    let txn = database.begin_read().unwrap();
    let mut names: Vec<String> = txn.list_tables().unwrap().map(|table| table.name().to_string()).collect();
    names.sort();
    let expected = ["children", "chunks", "keys", "pages", "spare", "state", "unpunched", "versions", "work"];
    assert_eq!(names, expected);
    assert_eq!(txn.list_multimap_tables().unwrap().count(), 0);
}

/// A store of another format is refused as such, whichever of its files says so.
#[test]
fn another_format_is_refused() {
    let refused = |blocks: Arc<MemoryStorage>, catalog: Arc<MemoryStorage>, words: &str| {
        let error = Kernel::open_storage(blocks, catalog, &options()).err().expect("it is of another format");
        assert_eq!(error.kind, Kind::Format, "{error}");
        assert!(error.message.contains(words), "{error}");
    };
    let (blocks, catalog) = golden_files();
    blocks.write_at(8, &3u32.to_le_bytes()).unwrap();
    refused(blocks, catalog, "use a newer cowshed");

    // Format 1, which had a database for a catalogue and no log.
    let (blocks, catalog) = golden_files();
    blocks.write_at(8, &1u32.to_le_bytes()).unwrap();
    catalog.set_len(50_000).unwrap();
    refused(blocks, catalog, "use the cowshed that made it");

    let (blocks, catalog) = golden_files();
    let database = database(catalog.clone());
    let txn = database.begin_write().unwrap();
    {
        let mut table = txn.open_table(STATE).unwrap();
        let mut row = table.get(0).unwrap().unwrap().value().to_vec();
        // Even one that is longer.
        row.extend([0; 8]);
        row[12..16].copy_from_slice(&3u32.to_le_bytes());
        let row = seal_key(b"state", &row[4..]);
        table.insert(0, &row[..]).unwrap();
    }
    txn.commit().unwrap();
    drop(database);
    refused(blocks, catalog, "use a newer cowshed");
}
