//! What a crash leaves whole: daemons and supervisors killed at each step of a job's life, before and after each durable
//! write, and started again.
//!
//! P1: one settled result, the same on both nodes. P2: the witness. P4: what was acknowledged is there. And nothing is
//! left of the run: no process, no control group, no half directory. A part of the table runs by default; all of it when
//! `RHIZOME_TESTS_FULL` is set, as `tests/run.sh --full` does.

mod life;
mod power;
mod source;
mod synced;

use std::sync::Mutex;
use std::thread;

use self::life::{At, Case, Pair, Victims, Way};
use crate::support::full;

/// Pairs of nodes that a test runs its cases on at once.
const PAIRS: usize = 2;

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
        "job.written",
        "key.submitted",
        "key.finished",
        "note.asked",
        "note.written",
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
        ("note.asked", Daemon),
        ("note.written", Both),
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
