//! A process that is killed in the midst of its work loses nothing that the store has answered.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vault::vectors::local::LocalStore;
use vault::vectors::{Point, PointId, VectorStore};

use crate::contract::pages;
use crate::points::{Chance, notes, point};

/// Names the folder of the store, to the process that is killed.
const FOLDER: &str = "RHIZOME_TEST_KILLED_STORE";
/// How often a process is killed.
const KILLS: usize = 25;
/// Calls that a process makes at most before it is killed.
const CALLS_MAX: u32 = 40;
/// So few that graphs are built and dissolved all the time.
const SEAL_POINTS: usize = 40;

/// What a call does: some points come, every third time some go.
fn call(number: u64) -> (Vec<Point>, Vec<PointId>) {
    let points = (number * 7..number * 7 + 9).map(|n| point(n % 400, &format!("{}.md", number % 11))).collect();
    let gone = if number % 3 == 2 { (number * 5..number * 5 + 12).collect() } else { Vec::new() };
    (points, gone.into_iter().map(|n| point(n % 400, "").id).collect())
}

/// Points after the first calls.
fn after(calls: u64) -> Vec<Point> {
    let mut model: BTreeMap<PointId, Point> = BTreeMap::new();
    for number in 0..calls {
        apply(&mut model, number);
    }
    model.into_values().collect()
}

fn apply(model: &mut BTreeMap<PointId, Point>, number: u64) {
    let (points, gone) = call(number / 2);
    if number.is_multiple_of(2) {
        model.extend(points.into_iter().map(|point| (point.id, point)));
    } else {
        model.retain(|id, _| !gone.contains(id));
    }
}

/// The process that is killed: it says after each call how many have been answered.
#[test]
fn works_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "this test is told its part by the test that starts it")]
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = LocalStore::open_with(&folder, SEAL_POINTS).unwrap().0;
    let mut number: u64 = std::fs::read_to_string(folder.join("first")).unwrap().parse().unwrap();
    loop {
        let (points, gone) = call(number / 2);
        if number.is_multiple_of(2) {
            store.upsert(&notes("me"), &points).unwrap();
        } else {
            store.delete(&notes("me"), &gone).unwrap();
        }
        number += 1;
        println!("\nanswered {number}");
        store.maintain().unwrap();
    }
}

/// Starts the process, kills it after some calls, and answers with how many it has seen answered.
fn kill(folder: &Path, first: u64, chance: &mut Chance) -> u64 {
    std::fs::write(folder.join("first"), first.to_string()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::works_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let calls = chance.next() % CALLS_MAX;
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answered = first;
    let mut seen = 0;
    let mut killed = false;
    for line in lines.map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("answered ") {
            answered = number.parse().unwrap();
            seen += 1;
        }
        if seen >= calls && !killed {
            // somewhere in what follows the answer
            (0..chance.next() % 200_000).for_each(|n| {
                std::hint::black_box(n);
            });
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "it ended by itself after {answered}");
    answered
}

/// After each kill everything is there that was answered, and of the call that was not all or nothing.
#[test]
fn a_killed_store_has_all_that_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut chance = Chance::new(20_260_726);
    let mut number = 0;
    for _ in 0..KILLS {
        number = kill(folder.path(), number, &mut chance);
        let (store, aside) = LocalStore::open_with(folder.path(), SEAL_POINTS).unwrap();
        assert_eq!(aside, None);
        let points = pages(&store, &notes("me"), 1_000);
        if points != after(number) {
            number += 1;
            assert_eq!(points, after(number), "after {number} calls");
        }
        assert_eq!(store.count(&notes("me")).unwrap(), points.len() as u64);
        for point in points.iter().step_by(9) {
            let hit = &store.search(&notes("me"), &point.vector, 1, None).unwrap()[0];
            assert!(hit.score > 0.9999, "{hit:?}");
        }
    }
    assert!(number > KILLS as u64, "only {number} calls were made");
}
