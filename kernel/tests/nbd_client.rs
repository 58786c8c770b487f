//! The NBD client as many threads use it, against servers that answer in all the ways they may.

#[allow(dead_code)]
#[path = "support_crash/rng.rs"]
mod rng;
mod support_nbd_client;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use cowshed_kernel::error::Kind;
use cowshed_kernel::nbd::client::Client;
use cowshed_kernel::nbd::client::handshake::Dialect;
use cowshed_kernel::nbd::proto::{Request, chunk, command, errno, simple_reply};
use rng::{Rng, for_seeds};
use support_nbd_client::{
    CONTEXT, DIALECTS, KIB, MIB, data, error, in_time, part, session, success, take_request,
};

/// A read's reply in as many chunks as chance will have, data or holes, in any order.
fn shuffled(rng: &mut Rng, dialect: Dialect, request: &Request, bytes: &[u8]) -> VecDeque<Vec<u8>> {
    let mut payloads: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = if rng.once_in(3) { rest.len() } else { 1 + rng.below(rest.len() as u64) as usize };
        let at = request.offset + (bytes.len() - rest.len()) as u64;
        let (these, more) = rest.split_at(len);
        payloads.push(match these.iter().all(|byte| *byte == 0) {
            true => (chunk::OFFSET_HOLE, [&at.to_be_bytes()[..], &(len as u32).to_be_bytes()].concat()),
            false => (chunk::OFFSET_DATA, data(at, these)),
        });
        rest = more;
    }
    for i in (1..payloads.len()).rev() {
        payloads.swap(i, rng.below(i as u64 + 1) as usize);
    }
    let own_end = rng.once_in(2);
    let last = payloads.len() - 1;
    let done = |i| if i == last && !own_end { chunk::DONE } else { 0 };
    let chunks = payloads.iter().enumerate();
    let mut reply: VecDeque<_> =
        chunks.map(|(i, (kind, payload))| part(dialect, request, done(i), *kind, payload)).collect();
    if own_end {
        reply.push_back(part(dialect, request, chunk::DONE, chunk::NONE, &[]));
    }
    reply
}

/// A disk whose server takes several requests before it answers, and answers them chunk by chunk in turn.
fn juggle(seed: u64, dialect: Dialect, size: u64, stream: UnixStream) {
    let mut rng = Rng::new(seed);
    let mut disk = vec![0; size as usize];
    let (ask, asked) = mpsc::channel();
    let mut incoming = stream.try_clone().unwrap();
    thread::spawn(move || {
        while let Some(request) = take_request(&mut incoming, dialect) {
            ask.send(request).unwrap();
        }
    });
    let mut outgoing = stream;
    while let Ok(first) = asked.recv() {
        let mut replies: Vec<VecDeque<Vec<u8>>> = Vec::new();
        for (request, bytes) in std::iter::once(first).chain(asked.try_iter().take(8)) {
            let range = request.offset as usize..(request.offset + request.length) as usize;
            replies.push(match request.command {
                command::READ if dialect != Dialect::Simple => {
                    shuffled(&mut rng, dialect, &request, &disk[range])
                }
                command::READ => [success(dialect, &request, &disk[range])].into(),
                command::WRITE => {
                    disk[range].copy_from_slice(&bytes);
                    // Other than a read's, a reply may always be a simple one where headers are not extended.
                    let how = if dialect == Dialect::Extended || rng.once_in(2) {
                        dialect
                    } else {
                        Dialect::Simple
                    };
                    [success(how, &request, &[])].into()
                }
                command::WRITE_ZEROES => {
                    disk[range].fill(0);
                    [success(dialect, &request, &[])].into()
                }
                _ => [success(dialect, &request, &[])].into(),
            });
        }
        while !replies.is_empty() {
            let turn = rng.below(replies.len() as u64) as usize;
            outgoing.write_all(&replies[turn].pop_front().unwrap()).unwrap();
            if replies[turn].is_empty() {
                replies.swap_remove(turn);
            }
        }
    }
}

/// Random operations on a range that is this thread's alone, with what must be there beside it.
fn work(client: &Client, seed: u64, start: u64, len: u64) {
    let mut rng = Rng::new(seed);
    let mut oracle = vec![0; len as usize];
    for _ in 0..40 {
        let count = *rng.pick(&[1, 17, 4 * KIB, 4 * KIB, 64 * KIB, MIB, 3 * MIB - 1]).unwrap();
        let at = rng.below(len - count);
        let range = at as usize..(at + count) as usize;
        match rng.below(6) {
            0 | 1 => {
                oracle[range.clone()].copy_from_slice(&rng.bytes(count as usize));
                client.write(start + at, &oracle[range], rng.once_in(4)).unwrap();
            }
            2 => {
                oracle[range].fill(0);
                client.write_zeroes(start + at, count).unwrap();
            }
            3 => client.flush().unwrap(),
            _ => {
                let mut buffer = vec![0xaa; count as usize];
                client.read(start + at, &mut buffer).unwrap();
                assert!(buffer == oracle[range], "{count} bytes at {at}");
            }
        }
    }
    let mut buffer = vec![0xaa; len as usize];
    client.read(start, &mut buffer).unwrap();
    assert!(buffer == oracle);
}

#[test]
fn threads_share_a_connection_whatever_the_order_of_replies() {
    for_seeds(9, |seed| {
        in_time(move || {
            let dialect = DIALECTS[seed as usize % 3];
            let (threads, len) = (5, 4 * MIB);
            let (client, server) =
                session(dialect, threads * len, move |stream| juggle(seed, dialect, threads * len, stream));
            thread::scope(|scope| {
                let client = &client;
                for i in 0..threads {
                    scope.spawn(move || work(client, seed * 100 + i, i * len, len));
                }
            });
            drop(client);
            server.join().unwrap();
        });
    });
}

/// Wait for that many requests before the first is answered; then the last is answered first.
fn hold_back(count: usize, dialect: Dialect, mut stream: UnixStream) {
    let requests: Vec<_> = (0..count).map(|_| take_request(&mut stream, dialect).unwrap().0).collect();
    for request in requests.iter().rev() {
        let fill = vec![(request.offset / KIB) as u8; request.length as usize];
        let bytes = if request.command == command::READ { &fill[..] } else { &[] };
        stream.write_all(&success(dialect, request, bytes)).unwrap();
    }
}

#[test]
fn pieces_of_a_call_are_in_flight_together() {
    for dialect in DIALECTS {
        in_time(move || {
            let (client, server) = session(dialect, 64 * MIB, move |stream| {
                hold_back(8, dialect, stream.try_clone().unwrap());
                hold_back(8, dialect, stream);
            });
            let mut buffer = vec![0; 8 << 20];
            client.read(KIB, &mut buffer).unwrap();
            // The pieces begin at multiples of 1 MiB behind the offset, and 1 MiB is 0 KiB in a byte.
            assert!(buffer.iter().all(|byte| *byte == 1));
            client.write(0, &buffer, false).unwrap();
            server.join().unwrap();
        });
    }
}

#[test]
fn threads_do_not_wait_for_each_other() {
    for dialect in DIALECTS {
        in_time(move || {
            let (client, server) = session(dialect, 64 * MIB, move |stream| hold_back(12, dialect, stream));
            thread::scope(|scope| {
                for i in 0..12u8 {
                    let client = &client;
                    scope.spawn(move || {
                        let mut buffer = [0xff; 512];
                        client.read(u64::from(i) * KIB, &mut buffer).unwrap();
                        assert_eq!(buffer, [i; 512]);
                    });
                }
            });
            server.join().unwrap();
        });
    }
}

#[test]
fn a_server_that_answers_before_it_listens_blocks_no_one() {
    in_time(|| {
        let dialect = Dialect::Structured;
        let (client, server) = session(dialect, 64 * MIB, move |mut stream| {
            rustix::net::sockopt::set_socket_send_buffer_size(&stream, 4096).unwrap();
            while let Some((request, _)) = take_request(&mut stream, dialect) {
                let bytes = if request.command == command::READ { request.length as usize } else { 0 };
                stream.write_all(&success(dialect, &request, &vec![9; bytes])).unwrap();
            }
        });
        thread::scope(|scope| {
            for i in 0..4 {
                let client = &client;
                scope.spawn(move || {
                    let mut buffer = vec![0; 40 << 20];
                    for _ in 0..3 {
                        match i % 2 {
                            0 => client.read(0, &mut buffer).unwrap(),
                            _ => client.write(0, &buffer, false).unwrap(),
                        }
                    }
                });
            }
        });
        drop(client);
        server.join().unwrap();
    });
}

#[test]
fn an_error_ends_its_call_alone() {
    let whole = |kind, payload: Vec<u8>| move |d, r: &Request| part(d, r, chunk::DONE, kind, &payload);
    type Answer = Box<dyn Fn(Dialect, &Request) -> Vec<u8> + Send>;
    let cases: Vec<(Answer, Kind, &str)> = vec![
        (
            Box::new(|_, r| simple_reply(errno::ENOSPC, r.cookie).to_vec()),
            Kind::NoSpace,
            "read 4096 bytes at 8192",
        ),
        (Box::new(whole(chunk::ERROR, error(errno::EIO, b"the disk\nis bad"))), Kind::Io, "the disk is bad"),
        (Box::new(whole(chunk::ERROR, error(errno::ESHUTDOWN, b""))), Kind::Stale, "gone"),
        (Box::new(whole(chunk::ERROR, error(4711, b""))), Kind::Io, "error 4711"),
        (
            Box::new(whole(
                chunk::ERROR_OFFSET,
                [error(errno::EIO, b""), 9000u64.to_be_bytes().to_vec()].concat(),
            )),
            Kind::Io,
            "(at 9000)",
        ),
        // An error of a kind that is not known yet is an error.
        (
            Box::new(whole(chunk::IS_ERROR | 77, error(errno::EPERM, b"not you, \xff!"))),
            Kind::ReadOnly,
            "not you",
        ),
        // The first one counts, and what data came.
        (
            Box::new(|d, r| {
                let first = part(d, r, 0, chunk::ERROR, &error(errno::EINVAL, b"first"));
                let second = part(d, r, 0, chunk::ERROR, &error(errno::EIO, b"second"));
                let some = part(d, r, 0, chunk::OFFSET_DATA, &data(r.offset, &[1; 100]));
                [first, some, second, part(d, r, chunk::DONE, chunk::NONE, &[])].concat()
            }),
            Kind::Invalid,
            "first",
        ),
    ];
    for (answer, kind, words) in cases {
        in_time(move || {
            let dialect = Dialect::Structured;
            let (client, server) = session(dialect, MIB, move |mut stream| {
                let (request, _) = take_request(&mut stream, dialect).unwrap();
                stream.write_all(&answer(dialect, &request)).unwrap();
                let (request, _) = take_request(&mut stream, dialect).unwrap();
                stream.write_all(&success(dialect, &request, &[5; 512])).unwrap();
                take_request(&mut stream, dialect).is_none()
            });
            let told = client.read(8192, &mut [0; 4096]).unwrap_err();
            assert_eq!(told.kind, kind, "{words}");
            assert!(told.message.contains(words), "{told}");
            let mut buffer = [0; 512];
            client.read(0, &mut buffer).unwrap();
            assert_eq!(buffer, [5; 512]);
            drop(client);
            assert!(server.join().unwrap(), "it says goodbye");
        });
    }
}

#[test]
fn block_status_is_joined_and_cut() {
    let compact = |parts: &[(u32, u32)]| {
        let parts = parts.iter().flat_map(|(len, flags)| [len.to_be_bytes(), flags.to_be_bytes()].concat());
        CONTEXT.to_be_bytes().into_iter().chain(parts).collect::<Vec<u8>>()
    };
    in_time(move || {
        let dialect = Dialect::Structured;
        let (client, server) = session(dialect, 1 << 40, move |mut stream| {
            let mut asked = Vec::new();
            for parts in [&[(100, 1), (50, 1), (50, 0)][..], &[(100, 0)], &[(1 << 31, 0)]] {
                let (request, _) = take_request(&mut stream, dialect).unwrap();
                let reply = part(dialect, &request, chunk::DONE, chunk::BLOCK_STATUS, &compact(parts));
                stream.write_all(&reply).unwrap();
                asked.push((request.offset, request.length));
            }
            asked
        });
        let extents = client.extents(1000, 5000, "base:allocation").unwrap();
        assert_eq!(extents, [(1000, 150, 1), (1150, 4850, 0)]);
        assert_eq!(server.join().unwrap(), [(1000, 5000), (1200, 4800), (1300, 4700)]);
    });
}

#[test]
fn long_ranges_go_in_pieces_that_headers_have_room_for() {
    for (dialect, most) in [(Dialect::Structured, 1u64 << 30), (Dialect::Extended, 1 << 40)] {
        in_time(move || {
            let size = 1u64 << 42;
            let (client, server) = session(dialect, size, move |mut stream| {
                let (mut at, mut count) = (5, 0);
                while let Some((request, _)) = take_request(&mut stream, dialect) {
                    assert_eq!((request.command, request.offset), (command::TRIM, at));
                    assert!(request.length <= most);
                    at += request.length;
                    count += 1;
                    stream.write_all(&success(dialect, &request, &[])).unwrap();
                }
                (at, count)
            });
            client.discard(5, size - 5).unwrap();
            drop(client);
            assert_eq!(server.join().unwrap(), (size, size / most));
        });
    }
}

#[test]
fn a_connection_that_is_lost_fails_all_who_wait() {
    for dialect in DIALECTS {
        in_time(move || {
            let ready = Arc::new(Barrier::new(2));
            let go = ready.clone();
            let (client, server) = session(dialect, 64 * MIB, move |mut stream| {
                for _ in 0..6 {
                    take_request(&mut stream, dialect).unwrap();
                }
                go.wait();
            });
            thread::scope(|scope| {
                let client = &client;
                let calls: Vec<_> = (0..6)
                    .map(|_| scope.spawn(move || client.read(0, &mut [0; 4096]).unwrap_err()))
                    .collect();
                ready.wait();
                for call in calls {
                    let told = call.join().unwrap();
                    assert_eq!(told.kind, Kind::Io);
                    assert!(told.message.contains("lost the connection"), "{told}");
                }
                assert!(client.flush().unwrap_err().message.contains("lost the connection"));
            });
            server.join().unwrap();
        });
    }
}

#[test]
fn who_cannot_send_hangs_up_and_others_learn_of_it() {
    in_time(|| {
        let (wait, waits) = mpsc::channel();
        let (client, server) = session(Dialect::Structured, 64 * MIB, move |mut stream| {
            take_request(&mut stream, Dialect::Structured).unwrap();
            // The other way stays open: without hanging up, the reader would wait for ever.
            stream.shutdown(std::net::Shutdown::Read).unwrap();
            wait.send(()).unwrap();
            stream.read(&mut [0]).map(drop).ok();
            stream
        });
        thread::scope(|scope| {
            let client = &client;
            let reader = scope.spawn(move || client.read(0, &mut [0; 4096]).unwrap_err());
            waits.recv().unwrap();
            let told = client.write(0, &[0; 4 << 20], false).unwrap_err();
            assert!(told.message.contains("lost the connection"), "{told}");
            assert_eq!(reader.join().unwrap().message, told.message);
        });
        drop(server.join().unwrap());
    });
}
