//! Random numbers from a seed, and how often a test runs.

use std::collections::VecDeque;

/// SplitMix64, behind choices that may be given.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
    choices: VecDeque<u16>,
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed, choices: VecDeque::new() }
    }

    /// The first choices are these bytes', two for each.
    pub fn steered(bytes: &[u8]) -> Rng {
        let choices = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        Rng { state: 1, choices: choices.collect() }
    }

    /// Of all that there are; never given.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        match self.choices.pop_front() {
            Some(choice) => u64::from(choice) % n,
            None => self.next() % n,
        }
    }

    /// Once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        match from.len() {
            0 => None,
            n => Some(&from[self.below(n as u64) as usize]),
        }
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Run a random test with `usually` seeds; with COWSHED_RUNS many; or with COWSHED_SEED alone.
///
/// The seeds are the same each time, so that a change is to blame for a failure; a prolonged run begins with the
/// same ones.
pub fn for_seeds(usually: u64, test: impl Fn(u64)) {
    if let Some(seed) = number("COWSHED_SEED") {
        return test(seed);
    }
    for seed in 1..=number("COWSHED_RUNS").unwrap_or(usually) {
        let told = Told(seed);
        test(seed);
        std::mem::forget(told);
    }
}

/// Tells the seed when the test panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("to repeat this: COWSHED_SEED={}", self.0);
    }
}
