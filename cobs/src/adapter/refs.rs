//! Names of the references that carry our objects. It knows no repository.

use std::str::FromStr;

use crate::id::{JobId, NodeId};
use crate::job;

/// The one reference below which a namespace keeps its archived jobs.
pub const ARCHIVE: &str = "refs/rhizome/archive/jobs";
/// The reference of a namespace's peer record.
pub const PEER: &str = "refs/rhizome/peer";

/// The reference of a namespace's signature over its references.
pub(crate) const SIGNED: &str = "refs/rad/sigrefs";

/// All live job references of a repository.
pub(crate) fn live_glob() -> String {
    format!("refs/namespaces/*/refs/cobs/{}/*", job::TYPE_NAME)
}

/// The live job references of one namespace.
pub(crate) fn live_glob_of(node: &NodeId) -> String {
    format!("refs/namespaces/{node}/refs/cobs/{}/*", job::TYPE_NAME)
}

/// The live reference of `job` in the namespace of `node`.
pub(crate) fn live(node: &NodeId, job: JobId) -> String {
    format!("refs/namespaces/{node}/refs/cobs/{}/{job}", job::TYPE_NAME)
}

/// The live reference of `job` within a namespace.
pub(crate) fn live_name(job: JobId) -> String {
    format!("refs/cobs/{}/{job}", job::TYPE_NAME)
}

/// A reference below the namespace of `node`.
pub(crate) fn in_namespace(node: &NodeId, name: &str) -> String {
    format!("refs/namespaces/{node}/{name}")
}

/// Whose namespace a reference lies in, and its name there.
pub(crate) fn split(name: &str) -> Option<(NodeId, &str)> {
    let (node, rest) = name.strip_prefix("refs/namespaces/")?.split_once('/')?;
    Some((NodeId::from_str(node).ok()?, rest))
}

/// The job that a reference is of, with or without a namespace; none for any other reference.
pub fn job_of(name: &str) -> Option<JobId> {
    let rest = if name.starts_with("refs/namespaces/") { split(name)?.1 } else { name };
    rest.strip_prefix("refs/cobs/")?.strip_prefix(job::TYPE_NAME)?.strip_prefix('/')?.parse().ok()
}

/// Whether a reference is a namespace's archive of jobs: after a change any of its jobs may have moved there.
pub fn is_archive(name: &str) -> bool {
    name == ARCHIVE || split(name).is_some_and(|(_, rest)| rest == ARCHIVE)
}

/// Whether a reference is a namespace's peer record.
pub fn is_peer_record(name: &str) -> bool {
    name == PEER || split(name).is_some_and(|(_, rest)| rest == PEER)
}

#[cfg(test)]
mod tests {
    use super::{is_archive, is_peer_record, job_of};

    #[test]
    fn a_reference_name_gives_its_job_and_nothing_else_does() {
        let job = "0123456789abcdef0123456789abcdef01234567";
        let node = "z6MktWkM9vcfysWFq1c2aaLjJ6j4PYYg93TLPswR4qtuoAeT";
        let bare = format!("refs/cobs/io.rhizome.job/{job}");
        assert_eq!(job_of(&bare).map(|id| id.to_string()).as_deref(), Some(job));
        assert_eq!(job_of(&format!("refs/namespaces/{node}/{bare}")), job_of(&bare));
        for other in [
            format!("refs/cobs/io.rhizome.job2/{job}"),
            format!("refs/cobs/io.rhizome.job/{}", job.to_uppercase()),
            format!("refs/cobs/io.rhizome.job/{job}/x"),
            format!("refs/namespaces/nobody/{bare}"),
            format!("refs/namespaces/{node}/refs/heads/{job}"),
        ] {
            assert_eq!(job_of(&other), None, "{other}");
        }
        assert!(is_archive(&format!("refs/namespaces/{node}/refs/rhizome/archive/jobs")));
        assert!(is_peer_record("refs/rhizome/peer") && !is_peer_record("refs/rhizome/peers"));
    }
}
