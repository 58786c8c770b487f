//! The kernel's numbers, each a type of its own so that no one can be taken for another.

use std::fmt;

/// Bytes in a block, the unit of sharing between versions.
pub const BLOCK_SIZE: u64 = 4096;
/// [`BLOCK_SIZE`] for indexing memory.
pub const BLOCK: usize = BLOCK_SIZE as usize;
/// The largest disk in bytes: 1 PiB.
pub const MAX_DISK_SIZE: u64 = 1 << 50;

/// A version: one state of one disk. Never zero, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VersionId(pub u64);

/// A page of a version's tree, as the catalogue keys it. Never zero, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageId(pub u64);

/// A block's address: its place in the blocks file, in blocks. Zero is the file's header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockNo(pub u64);

/// A block's index on a disk: byte offset / [`BLOCK_SIZE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Index(pub u64);

/// A piece of the blocks file that the space account keeps in one row (see `space`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkNo(pub u64);

impl BlockNo {
    /// Where the block begins in the blocks file, in bytes.
    pub fn offset(self) -> u64 {
        self.0 * BLOCK_SIZE
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.0)
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}", self.0)
    }
}
