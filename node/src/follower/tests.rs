//! The thread over real storage: what it tells of a job, and how often it reads one.

use std::path::Path;
use std::sync::Mutex;

use cobs::adapter::ledger::{self, NewLedger};
use cobs::adapter::profile::{NewProfile, Unlock};
use cobs::adapter::writer::{Draft, Writer, WriterConfig, WriterHandle, Written};
use cobs::job::action::Create;
use cobs::job::spec::{Mode, Spec};

use super::*;

fn home(directory: &Path) -> NodeHome {
    let profile = NewProfile { alias: "node".into(), listen: Vec::new(), passphrase: None, key_seed: [7; 32] };
    let unlock = Unlock { environment: None, prompt: &|| None };
    NodeHome::open_or_create(directory, profile, &unlock).unwrap().0
}

fn writer(home: &NodeHome) -> WriterHandle {
    let (storage, signer) = (home.storage.clone(), home.signer.clone());
    let config =
        WriterConfig { storage, signer, home: home.home.path().to_owned(), passed: cobs::adapter::writer::nobody };
    Writer::spawn(config, Box::new(|_, _| {}), Box::new(|_| {})).unwrap()
}

/// A job of `home` that nobody has settled.
fn job(home: &NodeHome, writer: &WriterHandle, ledger: RepoId, nonce: u32) -> JobId {
    let nodes = vec![home.public_key];
    let create = Create {
        version: cobs::JOB_VERSION,
        spec: Spec::command(vec!["true".into()]),
        nonce: format!("{nonce:032x}"),
        queue: "default".into(),
        mode: Mode::Exclusive,
        arbiters: nodes.clone(),
        workers: nodes,
        grant: None,
    };
    match writer.write(Draft::Create { ledger, create: Box::new(create) }).unwrap() {
        Written::Operation(operation) => operation.job,
        other => panic!("{other:?}"),
    }
}

/// One life of the thread; `asks` is called with its handle, and what it told is given back.
fn life(home: &NodeHome, view: &Arc<View>, asks: impl FnOnce(&Follower)) -> Vec<Origin> {
    let (follower, thread) = Follower::new(home.clone(), Arc::clone(view));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let running = thread.spawn(move |seen| tell.lock().unwrap().push(seen.origin)).unwrap();
    asks(&follower);
    follower.ask(Ask::Stop);
    running.join().unwrap();
    let told = told.lock().unwrap();
    told.clone()
}

fn wait(follower: &Follower, ask: impl FnOnce(Box<dyn FnOnce() + Send>) -> Ask) {
    let (sender, receiver) = sync_channel(1);
    follower.ask(ask(Box::new(move || sender.send(()).unwrap())));
    receiver.recv().unwrap();
}

/// A job that an earlier life knew is told as of that life whenever it is first read, also when the scan at start
/// failed: its arbiter may have confirmed a run of it.
#[test]
fn a_job_of_an_earlier_life_is_told_so_after_a_failed_scan() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(&directory.path().join("home"));
    let ledger = ledger::create(&home, NewLedger { name: "ledger", description: "" }).unwrap();
    let job = job(&home, &writer(&home), ledger, 0);
    let view = Arc::new(View::in_memory());
    let scan = |follower: &Follower| wait(follower, |then| Ask::Scan { ledger, origin: Origin::Start, then });
    let changed = |follower: &Follower| wait(follower, |then| Ask::Written { ledger, job, then });
    assert_eq!(life(&home, &view, scan), [Origin::Start]);
    let told = life(&home, &view, |follower| {
        let name = ledger.to_string();
        let place = directory.path().join("home/storage").join(name.trim_start_matches("rad:"));
        let away = directory.path().join("away");
        std::fs::rename(&place, &away).unwrap();
        scan(follower);
        std::fs::rename(&away, &place).unwrap();
        changed(follower);
        changed(follower);
    });
    assert_eq!(told, [Origin::Start, Origin::Live]);
}

/// What moves into the archive stays in the view, and is neither read nor told again; what arrives archived is read.
#[test]
fn an_archived_job_stays_in_the_view_and_is_not_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let home = home(directory.path());
    let ledger = ledger::create(&home, NewLedger { name: "ledger", description: "x" }).unwrap();
    let view = Arc::new(View::in_memory());
    let scan = |follower: &Follower| wait(follower, |then| Ask::Scan { ledger, origin: Origin::Live, then });
    let writer = writer(&home);
    let archive = |jobs: &[JobId]| writer.write(Draft::Archive { ledger, jobs: jobs.to_vec() }).unwrap();
    let first = job(&home, &writer, ledger, 1);
    let told = life(&home, &view, |follower| {
        scan(follower);
        archive(&[first]);
        scan(follower);
        let second = job(&home, &writer, ledger, 2);
        archive(&[second]);
        scan(follower);
        scan(follower);
        for id in [first, second] {
            assert!(view.job(id).unwrap().is_some(), "{id} is not shown");
        }
    });
    assert_eq!(told, [Origin::Live, Origin::Live]);
}
