//! Replies that break the protocol, end too early, or are nonsense: calls fail with words, at once, and nothing is
//! written where it must not be.

#[allow(dead_code)]
#[path = "support_crash/mutate.rs"]
mod mutate;
#[allow(dead_code)]
#[path = "support_crash/rng.rs"]
mod rng;
mod support_nbd_client;

use std::io::Write;
use std::ptr::NonNull;
use std::thread;

use cowshed_kernel::error::Kind;
use cowshed_kernel::nbd::client::handshake::Dialect;
use cowshed_kernel::nbd::client::replies::{Destination, Head, Pending};
use cowshed_kernel::nbd::proto::{Request, chunk, command, errno, simple_reply};
use mutate::mutate;
use rng::{Rng, for_seeds};
use support_nbd_client::{
    CONTEXT, DIALECTS, KIB, MIB, data, error, in_time, part, session, success, take_request,
};

const AT: u64 = 4 * KIB;
const LEN: u64 = 8 * KIB;

/// Of 32-bit words.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn hole(at: u64, len: u32) -> Vec<u8> {
    [&at.to_be_bytes()[..], &len.to_be_bytes()].concat()
}

type Reply = Box<dyn Fn(Dialect, &Request) -> Vec<u8> + Send>;

/// One chunk that is the last.
fn only(kind: u16, payload: Vec<u8>) -> Reply {
    Box::new(move |dialect, request| part(dialect, request, chunk::DONE, kind, &payload))
}

/// A chunk of data before another that is the last.
fn after(first: Vec<u8>, kind: u16, payload: Vec<u8>) -> Reply {
    Box::new(move |dialect, request| {
        let first = part(dialect, request, 0, chunk::OFFSET_DATA, &first);
        [first, part(dialect, request, chunk::DONE, kind, &payload)].concat()
    })
}

/// What no server may answer to a read of `LEN` bytes at `AT`, and what is said of it.
fn wrong_reads() -> Vec<(Reply, &'static str)> {
    let part_of = |len: u64| vec![1; len as usize];
    vec![
        (Box::new(|_, _| vec![0; 64]), "0x00000000 where a reply is due"),
        (Box::new(|_, r| simple_reply(0, r.cookie).to_vec()), ""),
        (Box::new(|d, r| success(d, &Request { cookie: r.cookie + 1, ..*r }, &[1; 8])), "not requested"),
        (only(chunk::NONE, vec![]), "data missing"),
        (only(chunk::NONE, vec![1]), "empty chunk"),
        (Box::new(|d, r| part(d, r, 0, chunk::NONE, &[])), "empty chunk"),
        (only(chunk::OFFSET_DATA, data(AT, &part_of(LEN - 1))), "data missing"),
        (only(chunk::OFFSET_DATA, data(AT + 1, &part_of(LEN))), "beyond"),
        (only(chunk::OFFSET_DATA, data(AT, &part_of(LEN + 1))), "beyond"),
        (only(chunk::OFFSET_DATA, data(AT - 1, &part_of(8))), "outside"),
        (only(chunk::OFFSET_DATA, data(AT + LEN, &part_of(1))), "outside"),
        (only(chunk::OFFSET_DATA, data(u64::MAX, &part_of(8))), "outside"),
        (only(chunk::OFFSET_DATA, data(AT, &[])), "without data"),
        (only(chunk::OFFSET_DATA, vec![]), "without data"),
        (only(chunk::OFFSET_HOLE, hole(AT, LEN as u32 + 1)), "beyond"),
        (only(chunk::OFFSET_HOLE, hole(AT, 0)), "beyond"),
        (only(chunk::OFFSET_HOLE, hole(AT, u32::MAX)), "beyond"),
        (only(chunk::OFFSET_HOLE, data(AT, &[0; 5])), "wrong length"),
        (after(data(AT, &part_of(LEN)), chunk::OFFSET_DATA, data(AT + LEN - 1, &[1])), "twice"),
        (after(data(AT + 10, &part_of(10)), chunk::OFFSET_DATA, data(AT, &part_of(11))), "twice"),
        (after(data(AT + 10, &part_of(10)), chunk::OFFSET_HOLE, hole(AT + 19, 5)), "twice"),
        (after(data(AT + 10, &part_of(10)), chunk::NONE, vec![]), "data missing"),
        (only(chunk::BLOCK_STATUS, words(&[CONTEXT, 8, 0])), "none was asked"),
        (only(99, vec![1]), "unknown kind 99"),
        (only(chunk::ERROR, vec![0; 5]), "wrong length"),
        (only(chunk::ERROR, error(0, b"")), "without error"),
        (only(chunk::ERROR, words(&[5, 0x00ff_0000])), "shorter than its message"),
        (only(chunk::ERROR, [error(5, b""), vec![0; 70_000]].concat()), "wrong length"),
        (only(chunk::ERROR_OFFSET, error(5, b"")), "without its offset"),
        (only(chunk::ERROR_OFFSET, [error(5, b""), (AT + LEN).to_be_bytes().to_vec()].concat()), "outside"),
        // The reply is complete, and comes again.
        (
            Box::new(|d, r| [success(d, r, &[1; LEN as usize]), success(d, r, &[1; LEN as usize])].concat()),
            "not requested",
        ),
    ]
}

#[test]
fn a_read_answered_wrongly_ends_the_connection() {
    for dialect in [Dialect::Structured, Dialect::Extended] {
        for (reply, words) in wrong_reads() {
            in_time(move || {
                let (client, server) = session(dialect, MIB, move |mut stream| {
                    // The second one waits, and is told why it waited in vain.
                    let first = take_request(&mut stream, dialect).unwrap().0;
                    let second = take_request(&mut stream, dialect).unwrap().0;
                    let asked = if first.command == command::READ { first } else { second };
                    stream.write_all(&reply(dialect, &asked)).unwrap();
                    take_request(&mut stream, dialect).is_none()
                });
                thread::scope(|scope| {
                    let other = scope.spawn(|| client.flush().unwrap_err());
                    let told = client.read(AT, &mut [0; LEN as usize]);
                    let other = other.join().unwrap();
                    assert!(other.message.contains("breaks the protocol"), "{other}, for {words:?}");
                    assert!(other.message.contains(words), "{other}, for {words:?}");
                    // All may have been well but for what came behind it.
                    assert!(told.is_ok_and(|()| words == "not requested") || client.flush() == Err(other));
                });
                assert_eq!(client.flush().unwrap_err().kind, Kind::Io);
                assert!(server.join().unwrap(), "the client hangs up");
            });
        }
    }
}

#[test]
fn block_status_told_wrongly_ends_the_connection() {
    let compact: Vec<(u16, Vec<u8>, &str)> = vec![
        (chunk::NONE, vec![], "without the context"),
        (chunk::BLOCK_STATUS, words(&[CONTEXT + 1, 8, 0]), "without the context"),
        (chunk::BLOCK_STATUS, words(&[CONTEXT]), "wrong length"),
        (chunk::BLOCK_STATUS, words(&[CONTEXT, 8]), "wrong length"),
        (chunk::BLOCK_STATUS, words(&[CONTEXT, 8, 0, 0, 0]), "an empty part"),
        (chunk::BLOCK_STATUS_EXT, words(&[CONTEXT, 1, 0, 8, 0, 0]), "unknown kind"),
        (chunk::OFFSET_DATA, data(0, &[1]), "no read"),
        (chunk::OFFSET_HOLE, hole(0, 1), "no read"),
    ];
    let extended = vec![
        (chunk::BLOCK_STATUS_EXT, words(&[CONTEXT, 2, 0, 8, 0, 0]), "counts"),
        (chunk::BLOCK_STATUS_EXT, words(&[CONTEXT, 0]), "wrong length"),
        (chunk::BLOCK_STATUS_EXT, words(&[CONTEXT, 1, 0, 0, 0, 0]), "an empty part"),
    ];
    let compact = compact.into_iter().map(|case| (Dialect::Structured, case));
    for (dialect, (kind, payload, words)) in
        compact.chain(extended.into_iter().map(|case| (Dialect::Extended, case)))
    {
        in_time(move || {
            let (client, server) = session(dialect, MIB, move |mut stream| {
                let request = take_request(&mut stream, dialect).unwrap().0;
                stream.write_all(&part(dialect, &request, chunk::DONE, kind, &payload)).unwrap();
                take_request(&mut stream, dialect).is_none()
            });
            let told = client.extents(0, MIB, "base:allocation").unwrap_err();
            assert!(told.message.contains("breaks the protocol"), "{told}, for {words:?}");
            assert!(told.message.contains(words), "{told}, for {words:?}");
            assert!(server.join().unwrap(), "the client hangs up");
        });
    }
}

/// A reply in several chunks to a read of 64 bytes at `AT`, or the simple one.
fn sound_reply(dialect: Dialect, request: &Request) -> Vec<u8> {
    if dialect == Dialect::Simple {
        return success(dialect, request, &[3; 64]);
    }
    [
        part(dialect, request, 0, chunk::OFFSET_DATA, &data(AT + 32, &[3; 16])),
        part(dialect, request, 0, chunk::OFFSET_HOLE, &hole(AT + 48, 16)),
        part(dialect, request, chunk::DONE, chunk::OFFSET_DATA, &data(AT, &[3; 32])),
    ]
    .concat()
}

#[test]
fn a_reply_that_is_cut_off_is_a_lost_connection() {
    for dialect in DIALECTS {
        in_time(move || {
            let some = Request { flags: 0, command: command::READ, cookie: 0, offset: AT, length: 64 };
            let whole = sound_reply(dialect, &some).len();
            for end in 0..=whole {
                let (client, server) = session(dialect, MIB, move |mut stream| {
                    let request = take_request(&mut stream, dialect).unwrap().0;
                    stream.write_all(&sound_reply(dialect, &request)[..end]).unwrap();
                });
                let told = client.read(AT, &mut [0; 64]);
                server.join().unwrap();
                if end == whole {
                    told.unwrap();
                }
                let later = client.read(AT, &mut [0; 64]).unwrap_err();
                assert!(later.message.contains("lost the connection"), "{later}, cut at {end}");
            }
        });
    }
}

#[test]
fn changed_replies_fail_or_succeed_and_never_hang() {
    for_seeds(300, |seed| {
        in_time(move || {
            let dialect = DIALECTS[seed as usize % 3];
            let (client, server) = session(dialect, MIB, move |mut stream| {
                let mut rng = Rng::new(seed);
                let requests = [(); 2].map(|()| take_request(&mut stream, dialect).unwrap().0);
                let mut bytes = requests.map(|request| sound_reply(dialect, &request)).concat();
                mutate(&mut rng, &mut bytes);
                // The client may hang up in the midst of it.
                let _ = stream.write_all(&bytes);
            });
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| client.read(AT, &mut [0; 64]).is_ok());
                }
            });
            assert_eq!(client.flush().unwrap_err().kind, Kind::Io);
            server.join().unwrap();
        });
    });
}

/// Anything at all, given to the parser: it comes to an end, and writes to its destination only.
#[test]
fn the_parser_stays_within_its_destination() {
    for_seeds(20_000, |seed| {
        let mut rng = Rng::new(seed);
        let dialect = DIALECTS[rng.below(3) as usize];
        let command =
            *rng.pick(&[command::READ, command::READ, command::BLOCK_STATUS, command::WRITE]).unwrap();
        let request = Request { flags: 0, command, cookie: 5, offset: AT, length: 64 };
        let mut bytes = match command {
            command::READ => sound_reply(dialect, &request),
            command::BLOCK_STATUS if dialect == Dialect::Extended => {
                let told = words(&[CONTEXT, 2, 0, 32, 0, 1, 0, 32, 0, 2]);
                part(dialect, &request, chunk::DONE, chunk::BLOCK_STATUS_EXT, &told)
            }
            command::BLOCK_STATUS if dialect == Dialect::Structured => {
                let told = words(&[CONTEXT, 32, 1, 32, 2]);
                part(dialect, &request, chunk::DONE, chunk::BLOCK_STATUS, &told)
            }
            _ if dialect != Dialect::Simple && rng.once_in(2) => {
                part(dialect, &request, chunk::DONE, chunk::ERROR, &error(errno::EIO, b"message"))
            }
            _ => success(dialect, &request, &[]),
        };
        if !rng.once_in(10) {
            mutate(&mut rng, &mut bytes);
        }
        // The destination is in the middle; what no reply above writes is around it, and in it.
        let mut memory = [0xc5u8; 192];
        let start = NonNull::new(memory[64..].as_mut_ptr()).unwrap();
        let mut pending = Pending {
            call: 1,
            command,
            offset: AT,
            length: 64,
            destination: (command == command::READ).then_some(Destination(start)),
            context: (command == command::BLOCK_STATUS).then_some(CONTEXT),
            coverage: Default::default(),
            error: None,
            extents: Vec::new(),
        };
        let mut from = bytes.as_slice();
        let done = loop {
            let Ok(head) = Head::read(&mut from, dialect) else { break false };
            match pending.take(head, &mut from, dialect) {
                Ok(true) => break true,
                Ok(false) => {}
                Err(_) => break false,
            }
        };
        assert!(
            memory[..64].iter().chain(&memory[128..]).all(|byte| *byte == 0xc5),
            "beyond its destination"
        );
        if done && pending.error.is_none() {
            assert!(command != command::READ || pending.coverage.complete(64));
            assert!(command != command::BLOCK_STATUS || !pending.extents.is_empty());
        }
    });
}
