//! The golden set: notes and queries whose answers people graded. The half `tune` chose how search ranks, the half `held` did
//! not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vault::documents::{Documents, PUSHED};
use vault::embed::cache::Cache;
use vault::embed::idle::Idle;
use vault::embed::{EmbedError, Embedder, Reach};
use vault::index::record::Privacy;
use vault::ingest::engine::{Reads, Source};
use vault::ingest::watch::WatchMode;
use vault::ingest::worker::Worker;
use vault::meaning::{FALL_BACK, Meanings, Setup, nudge};
use vault::measure::queries::{self, Graded};
use vault::measure::{Measures, mean, measure};
use vault::root::Root;
use vault::root::trees::Trees;
use vault::search::{self, Matching, Mode, Request};
use vault::vectors::Content;
use vault::vectors::local::LocalStore;

use super::folder;

/// Places that count.
const PLACES: usize = 10;
/// Queries that the set has at least.
const QUERIES_MIN: usize = 150;
/// To embed all notes without optimisation, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(300);

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden")
}

fn graded() -> Vec<Graded> {
    queries::read(&fs::read_to_string(golden().join("queries.jsonl")).unwrap()).unwrap()
}

/// Every graded note is there, no query comes twice, and the halves are as large, of each kind.
#[test]
fn the_set_is_whole() {
    let queries = graded();
    assert!(queries.len() >= QUERIES_MIN, "{}", queries.len());
    let mut seen = BTreeSet::new();
    let mut sizes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for graded in &queries {
        assert!(seen.insert(&graded.query), "{} comes twice", graded.query);
        for note in graded.grades.keys() {
            assert!(golden().join("vault").join(note).is_file(), "{note} of {}", graded.query);
        }
        *sizes.entry((graded.kind.as_deref().unwrap(), graded.half.as_deref().unwrap())).or_default() += 1;
    }
    for ((kind, half), size) in &sizes {
        let other = if *half == "held" { "tune" } else { "held" };
        assert_eq!(sizes.get(&(*kind, other)), Some(size), "{kind} {half}");
    }
}

/// The golden set, indexed by words and by meaning.
struct Indexed {
    // the threads end before the folder is removed
    meanings: Meanings,
    worker: Worker,
    _folder: tempfile::TempDir,
}

fn indexed() -> Indexed {
    let own = tempfile::tempdir().unwrap();
    let source = Source {
        files: Some(Arc::new(Trees::alone(Arc::new(Root::open(&golden().join("vault")).unwrap())))),
        reads: Reads::Notes,
        faults: Vec::new(),
        documents: Some(Arc::new(Documents::open(&own.path().join("documents.redb"), PUSHED).unwrap())),
        private: Vec::new(),
        folder: own.path().join("index"),
        watch: WatchMode::Scan,
        now_ms: || 0,
    };
    let (nudge, nudged) = nudge();
    let nudger = nudge.clone();
    let worker = Worker::start(source, move || nudger.send()).unwrap();
    worker.scan().unwrap();
    let model: Arc<dyn Embedder> = Arc::new(Idle::new(&folder(), 2).unwrap());
    let setup = Setup {
        shared: Arc::clone(worker.shared()),
        content: Content::Notes,
        owner: "golden".to_owned(),
        store: Arc::new(LocalStore::open(&own.path().join("vectors")).unwrap().0),
        store_reach: Reach::Local,
        upkeep: Box::new(|| ()),
        embedders: vec![Arc::new(move || Ok::<_, EmbedError>(Arc::clone(&model)))],
        fall_back: FALL_BACK,
        cache: Arc::new(Cache::open(&own.path().join("cache.redb"), 10_000).unwrap()),
        stamps: own.path().join("stamps.redb"),
        now_ms: || 0,
    };
    let meanings = Meanings::start(setup, nudge, nudged).unwrap();
    let end = Instant::now() + PATIENCE;
    let is_done = || {
        let status = meanings.status();
        status.of > 0 && status.documents == status.of
    };
    while !is_done() {
        assert!(Instant::now() < end, "{:#?}", meanings.status());
        // the pause of a poll
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Indexed { meanings, worker, _folder: own }
}

impl Indexed {
    fn measures(&self, queries: &[&Graded], mode: Mode) -> Measures {
        let ready = self.meanings.ready().unwrap();
        let of_query = |graded: &&Graded| {
            let (matching, limit, privacy) = (Matching::Any, PLACES, Privacy::Open);
            let request = Request { query: &graded.query, mode, matching, limit, privacy };
            let answer = search::search(&self.worker.shared().serving(), Ok(ready.meaning()), request).unwrap();
            assert_eq!(answer.mode, mode, "{:?}", answer.notices);
            let list: Vec<String> = answer.hits.into_iter().map(|hit| hit.path).collect();
            measure(&list, &graded.grades, PLACES).unwrap()
        };
        mean(&queries.iter().map(of_query).collect::<Vec<_>>()).unwrap()
    }
}

/// Words and meaning together find at least as well as each alone, in both halves.
#[test]
fn both_are_no_worse_than_each() {
    let (indexed, queries) = (indexed(), graded());
    for (part, queries) in queries::parts(&queries) {
        let [words, meaning, both] =
            [Mode::Keyword, Mode::Vector, Mode::Hybrid].map(|mode| indexed.measures(&queries, mode));
        for alone in [words, meaning] {
            assert!(both.ndcg >= alone.ndcg, "{part}: {both:?} {alone:?}");
            assert!(both.reciprocal_rank >= alone.reciprocal_rank, "{part}: {both:?} {alone:?}");
            assert!(both.recall >= alone.recall, "{part}: {both:?} {alone:?}");
        }
    }
}
