//! A machine that loses its power at each step: what was acknowledged was synced, what was fetched can be again, and of
//! what was being written nothing is left that is half there.

use super::life::{At, Case, Pair, Victims, Way};
use crate::support::full;

/// Cases on one pair: Radicle doubles its wait to dial a peer again with each of its restarts.
const CASES: usize = 3;

/// Goes through the points, in a full run several times with other choices of what is kept.
fn all(test: &str, at: At, points: &[&'static str], default: &[&str]) {
    let points: Vec<_> = points.iter().filter(|point| full() || default.contains(*point)).collect();
    let seeds = if full() { 1..=3 } else { 1..=1 };
    for (seed, points) in seeds.flat_map(|seed| points.chunks(CASES).map(move |points| (seed, points))) {
        let Some(mut pair) = Pair::on_disks(test, seed) else { return };
        for point in points {
            pair.survives(Case { point, at, way: Way::Granted, victims: Victims::Power });
        }
        pair.witness.holds();
        crate::pair::same_jobs(&pair.ann, &pair.bob);
    }
}

/// The machine of author and arbiter: a job that was acknowledged is there, under its key, and a settle stands as it was
/// told.
#[test]
fn the_arbiters_machine_loses_its_power() {
    let points = [
        "key.reserved",
        "create.stored",
        "create.signed",
        "create.synced",
        "create.announced",
        "key.submitted",
        "key.finished",
        "note.asked",
        "note.written",
        "settle.stored",
        "settle.signed",
        "settle.synced",
        "settle.announced",
        "log.copied",
        "log.home",
    ];
    let default =
        ["key.reserved", "create.signed", "create.synced", "create.announced", "settle.signed", "settle.announced"];
    all("the_arbiters_machine_loses_its_power", At::Ann, &points, &default);
}

/// The machine of the worker: a token that was started is not started again, and a report that was told stands.
#[test]
fn the_workers_machine_loses_its_power() {
    let points = [
        "start.asked",
        "start.recorded",
        "request.written",
        "supervisor.armed",
        "supervisor.started",
        "supervisor.ended",
        "outcome.asked",
        "outcome.written",
        "run.ended",
        "done.stored",
        "done.signed",
        "done.synced",
        "done.announced",
    ];
    let default =
        ["start.recorded", "supervisor.started", "outcome.written", "done.signed", "done.synced", "done.announced"];
    all("the_workers_machine_loses_its_power", At::Bob, &points, &default);
}
