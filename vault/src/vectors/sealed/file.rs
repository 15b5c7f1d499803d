//! A graph in a file, put there whole: written beside and renamed, with a checksum.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::Graph;

/// How a file begins; another form of it is another number.
const MAGIC: &[u8] = b"rhizome segment 1\n";

/// Puts a graph in place, so that it is there after a power cut once this has returned.
pub fn write(path: &Path, graph: &Graph) -> io::Result<()> {
    let body = postcard::to_stdvec(graph).map_err(io::Error::other)?;
    let unfinished = path.with_extension("new");
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(MAGIC)?;
    file.write_all(&crc32fast::hash(&body).to_le_bytes())?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    let folder = path.parent().ok_or_else(|| io::Error::other("a file without a folder"))?;
    fs::File::open(folder)?.sync_all()
}

/// The graph in a file; none where the file is missing, damaged or of another form.
pub fn read(path: &Path) -> Option<Graph> {
    let bytes = fs::read(path).ok()?;
    let (sum, body) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let graph: Graph = postcard::from_bytes(body).ok()?;
    (graph.hnsw.iter().count() == graph.ids.len()).then_some(graph)
}

/// Numbers of a code as bytes: serde would take them one by one.
pub mod numbers {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Box<[i8]>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(bytes.iter().map(|byte| byte.cast_signed()).collect())
        }
    }

    /// To bytes.
    pub fn serialize<S: Serializer>(numbers: &[i8], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = numbers.iter().map(|number| number.cast_unsigned()).collect();
        serializer.serialize_bytes(&bytes)
    }

    /// From bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[i8]>, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}
