//! Reading the file into memory at start, without the full vectors; and putting a file aside that cannot be read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::file::{self, CODES, COLLECTIONS, DOCUMENTS, FORMAT, NUMBERS, SEALED, SEGMENTS, VECTORS};
use super::live::Live;
use super::{State, seal};
use crate::derived::{Fault, guarded};
use crate::vectors::exact::Code;
use crate::vectors::sealed::{self, Segment};
use crate::vectors::{Collection, PointId};

/// The name of the file in its folder.
pub const FILE: &str = "vectors.redb";
/// Made by a store that met damage while it ran: the next start puts the file aside.
const DAMAGED: &str = "vectors.damaged";
/// The name that a damaged file gets; an older one of that name is lost.
const ASIDE: &str = "vectors.redb.aside";
/// The end of the names of segments.
const SEGMENT: &str = "segment";

/// A damaged file that was put aside; what it held has to be computed again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Aside {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub why: String,
}

/// The file of a segment.
pub fn segment_path(folder: &Path, segment: u32) -> PathBuf {
    folder.join(format!("{segment}.{SEGMENT}"))
}

/// Says that the file is damaged, to the next start.
pub fn mark_damaged(folder: &Path, why: &str) {
    // where even that fails the next start finds the damage by itself, or the next read does
    fs::write(folder.join(DAMAGED), why).ok();
}

/// Reads what is there, or begins anew beside what cannot be read.
pub fn open(folder: &Path) -> Result<(State, Option<Aside>), Fault> {
    fs::create_dir_all(folder).map_err(redb::StorageError::Io)?;
    let why = match fs::read_to_string(folder.join(DAMAGED)) {
        Ok(why) => why,
        Err(_) => match load(folder) {
            Ok(state) => return Ok((state, None)),
            Err(Fault::Damaged(why)) => why,
            Err(error) => return Err(error),
        },
    };
    let aside = put_aside(folder, why).map_err(redb::StorageError::Io)?;
    Ok((load(folder)?, Some(aside)))
}

fn put_aside(folder: &Path, why: String) -> io::Result<Aside> {
    let path = folder.join(ASIDE);
    match fs::rename(folder.join(FILE), &path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::remove_file(folder.join(DAMAGED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    Ok(Aside { path, why })
}

/// Reads all that memory holds.
pub fn load(folder: &Path) -> Result<State, Fault> {
    let database = file::open(&folder.join(FILE))?;
    guarded(|| {
        prepare(&database)?;
        let mut collections = BTreeMap::new();
        let mut lost = Vec::new();
        let read = database.begin_read()?;
        for entry in read.open_table(COLLECTIONS)?.iter()? {
            let (number, json) = entry?;
            let collection: Collection =
                serde_json::from_slice(json.value()).map_err(|error| Fault::Damaged(error.to_string()))?;
            let mut live = Live::new(number.value(), collection.embedder.dimension);
            let missing = fill(&read, folder, &collection, &mut live)?;
            for (segment, points) in missing {
                lost.push((number.value(), segment, points.iter().map(|id| live.code(*id)).collect::<Vec<_>>()));
            }
            collections.insert(collection, live);
        }
        let points: usize = collections.values().map(Live::len).sum();
        if read.open_table(VECTORS)?.len()? != points as u64 {
            return Err(Fault::Damaged("there are not as many codes as vectors".into()));
        }
        drop(read);
        for (number, segment, points) in lost {
            seal::unseal(&database, number, segment, points.into_iter().flatten())?;
        }
        let state = State { database: database.into(), collections };
        sweep(folder, &state).map_err(redb::StorageError::Io)?;
        Ok(state)
    })
}

/// Makes the tables of a new file, and refuses a file of another form.
fn prepare(database: &Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let format = numbers.get("format")?.map(|format| format.value());
        match format {
            Some(FORMAT) => return Ok(()),
            Some(other) => return Err(Fault::Damaged(format!("its form is {other}, this program knows {FORMAT}"))),
            None => numbers.insert("format", FORMAT)?,
        };
        transaction.open_table(COLLECTIONS)?;
        transaction.open_table(DOCUMENTS)?;
        transaction.open_table(CODES)?;
        transaction.open_table(VECTORS)?;
        transaction.open_table(SEALED)?;
        transaction.open_table(SEGMENTS)?;
    }
    Ok(transaction.commit()?)
}

/// Fills a collection, and answers with its segments that are missing: their points are scanned for now.
fn fill(
    read: &ReadTransaction,
    folder: &Path,
    collection: &Collection,
    live: &mut Live,
) -> Result<BTreeMap<u32, Vec<PointId>>, Fault> {
    let (number, dimension) = (live.number, collection.embedder.dimension);
    let small = (number, u32::MIN)..=(number, u32::MAX);
    let points = (number, u128::MIN)..=(number, u128::MAX);
    for entry in read.open_table(DOCUMENTS)?.range(small.clone())? {
        let (key, row) = entry?;
        let document = key.value().1;
        live.names.name(document, file::read_document(document, row.value())?);
    }
    for entry in read.open_table(CODES)?.range(points.clone())? {
        let (key, row) = entry?;
        let id = PointId(key.value().1);
        let (document, code) = file::read_code(dimension, id, row.value())?;
        live.put(id, document, &code);
    }
    let mut members: BTreeMap<u32, Vec<(PointId, u32)>> = BTreeMap::new();
    for entry in read.open_table(SEGMENTS)?.range(small)? {
        members.insert(entry?.0.value().1, Vec::new());
    }
    for entry in read.open_table(SEALED)?.range(points)? {
        let (key, row) = entry?;
        let (segment, document) = row.value();
        members.entry(segment).or_default().push((PointId(key.value().1), document));
    }
    let mut missing = BTreeMap::new();
    for (segment, points) in members {
        if !fill_segment(folder, dimension, live, segment, &points) {
            fill_scanned(read, dimension, live, &points)?;
            missing.insert(segment, points.into_iter().map(|(id, _)| id).collect());
        }
    }
    if live.names.total() != live.len() {
        return Err(Fault::Damaged("a document without a name".into()));
    }
    Ok(missing)
}

/// Fills in a segment; false where its file is not what it should be.
fn fill_segment(folder: &Path, dimension: usize, live: &mut Live, number: u32, points: &[(PointId, u32)]) -> bool {
    let Some(graph) = sealed::read(&segment_path(folder, number)) else { return false };
    if graph.points().any(|(_, _, code, _)| code.len() != dimension) {
        return false;
    }
    let nodes: HashMap<PointId, u32> = graph.points().map(|(node, id, ..)| (id, node)).collect();
    if points.iter().any(|(id, _)| !nodes.contains_key(id)) {
        return false;
    }
    live.segments.insert(number, Segment::new(graph));
    for (id, document) in points {
        live.seal(*id, *document, number, nodes[id]);
    }
    true
}

/// Fills in points from their full vectors.
fn fill_scanned(
    read: &ReadTransaction,
    dimension: usize,
    live: &mut Live,
    points: &[(PointId, u32)],
) -> Result<(), Fault> {
    let vectors = read.open_table(VECTORS)?;
    for (id, document) in points {
        let Some(row) = vectors.get((live.number, id.0))? else {
            return Err(Fault::Damaged("a point without a vector".into()));
        };
        live.put(*id, *document, &Code::of(&file::read_vector(dimension, *id, row.value())?.vector));
    }
    Ok(())
}

/// Removes the files of segments that nothing names: of a seal that did not end, or of what was dissolved.
fn sweep(folder: &Path, state: &State) -> io::Result<()> {
    let named: BTreeSet<u32> = state.collections.values().flat_map(|live| live.segments.keys().copied()).collect();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|end| end == SEGMENT || end == "new");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
        let is_named = path.extension().is_some_and(|end| end == SEGMENT);
        if is_segment && number.is_some_and(|number| !(is_named && named.contains(&number))) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
