//! Objects after a power cut: files whose name was written and whose content was not, or not all of it.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;
use radicle_oid::Oid;
use sha1::{Digest as _, Sha1};

use super::{entries, remove};
use crate::id::parse_oid;

/// A digest of git's.
const DIGEST_BYTES: usize = 20;
/// The head, the fan-out and the two digests of an index; a shorter one is none.
const INDEX_BYTES_MIN: u64 = 8 + 256 * 4 + 2 * DIGEST_BYTES as u64;
/// The head and the digest of a pack.
const PACK_BYTES_MIN: u64 = 12 + DIGEST_BYTES as u64;
/// Most bytes of a pack whose content is looked at; a larger one is a repository that was there before.
const PACK_BYTES_MAX: u64 = 64 << 20;
const CHUNK_BYTES: usize = 64 << 10;

/// Removes what does not hold what its name says.
pub(super) fn remove_torn(objects: &Path, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    for index in entries(&objects.join("pack"))? {
        let (is_index, is_pack) = (ends_in(&index, "idx"), ends_in(&index, "pack"));
        // a pack goes with its index: without either it is nothing
        if (is_index && !is_whole_pack(&index)?) || (is_pack && !index.with_extension("idx").is_file()) {
            for end in ["idx", "pack", "rev", "keep"] {
                remove(index.with_extension(end), removed);
            }
        }
    }
    for directory in entries(objects)?.into_iter().filter(|path| is_fan_out(path)) {
        for object in entries(&directory)? {
            let Some(named) = named(&directory, &object) else { continue };
            if !is_whole_object(&object, named)? {
                remove(object, removed);
            }
        }
    }
    Ok(())
}

fn ends_in(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|extension| extension == end)
}

fn is_fan_out(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.len() == 2)
}

/// The object that a file should hold; none for a file of another kind.
fn named(directory: &Path, object: &Path) -> Option<Oid> {
    let (start, end) = (directory.file_name()?.to_str()?, object.file_name()?.to_str()?);
    parse_oid(&format!("{start}{end}")).ok()
}

/// Whether a loose object is what it is called.
fn is_whole_object(object: &Path, named: Oid) -> io::Result<bool> {
    match digest(ZlibDecoder::new(File::open(object)?), u64::MAX) {
        Ok(digest) => Ok(digest[..] == *AsRef::<[u8]>::as_ref(&named)),
        // what cannot be read at the moment is no reason to remove it
        Err(error) => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData => Ok(false),
            _ => Err(error),
        },
    }
}

fn digest(mut from: impl io::Read, most: u64) -> io::Result<[u8; DIGEST_BYTES]> {
    let (mut hash, mut chunk, mut left) = (Sha1::new(), vec![0; CHUNK_BYTES], most);
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        match from.read(&mut chunk[..room])? {
            0 => break,
            read => {
                hash.update(&chunk[..read]);
                left -= read as u64;
            }
        }
    }
    Ok(hash.finalize().into())
}

/// Whether an index and its pack end in the digests of what they hold, and belong together.
fn is_whole_pack(index: &Path) -> io::Result<bool> {
    let mut pack = match File::open(index.with_extension("pack")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut index = File::open(index)?;
    let (index_bytes, pack_bytes) = (index.metadata()?.len(), pack.metadata()?.len());
    if index_bytes < INDEX_BYTES_MIN || pack_bytes < PACK_BYTES_MIN {
        return Ok(false);
    }
    let of_pack = tail(&mut pack, DIGEST_BYTES)?;
    let both = tail(&mut index, 2 * DIGEST_BYTES)?;
    index.rewind()?;
    pack.rewind()?;
    if both[..DIGEST_BYTES] != of_pack[..]
        || digest(index, index_bytes - DIGEST_BYTES as u64)?[..] != both[DIGEST_BYTES..]
    {
        return Ok(false);
    }
    Ok(pack_bytes > PACK_BYTES_MAX || digest(pack, pack_bytes - DIGEST_BYTES as u64)?[..] == of_pack[..])
}

fn tail(file: &mut File, bytes: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::End(-i64::try_from(bytes).expect("a few dozen")))?;
    let mut tail = vec![0; bytes];
    file.read_exact(&mut tail)?;
    Ok(tail)
}
