//! Short statements signed by a node's key, such as a joiner's proof that it is the node it names.

use radicle::crypto::signature::{Signer as _, Verifier as _};
use radicle::crypto::{Signature, VerifyingKey};

use super::profile::NodeHome;
use crate::id::NodeId;

/// Signs a statement; the text must begin with what it is for, so that it can be taken for nothing else.
pub fn sign(home: &NodeHome, text: &[u8]) -> Vec<u8> {
    home.signer.try_sign(text).map(|signature| signature.to_bytes().to_vec()).unwrap_or_default()
}

/// Whether `node` signed the statement.
pub fn verify(node: &NodeId, text: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::try_from(node), Signature::try_from(signature)) else { return false };
    key.verify(text, &signature).is_ok()
}
