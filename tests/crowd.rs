//! Many at once: racing submissions, a daemon that is replaced under its runs, and a crowd of nodes of which something is
//! killed all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::node::{Node, text};
use crate::support::witness::Witness;
use crate::support::{cli, fault, full, remains, wait};

/// What is submitted in the race, under how many keys, and by how many at once.
const SUBMISSIONS: usize = 1_000;
const KEYS: usize = 50;
const RACERS: usize = 20;
/// Jobs that run while their daemon is replaced.
const RUNNING: usize = 10;
/// The lease in a crowd.
const LEASE: Duration = Duration::from_secs(10);
/// How long after the last kill everything may take to be settled.
const SETTLED: Duration = Duration::from_secs(60);

/// A thousand racing submissions under fifty keys make fifty jobs, and each key is told of the one that is its own.
#[test]
fn fifty_keys_make_fifty_jobs() {
    let node = Node::start("solo");
    let body = json!({"command": ["true"]}).to_string();
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(BTreeMap::<usize, Vec<Value>>::new());
    thread::scope(|scope| {
        for _ in 0..RACERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= SUBMISSIONS {
                        return;
                    }
                    // neighbours race for one key
                    let key = number / (SUBMISSIONS / KEYS);
                    let headers = ["Content-Type: application/json".to_owned(), format!("Idempotency-Key: race-{key}")];
                    let answer = wait::until("the daemon takes it", wait::LIMIT, || {
                        let answer = node.ask("POST", "/schedule", &headers, body.as_bytes())?;
                        // busy, and it says so
                        (answer.status != 503).then_some(answer)
                    });
                    assert_eq!(answer.status, 202, "{answer:?}");
                    answers.lock().unwrap().entry(key).or_default().push(answer.json());
                }
            });
        }
    });
    let answers = answers.into_inner().unwrap();
    let ids: BTreeSet<String> = answers.values().flatten().map(|answer| text(answer, "/id")).collect();
    assert_eq!((answers.len(), ids.len()), (KEYS, KEYS));
    for (key, answers) in &answers {
        assert_eq!(answers.len(), SUBMISSIONS / KEYS);
        assert!(answers.iter().all(|answer| answer["id"] == answers[0]["id"]), "{key}: {answers:#?}");
        assert_eq!(answers.iter().filter(|answer| answer["replayed"] == false).count(), 1, "{key}: {answers:#?}");
    }
    let jobs = wait::until("all are settled", wait::LIMIT * 2, || {
        let jobs = node.all_jobs()?;
        jobs.values().all(|job| job["status"] == "settled").then_some(jobs)
    });
    assert_eq!(jobs.keys().cloned().collect::<BTreeSet<_>>(), ids);
    assert!(jobs.values().all(|job| job["outcome"] == "succeeded"), "{jobs:#?}");
}

/// A daemon that is killed and replaced by another build while it has ten runs disturbs none of them: each is begun once
/// and ends by itself, with the whole of its log.
#[test]
fn a_newer_daemon_takes_over_ten_runs() {
    let witness = Witness::new();
    let lease = ("scheduler.lease_ms", "30000");
    let ann = Node::start_with("ann", &[witness.setting(), lease]);
    let mut bob = Node::join("bob", &[witness.setting(), lease, ("scheduler.slots", "10")], &ann, "submit,run");
    let names: Vec<String> = (0..RUNNING).map(|number| format!("run-{number}")).collect();
    let jobs: Vec<String> = names
        .iter()
        .map(|name| {
            let job = witness.job(name, "for i in $(seq 80); do echo $i; sleep 0.1; done");
            ann.submit(&[&["--on", "bob"], &job.each_ref().map(String::as_str)[..]].concat())
        })
        .collect();
    wait::until("all ten run", wait::LIMIT, || names.iter().all(|name| witness.of(name).began == 1).then_some(()));
    bob.kill();
    // another file with other bytes: what is behind the end of a program is no part of it
    let newer = bob.home.join("newer-rhizome");
    let mut program = fs::read(&bob.program).unwrap();
    program.extend(b"a newer build");
    fs::write(&newer, program).unwrap();
    fs::set_permissions(&newer, fs::metadata(&bob.program).unwrap().permissions()).unwrap();
    bob.program = newer;
    bob.up();
    let wanted: String = (1..=80).map(|line| format!("{line}\n")).collect();
    for (id, name) in jobs.iter().zip(&names) {
        let job = ann.settled(id);
        assert_eq!((&job["outcome"], &job["exitCode"]), (&json!("succeeded"), &json!(0)), "{job:#}");
        ann.until(id, "the log is home", wait::LIMIT, |job| job["logIsLocal"] == true);
        assert_eq!(ann.cli(&["job", "logs", id]).ok(), wanted, "{name}");
        assert_eq!((bob.runs(id), witness.of(name).began), (1, 1), "{name}");
        remains::nothing(&bob, id);
    }
    witness.holds();
}

/// How large a crowd is.
struct Size {
    nodes: usize,
    jobs: usize,
    /// How long something is killed all the time.
    killing: Duration,
    /// What a job takes.
    job_seconds: usize,
}

/// A crowd whose daemons, which are workers and arbiters in one, and supervisors are killed at random: every job is
/// settled once, in one way everywhere, and is lost only where it was killed.
#[test]
fn a_crowd_under_random_kills_settles_every_job_once() {
    let size = match full() {
        true => Size { nodes: 8, jobs: 200, killing: Duration::from_secs(60), job_seconds: 6 },
        false => Size { nodes: 4, jobs: 40, killing: Duration::from_secs(15), job_seconds: 3 },
    };
    let seed = std::env::var("RHIZOME_TESTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("the kills are by RHIZOME_TESTS_SEED={seed}");
    let witness = Witness::new();
    let mut nodes = crowd(&size, &witness);
    let names: Vec<String> = (0..size.jobs).map(|number| format!("job-{number}")).collect();
    let submitted = Mutex::new(BTreeMap::new());
    let mut kills = Kills::default();
    thread::scope(|scope| {
        for (index, node) in nodes.iter().enumerate() {
            let mine = names.iter().skip(index).step_by(size.nodes);
            let commands: Vec<(String, Command)> =
                mine.map(|name| (name.clone(), submission(node, &witness, name, size.job_seconds))).collect();
            let submitted = &submitted;
            scope.spawn(move || {
                for (name, command) in commands {
                    let id = submit(command);
                    submitted.lock().unwrap().insert(id, (name, index));
                }
            });
        }
        kills = kill(&mut nodes, seed, size.killing);
    });
    let submitted = submitted.into_inner().unwrap();
    assert_eq!(submitted.len(), size.jobs, "a key that was tried again made another job");
    let jobs = settled(&nodes, &submitted, Instant::now() + SETTLED);
    println!("{} daemons and {} supervisors killed", kills.daemons.len(), kills.supervisors.len());
    let ids: Vec<String> = nodes.iter().map(Node::id).collect();
    let mut ends = BTreeMap::<String, usize>::new();
    for (id, job) in &jobs {
        let (name, author) = &submitted[id];
        let told = witness.of(name);
        assert!(told.second == 0 && told.began <= 1, "{name}: {told:?} {job:#}");
        *ends.entry(job["outcome"].to_string()).or_default() += 1;
        if job["outcome"] == "succeeded" {
            assert_eq!(told.began, 1, "{name}: {job:#}");
        } else {
            let why = kills.excuse(id, job, &ids, *author, told.began);
            assert!(why.is_some(), "{name} ended {} without a kill: {job:#}", job["outcome"]);
        }
    }
    println!("{ends:?}");
    let jobs: Vec<&str> = jobs.keys().map(String::as_str).collect();
    nodes.iter().for_each(|node| remains::nothing_of(node, &jobs));
}

fn crowd(size: &Size, witness: &Witness) -> Vec<Node> {
    let lease = LEASE.as_millis().to_string();
    let settings = [witness.setting(), ("scheduler.lease_ms", lease.as_str())];
    let grants = "submit,run,arbitrate";
    let mut nodes = vec![Node::start_with("node-0", &settings)];
    for number in 1..size.nodes {
        nodes.push(Node::join(&format!("node-{number}"), &settings, &nodes[0], grants));
    }
    for (index, one) in nodes.iter().enumerate().skip(1) {
        for other in &nodes[index + 1..] {
            one.acquaint(other, grants);
        }
    }
    nodes
}

/// A submission that can be repeated until it is answered.
fn submission(node: &Node, witness: &Witness, name: &str, seconds: usize) -> Command {
    let job = witness.job(name, &format!("echo one; sleep {seconds}; echo two"));
    let mut command = node.command(&["run", "--detach", "--key", name]);
    cli::isolate(command.args(job), &node.home).stdin(Stdio::null());
    command
}

fn submit(mut command: Command) -> String {
    let mut refused = String::new();
    let answered = wait::poll(SETTLED * 2, || {
        let output = command.output().unwrap();
        refused = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    });
    answered.unwrap_or_else(|| panic!("a submission is not answered: {refused}"))
}

/// What was killed.
#[derive(Default)]
struct Kills {
    /// Which node's daemon, and how long it was away.
    daemons: Vec<(usize, Duration)>,
    /// The command lines of supervisors, which name their run.
    supervisors: Vec<String>,
}

impl Kills {
    /// Why a job may have ended otherwise than by itself.
    fn excuse(&self, id: &str, job: &Value, ids: &[String], author: usize, began: usize) -> Option<&'static str> {
        if self.supervisors.iter().any(|line| line.contains(id)) {
            return Some("its supervisor was killed");
        }
        let holder = ids.iter().position(|node| job["node"] == node.as_str());
        let away = |node| self.daemons.iter().filter(move |(killed, _)| *killed == node).map(|(_, away)| *away);
        if away(author).chain(holder.into_iter().flat_map(away)).any(|away| away > LEASE) {
            return Some("a daemon was away for longer than the lease");
        }
        let before = began == 0 && holder.is_some_and(|holder| away(holder).next().is_some());
        before.then_some("its daemon was killed while it started the supervisor")
    }
}

/// Kills at random for as long as is said, and has every daemon up in the end.
fn kill(nodes: &mut [Node], seed: u64, killing: Duration) -> Kills {
    let mut kills = Kills::default();
    let mut random = Random(seed);
    let end = Instant::now() + killing;
    while Instant::now() < end {
        let node = random.below(nodes.len());
        let what = random.below(4);
        if what != 0 {
            // one supervisor, or those that the daemon takes with it
            let most = if what == 1 { usize::MAX } else { 1 };
            for pid in fault::named(&nodes[node].home, fault::SUPERVISOR).into_iter().take(most) {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                kills.supervisors.push(String::from_utf8_lossy(&line).into_owned());
                fault::signal(pid, Signal::KILL);
            }
        }
        if what < 2 {
            let began = Instant::now();
            nodes[node].kill();
            nodes[node].up();
            kills.daemons.push((node, began.elapsed()));
        }
    }
    kills
}

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

/// Waits until every node sees every job settled, and all of them the same; the jobs as one sees them.
fn settled(nodes: &[Node], submitted: &BTreeMap<String, (String, usize)>, by: Instant) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::<String, Value>::new();
    for node in nodes {
        for id in submitted.keys() {
            let mut last = Value::Null;
            let job = wait::poll(by.saturating_duration_since(Instant::now()), || {
                last = node.ask("GET", &format!("/v1/jobs/{id}"), &[], b"")?.json();
                (last["status"] == "settled" && last["outcome"].is_string()).then(|| last.clone())
            });
            let job = job.unwrap_or_else(|| panic!("{} never saw it settled: {last:#}\n{}", node.alias, node.log()));
            let first = seen.entry(id.clone()).or_insert_with(|| job.clone());
            for part in ["/state/settled", "/outcome"] {
                assert_eq!(first.pointer(part), job.pointer(part), "{}: {job:#}", node.alias);
            }
        }
        assert_eq!(node.all_jobs().unwrap().len(), submitted.len(), "{}", node.alias);
    }
    seen
}
