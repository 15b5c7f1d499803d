//! What one call changes of a collection: planned from memory, written in one transaction, then done in memory.

use std::collections::{BTreeMap, BTreeSet};

use redb::{Database, WriteTransaction};

use super::file::{CODES, COLLECTIONS, DOCUMENTS, SEALED, SEGMENTS, VECTORS, code_row, document_row, vector_row};
use super::live::{Live, Names};
use crate::derived::Fault;
use crate::vectors::exact::Code;
use crate::vectors::{Collection, Point, PointId};

/// What one call changes of a collection.
pub struct Change<'a> {
    /// The number of the collection on disk.
    pub number: u32,
    /// The collection, where it begins with this call.
    pub begins: Option<&'a Collection>,
    /// Numbers that are given to documents.
    pub new_documents: Vec<(u32, &'a str)>,
    /// Documents that have no points any more.
    pub gone_documents: Vec<u32>,
    /// Points that come or are replaced.
    pub puts: Vec<Put<'a>>,
    /// Points that go, all of which are there.
    pub removed: Vec<PointId>,
}

/// A point that comes.
pub struct Put<'a> {
    /// The point.
    pub point: &'a Point,
    /// The number of its document.
    pub document: u32,
    /// Its small form.
    pub code: Code,
}

impl<'a> Change<'a> {
    /// Points come, or are replaced.
    pub fn upsert(live: &Live, points: &BTreeMap<PointId, &'a Point>) -> Self {
        let mut unused = live.names.unused();
        let mut new: BTreeMap<&str, u32> = BTreeMap::new();
        let mut puts = Vec::with_capacity(points.len());
        for point in points.values() {
            let name = point.document.as_str();
            let known = live.names.number(name).or_else(|| new.get(name).copied());
            let document = known.unwrap_or_else(|| {
                let number = unused.next().expect("there is no end of numbers");
                new.insert(name, number);
                number
            });
            puts.push(Put { point, document, code: Code::of(&point.vector) });
        }
        let new_documents = new.into_iter().map(|(name, number)| (number, name)).collect();
        let gone_documents = gone(live, puts.iter().map(|put| put.point.id), puts.iter().map(|put| put.document));
        Self { number: live.number, begins: None, new_documents, gone_documents, puts, removed: Vec::new() }
    }

    /// Points go.
    pub fn delete(live: &Live, ids: &[PointId]) -> Self {
        let there: BTreeSet<PointId> = ids.iter().copied().filter(|id| live.place(*id).is_some()).collect();
        let gone_documents = gone(live, there.iter().copied(), std::iter::empty());
        let removed = there.into_iter().collect();
        let (new_documents, puts) = (Vec::new(), Vec::new());
        Self { number: live.number, begins: None, new_documents, gone_documents, puts, removed }
    }

    /// Writes it, so that it is on disk once this has returned.
    pub fn commit(&self, database: &Database) -> Result<(), Fault> {
        let transaction = database.begin_write()?;
        self.write(&transaction)?;
        Ok(transaction.commit()?)
    }

    fn write(&self, transaction: &WriteTransaction) -> Result<(), Fault> {
        let number = self.number;
        if let Some(collection) = self.begins {
            let json = serde_json::to_vec(collection).expect("a collection is plain data");
            transaction.open_table(COLLECTIONS)?.insert(number, &*json)?;
        }
        let mut documents = transaction.open_table(DOCUMENTS)?;
        for document in &self.gone_documents {
            documents.remove((number, *document))?;
        }
        for (document, name) in &self.new_documents {
            documents.insert((number, *document), &*document_row(*document, name))?;
        }
        let mut vectors = transaction.open_table(VECTORS)?;
        let mut codes = transaction.open_table(CODES)?;
        let mut sealed = transaction.open_table(SEALED)?;
        for Put { point, document, code } in &self.puts {
            let key = (number, point.id.0);
            vectors.insert(key, &*vector_row(point.id, *document, &point.vector, &point.digest))?;
            codes.insert(key, &*code_row(point.id, *document, &code.numbers, code.fit))?;
            sealed.remove(key)?;
        }
        for id in &self.removed {
            let key = (number, id.0);
            vectors.remove(key)?;
            codes.remove(key)?;
            sealed.remove(key)?;
        }
        Ok(())
    }
}

/// Forgets all of a collection on disk.
pub fn forget(database: &Database, number: u32) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    let points = (number, u128::MIN)..=(number, u128::MAX);
    let small = (number, u32::MIN)..=(number, u32::MAX);
    transaction.open_table(COLLECTIONS)?.remove(number)?;
    transaction.open_table(DOCUMENTS)?.retain_in(small.clone(), |_, _| false)?;
    transaction.open_table(SEGMENTS)?.retain_in(small, |_, ()| false)?;
    transaction.open_table(VECTORS)?.retain_in(points.clone(), |_, _| false)?;
    transaction.open_table(CODES)?.retain_in(points.clone(), |_, _| false)?;
    transaction.open_table(SEALED)?.retain_in(points, |_, _| false)?;
    Ok(transaction.commit()?)
}

/// The documents that lose their last point, where these points leave theirs and some come into others.
fn gone(live: &Live, leaving: impl Iterator<Item = PointId>, coming: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut left: BTreeMap<u32, usize> = BTreeMap::new();
    for document in leaving.filter_map(|id| live.document(id)) {
        *left.entry(document).or_default() += 1;
    }
    let coming: BTreeSet<u32> = coming.collect();
    let is_gone = |names: &Names, document: u32, left: usize| names.points(document) <= left;
    let gone = left.into_iter().filter(|(document, left)| is_gone(&live.names, *document, *left));
    gone.map(|(document, _)| document).filter(|document| !coming.contains(document)).collect()
}
