//! Moving points from what is scanned into graphs, and back. The slow part, building, holds no lock.

use std::borrow::Borrow;
use std::fs;
use std::sync::atomic::Ordering;

use redb::Database;

use super::LocalStore;
use super::file::{CODES, SEALED, SEGMENTS, code_row};
use super::live::{Live, Place, Scanned};
use super::load::segment_path;
use crate::derived::Fault;
use crate::vectors::exact::{Code, Flat};
use crate::vectors::sealed::{self, Graph, Segment};
use crate::vectors::{Collection, PointId, VectorError};

/// Most points of one segment: what one build takes of time and memory has a limit.
pub const SEGMENT_POINTS_MAX: usize = 250_000;

/// What was done of the upkeep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Upkeep {
    /// Points that were moved into graphs.
    pub sealed: usize,
    /// Points that were moved out of graphs of which more than a third was dead.
    pub unsealed: usize,
}

impl LocalStore {
    /// Moves what is scanned into a graph wherever there is much of it, and dissolves graphs of which more than a third is
    /// dead: their points are scanned until they are enough for a new one. It takes about a millisecond for each point that
    /// moves into a graph, and hinders no search and no change meanwhile. Where somebody else is at it, nothing is done.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn maintain(&self) -> Result<Upkeep, VectorError> {
        let mut upkeep = Upkeep::default();
        let Ok(_alone) = self.upkeep.try_lock() else { return Ok(upkeep) };
        let collections: Vec<Collection> = self.read(|state| Ok(state.collections.keys().cloned().collect()))?;
        for collection in &collections {
            while let Some(points) = self.dissolve_one(collection)? {
                upkeep.unsealed += points;
            }
            while let Some(points) = self.seal_one(collection)? {
                upkeep.sealed += points;
            }
        }
        Ok(upkeep)
    }

    /// Dissolves a segment that has too many dead points, and answers with how many lived.
    fn dissolve_one(&self, collection: &Collection) -> Result<Option<usize>, VectorError> {
        let dissolved = self.write(
            |state| {
                let Some(live) = state.collections.get(collection) else { return Ok(None) };
                let worn =
                    live.segments.iter().find(|(_, segment)| (segment.len() - segment.live()) * 3 > segment.len());
                let Some((number, segment)) = worn else { return Ok(None) };
                let points = scanned(segment);
                unseal(&state.database, live.number, *number, points.iter())?;
                Ok(Some((*number, points)))
            },
            |state, dissolved| {
                let (number, points) = dissolved?;
                let live = state.collections.get_mut(collection)?;
                points.iter().for_each(|point| live.put(point.id, point.document, &point.code));
                live.segments.remove(&number);
                Some((number, points.len()))
            },
        )?;
        Ok(dissolved.map(|(number, points)| {
            // a file that stays is removed at the next start
            fs::remove_file(segment_path(&self.folder, number)).ok();
            points
        }))
    }

    /// Seals what is scanned where it is much, and answers with how many points that were.
    fn seal_one(&self, collection: &Collection) -> Result<Option<usize>, VectorError> {
        match self.build_one(collection)? {
            Some((number, graph)) => self.take_in(collection, number, graph),
            None => Ok(None),
        }
    }

    /// Builds a graph of what is scanned where it is much, and its file. Nothing else knows of it yet.
    pub(super) fn build_one(&self, collection: &Collection) -> Result<Option<(u32, Graph)>, VectorError> {
        let points = self.read(|state| {
            let live = state.collections.get(collection).filter(|live| live.flat.len() >= self.seal_points);
            Ok(live.map(|live| copied(&live.flat)))
        })?;
        let Some(points) = points else { return Ok(None) };
        let away = |why: String| self.check().away(why);
        let graph = Graph::build(points).map_err(|error| away(error.to_string()))?;
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        let path = segment_path(&self.folder, number);
        sealed::write(&path, &graph).map_err(|error| away(format!("{}: {error}", path.display())))?;
        Ok(Some((number, graph)))
    }

    /// Takes a graph in, with those of its points that are as they were when it was begun, and answers with how many.
    pub(super) fn take_in(
        &self,
        collection: &Collection,
        number: u32,
        graph: Graph,
    ) -> Result<Option<usize>, VectorError> {
        let sealed = self.write(
            |state| {
                let Some(live) = state.collections.get(collection) else { return Ok(None) };
                let members = unchanged(live, &graph);
                seal(&state.database, live.number, number, &members)?;
                Ok((!members.is_empty()).then_some((members, graph)))
            },
            |state, sealed| {
                let (members, graph) = sealed?;
                let live = state.collections.get_mut(collection)?;
                live.segments.insert(number, Segment::new(graph));
                for member in &members {
                    live.seal(member.id, member.document, number, member.node);
                }
                Some(members.len())
            },
        )?;
        if sealed.is_none() {
            fs::remove_file(segment_path(&self.folder, number)).ok();
        }
        Ok(sealed)
    }
}

/// A point that moves into a graph.
struct Member {
    id: PointId,
    document: u32,
    node: u32,
}

/// Takes a segment out on disk: these are its points, which are scanned from now on.
pub fn unseal(
    database: &Database,
    collection: u32,
    segment: u32,
    points: impl Iterator<Item = impl Borrow<Scanned>>,
) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    {
        let mut codes = transaction.open_table(CODES)?;
        let mut sealed = transaction.open_table(SEALED)?;
        for point in points {
            let Scanned { id, document, code } = point.borrow();
            let key = (collection, id.0);
            codes.insert(key, &*code_row(*id, *document, &code.numbers, code.fit))?;
            sealed.remove(key)?;
        }
        transaction.open_table(SEGMENTS)?.remove((collection, segment))?;
    }
    Ok(transaction.commit()?)
}

fn seal(database: &Database, collection: u32, segment: u32, members: &[Member]) -> Result<(), Fault> {
    if members.is_empty() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    {
        let mut codes = transaction.open_table(CODES)?;
        let mut sealed = transaction.open_table(SEALED)?;
        for Member { id, document, .. } in members {
            codes.remove((collection, id.0))?;
            sealed.insert((collection, id.0), (segment, *document))?;
        }
        transaction.open_table(SEGMENTS)?.insert((collection, segment), ())?;
    }
    Ok(transaction.commit()?)
}

/// The first points that are scanned.
fn copied(flat: &Flat) -> Vec<(PointId, Code)> {
    let slots = u32::try_from(flat.len().min(SEGMENT_POINTS_MAX)).expect("the limit fits");
    let code = |slot| {
        let (numbers, fit) = flat.code(slot);
        (flat.id(slot), Code { numbers: numbers.to_vec(), fit })
    };
    (0..slots).map(code).collect()
}

/// The points of a graph that are still scanned as they were when it was begun.
fn unchanged(live: &Live, graph: &Graph) -> Vec<Member> {
    let members = graph.points().filter_map(|(node, id, numbers, fit)| {
        let Place::Flat(slot) = live.place(id)? else { return None };
        let document = live.flat.document(slot);
        (live.flat.code(slot) == (numbers, fit)).then_some(Member { id, document, node })
    });
    members.collect()
}

/// The points of a segment that live.
fn scanned(segment: &Segment) -> Vec<Scanned> {
    let points = segment.graph().points().filter_map(|(node, id, numbers, fit)| {
        let document = segment.document(node)?;
        Some(Scanned { id, document, code: Code { numbers: numbers.to_vec(), fit } })
    });
    points.collect()
}
