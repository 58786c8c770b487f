//! The handshake: from a server's greeting to an export that takes requests.

use std::io;

use super::link::{Deadline, unreachable};
use crate::error::{Error, Kind, Result};
use crate::nbd::proto::{
    INIT_MAGIC, MAX_PAYLOAD, MAX_TEXT, OPTION_MAGIC, OPTION_REPLY_MAGIC, answer, handshake, info, option,
    take_u16, take_u32, take_u64,
};
use crate::nbd::stream::Stream;

/// The greeting of servers from before the options, in place of [`OPTION_MAGIC`].
const OLDSTYLE_MAGIC: u64 = 0x0000_4202_8186_1253;
/// No answer to an option is longer.
const MAX_ANSWER: u32 = 64 << 10;
/// No answer to an option has more parts.
const MAX_PARTS: usize = 10_000;

/// How replies are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// An error number, and a read's data.
    Simple,
    /// Chunks.
    Structured,
    /// Chunks, and 64-bit lengths everywhere.
    Extended,
}

/// What a server serves, and how it may be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Bytes.
    pub size: u64,
    /// [`transmission`].
    pub flags: u16,
    /// Offsets and lengths of requests are multiples of this.
    pub min_block: u32,
    /// The longest read or write.
    pub max_block: u32,
    /// How replies are told.
    pub dialect: Dialect,
    /// The contexts of block status that were granted, and their numbers here.
    pub contexts: Vec<(String, u32)>,
}

impl Export {
    /// Whether the server offers all of these [`transmission`] flags.
    pub fn offers(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

/// The handshake on one stream.
pub struct Handshake<'a> {
    stream: &'a Stream,
    deadline: Deadline,
    peer: &'a str,
}

/// A part of the answer to an option.
struct Answer {
    kind: u32,
    payload: Vec<u8>,
}

impl Handshake<'_> {
    /// Take the server's greeting and return it.
    pub fn greet<'a>(stream: &'a Stream, deadline: Deadline, peer: &'a str) -> Result<Handshake<'a>> {
        let mut shake = Handshake { stream, deadline, peer };
        if shake.take::<8>()? != INIT_MAGIC.to_be_bytes() {
            return Err(Error::new(Kind::Io, format!("{peer} is no NBD server")));
        }
        let style = u64::from_be_bytes(shake.take()?);
        if style == OLDSTYLE_MAGIC {
            return Err(shake.too_old());
        }
        if style != OPTION_MAGIC {
            return Err(shake.violation("its greeting is unknown"));
        }
        let flags = u16::from_be_bytes(shake.take()?);
        if flags & handshake::FIXED_NEWSTYLE == 0 {
            return Err(shake.too_old());
        }
        let flags = flags & (handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES);
        shake.send(&u32::from(flags).to_be_bytes())?;
        Ok(shake)
    }

    /// Go on where [`Handshake::greet`] left off, over a stream that is encrypted since.
    pub fn resume<'a>(stream: &'a Stream, deadline: Deadline, peer: &'a str) -> Handshake<'a> {
        Handshake { stream, deadline, peer }
    }

    /// Ask for TLS, which begins with the next byte.
    pub fn start_tls(&mut self) -> Result<()> {
        match self.ask_plainly(option::STARTTLS)? {
            None => Ok(()),
            Some(refusal) => Err(self.refused("will not speak TLS", &refusal)),
        }
    }

    /// Agree on everything and enter transmission.
    pub fn negotiate(mut self, export: &str, contexts: &[&str]) -> Result<Export> {
        if export.len() > MAX_TEXT {
            return Err(Error::invalid(format!("the name of an export has {MAX_TEXT} bytes at most")));
        }
        let dialect = self.agree_dialect()?;
        let contexts = match dialect {
            Dialect::Simple => Vec::new(),
            _ => self.agree_contexts(export, contexts)?,
        };
        self.go(export, dialect, contexts)
    }

    fn agree_dialect(&mut self) -> Result<Dialect> {
        for (option, dialect) in
            [(option::EXTENDED_HEADERS, Dialect::Extended), (option::STRUCTURED_REPLY, Dialect::Structured)]
        {
            match self.ask_plainly(option)? {
                None => return Ok(dialect),
                Some(refusal) if refusal.kind == answer::TLS_REQUIRED => {
                    return Err(self.refused("refuses", &refusal));
                }
                Some(_) => {}
            }
        }
        Ok(Dialect::Simple)
    }

    fn agree_contexts(&mut self, export: &str, contexts: &[&str]) -> Result<Vec<(String, u32)>> {
        let mut payload = Vec::new();
        put_text(&mut payload, export);
        payload.extend_from_slice(&(contexts.len() as u32).to_be_bytes());
        contexts.iter().for_each(|context| put_text(&mut payload, context));
        self.ask(option::SET_META_CONTEXT, &payload)?;
        let mut granted: Vec<(String, u32)> = Vec::new();
        loop {
            let part = self.answer(option::SET_META_CONTEXT)?;
            match part.kind {
                answer::ACK => return Ok(granted),
                answer::META_CONTEXT => {
                    let mut bytes = part.payload.as_slice();
                    let id =
                        take_u32(&mut bytes).ok_or_else(|| self.violation("a context without number"))?;
                    if granted.len() >= MAX_PARTS {
                        return Err(self.violation("an answer that does not end"));
                    }
                    granted.push((String::from_utf8_lossy(bytes).into_owned(), id));
                }
                // What the matter is with the export, GO will tell.
                kind if kind & answer::ERROR != 0 => return Ok(Vec::new()),
                _ => return Err(self.violation("an answer of another kind")),
            }
        }
    }

    fn go(&mut self, export: &str, dialect: Dialect, contexts: Vec<(String, u32)>) -> Result<Export> {
        let mut payload = Vec::new();
        put_text(&mut payload, export);
        payload.extend_from_slice(&1u16.to_be_bytes());
        payload.extend_from_slice(&info::BLOCK_SIZE.to_be_bytes());
        self.ask(option::GO, &payload)?;
        let mut told: Option<(u64, u16)> = None;
        let (mut min_block, mut max_block) = (1, MAX_PAYLOAD);
        for _ in 0..MAX_PARTS {
            let part = self.answer(option::GO)?;
            match part.kind {
                answer::ACK => {
                    let (size, flags) =
                        told.ok_or_else(|| self.violation("it does not tell the export's size"))?;
                    let size = size - size % u64::from(min_block);
                    return Ok(Export { size, flags, min_block, max_block, dialect, contexts });
                }
                answer::INFO => {
                    let mut bytes = part.payload.as_slice();
                    match take_u16(&mut bytes) {
                        Some(info::EXPORT) => {
                            let size = take_u64(&mut bytes).filter(|size| i64::try_from(*size).is_ok());
                            told = size.zip(take_u16(&mut bytes));
                            if told.is_none() {
                                return Err(self.violation("it tells no size that can be"));
                            }
                        }
                        Some(info::BLOCK_SIZE) => {
                            (min_block, max_block) = block_sizes(bytes)
                                .ok_or_else(|| self.violation("it tells block sizes that cannot be"))?;
                        }
                        Some(_) => {}
                        None => return Err(self.violation("an information without kind")),
                    }
                }
                answer::UNSUPPORTED => return Err(self.too_old()),
                kind if kind & answer::ERROR != 0 => {
                    return Err(self.refused(&format!("refuses the export {export:?}"), &part));
                }
                _ => return Err(self.violation("an answer of another kind")),
            }
        }
        Err(self.violation("an answer that does not end"))
    }

    /// Ask for an option that has no data: `None` when it is granted, else the refusal.
    fn ask_plainly(&mut self, option: u32) -> Result<Option<Answer>> {
        self.ask(option, &[])?;
        let part = self.answer(option)?;
        match part.kind {
            answer::ACK => Ok(None),
            kind if kind & answer::ERROR != 0 => Ok(Some(part)),
            _ => Err(self.violation("an answer of another kind")),
        }
    }

    fn ask(&mut self, option: u32, payload: &[u8]) -> Result<()> {
        let mut bytes = OPTION_MAGIC.to_be_bytes().to_vec();
        bytes.extend_from_slice(&option.to_be_bytes());
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
        self.send(&bytes)
    }

    fn answer(&mut self, option: u32) -> Result<Answer> {
        let head = self.take::<20>()?;
        let bytes = &mut head.as_slice();
        if take_u64(bytes) != Some(OPTION_REPLY_MAGIC) {
            return Err(self.violation("an answer without its mark"));
        }
        if take_u32(bytes) != Some(option) {
            return Err(self.violation("an answer to what was not asked"));
        }
        let (Some(kind), Some(length)) = (take_u32(bytes), take_u32(bytes)) else {
            unreachable!("20 bytes");
        };
        if length > MAX_ANSWER {
            return Err(self.violation("an answer of more than 64 KiB"));
        }
        let mut payload = vec![0; length as usize];
        self.fill(&mut payload)?;
        Ok(Answer { kind, payload })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Read exactly this, and not a byte more: TLS may begin behind it.
    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            let read = self.in_time().and_then(|()| self.stream.read(buffer));
            match read {
                Ok(0) => {
                    let message = format!("the NBD server at {} closed the connection", self.peer);
                    return Err(Error::new(Kind::Io, message));
                }
                Ok(read) => buffer = &mut buffer[read..],
                Err(error) => return Err(unreachable(self.peer, &error)),
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.in_time()
            .and_then(|()| self.stream.write_all(bytes))
            .map_err(|error| unreachable(self.peer, &error))
    }

    /// Let the next read or write last until the deadline at most.
    fn in_time(&self) -> io::Result<()> {
        self.stream.socket().set_timeout(Some(self.deadline.left()?))
    }

    fn violation(&self, what: &str) -> Error {
        Error::new(Kind::Io, format!("the NBD server at {} breaks the protocol: {what}", self.peer))
    }

    fn too_old(&self) -> Error {
        let peer = self.peer;
        Error::invalid(format!("the NBD server at {peer} is too old: it does not know NBD_OPT_GO"))
    }

    fn refused(&self, what: &str, refusal: &Answer) -> Error {
        let (kind, why) = match refusal.kind {
            answer::UNSUPPORTED => (Kind::Invalid, "it cannot do that"),
            answer::POLICY => (Kind::Refused, "it is not allowed"),
            answer::INVALID => (Kind::Invalid, "it finds the request wrong"),
            answer::PLATFORM => (Kind::Invalid, "its system cannot do that"),
            answer::TLS_REQUIRED => (Kind::Refused, "it wants TLS"),
            answer::UNKNOWN => (Kind::Missing, "there is none of that name"),
            answer::SHUTDOWN => (Kind::Io, "it is shutting down"),
            answer::BLOCK_SIZE_REQUIRED => (Kind::Invalid, "it wants block sizes to be agreed on"),
            answer::TOO_BIG => (Kind::Invalid, "it finds the request too big"),
            answer::EXTENDED_HEADERS_REQUIRED => (Kind::Invalid, "it wants extended headers"),
            _ => (Kind::Io, "it does not say why"),
        };
        let told = plain_text(&refusal.payload);
        let why = if told.is_empty() { why } else { &told };
        Error::new(kind, format!("the NBD server at {} {what}: {why}", self.peer))
    }
}

/// The least and the greatest block, if a server may tell such.
fn block_sizes(mut bytes: &[u8]) -> Option<(u32, u32)> {
    let (min, _preferred, max) = (take_u32(&mut bytes)?, take_u32(&mut bytes)?, take_u32(&mut bytes)?);
    let possible = min.is_power_of_two() && min <= 64 << 10 && max >= min;
    possible.then_some((min, max))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// What a server says, fit to be shown: some letters on one line.
pub fn plain_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_string()
}
