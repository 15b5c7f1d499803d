//! The signature over this node's references, and which one is on disk for certain.

use std::fs::File;
use std::io;

use radicle::crypto::Signer;
use radicle_oid::Oid;

use super::super::{SIGN_ATTEMPTS_MAX, Writer};
use super::Ledger;
use crate::adapter::archive::target;
use crate::adapter::refs;
use crate::adapter::signing::{self, SignError};

impl Ledger {
    /// Sees to it that the signature from which the next one starts is on disk, and named there.
    pub fn anchor(&mut self, storage: &File) -> io::Result<()> {
        let Some(head) = self.signed_head().map_err(io::Error::other)? else { return Ok(()) };
        self.synced.anchor(head, || Ok(rustix::fs::syncfs(storage)?))
    }

    /// A sync has failed: what it should have brought to disk may not be there.
    pub fn not_synced(&mut self) {
        self.synced.forget();
    }

    /// Where the signature over this node's references stands.
    pub fn signed_head(&self) -> Result<Option<Oid>, git2::Error> {
        target(&self.repo.backend, &refs::in_namespace(&self.node, refs::SIGNED))
    }

    /// Signs all references of this node's namespace. Retried: another process may sign at the same moment, and what
    /// it signed after we listed the references must not be dropped by our signature.
    pub fn sign(&mut self, signer: &impl Signer) -> Result<(), SignError> {
        let mut attempt = 1;
        loop {
            let before = self.signed_head();
            let signed = signing::sign(&self.repo, signer);
            match (signed, before) {
                (Ok(signed), Ok(before)) if Some(signed.at) == before || signed.parent().copied() == before => {
                    self.name(signed.at);
                    return Ok(());
                }
                (Ok(_), _) if attempt >= SIGN_ATTEMPTS_MAX => return Ok(()),
                (Err(error), _) if attempt >= SIGN_ATTEMPTS_MAX => return Err(error),
                (Ok(_) | Err(_), _) => {}
            }
            std::thread::sleep(Writer::back_off(attempt));
            attempt += 1;
        }
    }

    fn name(&mut self, signed: Oid) {
        if let Err(error) = self.synced.name(signed) {
            // the next batch sees to it before it begins
            tracing::debug!(ledger = %self.repo.id, %error, "cannot name a signature beside its repository");
        }
    }
}
