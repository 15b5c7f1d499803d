//! How fast vectors are found, and how many of the nearest: `vector_speed [--quick] [URL..]`.
//!
//! Prints one JSON object a line: the store in process, scanned and in graphs, with vectors like those of texts (clustered)
//! and with random ones; or, where there are URLs, the
//! same questions to those stores.

#![expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments")]

use std::fs;
use std::time::Instant;

use vault::embed::EmbedderId;
use vault::vectors::check::cosine;
use vault::vectors::local::LocalStore;
use vault::vectors::{Collection, Content, POINTS_MAX, Point, PointId, VectorStore, remote};

const DIMENSION: usize = 384;
const QUERIES: usize = 200;
const HITS: usize = 10;
const SMALL: usize = 17_000;
const LARGE: usize = 100_000;

/// How vectors lie.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Around topics, which lie around themes, as those of texts do.
    Clustered,
    /// Anywhere: the hardest for a graph.
    Random,
}

/// Whether graphs are measured too, which take minutes to build.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sealed {
    /// They are.
    Too,
    /// They are not.
    No,
}

fn main() {
    let (options, urls): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let quick = options.iter().any(|option| option == "--quick");
    for url in &urls {
        ask_remote(url);
    }
    if !urls.is_empty() {
        return;
    }
    for kind in [Kind::Clustered, Kind::Random] {
        let (points, queries) = (points(kind, LARGE), queries(kind));
        for count in [SMALL, LARGE].into_iter().filter(|count| *count <= points.len()) {
            in_process(if quick { Sealed::No } else { Sealed::Too }, kind, &points[..count], &queries);
        }
    }
}

/// The same questions to a store of another product.
fn ask_remote(url: &str) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("there are threads");
    let url = url.parse().expect("the argument is the URL of a vector store");
    let store = remote::open(&url, runtime.handle().clone()).expect("the URL is of a store");
    for kind in [Kind::Clustered, Kind::Random] {
        let (points, queries) = (points(kind, SMALL), queries(kind));
        store.remove(&collection()).expect("the store answers");
        let started = Instant::now();
        fill(&*store, &points);
        let filled_s = started.elapsed().as_secs_f64();
        report(store.name(), kind, &points, &queries, &*store, &format!("\"fill_s\":{filled_s:.2}"));
        store.remove(&collection()).expect("the store answers");
    }
}

fn in_process(sealed: Sealed, kind: Kind, points: &[Point], queries: &[Vec<f32>]) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let before = resident_kib();
    let (store, _) = LocalStore::open_with(folder.path(), points.len()).expect("a new store opens");
    let started = Instant::now();
    fill(&store, points);
    let filled_s = started.elapsed().as_secs_f64();
    let memory_kib = resident_kib().saturating_sub(before);
    report("exact", kind, points, queries, &store, &format!("\"fill_s\":{filled_s:.2},\"memory_kib\":{memory_kib}"));
    if sealed == Sealed::No {
        return;
    }
    let started = Instant::now();
    store.maintain().expect("the disk has room");
    let built_s = started.elapsed().as_secs_f64();
    report("sealed", kind, points, queries, &store, &format!("\"build_s\":{built_s:.2}"));
    drop(store);
    let started = Instant::now();
    let _store = LocalStore::open(folder.path()).expect("it opens again");
    println!("{{\"count\":{},\"open_sealed_s\":{:.3}}}", points.len(), started.elapsed().as_secs_f64());
}

fn fill(store: &dyn VectorStore, points: &[Point]) {
    for points in points.chunks(POINTS_MAX) {
        store.upsert(&collection(), points).expect("the store takes points");
    }
}

fn report(name: &str, kind: Kind, points: &[Point], queries: &[Vec<f32>], store: &dyn VectorStore, more: &str) {
    let mut times_ms = Vec::new();
    let mut found = 0;
    for round in 0..5 {
        for query in queries {
            let started = Instant::now();
            let hits = store.search(&collection(), query, HITS, None).expect("the store searches");
            times_ms.push(started.elapsed().as_secs_f64() * 1e3);
            if round == 0 {
                let truth = nearest(points, query);
                found += hits.iter().filter(|hit| truth.contains(&hit.id)).count();
            }
        }
    }
    times_ms.sort_by(f64::total_cmp);
    let at = |share: f64| times_ms[((times_ms.len() - 1) as f64 * share) as usize];
    println!(
        "{{\"store\":\"{name}\",\"kind\":\"{kind:?}\",\"count\":{},\"p50_ms\":{:.3},\"p99_ms\":{:.3},\"min_ms\":{:.3},\"recall\":{:.4},{more}}}",
        points.len(),
        at(0.5),
        at(0.99),
        at(0.0),
        found as f64 / (queries.len() * HITS) as f64,
    );
}

fn nearest(points: &[Point], query: &[f32]) -> Vec<PointId> {
    let mut all: Vec<(f32, PointId)> = points.iter().map(|point| (cosine(query, &point.vector), point.id)).collect();
    all.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    all.into_iter().take(HITS).map(|(_, id)| id).collect()
}

fn collection() -> Collection {
    let embedder = EmbedderId { kind: "speed".to_owned(), model: "speed".to_owned(), dimension: DIMENSION };
    Collection { owner: "speed".to_owned(), content: Content::Notes, embedder }
}

/// A small generator; the same seed gives the same numbers.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// About normally spread.
    fn number(&mut self) -> f32 {
        (0..4).map(|_| (self.next() >> 40) as f32 / (1_u64 << 24) as f32 - 0.5).sum()
    }

    fn vector(&mut self) -> Vec<f32> {
        unit((0..DIMENSION).map(|_| self.number()).collect())
    }
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.into_iter().map(|number| number / length).collect()
}

fn mixed(centre: &[f32], spread: f32, chance: &mut Chance) -> Vec<f32> {
    let other = chance.vector();
    unit(centre.iter().zip(&other).map(|(centre, other)| centre + spread * other).collect())
}

fn vectors(kind: Kind, count: usize, chance: &mut Chance) -> Vec<Vec<f32>> {
    // the same topics for points and queries
    let mut fixed = Chance(77);
    let themes: Vec<Vec<f32>> = (0..40).map(|_| fixed.vector()).collect();
    let topics: Vec<Vec<f32>> = (0..2_000).map(|n| mixed(&themes[n % 40], 1.0, &mut fixed)).collect();
    (0..count)
        .map(|_| match kind {
            Kind::Clustered => {
                let topic = chance.next() as usize % topics.len();
                mixed(&topics[topic], 0.8, chance)
            }
            Kind::Random => chance.vector(),
        })
        .collect()
}

fn points(kind: Kind, count: usize) -> Vec<Point> {
    let mut chance = Chance(20_260_101);
    let vectors = vectors(kind, count, &mut chance).into_iter().enumerate();
    let point = |(n, vector): (usize, Vec<f32>)| {
        let id = PointId(u128::from(chance.next()) << 64 | n as u128);
        Point { id, document: format!("notes/{}.md", n / 4), digest: format!("{n:064x}"), vector }
    };
    vectors.map(point).collect()
}

fn queries(kind: Kind) -> Vec<Vec<f32>> {
    vectors(kind, QUERIES, &mut Chance(4_711))
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
