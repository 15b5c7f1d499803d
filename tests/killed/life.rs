//! One job's life on two nodes, broken at a point: who is killed there, and what must be true of it afterwards.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::disk::{self, Disk};
use crate::support::node::Node;
use crate::support::process::Process;
use crate::support::witness::Witness;
use crate::support::{fault, remains, wait};

/// A lease by which a debug daemon on a busy machine is up again, and which a test can outwait.
const LEASE: Duration = Duration::from_secs(5);
/// The arbiter's wait for a lease, a fifth more and a second, twice, and what a busy machine adds.
const SETTLED: Duration = Duration::from_secs(40);
/// The words of a job that ran to its end.
pub const WORDS: &str = "one\ntwo\n";

/// Who is killed while a process stands at the point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victims {
    /// The daemon that passes the point, or whose supervisor does.
    Daemon,
    /// The daemons of both nodes.
    Both,
    /// The run's supervisor.
    Supervisor,
    /// Daemon and supervisor together.
    Together,
    /// The whole machine loses its power: what was not synced is gone.
    Power,
}

/// How a job comes about: both have `ann` as the arbiter and run on `bob`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Submitted by `ann`, with the grant in its root.
    Granted,
    /// Submitted by `bob`, who bids, and is granted it by `ann`.
    Bid,
}

/// Whose process passes a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    Ann,
    Bob,
}

#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub point: &'static str,
    pub at: At,
    pub way: Way,
    pub victims: Victims,
}

/// Two nodes that go through cases.
pub struct Pair {
    pub witness: Witness,
    pub ann: Node,
    pub bob: Node,
    count: usize,
    random: u64,
}

impl Pair {
    pub fn start() -> Self {
        let witness = Witness::new();
        let lease = LEASE.as_millis().to_string();
        let settings = [witness.setting(), ("scheduler.lease_ms", lease.as_str())];
        let ann = Node::start_with("ann", &settings);
        let bob = Node::join("bob", &settings, &ann, "submit,run,arbitrate");
        Self { witness, ann, bob, count: 0, random: 0 }
    }

    /// As [`Pair::start`], each node on a disk of its own; none where that cannot be had, which is said of `test`. Of what
    /// was not synced when the power goes, the seed chooses what is kept.
    pub fn on_disks(test: &str, seed: u64) -> Option<Self> {
        let witness = Witness::new();
        let lease = LEASE.as_millis().to_string();
        let settings = [witness.setting(), ("scheduler.lease_ms", lease.as_str())];
        let ann = Node::on_disk(test, "ann", &settings, None)?;
        let bob = Node::on_disk(test, "bob", &settings, Some((&ann, "submit,run,arbitrate")))?;
        Some(Self { witness, ann, bob, count: 0, random: seed })
    }

    fn node(&mut self, at: At) -> &mut Node {
        match at {
            At::Ann => &mut self.ann,
            At::Bob => &mut self.bob,
        }
    }

    /// One job, whose life is broken at the point.
    pub fn survives(&mut self, case: Case) {
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
            Victims::Power => return self.cut(case.at),
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

    /// Cuts a machine's power, starts it again, and says how long it was away.
    fn cut(&mut self, at: At) -> Duration {
        let began = Instant::now();
        let mut random = self.random;
        let mut kept = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // the higher bits are the better ones
            random >> 62 == 0
        };
        let node = self.node(at);
        // all of it stands still, so that the image is of one moment
        for pid in node.home.processes() {
            fault::signal(pid, Signal::STOP);
        }
        let disk: Disk = node.disk.take().expect("a power cut needs a disk");
        disk.cut(&mut kept, || {
            node.kill();
            fault::kill_all(&node.home);
        });
        node.disk = Some(disk);
        disk::of_another_boot(&node.place().join("rhizome"));
        node.up();
        self.random = random;
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
    let with_it = case.victims == Victims::Power && case.at == At::Bob;
    matches!(case.victims, Victims::Supervisor | Victims::Together) || with_it || between
}
