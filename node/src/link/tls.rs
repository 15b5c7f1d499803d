//! TLS 1.3 with pinned Ed25519 keys on both sides: no authority, no names, no expiry, no resumption.
//!
//! A certificate is only the envelope of a key. Both sides prove that they hold theirs by the handshake signature.

use std::io;
use std::sync::Arc;

use cobs::transport_key::TransportKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureScheme,
};

use super::error::LinkError;
use super::identity::LinkIdentity;

/// What precedes the key in the DER form of an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4).
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What a dialler comes as; it is told in the handshake (ALPN), which also carries the protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A peer, to be admitted by its key.
    Peer,
    /// Anyone: reaches the strangers' router alone.
    Stranger,
}

impl Role {
    const ALL: [Role; 2] = [Role::Peer, Role::Stranger];

    const fn protocol(self) -> &'static [u8] {
        match self {
            Role::Peer => b"rhizome-link/1",
            Role::Stranger => b"rhizome-pair/1",
        }
    }

    pub(super) fn of_protocol(protocol: Option<&[u8]>) -> Option<Self> {
        Role::ALL.into_iter().find(|role| Some(role.protocol()) == protocol)
    }
}

/// The other side showed another key than the one expected.
#[derive(Debug, thiserror::Error)]
#[error("expected transport key {expected}, found {found}")]
pub(super) struct KeyMismatch {
    pub(super) expected: TransportKey,
    pub(super) found: TransportKey,
}

/// The side that listens: takes any Ed25519 key, once its holder has proved to hold it.
pub(super) fn server(identity: &LinkIdentity) -> Result<ServerConfig, LinkError> {
    let provider = provider();
    let verifier = Arc::new(AnyKey { algorithms: provider.signature_verification_algorithms });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(LinkError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate()], identity.secret())
        .map_err(LinkError::Tls)?;
    // A resumed session would skip the certificate, and with it the proof.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = Role::ALL.map(|role| role.protocol().to_vec()).to_vec();
    Ok(config)
}

/// The side that dials: takes `expected` alone.
pub(super) fn client(identity: &LinkIdentity, expected: TransportKey, role: Role) -> Result<ClientConfig, LinkError> {
    let provider = provider();
    let verifier = Arc::new(OneKey { expected, algorithms: provider.signature_verification_algorithms });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(LinkError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate()], identity.secret())
        .map_err(LinkError::Tls)?;
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    config.alpn_protocols = vec![role.protocol().to_vec()];
    Ok(config)
}

/// The name that TLS wants of every server and that nobody reads.
pub(super) fn server_name() -> ServerName<'static> {
    ServerName::try_from("rhizome.invalid").expect("a constant and valid name")
}

/// The key of a certificate chain, which must be one certificate of an Ed25519 key.
pub(super) fn key_of(chain: &[CertificateDer<'_>]) -> Result<TransportKey, Error> {
    let [certificate] = chain else {
        return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
    };
    let info = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    info.strip_prefix(&ED25519_SPKI_PREFIX)
        .and_then(|key| key.try_into().ok())
        .map(TransportKey::from_bytes)
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// The mismatch that made a handshake fail, if that was the reason.
pub(super) fn key_mismatch(error: &io::Error) -> Option<&KeyMismatch> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => other.downcast_ref(),
        _ => None,
    }
}

/// Makes the provider of this link that of the process, unless it has one.
pub(super) fn install_provider() {
    // it fails where there is one
    rustls::crypto::ring::default_provider().install_default().ok();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn key_of_sole(certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<TransportKey, Error> {
    if others.is_empty() {
        key_of(std::slice::from_ref(certificate))
    } else {
        Err(Error::InvalidCertificate(CertificateError::BadEncoding))
    }
}

fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(Error::PeerMisbehaved(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme));
    }
    verify_tls13_signature(message, certificate, signed, algorithms)
}

fn refuse_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13))
}

#[derive(Debug)]
struct OneKey {
    expected: TransportKey,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OneKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = key_of_sole(certificate, others)?;
        if found == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = KeyMismatch { expected: self.expected, found };
        Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch)))))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[derive(Debug)]
struct AnyKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        key_of_sole(certificate, others).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
