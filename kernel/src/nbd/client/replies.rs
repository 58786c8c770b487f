//! What comes back: the bytes of replies, checked against the requests that they answer.

use std::io::{self, Read};
use std::ptr::NonNull;

use super::coverage::Coverage;
use super::handshake::{Dialect, plain_text};
use crate::error::{Error, Kind};
use crate::nbd::proto::{
    CHUNK_MAGIC, Chunk, EXTENDED_CHUNK_MAGIC, SIMPLE_REPLY, SIMPLE_REPLY_MAGIC, chunk, command, errno,
    take_bytes, take_u16, take_u32, take_u64,
};

/// No block status takes more bytes.
const MAX_STATUS: u64 = (16 << 20) + 8;

/// Why no reply can be read from a connection any more.
#[derive(Debug)]
pub enum Broken {
    /// It is lost.
    Lost(io::Error),
    /// The server does what the protocol forbids; this is what.
    Violation(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Lost(error)
    }
}

fn violation<T>(what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::Violation(what.into()))
}

/// Where a read's data goes: as many bytes as the request asks for.
///
/// Whoever puts one into a [`Pending`] vouches that the bytes stay, and are no one else's, until that is gone.
#[derive(Debug)]
pub struct Destination(pub NonNull<u8>);

// SAFETY: bytes may be written from any thread; that no two do so at a time is vouched for above.
unsafe impl Send for Destination {}

/// A request that has no complete reply yet.
#[derive(Debug)]
pub struct Pending {
    /// Which call it is a part of.
    pub call: u64,
    /// [`command`].
    pub command: u16,
    /// As requested.
    pub offset: u64,
    /// As requested.
    pub length: u64,
    /// A read has one.
    pub destination: Option<Destination>,
    /// For block status: the number of the context that is asked about.
    pub context: Option<u32>,
    /// What has come of the data.
    pub coverage: Coverage,
    /// The first error that the server told.
    pub error: Option<Error>,
    /// Lengths and flags in that context, from `offset` on.
    pub extents: Vec<(u64, u64)>,
}

/// The head of a reply, or of a part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    /// All of a reply but a read's data.
    Simple {
        /// [`errno`]; 0: none.
        error: u32,
        /// The request's.
        cookie: u64,
    },
    /// One of several parts.
    Chunk(Chunk),
}

impl Head {
    /// Read the next one.
    pub fn read(from: &mut impl Read, dialect: Dialect) -> Result<Head, Broken> {
        let mut bytes = [0; Chunk::EXTENDED];
        from.read_exact(&mut bytes[..4])?;
        let magic = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        match (magic, dialect) {
            (SIMPLE_REPLY_MAGIC, Dialect::Simple | Dialect::Structured) => {
                from.read_exact(&mut bytes[4..SIMPLE_REPLY])?;
                let mut rest = &bytes[4..SIMPLE_REPLY];
                let (error, cookie) = (take_u32(&mut rest), take_u64(&mut rest));
                Ok(Head::Simple { error: error.unwrap_or_default(), cookie: cookie.unwrap_or_default() })
            }
            (CHUNK_MAGIC, Dialect::Structured) | (EXTENDED_CHUNK_MAGIC, Dialect::Extended) => {
                let extended = dialect == Dialect::Extended;
                let bytes = &mut bytes[..Chunk::header_len(extended)];
                from.read_exact(&mut bytes[4..])?;
                match Chunk::parse(bytes, extended) {
                    Some(chunk) => Ok(Head::Chunk(chunk)),
                    None => violation("a chunk that cannot be"),
                }
            }
            _ => violation(format!("{magic:#010x} where a reply is due")),
        }
    }

    /// The cookie of the request that it answers.
    pub fn cookie(&self) -> u64 {
        match self {
            Head::Simple { cookie, .. } => *cookie,
            Head::Chunk(chunk) => chunk.cookie,
        }
    }
}

impl Pending {
    /// Take in what follows a head that bears this request's cookie; true when the reply is complete with it.
    pub fn take(&mut self, head: Head, from: &mut impl Read, dialect: Dialect) -> Result<bool, Broken> {
        match head {
            Head::Simple { error, .. } => self.take_simple(error, from, dialect)?,
            Head::Chunk(chunk) => {
                self.take_chunk(chunk, from, dialect)?;
                if chunk.flags & chunk::DONE == 0 {
                    return Ok(false);
                }
            }
        }
        if self.error.is_none() {
            if self.destination.is_some() && !self.coverage.complete(self.length) {
                return violation("a read's reply with data missing");
            }
            if self.command == command::BLOCK_STATUS && self.extents.is_empty() {
                return violation("block status without the context asked for");
            }
        }
        Ok(true)
    }

    fn take_simple(&mut self, error: u32, from: &mut impl Read, dialect: Dialect) -> Result<(), Broken> {
        if error != 0 {
            self.refused(error, "");
            return Ok(());
        }
        if self.destination.is_some() {
            if dialect != Dialect::Simple {
                return violation("a simple reply to a read");
            }
            return self.fill(0, self.length, |part| Ok(from.read_exact(part)?));
        }
        Ok(())
    }

    fn take_chunk(&mut self, chunk: Chunk, from: &mut impl Read, dialect: Dialect) -> Result<(), Broken> {
        match chunk.kind {
            chunk::NONE => {
                if chunk.length != 0 || chunk.flags & chunk::DONE == 0 {
                    return violation("an empty chunk that is not empty, or not the last");
                }
                Ok(())
            }
            chunk::OFFSET_DATA => {
                if chunk.length <= 8 {
                    return violation("a data chunk without data");
                }
                let at = take_u64_from(from)?;
                self.fill(self.inside(at)?, chunk.length - 8, |part| Ok(from.read_exact(part)?))
            }
            chunk::OFFSET_HOLE => {
                if chunk.length != 12 {
                    return violation("a hole chunk of a wrong length");
                }
                let at = take_u64_from(from)?;
                let mut length = [0; 4];
                from.read_exact(&mut length)?;
                let length = u32::from_be_bytes(length).into();
                self.fill(self.inside(at)?, length, |part| {
                    part.fill(0);
                    Ok(())
                })
            }
            chunk::BLOCK_STATUS => self.take_status(chunk.length, from, false),
            chunk::BLOCK_STATUS_EXT if dialect == Dialect::Extended => {
                self.take_status(chunk.length, from, true)
            }
            kind if kind & chunk::IS_ERROR != 0 => self.take_error(chunk, from),
            kind => violation(format!("a chunk of the unknown kind {kind}")),
        }
    }

    /// Where the disk's offset `at` is in the request.
    fn inside(&self, at: u64) -> Result<u64, Broken> {
        match at.checked_sub(self.offset) {
            Some(start) if start < self.length => Ok(start),
            _ => violation("a chunk outside of what was requested"),
        }
    }

    /// Have `length` bytes at `start` of the request's destination filled.
    fn fill(
        &mut self,
        start: u64,
        length: u64,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let Some(Destination(destination)) = &self.destination else {
            return violation("data for a request that is no read");
        };
        let end = start.checked_add(length).filter(|end| *end <= self.length && length > 0);
        let Some(end) = end else {
            return violation("a chunk that goes beyond what was requested");
        };
        if !self.coverage.add(start, end) {
            return violation("the same data twice");
        }
        // SAFETY: `start..end` is within `length`, and so within the destination, which is this request's alone.
        let part = unsafe {
            std::slice::from_raw_parts_mut(destination.as_ptr().add(start as usize), length as usize)
        };
        fill(part)
    }

    fn take_status(&mut self, length: u64, from: &mut impl Read, extended: bool) -> Result<(), Broken> {
        let (head, item) = if extended { (8, 16) } else { (4, 8) };
        if self.command != command::BLOCK_STATUS {
            return violation("block status where none was asked");
        }
        if length < head + item || !(length - head).is_multiple_of(item) || length > MAX_STATUS {
            return violation("block status of a wrong length");
        }
        let mut payload = Vec::new();
        if from.take(length).read_to_end(&mut payload)? as u64 != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let bytes = &mut payload.as_slice();
        let context = take_u32(bytes);
        if extended && take_u32(bytes).map(u64::from) != Some((length - head) / item) {
            return violation("block status that counts its parts wrongly");
        }
        if context != self.context {
            return Ok(());
        }
        if !self.extents.is_empty() {
            return violation("block status of one context twice");
        }
        while !bytes.is_empty() {
            let (length, flags) = match extended {
                true => (take_u64(bytes), take_u64(bytes)),
                false => (take_u32(bytes).map(u64::from), take_u32(bytes).map(u64::from)),
            };
            match (length, flags) {
                (Some(length @ 1..), Some(flags)) => self.extents.push((length, flags)),
                _ => return violation("block status with an empty part"),
            }
        }
        Ok(())
    }

    fn take_error(&mut self, chunk: Chunk, from: &mut impl Read) -> Result<(), Broken> {
        if chunk.length < 6 || chunk.length > 6 + u64::from(u16::MAX) + 8 {
            return violation("an error chunk of a wrong length");
        }
        let mut payload = vec![0; chunk.length as usize];
        from.read_exact(&mut payload)?;
        let bytes = &mut payload.as_slice();
        let (error, told) = (take_u32(bytes).unwrap_or_default(), take_u16(bytes).unwrap_or_default());
        let Some(message) = take_bytes(bytes, told.into()) else {
            return violation("an error chunk that is shorter than its message");
        };
        if error == 0 {
            return violation("an error chunk without error");
        }
        let place = match chunk.kind {
            chunk::ERROR_OFFSET => match take_u64(bytes) {
                Some(at) => Some(self.offset + self.inside(at)?),
                None => return violation("an error chunk without its offset"),
            },
            _ => None,
        };
        let message = plain_text(message);
        match place {
            Some(at) if message.is_empty() => {
                self.refused(error, &format!("{} (at {at})", self.words(error)))
            }
            _ => self.refused(error, &message),
        }
        Ok(())
    }

    /// Note an error that the server told, with its message if it had any.
    fn refused(&mut self, error: u32, message: &str) {
        let message = if message.is_empty() { self.words(error) } else { message.to_string() };
        self.error.get_or_insert_with(|| Error::new(kind_of(error), message));
    }

    /// What a server that gives only the error's number means by it.
    fn words(&self, error: u32) -> String {
        let (length, offset) = (self.length, self.offset);
        let what = match self.command {
            command::READ => format!("read {length} bytes at {offset}"),
            command::WRITE => format!("write {length} bytes at {offset}"),
            command::TRIM => format!("discard {length} bytes at {offset}"),
            command::WRITE_ZEROES => format!("write {length} zeroes at {offset}"),
            command::BLOCK_STATUS => format!("tell the extents of {length} bytes at {offset}"),
            _ => "flush".to_string(),
        };
        format!("the NBD server could not {what}: {}", words(error))
    }
}

fn take_u64_from(from: &mut impl Read) -> Result<u64, Broken> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

/// What a caller can act on, of the protocol's error.
fn kind_of(error: u32) -> Kind {
    match error {
        errno::EPERM => Kind::ReadOnly,
        errno::EINVAL | errno::EOVERFLOW | errno::ENOTSUP => Kind::Invalid,
        errno::ENOSPC => Kind::NoSpace,
        errno::ESHUTDOWN => Kind::Stale,
        _ => Kind::Io,
    }
}

/// The protocol's error in words.
fn words(error: u32) -> String {
    let words = match error {
        errno::EPERM => "it may not be written",
        errno::EIO => "an error while reading or writing",
        errno::ENOMEM => "it is out of memory",
        errno::EINVAL => "it finds the request wrong",
        errno::ENOSPC => "no space is left",
        errno::EOVERFLOW => "the request is too long",
        errno::ENOTSUP => "it cannot do that",
        errno::ESHUTDOWN => "it is shutting down, or what it served is gone",
        other => return format!("error {other}"),
    };
    words.to_string()
}
