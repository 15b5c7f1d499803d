//! The key file, and what counts as a proof of a key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::tls::{self, Role};
use super::*;

#[test]
fn the_key_is_kept_and_private() {
    // A second start reads the key of the first, from a file that only its owner reads.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("link.key");
    let first = LinkIdentity::load_or_create(&path).unwrap();
    assert_eq!(LinkIdentity::load_or_create(&path).unwrap().key(), first.key());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_key_file_of_no_use_is_refused() {
    // What is exposed, cut short or missing its directory is told, never replaced.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("link.key");
    LinkIdentity::load_or_create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = LinkIdentity::load_or_create(&path).unwrap_err();
    assert!(matches!(exposed, LinkError::KeyExposed { mode: 0o640, .. }), "{exposed}");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let malformed = LinkIdentity::load_or_create(&path).unwrap_err();
    assert!(matches!(malformed, LinkError::KeyMalformed { .. }), "{malformed}");

    let nowhere = LinkIdentity::load_or_create(&home.path().join("none/link.key")).unwrap_err();
    assert!(matches!(nowhere, LinkError::KeyFile { .. }), "{nowhere}");
}

#[test]
fn only_one_ed25519_certificate_is_a_key() {
    // A certificate of another algorithm, a chain, or a broken one carries no transport key.
    let certificate = |algorithm| {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        CertificateParams::new(Vec::new()).unwrap().self_signed(&pair).unwrap().der().clone()
    };
    let good = certificate(&PKCS_ED25519);
    assert!(tls::key_of(std::slice::from_ref(&good)).is_ok());
    assert!(tls::key_of(&[]).is_err());
    assert!(tls::key_of(&[good.clone(), good.clone()]).is_err());
    assert!(tls::key_of(&[certificate(&PKCS_ECDSA_P256_SHA256)]).is_err());
    assert!(tls::key_of(&[good[..good.len() - 1].to_vec().into()]).is_err());
}

#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesClientCert for Stolen {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_proves_nothing() {
    // Whoever shows a peer's certificate but signs with another key is turned away.
    let (a, b) = (Node::start(1).await, Node::start(2).await);
    b.awaits(&[&a]);
    let own = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let own = LinkIdentity::from_pair(&own).unwrap();
    let signer = rustls::crypto::ring::sign::any_supported_type(&own.secret()).unwrap();
    for (certificate, admitted) in [(own.certificate(), Some(b'?')), (a.identity.certificate(), None)] {
        let mut config = tls::client(&own, b.key(), Role::Peer).unwrap();
        config.client_auth_cert_resolver =
            Arc::new(Stolen(Arc::new(CertifiedKey::new(vec![certificate], signer.clone()))));
        let tcp = TcpStream::connect(b.address()).await.unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(tls::server_name(), tcp).await.unwrap();
        assert_eq!(stream.read_u8().await.ok(), admitted);
    }
    assert!(b.link.sessions().is_empty());
}
