//! The key of this daemon on the link, and the certificate that carries it.
//!
//! The key is kept; the certificate is made anew at each start, since nobody reads more of it than the key.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cobs::transport_key::TransportKey;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::error::LinkError;

/// Permission bits of the key file.
const KEY_FILE_MODE: u32 = 0o600;

/// An Ed25519 key and a self-signed certificate of it.
pub struct LinkIdentity {
    key: TransportKey,
    secret: PrivatePkcs8KeyDer<'static>,
    certificate: CertificateDer<'static>,
}

impl LinkIdentity {
    /// Reads the key at `path` (PKCS#8 PEM, mode 0600), or makes one there if there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, LinkError> {
        let failed = |source| LinkError::KeyFile { path: path.to_owned(), source };
        match read(path) {
            Err(LinkError::KeyFile { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            read => return Self::from_pem(path, &read?),
        }
        let malformed = |source| LinkError::KeyMalformed { path: path.to_owned(), source };
        let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(malformed)?;
        match write_new(path, pair.serialize_pem().as_bytes()) {
            // Another process was first: its key is the one that others will see.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::from_pem(path, &read(path)?),
            Err(error) => Err(failed(error)),
            Ok(()) => Self::from_pair(&pair).map_err(malformed),
        }
    }

    /// The public key, as the peer record names it.
    pub fn key(&self) -> TransportKey {
        self.key
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(super) fn secret(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.secret.clone_key())
    }

    fn from_pem(path: &Path, pem: &str) -> Result<Self, LinkError> {
        KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_ED25519)
            .and_then(|pair| Self::from_pair(&pair))
            .map_err(|source| LinkError::KeyMalformed { path: path.to_owned(), source })
    }

    pub(super) fn from_pair(pair: &KeyPair) -> Result<Self, rcgen::Error> {
        let raw = pair.public_key_raw().try_into().map_err(|_| rcgen::Error::UnsupportedSignatureAlgorithm)?;
        let certificate = CertificateParams::new(Vec::new())?.self_signed(pair)?;
        Ok(Self {
            key: TransportKey::from_bytes(raw),
            secret: PrivatePkcs8KeyDer::from(pair.serialize_der()),
            certificate: certificate.der().clone(),
        })
    }
}

impl fmt::Debug for LinkIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkIdentity").field("key", &self.key).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<String, LinkError> {
    let failed = |source| LinkError::KeyFile { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & !KEY_FILE_MODE != 0 {
        return Err(LinkError::KeyExposed { path: path.to_owned(), mode });
    }
    fs::read_to_string(path).map_err(failed)
}

/// Writes the whole file or none, readable by its owner alone, and never over another.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".link-key-")
        .permissions(fs::Permissions::from_mode(KEY_FILE_MODE))
        .tempfile_in(parent)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    fs::File::open(parent)?.sync_all()
}
