//! The protocol's numbers, and the bytes of its messages.
//!
//! Source: doc/proto.md of the NBD project (fixed newstyle, structured replies, extended headers). All integers are
//! big-endian. Server and client share these and nothing else.

/// Port of NBD.
pub const PORT: u16 = 10809;

/// First words of a server, "NBDMAGIC".
pub const INIT_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Before each option of a client, and in a newstyle server's greeting: "IHAVEOPT".
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Before each answer to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Before a request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Before a request with an extended header.
pub const EXTENDED_REQUEST_MAGIC: u32 = 0x21e4_1c71;
/// Before a simple reply.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Before a chunk of a structured reply.
pub const CHUNK_MAGIC: u32 = 0x668e_33ef;
/// Before a chunk with an extended header.
pub const EXTENDED_CHUNK_MAGIC: u32 = 0x6e8a_278c;

/// The longest text (export name, message, context) in bytes.
pub const MAX_TEXT: usize = 4096;
/// The longest payload of a request, and of a read's reply, that this server takes: 32 MiB, the protocol's default.
pub const MAX_PAYLOAD: u32 = 32 << 20;

/// Flags of the handshake, the server's and the client's.
pub mod handshake {
    /// The newstyle that can say no.
    pub const FIXED_NEWSTYLE: u16 = 1;
    /// No zeroes behind the answer to EXPORT_NAME.
    pub const NO_ZEROES: u16 = 2;
}

/// What a client may ask for in the handshake.
pub mod option {
    #![allow(missing_docs)]
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const LIST: u32 = 3;
    pub const STARTTLS: u32 = 5;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
    pub const STRUCTURED_REPLY: u32 = 8;
    pub const LIST_META_CONTEXT: u32 = 9;
    pub const SET_META_CONTEXT: u32 = 10;
    pub const EXTENDED_HEADERS: u32 = 11;
}

/// Answers to options.
pub mod answer {
    #![allow(missing_docs)]
    pub const ACK: u32 = 1;
    pub const SERVER: u32 = 2;
    pub const INFO: u32 = 3;
    pub const META_CONTEXT: u32 = 4;
    /// Set in all that follow.
    pub const ERROR: u32 = 1 << 31;
    pub const UNSUPPORTED: u32 = ERROR | 1;
    pub const POLICY: u32 = ERROR | 2;
    pub const INVALID: u32 = ERROR | 3;
    pub const PLATFORM: u32 = ERROR | 4;
    pub const TLS_REQUIRED: u32 = ERROR | 5;
    pub const UNKNOWN: u32 = ERROR | 6;
    pub const SHUTDOWN: u32 = ERROR | 7;
    pub const BLOCK_SIZE_REQUIRED: u32 = ERROR | 8;
    pub const TOO_BIG: u32 = ERROR | 9;
    pub const EXTENDED_HEADERS_REQUIRED: u32 = ERROR | 10;
}

/// What INFO and GO tell.
pub mod info {
    #![allow(missing_docs)]
    pub const EXPORT: u16 = 0;
    pub const NAME: u16 = 1;
    pub const DESCRIPTION: u16 = 2;
    pub const BLOCK_SIZE: u16 = 3;
}

/// What an export can do.
pub mod transmission {
    #![allow(missing_docs)]
    pub const HAS_FLAGS: u16 = 1;
    pub const READ_ONLY: u16 = 1 << 1;
    pub const SEND_FLUSH: u16 = 1 << 2;
    pub const SEND_FUA: u16 = 1 << 3;
    pub const ROTATIONAL: u16 = 1 << 4;
    pub const SEND_TRIM: u16 = 1 << 5;
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub const SEND_DF: u16 = 1 << 7;
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    pub const SEND_CACHE: u16 = 1 << 10;
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
    pub const BLOCK_STATUS_PAYLOAD: u16 = 1 << 12;
}

/// Requests.
pub mod command {
    #![allow(missing_docs)]
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const DISCONNECT: u16 = 2;
    pub const FLUSH: u16 = 3;
    pub const TRIM: u16 = 4;
    pub const CACHE: u16 = 5;
    pub const WRITE_ZEROES: u16 = 6;
    pub const BLOCK_STATUS: u16 = 7;

    /// How a request is to be done.
    pub mod flag {
        #![allow(missing_docs)]
        pub const FUA: u16 = 1;
        pub const NO_HOLE: u16 = 1 << 1;
        pub const DF: u16 = 1 << 2;
        pub const REQ_ONE: u16 = 1 << 3;
        pub const FAST_ZERO: u16 = 1 << 4;
        pub const PAYLOAD_LEN: u16 = 1 << 5;
    }
}

/// Chunks of structured replies.
pub mod chunk {
    #![allow(missing_docs)]
    /// Flag of the last chunk.
    pub const DONE: u16 = 1;
    pub const NONE: u16 = 0;
    pub const OFFSET_DATA: u16 = 1;
    pub const OFFSET_HOLE: u16 = 2;
    pub const BLOCK_STATUS: u16 = 5;
    pub const BLOCK_STATUS_EXT: u16 = 6;
    /// Set in all that follow.
    pub const IS_ERROR: u16 = 1 << 15;
    pub const ERROR: u16 = IS_ERROR | 1;
    pub const ERROR_OFFSET: u16 = IS_ERROR | 2;
}

/// Errors of requests: errno values, which are the protocol's own and the same on every system.
pub mod errno {
    #![allow(missing_docs)]
    pub const EPERM: u32 = 1;
    pub const EIO: u32 = 5;
    pub const ENOMEM: u32 = 12;
    pub const EINVAL: u32 = 22;
    pub const ENOSPC: u32 = 28;
    pub const EOVERFLOW: u32 = 75;
    pub const ENOTSUP: u32 = 95;
    pub const ESHUTDOWN: u32 = 108;
}

/// The context in which block status says what is allocated, and its flags.
pub mod allocation {
    /// Its name.
    pub const CONTEXT: &str = "base:allocation";
    /// Nothing is stored there.
    pub const HOLE: u32 = 1;
    /// It reads as zeros.
    pub const ZERO: u32 = 2;
}

/// The contexts in which block status says what differs from a snapshot, and their flag.
pub mod diff {
    /// Before the snapshot's name.
    pub const PREFIX: &str = "cowshed:diff:";
    /// It may read otherwise than in the snapshot; the same bit as that of `qemu:dirty-bitmap:…`.
    pub const CHANGED: u32 = 1;
}

/// Take an integer off the front of a slice that has that many bytes.
macro_rules! take {
    ($name:ident, $type:ty) => {
        #[doc = concat!("Take a ", stringify!($type), " off the front; `None` when there are too few bytes.")]
        pub fn $name(bytes: &mut &[u8]) -> Option<$type> {
            let (head, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(<$type>::from_be_bytes(*head))
        }
    };
}
take!(take_u16, u16);
take!(take_u32, u32);
take!(take_u64, u64);

/// Take `len` bytes off the front; `None` when there are too few.
pub fn take_bytes<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}

/// A request's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// [`command::flag`].
    pub flags: u16,
    /// [`command`].
    pub command: u16,
    /// The client's mark; its reply bears it.
    pub cookie: u64,
    /// Bytes.
    pub offset: u64,
    /// Bytes that the request concerns, or (with `PAYLOAD_LEN`) that follow it.
    pub length: u64,
}

impl Request {
    /// Length of a header.
    pub const COMPACT: usize = 28;
    /// Length of an extended header.
    pub const EXTENDED: usize = 32;

    /// Length of the headers on a connection.
    pub const fn header_len(extended: bool) -> usize {
        if extended { Request::EXTENDED } else { Request::COMPACT }
    }

    /// Read a header from the front of `bytes`; `None` where its magic is wrong or bytes are missing.
    pub fn parse(mut bytes: &[u8], extended: bool) -> Option<Request> {
        let bytes = &mut bytes;
        let magic = if extended { EXTENDED_REQUEST_MAGIC } else { REQUEST_MAGIC };
        if take_u32(bytes)? != magic {
            return None;
        }
        let (flags, command) = (take_u16(bytes)?, take_u16(bytes)?);
        let (cookie, offset) = (take_u64(bytes)?, take_u64(bytes)?);
        let length = if extended { take_u64(bytes)? } else { u64::from(take_u32(bytes)?) };
        Some(Request { flags, command, cookie, offset, length })
    }

    /// Append the header to `out`. A length that a compact header has no room for is the caller's mistake.
    pub fn write(&self, out: &mut Vec<u8>, extended: bool) {
        let magic = if extended { EXTENDED_REQUEST_MAGIC } else { REQUEST_MAGIC };
        out.extend_from_slice(&magic.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.command.to_be_bytes());
        out.extend_from_slice(&self.cookie.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        if extended {
            out.extend_from_slice(&self.length.to_be_bytes());
        } else {
            out.extend_from_slice(&u32::try_from(self.length).expect("below 4 GiB").to_be_bytes());
        }
    }
}

/// The header of a chunk of a structured reply, compact or extended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// [`chunk::DONE`] or nothing.
    pub flags: u16,
    /// What it is: [`chunk`].
    pub kind: u16,
    /// The request's.
    pub cookie: u64,
    /// The request's, in an extended header; else zero.
    pub offset: u64,
    /// Bytes that follow.
    pub length: u64,
}

impl Chunk {
    /// Length of a header.
    pub const COMPACT: usize = 20;
    /// Length of an extended header.
    pub const EXTENDED: usize = 32;

    /// Length of the headers on a connection.
    pub const fn header_len(extended: bool) -> usize {
        if extended { Chunk::EXTENDED } else { Chunk::COMPACT }
    }

    /// Read a header from the front of `bytes`; `None` where its magic is wrong or bytes are missing.
    pub fn parse(mut bytes: &[u8], extended: bool) -> Option<Chunk> {
        let bytes = &mut bytes;
        let magic = if extended { EXTENDED_CHUNK_MAGIC } else { CHUNK_MAGIC };
        if take_u32(bytes)? != magic {
            return None;
        }
        let (flags, kind, cookie) = (take_u16(bytes)?, take_u16(bytes)?, take_u64(bytes)?);
        let (offset, length) = match extended {
            true => (take_u64(bytes)?, take_u64(bytes)?),
            false => (0, u64::from(take_u32(bytes)?)),
        };
        Some(Chunk { flags, kind, cookie, offset, length })
    }

    /// The header's bytes, of which the first [`Chunk::header_len`] count.
    pub fn bytes(&self, extended: bool) -> [u8; Chunk::EXTENDED] {
        let mut out = [0; Chunk::EXTENDED];
        let magic = if extended { EXTENDED_CHUNK_MAGIC } else { CHUNK_MAGIC };
        out[..4].copy_from_slice(&magic.to_be_bytes());
        out[4..6].copy_from_slice(&self.flags.to_be_bytes());
        out[6..8].copy_from_slice(&self.kind.to_be_bytes());
        out[8..16].copy_from_slice(&self.cookie.to_be_bytes());
        if extended {
            out[16..24].copy_from_slice(&self.offset.to_be_bytes());
            out[24..].copy_from_slice(&self.length.to_be_bytes());
        } else {
            let length = u32::try_from(self.length).expect("below 4 GiB");
            out[16..20].copy_from_slice(&length.to_be_bytes());
        }
        out
    }
}

/// A simple reply: the error (0: none) and the request's cookie.
pub const SIMPLE_REPLY: usize = 16;

/// A simple reply's bytes.
pub fn simple_reply(error: u32, cookie: u64) -> [u8; SIMPLE_REPLY] {
    let mut out = [0; SIMPLE_REPLY];
    out[..4].copy_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    out[4..8].copy_from_slice(&error.to_be_bytes());
    out[8..].copy_from_slice(&cookie.to_be_bytes());
    out
}

/// The header of an answer to an option.
pub fn option_reply(option: u32, answer: u32, length: usize) -> [u8; 20] {
    let mut out = [0; 20];
    out[..8].copy_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
    out[8..12].copy_from_slice(&option.to_be_bytes());
    out[12..16].copy_from_slice(&answer.to_be_bytes());
    out[16..].copy_from_slice(&u32::try_from(length).expect("short").to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request {
        flags: command::flag::FUA,
        command: command::WRITE,
        cookie: 0x0102_0304_0506_0708,
        offset: 0x1122_3344_5566_7788,
        length: 0x99aa_bbcc,
    };

    #[test]
    fn headers_are_those_of_the_specification() {
        let mut bytes = Vec::new();
        REQUEST.write(&mut bytes, false);
        let golden = "25609513 0001 0001 0102030405060708 1122334455667788 99aabbcc".replace(' ', "");
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), golden);
        assert_eq!(bytes.len(), Request::COMPACT);
        let chunk = Chunk { flags: 1, kind: chunk::OFFSET_DATA, cookie: 7, offset: 8, length: 9 };
        let golden = "6e8a278c 0001 0001 0000000000000007 0000000000000008 0000000000000009".replace(' ', "");
        assert_eq!(chunk.bytes(true).iter().map(|b| format!("{b:02x}")).collect::<String>(), golden);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for extended in [false, true] {
            let mut bytes = Vec::new();
            REQUEST.write(&mut bytes, extended);
            assert_eq!(bytes.len(), Request::header_len(extended));
            assert_eq!(Request::parse(&bytes, extended), Some(REQUEST));
            assert_eq!(Request::parse(&bytes, !extended), None);
            assert_eq!(Request::parse(&bytes[..bytes.len() - 1], extended), None);
            let offset = if extended { 5 } else { 0 };
            let chunk = Chunk { flags: 0, kind: chunk::ERROR, cookie: 7, offset, length: 9 };
            let bytes = chunk.bytes(extended);
            assert_eq!(Chunk::parse(&bytes[..Chunk::header_len(extended)], extended), Some(chunk));
            assert_eq!(Chunk::parse(&bytes, !extended), None);
        }
    }
}
