//! The job of a demo.

use cobs::job::spec::{Limit, Limits};

use super::repository::Cloned;
use super::site::Name;
use crate::cli::output::plain;
use crate::ops::types::{Dirty, Publish, Submit, SubmitSource};

/// What is run when nobody names a command: some 1.5 seconds of looking around, with a report as its artifact.
const SCRIPT: &str = include_str!("job.txt");
/// The file that it leaves.
const REPORT: &str = "report.txt";
/// Memory of that job.
const MEMORY_BYTES: u64 = 512 << 20;
/// Time of that job.
const WALL_MS: u64 = 60_000;
/// How long a job may wait for its start before the demo says so.
const START_WITHIN_MS: u64 = 60_000;
/// Most characters of a command in its title.
const TITLE_CHARS_MAX: usize = 100;

/// The job for bob: the command, or the one that shows what a job sees.
pub fn of(clone: &Cloned, command: Vec<String>) -> Submit {
    let source = SubmitSource::Path {
        path: clone.path.to_string_lossy().into_owned(),
        commit: Some(clone.commit.clone()),
        dirty: Dirty::Ignore,
        publish: Publish::Private,
    };
    let job = Submit {
        source: Some(source),
        on: Some(Name::Bob.to_string()),
        start_within_ms: Some(START_WITHIN_MS),
        ..Submit::default()
    };
    if !command.is_empty() {
        let title = plain(&command.join(" ")).chars().take(TITLE_CHARS_MAX).collect();
        return Submit { command, title: Some(title), ..job };
    }
    let best_effort = |value| Some(Limit { value, strict: false });
    Submit {
        command: ["sh", "-eu", "-c", SCRIPT].map(str::to_owned).to_vec(),
        title: Some(format!("look around and write {REPORT}")),
        environment: [("DEMO_COMMIT", &clone.commit), ("DEMO_SUBJECT", &clone.subject)]
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .into(),
        artifacts: vec![REPORT.to_owned()],
        limits: Limits { memory_bytes: best_effort(MEMORY_BYTES), wall_ms: best_effort(WALL_MS), ..Limits::default() },
        ..job
    }
}
