//! The catalogue's rows, byte by byte (docs/format.md). Shared by the kernel and by `check`; no logic here.
//!
//! Every row but the package's own keys is sealed: it starts with the CRC-32 of its key and of the bytes that
//! follow, so that a row that was changed, or that stands under another's key, is noticed when it is read.
//! Integers are little endian.

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::ids::{BLOCK_SIZE, MAX_DISK_SIZE, VersionId};

/// The format that this kernel writes.
pub const FORMAT_VERSION: u32 = 2;
/// The first bytes of the blocks file's header and of the state row.
pub const MAGIC: [u8; 8] = *b"COWSHED\n";
/// Pointers in a page: one byte of a block's index.
pub const FANOUT: usize = 256;
/// Pages on the way from a root to a block; a tree spans `FANOUT ^ LEVELS` blocks.
pub const LEVELS: u8 = 5;
/// Blocks in a chunk of the blocks file.
pub const CHUNK_BLOCKS: u64 = 8192;
/// 64-bit words in a chunk's bitmap.
pub const CHUNK_WORDS: usize = (CHUNK_BLOCKS / 64) as usize;

/// Where a pointer's number ends; the bit above says that it is owned.
const POINTER_BITS: u32 = 47;
const POINTER_MASK: u64 = (1 << POINTER_BITS) - 1;
const OWNED: u64 = 1 << POINTER_BITS;

/// A pointer in a tree: to a page (from a root or an inner page) or to a block (from a leaf), or to nothing.
///
/// *Owned* means: the head whose tree this is allocated the target since it was last frozen, derived or
/// rolled back, provided that every pointer above is owned too. In a frozen version it means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pointer(u64);

impl Pointer {
    /// Points to nothing.
    pub const NONE: Pointer = Pointer(0);

    /// A pointer to a page's or a block's number.
    pub fn new(number: u64, owned: bool) -> Pointer {
        debug_assert!(number != 0 && number <= POINTER_MASK);
        Pointer(number | if owned { OWNED } else { 0 })
    }

    /// The pointer that [`Pointer::bits`] gave.
    pub fn from_bits(bits: u64) -> Pointer {
        Pointer(bits)
    }

    /// The pointer as a number.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The target's number; zero for none.
    pub fn number(self) -> u64 {
        self.0 & POINTER_MASK
    }

    /// Whether it points to nothing.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The owned bit.
    pub fn owned(self) -> bool {
        self.0 & OWNED != 0
    }

    /// The same target, not owned.
    pub fn disowned(self) -> Pointer {
        Pointer(self.0 & !OWNED)
    }

    /// Whether both have the same target; two pointers to nothing do.
    pub fn same(self, other: Pointer) -> bool {
        self.number() == other.number()
    }
}

fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(4 + body.len());
    row.extend_from_slice(&checksum(key, body).to_le_bytes());
    row.extend_from_slice(body);
    row
}

fn unseal<'a>(what: &str, key: &[u8], row: &'a [u8]) -> Result<&'a [u8]> {
    let Some((crc, body)) = row.split_first_chunk::<4>() else {
        return Err(Error::damaged(format!("{what}: the row is cut off")));
    };
    if u32::from_le_bytes(*crc) != checksum(key, body) {
        return Err(Error::damaged(format!("{what}: the checksum does not match")));
    }
    Ok(body)
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

fn u64_at(body: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"))
}

/// A page: crc, level, then one word for each run of pointers that follow one another.
///
/// A run's word is `first index: 8 | length - 1: 8 | owned: 1 | target: 47`, highest bits first; the targets of a run
/// count up. Runs ascend, do not touch where they could be one, and there is at least one.
pub fn encode_page(id: u64, level: u8, pointers: impl Fn(usize) -> Pointer) -> Vec<u8> {
    let mut body = vec![level];
    let mut i = 0;
    while i < FANOUT {
        let first = pointers(i);
        let start = i;
        i += 1;
        if first.is_none() {
            continue;
        }
        while i < FANOUT && pointers(i).bits() == first.bits() + (i - start) as u64 {
            i += 1;
        }
        let word = (start as u64) << 56 | ((i - start - 1) as u64) << 48 | first.bits();
        body.extend_from_slice(&word.to_le_bytes());
    }
    seal(&id.to_le_bytes(), &body)
}

/// Read a page's row: its level, and each pointer through `put`.
pub fn decode_page(id: u64, row: &[u8], mut put: impl FnMut(usize, Pointer)) -> Result<u8> {
    let what = || format!("page {id}");
    let body = unseal(&what(), &id.to_le_bytes(), row)?;
    let bad = |why: &str| Err(Error::damaged(format!("{}: {why}", what())));
    let Some((&level, runs)) = body.split_first() else {
        return bad("the row is cut off");
    };
    if level >= LEVELS {
        return bad("its level is out of range");
    }
    if runs.is_empty() || runs.len() % 8 != 0 {
        return bad("its runs are cut off");
    }
    let mut next = 0;
    // What would go on with the run before.
    let mut joined = 0;
    for at in (0..runs.len()).step_by(8) {
        let word = u64_at(runs, at);
        let start = (word >> 56) as usize;
        let len = (word >> 48 & 0xff) as usize + 1;
        let bits = word & (OWNED | POINTER_MASK);
        if start < next || start + len > FANOUT {
            return bad("its runs overlap or leave the page");
        }
        let number = bits & POINTER_MASK;
        if number == 0 || number + len as u64 - 1 > POINTER_MASK {
            return bad("a pointer is out of range");
        }
        if start == next && bits == joined {
            return bad("its runs touch where they are one");
        }
        for k in 0..len {
            put(start + k, Pointer(bits + k as u64));
        }
        next = start + len;
        joined = bits + len as u64;
    }
    Ok(level)
}

/// A version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionRow {
    /// The top page, at level `LEVELS - 1`.
    pub root: Pointer,
    /// What it was derived from.
    pub parent: Option<VersionId>,
    /// Bytes of the disk.
    pub size: u64,
    /// Blocks that the tree maps; not kept once the version is hidden or dying.
    pub mapped: u64,
    /// Versions whose parent this is.
    pub children: u64,
    /// Head, frozen, hidden or dying.
    pub state: VersionState,
}

/// What may be done with a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum VersionState {
    /// Writable, without children.
    Head = 0,
    /// A snapshot.
    Frozen = 1,
    /// Dropped while two or more versions derive from it.
    Hidden = 2,
    /// Dropped; its tree is being taken apart.
    Dying = 3,
}

impl VersionState {
    /// Whether callers can name the version.
    pub fn visible(self) -> bool {
        matches!(self, VersionState::Head | VersionState::Frozen)
    }
}

impl VersionRow {
    /// crc, state (1), zero (3), root, parent (zero for none), size, mapped, children.
    pub fn encode(&self, id: VersionId) -> Vec<u8> {
        let mut body = vec![self.state as u8, 0, 0, 0];
        for word in [self.root.bits(), self.parent.map_or(0, |p| p.0), self.size, self.mapped, self.children]
        {
            body.extend_from_slice(&word.to_le_bytes());
        }
        seal(&id.0.to_le_bytes(), &body)
    }

    /// The inverse of [`VersionRow::encode`].
    pub fn decode(id: VersionId, row: &[u8]) -> Result<VersionRow> {
        let body = unseal(&id.to_string(), &id.0.to_le_bytes(), row)?;
        let bad = |why: &str| Err(Error::damaged(format!("{id}: {why}")));
        if body.len() != 44 {
            return bad("the row has a wrong length");
        }
        let state = match body[0] {
            0 => VersionState::Head,
            1 => VersionState::Frozen,
            2 => VersionState::Hidden,
            3 => VersionState::Dying,
            _ => return bad("its state is unknown"),
        };
        if body[1..4] != [0; 3] {
            return bad("what is reserved is not zero");
        }
        let root = u64_at(body, 4);
        if root & !(OWNED | POINTER_MASK) != 0 || (root != 0 && root & POINTER_MASK == 0) {
            return bad("its root is out of range");
        }
        let parent = u64_at(body, 12);
        let row = VersionRow {
            root: Pointer(root),
            parent: (parent != 0).then_some(VersionId(parent)),
            size: u64_at(body, 20),
            mapped: u64_at(body, 28),
            children: u64_at(body, 36),
            state,
        };
        if row.size > MAX_DISK_SIZE || row.mapped > MAX_DISK_SIZE / BLOCK_SIZE || row.children > POINTER_MASK
        {
            return bad("its size or a count of its is out of range");
        }
        Ok(row)
    }
}

/// Which blocks of a chunk are in use, a bit each.
pub type Bitmap = [u64; CHUNK_WORDS];

/// A chunk's bitmap: crc, form (1), then nothing (all are in use), the runs in use as pairs of
/// first (2) and length (2), or the bits, whichever is shortest. A chunk of which nothing is used has no row.
pub fn encode_chunk(chunk: u64, used: &Bitmap) -> Vec<u8> {
    let mut runs = Vec::new();
    for (start, len) in bit_runs(used, true, 0) {
        runs.extend_from_slice(&(start as u16).to_le_bytes());
        runs.extend_from_slice(&(len as u16).to_le_bytes());
    }
    let mut body;
    if used.iter().all(|&word| word == u64::MAX) {
        body = vec![0];
    } else if runs.len() < CHUNK_WORDS * 8 {
        body = vec![1];
        body.extend_from_slice(&runs);
    } else {
        body = vec![2];
        for word in used {
            body.extend_from_slice(&word.to_le_bytes());
        }
    }
    seal(&chunk.to_le_bytes(), &body)
}

/// The inverse of [`encode_chunk`].
pub fn decode_chunk(chunk: u64, row: &[u8]) -> Result<Bitmap> {
    let what = format!("chunk {chunk}");
    let body = unseal(&what, &chunk.to_le_bytes(), row)?;
    let bad = |why: &str| Err(Error::damaged(format!("{what}: {why}")));
    let mut used = [0; CHUNK_WORDS];
    match body.split_first() {
        Some((0, [])) => used = [u64::MAX; CHUNK_WORDS],
        Some((1, runs)) if runs.len() % 4 == 0 => {
            let mut next = 0;
            for run in runs.chunks_exact(4) {
                let start = u64::from(u16::from_le_bytes([run[0], run[1]]));
                let len = u64::from(u16::from_le_bytes([run[2], run[3]]));
                if len == 0 || start < next || start + len > CHUNK_BLOCKS {
                    return bad("its runs overlap or leave the chunk");
                }
                for bit in start..start + len {
                    used[(bit / 64) as usize] |= 1 << (bit % 64);
                }
                next = start + len;
            }
        }
        Some((2, bits)) if bits.len() == CHUNK_WORDS * 8 => {
            for (i, word) in used.iter_mut().enumerate() {
                *word = u64_at(bits, i * 8);
            }
        }
        _ => return bad("its form is unknown"),
    }
    if encode_chunk(chunk, &used) != row {
        return bad("it is not in its shortest form");
    }
    Ok(used)
}

/// The runs of set (or of clear) bits from bit `from` on, as first bit and length.
pub fn bit_runs(bits: &Bitmap, set: bool, from: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
    let find = move |from: u64, value: bool| -> u64 {
        let mut at = from;
        while at < CHUNK_BLOCKS {
            let word = bits[(at / 64) as usize];
            let word = if value { word } else { !word } >> (at % 64);
            if word != 0 {
                return (at + u64::from(word.trailing_zeros())).min(CHUNK_BLOCKS);
            }
            at = (at / 64 + 1) * 64;
        }
        CHUNK_BLOCKS
    };
    let mut at = from;
    std::iter::from_fn(move || {
        let start = find(at, set);
        if start == CHUNK_BLOCKS {
            return None;
        }
        at = find(start, !set);
        Some((start, at - start))
    })
}

/// What the store as a whole is, in one row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateRow {
    /// Drawn when the store was made; the blocks file's header has the same.
    pub store_id: [u8; 16],
    /// The next page's id.
    pub next_page: u64,
    /// The next version's id.
    pub next_version: u64,
    /// Blocks in use.
    pub used_blocks: u64,
    /// The first chunk behind all that were ever used and not cut off again.
    pub end_chunk: u64,
    /// Bytes of all other keys and values in the catalogue.
    pub metadata_bytes: u64,
    /// Commits so far; this row is the last one's.
    pub commits: u64,
}

/// The key that seals the state row.
const STATE_KEY: &[u8] = b"state";

impl StateRow {
    /// Length of the row.
    pub const BYTES: usize = 80;

    /// crc, magic (8), format version (4), store id (16), the six counters.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = MAGIC.to_vec();
        body.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        body.extend_from_slice(&self.store_id);
        let (chunks, bytes) = (self.end_chunk, self.metadata_bytes);
        for word in [self.next_page, self.next_version, self.used_blocks, chunks, bytes, self.commits] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        seal(STATE_KEY, &body)
    }

    /// The inverse of [`StateRow::encode`]; an unknown format version is refused as [`crate::error::Kind::Format`].
    pub fn decode(row: &[u8]) -> Result<StateRow> {
        let body = unseal("the state row", STATE_KEY, row)?;
        if body.len() < 12 || body[..8] != MAGIC {
            return Err(Error::damaged("the state row is not cowshed's"));
        }
        check_format(u32::from_le_bytes(body[8..12].try_into().expect("four bytes")))?;
        if body.len() != 76 {
            return Err(Error::damaged("the state row has a wrong length"));
        }
        let state = StateRow {
            store_id: body[12..28].try_into().expect("sixteen bytes"),
            next_page: u64_at(body, 28),
            next_version: u64_at(body, 36),
            used_blocks: u64_at(body, 44),
            end_chunk: u64_at(body, 52),
            metadata_bytes: u64_at(body, 60),
            commits: u64_at(body, 68),
        };
        let ids = [state.next_page, state.next_version];
        let in_range = ids.iter().all(|id| (1..=POINTER_MASK).contains(id))
            && state.commits <= POINTER_MASK
            && state.end_chunk <= (POINTER_MASK + 1) / CHUNK_BLOCKS
            && state.used_blocks <= state.end_chunk * CHUNK_BLOCKS;
        if !in_range {
            return Err(Error::damaged("a counter of the state row is out of range"));
        }
        Ok(state)
    }
}

/// The blocks file's first block: magic (8), format version (4), store id (16), zeros.
pub fn encode_header(store_id: &[u8; 16]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    header.extend_from_slice(store_id);
    header.resize(crate::ids::BLOCK, 0);
    header
}

/// The store id of a blocks file's header.
pub fn decode_header(header: &[u8]) -> Result<[u8; 16]> {
    if header.len() < 28 || header[..8] != MAGIC {
        return Err(Error::damaged("the blocks file does not start with cowshed's header"));
    }
    check_format(u32::from_le_bytes(header[8..12].try_into().expect("four bytes")))?;
    Ok(header[12..28].try_into().expect("sixteen bytes"))
}

fn check_format(version: u32) -> Result<()> {
    let advice = match version.cmp(&FORMAT_VERSION) {
        Ordering::Equal => return Ok(()),
        Ordering::Greater => "use a newer cowshed",
        // Format 1 was never released.
        Ordering::Less => "use the cowshed that made it to export its images",
    };
    let message =
        format!("the store has format {version}, this cowshed reads format {FORMAT_VERSION}: {advice}");
    Err(Error::new(crate::error::Kind::Format, message))
}

/// A value of the package's, sealed.
pub fn seal_key(key: &[u8], value: &[u8]) -> Vec<u8> {
    seal(key, value)
}

/// The value in a row of [`seal_key`].
pub fn unseal_key<'a>(key: &[u8], row: &'a [u8]) -> Result<&'a [u8]> {
    unseal("a key of the package", key, row)
}
