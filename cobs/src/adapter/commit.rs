//! One signed commit as an operation, read with bounds on everything that a stranger can make large.
//!
//! The bytes are parsed here and not by libgit2 or radicle: what a hostile peer wrote must end as "unreadable", the
//! same on every node, while a fault of our own disk must end as an error. It knows no job.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::str::FromStr;

use git2::{ErrorCode, ObjectType, Odb};
use radicle::cob::{Manifest, TypeName};
use radicle::crypto::signature::Verifier as _;
use radicle::crypto::{ExtendedSignature, VerifyingKey};
use radicle_oid::Oid;

use crate::id::{NodeId, RevisionId, TreeId, parse_oid};
use crate::job::action::{ACTION_BYTES_MAX, Action, ActionError};
use crate::job::history::Content;

/// Most bytes of an operation's commit: all tips of an object may be its parents.
pub const COMMIT_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of an operation's tree.
pub const TREE_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of an operation's manifest.
pub const MANIFEST_BYTES_MAX: usize = 1024;

/// A commit with a valid signature over a tree of the wanted type.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub author: NodeId,
    pub tree: TreeId,
    pub pin: Option<RevisionId>,
    /// Parents that may be operations: neither the pin nor related commits.
    pub parents: Vec<Oid>,
    /// The blobs named by digits, of which an operation has one.
    blobs: Vec<Oid>,
}

/// What stands at an object id.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Signed(Signed),
    /// Not of the wanted type, not signed, out of bounds or malformed.
    Unreadable,
    /// Not in this storage.
    Missing,
}

/// Reads the commits of one type from one object database, each once.
pub(crate) struct Commits<'a> {
    odb: Odb<'a>,
    type_name: TypeName,
    found: RefCell<BTreeMap<Oid, Rc<Found>>>,
    manifests: RefCell<BTreeMap<Oid, bool>>,
}

enum Bytes {
    Read(Vec<u8>),
    TooLarge(usize),
    Missing,
}

impl<'a> Commits<'a> {
    pub fn new(repo: &'a git2::Repository, type_name: &str) -> Result<Self, git2::Error> {
        Ok(Self {
            odb: repo.odb()?,
            type_name: TypeName::from_str(type_name).expect("our type names are valid"),
            found: RefCell::default(),
            manifests: RefCell::default(),
        })
    }

    /// The commit at `id`; an error only when the storage fails.
    pub fn find(&self, id: Oid) -> Result<Rc<Found>, git2::Error> {
        if let Some(known) = self.found.borrow().get(&id) {
            return Ok(Rc::clone(known));
        }
        let found = Rc::new(self.read(id)?);
        self.found.borrow_mut().insert(id, Rc::clone(&found));
        Ok(found)
    }

    /// Drops what was read so far. A commit may name a thousand parents, and a job many authors: what one hangs below
    /// his tips is not kept while the next one's is read.
    pub fn forget(&self) {
        self.found.borrow_mut().clear();
    }

    /// What the operation says, and its bytes: a function of its tree alone. None when its content is missing.
    pub fn content(&self, signed: &Signed) -> Result<Option<(Content, usize)>, git2::Error> {
        let [blob] = signed.blobs[..] else {
            return Ok(Some((Content::Many(signed.blobs.len()), 0)));
        };
        Ok(match self.bytes(blob, ObjectType::Blob, ACTION_BYTES_MAX)? {
            Some(Bytes::Read(bytes)) => Some((decode(&bytes), bytes.len())),
            Some(Bytes::TooLarge(bytes)) => Some((Content::Unreadable(ActionError::TooLarge { bytes }), 0)),
            Some(Bytes::Missing) => None,
            None => Some((malformed("its content is no blob"), 0)),
        })
    }

    /// The bytes of the operation's one entry, up to `most`.
    pub fn raw_content(&self, signed: &Signed, most: usize) -> Result<Option<Vec<u8>>, git2::Error> {
        let [blob] = signed.blobs[..] else { return Ok(None) };
        Ok(match self.bytes(blob, ObjectType::Blob, most)? {
            Some(Bytes::Read(bytes)) => Some(bytes),
            Some(Bytes::TooLarge(_) | Bytes::Missing) | None => None,
        })
    }

    fn read(&self, id: Oid) -> Result<Found, git2::Error> {
        let bytes = match self.bytes(id, ObjectType::Commit, COMMIT_BYTES_MAX)? {
            Some(Bytes::Read(bytes)) => bytes,
            Some(Bytes::TooLarge(_)) | None => return Ok(Found::Unreadable),
            Some(Bytes::Missing) => return Ok(Found::Missing),
        };
        let Some(header) = std::str::from_utf8(&bytes).ok().and_then(Header::parse) else {
            return Ok(Found::Unreadable);
        };
        let tree = match self.bytes(header.tree, ObjectType::Tree, TREE_BYTES_MAX)? {
            Some(Bytes::Read(bytes)) => bytes,
            Some(Bytes::TooLarge(_)) | None => return Ok(Found::Unreadable),
            Some(Bytes::Missing) => return Ok(Found::Missing),
        };
        let Some(entries) = parse_tree(&tree) else { return Ok(Found::Unreadable) };
        let manifest = entries.iter().find(|entry| entry.name == b"manifest").map(|entry| entry.id);
        let typed = match manifest {
            Some(id) => self.is_manifest(id)?,
            None => Some(false),
        };
        let Some(typed) = typed else { return Ok(Found::Missing) };
        let Some(author) = header.author().filter(|_| typed) else { return Ok(Found::Unreadable) };
        let digits = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_digit);
        let blobs = entries.iter().filter(|entry| entry.is_blob && digits(entry.name)).map(|entry| entry.id).collect();
        Ok(Found::Signed(Signed {
            author,
            tree: TreeId(header.tree),
            pin: header.pin.map(RevisionId),
            parents: header.parents,
            blobs,
        }))
    }

    /// Whether a blob is a manifest of the wanted type; none when it is missing. Nearly all operations share one.
    fn is_manifest(&self, id: Oid) -> Result<Option<bool>, git2::Error> {
        if let Some(known) = self.manifests.borrow().get(&id) {
            return Ok(Some(*known));
        }
        let is = match self.bytes(id, ObjectType::Blob, MANIFEST_BYTES_MAX)? {
            Some(Bytes::Read(bytes)) => {
                serde_json::from_slice::<Manifest>(&bytes).is_ok_and(|manifest| manifest.type_name == self.type_name)
            }
            Some(Bytes::Missing) => return Ok(None),
            Some(Bytes::TooLarge(_)) | None => false,
        };
        self.manifests.borrow_mut().insert(id, is);
        Ok(Some(is))
    }

    /// The bytes of an object; none when it is of another kind.
    fn bytes(&self, id: Oid, kind: ObjectType, most: usize) -> Result<Option<Bytes>, git2::Error> {
        bounded(&self.odb, id, kind, most)
    }
}

fn bounded(odb: &Odb<'_>, id: Oid, kind: ObjectType, most: usize) -> Result<Option<Bytes>, git2::Error> {
    let (size, found) = match odb.read_header(id.into()) {
        Ok(header) => header,
        Err(error) if error.code() == ErrorCode::NotFound => return Ok(Some(Bytes::Missing)),
        Err(error) => return Err(error),
    };
    if found != kind {
        return Ok(None);
    }
    if size > most {
        return Ok(Some(Bytes::TooLarge(size)));
    }
    Ok(Some(Bytes::Read(odb.read(id.into())?.data().to_vec())))
}

/// The bytes of an object; none when it is missing, of another kind, or larger than `most`.
pub(crate) fn read_object(
    odb: &Odb<'_>,
    id: Oid,
    kind: ObjectType,
    most: usize,
) -> Result<Option<Vec<u8>>, git2::Error> {
    Ok(match bounded(odb, id, kind, most)? {
        Some(Bytes::Read(bytes)) => Some(bytes),
        Some(Bytes::TooLarge(_) | Bytes::Missing) | None => None,
    })
}

/// The tree of a commit, from its raw bytes.
pub(crate) fn tree_of(commit: &[u8]) -> Option<Oid> {
    let line = commit.split(|byte| *byte == b'\n').next()?;
    parse_oid(std::str::from_utf8(line).ok()?.strip_prefix("tree ")?).ok()
}

fn malformed(message: &str) -> Content {
    Content::Unreadable(ActionError::Malformed { message: message.to_owned() })
}

fn decode(bytes: &[u8]) -> Content {
    match Action::decode(bytes) {
        Ok(action) => Content::Action(action),
        Err(error) => Content::Unreadable(error),
    }
}

/// An entry of a git tree.
pub(crate) struct TreeEntry<'a> {
    pub name: &'a [u8],
    pub id: Oid,
    pub is_blob: bool,
}

/// The entries of a git tree; none when its bytes are malformed.
pub(crate) fn parse_tree(mut bytes: &[u8]) -> Option<Vec<TreeEntry<'_>>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let (mode, rest) = (&bytes[..space], &bytes[space + 1..]);
        let end = rest.iter().position(|byte| *byte == 0)?;
        let id: [u8; Oid::LEN_SHA1] = rest.get(end + 1..end + 1 + Oid::LEN_SHA1)?.try_into().ok()?;
        entries.push(TreeEntry { name: &rest[..end], id: Oid::from_sha1(id), is_blob: mode.starts_with(b"100") });
        bytes = &rest[end + 1 + Oid::LEN_SHA1..];
    }
    Some(entries)
}

/// What we need of a commit's text.
struct Header {
    tree: Oid,
    parents: Vec<Oid>,
    pin: Option<Oid>,
    signature: String,
}

impl Header {
    /// None for text that is no commit of an operation: it must have one signature and at most one pin.
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\n\n")?;
        // by line feeds alone: `lines` would take a carriage return for part of them
        let mut lines = head.split('\n');
        let tree = parse_oid(lines.next()?.strip_prefix("tree ")?).ok()?;
        let mut parents = Vec::new();
        let mut signature: Option<String> = None;
        let mut in_signature = false;
        for line in lines {
            if let Some(more) = line.strip_prefix(' ') {
                if let (true, Some(signature)) = (in_signature, &mut signature) {
                    signature.push('\n');
                    signature.push_str(more);
                }
                continue;
            }
            in_signature = false;
            if let Some(parent) = line.strip_prefix("parent ") {
                parents.push(parse_oid(parent).ok()?);
            } else if let Some(first) = line.strip_prefix("gpgsig ") {
                in_signature = signature.replace(first.to_owned()).is_none();
                if !in_signature {
                    return None;
                }
            }
        }
        let (pin, related) = trailers(body)?;
        parents.retain(|parent| Some(*parent) != pin && !related.contains(parent));
        Some(Self { tree, parents, pin, signature: signature? })
    }

    fn author(&self) -> Option<NodeId> {
        let signature = ExtendedSignature::from_pem(self.signature.as_bytes()).ok()?;
        let key = VerifyingKey::try_from(signature.key()).ok()?;
        key.verify(self.tree.as_ref(), signature.sig()).ok()?;
        Some(*signature.key())
    }
}

/// The pin and the related commits that the last paragraph of a message names; none for two pins or a bad one.
fn trailers(body: &str) -> Option<(Option<Oid>, BTreeSet<Oid>)> {
    let paragraph = body.trim_end_matches('\n').rsplit("\n\n").next().unwrap_or_default();
    let mut pin = None;
    let mut related = BTreeSet::new();
    for line in paragraph.split('\n') {
        if let Some(id) = line.strip_prefix("Rad-Resource: ") {
            if pin.replace(parse_oid(id).ok()?).is_some() {
                return None;
            }
        } else if let Some(id) = line.strip_prefix("Rad-Related: ") {
            related.insert(parse_oid(id).ok()?);
        }
    }
    Some((pin, related))
}
