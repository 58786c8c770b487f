//! Clients that break the NBD protocol, or want to be in the way.

#[allow(dead_code)]
#[path = "support/random.rs"]
mod random;
mod support_nbd;

use std::time::{Duration, Instant};

use cowshed_kernel::nbd::proto::{Request, answer, command, option};
use cowshed_kernel::nbd::server::Limits;
use random::{Rng, tell, with_seeds};
use support_nbd::{Chat, Raw, SIZE, Serving, go_data, queries_data};

/// On an export that no conversation chooses.
const OUT_OF_REACH: u64 = 1 << 30;

/// A server that nothing has shaken: it serves, keeps its data and closed what it opened.
fn assert_sound(serving: &Serving, content: u8) {
    let mut chat = Chat::open(&serving.socket, "other", true, true, &["base:allocation"]);
    let data = chat.read(OUT_OF_REACH, 100).data;
    assert_eq!(data, [content; 100]);
    drop(chat);
    assert!(serving.server.stop(Duration::from_secs(30)), "connections that do not end");
    assert_eq!(serving.shelf.open.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(serving.shelf.kernel.check().unwrap(), Vec::<String>::new());
}

fn serving_content(content: u8) -> Serving {
    let serving = Serving::new(Limits { handshake: Duration::from_secs(5), ..Limits::default() });
    let mut chat = Chat::open(&serving.socket, "other", true, false, &[]);
    assert_eq!(chat.write(OUT_OF_REACH, &[content; 100]), 0);
    serving
}

/// A conversation that a client might have, as the pieces in which it is sent.
fn conversation(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut said = vec![3u32.to_be_bytes().to_vec()];
    let mut option = |number: u32, data: &[u8]| {
        let mut bytes = b"IHAVEOPT".to_vec();
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
        bytes.extend_from_slice(data);
        said.push(bytes);
    };
    let extended = rng.one_in(2);
    option(if extended { option::EXTENDED_HEADERS } else { option::STRUCTURED_REPLY }, &[]);
    option(option::LIST_META_CONTEXT, &queries_data("disk", &["base:"]));
    option(option::SET_META_CONTEXT, &queries_data("disk", &["base:allocation", "cowshed:diff:x"]));
    option(option::INFO, &go_data("other", &[1, 2, 3]));
    option(if rng.one_in(8) { option::EXPORT_NAME } else { option::GO }, &go_data("disk", &[3]));
    for _ in 0..rng.below(12) {
        let command = rng.below(9) as u16;
        let flags = if rng.one_in(3) { 1 << rng.below(7) } else { 0 };
        let (offset, length) = (rng.below(SIZE - 5000), rng.below(4000));
        let mut bytes = Vec::new();
        Request { flags, command, cookie: rng.next(), offset, length }.write(&mut bytes, extended);
        if command == command::WRITE {
            bytes.extend(rng.bytes(length as usize));
        }
        said.push(bytes);
    }
    said
}

/// Change a few bytes, mostly to numbers that mean much or little.
fn spoil(rng: &mut Rng, pieces: &mut [Vec<u8>]) {
    for _ in 0..rng.below(4) {
        let piece = rng.below(pieces.len() as u64) as usize;
        let bytes = &mut pieces[piece];
        if bytes.is_empty() {
            continue;
        }
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(5) {
            0 => bytes[at] = rng.next() as u8,
            1 => bytes[at] = 0xff,
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => bytes.truncate(at),
            _ => bytes.insert(at, rng.next() as u8),
        }
    }
}

#[test]
fn nothing_that_is_said_shakes_the_server() {
    with_seeds(4, |seed| {
        let mut rng = Rng::new(seed);
        let serving = serving_content(9);
        for run in 0..60 {
            let mut pieces = conversation(&mut rng);
            spoil(&mut rng, &mut pieces);
            tell(|| format!("run {run}: {pieces:02x?}"));
            let mut raw = Raw::connect(&serving.socket);
            for piece in &pieces {
                raw.say(piece);
            }
            if rng.one_in(2) {
                // Half of them wait for answers; the others are gone before.
                let _ = raw.0.shutdown(std::net::Shutdown::Write);
                while raw.take(1).is_ok() {}
            }
        }
        assert_sound(&serving, 9);
    });
}

#[test]
fn half_a_request_and_goodbye() {
    for extended in [false, true] {
        let serving = serving_content(4);
        let mut whole = Vec::new();
        Request { flags: 0, command: command::WRITE, cookie: 1, offset: 0, length: 9000 }
            .write(&mut whole, extended);
        whole.extend_from_slice(&[6; 9000]);
        for cut in [1, 4, 20, 27, 28, 31, 32, 33, 5000, 9000] {
            let mut chat = Chat::open(&serving.socket, "disk", true, extended, &[]);
            chat.raw.say(&whole[..cut]);
        }
        assert_sound(&serving, 4);
    }
}

#[test]
fn a_payload_that_is_too_long_ends_the_connection() {
    let serving = serving_content(4);
    for (structured, extended) in [(false, false), (true, true)] {
        let mut chat = Chat::open(&serving.socket, "disk", structured, extended, &[]);
        chat.send(command::WRITE, 0, 0, (32 << 20) + 1, &[]);
        assert!(chat.raw.is_closed());
    }
    let mut chat = Chat::open(&serving.socket, "disk", true, true, &[]);
    chat.send(command::READ, command::flag::PAYLOAD_LEN, 0, 1 << 62, &[]);
    assert!(chat.raw.is_closed());
    let mut chat = Chat::open(&serving.socket, "disk", true, true, &[]);
    assert_ne!(chat.call(command::READ, command::flag::PAYLOAD_LEN, 0, 5, b"12345").error, 0);
    assert_eq!(chat.read(0, 1).error, 0, "a payload that was not passed over");
    // It says so once the connection is over.
    let deadline = Instant::now() + Duration::from_secs(30);
    while serving.shelf.faults.lock().len() < 3 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(serving.shelf.faults.lock().len(), 3);
}

#[test]
fn who_does_not_listen_is_in_no_ones_way() {
    let serving = serving_content(4);
    let mut chat = Chat::open(&serving.socket, "disk", true, false, &[]);
    assert_eq!(chat.write(0, &vec![1; 4 << 20]), 0);
    // More answers than any socket holds, and no one who reads them.
    let deaf: Vec<Chat> = (0..20)
        .map(|_| {
            let mut deaf = Chat::open(&serving.socket, "disk", true, false, &[]);
            for _ in 0..30 {
                deaf.send(command::READ, 0, 0, 4 << 20, &[]);
            }
            deaf
        })
        .collect();
    for i in 0..200 {
        assert_eq!(chat.read(i * 4096, 4096).data, [1; 4096]);
        assert_eq!(chat.call(command::FLUSH, 0, 0, 0, &[]).error, 0);
    }
    // A stop waits for no one longer than it was told to.
    assert!(!serving.server.stop(Duration::from_millis(200)));
    assert!(serving.server.connections().is_empty());
    drop(deaf);
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let serving = Serving::new(Limits { connections: 4, ..Limits::default() });
    let mut open: Vec<Chat> = (0..4).map(|_| Chat::open(&serving.socket, "disk", true, false, &[])).collect();
    let mut fifth = Raw::connect(&serving.socket);
    assert!(fifth.is_closed());
    assert_eq!(serving.server.connections().len(), 4);
    let id = serving.server.connections()[0].id;
    assert!(serving.server.disconnect(id));
    assert!(open[0].raw.is_closed());
    let deadline = Instant::now() + Duration::from_secs(30);
    while serving.server.connections().len() == 4 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let mut raw = Raw::greet(&serving.socket, 3);
    assert_eq!(raw.verdict(option::GO, &go_data("disk", &[])), answer::ACK);
    assert_eq!(open[3].write(0, b"x"), 0);
}
