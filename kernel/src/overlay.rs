//! Rows that were changed and are not durable yet, over those of the catalogue.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// Stored rows read at a time, at least.
const BATCH: usize = 32;

/// The latest changes by key, in two layers: since the capture, and in the capture that is being committed.
///
/// Within a layer `None` means deleted.
#[derive(Debug)]
pub struct Overlay<K, V> {
    pending: BTreeMap<K, Option<V>>,
    committing: BTreeMap<K, Option<V>>,
}

impl<K: Ord + Clone, V: Clone> Overlay<K, V> {
    /// Nothing changed.
    pub fn new() -> Overlay<K, V> {
        Overlay { pending: BTreeMap::new(), committing: BTreeMap::new() }
    }

    /// What was last said of `key`: nothing, that it is deleted, or its value.
    pub fn get(&self, key: &K) -> Option<Option<&V>> {
        self.pending.get(key).or_else(|| self.committing.get(key)).map(Option::as_ref)
    }

    /// Change a row.
    pub fn set(&mut self, key: K, value: Option<V>) {
        self.pending.insert(key, value);
    }

    /// Whether anything waits for a capture.
    pub fn is_clean(&self) -> bool {
        self.pending.is_empty()
    }

    /// Begin a commit: the changes that it is to write. There is none under way.
    pub fn capture(&mut self) -> Vec<(K, Option<V>)> {
        debug_assert!(self.committing.is_empty());
        self.committing = std::mem::take(&mut self.pending);
        self.committing.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// The commit is durable, and the catalogue has it.
    pub fn committed(&mut self) {
        self.committing.clear();
    }

    /// The commit came to nothing: its changes wait for the next one, under what was changed since.
    pub fn uncapture(&mut self) {
        for (key, value) in std::mem::take(&mut self.committing) {
            self.pending.entry(key).or_insert(value);
        }
    }

    /// At most `limit` rows in key order, this over `stored`, which is asked for rows from a key on.
    ///
    /// `from` is where to begin; rows for which `inside` is false end it.
    pub fn merge<E>(
        &self,
        from: Bound<K>,
        limit: usize,
        inside: impl Fn(&K) -> bool,
        mut stored: impl FnMut(Bound<&K>, usize) -> Result<Vec<(K, V)>, E>,
    ) -> Result<Vec<(K, V)>, E> {
        let mut found = Vec::new();
        let mut from = from;
        // Stored rows that were deleted since may be many: look at some more than are wanted at a time.
        let batch = limit.max(BATCH);
        loop {
            let rows = stored(from.as_ref(), batch)?;
            let last = (rows.len() == batch).then(|| rows.last().map(|(k, _)| k.clone())).flatten();
            // Up to the last stored row, or to the end, nothing can come in between any more.
            let upto = last.clone().map_or(Bound::Unbounded, Bound::Included);
            let mut merged: BTreeMap<K, Option<V>> = rows.into_iter().map(|(k, v)| (k, Some(v))).collect();
            for layer in [&self.committing, &self.pending] {
                let range = (from.clone(), upto.clone());
                if is_ordered(&range) {
                    for (k, v) in layer.range(range).take_while(|(k, _)| inside(k)) {
                        merged.insert(k.clone(), v.clone());
                    }
                }
            }
            for (k, v) in merged {
                if let Some(v) = v {
                    found.push((k, v));
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
            }
            match last {
                Some(last) => from = Bound::Excluded(last),
                None => return Ok(found),
            }
        }
    }
}

/// Whether `BTreeMap::range` takes it.
fn is_ordered<K: Ord>(range: &(Bound<K>, Bound<K>)) -> bool {
    match (range.start_bound(), range.end_bound()) {
        (Bound::Excluded(a), Bound::Included(b)) => a < b,
        (Bound::Included(a), Bound::Included(b)) => a <= b,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a commit was to write waits again, and what came later stands.
    #[test]
    fn uncaptured_changes_lie_under_newer_ones() {
        let mut overlay = Overlay::new();
        for (key, value) in [(1, Some("a")), (2, Some("b")), (3, None), (4, Some("d")), (5, None)] {
            overlay.set(key, value);
        }
        overlay.capture();
        for (key, value) in [(2, Some("B")), (3, Some("C")), (4, None), (6, Some("f"))] {
            overlay.set(key, value);
        }
        overlay.uncapture();
        assert!(!overlay.is_clean());
        let expected =
            vec![(1, Some("a")), (2, Some("B")), (3, Some("C")), (4, None), (5, None), (6, Some("f"))];
        for (key, value) in &expected {
            assert_eq!(overlay.get(key), Some(value.as_ref()));
        }
        assert_eq!(overlay.capture(), expected);
    }
}
