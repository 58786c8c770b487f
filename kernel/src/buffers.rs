//! Python's bytes and buffers, used in place while the GIL is not held.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{Error, Result};

/// Use the bytes of an object that has a contiguous buffer, without the GIL.
pub fn with_bytes(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    use_them: impl FnOnce(&[u8]) -> Result<()> + Send,
) -> PyResult<()> {
    if let Ok(data) = data.cast_exact::<PyBytes>() {
        let data = data.as_bytes();
        return Ok(py.detach(|| use_them(data))?);
    }
    let bytes = Bytes::new(data, false)?;
    Ok(py.detach(|| use_them(bytes.as_slice()))?)
}

/// A new bytes object of `length` bytes, which `fill` fills, without the GIL, or fails.
pub fn filled(
    py: Python<'_>,
    length: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<()> + Send,
) -> PyResult<Bound<'_, PyBytes>> {
    // SAFETY: a new bytes object that no one else has seen, of `length` bytes; they are not read before they
    // are filled, and on an error the object goes unseen. `PyBytes::new_with` would clear them first, which
    // costs a cached read of a block some 3 %.
    unsafe {
        let size = ffi::Py_ssize_t::try_from(length).map_err(|_| Error::invalid("too long a read"))?;
        let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size);
        let bytes = Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked::<PyBytes>();
        let buffer = std::slice::from_raw_parts_mut(ffi::PyBytes_AsString(object).cast::<u8>(), length);
        py.detach(|| fill(buffer))?;
        Ok(bytes)
    }
}

/// The bytes of a Python buffer that stays exported, and so in place, while this lives.
pub struct Bytes {
    buffer: PyBuffer<u8>,
}

impl Bytes {
    /// The bytes of an object that has a contiguous buffer, which is writable if it must be.
    pub fn new(object: &Bound<'_, PyAny>, writable: bool) -> PyResult<Bytes> {
        // Any item type is only bytes to a disk, so look at the object as a memoryview of bytes.
        let py = object.py();
        let view = py.import("builtins")?.getattr("memoryview")?.call1((object,))?;
        let view = view.call_method1("cast", ("B",))?;
        let buffer = PyBuffer::<u8>::get(&view)?;
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err("the buffer is not contiguous"));
        }
        if writable && buffer.readonly() {
            return Err(PyBufferError::new_err("the buffer is read-only"));
        }
        Ok(Bytes { buffer })
    }

    /// To read them.
    pub fn as_slice(&self) -> &[u8] {
        if self.buffer.len_bytes() == 0 {
            return &[];
        }
        // SAFETY: the buffer is contiguous and exported while `self` lives. Another thread may change its bytes
        // meanwhile, as with every writer of a buffer in Python; only bytes are read, none is interpreted.
        unsafe { std::slice::from_raw_parts(self.buffer.buf_ptr().cast(), self.buffer.len_bytes()) }
    }

    /// To write them.
    #[allow(clippy::mut_from_ref)]
    pub fn as_mut_slice(&self) -> &mut [u8] {
        if self.buffer.len_bytes() == 0 {
            return &mut [];
        }
        // SAFETY: as above, and the buffer is writable; this is the only slice made of it here.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.buf_ptr().cast(), self.buffer.len_bytes()) }
    }
}

// SAFETY: the bytes may be touched from any thread; the buffer is released with the GIL held, by PyBuffer itself.
unsafe impl Sync for Bytes {}
