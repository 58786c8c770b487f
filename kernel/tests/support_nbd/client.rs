//! A client that says whatever a test wants it to, and reads what comes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use cowshed_kernel::nbd::proto::{self, Chunk, Request, answer, chunk, command, option};

/// A socket.
pub struct Raw(pub UnixStream);

/// An answer to an option: its kind and data.
pub type Answer = (u32, Vec<u8>);

/// A connection to an export.
pub struct Chat {
    pub raw: Raw,
    pub structured: bool,
    pub extended: bool,
    pub flags: u16,
    last_cookie: u64,
}

/// A reply: the error (0: none), the message, the data with its holes filled in, and block status by context.
#[derive(Debug, Default, PartialEq)]
pub struct Reply {
    pub error: u32,
    pub message: String,
    pub data: Vec<u8>,
    pub status: Vec<(u32, Vec<(u64, u64)>)>,
}

/// Data of INFO and GO.
pub fn go_data(name: &str, infos: &[u16]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend_from_slice(name.as_bytes());
    data.extend_from_slice(&(infos.len() as u16).to_be_bytes());
    infos.iter().for_each(|info| data.extend_from_slice(&info.to_be_bytes()));
    data
}

/// Data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub fn queries_data(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend_from_slice(name.as_bytes());
    data.extend_from_slice(&(queries.len() as u32).to_be_bytes());
    for query in queries {
        data.extend_from_slice(&(query.len() as u32).to_be_bytes());
        data.extend_from_slice(query.as_bytes());
    }
    data
}

fn number<const N: usize>(bytes: &[u8]) -> u64 {
    bytes[..N].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

impl Raw {
    /// Connect, and say nothing. Whatever is waited for in vain fails a test instead of hanging it.
    pub fn connect(path: &Path) -> Raw {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        Raw(socket)
    }

    /// Connect and exchange greetings.
    pub fn greet(path: &Path, flags: u32) -> Raw {
        Raw::connect(path).exchange(flags)
    }

    /// The same at a port of this machine.
    pub fn greet_tcp(port: u16, flags: u32) -> Raw {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // A socket's calls are the same whatever kind it is.
        Raw(UnixStream::from(OwnedFd::from(socket))).exchange(flags)
    }

    fn exchange(mut self, flags: u32) -> Raw {
        let raw = &mut self;
        let greeting = raw.take(18).unwrap();
        assert_eq!(&greeting[..16], b"NBDMAGICIHAVEOPT");
        assert_eq!(greeting[16..], [0, 3]);
        raw.say(&flags.to_be_bytes());
        self
    }

    /// Send; that the other side is gone shows when its answer is read.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    pub fn take(&mut self, n: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the server closed the connection, with nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    pub fn option(&mut self, option: u32, data: &[u8]) {
        let mut bytes = proto::OPTION_MAGIC.to_be_bytes().to_vec();
        bytes.extend_from_slice(&option.to_be_bytes());
        bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
        bytes.extend_from_slice(data);
        self.say(&bytes);
    }

    /// One answer to an option.
    pub fn answer(&mut self, option: u32) -> io::Result<Answer> {
        let head = self.take(20)?;
        assert_eq!(number::<8>(&head), proto::OPTION_REPLY_MAGIC);
        assert_eq!(number::<4>(&head[8..]), u64::from(option));
        let data = self.take(number::<4>(&head[16..]) as usize)?;
        Ok((number::<4>(&head[12..]) as u32, data))
    }

    /// All answers to an option, up to the one that ends them.
    pub fn ask(&mut self, option: u32, data: &[u8]) -> io::Result<Vec<Answer>> {
        self.option(option, data);
        let mut answers = Vec::new();
        loop {
            let (kind, data) = self.answer(option)?;
            answers.push((kind, data));
            if kind == answer::ACK || kind & answer::ERROR != 0 {
                return Ok(answers);
            }
        }
    }

    /// The kind of the last answer.
    pub fn verdict(&mut self, option: u32, data: &[u8]) -> u32 {
        self.ask(option, data).unwrap().last().unwrap().0
    }
}

impl Chat {
    /// Agree on an export; with contexts, if any are named.
    pub fn open(path: &Path, name: &str, structured: bool, extended: bool, contexts: &[&str]) -> Chat {
        let mut raw = Raw::greet(path, 3);
        if extended {
            assert_eq!(raw.verdict(option::EXTENDED_HEADERS, &[]), answer::ACK);
        } else if structured {
            assert_eq!(raw.verdict(option::STRUCTURED_REPLY, &[]), answer::ACK);
        }
        if !contexts.is_empty() {
            let answers = raw.ask(option::SET_META_CONTEXT, &queries_data(name, contexts)).unwrap();
            let names: Vec<_> = answers.iter().filter(|(kind, _)| *kind == answer::META_CONTEXT).collect();
            assert_eq!(names.len(), contexts.len(), "{answers:?}");
        }
        let answers = raw.ask(option::GO, &go_data(name, &[])).unwrap();
        assert_eq!(answers.last().unwrap().0, answer::ACK, "{answers:?}");
        let export = answers.iter().map(|(_, data)| data).find(|data| data.starts_with(&[0, 0])).unwrap();
        let flags = number::<2>(&export[10..]) as u16;
        Chat { raw, structured: structured || extended, extended, flags, last_cookie: 1 }
    }

    /// A connection that was agreed on by hand.
    pub fn on(raw: Raw, structured: bool, extended: bool) -> Chat {
        Chat { raw, structured, extended, flags: 0, last_cookie: 1 }
    }

    /// Send a request; its cookie.
    pub fn send(&mut self, command: u16, flags: u16, offset: u64, length: u64, payload: &[u8]) -> u64 {
        self.last_cookie += 0x0101_0101;
        let cookie = self.last_cookie;
        let mut bytes = Vec::new();
        Request { flags, command, cookie, offset, length }.write(&mut bytes, self.extended);
        bytes.extend_from_slice(payload);
        self.raw.say(&bytes);
        cookie
    }

    /// Read the next reply whole; chunks of one reply come without others in between only if nothing else is under way.
    /// `offset` and `length` are those of the request if it was a read.
    pub fn reply(&mut self, cookie: u64, read: Option<(u64, u64)>) -> io::Result<Reply> {
        let mut reply = Reply::default();
        let magic = number::<4>(&self.peek(4)?) as u32;
        if magic == proto::SIMPLE_REPLY_MAGIC {
            let head = self.raw.take(16)?;
            assert_eq!(number::<8>(&head[8..]), cookie);
            reply.error = number::<4>(&head[4..]) as u32;
            if let (Some((_, length)), 0) = (read, reply.error) {
                assert!(!self.structured, "a simple reply with data where structured ones were agreed on");
                reply.data = self.raw.take(length as usize)?;
            }
            return Ok(reply);
        }
        assert!(self.structured);
        let mut seen = read.map(|(_, length)| vec![false; length as usize]).unwrap_or_default();
        reply.data = vec![0; seen.len()];
        loop {
            let head = self.raw.take(Chunk::header_len(self.extended))?;
            let head = Chunk::parse(&head, self.extended).expect("a chunk");
            assert_eq!(head.cookie, cookie);
            let body = self.raw.take(head.length as usize)?;
            match head.kind {
                chunk::NONE => assert!(body.is_empty()),
                chunk::OFFSET_DATA => {
                    let at = (number::<8>(&body) - read.unwrap().0) as usize;
                    let data = &body[8..];
                    assert!(!data.is_empty());
                    assert!(seen[at..at + data.len()].iter().all(|seen| !seen), "data that came twice");
                    seen[at..at + data.len()].fill(true);
                    reply.data[at..at + data.len()].copy_from_slice(data);
                }
                chunk::BLOCK_STATUS => {
                    let pieces =
                        body[4..].chunks(8).map(|c| (number::<4>(c), number::<4>(&c[4..]))).collect();
                    reply.status.push((number::<4>(&body) as u32, pieces));
                }
                chunk::BLOCK_STATUS_EXT => {
                    let pieces: Vec<_> =
                        body[8..].chunks(16).map(|c| (number::<8>(c), number::<8>(&c[8..]))).collect();
                    assert_eq!(number::<4>(&body[4..]) as usize, pieces.len());
                    reply.status.push((number::<4>(&body) as u32, pieces));
                }
                chunk::ERROR => {
                    reply.error = number::<4>(&body) as u32;
                    assert_eq!(number::<2>(&body[4..]) as usize, body.len() - 6);
                    reply.message = String::from_utf8(body[6..].to_vec()).unwrap();
                }
                other => panic!("a chunk of kind {other}"),
            }
            if head.flags & chunk::DONE != 0 {
                break;
            }
        }
        assert!(reply.error != 0 || seen.iter().all(|seen| *seen), "data that never came");
        Ok(reply)
    }

    fn peek(&self, n: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        loop {
            let (got, _) = rustix::net::recv(&self.raw.0, &mut bytes[..], rustix::net::RecvFlags::PEEK)?;
            match got {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                got if got == n => return Ok(bytes),
                _ => std::thread::yield_now(),
            }
        }
    }

    /// The cookie of the reply that comes next.
    pub fn next_cookie(&self) -> io::Result<u64> {
        Ok(number::<8>(&self.peek(16)?[8..]))
    }

    /// Send a request and read its reply.
    pub fn call(&mut self, command: u16, flags: u16, offset: u64, length: u64, payload: &[u8]) -> Reply {
        let cookie = self.send(command, flags, offset, length, payload);
        self.reply(cookie, (command == command::READ).then_some((offset, length))).unwrap()
    }

    pub fn read(&mut self, offset: u64, length: u64) -> Reply {
        self.call(command::READ, 0, offset, length, &[])
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) -> u32 {
        self.call(command::WRITE, 0, offset, data.len() as u64, data).error
    }
}
