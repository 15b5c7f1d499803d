//! A machine that loses its power at each sync of a job's life: a home is made of what was synced by then, and a node
//! starts on it.
//!
//! A tracer stops whatever process of the node has synced anything, daemon, git or supervisor, and the disk is copied
//! while all of them stand still. Nobody else has heard of what a copy lacks, so each is a machine of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::life::WORDS;
use crate::support::node::{Node, text};
use crate::support::process::Process;
use crate::support::witness::Witness;
use crate::support::{disk, fault, full, remains, skip, wait};

const TEST: &str = "a_home_is_whole_at_each_sync_of_a_job";
/// What is traced.
const SYNCS: &str = "fsync,fdatasync,syncfs";
/// The key of the job whose life it is, and its name for the witness.
const KEY: &str = "life";
/// Fewer syncs are not all of a job's life: its root, its start, its report and its end each need some.
const SYNCS_MIN: usize = 10;
/// Without a sync for so long, whoever is stopped is let go on.
const QUIET: Duration = Duration::from_secs(1);

/// What was told by a moment at which the power may be cut.
#[derive(Clone, Default, Debug)]
struct Told {
    /// The job's id, once its submission was answered.
    id: Option<String>,
    /// How often it began.
    began: usize,
    /// The job as it was shown, once it was settled and its log at home.
    settled: Option<Value>,
}

struct Moment {
    disk: PathBuf,
    told: Told,
}

/// What was told stands, nothing starts a second time, and the node works on.
#[test]
fn a_home_is_whole_at_each_sync_of_a_job() {
    // by the first seed nothing is on the disk that nobody had synced
    for seed in if full() { 0..=8 } else { 0..=1 } {
        let witness = Witness::new();
        let settings = [witness.setting(), ("scheduler.lease_ms", "2000")];
        let Some(mut node) = Node::on_disk(TEST, "solo", &settings, None) else { return };
        let job = witness.job(KEY, "echo one; sleep 0.3; echo two");
        let mut submit = vec!["run", "--detach", "--key", KEY];
        submit.extend(job.iter().map(String::as_str));
        let Some(moments) = life(&node, &witness, &submit, seed) else { return };
        assert!(moments.len() >= SYNCS_MIN, "{} syncs are too few to be all of a job's life", moments.len());
        for (number, moment) in moments.into_iter().enumerate() {
            let Told { id, began, settled } = &moment.told;
            println!("seed {seed}, sync {number}: {id:?}, began {began}, settled {}", settled.is_some());
            find(&mut node, &moment.disk);
            stands(&node, &witness, &submit, &moment.told);
        }
    }
}

/// Goes through a job's life, and gives every moment of it at which something had just been synced, and its end.
fn life(node: &Node, witness: &Witness, submit: &[&str], seed: u64) -> Option<Vec<Moment>> {
    let log = node.home.join("syncs.log");
    let mut tracer = Command::new("strace");
    tracer.args(["-f", "-qq", "-e", &format!("trace={SYNCS}"), "-e", &format!("inject={SYNCS}:signal=STOP")]);
    tracer.arg("-o").arg(&log).args(["-p", &node.daemon().id().to_string()]);
    let mut tracer = Process::start(&node.home, "tracer", &mut tracer);
    wait::until("the daemon is traced", wait::LIMIT, || {
        (tracer.ended() || is_traced(node.daemon().id())).then_some(())
    });
    if tracer.ended() {
        skip::skip(TEST, "a process cannot be traced");
        return None;
    }
    let told = Mutex::new(Told::default());
    let mut random = Random(seed);
    let mut moments = Vec::new();
    thread::scope(|scope| {
        let life = scope.spawn(|| {
            let id = node.cli(submit).ok().trim().to_owned();
            told.lock().unwrap().id = Some(id.clone());
            let job = node.until(&id, "its log is at home", wait::LIMIT * 2, |job| {
                job["status"] == "settled" && job["logIsLocal"] == true
            });
            told.lock().unwrap().settled = Some(job);
        });
        let others = || node.home.processes().into_iter().filter(|pid| *pid != tracer.id());
        let mut seen = 0;
        loop {
            let found = wait::poll(QUIET, || Some(syncs(&log)).filter(|now| *now > seen));
            if let Some(now) = found {
                seen = now;
                // told by now, so before the disk is as it is copied
                let mut told = told.lock().unwrap().clone();
                others().for_each(|pid| fault::signal(pid, Signal::STOP));
                told.began = witness.of(KEY).began;
                let disk =
                    node.disk.as_ref().expect("it has one").found(&format!("{}", moments.len()), || random.kept());
                moments.push(Moment { disk, told });
            } else if life.is_finished() {
                break;
            }
            others().for_each(|pid| fault::signal(pid, Signal::CONT));
        }
        life.join().expect("the job comes to its end");
    });
    let disk = node.disk.as_ref().expect("it has one").found("end", || random.kept());
    moments.push(Moment { disk, told: Told { began: 1, ..told.into_inner().unwrap() } });
    Some(moments)
}

fn is_traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

fn syncs(log: &std::path::Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().lines().filter(|line| line.contains(" = 0")).count()
}

/// Switches the machine off and starts it with what was found on its disk.
fn find(node: &mut Node, found: &std::path::Path) {
    let disk = node.disk.take().expect("it has one");
    node.kill();
    fault::kill_all(&node.home);
    disk.holds(found);
    node.disk = Some(disk);
    disk::of_another_boot(&node.place().join("rhizome"));
    node.up();
}

/// What was told before the power was cut holds on the machine that was found after it.
fn stands(node: &Node, witness: &Witness, submit: &[&str], told: &Told) {
    let before = witness.of(KEY);
    let known: BTreeMap<String, Value> = node.all_jobs().expect("it answers");
    assert_eq!(node.json(&["status"])["problems"], json!([]));
    let id = node.cli(submit).ok().trim().to_owned();
    if let Some(promised) = &told.id {
        assert!(known.contains_key(promised), "an acknowledged job is gone: {known:?}");
        assert_eq!(id, *promised, "its key makes another");
    }
    let job = node.settled(&id);
    if let Some(settled) = &told.settled {
        assert_eq!((&job["outcome"], &job["state"]["settled"]), (&settled["outcome"], &settled["state"]["settled"]));
    }
    let after = witness.of(KEY);
    assert_eq!(after.second, 0, "{job:#}");
    assert!(after.began - before.began <= usize::from(told.began == 0), "it began again: {job:#}");
    if job["outcome"] == "succeeded" {
        node.until(&id, "its log is at home", wait::LIMIT, |job| job["logIsLocal"] == true);
        assert_eq!(node.cli(&["job", "logs", &id]).ok(), WORDS);
    } else {
        // it had begun, or was just to: the machine that lost its power cannot know
        assert_eq!(job["outcome"], "lost", "{job:#}");
    }
    let next = node.submit(&["--", "true"]);
    assert_eq!(text(&node.settled(&next), "/outcome"), "succeeded");
    remains::nothing_of(node, &[&id, &next]);
}

/// Chooses what is kept of what nobody had synced: nothing by the first seed.
struct Random(u64);

impl Random {
    fn kept(&mut self) -> bool {
        if self.0 == 0 {
            return false;
        }
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // the higher bits are the better ones
        self.0 >> 62 == 0
    }
}
