//! A collection in memory: codes, names of documents, and where each point is. Only what is on disk already gets here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::change::Change;
use crate::vectors::PointId;
use crate::vectors::exact::best::{Best, Guess};
use crate::vectors::exact::{Code, Documents, Flat, Query};
use crate::vectors::sealed::{Segment, Walk};

/// A collection in memory.
pub struct Live {
    /// Its number on disk.
    pub number: u32,
    /// The points that are scanned.
    pub flat: Flat,
    /// The points that are in graphs.
    pub segments: BTreeMap<u32, Segment>,
    /// Its documents.
    pub names: Names,
    /// What goes through it sorts what it finds.
    places: HashMap<PointId, Place>,
}

/// Where a point is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a slot of what is scanned.
    Flat(u32),
    /// In a graph.
    Sealed {
        /// Which.
        segment: u32,
        /// Its number in there.
        node: u32,
    },
}

/// A point as it is scanned.
pub struct Scanned {
    /// The point.
    pub id: PointId,
    /// The number of its document.
    pub document: u32,
    /// Its small form.
    pub code: Code,
}

/// Documents by small numbers, with how many points each has.
#[derive(Default)]
pub struct Names {
    numbers: BTreeMap<Arc<str>, u32>,
    documents: Vec<Option<(Arc<str>, usize)>>,
    free: BTreeSet<u32>,
}

impl Live {
    /// An empty one.
    pub fn new(number: u32, dimension: usize) -> Self {
        let (segments, names) = (BTreeMap::new(), Names::default());
        Self { number, flat: Flat::new(dimension), segments, names, places: HashMap::new() }
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The ids after one, in their order, up to a limit.
    pub fn ids_after(&self, after: Option<PointId>, limit: usize) -> Vec<PointId> {
        let mut ids: Vec<PointId> =
            self.places.keys().copied().filter(|id| after.is_none_or(|after| *id > after)).collect();
        if limit < ids.len() {
            ids.select_nth_unstable(limit);
            ids.truncate(limit);
        }
        ids.sort_unstable();
        ids
    }

    /// Where a point is.
    pub fn place(&self, id: PointId) -> Option<Place> {
        self.places.get(&id).copied()
    }

    /// The document of a point.
    pub fn document(&self, id: PointId) -> Option<u32> {
        match self.place(id)? {
            Place::Flat(slot) => Some(self.flat.document(slot)),
            Place::Sealed { segment, node } => self.segments.get(&segment)?.document(node),
        }
    }

    /// What is scanned of a point; none where it is not scanned.
    pub fn code(&self, id: PointId) -> Option<Scanned> {
        let Some(Place::Flat(slot)) = self.place(id) else { return None };
        let (numbers, fit) = self.flat.code(slot);
        Some(Scanned { id, document: self.flat.document(slot), code: Code { numbers: numbers.to_vec(), fit } })
    }

    /// Puts a point where it is scanned, wherever it was before.
    pub fn put(&mut self, id: PointId, document: u32, code: &Code) {
        match self.place(id) {
            Some(Place::Flat(slot)) => {
                self.names.less(self.flat.document(slot));
                self.flat.replace(slot, document, &code.numbers, code.fit);
            }
            Some(Place::Sealed { .. }) | None => {
                self.remove(id);
                let slot = self.flat.push(id, document, &code.numbers, code.fit);
                self.places.insert(id, Place::Flat(slot));
            }
        }
        self.names.more(document);
    }

    /// Takes a point out.
    pub fn remove(&mut self, id: PointId) {
        let Some(document) = self.document(id) else { return };
        self.names.less(document);
        match self.places.remove(&id) {
            Some(Place::Flat(slot)) => {
                if let Some(moved) = self.flat.swap_remove(slot) {
                    self.places.insert(moved, Place::Flat(slot));
                }
            }
            Some(Place::Sealed { segment, node }) => {
                if let Some(segment) = self.segments.get_mut(&segment) {
                    segment.kill(node);
                }
            }
            None => {}
        }
    }

    /// A point is in a graph from now on, which is among the segments.
    pub fn seal(&mut self, id: PointId, document: u32, segment: u32, node: u32) {
        self.remove(id);
        if let Some(graph) = self.segments.get_mut(&segment) {
            graph.revive(node, document);
            self.places.insert(id, Place::Sealed { segment, node });
            self.names.more(document);
        }
    }

    /// Does what was done on disk.
    pub fn apply(&mut self, change: &Change<'_>) {
        for (number, name) in &change.new_documents {
            self.names.name(*number, name);
        }
        for put in &change.puts {
            self.put(put.point.id, put.document, &put.code);
        }
        change.removed.iter().for_each(|id| self.remove(*id));
        for number in &change.gone_documents {
            self.names.forget(*number);
        }
    }

    /// Every point that may be among the nearest.
    pub fn choose(&self, vector: &[f32], limit: usize, documents: Option<&BTreeSet<String>>) -> Vec<Guess> {
        let wanted = documents.map(|documents| self.names.select(documents));
        if wanted.as_ref().is_some_and(|(_, points)| *points == 0) {
            return Vec::new();
        }
        let query = Query::of(vector);
        let mut best = Best::new(limit);
        self.flat.scan(&query, wanted.as_ref().map(|(documents, _)| documents), &mut best);
        if !self.segments.is_empty() {
            let documents = wanted.as_ref().map(|(documents, points)| (documents, *points));
            let walk = Walk::new(vector, &query, limit, documents);
            self.segments.values().for_each(|segment| segment.search(&walk, self.len(), &mut best));
        }
        best.finish()
    }
}

impl Names {
    /// The number of a document that has points.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of a number.
    pub fn of(&self, number: u32) -> Option<&str> {
        self.documents.get(number as usize)?.as_ref().map(|(name, _)| &**name)
    }

    /// How many points a document has.
    pub fn points(&self, number: u32) -> usize {
        self.documents.get(number as usize).and_then(Option::as_ref).map_or(0, |(_, points)| *points)
    }

    /// How many points all documents have.
    pub fn total(&self) -> usize {
        self.documents.iter().flatten().map(|(_, points)| points).sum()
    }

    /// Numbers that no document has, the smallest first, without end.
    pub fn unused(&self) -> impl Iterator<Item = u32> {
        let end = u32::try_from(self.documents.len()).expect("memory ends before the numbers do");
        self.free.iter().copied().chain(end..)
    }

    /// A number has a name from now on.
    pub fn name(&mut self, number: u32, name: &str) {
        while self.documents.len() <= number as usize {
            let next = u32::try_from(self.documents.len()).expect("it is below a number of 32 bits");
            self.documents.push(None);
            self.free.insert(next);
        }
        let name: Arc<str> = name.into();
        self.free.remove(&number);
        self.numbers.insert(name.clone(), number);
        self.documents[number as usize] = Some((name, 0));
    }

    /// A document is no more.
    fn forget(&mut self, number: u32) {
        if let Some((name, _)) = self.documents.get_mut(number as usize).and_then(Option::take) {
            self.numbers.remove(&name);
            self.free.insert(number);
        }
    }

    fn more(&mut self, number: u32) {
        if let Some((_, points)) = self.documents.get_mut(number as usize).and_then(Option::as_mut) {
            *points += 1;
        }
    }

    fn less(&mut self, number: u32) {
        if let Some((_, points)) = self.documents.get_mut(number as usize).and_then(Option::as_mut) {
            *points = points.saturating_sub(1);
        }
    }

    /// The documents of these names, and how many points they have.
    fn select(&self, names: &BTreeSet<String>) -> (Documents, usize) {
        let mut documents = Documents::default();
        let mut points = 0;
        for number in names.iter().filter_map(|name| self.number(name)) {
            documents.insert(number);
            points += self.points(number);
        }
        (documents, points)
    }
}
