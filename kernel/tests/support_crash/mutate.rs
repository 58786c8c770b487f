//! Bytes that are almost right.

use super::rng::Rng;

/// What is often just beyond a limit.
const WORDS: [u64; 10] = [0, 1, 255, 256, 8191, 8192, (1 << 47) - 1, 1 << 47, 1 << 50, u64::MAX];

/// Change `bytes` in one to four places; it may be left as it was.
pub fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(4) {
        once(rng, bytes);
    }
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let len = bytes.len();
    let at = rng.below(len as u64 + 1) as usize;
    if at == len {
        match rng.below(3) {
            0 => bytes.truncate(rng.below(len as u64 + 1) as usize),
            1 => bytes.extend(rng.bytes(8)),
            _ => bytes.extend_from_within(len.saturating_sub(8)..),
        }
        return;
    }
    let to = rng.below(len as u64) as usize;
    match rng.below(8) {
        0..3 => bytes[at] ^= 1 << rng.below(8),
        3 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][rng.below(6) as usize],
        4 => {
            // A word, where words are likely to be.
            let at = at / 8 * 8 + 5;
            let word = rng.pick(&WORDS).unwrap().to_le_bytes();
            if let Some(place) = bytes.get_mut(at..at + 8) {
                place.copy_from_slice(&word);
            }
        }
        5 => {
            bytes.remove(at);
        }
        6 => bytes.insert(at, rng.next() as u8),
        _ => {
            let n = rng.below(17).min((len - at.max(to)) as u64) as usize;
            bytes.copy_within(to..to + n, at);
        }
    }
}
