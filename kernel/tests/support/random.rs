//! Random numbers that a seed repeats, and the loop that every random test runs in.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::ops::Range;

/// SplitMix64.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..end`; `end` is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            return None;
        }
        Some(&from[self.below(from.len() as u64) as usize])
    }

    /// Bytes of which none is zero.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&(self.next() | 0x0101_0101_0101_0101).to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Tells the seed when the test panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat: COWSHED_SEED={}", self.0);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

/// Run `test` with `runs` new seeds, or `COWSHED_RUNS` of them, or with `COWSHED_SEED` only.
pub fn with_seeds(runs: u64, mut test: impl FnMut(u64)) {
    if let Some(seed) = number("COWSHED_SEED") {
        let _told = Told(seed);
        test(seed);
        return;
    }
    for run in 0..number("COWSHED_RUNS").unwrap_or(runs) {
        let seed = RandomState::new().hash_one(run);
        let _told = Told(seed);
        test(seed);
    }
}

/// Tell what a test does, when it repeats one seed.
pub fn tell(what: impl FnOnce() -> String) {
    if number("COWSHED_SEED").is_some() {
        eprintln!("{}", what());
    }
}
