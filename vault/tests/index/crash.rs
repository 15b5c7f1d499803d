//! kill -9 of the process that indexes, at any moment.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use vault::documents::Document;
use vault::index::record::Privacy;
use vault::ingest::engine::Ingest;
use vault::ingest::watch::WatchMode;
use vault::ingest::worker::Worker;
use vault::path::VaultPath;

use crate::support::{Vault, source};

const CHILD: &str = "RHIZOME_TEST_CRASH";
/// Kills by `tests/run.sh --full`, and in every run.
const FULL_KILLS: u64 = 100;
const USUAL_KILLS: u64 = 25;
const NOTES: u64 = 200;
/// How long a child lives at most after what is waited for.
const MOMENT_MS: u64 = 60;
/// How long a child may take for one step, on the slowest disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// Not a test of its own: the process that is killed.
#[test]
#[expect(clippy::disallowed_methods, reason = "how the parent tells its child what to do")]
fn child() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let source = source(Path::new(&folder), Vec::new(), WatchMode::Events);
    let documents = source.documents.clone().unwrap();
    let worker = Worker::start(source, || ()).unwrap();
    for round in 0u64.. {
        let id = VaultPath::new(&format!("{}/{round}", std::process::id())).unwrap();
        let document = Document { id: id.clone(), text: format!("pushed {id}"), privacy: Privacy::Open };
        documents.put(&[document]).unwrap();
        worker.documents(vec![id.clone()]).unwrap();
        println!("acknowledged {id}");
        if round % 4 == 3 {
            worker.rebuild().unwrap();
        }
    }
}

/// A generator of the numbers of a run, by its seed (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn change(vault: &Vault, random: &mut Random) {
    for _ in 0..random.below(8) {
        let path = |number: u64| vault.root().join(format!("{}/{number}.md", number % 7));
        let number = random.below(NOTES);
        match random.below(4) {
            // it may not be there
            0 => drop(fs::remove_file(path(number))),
            1 => drop(fs::rename(path(number), path(random.below(NOTES)))),
            _ => vault
                .write(&format!("{}/{number}.md", number % 7), format!("note {} of {number}\n", random.below(1 << 40))),
        }
    }
}

/// What a child was killed in is, after the next scan, the index of what is there; nothing acknowledged is lost, and what
/// was indexed before is not read again.
#[test]
#[expect(clippy::disallowed_methods, reason = "tests/run.sh tells how much it wants")]
fn kill_nine_leaves_an_index_that_is_right() {
    let kills = if std::env::var_os("RHIZOME_TESTS_FULL").is_some() { FULL_KILLS } else { USUAL_KILLS };
    let seed = 20_261_126;
    let mut random = Random(seed);
    let vault = Vault::new();
    let folder = vault.index().parent().unwrap().to_owned();
    for number in 0..NOTES {
        vault.write(&format!("{}/{number}.md", number % 7), format!("note of {number}\n"));
    }
    let mut acknowledged: Vec<String> = Vec::new();
    let mut kept = 0;
    for kill in 0..kills {
        change(&vault, &mut random);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture"])
            .env(CHILD, &folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (sender, said) = channel();
        let pushed = lines.filter(|line| line.starts_with("acknowledged "));
        let reader = thread::spawn(move || pushed.for_each(|line| sender.send(line).expect("the test listens")));
        // a child is killed a moment after it has done so much, or before, while its files change
        for _ in 0..random.below(3) {
            acknowledged.push(said.recv_timeout(PATIENCE).unwrap());
            change(&vault, &mut random);
        }
        acknowledged.extend(said.recv_timeout(Duration::from_millis(random.below(MOMENT_MS))));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        acknowledged.extend(said.try_iter());
        kept += u64::from(vault.index().join("current").exists());
        check(&vault, &folder, &acknowledged, kill);
    }
    assert!(kept > kills / 2, "{kept} of {kills} had an index before");
    assert!(acknowledged.len() as u64 > kills / 2, "{} documents were pushed", acknowledged.len());
}

fn check(vault: &Vault, folder: &Path, acknowledged: &[String], kill: u64) {
    let source = source(folder, Vec::new(), WatchMode::Events);
    let documents = source.documents.clone().unwrap();
    let (mut ingest, shared) = Ingest::open(source).unwrap();
    ingest.scan().unwrap();
    let serving = shared.serving();
    let mut indexed: BTreeMap<String, String> = BTreeMap::new();
    for (_, entry) in serving.catalog().entries() {
        let (record, text) = serving.words.document(&entry.name).unwrap().unwrap();
        assert_eq!((&record.digest, record.passages.len()), (&entry.digest, entry.passages.len()), "kill {kill}");
        indexed.insert(entry.name.clone(), text);
    }
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for number in 0..NOTES {
        let path = format!("{}/{number}.md", number % 7);
        if let Ok(text) = fs::read_to_string(vault.root().join(&path)) {
            expected.insert(path, text);
        }
    }
    for line in acknowledged.iter().filter_map(|line| line.strip_prefix("acknowledged ")) {
        let id = VaultPath::new(line).unwrap();
        assert_eq!(
            documents.get(&id).unwrap().map(|document| document.text),
            Some(format!("pushed {id}")),
            "kill {kill}"
        );
    }
    for id in documents.ids(None, usize::MAX).unwrap() {
        expected.insert(documents.name(&id), documents.get(&id).unwrap().unwrap().text);
    }
    assert_eq!(indexed, expected, "kill {kill}");
    let words = serving.words.find(&[vault::index::words::Wanted::Words("note".to_owned())], 1_000, None).unwrap();
    let notes = expected.keys().filter(|name| !name.starts_with('/')).count();
    assert_eq!(words.len(), notes, "kill {kill}: each note is found once");
}
