//! [`Storage`] in memory, sparse by pages.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Storage;

const PAGE: u64 = 4096;

/// Bytes in memory. A clone of the `Arc` around it outlives a kernel, as a disk outlives a process.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: RwLock<State>,
}

#[derive(Debug, Default, Clone)]
struct State {
    len: u64,
    /// Shared by copies until they are written.
    pages: BTreeMap<u64, Arc<[u8; PAGE as usize]>>,
}

impl MemoryStorage {
    /// No bytes yet.
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }

    /// Another storage with the same bytes.
    pub fn copy(&self) -> MemoryStorage {
        MemoryStorage { state: RwLock::new(self.state.read().clone()) }
    }
}

/// The pieces of `offset..offset + len` by page: page number, offset in the page, offset in the range, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let inside = (at % PAGE) as usize;
        let n = (PAGE as usize - inside).min(len - done);
        done += n;
        Some((at / PAGE, inside, done - n, n))
    })
}

impl Storage for MemoryStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.read().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.write();
        if len < state.len {
            state.pages.split_off(&len.div_ceil(PAGE));
            let inside = (len % PAGE) as usize;
            if let Some(page) = state.pages.get_mut(&(len / PAGE)) {
                Arc::make_mut(page)[inside..].fill(0);
            }
        }
        state.len = len;
        Ok(())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let state = self.state.read();
        if offset + buf.len() as u64 > state.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, inside, at, n) in pieces(offset, buf.len()) {
            match state.pages.get(&page) {
                Some(bytes) => buf[at..at + n].copy_from_slice(&bytes[inside..inside + n]),
                None => buf[at..at + n].fill(0),
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.write();
        state.len = state.len.max(offset + data.len() as u64);
        for (page, inside, at, n) in pieces(offset, data.len()) {
            let bytes = state.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE as usize]));
            Arc::make_mut(bytes)[inside..inside + n].copy_from_slice(&data[at..at + n]);
        }
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.state.write();
        state.len = state.len.max(offset + len);
        for (page, ..) in pieces(offset, len as usize) {
            state.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE as usize]));
        }
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.state.write();
        let len = len.min(state.len.saturating_sub(offset));
        for (page, inside, _, n) in pieces(offset, len as usize) {
            if n == PAGE as usize {
                state.pages.remove(&page);
            } else if let Some(bytes) = state.pages.get_mut(&page) {
                Arc::make_mut(bytes)[inside..inside + n].fill(0);
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.state.read().pages.len() as u64 * PAGE)
    }
}
