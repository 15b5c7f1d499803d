//! Machines that cannot hear each other: three nodes in networks of their own, apart in every way a network can be.
//!
//! `ann` is the arbiter, `bob` the worker, `cat` the submitter, and their own leases differ: what counts is the one in the
//! grant. In each case the witness holds, and once the network is whole again all three see one and the same settle.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::net::{LINK, Lost, Net, RADICLE};
use crate::support::node::{Node, runs_nothing, runs_something};
use crate::support::witness::{Told, Witness};
use crate::support::{fault, full, remains, skip, wait};

const ANN: usize = 0;
const BOB: usize = 1;
const CAT: usize = 2;

/// The lease of the arbiter, which is the one that counts, and of the others.
const LEASES: [(&str, &str); 3] =
    [("scheduler.lease_ms", "3000"), ("scheduler.lease_ms", "120000"), ("scheduler.lease_ms", "60000")];
/// A short lease, the wait for another grant after it (a fifth more and one second), and what a busy machine adds.
const LEASE_OVER: Duration = Duration::from_secs(20);
/// How long connections may take to be there again after a partition, on a busy machine.
const HEALED: Duration = Duration::from_secs(120);
/// Several leases of the arbiter.
const LEASES_LONG: Duration = Duration::from_secs(9);

struct Three {
    witness: Witness,
    ann: Node,
    bob: Node,
    cat: Node,
}

impl Three {
    fn start(net: &Net) -> Self {
        let witness = Witness::new();
        let with = |index: usize| [witness.setting(), LEASES[index]];
        let all = "submit,run,arbitrate";
        let ann = Node::start_at(Some(net.place(ANN)), "ann", &with(ANN));
        let bob = Node::join_at(Some(net.place(BOB)), "bob", &with(BOB), &ann, all);
        let cat = Node::join_at(Some(net.place(CAT)), "cat", &with(CAT), &ann, all);
        bob.acquaint(&cat, all);
        Self { witness, ann, bob, cat }
    }

    /// A job of `cat`'s that `bob` is to run and `ann` decides about.
    fn submit(&self, name: &str, body: &str) -> String {
        self.submit_with(&[], name, body)
    }

    fn submit_with(&self, options: &[&str], name: &str, body: &str) -> String {
        let job = self.witness.job(name, body);
        let mut arguments = [&["--on", "bob", "--arbiter", "ann"], options].concat();
        arguments.extend(job.iter().map(String::as_str));
        self.cat.submit(&arguments)
    }

    /// Waits until the job has told that it runs.
    #[track_caller]
    fn begun(&self, name: &str) {
        wait::until("the job has begun", wait::LIMIT, || (self.witness.of(name).began > 0).then_some(()));
    }

    /// Waits until all three see the job settled, in one and the same way; the job as its author sees it.
    #[track_caller]
    fn settled(&self, id: &str, outcome: &str) -> Value {
        let [ann, bob, cat] = [&self.ann, &self.bob, &self.cat].map(|node| {
            let job = node.until(id, "the job is settled", HEALED, |job| {
                job["status"] == "settled" && job["outcome"].is_string()
            });
            assert_eq!(job["outcome"], outcome, "{}: {job:#}\n{}", node.alias, node.log());
            job
        });
        for other in [&ann, &bob] {
            assert_eq!(other.pointer("/state/settled"), cat.pointer("/state/settled"));
        }
        self.witness.holds();
        cat
    }

    /// Waits until the three are connected again in both ways.
    #[track_caller]
    fn whole(&self) {
        for (node, peer, both) in
            [(&self.ann, &self.bob, true), (&self.ann, &self.cat, true), (&self.bob, &self.cat, false)]
        {
            wait::until("the network is whole", HEALED, || {
                let ends = [(node, peer), (peer, node)].map(|(node, peer)| node.peer(&peer.alias));
                // the two that were invited replicate by the inviter
                ends.iter().all(|end| end["linked"] == true && (!both || end["replicating"] == true)).then_some(())
            });
        }
    }
}

/// A worker that cannot hear its arbiter, whichever way the loss goes, ends its run at the arbiter's lease though its own
/// is longer; the job is lost once that has passed, and nobody runs it again.
#[test]
fn a_worker_apart_from_its_arbiter_ends_at_its_lease() {
    let Some(net) = Net::new("a_worker_apart_from_its_arbiter_ends_at_its_lease", 3) else { return };
    let three = Three::start(&net);
    let ways = [("both", vec![(ANN, BOB), (BOB, ANN)]), ("answers", vec![(ANN, BOB)]), ("questions", vec![(BOB, ANN)])];
    for (name, lost) in ways {
        let id = three.submit(name, "sleep 600");
        three.begun(name);
        let cuts: Vec<_> = lost.into_iter().map(|(from, to)| net.one_way(from, to, Lost::All)).collect();
        wait::until("the run has ended", LEASE_OVER, || runs_nothing(&three.bob));
        // the arbiter does not wait for the network either
        let job = three.ann.until(&id, "the job is settled", LEASE_OVER, |job| job["status"] == "settled");
        assert_eq!(job.pointer("/state/grants/0/1/leaseMs"), Some(&json!(3000)), "{job:#}");
        drop(cuts);
        three.settled(&id, "lost");
        assert_eq!(three.witness.of(name), Told { began: 1, second: 0 });
        assert_eq!(three.bob.runs(&id), 1);
        three.whole();
    }
}

/// A submitter that is cut off is not needed: the job runs and settles, and its log comes home once it is back.
#[test]
fn a_submitter_apart_from_all_is_not_needed() {
    let Some(net) = Net::new("a_submitter_apart_from_all_is_not_needed", 3) else { return };
    let three = Three::start(&net);
    let id = three.submit("alone", "echo begun; sleep 3; echo ended");
    three.begun("alone");
    let cuts = [ANN, BOB].map(|other| net.both_ways(CAT, other, Lost::All));
    for node in [&three.ann, &three.bob] {
        let job = node.until(&id, "the job is settled", LEASE_OVER, |job| job["status"] == "settled");
        assert_eq!(job["outcome"], "succeeded", "{job:#}");
    }
    assert_ne!(three.cat.job(&id)["status"], "settled", "it was not cut off");
    // what it asks for meanwhile is kept, and happens later
    let later = three.submit("later", "true");
    assert_ne!(three.cat.job(&later)["waitsFor"], "", "a job that waits says why");
    drop(cuts);
    three.settled(&id, "succeeded");
    three.settled(&later, "succeeded");
    three.cat.until(&id, "the log is home", HEALED, |job| job["logIsLocal"] == true);
    assert_eq!(three.cat.cli(&["job", "logs", &id]).ok(), "begun\nended\n");
}

/// Without the direct link nothing leased starts, though the grant arrives; a confirmation that is lost, or comes after
/// the lease that it was asked for, starts nothing twice. Then the job runs once.
#[test]
fn nothing_starts_without_the_direct_link() {
    let Some(net) = Net::new("nothing_starts_without_the_direct_link", 3) else { return };
    let three = Three::start(&net);
    for (name, from, to) in [("answer", ANN, BOB), ("question", BOB, ANN)] {
        // the session stays up for a while: what is asked or answered on it waits in a buffer, and arrives late
        let cut = net.one_way(from, to, Lost::Port(LINK));
        // an arbiter whose answer is lost has confirmed: it takes the silence that follows for a run that was lost
        let id = three.submit_with(&["--attempts", "2"], name, "echo ran");
        three.bob.until(&id, "the grant has arrived", HEALED, |job| job["status"] == "granted");
        let began = wait::poll(LEASES_LONG, || (three.witness.of(name).began > 0).then_some(()));
        assert_eq!(began, None, "it began without a confirmation that holds");
        let job = three.bob.job(&id);
        assert_ne!(job["waitsFor"], "", "{job:#}");
        drop(cut);
        three.settled(&id, "succeeded");
        assert_eq!(three.witness.of(name), Told { began: 1, second: 0 });
        three.whole();
    }
}

/// A job whose author lets it be held starts where the grant arrives, confirmed by nobody, and settles by replication alone.
#[test]
fn a_held_run_needs_no_direct_link() {
    let Some(net) = Net::new("a_held_run_needs_no_direct_link", 3) else { return };
    let three = Three::start(&net);
    let cut = net.both_ways(ANN, BOB, Lost::Port(LINK));
    let id = three.submit_with(&["--held"], "held", "sleep 4; echo ran");
    let job = three.settled(&id, "succeeded");
    assert_eq!(job.pointer("/state/grants/0/1/kind"), Some(&json!("held")), "{job:#}");
    assert_eq!(three.witness.of("held"), Told { began: 1, second: 0 });
    drop(cut);
    three.whole();
}

/// A confirmation that comes when the lease it gives is over, since that counts from the asking, is worth nothing: the job
/// starts by a later one, once.
#[test]
fn a_late_confirmation_starts_nothing() {
    let witness = Witness::new();
    let settings = [witness.setting(), LEASES[ANN]];
    let ann = Node::start_with("ann", &settings);
    let bob = Node::join("bob", &settings, &ann, "submit,run");
    let late = || {
        let page = bob.ask("GET", "/metrics", &[], b"").expect("it answers").body;
        let page = String::from_utf8(page).expect("it is text");
        let count = page.lines().find_map(|line| line.strip_prefix("rhizome_confirmations_late_total "));
        count.map_or(0, |count| count.parse::<u64>().expect("a number"))
    };
    assert_eq!(late(), 0);
    let job = witness.job("late", "true");
    // it has noted that it confirms, and says so only when the one that asked stands still
    fault::arm(&ann.home, "note.written");
    // what it confirmed so it may take for a run that was lost
    let submit = ["--on", "bob", "--attempts", "2"];
    let id = ann.submit(&[&submit, &job.each_ref().map(String::as_str)[..]].concat());
    fault::reached(&ann.home, "note.written");
    bob.daemon().signal(Signal::STOP);
    fault::go_on(&ann.home);
    let lease = Duration::from_millis(LEASES[ANN].1.parse().unwrap());
    assert_eq!(wait::poll(lease, || (witness.of("late").began > 0).then_some(())), None);
    bob.daemon().signal(Signal::CONT);
    assert_eq!(ann.until(&id, "the job is settled", HEALED, |job| job["status"] == "settled")["outcome"], "succeeded");
    assert!(late() > 0, "the confirmation was not late");
    assert_eq!(witness.of("late"), Told { began: 1, second: 0 });
}

/// Without replication a run lives on by the direct link, beyond several leases, also when it has ended; nothing of it is
/// lost while its report is on the way.
#[test]
fn a_run_outlives_replication() {
    let Some(net) = Net::new("a_run_outlives_replication", 3) else { return };
    let three = Three::start(&net);
    let id = three.submit("cut", "sleep 8; echo ran");
    three.begun("cut");
    let cuts = [(ANN, BOB), (BOB, CAT), (ANN, CAT)].map(|(one, other)| net.both_ways(one, other, Lost::Port(RADICLE)));
    wait::until("the run has ended", LEASE_OVER, || runs_nothing(&three.bob));
    let settled = wait::poll(LEASES_LONG, || {
        let job = three.ann.job(&id);
        (job["status"] == "settled").then_some(job)
    });
    assert_eq!(settled, None, "nobody can know how it ended");
    drop(cuts);
    three.settled(&id, "succeeded");
    assert_eq!(three.witness.of("cut"), Told { began: 1, second: 0 });
}

/// A hand-over is shown over the direct links where replication is down: the arbiter that steps down shows it to the
/// holder, and the holder to the successor. The run lives on, beyond several leases, and is settled by the successor.
#[test]
fn a_hand_over_is_shown_without_replication() {
    let Some(net) = Net::new("a_hand_over_is_shown_without_replication", 3) else { return };
    let three = Three::start(&net);
    let id = three.submit_with(&["--standby", "cat"], "shown", "sleep 12; echo ran");
    three.begun("shown");
    three.cat.until(&id, "it runs", HEALED, |job| job["status"] == "granted");
    let cuts = [(ANN, BOB), (BOB, CAT), (ANN, CAT)].map(|(one, other)| net.both_ways(one, other, Lost::Port(RADICLE)));
    three.ann.cli(&["job", "handover", &id, "--to", "cat"]).ok();
    let epochs = |node: &Node| node.job(&id).pointer("/state/epochs").and_then(Value::as_array).map_or(0, Vec::len);
    // what replication has not brought is no part of the view
    for node in [&three.bob, &three.cat] {
        wait::until("the hand-over is shown", LEASE_OVER, || node.log().contains("a hand-over counts").then_some(()));
        assert_eq!(epochs(node), 1, "{}: it was replicated", node.alias);
    }
    wait::until("the run has ended", LEASE_OVER, || runs_nothing(&three.bob));
    drop(cuts);
    let job = three.settled(&id, "succeeded");
    assert_eq!(job.pointer("/state/settled/epoch"), Some(&json!(1)), "the successor settles: {job:#}");
    assert_eq!(three.witness.of("shown"), Told { began: 1, second: 0 });
}

/// A worker's daemon that is stopped for longer than its lease has lost its run: the supervisor ends it in time, and
/// whatever the daemon thinks when it goes on, nothing runs twice.
#[test]
fn a_daemon_that_stood_still_starts_nothing_twice() {
    let witness = Witness::new();
    let settings = [witness.setting(), LEASES[ANN]];
    let ann = Node::start_with("ann", &settings);
    let bob = Node::join("bob", &settings, &ann, "submit,run");
    // two of them: one whose run ends while the daemon stands still, and one that would go on
    let jobs = [("short", "sleep 1"), ("long", "sleep 600")].map(|(name, body)| {
        let job = witness.job(name, body);
        let id = ann.submit(&[&["--on", "bob"], &job.each_ref().map(String::as_str)[..]].concat());
        wait::until("the job has begun", wait::LIMIT, || (witness.of(name).began > 0).then_some(()));
        (id, name)
    });
    bob.daemon().signal(Signal::STOP);
    for (id, _) in &jobs {
        let job = ann.until(id, "the job is settled", LEASE_OVER, |job| job["status"] == "settled");
        assert_eq!(job["outcome"], "lost", "{job:#}");
    }
    assert!(fault::named(&bob.home, "sleep").is_empty(), "a run outlived its lease");
    bob.daemon().signal(Signal::CONT);
    for (id, name) in &jobs {
        let job = bob.until(id, "the job is settled", HEALED, |job| job["status"] == "settled");
        assert_eq!(job["outcome"], "lost", "{job:#}");
        assert_eq!(witness.of(name), Told { began: 1, second: 0 });
        remains::nothing(&bob, id);
    }
    witness.holds();
    // and the two work together as before
    let after = ann.submit(&["--on", "bob", "--", "true"]);
    assert_eq!(
        ann.until(&after, "the job is settled", HEALED, |job| job["status"] == "settled")["outcome"],
        "succeeded"
    );
}

/// A supervisor that is stopped too keeps no deadline, which is outside of what P2 promises: once it goes on the run dies
/// at once, and what it says under the old token changes nothing.
#[test]
fn a_supervisor_that_stood_still_ends_its_run() {
    let ann = Node::start_with("ann", &[LEASES[ANN]]);
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let id = ann.submit(&["--on", "bob", "--", "sh", "-c", "while :; do date +%s%N; sleep 0.05; done"]);
    wait::until("the supervisor is armed", wait::LIMIT, || runs_something(&bob));
    let supervisors = fault::named(&bob.home, fault::SUPERVISOR);
    bob.daemon().signal(Signal::STOP);
    for pid in &supervisors {
        fault::signal(*pid, Signal::STOP);
    }
    let before = ann.until(&id, "the job is settled", LEASE_OVER, |job| job["status"] == "settled");
    assert_eq!(before["outcome"], "lost", "{before:#}");
    fault::go_on(&bob.home);
    remains::nothing(&bob, &id);
    let end = bob.until(&id, "the job is settled", HEALED, |job| job["status"] == "settled");
    assert_eq!((&end["outcome"], end.pointer("/state/settled")), (&json!("lost"), before.pointer("/state/settled")));
    // its late report is kept as what it is, and the settle stands on both
    for node in [&ann, &bob] {
        assert_eq!(node.settled(&id).pointer("/state/settled"), before.pointer("/state/settled"), "{}", node.alias);
        assert_eq!(node.job(&id)["exitCode"], 125);
    }
    assert_eq!((ann.runs(&id), bob.runs(&id)), (0, 1));
}

/// A worker whose clock is an hour off, fast or slow, runs what it is granted for as long as it is confirmed, and no
/// longer: leases are no matter of wall-clock time.
#[test]
fn a_clock_that_is_an_hour_off_changes_nothing() {
    let Some(library) = faketime() else {
        return skip::skip("a_clock_that_is_an_hour_off_changes_nothing", "libfaketime is not installed");
    };
    // one that was set back is heard of by period only, which takes a minute
    let offs = if full() { vec!["+3600s", "-3600s"] } else { vec!["+3600s"] };
    for off in offs {
        let witness = Witness::new();
        let settings = [witness.setting(), LEASES[ANN]];
        let mut ann = Node::start_with("ann", &settings);
        let mut bob = Node::join("bob", &settings, &ann, "submit,run");
        bob.down();
        let fake = [("LD_PRELOAD", library.as_str()), ("FAKETIME", off), ("DONT_FAKE_MONOTONIC", "1")];
        bob.environment.extend(fake.map(|(key, value)| (key.to_owned(), value.to_owned())));
        bob.up();
        bob.until_linked(&ann);
        let submit = |name: &str, body: &str| {
            let id =
                ann.submit(&[&["--on", "bob"], &witness.job(name, body).each_ref().map(String::as_str)[..]].concat());
            wait::until("the job has begun", wait::LIMIT, || (witness.of(name).began > 0).then_some(()));
            id
        };
        let several = submit("several", "sleep 8; echo ran");
        let job = ann.until(&several, "the job is settled", HEALED, |job| job["status"] == "settled");
        assert_eq!(job["outcome"], "succeeded", "{off}: {job:#}");
        // an hour that is real would have ended it, and one that is not must not keep it
        let endless = submit("endless", "sleep 600");
        ann.kill();
        wait::until("the run has ended", LEASE_OVER, || runs_nothing(&bob));
        ann.up();
        for node in [&ann, &bob] {
            let job = node.until(&endless, "the job is settled", HEALED, |job| job["status"] == "settled");
            assert_eq!(job["outcome"], "lost", "{off}: {job:#}");
            remains::nothing(node, &endless);
        }
        witness.holds();
        let stamp = bob.job(&endless)["updatedAt"].clone();
        let same_hour = stamp.as_str().zip(ann.job(&endless)["updatedAt"].as_str().map(str::to_owned));
        assert!(same_hour.is_some_and(|(bob, ann)| bob[..13] != ann[..13]), "{off}: the clock was not moved: {stamp}");
    }
}

/// The library that moves a program's clock, for programs of several threads.
fn faketime() -> Option<String> {
    let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.exists()).map(|library| library.display().to_string())
}
