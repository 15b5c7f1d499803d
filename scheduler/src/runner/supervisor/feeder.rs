//! Sends work tree and inputs into the sandbox, as an archive on its first process's standard input.
//!
//! Read by the supervisor, with the daemon's rights, so that the job's user needs none on the host.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::ChildStdin;
use std::sync::Arc;
use std::thread::JoinHandle;

use tar::{Builder, EntryType, Header};

use super::super::life::Cause;
use super::super::request::{InputFile, RunRequest};
use super::shared::Shared;

const BUFFER_BYTES: usize = 256 << 10;

pub(super) fn spawn(shared: Arc<Shared>, request: RunRequest, into: ChildStdin) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut builder = Builder::new(BufWriter::with_capacity(BUFFER_BYTES, into));
        builder.follow_symlinks(false);
        match fill(&mut builder, &request) {
            Ok(()) => {
                // A sandbox that is gone says itself why.
                let _ = builder.into_inner().and_then(|mut archive| archive.flush());
            }
            Err((_, error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err((what, error)) => {
                shared.fail(Cause::HostFailed(format!("{what} could not be read: {error}")));
                // Dropped, it would close the archive properly, and the command would start in half a tree. The end
                // of this process closes it.
                std::mem::forget(builder);
            }
        }
    })
}

type Archive = BufWriter<ChildStdin>;

fn fill(builder: &mut Builder<Archive>, request: &RunRequest) -> Result<(), (String, io::Error)> {
    if let Some(tree) = &request.tree {
        builder.append_dir_all(".", tree).map_err(|error| ("the work tree".to_owned(), error))?;
    }
    for input in &request.inputs {
        append(builder, input).map_err(|error| (format!("the input '{}'", input.path), error))?;
    }
    Ok(())
}

fn append(builder: &mut Builder<Archive>, input: &InputFile) -> io::Result<()> {
    let mut file = File::open(&input.host)?;
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(file.metadata()?.len());
    header.set_mode(0o644);
    builder.append_data(&mut header, &input.path, &mut file)
}
