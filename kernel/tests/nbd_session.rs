//! The NBD server's requests and replies, beside an array of bytes.

#[allow(dead_code)]
#[path = "support/random.rs"]
mod random;
mod support_nbd;

use std::sync::Arc;
use std::time::Duration;

use cowshed_kernel::nbd::proto::{allocation, command, command::flag, errno};
use cowshed_kernel::nbd::server::Limits;
use cowshed_kernel::storage::{FaultPlan, FaultyStorage, MemoryStorage};
use cowshed_kernel::transaction::Op;
use random::{Rng, tell, with_seeds};
use support_nbd::{Chat, SIZE, Serving};

/// Simple, structured and extended replies.
const KINDS: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

fn serving() -> Serving {
    Serving::new(Limits::default())
}

#[test]
fn any_range_reads_as_what_was_written_last() {
    with_seeds(6, |seed| {
        let mut rng = Rng::new(seed);
        let serving = serving();
        let mut chats: Vec<Chat> =
            KINDS.iter().map(|(s, e)| Chat::open(&serving.socket, "disk", *s, *e, &[])).collect();
        let mut oracle = vec![0; SIZE as usize];
        for _ in 0..150 {
            let kind = rng.below(3) as usize;
            let chat = &mut chats[kind];
            let longest = if rng.one_in(8) { 3 << 20 } else { 20_000 };
            let offset = rng.below(SIZE);
            let length = rng.below(longest.min(SIZE - offset)) + 1;
            let range = offset as usize..(offset + length) as usize;
            let fua = if rng.one_in(5) { flag::FUA } else { 0 };
            let step = rng.below(10);
            tell(|| format!("kind {kind} step {step} {offset}+{length}"));
            match step {
                0..4 => {
                    let data = rng.bytes(length as usize);
                    assert_eq!(chat.call(command::WRITE, fua, offset, length, &data).error, 0);
                    oracle[range].copy_from_slice(&data);
                }
                4 => {
                    assert_eq!(chat.call(command::TRIM, fua, offset, length, &[]).error, 0);
                    oracle[range].fill(0);
                }
                5 => {
                    let flags = fua | [0, flag::NO_HOLE, flag::FAST_ZERO][rng.below(3) as usize];
                    assert_eq!(chat.call(command::WRITE_ZEROES, flags, offset, length, &[]).error, 0);
                    oracle[range].fill(0);
                }
                6 => assert_eq!(chat.call(command::CACHE, 0, offset, length, &[]).error, 0),
                _ => {
                    let flags = if chat.structured && rng.one_in(3) { flag::DF } else { 0 };
                    let reply = chat.call(command::READ, flags, offset, length, &[]);
                    assert_eq!(reply.error, 0);
                    assert!(reply.data == oracle[range], "{offset}+{length} reads otherwise");
                }
            }
        }
        assert_eq!(chats[0].call(command::FLUSH, 0, 0, 0, &[]).error, 0);
        assert_eq!(serving.shelf.kernel.check().unwrap(), Vec::<String>::new());
        assert!(serving.shelf.faults.lock().is_empty());
    });
}

const IN_FLIGHT: usize = 32;

#[test]
fn many_requests_at_once_are_all_answered() {
    for (structured, extended) in KINDS {
        let serving = serving();
        let mut chat = Chat::open(&serving.socket, "disk", structured, extended, &[]);
        let data: Vec<u8> = (0..64 * 4096).map(|i| (i / 4096 + 1) as u8).collect();
        assert_eq!(chat.write(0, &data), 0);
        let mut blocks = (0..500).map(|i| (i % 7 != 0).then_some(i % 64));
        let mut missing = std::collections::HashMap::new();
        loop {
            // No more than the sockets hold the replies of: this client does not read while it sends.
            for block in blocks.by_ref().take(IN_FLIGHT - missing.len()) {
                let cookie = match block {
                    None => chat.send(command::FLUSH, 0, 0, 0, &[]),
                    Some(block) => chat.send(command::READ, 0, block * 4096, 4096, &[]),
                };
                missing.insert(cookie, block);
            }
            if missing.is_empty() {
                break;
            }
            // In whatever order they come.
            let cookie = chat.next_cookie().unwrap();
            let block = missing.remove(&cookie).expect("a cookie that was sent and is not answered");
            let reply = chat.reply(cookie, block.map(|block| (block * 4096, 4096))).unwrap();
            assert_eq!(reply.error, 0);
            assert!(reply.data.iter().all(|byte| Some(u64::from(*byte)) == block.map(|block| block + 1)));
        }
    }
}

#[test]
fn errors_are_the_protocols_and_the_connection_goes_on() {
    for (structured, extended) in KINDS {
        let serving = serving();
        serving.shelf.snapshot("s");
        let mut chat = Chat::open(&serving.socket, "disk", structured, extended, &[]);
        for (command, flags, offset, length, expected) in [
            (command::READ, 0, SIZE, 1, errno::EINVAL),
            (command::READ, 0, u64::MAX, 10, errno::EINVAL),
            (command::READ, flag::NO_HOLE, 0, 10, errno::EINVAL),
            (command::READ, 1 << 14, 0, 10, errno::EINVAL),
            (command::TRIM, 0, SIZE - 1, 2, errno::EINVAL),
            (command::WRITE_ZEROES, 0, SIZE - 1, 2, errno::ENOSPC),
            (command::CACHE, 0, SIZE, 1, errno::EINVAL),
            (command::BLOCK_STATUS, 0, 0, 10, errno::EINVAL),
            (9, 0, 0, 10, errno::EINVAL),
            (4711, 0, 0, 10, errno::EINVAL),
        ] {
            let reply = chat.call(command, flags, offset, length, &[]);
            assert_eq!(reply.error, expected, "command {command} at {offset}");
            assert_eq!(reply.message.is_empty(), !structured);
        }
        for (flags, offset, expected) in
            [(0, SIZE - 1, errno::ENOSPC), (0, u64::MAX - 5, errno::ENOSPC), (1 << 9, 0, errno::EINVAL)]
        {
            let reply = chat.call(command::WRITE, flags, offset, 100_000, &[7; 100_000]);
            assert_eq!(reply.error, expected);
        }
        assert_eq!(chat.read(0, 10).data, [0; 10]);
        let mut other = Chat::open(&serving.socket, "other", structured, extended, &[]);
        assert_eq!(other.call(command::READ, 0, 0, 40 << 20, &[]).error, errno::EOVERFLOW);
        let mut snapshot = Chat::open(&serving.socket, "disk@s", structured, extended, &[]);
        assert_eq!(snapshot.write(0, b"no"), errno::EPERM);
        assert_eq!(snapshot.call(command::TRIM, 0, 0, 10, &[]).error, errno::EPERM);
        assert_eq!(snapshot.call(command::WRITE_ZEROES, 0, 0, 10, &[]).error, errno::EPERM);
        serving.shelf.core().transact(&[Op::Drop(serving.shelf.head)]).unwrap();
        assert_eq!(chat.read(0, 10).error, errno::ESHUTDOWN);
        assert_eq!(chat.write(0, b"gone"), errno::ESHUTDOWN);
    }
}

#[test]
fn a_fence_keeps_all_but_its_owner_from_writing() {
    let serving = serving();
    let mut first = Chat::open(&serving.socket, "disk", true, false, &[]);
    let mut second = Chat::open(&serving.socket, "disk", true, false, &[]);
    for (owner, errors) in [(1, [0, errno::EPERM]), (2, [errno::EPERM, 0]), (0, [0, 0])] {
        serving.shelf.fence.set_owner(owner);
        assert_eq!([first.write(0, b"a"), second.write(0, b"b")], errors);
        for (chat, error) in [(&mut first, errors[0]), (&mut second, errors[1])] {
            assert_eq!(chat.call(command::TRIM, 0, 8192, 4096, &[]).error, error);
            assert_eq!(chat.call(command::WRITE_ZEROES, 0, 8192, 4096, &[]).error, error);
            assert_eq!(chat.read(0, 1).error, 0);
        }
    }
}

#[test]
fn block_status_says_what_is_allocated_and_what_changed() {
    for extended in [false, true] {
        let serving = serving();
        let mut chat = Chat::open(&serving.socket, "disk", true, false, &[]);
        assert_eq!(chat.write(8192, &[1; 8192]), 0);
        serving.shelf.snapshot("s");
        assert_eq!(chat.write(12288, &[2; 8192]), 0);
        let contexts = ["cowshed:diff:s", "base:allocation"];
        let mut chat = Chat::open(&serving.socket, "disk", true, extended, &contexts);
        let hole = u64::from(allocation::HOLE | allocation::ZERO);
        let changed = (1, vec![(12288, 0), (8192, 1), (SIZE - 20480, 0)]);
        let allocated = (2, vec![(8192, hole), (12288, 0), (SIZE - 20480, hole)]);
        let reply = chat.call(command::BLOCK_STATUS, 0, 0, SIZE, &[]);
        assert_eq!(reply.status, [changed.clone(), allocated.clone()]);
        let reply = chat.call(command::BLOCK_STATUS, flag::REQ_ONE, 9000, 100_000, &[]);
        assert_eq!(reply.status, [(1, vec![(3288, 0)]), (2, vec![(20480 - 9000, 0)])]);
        if extended {
            let payload = |ids: &[u32]| {
                let ids = ids.iter().flat_map(|id| id.to_be_bytes());
                SIZE.to_be_bytes().into_iter().chain(ids).collect::<Vec<u8>>()
            };
            let mut chosen = |payload: &[u8]| {
                let length = payload.len() as u64;
                chat.call(command::BLOCK_STATUS, flag::PAYLOAD_LEN, 0, length, payload)
            };
            assert_eq!(chosen(&payload(&[2])).status, [allocated]);
            assert_eq!(chosen(&payload(&[1])).status, [changed]);
            for wrong in [&payload(&[]), &payload(&[3]), &payload(&[0]), &payload(&[1, 2, 1]), &vec![0; 13]] {
                assert_eq!(chosen(wrong).error, errno::EINVAL, "{wrong:?}");
            }
            assert_eq!(chat.read(0, 4).error, 0);
        }
    }
}

#[test]
fn extended_requests_reach_beyond_four_gib() {
    let serving = serving();
    let mut chat = Chat::open(&serving.socket, "other", true, true, &["base:allocation"]);
    assert_eq!(chat.write(1 << 39, b"far"), 0);
    let reply = chat.call(command::BLOCK_STATUS, 0, 0, 1 << 40, &[]);
    let hole = u64::from(allocation::HOLE | allocation::ZERO);
    let half = 1 << 39;
    assert_eq!(reply.status, [(1, vec![(half, hole), (4096, 0), (half - 4096, hole)])]);
    assert_eq!(chat.call(command::TRIM, 0, 0, 1 << 40, &[]).error, 0);
    assert_eq!(chat.call(command::BLOCK_STATUS, 0, 0, 1 << 40, &[]).status, [(1, vec![(1 << 40, hole)])]);
    assert_eq!(chat.read(1 << 39, 3).data, [0; 3]);
}

#[test]
fn a_snapshot_is_one_moment_over_all_connections() {
    with_seeds(3, |seed| {
        let serving = Arc::new(serving());
        let writers: Vec<_> = (0..3u64)
            .map(|who| {
                let serving = serving.clone();
                std::thread::spawn(move || {
                    let mut rng = Rng::new(seed ^ who);
                    let mut chat = Chat::open(&serving.socket, "disk", true, who == 1, &[]);
                    // Each writer counts in its own blocks, one after the other: of two neighbours the left one is
                    // never behind the right one, and never more than one ahead.
                    for round in 1..=40u64 {
                        for place in 0..4 {
                            let at = (who * 8 + place) * 4096;
                            assert_eq!(chat.write(at, &[round as u8; 4096]), 0);
                        }
                        if rng.one_in(4) {
                            assert_eq!(chat.call(command::FLUSH, 0, 0, 0, &[]).error, 0);
                        }
                    }
                })
            })
            .collect();
        let mut taken = 0;
        while !writers.iter().all(|writer| writer.is_finished()) {
            serving.shelf.snapshot(&format!("{taken}"));
            taken += 1;
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        for name in 0..taken {
            let mut chat = Chat::open(&serving.socket, &format!("disk@{name}"), true, false, &[]);
            for who in 0..3 {
                let rounds: Vec<u8> = (0..4)
                    .map(|place| {
                        let data = chat.read((who * 8 + place) * 4096, 4096).data;
                        assert!(data.iter().all(|byte| *byte == data[0]), "a block of two writes");
                        data[0]
                    })
                    .collect();
                let steps = rounds.windows(2).all(|pair| pair[0] == pair[1] || pair[0] == pair[1] + 1);
                assert!(steps && rounds[0] <= rounds[3] + 1, "snapshot {name}, writer {who}: {rounds:?}");
            }
        }
    });
}

#[test]
fn what_came_before_a_stop_is_answered() {
    let serving = serving();
    let mut chat = Chat::open(&serving.socket, "disk", true, false, &[]);
    let sent: Vec<u64> =
        (0..50).map(|i| chat.send(command::WRITE, 0, i * 4096, 4096, &[i as u8 + 1; 4096])).collect();
    // They have come when the last one is answered, or the stop finds them in the socket.
    assert!(serving.server.stop(Duration::from_secs(30)));
    for cookie in sent {
        assert_eq!(chat.reply(cookie, None).unwrap().error, 0);
    }
    assert!(chat.raw.is_closed());
    let disk = serving.shelf.core().disk(serving.shelf.head).unwrap();
    let mut data = [0; 4096];
    disk.read(49 * 4096, &mut data).unwrap();
    assert_eq!(data, [50; 4096]);
}

#[test]
fn errors_of_the_medium_are_told_and_not_more_is_promised() {
    let plan = FaultPlan::new();
    let blocks = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::default()), plan.clone()));
    let heal = || plan.fail(u64::MAX, 0, 0);
    let serving = Serving::on(blocks, Limits::default());
    for (structured, extended) in KINDS {
        let mut chat = Chat::open(&serving.socket, "disk", structured, extended, &[]);
        assert_eq!(chat.write(0, &vec![5; 1 << 20]), 0);
        plan.fail(0, u64::MAX, 5);
        assert_eq!(chat.read(0, 100).error, errno::EIO);
        heal();
        assert_eq!(chat.read(0, 100).data, [5; 100]);
        // In the midst of a long one: an error where the replies have room for it, and no word more where they have none.
        plan.fail(2, u64::MAX, 5);
        let cookie = chat.send(command::READ, 0, 0, 1 << 20, &[]);
        match chat.reply(cookie, Some((0, 1 << 20))) {
            Ok(reply) => assert!(structured && reply.error == errno::EIO),
            Err(_) => assert!(!structured),
        }
        heal();
    }
}
