//! How many requests there were, and how long they took.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::proto::command;

/// Upper ends of the histogram's buckets in microseconds; what takes longer is in one more.
pub const BOUNDS: [u64; 18] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];
/// Operations that are counted, by name; each has the place of its command's number.
pub const OPERATIONS: [&str; 8] =
    ["read", "write", "disconnect", "flush", "trim", "cache", "write_zeroes", "block_status"];
/// Exports that are remembered when no one has them open any more.
const REMEMBERED: usize = 4096;

/// One kind of request on one export. All only grow.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answered requests, failed ones included.
    pub requests: AtomicU64,
    /// Failed ones.
    pub errors: AtomicU64,
    /// Bytes that they concerned.
    pub bytes: AtomicU64,
    /// From the request's arrival to its answer, summed.
    pub nanoseconds: AtomicU64,
    /// How many took so long.
    pub buckets: [AtomicU64; BOUNDS.len() + 1],
}

/// All kinds of requests on one export.
#[derive(Debug, Default)]
pub struct ExportCounts {
    counts: [Counts; OPERATIONS.len()],
}

impl ExportCounts {
    /// A request was answered.
    pub fn note(&self, command: u16, bytes: u64, began: Instant, failed: bool) {
        let Some(counts) = self.counts.get(usize::from(command)) else { return };
        let took = began.elapsed();
        counts.requests.fetch_add(1, Relaxed);
        if failed {
            counts.errors.fetch_add(1, Relaxed);
        } else {
            counts.bytes.fetch_add(bytes, Relaxed);
        }
        counts.nanoseconds.fetch_add(took.as_nanos() as u64, Relaxed);
        let bucket = BOUNDS.partition_point(|bound| Duration::from_micros(*bound) < took);
        counts.buckets[bucket].fetch_add(1, Relaxed);
    }

    /// Name and counts of each kind of request.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, &Counts)> {
        let counted = |(i, _): &(usize, _)| *i != usize::from(command::DISCONNECT);
        OPERATIONS.into_iter().zip(&self.counts).enumerate().filter(counted).map(|(_, pair)| pair)
    }
}

/// The counts of all exports.
#[derive(Debug, Default)]
pub struct Statistics {
    exports: Mutex<BTreeMap<String, Arc<ExportCounts>>>,
}

impl Statistics {
    /// The counts of the exports with a label.
    pub fn of(&self, label: &str) -> Arc<ExportCounts> {
        let mut exports = self.exports.lock();
        if exports.len() >= REMEMBERED && !exports.contains_key(label) {
            exports.retain(|_, counts| Arc::strong_count(counts) > 1);
        }
        exports.entry(label.to_string()).or_default().clone()
    }

    /// All that are remembered, by label.
    pub fn all(&self) -> Vec<(String, Arc<ExportCounts>)> {
        self.exports.lock().iter().map(|(label, counts)| (label.clone(), counts.clone())).collect()
    }
}
