//! A graph finds what a scan finds, or nearly; and what is not a graph is none.

use std::fs;

use super::*;

/// Vectors around a few centres, by a small generator of its own.
fn clustered(count: usize, dimension: usize) -> Vec<Vec<f32>> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..20).map(|_| (0..dimension).map(|_| next()).collect()).collect();
    (0..count).map(|n| centres[n % 20].iter().map(|number| number + 0.6 * next()).collect()).collect()
}

fn segment(vectors: &[Vec<f32>]) -> Segment {
    let points = vectors.iter().enumerate().map(|(id, vector)| (PointId(id as u128), Code::of(vector))).collect();
    let mut segment = Segment::new(Graph::build(points).unwrap());
    let nodes: Vec<(u32, PointId)> = segment.graph().points().map(|(node, id, ..)| (node, id)).collect();
    for (node, id) in nodes {
        segment.revive(node, (id.0 % 50) as u32);
    }
    segment
}

fn ids(segment: &Segment, walk: &Walk<'_>, scan: bool) -> Vec<u128> {
    let mut best = Best::new(walk.limit);
    if scan {
        segment.scan(walk, &mut best)
    } else {
        segment.search(walk, segment.live(), &mut best)
    }
    let mut ids: Vec<u128> = best.finish().iter().take(walk.limit).map(|guess| guess.id.0).collect();
    ids.sort_unstable();
    ids
}

/// Nearly all of the best are found by the graph, all of them where documents are few, and never what is dead.
#[test]
fn a_graph_finds_nearly_what_a_scan_finds() {
    let vectors = clustered(2_000, 32);
    let mut segment = segment(&vectors);
    for node in (0..segment.len() as u32).step_by(5) {
        segment.kill(node);
    }
    assert_eq!((segment.len(), segment.live()), (2_000, 1_600));
    let mut few = Documents::default();
    few.insert(7);
    let (mut found, mut wanted) = (0, 0);
    for vector in vectors.iter().step_by(40) {
        let query = Query::of(vector);
        let walk = Walk::new(vector, &query, 10, None);
        let (near, all) = (ids(&segment, &walk, false), ids(&segment, &walk, true));
        found += near.iter().filter(|id| all.contains(id)).count();
        wanted += all.len();
        let narrow = Walk::new(vector, &query, 10, Some((&few, 40)));
        assert_eq!(ids(&segment, &narrow, false), ids(&segment, &narrow, true));
        assert!(ids(&segment, &narrow, false).iter().all(|id| id % 50 == 7));
    }
    assert!(found * 100 >= wanted * 95, "{found} of {wanted}");
}

/// A file gives back the graph that was written, and anything else gives none.
#[test]
fn a_damaged_file_is_no_graph() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.segment");
    let whole = segment(&clustered(300, 8));
    assert!(read(&path).is_none());
    write(&path, whole.graph()).unwrap();
    let points = |graph: &Graph| graph.points().map(|point| format!("{point:?}")).collect::<Vec<_>>();
    assert_eq!(points(&read(&path).unwrap()), points(whole.graph()));
    let bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 50) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        assert!(read(&path).is_none(), "{at}");
    }
    for length in [0, 5, 30, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(read(&path).is_none(), "{length}");
    }
}
