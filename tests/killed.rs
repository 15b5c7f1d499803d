//! What a crash leaves whole: daemons and supervisors killed at each step of a job's life, before and after each durable
//! write, and started again.
//!
//! P1: one settled result, the same on both nodes. P2: the witness. P4: what was acknowledged is there. And nothing is
//! left of the run: no process, no control group, no half directory. A part of the table runs by default; all of it when
//! `RHIZOME_TESTS_FULL` is set, as `tests/run.sh --full` does.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::node::Node;
use crate::support::process::Process;
use crate::support::witness::Witness;
use crate::support::{fault, full, remains, wait};

/// A lease by which a debug daemon on a busy machine is up again, and which a test can outwait.
const LEASE: Duration = Duration::from_secs(5);
/// The arbiter's wait for a lease, a fifth more and a second, twice, and what a busy machine adds.
const SETTLED: Duration = Duration::from_secs(40);
/// Pairs of nodes that a test runs its cases on at once.
const PAIRS: usize = 2;
/// The words of a job that ran to its end.
const WORDS: &str = "one\ntwo\n";

/// Who is killed while a process stands at the point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victims {
    /// The daemon that passes the point, or whose supervisor does.
    Daemon,
    /// The daemons of both nodes.
    Both,
    /// The run's supervisor.
    Supervisor,
    /// Daemon and supervisor together.
    Together,
}

/// How a job comes about: both have `ann` as the arbiter and run on `bob`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Submitted by `ann`, with the grant in its root.
    Granted,
    /// Submitted by `bob`, who bids, and is granted it by `ann`.
    Bid,
}

/// Whose process passes a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Ann,
    Bob,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    point: &'static str,
    at: At,
    way: Way,
    victims: Victims,
}

/// Two nodes that go through cases.
struct Pair {
    witness: Witness,
    ann: Node,
    bob: Node,
    count: usize,
}

impl Pair {
    fn start() -> Self {
        let witness = Witness::new();
        let lease = LEASE.as_millis().to_string();
        let settings = [witness.setting(), ("scheduler.lease_ms", lease.as_str())];
        let ann = Node::start_with("ann", &settings);
        let bob = Node::join("bob", &settings, &ann, "submit,run,arbitrate");
        Self { witness, ann, bob, count: 0 }
    }

    fn node(&mut self, at: At) -> &mut Node {
        match at {
            At::Ann => &mut self.ann,
            At::Bob => &mut self.bob,
        }
    }

    /// One job, whose life is broken at the point.
    fn survives(&mut self, case: Case) {
        self.count += 1;
        let name = format!("{}-{}", case.point, self.count);
        let job = self.witness.job(&name, "echo one; sleep 0.3; echo two");
        let author = if case.way == Way::Granted { At::Ann } else { At::Bob };
        let mut submit = vec!["run", "--detach", "--key", &name, "--on", "bob", "--arbiter", "ann"];
        submit.extend(job.iter().map(String::as_str));
        fault::arm(&self.node(case.at).home, case.point);
        let node = self.node(author);
        let mut first = Process::start(&node.home, &format!("submit-{name}"), &mut node.command(&submit));
        fault::reached(&self.node(case.at).home, case.point);
        let away = self.kill(case);
        let promised = first.wait(wait::LIMIT).success().then(|| first.output().trim().to_owned());
        let node = self.node(author);
        let id = node.cli(&submit).ok().trim().to_owned();
        assert!(promised.as_ref().is_none_or(|promised| *promised == id), "{case:?}: {promised:?}, then {id}");
        let job = self.settled(&id, case);
        let told = self.witness.of(&name);
        assert!(told.second == 0 && told.began <= 1, "{case:?}: {told:?} {job:#}");
        match job["outcome"].as_str() {
            Some("succeeded") => self.is_whole(author, &id, case),
            Some("lost") => assert!(may_be_lost(case) || away > LEASE, "{case:?}: lost after {away:?}: {job:#}"),
            // the supervisor died before it was ready, and its daemon lives
            Some("failed") if may_be_lost(case) => {
                assert_eq!(job.pointer("/runOutcome/type"), Some(&json!("couldNotStart")), "{case:?}: {job:#}");
                assert_eq!(told.began, 0, "{case:?}: {job:#}");
            }
            other => panic!("{case:?}: {other:?}: {job:#}"),
        }
        for node in [&self.ann, &self.bob] {
            remains::nothing(node, &id);
        }
    }

    /// Kills the victims, starts the daemons again, and says how long they were away.
    fn kill(&mut self, case: Case) -> Duration {
        let dead = match case.victims {
            Victims::Daemon | Victims::Together => vec![case.at],
            Victims::Both => vec![At::Ann, At::Bob],
            Victims::Supervisor => Vec::new(),
        };
        let began = Instant::now();
        // the stopped one first: the others do not learn of it
        for at in &dead {
            self.node(*at).daemon().signal(Signal::KILL);
        }
        if matches!(case.victims, Victims::Supervisor | Victims::Together) {
            fault::kill_named(&self.bob.home, fault::SUPERVISOR);
        }
        for at in &dead {
            self.node(*at).kill();
        }
        for at in dead {
            self.node(at).up();
        }
        for node in [&self.ann, &self.bob] {
            fault::go_on(&node.home);
        }
        began.elapsed()
    }

    /// Waits until both see one and the same settle.
    fn settled(&self, id: &str, case: Case) -> Value {
        let what = format!("{case:?} is settled");
        let [ann, bob] = [&self.ann, &self.bob]
            .map(|node| node.until(id, &what, SETTLED, |job| job["status"] == "settled" && job["outcome"].is_string()));
        for part in ["/state/settled", "/outcome"] {
            assert_eq!(ann.pointer(part), bob.pointer(part), "{case:?}: {part}");
        }
        assert!(ann.pointer("/state/settled").is_some_and(Value::is_object), "{ann:#}");
        ann
    }

    /// A job that ended well ran once, and all it said is at its author.
    fn is_whole(&mut self, author: At, id: &str, case: Case) {
        let node = self.node(author);
        let job = node.until(id, "the log is home", wait::LIMIT, |job| job["logIsLocal"] == true);
        assert_eq!(job["exitCode"], json!(0), "{case:?}: {job:#}");
        assert_eq!(node.cli(&["job", "logs", id]).ok(), WORDS, "{case:?}");
        assert_eq!((self.ann.runs(id), self.bob.runs(id)), (0, 1), "{case:?}");
    }
}

/// Whether a case may lose its run: one whose supervisor is killed, or whose daemon dies between the record of the start
/// and a supervisor that can be found.
fn may_be_lost(case: Case) -> bool {
    let between = ["start.recorded", "request.written"].contains(&case.point);
    matches!(case.victims, Victims::Supervisor | Victims::Together) || between
}

/// Takes every case once; those that are not `default` only in a full run.
#[track_caller]
fn all(points: &[&'static str], (at, way): (At, Way), victims: &[Victims], default: &[(&str, Victims)]) {
    let cases = points.iter().flat_map(|point| victims.iter().map(|victims| (*point, *victims)));
    let wanted = |case: &(&'static str, Victims)| full() || default.contains(case);
    let cases: Vec<Case> = cases.filter(wanted).map(|(point, victims)| Case { point, at, way, victims }).collect();
    assert!(full() || cases.len() == default.len(), "{cases:?}");
    let pairs = PAIRS.min(cases.len());
    let cases = Mutex::new(cases.into_iter());
    thread::scope(|scope| {
        for _ in 0..pairs {
            scope.spawn(|| {
                let mut pair = Pair::start();
                // taken before it is gone through, so that the other pair is not held up
                let next = || cases.lock().expect("a failed case ends the test").next();
                while let Some(case) = next() {
                    pair.survives(case);
                }
                pair.witness.holds();
                crate::pair::same_jobs(&pair.ann, &pair.bob);
            });
        }
    });
}

use Victims::{Both, Daemon, Supervisor, Together};

/// The daemon of author and arbiter, by itself and with the worker's.
#[test]
fn at_each_step_of_the_arbiter() {
    let points = [
        "key.reserved",
        "create.asked",
        "create.stored",
        "create.signed",
        "create.synced",
        "create.announced",
        "key.submitted",
        "key.finished",
        "settle.asked",
        "settle.stored",
        "settle.signed",
        "settle.synced",
        "settle.announced",
        "log.copied",
        "log.home",
    ];
    let default = [
        ("create.stored", Daemon),
        ("create.synced", Both),
        ("key.submitted", Daemon),
        ("settle.asked", Both),
        ("settle.signed", Daemon),
        ("log.copied", Daemon),
    ];
    all(&points, (At::Ann, Way::Granted), &[Daemon, Both], &default);
}

/// The daemon of the worker, by itself, with the arbiter's, and with the run's supervisor.
#[test]
fn at_each_step_of_the_worker() {
    let points = [
        "start.asked",
        "start.recorded",
        "request.written",
        "run.armed",
        "run.ended",
        "done.asked",
        "done.stored",
        "done.signed",
        "done.synced",
        "done.announced",
    ];
    let default = [
        ("start.asked", Daemon),
        ("start.recorded", Both),
        ("run.armed", Together),
        ("run.armed", Daemon),
        ("run.ended", Both),
        ("done.stored", Daemon),
        ("done.announced", Daemon),
    ];
    all(&points, (At::Bob, Way::Granted), &[Daemon, Both, Together], &default);
}

/// The supervisor, by itself, with its daemon, and its daemon without it.
#[test]
fn at_each_step_of_the_supervisor() {
    let points = [
        "supervisor.ready",
        "supervisor.armed",
        "supervisor.started",
        "supervisor.ended",
        "supervisor.over",
        "outcome.asked",
        "outcome.written",
    ];
    let default = [
        ("supervisor.ready", Supervisor),
        ("supervisor.armed", Together),
        ("supervisor.started", Daemon),
        ("supervisor.ended", Supervisor),
        ("outcome.asked", Together),
        ("outcome.written", Supervisor),
    ];
    all(&points, (At::Bob, Way::Granted), &[Supervisor, Together, Daemon], &default);
}

/// Bidder and arbiter of a job that is granted by bids.
#[test]
fn at_each_step_of_a_bid() {
    let points = ["bid.asked", "bid.stored", "bid.signed", "bid.synced", "bid.announced"];
    all(&points, (At::Bob, Way::Bid), &[Daemon, Both], &[("bid.stored", Both), ("bid.announced", Daemon)]);
}

/// The arbiter of a job that is granted by bids.
#[test]
fn at_each_step_of_a_grant() {
    let points = ["grant.asked", "grant.stored", "grant.signed", "grant.synced", "grant.announced"];
    let default = [("grant.asked", Daemon), ("grant.stored", Daemon), ("grant.synced", Both)];
    all(&points, (At::Ann, Way::Bid), &[Daemon, Both], &default);
}
