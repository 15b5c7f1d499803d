//! Vectors follow what is indexed: each passage is embedded once, by whoever may see it, and searched only with its own
//! embedder.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use vault::embed::cache::Cache;
use vault::embed::{EmbedError, Embedder, EmbedderId, Reach};
use vault::index::record::Privacy;
use vault::meaning::{MeaningStatus, Meanings, Nudge, Open, Setup, nudge};
use vault::search::{self, Matching, Mode, Request};
use vault::vectors::local::LocalStore;
use vault::vectors::{Content, VectorStore as _};

use crate::support::{Vault, now_ms};

const OWNER: &str = "tester";

/// Embeds by counting letters. It can be away, and can be held.
struct Letters {
    id: EmbedderId,
    reach: Reach,
    away: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
    seen: Mutex<Vec<String>>,
}

impl Letters {
    fn new(model: &str, reach: Reach) -> Arc<Self> {
        let id = EmbedderId { kind: "letters".to_owned(), model: model.to_owned(), dimension: 26 };
        let (held, released, seen) = (Mutex::new(false), Condvar::new(), Mutex::default());
        Arc::new(Self { id, reach, away: AtomicBool::new(false), held, released, seen })
    }

    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.released.notify_all();
    }

    fn go(&self, away: bool) {
        self.away.store(away, Ordering::Release);
    }

    fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn open(self: &Arc<Self>) -> Open {
        let embedder = Arc::clone(self);
        Arc::new(move || {
            embedder.asked()?;
            Ok(Arc::clone(&embedder) as Arc<dyn Embedder>)
        })
    }

    fn asked(&self) -> Result<(), EmbedError> {
        let away = || EmbedError::Away { embedder: self.id.to_string(), why: "it was told to".to_owned() };
        if self.away.load(Ordering::Acquire) { Err(away()) } else { Ok(()) }
    }
}

impl Embedder for Letters {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.asked()?;
        drop(self.released.wait_while(self.held.lock().unwrap(), |held| *held).unwrap());
        self.seen.lock().unwrap().extend(texts.iter().map(|text| (*text).to_owned()));
        Ok(texts.iter().map(|text| vector(text)).collect())
    }
}

fn vector(text: &str) -> Vec<f32> {
    let mut vector = [0.01f32; 26];
    for letter in text.bytes().filter(u8::is_ascii_lowercase) {
        vector[usize::from(letter - b'a')] += 1.0;
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.iter().map(|number| number / length).collect()
}

/// A vault whose passages have vectors.
struct Meant {
    vault: Vault,
    folder: TempDir,
    store: Arc<LocalStore>,
    cache: Arc<Cache>,
    store_reach: Reach,
    kept: Option<(Meanings, Nudge)>,
}

impl Meant {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let (store, _) = LocalStore::open(&folder.path().join("vectors")).unwrap();
        let cache = Cache::open(&folder.path().join("cache.redb"), 1_000).unwrap();
        Self {
            vault: Vault::new(),
            store: Arc::new(store),
            cache: Arc::new(cache),
            store_reach: Reach::Local,
            folder,
            kept: None,
        }
    }

    fn stamps(&self) -> PathBuf {
        self.folder.path().join("stamps.redb")
    }

    /// Begins to keep vectors, in place of who did before.
    fn start(&mut self, embedders: &[&Arc<Letters>], fall_back: Duration) {
        self.kept = None;
        let (nudge, nudged) = nudge();
        let setup = Setup {
            shared: Arc::clone(self.vault.worker().shared()),
            content: Content::Notes,
            owner: OWNER.to_owned(),
            store: Arc::clone(&self.store) as _,
            store_reach: self.store_reach,
            upkeep: Box::new(|| ()),
            embedders: embedders.iter().map(|embedder| embedder.open()).collect(),
            fall_back,
            cache: Arc::clone(&self.cache),
            stamps: self.stamps(),
            now_ms,
        };
        self.kept = Some((Meanings::start(setup, nudge.clone(), nudged).unwrap(), nudge));
    }

    fn meanings(&self) -> &Meanings {
        &self.kept.as_ref().unwrap().0
    }

    fn status(&self) -> MeaningStatus {
        self.meanings().status()
    }

    /// Waits until something is so; whoever indexes would tell of each change.
    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        self.vault.until(&format!("{what}: {:#?}", self.status()), |_| {
            self.kept.as_ref().unwrap().1.send();
            is_so(self)
        });
    }

    /// Waits until the vectors are those of just these documents' passages, and all is well.
    fn until_kept(&self, documents: &[&str]) {
        self.until(&format!("{documents:?} have their vectors"), |meant| {
            let status = meant.status();
            status.failure.is_none()
                && status.building.is_none()
                && status.documents == status.of
                && meant.documents() == documents.iter().map(|name| (*name).to_owned()).collect()
        });
    }

    /// The documents that the store has vectors of, in the collection that is searched.
    fn documents(&self) -> BTreeSet<String> {
        let Some(ready) = self.meanings().ready() else { return BTreeSet::new() };
        let points = self.store.page(&ready.collection, None, 1_000).unwrap();
        points.into_iter().map(|point| point.document).collect()
    }

    fn collections(&self) -> Vec<String> {
        self.store.collections(OWNER).unwrap().iter().map(ToString::to_string).collect()
    }

    /// What is nearest, or why nothing is compared.
    fn nearest(&self, query: &str) -> Result<String, String> {
        let ready = self.meanings().ready();
        let meaning = ready.as_ref().map(vault::meaning::Ready::meaning).ok_or_else(|| self.meanings().missing());
        let (mode, matching, privacy) = (Mode::Vector, Matching::Any, Privacy::Open);
        let request = Request { query, mode, matching, limit: 1, privacy };
        let answer = search::search(&self.vault.serving(), meaning, request).unwrap();
        if answer.mode == Mode::Vector { Ok(answer.hits[0].path.clone()) } else { Err(answer.notices[0].clone()) }
    }
}

const NEVER: Duration = Duration::from_secs(3_600);

/// A passage is embedded once: an edit embeds what it changed, a new name and a restart embed nothing, and what went is
/// forgotten.
#[test]
fn a_passage_is_embedded_once() {
    let mut meant = Meant::new();
    let letters = Letters::new("one", Reach::Local);
    meant.vault.write("a.md", "# One\nzzzz\n\n# Two\nyyyy\n");
    meant.vault.write("b.md", "xxxx\n");
    meant.vault.start();
    meant.start(&[&letters], NEVER);
    meant.until_kept(&["a.md", "b.md"]);
    assert_eq!((meant.status().embedded, letters.take_seen().len()), (3, 3));
    assert_eq!(meant.nearest("xx").unwrap(), "b.md");
    assert_eq!(letters.take_seen(), ["xx"]);

    meant.vault.write("a.md", "# One\nzzzz\n\n# Two\nwwww\n");
    meant.until("the edit is embedded", |meant| meant.status().embedded == 4);
    meant.until_kept(&["a.md", "b.md"]);
    assert_eq!(letters.take_seen(), ["# Two\nwwww"]);
    let ready = meant.meanings().ready().unwrap();
    assert_eq!(meant.store.count(&ready.collection).unwrap(), 3, "what was there before is forgotten");

    fs::rename(meant.vault.root().join("a.md"), meant.vault.root().join("c.md")).unwrap();
    meant.until_kept(&["b.md", "c.md"]);
    fs::remove_file(meant.vault.root().join("b.md")).unwrap();
    meant.until_kept(&["c.md"]);
    meant.start(&[&letters], NEVER);
    meant.until_kept(&["c.md"]);
    // as after a crash between the vectors and the note of them
    meant.kept = None;
    fs::remove_file(meant.stamps()).unwrap();
    meant.start(&[&letters], NEVER);
    meant.until_kept(&["c.md"]);
    // and where that note is damaged
    meant.kept = None;
    fs::write(meant.stamps(), "no stamps").unwrap();
    meant.start(&[&letters], NEVER);
    meant.until_kept(&["c.md"]);
    assert_eq!((meant.status().embedded, letters.take_seen().len()), (0, 0));
}

/// While an embedder is away search says so; what was missed is embedded when it is back.
#[test]
fn an_embedder_goes_and_comes_back() {
    let mut meant = Meant::new();
    let letters = Letters::new("one", Reach::Local);
    letters.go(true);
    meant.vault.write("a.md", "zzzz\n");
    meant.vault.start();
    meant.start(&[&letters], NEVER);
    meant.until("it says why", |meant| meant.status().failure.is_some());
    let why = meant.nearest("zz").unwrap_err();
    assert_eq!(why, "by words only: the embedder letters/one/26 is away: it was told to");
    letters.go(false);
    meant.until_kept(&["a.md"]);
    letters.go(true);
    meant.vault.write("b.md", "yyyy\n");
    meant.until("it says why again", |meant| meant.status().failure.is_some());
    assert!(meant.nearest("zz").unwrap_err().contains("is away"));
    letters.go(false);
    meant.until_kept(&["a.md", "b.md"]);
    assert_eq!(meant.nearest("yy").unwrap(), "b.md");
}

/// Another embedder's collection is built beside the first, which is searched until the other has everything.
#[test]
fn another_embedder_is_built_beside() {
    let mut meant = Meant::new();
    let [one, two] = ["one", "two"].map(|model| Letters::new(model, Reach::Local));
    meant.vault.write("a.md", "zzzz\n");
    meant.vault.start();
    meant.start(&[&one], NEVER);
    meant.until_kept(&["a.md"]);
    two.hold(true);
    meant.start(&[&two, &one], NEVER);
    meant.until("it is built", |meant| meant.status().building.is_some());
    meant.until("the first is searched", |meant| meant.meanings().ready().is_some());
    assert_eq!(meant.nearest("zz").unwrap(), "a.md");
    assert_eq!(one.take_seen().last().unwrap(), "zz");
    two.hold(false);
    meant.until("the other is searched", |meant| meant.collections() == [format!("{OWNER}/notes/letters/two/26")]);
    meant.until_kept(&["a.md"]);
    two.take_seen();
    assert_eq!(meant.nearest("zz").unwrap(), "a.md");
    assert_eq!((two.take_seen().len(), one.take_seen().len()), (1, 0), "a query uses its collection's embedder only");

    // the next one takes its place only when it has been away for so long, and only where it is there
    two.go(true);
    meant.start(&[&two, &one], NEVER);
    meant.until("it says why", |meant| meant.status().failure.is_some());
    assert_eq!(meant.collections().len(), 1);
    meant.start(&[&two, &one], Duration::ZERO);
    meant.until("the first is back", |meant| meant.collections() == [format!("{OWNER}/notes/letters/one/26")]);
    meant.until_kept(&["a.md"]);
}

/// What is private is embedded on this machine alone: not by an embedder elsewhere, and its vectors go when it becomes
/// private.
#[test]
fn what_is_private_stays_here() {
    let mut meant = Meant::new();
    let [here, elsewhere] = [("here", Reach::Local), ("elsewhere", Reach::Remote)].map(|(m, r)| Letters::new(m, r));
    meant.vault.private = vec!["Diary/".to_owned()];
    meant.vault.write("Diary/a.md", "marker of a folder\n");
    meant.vault.write("b.md", "---\nprivacy: private\n---\nmarker of a note\n");
    meant.vault.write("c.md", "open\n");
    meant.vault.write("d.md", "turns\n");
    meant.vault.start();
    meant.start(&[&elsewhere], NEVER);
    meant.until_kept(&["c.md", "d.md"]);
    assert_eq!(meant.status().private, 2);
    meant.vault.write("d.md", "---\nprivacy: private\n---\nturns\n");
    meant.until_kept(&["c.md"]);
    let seen = elsewhere.take_seen();
    assert!(!seen.iter().any(|text| text.contains("marker")), "{seen:?}");
    let private =
        Request { query: "marker", mode: Mode::Hybrid, matching: Matching::Any, limit: 5, privacy: Privacy::Private };
    let ready = meant.meanings().ready().unwrap();
    let answer = search::search(&meant.vault.serving(), Ok(ready.meaning()), private).unwrap();
    assert!(answer.notices[0].contains("the query is private"), "{:?}", answer.notices);
    assert_eq!(elsewhere.take_seen().len(), 0);
    // nor does it go to a store elsewhere
    meant.store_reach = Reach::Remote;
    meant.start(&[&here], NEVER);
    meant.until_kept(&["c.md"]);
    let answer =
        search::search(&meant.vault.serving(), Ok(meant.meanings().ready().unwrap().meaning()), private).unwrap();
    assert!(answer.notices[0].contains("the query is private, and in process is"), "{:?}", answer.notices);
    meant.store_reach = Reach::Local;
    meant.start(&[&here], NEVER);
    meant.until_kept(&["Diary/a.md", "b.md", "c.md", "d.md"]);
    assert!(here.take_seen().iter().any(|text| text.contains("marker")));
}

/// A note that becomes private while others are embedded is not embedded any more.
#[test]
fn what_becomes_private_meanwhile_stays_here() {
    let mut meant = Meant::new();
    let elsewhere = Letters::new("elsewhere", Reach::Remote);
    // more than one batch, of which the last note is the last
    for number in 0..200 {
        meant.vault.write(&format!("n{number:03}.md"), format!("number {number}\n"));
    }
    meant.vault.write("z.md", "a late marker\n");
    meant.vault.start();
    elsewhere.hold(true);
    meant.start(&[&elsewhere], NEVER);
    meant.until("it has begun", |meant| meant.status().of == 201);
    meant.vault.write("z.md", "---\nprivacy: private\n---\na late marker\n");
    meant.until("the index knows", |meant| {
        meant.vault.serving().catalog().named("z.md").unwrap().privacy == Privacy::Private
    });
    elsewhere.hold(false);
    meant.until("all others are kept", |meant| meant.status().of == 200 && meant.documents().len() == 200);
    let seen = elsewhere.take_seen();
    assert!(!seen.iter().any(|text| text.contains("marker")), "it was sent");
}
