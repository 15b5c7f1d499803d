//! Archived jobs: one reference per namespace, whose commit keeps the tips of finished jobs and whose tree lists them.
//!
//! The tree is `<first two digits>/<other 38 digits of the job>`, a blob with one commit id per line. An object's
//! operations are those of its live reference and of its entry here together. It knows nothing of what the jobs mean.

use std::collections::{BTreeMap, BTreeSet};

use git2::{ErrorCode, FileMode, ObjectType};
use radicle_oid::Oid;

use crate::adapter::commit::{parse_tree, read_object, tree_of};
use crate::adapter::refs;
use crate::id::{JobId, NodeId, parse_oid};

/// Most jobs that one operation of the writer archives: each dropped reference may rewrite the packed ones.
pub const ARCHIVE_JOBS_MAX: usize = 64;
/// Most tips of one archived job that are read.
pub const ARCHIVE_TIPS_MAX: usize = 64;

const COMMIT_BYTES_MAX: usize = 256 * 1024;
const TREE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// 40 digits and a line feed each.
const ENTRY_BYTES_MAX: usize = 41 * ARCHIVE_TIPS_MAX;

/// The target of a reference; none when there is none.
pub(crate) fn target(repo: &git2::Repository, name: &str) -> Result<Option<Oid>, git2::Error> {
    match repo.refname_to_id(name) {
        Ok(id) => Ok(Some(id.into())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The tips that the archive of `node` lists for `job`; empty for whatever is missing or malformed.
pub(crate) fn tips(repo: &git2::Repository, node: &NodeId, job: JobId) -> Result<BTreeSet<Oid>, git2::Error> {
    match target(repo, &refs::in_namespace(node, refs::ARCHIVE))? {
        Some(head) => Index::open(&repo.odb()?, head)?.tips(job),
        None => Ok(BTreeSet::new()),
    }
}

/// What an archive lists, read as it is asked for; cheapest in the order of the jobs.
pub(crate) struct Index<'a, 'r> {
    odb: &'a git2::Odb<'r>,
    shards: BTreeMap<String, Oid>,
    /// The shard that was looked into last.
    opened: Option<(String, BTreeMap<String, Oid>)>,
}

impl<'a, 'r> Index<'a, 'r> {
    pub fn open(odb: &'a git2::Odb<'r>, head: Oid) -> Result<Self, git2::Error> {
        Ok(Self { odb, shards: shards(odb, head)?, opened: None })
    }

    /// The tips that it lists for `job`.
    pub fn tips(&mut self, job: JobId) -> Result<BTreeSet<Oid>, git2::Error> {
        let (shard, rest) = place(job);
        if self.opened.as_ref().is_none_or(|(opened, _)| *opened != shard) {
            let Some(tree) = self.shards.get(&shard) else { return Ok(BTreeSet::new()) };
            let jobs = entries(self.odb, *tree)?.into_iter().collect();
            self.opened = Some((shard, jobs));
        }
        let blob = self.opened.as_ref().and_then(|(_, jobs)| jobs.get(&rest));
        let Some(blob) = blob else { return Ok(BTreeSet::new()) };
        let bytes = read_object(self.odb, *blob, ObjectType::Blob, ENTRY_BYTES_MAX)?;
        Ok(bytes.map(|bytes| parse_tips(&bytes)).unwrap_or_default())
    }
}

/// Where each archive of a repository stands.
pub(crate) fn heads(repo: &git2::Repository) -> Result<BTreeMap<NodeId, Oid>, git2::Error> {
    let mut heads = BTreeMap::new();
    for reference in repo.references_glob(&format!("refs/namespaces/*/{}", refs::ARCHIVE))? {
        let reference = reference?;
        let node = reference.name().ok().and_then(refs::split).map(|(node, _)| node);
        heads.extend(node.zip(reference.target().map(Oid::from)));
    }
    Ok(heads)
}

/// The jobs whose entries in an archive at `head` are others than when it stood at `since`.
pub(crate) fn changed(odb: &git2::Odb<'_>, since: Option<Oid>, head: Oid) -> Result<BTreeSet<JobId>, git2::Error> {
    let before = since.map(|since| shards(odb, since)).transpose()?.unwrap_or_default();
    let mut jobs = BTreeSet::new();
    for (shard, tree) in shards(odb, head)? {
        let old = before.get(&shard);
        if old == Some(&tree) {
            continue;
        }
        let old = old.map(|old| entries(odb, *old)).transpose()?.unwrap_or_default();
        let old: BTreeSet<(String, Oid)> = old.into_iter().collect();
        let new = entries(odb, tree)?.into_iter().filter(|entry| !old.contains(entry));
        jobs.extend(new.filter_map(|(rest, _)| format!("{shard}{rest}").parse::<JobId>().ok()));
    }
    Ok(jobs)
}

/// Moves the live references of `jobs` in the namespace of `node` into its archive: first the archive, then the
/// references, so that whatever interrupts it leaves each job in one of them or both. How many moved.
pub(crate) fn store(repo: &git2::Repository, node: &NodeId, jobs: &[JobId]) -> Result<usize, git2::Error> {
    let mut live = BTreeMap::new();
    for job in jobs.iter().take(ARCHIVE_JOBS_MAX) {
        if let Some(tip) = target(repo, &refs::live(node, *job))? {
            live.insert(*job, tip);
        }
    }
    if live.is_empty() {
        return Ok(0);
    }
    let tips = live.iter().map(|(job, tip)| (*job, BTreeSet::from([*tip]))).collect();
    add(repo, node, &tips)?;
    let mut moved = 0;
    for (job, tip) in live {
        let mut reference = repo.find_reference(&refs::live(node, job))?;
        // an operation that came in between stays live
        if reference.target() != Some(tip.into()) {
            continue;
        }
        match reference.delete() {
            Ok(()) => moved += 1,
            // git packs the references at this moment: what is in both is moved by the next archive
            Err(error) if error.code() == ErrorCode::Locked => break,
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

/// Adds tips to the archive of `node`, beside those that it lists.
pub(crate) fn add(
    repo: &git2::Repository,
    node: &NodeId,
    jobs: &BTreeMap<JobId, BTreeSet<Oid>>,
) -> Result<(), git2::Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    let name = refs::in_namespace(node, refs::ARCHIVE);
    let head = target(repo, &name)?;
    let previous = head.map(|id| repo.find_commit(id.into())).transpose()?;
    let old = previous.as_ref().map(git2::Commit::tree).transpose()?;
    let mut root = repo.treebuilder(old.as_ref())?;
    for (job, new) in jobs {
        let mut tips = tips(repo, node, *job)?;
        // what lies below a new tip needs no mention, and a list that only grew would come to be more than is read
        let below = |old: &Oid, new: &Oid| repo.graph_descendant_of((*new).into(), (*old).into()).unwrap_or(false);
        tips.retain(|old| !new.iter().any(|new| below(old, new)));
        tips.extend(new);
        let text: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
        let (shard, rest) = place(*job);
        let subtree = root.get(&shard)?.map(|entry| repo.find_tree(entry.id())).transpose()?;
        let mut subtree = repo.treebuilder(subtree.as_ref())?;
        subtree.insert(rest, repo.blob(text.as_bytes())?, FileMode::Blob.into())?;
        root.insert(shard, subtree.write()?, FileMode::Tree.into())?;
    }
    let tree = repo.find_tree(root.write()?)?;
    let mut parents: Vec<_> = previous.into_iter().collect();
    for tip in jobs.values().flatten() {
        parents.push(repo.find_commit((*tip).into())?);
    }
    let who = repo.signature()?;
    let commit = repo.commit(None, &who, &who, "Archive finished jobs", &tree, &parents.iter().collect::<Vec<_>>())?;
    let expected = head.map_or(git2::Oid::ZERO_SHA1, git2::Oid::from);
    repo.reference_matching(&name, commit, true, expected, "rhizome: archive")?;
    Ok(())
}

fn place(job: JobId) -> (String, String) {
    let digits = job.to_string();
    (digits[..2].to_owned(), digits[2..].to_owned())
}

fn root_tree(odb: &git2::Odb<'_>, head: Oid) -> Result<Option<Oid>, git2::Error> {
    Ok(read_object(odb, head, ObjectType::Commit, COMMIT_BYTES_MAX)?.and_then(|bytes| tree_of(&bytes)))
}

fn shards(odb: &git2::Odb<'_>, head: Oid) -> Result<BTreeMap<String, Oid>, git2::Error> {
    let root = root_tree(odb, head)?;
    Ok(root.map(|root| entries(odb, root)).transpose()?.unwrap_or_default().into_iter().collect())
}

fn entries(odb: &git2::Odb<'_>, tree: Oid) -> Result<Vec<(String, Oid)>, git2::Error> {
    let Some(bytes) = read_object(odb, tree, ObjectType::Tree, TREE_BYTES_MAX)? else { return Ok(Vec::new()) };
    let entries = parse_tree(&bytes).unwrap_or_default();
    Ok(entries.iter().map(|entry| (String::from_utf8_lossy(entry.name).into_owned(), entry.id)).collect())
}

fn parse_tips(bytes: &[u8]) -> BTreeSet<Oid> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().filter_map(|line| parse_oid(line).ok()).take(ARCHIVE_TIPS_MAX).collect()
}
