//! The kernel of cowshed: what bytes are where.
//!
//! A store keeps *versions* of disks: heads, which are written, and frozen ones, which are not. Each version is a tree
//! of pages that maps block indexes to blocks in one file; versions share pages and blocks. Pages, versions and the
//! package's keys live in a transactional catalogue. docs/design.md argues the design, docs/format.md has the bytes.
//!
//! From the bottom up: [`storage`] (all I/O), [`rows`] (the bytes), [`log`] and [`changes`] (what commits write),
//! [`catalog`] (the database), `backend` (its file) and [`snapshot`] (reading it), [`reserve`] (room for it), `pages`,
//! `space` and `meta` (state in memory), `tree` (walks that change), [`commit`] (durability), [`disk`] (reading and writing), [`transaction`] (operations on versions), [`reclaim`] (getting
//! space back), [`account`] (walks that look), [`check`] (the verifier, which shares only the rows with the rest)
//! and [`kernel`] (a store on disk). [`process`] keeps forks away from all of it.

pub mod account;
mod backend;
#[cfg(feature = "python")]
mod buffers;
pub mod catalog;
pub mod changes;
pub mod check;
pub mod commit;
pub mod core;
pub mod disk;
pub mod error;
#[cfg(feature = "fuse")]
pub mod fuse;
#[cfg(feature = "python")]
mod fuse_python;
pub mod grace;
pub mod ids;
pub mod kernel;
mod live;
pub mod log;
mod meta;
pub mod nbd;
mod overlay;
mod pace;
mod page;
mod pages;
pub mod process;
#[cfg(feature = "python")]
mod python;
mod quiet;
mod ranges;
pub mod reclaim;
pub mod reserve;
pub mod rows;
pub mod snapshot;
mod space;
pub mod storage;
pub mod transaction;
mod tree;
