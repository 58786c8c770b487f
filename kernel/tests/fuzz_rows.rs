//! The parsers of rows, given what no one wrote: they refuse it, or it is what they would have written.

mod support_crash;

use cowshed_kernel::ids::{BLOCK, MAX_DISK_SIZE, VersionId};
use cowshed_kernel::rows::{
    Bitmap, CHUNK_BLOCKS, CHUNK_WORDS, FANOUT, LEVELS, Pointer, StateRow, VersionRow, VersionState, bit_runs,
    decode_chunk, decode_header, decode_page, encode_chunk, encode_header, encode_page, seal_key, unseal_key,
};
use support_crash::mutate::mutate;
use support_crash::rng::{Rng, for_seeds};

const ROUNDS: u64 = 3000;

/// A kind of row.
struct Kind {
    name: &'static str,
    /// A row, and what it is sealed with.
    make: fn(&mut Rng) -> (Vec<u8>, Vec<u8>),
    /// What is written for what was read; `None` when it is refused.
    again: fn(&[u8], &[u8]) -> Option<Vec<u8>>,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "page",
        make: |rng| {
            let id = rng.next();
            let pointers = pointers(rng);
            let level = rng.below(LEVELS.into()) as u8;
            (encode_page(id, level, |i| pointers[i]), id.to_le_bytes().to_vec())
        },
        again: |key, row| {
            let id = u64::from_le_bytes(key.try_into().unwrap());
            let mut pointers = [Pointer::NONE; FANOUT];
            let level = decode_page(id, row, |i, pointer| {
                assert!(pointers[i].is_none() && !pointer.is_none());
                pointers[i] = pointer;
            });
            Some(encode_page(id, level.ok()?, |i| pointers[i]))
        },
    },
    Kind {
        name: "version",
        make: |rng| {
            let id = rng.next();
            (version(rng).encode(VersionId(id)), id.to_le_bytes().to_vec())
        },
        again: |key, row| {
            let id = VersionId(u64::from_le_bytes(key.try_into().unwrap()));
            Some(VersionRow::decode(id, row).ok()?.encode(id))
        },
    },
    Kind {
        name: "chunk",
        make: |rng| {
            let chunk = rng.next();
            (encode_chunk(chunk, &bitmap(rng)), chunk.to_le_bytes().to_vec())
        },
        again: |key, row| {
            let chunk = u64::from_le_bytes(key.try_into().unwrap());
            Some(encode_chunk(chunk, &decode_chunk(chunk, row).ok()?))
        },
    },
    Kind {
        name: "state",
        make: |rng| (state(rng).encode(), b"state".to_vec()),
        again: |_, row| Some(StateRow::decode(row).ok()?.encode()),
    },
];

fn pointers(rng: &mut Rng) -> [Pointer; FANOUT] {
    let mut pointers = [Pointer::NONE; FANOUT];
    let mut i = rng.below(FANOUT as u64) as usize;
    while i < FANOUT {
        let far = 1 + rng.below((1 << 47) - 300);
        let number = *rng.pick(&[1, 2, far, (1 << 47) - 300]).unwrap();
        let owned = rng.once_in(2);
        let len = *rng.pick(&[1, 1, 2, 30, 256]).unwrap();
        for (k, pointer) in pointers[i..].iter_mut().take(len).enumerate() {
            *pointer = Pointer::new(number + k as u64, owned);
        }
        i += len + rng.below(3) as usize * 7;
    }
    if pointers.iter().all(|pointer| pointer.is_none()) {
        pointers[7] = Pointer::new(1, false);
    }
    pointers
}

fn version(rng: &mut Rng) -> VersionRow {
    let states = [VersionState::Head, VersionState::Frozen, VersionState::Hidden, VersionState::Dying];
    VersionRow {
        root: *rng.pick(&[Pointer::NONE, Pointer::new(1, true), Pointer::new(77, false)]).unwrap(),
        parent: rng.pick(&[None, Some(VersionId(1)), Some(VersionId(u64::MAX))]).copied().unwrap(),
        size: rng.below(MAX_DISK_SIZE + 1),
        mapped: rng.below(100),
        children: rng.below(3),
        state: *rng.pick(&states).unwrap(),
    }
}

fn bitmap(rng: &mut Rng) -> Bitmap {
    let mut bits = [0; CHUNK_WORDS];
    match rng.below(4) {
        0 => bits = [u64::MAX; CHUNK_WORDS],
        1 => bits = std::array::from_fn(|_| rng.next()),
        _ => {
            for _ in 0..rng.below(5) {
                let (word, len) = (rng.below(128) as usize, rng.below(40) as usize);
                bits[word..].iter_mut().take(len).for_each(|word| *word = u64::MAX);
                bits[rng.below(128) as usize] ^= rng.next();
            }
        }
    }
    bits
}

fn state(rng: &mut Rng) -> StateRow {
    let end_chunk = rng.below(1 << 33);
    StateRow {
        store_id: rng.bytes(16).try_into().unwrap(),
        next_page: 1 + rng.below(1 << 45),
        next_version: 1 + rng.below(1 << 45),
        used_blocks: rng.below(end_chunk * CHUNK_BLOCKS + 1),
        end_chunk,
        metadata_bytes: rng.next(),
        commits: rng.below(1 << 45),
    }
}

/// A row with the checksum that its body needs.
fn sealed(key: &[u8], row: &[u8]) -> Vec<u8> {
    seal_key(key, row.get(4..).unwrap_or_default())
}

#[test]
fn what_was_written_is_read() {
    for_seeds(10, |seed| {
        let mut rng = Rng::new(seed);
        for _ in 0..ROUNDS / 10 {
            for kind in &KINDS {
                let (row, key) = (kind.make)(&mut rng);
                assert!((kind.again)(&key, &row).as_ref() == Some(&row), "{}", kind.name);
            }
        }
    });
}

/// With the right checksum, so that what is behind it gets to see it: there is one way to write each thing.
#[test]
fn what_no_one_wrote_is_refused_or_written_the_same() {
    for_seeds(10, |seed| {
        let mut rng = Rng::new(seed);
        let (mut read, mut refused) = ([0; KINDS.len()], [0; KINDS.len()]);
        for _ in 0..ROUNDS {
            for (i, kind) in KINDS.iter().enumerate() {
                let (mut row, key) = (kind.make)(&mut rng);
                mutate(&mut rng, &mut row);
                let row = sealed(&key, &row);
                match (kind.again)(&key, &row) {
                    Some(again) => {
                        assert!(
                            again == row,
                            "{}: {row:x?} was read, and is written as {again:x?}",
                            kind.name
                        );
                        read[i] += 1;
                    }
                    None => refused[i] += 1,
                }
            }
        }
        // The mutations reach both.
        assert!(read.iter().chain(&refused).all(|n| *n > 0), "{read:?} {refused:?}");
    });
}

/// Without the right checksum nothing is read: not a row with a few bits changed, not under another's key.
#[test]
fn what_was_changed_is_refused() {
    for_seeds(10, |seed| {
        let mut rng = Rng::new(seed);
        for _ in 0..ROUNDS / 10 {
            for kind in &KINDS {
                let (row, key) = (kind.make)(&mut rng);
                let mut changed = row.clone();
                changed[rng.below(row.len() as u64) as usize] ^= 1 << rng.below(8);
                assert!((kind.again)(&key, &changed).is_none(), "{}", kind.name);
                changed.truncate(rng.below(row.len() as u64) as usize);
                assert!((kind.again)(&key, &changed).is_none(), "{}", kind.name);
                let mut other = key.clone();
                other[0] ^= 1;
                assert!(kind.name == "state" || (kind.again)(&other, &row).is_none(), "{}", kind.name);
            }
        }
    });
}

#[test]
fn keys() {
    for_seeds(10, |seed| {
        let mut rng = Rng::new(seed);
        for _ in 0..ROUNDS {
            let lens = [rng.below(20) as usize, rng.below(200) as usize];
            let [key, value] = lens.map(|len| rng.bytes(len));
            let row = seal_key(&key, &value);
            assert_eq!(unseal_key(&key, &row).unwrap(), value);
            let mut changed = row.clone();
            mutate(&mut rng, &mut changed);
            if let Ok(read) = unseal_key(&key, &changed) {
                assert_eq!(seal_key(&key, read), changed);
            }
        }
    });
}

#[test]
fn header() {
    for_seeds(10, |seed| {
        let mut rng = Rng::new(seed);
        let id: [u8; 16] = rng.bytes(16).try_into().unwrap();
        let header = encode_header(&id);
        for _ in 0..ROUNDS {
            let mut changed = header.clone();
            changed.truncate(40);
            mutate(&mut rng, &mut changed);
            if let Ok(read) = decode_header(&changed) {
                // What comes behind is not looked at.
                assert_eq!(encode_header(&read)[..28], changed[..28]);
            }
            changed.resize(BLOCK, 0);
            let _ = decode_header(&changed);
        }
    });
}

/// The runs cover the bits, each as long as it can be.
#[test]
fn runs_of_bits() {
    for_seeds(10, |seed| {
        let mut rng = Rng::new(seed);
        for _ in 0..ROUNDS / 30 {
            let bits = bitmap(&mut rng);
            let from = *rng.pick(&[0, 1, 63, 64, 8190, CHUNK_BLOCKS]).unwrap();
            let bit = |i: u64| bits[(i / 64) as usize] >> (i % 64) & 1 != 0;
            for set in [true, false] {
                let mut at = from;
                for (start, len) in bit_runs(&bits, set, from) {
                    assert!(start == from || start > at || at == from);
                    assert!((at..start).all(|i| bit(i) != set));
                    assert!(len > 0 && (start..start + len).all(|i| bit(i) == set));
                    at = start + len;
                    assert!(at == CHUNK_BLOCKS || bit(at) != set);
                }
                assert!((at..CHUNK_BLOCKS).all(|i| bit(i) != set));
            }
        }
    });
}
