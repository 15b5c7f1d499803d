//! A graph over many vectors that is built once: it finds nearly all of the nearest without looking at the rest.
//!
//! What a segment holds never changes, but for points that die in it. It is derived data: the vectors themselves are kept
//! elsewhere, so a segment that cannot be read is made again.

mod file;

use instant_distance::{Builder, Hnsw, Search};
use serde::{Deserialize, Serialize};

use super::PointId;
use super::exact::best::{Best, Guess};
use super::exact::{Code, Documents, Fit, Query, Single, near};

pub use self::file::{read, write};

/// Candidates that are kept while the graph is built: more makes better neighbours and takes longer.
const BUILD_CANDIDATES: usize = 100;
/// Candidates that are kept while the graph is searched.
const SEARCH_CANDIDATES: usize = 200;
/// Candidates for each point that is wanted, below which the graph is not asked: too many of its points may be dead, or of
/// other documents.
const CANDIDATES_PER_HIT: usize = 4;
/// The same points give the same graph.
const SEED: u64 = 20_260_101;
/// The document of a point that is dead.
const DEAD: u32 = u32::MAX;

/// A point of a graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    #[serde(with = "file::numbers")]
    numbers: Box<[i8]>,
    scale: f32,
    error: f32,
}

/// A graph and the names of its points.
#[derive(Serialize, Deserialize)]
pub struct Graph {
    hnsw: Hnsw<Node>,
    ids: Vec<u128>,
}

/// A graph in use: which of its points live, and of which documents they are.
pub struct Segment {
    graph: Graph,
    documents: Vec<u32>,
    live: usize,
}

/// A search of segments.
pub struct Walk<'a> {
    query: &'a Query,
    node: Node,
    /// How many points are wanted.
    pub limit: usize,
    /// The documents that are searched, and how many points they have in all of the collection.
    pub documents: Option<(&'a Documents, usize)>,
}

impl instant_distance::Point for Node {
    fn distance(&self, other: &Self) -> f32 {
        1.0 - near((&self.numbers, self.scale), (&other.numbers, other.scale))
    }
}

impl Node {
    fn new(code: Code) -> Self {
        Self { numbers: code.numbers.into(), scale: code.fit.scale, error: code.fit.error }
    }

    fn fit(&self) -> Fit {
        Fit { scale: self.scale, error: self.error }
    }
}

impl Graph {
    /// Builds a graph, which takes about a millisecond for each point; on one thread, which ends with it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn build(points: Vec<(PointId, Code)>) -> Result<Self, rayon::ThreadPoolBuildError> {
        let (ids, nodes): (Vec<u128>, Vec<Node>) = points.into_iter().map(|(id, code)| (id.0, Node::new(code))).unzip();
        let builder = Builder::default().seed(SEED).ef_construction(BUILD_CANDIDATES).ef_search(SEARCH_CANDIDATES);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        let (hnsw, places) = pool.install(|| builder.build_hnsw(nodes));
        let mut sorted = vec![0; ids.len()];
        for (id, place) in ids.into_iter().zip(places) {
            sorted[place.into_inner() as usize] = id;
        }
        Ok(Self { hnsw, ids: sorted })
    }

    /// Its points, each with its number in the graph.
    pub fn points(&self) -> impl Iterator<Item = (u32, PointId, &[i8], Fit)> {
        let nodes = self.hnsw.iter().zip(&self.ids);
        nodes.map(|((place, node), id)| (place.into_inner(), PointId(*id), &*node.numbers, node.fit()))
    }
}

impl Segment {
    /// A graph whose points are all dead until they are named.
    pub fn new(graph: Graph) -> Self {
        Self { documents: vec![DEAD; graph.ids.len()], live: 0, graph }
    }

    /// Its points, also the dead ones.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How many points it was built of.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// How many of them live.
    pub fn live(&self) -> usize {
        self.live
    }

    /// The document of a point that lives.
    pub fn document(&self, node: u32) -> Option<u32> {
        self.documents.get(node as usize).copied().filter(|document| *document != DEAD)
    }

    /// A point lives.
    pub fn revive(&mut self, node: u32, document: u32) {
        self.live += usize::from(self.document(node).is_none());
        self.documents[node as usize] = document;
    }

    /// A point is dead from now on.
    pub fn kill(&mut self, node: u32) {
        self.live -= usize::from(self.document(node).is_some());
        self.documents[node as usize] = DEAD;
    }

    /// Offers what is near, by the graph where that is sure to meet enough that counts, else by looking at all of that.
    /// `total` is how many points the whole collection has.
    pub fn search(&self, walk: &Walk<'_>, total: usize, best: &mut Best) {
        // documents are taken to be spread evenly over the segments
        let share = walk.documents.map_or(1.0, |(_, points)| points as f64 / total.max(1) as f64);
        let expected = SEARCH_CANDIDATES as f64 * share * self.live as f64 / self.len().max(1) as f64;
        if expected < (CANDIDATES_PER_HIT * walk.limit) as f64 || !self.walked(walk, best) {
            self.scan(walk, best);
        }
    }

    /// Offers what the graph finds; false if that is less than was wanted.
    fn walked(&self, walk: &Walk<'_>, best: &mut Best) -> bool {
        let mut search = Search::default();
        let single = Single::new(walk.query);
        let mut guesses = Vec::new();
        for item in self.graph.hnsw.search(&walk.node, &mut search) {
            let node = item.pid.into_inner();
            if let Some(document) = self.document(node).filter(|document| walk.wants(*document)) {
                let (score, error) = single.judge(&item.point.numbers, item.point.fit());
                guesses.push(Guess { id: PointId(self.graph.ids[node as usize]), document, score, error });
            }
        }
        if guesses.len() < walk.limit.min(self.live) {
            return false;
        }
        guesses.into_iter().for_each(|guess| best.offer(guess));
        true
    }

    fn scan(&self, walk: &Walk<'_>, best: &mut Best) {
        let single = Single::new(walk.query);
        for (node, id, numbers, fit) in self.graph.points() {
            if let Some(document) = self.document(node).filter(|document| walk.wants(*document)) {
                let (score, error) = single.judge(numbers, fit);
                if best.may_take(score, error) {
                    best.offer(Guess { id, document, score, error });
                }
            }
        }
    }
}

impl<'a> Walk<'a> {
    /// A search for `vector`, whose query is at hand already.
    pub fn new(vector: &[f32], query: &'a Query, limit: usize, documents: Option<(&'a Documents, usize)>) -> Self {
        Self { query, node: Node::new(Code::of(vector)), limit, documents }
    }

    fn wants(&self, document: u32) -> bool {
        self.documents.is_none_or(|(documents, _)| documents.contains(document))
    }
}

#[cfg(test)]
mod tests;
