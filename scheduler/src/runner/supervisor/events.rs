//! Hears the inside out: how the command started and ended, and the files it made.
//!
//! What comes is hostile: an event out of order ends the run.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use cobs::digest::Blob;

use super::super::artifacts::{Announced, Store, StoreError};
use super::super::chain;
use super::super::clock::{BootMs, BootNs};
use super::super::inside::{EVENT_BYTES_MAX, Event, read_frame};
use super::super::life::{Cause, CommandEnd};
use super::super::request::RunRequest;
use super::shared::Shared;
use crate::fault;

const BUFFER_BYTES: usize = 64 << 10;

/// Gives the manifest's blob, if artifacts were asked for and all of them stored.
pub(super) fn spawn(
    shared: Arc<Shared>,
    run_dir: &Path,
    request: &RunRequest,
    control: UnixStream,
) -> JoinHandle<Option<Blob>> {
    let run_dir = run_dir.to_owned();
    let wanted = (!request.artifacts.is_empty()).then_some(request.limits.disk_bytes.value);
    std::thread::spawn(move || {
        let mut control = BufReader::with_capacity(BUFFER_BYTES, control);
        match hear(&shared, &run_dir, wanted, &mut control) {
            Ok(manifest) => manifest,
            Err(cause) => {
                shared.fail(cause);
                None
            }
        }
    })
}

fn hear(shared: &Shared, run_dir: &Path, wanted: Option<u64>, control: &mut impl Read) -> Result<Option<Blob>, Cause> {
    let mut store = None;
    while let Some(event) = next(control)? {
        match (event, stage(shared)) {
            (Event::Started { at }, Heard::Nothing) => {
                fault::pass("supervisor.started");
                shared.life().started(at);
                shared.wake_guard();
            }
            (Event::CouldNotStart { why }, Heard::Nothing) => shared.life().could_not_start = Some(why),
            (Event::Exited { code, at }, Heard::Started) => {
                store = ended(shared, CommandEnd::Exited(code), at, run_dir, wanted)?;
            }
            (Event::Signalled { signal, at }, Heard::Started) => {
                store = ended(shared, CommandEnd::Signalled(signal), at, run_dir, wanted)?;
            }
            (Event::Artifact { path, size, executable }, Heard::Ended) => {
                let store = store.as_mut().ok_or_else(out_of_order)?;
                store.take(Announced { path: &path, size, executable }, control).map_err(not_kept)?;
            }
            (Event::Unreadable { path, why }, Heard::Ended) => {
                shared.life().remark = Some(format!("artifact '{path}' was not kept: {why}"));
            }
            (Event::Done, Heard::Ended) => {
                let finished = store.take().map(Store::finish).transpose();
                return finished.map_err(|error| host("the artifacts could not be stored", &error));
            }
            (_, Heard::Nothing | Heard::Started | Heard::Ended) => return Err(out_of_order()),
        }
    }
    if store.is_some() {
        return Err(Cause::Broken("the sandbox ended before all artifacts were stored".to_owned()));
    }
    Ok(None)
}

/// How much was heard so far.
enum Heard {
    Nothing,
    Started,
    Ended,
}

fn stage(shared: &Shared) -> Heard {
    let life = shared.life();
    match (life.first_instruction, life.command_end) {
        (_, Some(_)) => Heard::Ended,
        (Some(_), None) => Heard::Started,
        (None, None) => Heard::Nothing,
    }
}

fn next(control: &mut impl Read) -> Result<Option<Event>, Cause> {
    let broken = |error: io::Error| Cause::Broken(format!("the sandbox broke its protocol: {error}"));
    read_frame(control, EVENT_BYTES_MAX).map_err(broken)
}

fn ended(
    shared: &Shared,
    end: CommandEnd,
    at: BootNs,
    run_dir: &Path,
    wanted: Option<u64>,
) -> Result<Option<Store>, Cause> {
    fault::pass("supervisor.ended");
    shared.life().command_ended(end, at, BootMs::now());
    shared.wake_guard();
    let store = wanted.map(|bytes_max| Store::create(run_dir, bytes_max)).transpose();
    store.map_err(|error| host("the artifacts could not be stored", &error))
}

fn out_of_order() -> Cause {
    Cause::Broken("the sandbox broke its protocol: an event out of order".to_owned())
}

fn host(what: &str, error: &io::Error) -> Cause {
    Cause::HostFailed(format!("{what}: {error}"))
}

fn not_kept(error: StoreError) -> Cause {
    match &error {
        StoreError::Host(..) => Cause::HostFailed(chain(&error)),
        StoreError::Torn(_) | StoreError::TooMany | StoreError::TooLarge(_) | StoreError::BadPath => {
            Cause::Broken(chain(&error))
        }
    }
}
