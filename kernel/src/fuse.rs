//! A disk as a file: a FUSE file system that holds one file, whose bytes are the disk's.
//!
//! The host makes a block device of the file with a loop device: what is discarded there is a hole punched here, and
//! a flush there is an fsync here. Nothing is cached: the file is open for direct I/O, always.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session, SessionUnmounter,
    TimeOrNow, WriteFlags,
};
use parking_lot::{Condvar, Mutex};
use rustix::mount::{UnmountFlags, unmount};

use crate::disk::Disk;
use crate::error::{Error, Kind, Result};
use crate::ids::BLOCK_SIZE;
use crate::nbd::lasting::Lasting;
use crate::process::Home;

/// The file.
const FILE: INodeNo = INodeNo(2);
/// How long the operating system may remember names and attributes: they never change.
const FOREVER: Duration = Duration::from_secs(1 << 30);
/// Bytes that one request may carry; Linux takes no more unless told to (fs.fuse.max_pages_limit).
const REQUEST_BYTES: u32 = 1 << 20;
/// Requests that may wait without a caller waiting for each.
const BACKGROUND: u16 = 256;

// Modes of fallocate(2).
const KEEP_SIZE: i32 = 0x01;
const PUNCH_HOLE: i32 = 0x02;
const ZERO_RANGE: i32 = 0x10;

/// Whatever can be shown as a file: bytes at offsets. May be used by many threads at once.
pub trait Device: Send + Sync + 'static {
    /// Bytes; does not change while it is mounted.
    fn size(&self) -> u64;
    /// Whether writes are refused.
    fn read_only(&self) -> bool;
    /// Fill `buf` from `offset` on.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
    /// Store `data` at `offset`.
    fn write(&self, offset: u64, data: &[u8]) -> Result<()>;
    /// Make a range read as zeros, and give its space back.
    fn discard(&self, offset: u64, len: u64) -> Result<()>;
    /// Make a range read as zeros.
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()>;
    /// Return when all that was acknowledged before is durable.
    fn flush(&self) -> Result<()>;
}

impl Device for Disk {
    fn size(&self) -> u64 {
        Disk::size(self)
    }

    fn read_only(&self) -> bool {
        Disk::read_only(self)
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        Disk::read(self, offset, buf)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        Disk::write(self, offset, data)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        Disk::discard(self, offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        Disk::discard(self, offset, len)
    }

    fn flush(&self) -> Result<()> {
        self.core.flush()
    }
}

impl Device for Lasting {
    fn size(&self) -> u64 {
        Lasting::size(self)
    }

    fn read_only(&self) -> bool {
        Lasting::read_only(self)
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        Lasting::read(self, offset, buf)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        Lasting::write(self, offset, data)
    }

    /// NBD's TRIM says nothing of what is read afterwards; zeros without the flag NO_HOLE give the space back too.
    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        Lasting::write_zeroes(self, offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        Lasting::write_zeroes(self, offset, len)
    }

    fn flush(&self) -> Result<()> {
        Lasting::flush(self)
    }
}

/// How a disk is to be mounted.
pub struct Options {
    /// The name of the file.
    pub file: OsString,
    /// What stands in the list of mounts as the source.
    pub source: String,
    /// Refuse writes even where the disk takes them.
    pub read_only: bool,
    /// Requests that are worked on at the same time.
    pub threads: usize,
}

/// What the threads that serve tell to whoever waits.
#[derive(Default)]
struct News {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    /// The words of the latest failed request, until they are asked for.
    failure: Option<String>,
    /// The words that were asked for last: they are not told twice in a row.
    told: Option<String>,
}

/// A mounted disk. It is unmounted when this is dropped.
pub struct Mount {
    /// What is to be flushed in the end; `None` where nothing is written.
    written: Option<Arc<dyn Device>>,
    directory: PathBuf,
    home: Home,
    news: Arc<News>,
    unmounter: Mutex<SessionUnmounter>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Mount {
    /// Show `device` as a file in `directory`, which must be there.
    pub fn new(device: Arc<dyn Device>, directory: &Path, options: &Options) -> Result<Mount> {
        let what = |e| Error::io(format_args!("mounting {}", directory.display()), &e);
        let directory = directory.canonicalize().map_err(what)?;
        let news = Arc::new(News::default());
        let read_only = options.read_only || device.read_only();
        let size = device.size();
        let written = (!read_only).then(|| device.clone());
        let disk = OneFile { device, size, read_only, name: options.file.clone(), news: news.clone() };
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(options.source.clone()),
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::NoExec,
            if read_only { MountOption::RO } else { MountOption::RW },
        ];
        config.n_threads = Some(options.threads.max(1));
        config.clone_fd = true;
        let mut session = Session::new(disk, &directory, &config).map_err(what)?;
        let unmounter = Mutex::new(session.unmount_callable());
        let at_end = news.clone();
        let serving = thread::Builder::new().name("fuse".into()).spawn(move || {
            let result = session.run();
            let mut state = at_end.state.lock();
            if let Err(error) = result {
                state.failure = Some(format!("the file system ended: {error}"));
            }
            state.ended = true;
            at_end.changed.notify_all();
        });
        let serving = Mutex::new(Some(serving.map_err(what)?));
        Ok(Mount { written, directory, home: Home::here(), news, unmounter, serving })
    }

    /// Wait for something to tell: the words of a request that has failed (the same words in a row are told once),
    /// or `None` when the file system was unmounted, by whomever.
    pub fn wait(&self) -> Option<String> {
        let mut state = self.news.state.lock();
        loop {
            if let Some(words) = state.failure.take()
                && state.told.as_ref() != Some(&words)
            {
                state.told = Some(words.clone());
                return Some(words);
            }
            if state.ended {
                return None;
            }
            self.news.changed.wait(&mut state);
        }
    }

    /// Unmount it, and return when the last request is answered and all is durable. A `Conflict` while the file is
    /// open; then it stays mounted.
    pub fn unmount(&self) -> Result<()> {
        self.home.check("the file system")?;
        let mut serving = self.serving.lock();
        if !self.news.state.lock().ended {
            match unmount(&self.directory, UnmountFlags::empty()) {
                // Whoever is not root is helped by fusermount.
                Err(rustix::io::Errno::PERM) => self.unmounter.lock().unmount(),
                Err(rustix::io::Errno::BUSY) => {
                    let message = format!("{} is in use: the file in it is open", self.directory.display());
                    return Err(Error::new(Kind::Conflict, message));
                }
                // Not mounted any more: somebody else was quicker.
                Err(rustix::io::Errno::INVAL) | Ok(()) => Ok(()),
                Err(error) => Err(error.into()),
            }
            .map_err(|e| Error::io(format_args!("unmounting {}", self.directory.display()), &e))?;
        }
        let Some(serving) = serving.take() else {
            return Ok(());
        };
        serving.join().map_err(|_| Error::new(Kind::Io, "a thread of the file system has panicked"))?;
        self.written.as_ref().map_or(Ok(()), |device| device.flush())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.home.is_here() && !self.news.state.lock().ended {
            // The file may be open: then this is the end of the name only, and the threads go on until it is closed.
            let _ = unmount(&self.directory, UnmountFlags::DETACH);
            let _ = self.unmounter.lock().unmount();
        }
    }
}

/// The file system.
struct OneFile {
    device: Arc<dyn Device>,
    size: u64,
    read_only: bool,
    name: OsString,
    news: Arc<News>,
}

thread_local! {
    /// What a thread reads into; as large as the largest read that it has met.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn errno(kind: Kind) -> Errno {
    match kind {
        Kind::Missing => Errno::ENOENT,
        Kind::Invalid => Errno::EINVAL,
        Kind::ReadOnly => Errno::EROFS,
        Kind::Stale => Errno::ESTALE,
        Kind::NoSpace => Errno::ENOSPC,
        _ => Errno::EIO,
    }
}

impl OneFile {
    /// The error number for a request that failed; its words go to whoever waits.
    fn failed(&self, error: Error) -> Errno {
        let errno = errno(error.kind);
        self.news.state.lock().failure = Some(error.message);
        self.news.changed.notify_all();
        errno
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let file = inode == FILE;
        FileAttr {
            ino: inode,
            size: if file { self.size } else { 0 },
            blocks: if file { self.size.div_ceil(512) } else { 0 },
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if file { FileType::RegularFile } else { FileType::Directory },
            perm: match (file, self.read_only) {
                (true, false) => 0o600,
                (true, true) => 0o400,
                (false, _) => 0o500,
            },
            nlink: if file { 1 } else { 2 },
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            rdev: 0,
            blksize: BLOCK_SIZE as u32,
            flags: 0,
        }
    }

    /// The part of a range that lies in the file.
    fn within(&self, offset: u64, len: u64) -> u64 {
        len.min(self.size.saturating_sub(offset))
    }
}

fn done(reply: ReplyEmpty, result: std::result::Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for OneFile {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // What this kernel does not know is done without.
        let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        let _ = config.set_max_write(REQUEST_BYTES);
        let _ = config.set_max_readahead(REQUEST_BYTES);
        let _ = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == self.name {
            reply.entry(&FOREVER, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(inode));
    }

    /// Nothing can be set; to set times or the size that it has is no error, for programs do so in passing.
    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let same_size = size.is_none_or(|size| inode == FILE && size == self.size);
        if same_size && mode.is_none() && uid.is_none() && gid.is_none() {
            reply.attr(&FOREVER, &self.attributes(inode));
        } else {
            reply.error(Errno::EPERM);
        }
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        if inode != INodeNo::ROOT {
            return reply.error(Errno::ENOTDIR);
        }
        let entries = [
            (INodeNo::ROOT, FileType::Directory, OsStr::new(".")),
            (INodeNo::ROOT, FileType::Directory, OsStr::new("..")),
            (FILE, FileType::RegularFile, self.name.as_os_str()),
        ];
        for (next, (inode, kind, name)) in (1..).zip(entries).skip(offset as usize) {
            if reply.add(inode, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if inode != FILE {
            return reply.error(Errno::EISDIR);
        }
        let flags = FopenFlags::FOPEN_DIRECT_IO
            | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
            | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(0), flags);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = self.within(offset, size.into()) as usize;
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < len {
                buffer.resize(len, 0);
            }
            match self.device.read(offset, &mut buffer[..len]) {
                Ok(()) => reply.data(&buffer[..len]),
                Err(error) => reply.error(self.failed(error)),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if self.read_only {
            return reply.error(Errno::EROFS);
        }
        if self.within(offset, data.len() as u64) < data.len() as u64 {
            return reply.error(Errno::EFBIG);
        }
        match self.device.write(offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(self.failed(error)),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.device.flush().map_err(|error| self.failed(error)));
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if self.read_only {
            return reply.error(Errno::EROFS);
        }
        let len = self.within(offset, length);
        if mode & KEEP_SIZE == 0 && len < length {
            return reply.error(Errno::EFBIG);
        }
        let result = match mode & !KEEP_SIZE {
            _ if len == 0 => Ok(()),
            PUNCH_HOLE => self.device.discard(offset, len),
            ZERO_RANGE => self.device.write_zeroes(offset, len),
            _ => return reply.error(Errno::EOPNOTSUPP),
        };
        done(reply, result.map_err(|error| self.failed(error)));
    }

    /// The block size is what a loop device takes for the granularity of discards.
    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(self.size.div_ceil(BLOCK_SIZE), 0, 0, 1, 0, BLOCK_SIZE as u32, 255, BLOCK_SIZE as u32);
    }
}
