//! Handshakes that go another way than hoped for: connecting fails with words, and in time.

#[allow(dead_code)]
#[path = "support_crash/mutate.rs"]
mod mutate;
#[allow(dead_code)]
#[path = "support_crash/rng.rs"]
mod rng;
mod support_nbd_client;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use cowshed_kernel::error::{Error, Kind};
use cowshed_kernel::nbd::client::handshake::Dialect;
use cowshed_kernel::nbd::proto::{answer, info, option, option_reply};
use mutate::mutate;
use rng::{Rng, for_seeds};
use support_nbd_client::{
    DIALECTS, GREETING, MIB, connect, export_info, in_time, session, take, take_option,
};

/// What connecting says to a server that sends this, whatever it is asked, and ends.
fn told(bytes: Vec<u8>) -> Error {
    let (client, server) = connect(move |mut stream| {
        // The client may hang up in the midst of it.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = client.err().expect("refused");
    server.join().unwrap();
    error
}

#[test]
fn what_is_no_server_of_today_is_told() {
    in_time(|| {
        for (bytes, kind, words) in [
            (&b""[..], Kind::Io, "closed the connection"),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", Kind::Io, "is no NBD server"),
            (b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53", Kind::Invalid, "too old"),
            (b"NBDMAGICIHAVEOPT\0\0", Kind::Invalid, "too old"),
            (b"NBDMAGICIHAVEOPX\0\x03", Kind::Io, "breaks the protocol"),
            (b"NBDMAGICIHAVEOPT\0\x03", Kind::Io, "closed the connection"),
        ] {
            let error = told(bytes.to_vec());
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(words), "{error}");
        }
    });
}

#[test]
fn answers_that_cannot_be_are_told() {
    let ext = option::EXTENDED_HEADERS;
    let no = |option| option_reply(option, answer::UNSUPPORTED, 0).to_vec();
    let before_go = [no(ext), no(option::STRUCTURED_REPLY)].concat();
    let go = |kind, payload: &[u8]| {
        [&before_go[..], &option_reply(option::GO, kind, payload.len()), payload].concat()
    };
    let sizes = |min: u32, max: u32| {
        let words = [min, 4096, max].map(u32::to_be_bytes).concat();
        go(answer::INFO, &[&info::BLOCK_SIZE.to_be_bytes()[..], &words].concat())
    };
    let huge = [&info::EXPORT.to_be_bytes()[..], &u64::MAX.to_be_bytes(), &[0, 1]].concat();
    let cases = [
        (vec![0; 20], "without its mark"),
        (option_reply(option::GO, answer::ACK, 0).to_vec(), "not asked"),
        (option_reply(ext, answer::ACK, 1 << 17).to_vec(), "64 KiB"),
        (option_reply(ext, answer::SERVER, 0).to_vec(), "another kind"),
        (go(answer::ACK, b""), "size"),
        (go(answer::SERVER, b""), "another kind"),
        (go(answer::INFO, b"\0"), "without kind"),
        (go(answer::INFO, b"\0\0\0"), "no size that can be"),
        (go(answer::INFO, &huge), "no size that can be"),
        (sizes(0, 4096), "block sizes"),
        (sizes(3, 4096), "block sizes"),
        (sizes(1 << 17, 1 << 20), "block sizes"),
        (sizes(4096, 512), "block sizes"),
    ];
    in_time(move || {
        for (bytes, words) in cases {
            let error = told([GREETING, &bytes].concat());
            assert_eq!(error.kind, Kind::Io, "{error}");
            assert!(error.message.contains(words), "{error}, for {words:?}");
        }
    });
}

#[test]
fn refusals_are_told_with_the_servers_words() {
    let no = |option| option_reply(option, answer::UNSUPPORTED, 0).to_vec();
    let before_go = [no(option::EXTENDED_HEADERS), no(option::STRUCTURED_REPLY)].concat();
    in_time(move || {
        for (refusal, kind, words) in [
            (answer::UNSUPPORTED, Kind::Invalid, "too old"),
            (answer::POLICY, Kind::Refused, "not allowed"),
            (answer::TLS_REQUIRED, Kind::Refused, "wants TLS"),
            (answer::UNKNOWN, Kind::Missing, "none of that name"),
            (answer::SHUTDOWN, Kind::Io, "shutting down"),
            (answer::ERROR | 99, Kind::Io, "refuses"),
        ] {
            for message in [&b""[..], b"because of\nthe weather"] {
                let reply = [&option_reply(option::GO, refusal, message.len())[..], message].concat();
                let error = told([GREETING, &before_go, &reply].concat());
                assert_eq!(error.kind, kind, "{error}");
                let said = refusal != answer::UNSUPPORTED && !message.is_empty();
                let words = if said { "because of the weather" } else { words };
                assert!(error.message.contains(words), "{error}");
            }
        }
    });
}

/// A server's side of a handshake that is as it should be, byte for byte.
fn sound(dialect: Dialect) -> Vec<u8> {
    let ack = |option| option_reply(option, answer::ACK, 0).to_vec();
    let no = |option| option_reply(option, answer::UNSUPPORTED, 0).to_vec();
    let agree = match dialect {
        Dialect::Simple => [no(option::EXTENDED_HEADERS), no(option::STRUCTURED_REPLY)].concat(),
        Dialect::Structured => [no(option::EXTENDED_HEADERS), ack(option::STRUCTURED_REPLY)].concat(),
        Dialect::Extended => ack(option::EXTENDED_HEADERS),
    };
    let context = [
        &option_reply(option::SET_META_CONTEXT, answer::META_CONTEXT, 19)[..],
        b"\0\0\0\x07base:allocation",
        &ack(option::SET_META_CONTEXT),
    ]
    .concat();
    let context = if dialect == Dialect::Simple { Vec::new() } else { context };
    [GREETING, &agree, &context, &export_info(MIB), &ack(option::GO)].concat()
}

#[test]
fn a_handshake_that_is_cut_off_is_told() {
    for dialect in DIALECTS {
        in_time(move || {
            let bytes = sound(dialect);
            for end in 0..bytes.len() {
                let error = told(bytes[..end].to_vec());
                assert!(error.message.contains("closed the connection"), "{error}, cut at {end}");
            }
        });
    }
}

#[test]
fn changed_handshakes_fail_or_succeed_and_never_hang() {
    for_seeds(600, |seed| {
        in_time(move || {
            let mut rng = Rng::new(seed);
            let mut bytes = sound(DIALECTS[seed as usize % 3]);
            mutate(&mut rng, &mut bytes);
            let (client, server) = connect(move |mut stream: UnixStream| {
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            });
            if let Ok(client) = client {
                // Whatever size it is told, it can be asked for.
                let _ = client.read(0, &mut [0; 512]);
                let _ = client.extents(0, client.size(), "base:allocation");
                let _ = client.discard(0, client.size());
            }
            server.join().unwrap();
        });
    });
}

#[test]
fn without_a_grant_there_is_data_everywhere() {
    in_time(|| {
        let (client, server) = connect(|mut stream| {
            stream.write_all(GREETING).unwrap();
            take(&mut stream, 4);
            while let Some(option) = take_option(&mut stream) {
                let kind = match option {
                    option::STRUCTURED_REPLY | option::GO => answer::ACK,
                    option::SET_META_CONTEXT => answer::UNKNOWN,
                    _ => answer::UNSUPPORTED,
                };
                let info = if option == option::GO { export_info(MIB) } else { Vec::new() };
                stream.write_all(&[&info[..], &option_reply(option, kind, 0)].concat()).unwrap();
                if option == option::GO {
                    break;
                }
            }
            stream.read_to_end(&mut Vec::new()).unwrap()
        });
        let client = client.unwrap();
        assert_eq!(client.export().dialect, Dialect::Structured);
        assert_eq!(client.extents(5, 100, "base:allocation"), Ok(vec![(5, 100, 0)]));
        drop(client);
        assert_eq!(server.join().unwrap(), 28, "nothing but a goodbye");
    });
}

#[test]
fn sizes_beyond_what_is_asked_of_are_refused_here() {
    in_time(|| {
        let (client, server) =
            session(Dialect::Simple, MIB, |mut stream| stream.read_to_end(&mut Vec::new()).unwrap());
        for (offset, length) in [(MIB, 1), (u64::MAX, 1), (0, MIB + 1), (1, u64::MAX)] {
            assert_eq!(client.discard(offset, length).unwrap_err().kind, Kind::Invalid);
        }
        drop(client);
        assert_eq!(server.join().unwrap(), 28, "nothing but a goodbye");
    });
}
