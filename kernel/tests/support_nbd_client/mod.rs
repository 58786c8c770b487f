//! A server for the NBD client's tests: it does what a test says, not what the protocol says.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cowshed_kernel::error::Result;
use cowshed_kernel::nbd::client::handshake::Dialect;
use cowshed_kernel::nbd::client::link::Address;
use cowshed_kernel::nbd::client::{Client, Target};
use cowshed_kernel::nbd::proto::{
    Chunk, Request, SIMPLE_REPLY, allocation, answer, chunk, command, info, option, option_reply,
    simple_reply, transmission,
};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const DIALECTS: [Dialect; 3] = [Dialect::Simple, Dialect::Structured, Dialect::Extended];
/// The number that the server here gives to `base:allocation`.
pub const CONTEXT: u32 = 7;
/// The greeting of a server that can do what is expected.
pub const GREETING: &[u8] = b"NBDMAGICIHAVEOPT\0\x03";

/// Fail where a test hangs, instead of hanging.
pub fn in_time(test: impl FnOnce() + Send + 'static) {
    let (over, wait) = mpsc::channel();
    let running = thread::spawn(move || {
        test();
        over.send(()).unwrap();
    });
    match wait.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Connect to a server that does `serve` with its one connection.
pub fn connect<T: Send + 'static>(
    serve: impl FnOnce(UnixStream) -> T + Send + 'static,
) -> (Result<Client>, JoinHandle<T>) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("cowshed-nbd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path: PathBuf = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    let (address, timeout) = (Address::Unix(path.clone()), Duration::from_secs(60));
    let client = Client::connect(Target { address, export: "disk".to_string(), timeout, tls: None }, &[]);
    std::fs::remove_file(path).unwrap();
    (client, server)
}

/// The same, behind an ordinary handshake that ends in this dialect.
pub fn session<T: Send + 'static>(
    dialect: Dialect,
    size: u64,
    serve: impl FnOnce(UnixStream) -> T + Send + 'static,
) -> (Client, JoinHandle<T>) {
    let (client, server) = connect(move |mut stream| {
        shake_hands(&mut stream, dialect, size);
        serve(stream)
    });
    let client = client.unwrap();
    assert_eq!(client.export().dialect, dialect);
    (client, server)
}

/// The handshake, as a server that serves this should do it.
pub fn shake_hands(stream: &mut UnixStream, dialect: Dialect, size: u64) {
    stream.write_all(GREETING).unwrap();
    take(stream, 4);
    loop {
        let option = take_option(stream).unwrap();
        let done = |kind| option_reply(option, kind, 0).to_vec();
        let reply = match option {
            option::EXTENDED_HEADERS if dialect == Dialect::Extended => done(answer::ACK),
            option::STRUCTURED_REPLY if dialect == Dialect::Structured => done(answer::ACK),
            option::SET_META_CONTEXT => {
                let name = allocation::CONTEXT.as_bytes();
                let head = option_reply(option, answer::META_CONTEXT, 4 + name.len());
                [&head[..], &CONTEXT.to_be_bytes(), name, &done(answer::ACK)].concat()
            }
            option::GO => [export_info(size), done(answer::ACK)].concat(),
            _ => done(answer::UNSUPPORTED),
        };
        stream.write_all(&reply).unwrap();
        if option == option::GO {
            return;
        }
    }
}

/// The part of the answer to GO that tells size and flags.
pub fn export_info(size: u64) -> Vec<u8> {
    let flags = transmission::HAS_FLAGS
        | transmission::SEND_FLUSH
        | transmission::SEND_FUA
        | transmission::SEND_TRIM
        | transmission::SEND_WRITE_ZEROES;
    let head = option_reply(option::GO, answer::INFO, 12);
    [&head[..], &info::EXPORT.to_be_bytes(), &size.to_be_bytes(), &flags.to_be_bytes()].concat()
}

/// An option of the client's; `None` at the end.
pub fn take_option(stream: &mut UnixStream) -> Option<u32> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
    take(stream, number(12) as usize);
    Some(number(8))
}

pub fn take(stream: &mut UnixStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// A request, and what it carries; `None` at the end or a goodbye.
pub fn take_request(stream: &mut UnixStream, dialect: Dialect) -> Option<(Request, Vec<u8>)> {
    let extended = dialect == Dialect::Extended;
    let mut head = vec![0; Request::header_len(extended)];
    stream.read_exact(&mut head).ok()?;
    let request = Request::parse(&head, extended).expect("a request");
    let carries = request.command == command::WRITE;
    assert_eq!(request.flags & command::flag::PAYLOAD_LEN != 0, carries && extended);
    let mut data = vec![0; if carries { request.length as usize } else { 0 }];
    stream.read_exact(&mut data).ok()?;
    (request.command != command::DISCONNECT).then_some((request, data))
}

/// A chunk of a reply to this request.
pub fn part(dialect: Dialect, request: &Request, flags: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    let extended = dialect == Dialect::Extended;
    let offset = if extended { request.offset } else { 0 };
    let head = Chunk { flags, kind, cookie: request.cookie, offset, length: payload.len() as u64 };
    [&head.bytes(extended)[..Chunk::header_len(extended)], payload].concat()
}

/// Data at an offset of the disk, as a chunk carries it.
pub fn data(at: u64, bytes: &[u8]) -> Vec<u8> {
    [&at.to_be_bytes()[..], bytes].concat()
}

/// An error with its message, as a chunk carries it.
pub fn error(number: u32, message: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &(message.len() as u16).to_be_bytes(), message].concat()
}

/// The plainest reply that says that all went well; `data` is what a read gets.
pub fn success(dialect: Dialect, request: &Request, bytes: &[u8]) -> Vec<u8> {
    match (dialect, request.command) {
        (Dialect::Simple, _) => {
            let head: [u8; SIMPLE_REPLY] = simple_reply(0, request.cookie);
            [&head[..], bytes].concat()
        }
        (_, command::READ) => {
            part(dialect, request, chunk::DONE, chunk::OFFSET_DATA, &data(request.offset, bytes))
        }
        _ => part(dialect, request, chunk::DONE, chunk::NONE, &[]),
    }
}
