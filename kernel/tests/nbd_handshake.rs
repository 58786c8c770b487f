//! The NBD server's handshake: every option, every refusal.

mod support_nbd;

use std::time::Duration;

use cowshed_kernel::nbd::proto::{answer, command, info, option, transmission};
use cowshed_kernel::nbd::server::{Encryption, Limits};
use support_nbd::{Chat, Raw, SIZE, Serving, go_data, queries_data};

fn serving() -> Serving {
    Serving::new(Limits::default())
}

#[test]
fn go_tells_what_it_must_and_what_was_asked_for() {
    let serving = serving();
    let mut raw = Raw::greet(&serving.socket, 3);
    for option in [option::INFO, option::GO] {
        let answers = raw.ask(option, &go_data("disk", &[info::NAME, info::DESCRIPTION])).unwrap();
        let told = |kind: u16| {
            let told = answers.iter().find(|(_, data)| data.starts_with(&kind.to_be_bytes()));
            told.map(|(_, data)| data[2..].to_vec()).unwrap()
        };
        assert_eq!(told(info::EXPORT)[..8], SIZE.to_be_bytes());
        assert_eq!(told(info::NAME), b"disk");
        assert_eq!(told(info::DESCRIPTION), b"this is disk");
        assert_eq!(told(info::BLOCK_SIZE), [0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0]);
        assert_eq!(answers.last().unwrap().0, answer::ACK);
    }
}

#[test]
fn the_old_way_to_choose_an_export() {
    for (flags, zeroes) in [(3, 0), (1, 124)] {
        let serving = serving();
        let mut raw = Raw::greet(&serving.socket, flags);
        raw.option(option::EXPORT_NAME, b"disk");
        let told = raw.take(10 + zeroes).unwrap();
        assert_eq!(told[..8], SIZE.to_be_bytes());
        assert!(told[10..].iter().all(|byte| *byte == 0));
        let mut raw = Raw::greet(&serving.socket, flags);
        raw.option(option::EXPORT_NAME, b"nothing");
        assert!(raw.is_closed());
    }
}

#[test]
fn flags_follow_what_is_agreed_on() {
    let serving = serving();
    serving.shelf.snapshot("s");
    let writable = transmission::SEND_TRIM | transmission::SEND_WRITE_ZEROES | transmission::SEND_FAST_ZERO;
    for (structured, extended) in [(false, false), (true, false), (true, true)] {
        let head = Chat::open(&serving.socket, "disk", structured, extended, &[]).flags;
        let snapshot = Chat::open(&serving.socket, "disk@s", structured, extended, &[]).flags;
        assert_eq!(head & (writable | transmission::READ_ONLY), writable);
        assert_eq!(snapshot & (writable | transmission::READ_ONLY), transmission::READ_ONLY);
        for flags in [head, snapshot] {
            let always = transmission::HAS_FLAGS
                | transmission::SEND_FLUSH
                | transmission::SEND_FUA
                | transmission::SEND_CACHE
                | transmission::CAN_MULTI_CONN;
            assert_eq!(flags & always, always);
            assert_eq!(flags & transmission::SEND_DF != 0, structured);
            assert_eq!(flags & transmission::BLOCK_STATUS_PAYLOAD != 0, extended);
        }
    }
}

#[test]
fn refusals_have_words_and_the_handshake_goes_on() {
    let serving = serving();
    let mut raw = Raw::greet(&serving.socket, 3);
    let long = "x".repeat(5000);
    for (option, data, expected) in [
        (option::GO, go_data("nothing", &[]), answer::UNKNOWN),
        (option::GO, go_data("secret", &[]), answer::POLICY),
        (option::INFO, go_data(&long, &[]), answer::INVALID),
        (option::GO, vec![0, 0, 0, 9, b'd'], answer::INVALID),
        (option::GO, [go_data("disk", &[]), vec![0]].concat(), answer::INVALID),
        (option::GO, vec![0xff; 6], answer::INVALID),
        (option::LIST, vec![0], answer::INVALID),
        (option::STARTTLS, vec![], answer::POLICY),
        (option::STARTTLS, vec![1], answer::INVALID),
        (option::STRUCTURED_REPLY, vec![1], answer::INVALID),
        (option::SET_META_CONTEXT, queries_data("disk", &["base:allocation"]), answer::INVALID),
        (4, vec![], answer::UNSUPPORTED),
        (77, vec![1, 2, 3], answer::UNSUPPORTED),
        (77, vec![0; 100_000], answer::TOO_BIG),
    ] {
        let answers = raw.ask(option, &data).unwrap();
        assert_eq!(answers.last().unwrap().0, expected, "option {option}");
        assert!(!answers.last().unwrap().1.is_empty(), "option {option}: no words");
    }
    assert_eq!(raw.verdict(option::EXTENDED_HEADERS, &[]), answer::ACK);
    assert_eq!(raw.verdict(option::STRUCTURED_REPLY, &[]), answer::EXTENDED_HEADERS_REQUIRED);
    assert_eq!(raw.verdict(option::GO, &go_data("disk", &[])), answer::ACK);
}

#[test]
fn the_list_has_all_that_is_to_be_listed() {
    let serving = serving();
    let mut raw = Raw::greet(&serving.socket, 3);
    let answers = raw.ask(option::LIST, &[]).unwrap();
    let listed: Vec<&[u8]> = answers.iter().map(|(_, data)| &data[..]).collect();
    assert_eq!(listed, [&b"\0\0\0\x04diskthe disk"[..], b"\0\0\0\x05other", b""]);
    assert_eq!(raw.verdict(option::ABORT, &[]), answer::ACK);
    assert!(raw.is_closed());
}

#[test]
fn contexts_are_listed_and_chosen_by_name() {
    let serving = serving();
    serving.shelf.snapshot("one");
    serving.shelf.snapshot("two");
    let mut raw = Raw::greet(&serving.socket, 3);
    assert_eq!(raw.verdict(option::STRUCTURED_REPLY, &[]), answer::ACK);
    let mut names = |option: u32, queries: &[&str]| {
        let answers = raw.ask(option, &queries_data("disk", queries)).unwrap();
        assert_eq!(answers.last().unwrap().0, answer::ACK);
        let found = answers.iter().filter(|(kind, _)| *kind == answer::META_CONTEXT);
        found.map(|(_, data)| String::from_utf8(data[4..].to_vec()).unwrap()).collect::<Vec<_>>()
    };
    let all = ["base:allocation", "cowshed:diff:one", "cowshed:diff:two"];
    assert_eq!(names(option::LIST_META_CONTEXT, &[]), all);
    assert_eq!(names(option::LIST_META_CONTEXT, &["base:", "cowshed:"]), all);
    assert_eq!(names(option::LIST_META_CONTEXT, &["cowshed:diff:"]), all[1..]);
    assert_eq!(names(option::LIST_META_CONTEXT, &["cowshed:diff:two", "qemu:x"]), all[2..]);
    assert!(names(option::SET_META_CONTEXT, &[]).is_empty());
    assert!(names(option::SET_META_CONTEXT, &["base:", "cowshed:diff:none", "cowshed:diff:"]).is_empty());
    assert_eq!(names(option::SET_META_CONTEXT, &["cowshed:diff:one", "base:allocation"]), [all[1], all[0]]);
    let answers = raw.ask(option::SET_META_CONTEXT, &queries_data("nothing", &[])).unwrap();
    assert_eq!(answers.last().unwrap().0, answer::UNKNOWN);
}

#[test]
fn contexts_of_another_export_do_not_count() {
    let serving = serving();
    let mut raw = Raw::greet(&serving.socket, 3);
    assert_eq!(raw.verdict(option::STRUCTURED_REPLY, &[]), answer::ACK);
    assert_eq!(
        raw.verdict(option::SET_META_CONTEXT, &queries_data("other", &["base:allocation"])),
        answer::ACK
    );
    assert_eq!(raw.verdict(option::GO, &go_data("disk", &[])), answer::ACK);
    let mut chat = Chat::on(raw, true, false);
    assert_ne!(chat.call(command::BLOCK_STATUS, 0, 0, 4096, &[]).error, 0);
}

#[test]
fn what_is_no_handshake_ends_it() {
    let serving = serving();
    let mut raw = Raw::greet(&serving.socket, 3 | 1 << 9);
    assert!(raw.is_closed(), "unknown flags");
    let mut raw = Raw::greet(&serving.socket, 3);
    raw.say(b"GET / HTTP/1.1\r\n\r\n");
    assert!(raw.is_closed(), "another protocol");
    let mut raw = Raw::greet(&serving.socket, 3);
    raw.say(b"IHAVEOPT\0\0\0\x07\x7f\xff\xff\xff");
    assert!(raw.is_closed(), "two GiB of an option");
    let mut raw = Raw::greet(&serving.socket, 3);
    let mut last = answer::UNSUPPORTED;
    for _ in 0..1000 {
        match raw.ask(99, &[]) {
            Ok(answers) => last = answers[0].0,
            Err(_) => return assert_eq!(last, answer::UNSUPPORTED),
        }
    }
    panic!("options without end");
}

#[test]
fn exports_that_were_only_asked_about_are_closed() {
    let serving = serving();
    let mut raw = Raw::greet(&serving.socket, 3);
    raw.verdict(option::STRUCTURED_REPLY, &[]);
    raw.verdict(option::LIST_META_CONTEXT, &queries_data("disk", &[]));
    raw.verdict(option::INFO, &go_data("disk", &[]));
    let open = || serving.shelf.open.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(open(), 0);
    raw.verdict(option::GO, &go_data("disk", &[]));
    assert_eq!(open(), 1);
    drop(raw);
    assert!(serving.server.stop(Duration::from_secs(30)));
    assert_eq!(open(), 0);
}

#[test]
fn who_must_encrypt_is_told_so_whatever_he_asks() {
    let serving = serving();
    let port = serving.server.listen_tcp("127.0.0.1", 0, Encryption { tls: None, required: true }).unwrap();
    let mut raw = Raw::greet_tcp(port, 3);
    for (option, data) in [
        (option::LIST, vec![]),
        (option::STRUCTURED_REPLY, vec![]),
        (option::GO, go_data("disk", &[])),
        (option::INFO, go_data("disk", &[])),
        (77, vec![]),
    ] {
        assert_eq!(raw.verdict(option, &data), answer::TLS_REQUIRED, "option {option}");
    }
    raw.option(option::EXPORT_NAME, b"disk");
    assert!(raw.is_closed());
    let mut raw = Raw::greet_tcp(port, 3);
    assert_eq!(raw.verdict(option::ABORT, &[]), answer::ACK);
}

#[test]
fn a_handshake_that_takes_too_long_is_over() {
    let limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
    let serving = Serving::new(limits);
    let mut silent = Raw::connect(&serving.socket);
    silent.take(18).unwrap();
    let mut dripping = Raw::greet(&serving.socket, 3);
    // Each byte comes well before any single wait is over; all of them together do not.
    let began = std::time::Instant::now();
    while dripping.0.peer_addr().is_ok() && began.elapsed() < Duration::from_secs(20) {
        use std::io::Write;
        if dripping.0.write_all(b"I").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "a byte now and then kept the handshake open");
    assert!(silent.is_closed());
}

#[test]
fn handshakes_make_way_when_there_are_too_many() {
    let limits = Limits { connections: 8, ..Limits::default() };
    let serving = Serving::new(limits);
    let mut chat = Chat::open(&serving.socket, "disk", true, false, &[]);
    let idle: Vec<Raw> = (0..40).map(|_| Raw::connect(&serving.socket)).collect();
    // The crowd's oldest handshake was cut off in favour of this one.
    let mut other = Chat::open(&serving.socket, "other", true, false, &[]);
    assert_eq!(other.write(0, b"came in"), 0);
    assert_eq!(chat.write(0, b"still there"), 0);
    drop(idle);
}
