//! The handshake: from a fresh socket to an export, or to goodbye.

use std::io;
use std::time::{Duration, Instant};

use super::contexts::{self, Context};
use super::exports::{Export, Exports, Refusal};
use super::proto::{
    self, answer, handshake, info, option, take_bytes, take_u16, take_u32, transmission as flag,
};
use super::stream::{Socket, Stream};
use super::tls::ServerTls;
use crate::ids::BLOCK_SIZE;

/// The longest option that is read.
const MAX_OPTION: usize = 64 << 10;
/// A longer one is skipped up to this length, and answered; who sends still more is cut off.
const MAX_SKIPPED: usize = 1 << 20;
/// Options that a client may send.
const MAX_OPTIONS: usize = 256;
/// Contexts that a client may choose.
const MAX_CONTEXTS: usize = 64;

/// What holds for the connections of one listener.
pub struct Terms<'a> {
    /// What is served.
    pub exports: &'a dyn Exports,
    /// Where clients may encrypt.
    pub tls: Option<&'a ServerTls>,
    /// Whether they must.
    pub tls_required: bool,
    /// How long all of it may take.
    pub timeout: Duration,
    /// Who the client is, for people.
    pub peer: &'a str,
    /// Called when an export is agreed on, before the client knows it; with whether the connection is encrypted.
    pub agreed: &'a dyn Fn(&Export, bool),
}

/// How replies look.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub enum Replies {
    /// A header and the data.
    Simple,
    /// Chunks.
    Structured,
    /// Chunks, and headers with room for 64-bit lengths.
    Extended,
}

/// An agreement.
pub struct Agreed {
    /// The connection, encrypted if so agreed.
    pub stream: Stream,
    /// What it is about.
    pub export: Export,
    /// How replies look.
    pub replies: Replies,
    /// What block status tells.
    pub contexts: Vec<Context>,
}

/// How the handshake went on after an option.
enum Next {
    Option,
    Encrypt,
    Agreed(Export),
    Over,
}

struct Negotiation<'a> {
    terms: &'a Terms<'a>,
    stream: Stream,
    deadline: Instant,
    no_zeroes: bool,
    replies: Replies,
    /// The export for which contexts were chosen, and which.
    contexts: (String, Vec<Context>),
}

/// Agree with a client; nothing if it went, in peace or not.
pub fn negotiate(socket: Socket, terms: &Terms<'_>) -> io::Result<Option<Agreed>> {
    let deadline = Instant::now() + terms.timeout;
    let mut this = Negotiation {
        terms,
        stream: Stream::Plain(socket),
        deadline,
        no_zeroes: false,
        replies: Replies::Simple,
        contexts: Default::default(),
    };
    let Some(export) = this.run()? else {
        return Ok(None);
    };
    if let Err(error) = this.stream.socket().set_timeout(None) {
        terms.exports.close(&export, None);
        return Err(error);
    }
    Ok(Some(Agreed { stream: this.stream, export, replies: this.replies, contexts: this.contexts.1 }))
}

impl Negotiation<'_> {
    fn run(&mut self) -> io::Result<Option<Export>> {
        let mut greeting = [0; 18];
        greeting[..8].copy_from_slice(&proto::INIT_MAGIC.to_be_bytes());
        greeting[8..16].copy_from_slice(&proto::OPTION_MAGIC.to_be_bytes());
        greeting[16..].copy_from_slice(&(handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES).to_be_bytes());
        self.send(&greeting)?;
        let flags = u32::from_be_bytes(self.receive()?);
        let known = u32::from(handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES);
        if flags & !known != 0 {
            return Ok(None);
        }
        self.no_zeroes = flags & u32::from(handshake::NO_ZEROES) != 0;
        for _ in 0..MAX_OPTIONS {
            match self.option()? {
                Next::Option => {}
                Next::Encrypt => self.encrypt()?,
                Next::Agreed(export) => return Ok(Some(export)),
                Next::Over => break,
            }
        }
        Ok(None)
    }

    fn option(&mut self) -> io::Result<Next> {
        let head: [u8; 16] = self.receive()?;
        let mut bytes = &head[8..];
        let (Some(option), Some(len)) = (take_u32(&mut bytes), take_u32(&mut bytes)) else {
            unreachable!("the header has 16 bytes")
        };
        let len = len as usize;
        if head[..8] != proto::OPTION_MAGIC.to_be_bytes() || len > MAX_SKIPPED {
            return Ok(Next::Over);
        }
        let mut data = vec![0; len];
        self.receive_into(&mut data)?;
        let encrypted = matches!(self.stream, Stream::Tls(_));
        if self.terms.tls_required && !encrypted && !matches!(option, option::STARTTLS | option::ABORT) {
            if option == option::EXPORT_NAME {
                return Ok(Next::Over);
            }
            return self.refuse(option, answer::TLS_REQUIRED, "this server talks TLS only");
        }
        if len > MAX_OPTION && option != option::EXPORT_NAME {
            return self.refuse(option, answer::TOO_BIG, "the option is too long");
        }
        let no_data = "this option has no data";
        match option {
            option::EXPORT_NAME => self.export_name(&data),
            option::ABORT => {
                // The client need not wait for it.
                let _ = self.answer(option, answer::ACK, &[]);
                Ok(Next::Over)
            }
            option::LIST if !data.is_empty() => self.refuse(option, answer::INVALID, no_data),
            option::LIST => self.list(),
            option::STARTTLS if !data.is_empty() || encrypted => {
                self.refuse(option, answer::INVALID, if encrypted { "TLS is on already" } else { no_data })
            }
            option::STARTTLS if self.terms.tls.is_none() => {
                self.refuse(option, answer::POLICY, "this server has no certificate for TLS")
            }
            option::STARTTLS => {
                self.answer(option, answer::ACK, &[])?;
                Ok(Next::Encrypt)
            }
            option::INFO | option::GO => self.go(option, &data),
            option::STRUCTURED_REPLY | option::EXTENDED_HEADERS if !data.is_empty() => {
                self.refuse(option, answer::INVALID, no_data)
            }
            option::STRUCTURED_REPLY if self.replies == Replies::Extended => {
                self.refuse(option, answer::EXTENDED_HEADERS_REQUIRED, "extended headers are on already")
            }
            option::STRUCTURED_REPLY => {
                self.replies = Replies::Structured;
                self.acknowledge(option)
            }
            option::EXTENDED_HEADERS => {
                self.replies = Replies::Extended;
                self.acknowledge(option)
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.meta_contexts(option, &data),
            _ => self.refuse(option, answer::UNSUPPORTED, "this server does not know the option"),
        }
    }

    /// The old way to choose an export: there is no word for no.
    fn export_name(&mut self, data: &[u8]) -> io::Result<Next> {
        let name = std::str::from_utf8(data).unwrap_or("\u{fffd}");
        let Ok(export) = self.open(name) else {
            return Ok(Next::Over);
        };
        let mut out = Vec::new();
        out.extend_from_slice(&export.disk.size().to_be_bytes());
        out.extend_from_slice(&self.flags(&export).to_be_bytes());
        if !self.no_zeroes {
            out.resize(out.len() + 124, 0);
        }
        self.keep_contexts_of(name);
        self.conclude(export, &out)
    }

    fn list(&mut self) -> io::Result<Next> {
        for (name, description) in self.terms.exports.names() {
            let mut data = (name.len() as u32).to_be_bytes().to_vec();
            data.extend_from_slice(name.as_bytes());
            data.extend_from_slice(description.as_bytes());
            self.answer(option::LIST, answer::SERVER, &data)?;
        }
        self.acknowledge(option::LIST)
    }

    fn encrypt(&mut self) -> io::Result<()> {
        let Some(tls) = self.terms.tls else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let socket = self.stream.socket().try_clone()?;
        socket.set_timeout(Some(self.left()?))?;
        self.stream = Stream::Tls(Box::new(tls.accept(socket)?));
        // What was agreed in the clear may be somebody else's doing.
        self.replies = Replies::Simple;
        self.contexts = Default::default();
        Ok(())
    }

    fn go(&mut self, option: u32, data: &[u8]) -> io::Result<Next> {
        let Some((name, wanted)) = parse_go(data) else {
            return self.refuse(option, answer::INVALID, "the option's data is malformed");
        };
        let export = match self.open(&name) {
            Ok(export) => export,
            Err(refusal) => return self.refuse(option, refusal.answer, &refusal.message),
        };
        let flags = self.flags(&export);
        let told = self.tell(option, &name, &export, flags, &wanted);
        if option == option::INFO {
            self.terms.exports.close(&export, None);
            told?;
            return self.acknowledge(option);
        }
        if let Err(error) = told {
            self.terms.exports.close(&export, None);
            return Err(error);
        }
        self.keep_contexts_of(&name);
        self.conclude(export, &proto::option_reply(option, answer::ACK, 0))
    }

    /// What a client wants to know of an export, and what it must know.
    fn tell(&self, option: u32, name: &str, export: &Export, flags: u16, wanted: &[u16]) -> io::Result<()> {
        let mut told = info::EXPORT.to_be_bytes().to_vec();
        told.extend_from_slice(&export.disk.size().to_be_bytes());
        told.extend_from_slice(&flags.to_be_bytes());
        self.answer(option, answer::INFO, &told)?;
        for (kind, text) in [(info::NAME, name), (info::DESCRIPTION, &export.description)] {
            if wanted.contains(&kind) {
                self.answer(option, answer::INFO, &[&kind.to_be_bytes(), text.as_bytes()].concat())?;
            }
        }
        let mut sizes = info::BLOCK_SIZE.to_be_bytes().to_vec();
        for size in [1, BLOCK_SIZE as u32, proto::MAX_PAYLOAD] {
            sizes.extend_from_slice(&size.to_be_bytes());
        }
        self.answer(option, answer::INFO, &sizes)
    }

    fn meta_contexts(&mut self, option: u32, data: &[u8]) -> io::Result<Next> {
        if self.replies == Replies::Simple {
            return self.refuse(option, answer::INVALID, "contexts need structured replies");
        }
        let Some((name, queries)) = parse_queries(data) else {
            return self.refuse(option, answer::INVALID, "the option's data is malformed");
        };
        let setting = option == option::SET_META_CONTEXT;
        if setting {
            self.contexts = Default::default();
        }
        let exports = self.terms.exports;
        let export = match self.open(&name) {
            Ok(export) => export,
            Err(refusal) => return self.refuse(option, refusal.answer, &refusal.message),
        };
        let mut found = contexts::find(exports, &export, &queries, !setting);
        exports.close(&export, None);
        if setting {
            found.truncate(MAX_CONTEXTS);
        }
        for (i, context) in found.iter().enumerate() {
            let id = if setting { i as u32 + 1 } else { 0 };
            let data = [&id.to_be_bytes(), context.name().as_bytes()].concat();
            self.answer(option, answer::META_CONTEXT, &data)?;
        }
        if setting {
            self.contexts = (name, found);
        }
        self.acknowledge(option)
    }

    fn open(&self, name: &str) -> Result<Export, Refusal> {
        if name.len() > proto::MAX_TEXT {
            return Err(Refusal { answer: answer::INVALID, message: "the name is too long".into() });
        }
        self.terms.exports.open(name, self.terms.peer)
    }

    /// Contexts that were chosen for another export do not count.
    fn keep_contexts_of(&mut self, name: &str) {
        if self.contexts.0 != name {
            self.contexts = Default::default();
        }
    }

    fn flags(&self, export: &Export) -> u16 {
        let mut flags = flag::HAS_FLAGS | flag::SEND_FLUSH | flag::SEND_FUA | flag::SEND_CACHE;
        flags |= flag::CAN_MULTI_CONN;
        if export.read_only {
            flags |= flag::READ_ONLY;
        } else {
            flags |= flag::SEND_TRIM | flag::SEND_WRITE_ZEROES | flag::SEND_FAST_ZERO;
        }
        if self.replies >= Replies::Structured {
            flags |= flag::SEND_DF;
        }
        if self.replies == Replies::Extended {
            flags |= flag::BLOCK_STATUS_PAYLOAD;
        }
        flags
    }

    /// The last words of the handshake.
    fn conclude(&self, export: Export, words: &[u8]) -> io::Result<Next> {
        (self.terms.agreed)(&export, matches!(self.stream, Stream::Tls(_)));
        match self.send(words) {
            Ok(()) => Ok(Next::Agreed(export)),
            Err(error) => {
                self.terms.exports.close(&export, None);
                Err(error)
            }
        }
    }

    fn acknowledge(&self, option: u32) -> io::Result<Next> {
        self.answer(option, answer::ACK, &[])?;
        Ok(Next::Option)
    }

    fn refuse(&self, option: u32, error: u32, message: &str) -> io::Result<Next> {
        let mut len = message.len().min(proto::MAX_TEXT);
        while !message.is_char_boundary(len) {
            len -= 1;
        }
        self.answer(option, error, &message.as_bytes()[..len])?;
        Ok(Next::Option)
    }

    fn answer(&self, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
        self.send(&[&proto::option_reply(option, kind, data.len()), data].concat())
    }

    /// What is left of the time.
    fn left(&self) -> io::Result<Duration> {
        match self.deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn send(&self, data: &[u8]) -> io::Result<()> {
        self.stream.socket().set_timeout(Some(self.left()?))?;
        self.stream.write_all(data)
    }

    fn receive<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut data = [0; N];
        self.receive_into(&mut data)?;
        Ok(data)
    }

    fn receive_into(&self, mut data: &mut [u8]) -> io::Result<()> {
        while !data.is_empty() {
            // Anew for each piece: bytes that come one by one do not win time.
            self.stream.socket().set_timeout(Some(self.left()?))?;
            match self.stream.read(data)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => data = &mut data[n..],
            }
        }
        Ok(())
    }
}

fn parse_text(data: &mut &[u8]) -> Option<String> {
    let len = take_u32(data)? as usize;
    String::from_utf8(take_bytes(data, len)?.to_vec()).ok()
}

/// The name and the kinds of information in the data of INFO or GO.
fn parse_go(mut data: &[u8]) -> Option<(String, Vec<u16>)> {
    let data = &mut data;
    let name = parse_text(data)?;
    let count = take_u16(data)?;
    let wanted = (0..count).map(|_| take_u16(data)).collect::<Option<Vec<_>>>()?;
    data.is_empty().then_some((name, wanted))
}

/// The name and the queries in the data of LIST_META_CONTEXT or SET_META_CONTEXT.
fn parse_queries(mut data: &[u8]) -> Option<(String, Vec<String>)> {
    let data = &mut data;
    let name = parse_text(data)?;
    let count = take_u32(data)?;
    let mut queries = Vec::new();
    for _ in 0..count {
        queries.push(parse_text(data)?);
    }
    data.is_empty().then_some((name, queries))
}
