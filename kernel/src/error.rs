//! One error type; its kinds are what callers can act on.

use std::{fmt, io};

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// No such store, version or key.
    Missing,
    /// The store is there already.
    Exists,
    /// An argument that can never work.
    Invalid,
    /// A write to a frozen version.
    ReadOnly,
    /// The version behind this handle was dropped.
    Stale,
    /// A condition of a transaction did not hold.
    Conflict,
    /// Another process owns the store.
    Locked,
    /// The file system is full.
    NoSpace,
    /// A server refuses it to this client.
    Refused,
    /// The operating system reported an error, or a connection is lost.
    Io,
    /// What is on disk contradicts itself.
    Damaged,
    /// The store was made by an unknown version of cowshed.
    Format,
    /// The kernel was closed.
    Closed,
    /// It belongs to the process that this one was forked from.
    Forked,
    /// An earlier commit failed, and not for want of space; nothing more is promised until the store is reopened.
    Failed,
}

impl Kind {
    /// The kind's name in the Python module.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Missing => "missing",
            Kind::Exists => "exists",
            Kind::Invalid => "invalid",
            Kind::ReadOnly => "read-only",
            Kind::Stale => "stale",
            Kind::Conflict => "conflict",
            Kind::Locked => "locked",
            Kind::NoSpace => "no-space",
            Kind::Refused => "refused",
            Kind::Io => "io",
            Kind::Damaged => "damaged",
            Kind::Format => "format",
            Kind::Closed => "closed",
            Kind::Forked => "forked",
            Kind::Failed => "failed",
        }
    }
}

/// A kind and a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// What a caller can act on.
    pub kind: Kind,
    /// What was asked and what is the matter.
    pub message: String,
}

/// The kernel's results.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into() }
    }

    /// Something on disk contradicts something else.
    pub fn damaged(message: impl Into<String>) -> Error {
        Error::new(Kind::Damaged, message)
    }

    /// An argument that can never work.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, message)
    }

    /// An operating system's error, met while doing `what`.
    pub fn io(what: impl fmt::Display, error: &io::Error) -> Error {
        let kind = if is_no_space(error) { Kind::NoSpace } else { Kind::Io };
        Error::new(kind, format!("{what}: {error}"))
    }

    /// A sync that failed. That is never for want of space only: what the system could not write, it may have
    /// forgotten, so that a later sync succeeds without it.
    pub fn sync(what: impl fmt::Display, error: &io::Error) -> Error {
        Error::new(Kind::Io, format!("{what}: {error}; what was written since the last flush may be lost"))
    }
}

/// Whether an error of the operating system's says that the file system, or a quota, is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
