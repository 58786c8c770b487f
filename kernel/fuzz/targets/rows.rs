//! A row of any kind with the right checksum: it is refused, or it is the one way to write what it says. Or a
//! record of the log: it is refused, or changes come of it.
//! The first byte is the kind, eight more the key.

#![no_main]

use cowshed_kernel::changes::parse;
use cowshed_kernel::ids::VersionId;
use cowshed_kernel::rows::{
    FANOUT, Pointer, StateRow, VersionRow, decode_chunk, decode_header, decode_page, encode_chunk,
    encode_page, seal_key,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let Some((key, body)) = data.split_first_chunk::<8>() else { return };
    let id = u64::from_le_bytes(*key);
    let sealed = match kind {
        3 => seal_key(b"state", body),
        _ => seal_key(key, body),
    };
    let again = match kind {
        0 => {
            let mut pointers = [Pointer::NONE; FANOUT];
            let level = decode_page(id, &sealed, |i, pointer| pointers[i] = pointer);
            level.map(|level| encode_page(id, level, |i| pointers[i]))
        }
        1 => VersionRow::decode(VersionId(id), &sealed).map(|row| row.encode(VersionId(id))),
        2 => decode_chunk(id, &sealed).map(|used| encode_chunk(id, &used)),
        3 => StateRow::decode(&sealed).map(|state| state.encode()),
        4 => {
            let _ = parse(body);
            return;
        }
        _ => {
            let _ = decode_header(body);
            return;
        }
    };
    if let Ok(again) = again {
        assert_eq!(again, sealed);
    }
});
