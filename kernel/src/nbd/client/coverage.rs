//! Which bytes of a read have come: chunks may come in any order, and never twice.

use std::collections::BTreeMap;

/// The bytes of one read that have come.
#[derive(Debug, Default)]
pub struct Coverage {
    /// All below this have come.
    front: u64,
    /// What has come beyond the front: start and end, neither overlapping nor touching.
    ahead: BTreeMap<u64, u64>,
}

impl Coverage {
    /// Note that `start..end` has come; false when some of it had before.
    pub fn add(&mut self, start: u64, end: u64) -> bool {
        if start < self.front {
            return false;
        }
        let (mut start, mut end) = (start, end);
        if let Some((&before, &before_end)) = self.ahead.range(..end).next_back() {
            if before_end > start {
                return false;
            }
            if before_end == start {
                self.ahead.remove(&before);
                start = before;
            }
        }
        if let Some(after_end) = self.ahead.remove(&end) {
            end = after_end;
        }
        if start == self.front {
            self.front = end;
        } else {
            self.ahead.insert(start, end);
        }
        true
    }

    /// Whether all of `0..length` has come.
    pub fn complete(&self, length: u64) -> bool {
        self.front == length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order of every partition of a few bytes, with an overlap here and there, against a set of bytes.
    #[test]
    fn agrees_with_a_set_of_bytes() {
        let mut state = 1u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let (mut refused, mut completed) = (0, 0);
        for _ in 0..20_000 {
            let length = 1 + below(12);
            let (mut coverage, mut bytes) = (Coverage::default(), 0u32);
            for _ in 0..16 {
                let start = below(length);
                let end = start + 1 + below((length - start).min(3));
                let these = ((1u32 << (end - start)) - 1) << start;
                let fresh = bytes & these == 0;
                assert_eq!(coverage.add(start, end), fresh, "{start}..{end} after {bytes:b}");
                if !fresh {
                    refused += 1;
                    continue;
                }
                bytes |= these;
                let all = bytes == (1 << length) - 1;
                assert_eq!(coverage.complete(length), all, "{bytes:b}");
                completed += usize::from(all);
            }
        }
        assert!(refused > 1000 && completed > 1000);
    }
}
