//! [`Storage`] in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};

use super::Storage;

/// Linux's `RWF_DONTCACHE`.
const DONT_CACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

/// A sparse file.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
}

impl FileStorage {
    /// Open the file at `path` for reading and writing; with `create`, make it and refuse one that exists.
    pub fn open(path: &Path, create: bool) -> io::Result<FileStorage> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(create);
        // Keeping no access time saves a few per cent of each read. Only the file's owner may ask for it.
        let noatime = OFlags::NOATIME.bits() as i32;
        let file = match options.clone().custom_flags(noatime).open(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options.open(path)?,
            other => other?,
        };
        Ok(FileStorage { file })
    }
}

/// Whether a call has to be made without `RWF_DONTCACHE`: on a Linux before 6.14, or a file system that cannot.
fn is_not_possible(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::INTR)
}

impl Storage for FileStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn read_uncached(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match preadv2(&self.file, &mut [IoSliceMut::new(buf)], offset, DONT_CACHE) {
            Ok(done) => self.read_at(offset + done as u64, &mut buf[done..]),
            Err(error) if is_not_possible(error) => self.read_at(offset, buf),
            Err(error) => Err(error.into()),
        }
    }

    fn read_at_once(&self, offset: u64, buf: &mut [u8]) -> io::Result<bool> {
        let len = buf.len();
        match preadv2(&self.file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT) {
            Ok(done) if done == len => Ok(true),
            // Some of it at most is in memory; or (on a file system that cannot tell) no one knows.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn write_uncached(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // The medium begins at once, and the pages are free again when it has them: data in bulk neither waits for
        // memory nor takes it from others.
        match pwritev2(&self.file, &[IoSlice::new(data)], offset, DONT_CACHE) {
            Ok(done) => self.write_at(offset + done as u64, &data[done..]),
            Err(error) if is_not_possible(error) => self.write_at(offset, data),
            Err(error) => Err(error.into()),
        }
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), offset, len) {
                Err(Errno::INTR) => {}
                other => return other.map_err(io::Error::from),
            }
        }
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            match fallocate(&self.file, flags, offset, len) {
                Err(Errno::INTR) => {}
                // A file system without holes keeps the space, and loses nothing.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
                other => return other.map_err(io::Error::from),
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks() * 512)
    }
}
