//! A power cut in the middle of a write: of the files that were not synced each is there as before, as after, or torn.
//! What was synced is whole afterwards, signed as it was, and the writer goes on from there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cobs::adapter::repair::repair;
use cobs::adapter::signed;
use cobs::adapter::writer::{Draft, WriterHandle};
use cobs::id::{JobId, Oid};

use crate::home::{Home, bid, operation};

/// Cuts of each kind of write; more found nothing more.
const CUTS: u64 = 20;

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(directory: &Path) -> Files {
    let mut found = Files::new();
    let mut next = vec![directory.to_owned()];
    while let Some(directory) = next.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                next.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// Lets each file that differs be as it was, as it is, empty, cut, full of nothing, or away.
fn cut(before: &Files, after: &Files, random: &mut u64) {
    let changed = after.keys().chain(before.keys()).filter(|path| before.get(*path) != after.get(*path));
    for path in changed {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let now = after.get(path);
        let left = match *random >> 61 {
            0 => before.get(path).cloned(),
            1 => now.map(|_| Vec::new()),
            2 => now.map(|bytes| bytes[..bytes.len() / 2].to_vec()),
            3 => now.map(|bytes| vec![0; bytes.len()]),
            _ => now.cloned(),
        };
        // an object of git can be read by all and written by nobody
        fs::remove_file(path).ok();
        if let Some(left) = left {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, left).unwrap();
        }
    }
}

/// Cuts the power during `write`, many times over; what came before it stays.
fn survives(write: impl Fn(&Home, &WriterHandle, JobId)) {
    let mut random = 7;
    for number in 0..CUTS {
        let home = Home::new();
        let writer = home.writer();
        let job = home.job(&writer, 1, &[home.node()], 2);
        let settled = home.job(&writer, 2, &[home.node()], 1);
        let tips: Vec<Oid> = [job, settled].iter().flat_map(|job| tips(&home, *job)).collect();
        let head = signed::head(&home.repo(), &home.node()).unwrap().unwrap();
        let path = home.repo().backend.path().to_owned();
        let before = files(&path);
        write(&home, &writer, settled);
        writer.stop();
        cut(&before, &files(&path), &mut random);

        let mended = repair(home.storage.path(), &home.node()).unwrap();

        let what = format!("cut {number}: {mended:?}");
        let repo = home.repo();
        let now = signed::head(&repo, &home.node()).unwrap().expect(&what);
        assert!(signed::follows(&repo, now, head).unwrap(), "{what}");
        let listed = signed::listed(&repo, now).unwrap().expect(&what);
        for (job, tip) in [job, settled].into_iter().zip(&tips) {
            assert!(signed::brings(&repo, &listed, job, *tip).unwrap(), "{what}");
            let read = home.read(job).expect(&what);
            assert_eq!((read.reading.missing, read.reading.unreadable), (0, 0), "{what}");
            assert!(read.ops >= if job == settled { 2 } else { 3 }, "{what}");
        }
        for at in signed::present(&repo, &home.node()).unwrap().into_values() {
            assert!(repo.backend.find_commit(at.into()).is_ok_and(|commit| commit.tree().is_ok()), "{what}: {at}");
        }
        let writer = home.writer();
        let next = operation(&writer, home.append(bid(job, 9)));
        assert!(home.read(job).unwrap().reading.tips[&home.node()].contains(&next.commit), "{what}");
        assert!(mended_is_stable(&home), "{what}");
    }
}

fn tips(home: &Home, job: JobId) -> Vec<Oid> {
    home.read(job).unwrap().reading.tips[&home.node()].iter().copied().collect()
}

/// A whole repository is left as it is.
fn mended_is_stable(home: &Home) -> bool {
    let path = home.repo().backend.path().to_owned();
    let before = files(&path);
    repair(home.storage.path(), &home.node()).unwrap().is_empty() && files(&path) == before
}

#[test]
fn an_operation_cut_off_by_a_loss_of_power_is_whole_or_gone() {
    survives(|home, writer, job| {
        operation(writer, home.append(bid(job, 5)));
    });
}

#[test]
fn a_job_cut_off_by_a_loss_of_power_is_whole_or_gone() {
    survives(|home, writer, _| {
        operation(writer, home.draft(3, &[home.node()]));
    });
}

#[test]
fn an_archive_cut_off_by_a_loss_of_power_keeps_every_job() {
    survives(|home, writer, job| {
        writer.write(Draft::Archive { ledger: home.ledger, jobs: vec![job] }).unwrap();
    });
}
