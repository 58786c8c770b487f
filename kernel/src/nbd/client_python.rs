//! The Python class `NbdClient`. Its meaning is in `_kernel.pyi`; here is only the way across.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::client::handshake::Dialect;
use super::client::link::Address;
use super::client::{Client, Extent, Target};
use crate::buffers::{Bytes, filled, with_bytes};
use crate::error::Error;
use crate::nbd::tls::{ClientTls, Trust};

/// Where systems keep the authorities that they trust, in one file.
const SYSTEM_CA: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Whom a client trusts, and how it proves who it is.
#[pyclass(frozen, name = "ClientTls", module = "cowshed._kernel")]
pub struct PyClientTls {
    tls: ClientTls,
}

#[pymethods]
impl PyClientTls {
    #[new]
    #[pyo3(signature = (*, ca=None, server_name=None, fingerprint=None, certificate=None, key=None))]
    fn new(
        ca: Option<PathBuf>,
        server_name: Option<String>,
        fingerprint: Option<Vec<u8>>,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> PyResult<PyClientTls> {
        let own = match (&certificate, &key) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            (None, None) => None,
            _ => return Err(Error::invalid("a certificate and its key go together: give both").into()),
        };
        let system = || SYSTEM_CA.iter().map(PathBuf::from).find(|path| path.exists());
        let tls = if let Some(fingerprint) = fingerprint {
            let sha256 = fingerprint
                .try_into()
                .map_err(|_| Error::invalid("the SHA-256 of a certificate has 32 bytes"))?;
            ClientTls::load(&Trust::Certificate(sha256), server_name, own)?
        } else {
            let ca = ca.or_else(system).ok_or_else(|| {
                Error::invalid(
                    "this system has no list of trusted authorities: give the file that holds yours",
                )
            })?;
            ClientTls::load(&Trust::Authorities(&ca), server_name, own)?
        };
        Ok(PyClientTls { tls })
    }
}

/// One export of an NBD server.
#[pyclass(frozen, name = "NbdClient", module = "cowshed._kernel")]
pub struct PyNbdClient {
    /// Shared with what else in the kernel uses the connection.
    pub client: Arc<Client>,
}

#[pymethods]
impl PyNbdClient {
    #[staticmethod]
    #[pyo3(signature = (address, export, *, tls=None, timeout_seconds=30.0, contexts=Vec::new()))]
    fn connect(
        py: Python<'_>,
        address: &str,
        export: String,
        tls: Option<&Bound<'_, PyClientTls>>,
        timeout_seconds: f64,
        contexts: Vec<String>,
    ) -> PyResult<PyNbdClient> {
        let timeout = Duration::try_from_secs_f64(timeout_seconds)
            .map_err(|_| Error::invalid(format!("cannot wait {timeout_seconds} seconds")))?;
        let tls = tls.map(|tls| tls.get().tls.clone());
        let target = Target { address: Address::parse(address)?, export, timeout, tls };
        let contexts: Vec<&str> = contexts.iter().map(String::as_str).collect();
        let client = py.detach(|| Client::connect(target, &contexts))?;
        Ok(PyNbdClient { client: Arc::new(client) })
    }

    #[getter]
    fn size(&self) -> u64 {
        self.client.size()
    }

    #[getter]
    fn read_only(&self) -> bool {
        self.client.read_only()
    }

    #[getter]
    fn dialect(&self) -> &'static str {
        match self.client.export().dialect {
            Dialect::Simple => "simple",
            Dialect::Structured => "structured",
            Dialect::Extended => "extended",
        }
    }

    #[getter]
    fn contexts(&self) -> Vec<&str> {
        self.client.export().contexts.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn read<'py>(&self, py: Python<'py>, offset: u64, length: usize) -> PyResult<Bound<'py, PyBytes>> {
        self.client.check_range(offset, length as u64)?;
        filled(py, length, |buffer| self.client.read(offset, buffer))
    }

    fn read_into(&self, py: Python<'_>, offset: u64, buffer: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = Bytes::new(buffer, true)?;
        Ok(py.detach(|| self.client.read(offset, bytes.as_mut_slice()))?)
    }

    #[pyo3(signature = (offset, data, *, fua=false))]
    fn write(&self, py: Python<'_>, offset: u64, data: &Bound<'_, PyAny>, fua: bool) -> PyResult<()> {
        with_bytes(py, data, |data| self.client.write(offset, data, fua))
    }

    fn discard(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        Ok(py.detach(|| self.client.discard(offset, length))?)
    }

    fn write_zeroes(&self, py: Python<'_>, offset: u64, length: u64) -> PyResult<()> {
        Ok(py.detach(|| self.client.write_zeroes(offset, length))?)
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.client.flush())?)
    }

    #[pyo3(signature = (offset, length, context="base:allocation"))]
    fn extents(&self, py: Python<'_>, offset: u64, length: u64, context: &str) -> PyResult<Vec<Extent>> {
        Ok(py.detach(|| self.client.extents(offset, length, context))?)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.client.close());
    }

    fn __enter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.close(py);
    }
}

/// Put the classes into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyClientTls>()?;
    module.add_class::<PyNbdClient>()
}
