//! TLS on connections, by rustls.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme, crypto,
};

use super::stream::Socket;
use crate::error::{Error, Result};

/// Plain bytes that are encrypted at a time.
const RECORDS: usize = 64 << 10;

/// An encrypted connection.
pub struct Tls {
    socket: Socket,
    /// Held only while bytes are turned around in memory, never while the socket is waited for.
    state: Mutex<Connection>,
    /// Encrypted bytes that came and that the state has had no room for. Locked before the state.
    waiting: Mutex<Vec<u8>>,
    /// Held from taking encrypted bytes out of the state until they are written: their order counts.
    sending: Mutex<()>,
}

/// How a server proves who it is, and whom it lets in. Clones are the same one.
#[derive(Clone)]
pub struct ServerTls(Arc<Served>);

struct Served {
    files: ServerFiles,
    config: RwLock<Arc<ServerConfig>>,
}

/// PEM files: the server's certificate with its chain, its key, and, where clients must have certificates, the authorities
/// that sign those.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs clients' certificates.
    pub client_ca: Option<PathBuf>,
}

/// How a client knows its server.
pub enum Trust<'a> {
    /// By a certificate that one of the authorities in this PEM file has signed, and that bears the server's name.
    Authorities(&'a Path),
    /// By one certificate alone, whatever it says, of which this is the SHA-256.
    Certificate([u8; 32]),
}

/// Whom a client trusts, and how it proves who it is.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

fn broken(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {error}"))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let refuse = |what: &dyn std::fmt::Display| {
        Error::invalid(format!("cannot take certificates from {}: {what}", path.display()))
    };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| refuse(&error))?;
    if found.is_empty() { Err(refuse(&"it holds none")) } else { Ok(found) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|e| Error::invalid(format!("cannot take a private key from {}: {e}", path.display())))
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|e| Error::invalid(format!("{} holds a certificate of no use: {e}", path.display())))?;
    }
    Ok(roots)
}

fn provider() -> Arc<crypto::CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

impl ServerTls {
    /// Read the files.
    pub fn load(files: ServerFiles) -> Result<ServerTls> {
        let config = RwLock::new(files.read()?);
        Ok(ServerTls(Arc::new(Served { files, config })))
    }

    /// Read the files again, for agreements from now on; after an error all stays as it was.
    pub fn reload(&self) -> Result<()> {
        let config = self.0.files.read()?;
        *self.0.config.write() = config;
        Ok(())
    }

    /// The server's side of an agreement to encrypt; returns when it is made.
    pub fn accept(&self, socket: Socket) -> io::Result<Tls> {
        let config = self.0.config.read().clone();
        let state = ServerConnection::new(config).map_err(broken)?;
        Tls::agree(socket, Connection::Server(state))
    }
}

impl ServerFiles {
    fn read(&self) -> Result<Arc<ServerConfig>> {
        let unfit = |e: &dyn std::fmt::Display| Error::invalid(format!("TLS cannot be set up: {e}"));
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| unfit(&e))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|e| unfit(&e))?)
            }
        };
        let config = builder.with_single_cert(certificates(&self.certificate)?, key(&self.key)?);
        Ok(Arc::new(config.map_err(|e| unfit(&e))?))
    }
}

impl ClientTls {
    /// Whom to trust, and from PEM files the client's own certificate and key. `server_name` is the name that the server
    /// must have, if not the host's.
    pub fn load(
        trust: &Trust<'_>,
        server_name: Option<String>,
        own: Option<(&Path, &Path)>,
    ) -> Result<ClientTls> {
        let unfit = |e: &dyn std::fmt::Display| Error::invalid(format!("TLS cannot be set up: {e}"));
        let verifier: Arc<dyn ServerCertVerifier> = match *trust {
            Trust::Authorities(path) => {
                let roots = Arc::new(roots(path)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
                verifier.map_err(|e| unfit(&e))?
            }
            Trust::Certificate(sha256) => Arc::new(Pinned { sha256, provider: provider() }),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| unfit(&e))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key_file)) => builder
                .with_client_auth_cert(certificates(certificate)?, key(key_file)?)
                .map_err(|e| unfit(&e))?,
        };
        Ok(ClientTls { config: Arc::new(config), server_name })
    }

    /// The client's side of an agreement to encrypt with `host`; returns when it is made.
    pub fn connect(&self, socket: Socket, host: &str) -> io::Result<Tls> {
        let name = self.server_name.clone().unwrap_or_else(|| host.to_string());
        let name = ServerName::try_from(name).map_err(broken)?;
        let state = ClientConnection::new(self.config.clone(), name).map_err(broken)?;
        Tls::agree(socket, Connection::Client(state))
    }
}

/// Trusts the one certificate that it knows. That the server has its key, the handshake's signature proves.
#[derive(Debug)]
struct Pinned {
    sha256: [u8; 32],
    provider: Arc<crypto::CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let hash = TLS13_AES_128_GCM_SHA256.tls13().map(|suite| suite.common.hash_provider.hash(shown));
        if hash.is_some_and(|hash| hash.as_ref() == self.sha256) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, shown, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, shown, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Tls {
    fn agree(socket: Socket, state: Connection) -> io::Result<Tls> {
        let tls =
            Tls { socket, state: Mutex::new(state), waiting: Mutex::default(), sending: Mutex::new(()) };
        loop {
            tls.send()?;
            if !tls.state.lock().is_handshaking() {
                return Ok(tls);
            }
            if tls.receive()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The socket below.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Read some plain bytes; none at the end.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state.lock().reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.receive()?;
        }
    }

    /// Whether plain bytes are there without reading the socket.
    pub fn has_buffered(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let mut state = self.state.lock();
        // What is wrong with them, the next read tells.
        take_in(&mut state, &mut waiting).unwrap_or(true)
    }

    /// Write all plain bytes.
    pub fn write_all(&self, data: &[u8]) -> io::Result<()> {
        for piece in data.chunks(RECORDS) {
            let _sending = self.sending.lock();
            self.state.lock().writer().write_all(piece)?;
            self.send_held()?;
        }
        Ok(())
    }

    /// Tell the other side that nothing more comes.
    pub fn close(&self) {
        self.state.lock().send_close_notify();
        // It may be gone already.
        let _ = self.send();
    }

    /// Take what the socket has, waiting for it if nothing is left from before; how many bytes, none at the end.
    fn receive(&self) -> io::Result<usize> {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            waiting.resize(16 << 10, 0);
            let read = self.socket.read(&mut waiting);
            waiting.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let n = waiting.len();
        let answers = {
            let mut state = self.state.lock();
            if n == 0 {
                // It is to know of the end.
                state.read_tls(&mut io::empty())?;
            }
            take_in(&mut state, &mut waiting)?;
            state.wants_write()
        };
        if answers {
            self.send()?;
        }
        Ok(n)
    }

    fn send(&self) -> io::Result<()> {
        let _sending = self.sending.lock();
        self.send_held()
    }

    /// Write the encrypted bytes that wait.
    fn send_held(&self) -> io::Result<()> {
        let mut bytes = Vec::new();
        {
            let mut state = self.state.lock();
            while state.wants_write() {
                state.write_tls(&mut bytes)?;
            }
        }
        self.socket.write_all(&bytes)
    }
}

/// Decrypt what waits until there are plain bytes, beyond which the state has no room; whether there are.
fn take_in(state: &mut Connection, waiting: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let plain = state.process_new_packets().map_err(broken)?.plaintext_bytes_to_read() > 0;
        if plain || waiting.is_empty() {
            return Ok(plain);
        }
        let taken = state.read_tls(&mut waiting.as_slice())?;
        waiting.drain(..taken);
    }
}
