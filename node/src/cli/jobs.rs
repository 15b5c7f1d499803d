//! The verbs of `rhizome job` that look at jobs and end them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cobs::digest::Digest;
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;

use super::args::{
    ArtifactsOptions, CancelOptions, EvictOptions, HandoverOptions, JobVerb, ListOptions, LogsOptions, TakeoverOptions,
};
use super::client::{Client, empty, problem, segment};
use super::exit::Failure;
use super::follow::{self, Sink, Status};
use super::output::Format;
use super::{explain, run, show};
use crate::ops::error::{Code, Error};
use crate::ops::types::{
    Artifact, Artifacts, CancelRequest, Evict, Explain, HandOver, JobSummary, JobView, LogPiece, Page, TakeOver,
};

/// Most bytes of one line of a log's stream.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Does what the verb says.
pub async fn job(client: &Client, verb: JobVerb, format: Format) -> Result<u8, Failure> {
    match verb {
        JobVerb::Submit(command) => return run::submit(client, *command, format).await,
        JobVerb::List(options) => list(client, &options, format).await?,
        JobVerb::Show(job) => {
            let view: JobView = client.get(&format!("/v1/jobs/{}", segment(&job.id))).await?;
            format.print(&view, show::job)?;
        }
        JobVerb::Explain(job) => {
            let explained: Explain = client.get(&format!("/v1/jobs/{}/explain", segment(&job.id))).await?;
            format.print(&explained, explain::explain)?;
        }
        JobVerb::Logs(options) => logs(client, &options, format).await?,
        JobVerb::Cancel(CancelOptions { id, reason }) => {
            let target = format!("/v1/jobs/{}/cancel", segment(&id));
            let view: JobView = client.send(Method::POST, &target, &CancelRequest { reason }).await?;
            format.print(&view, |view| format!("asked for the end of {}", view.summary.id))?;
        }
        JobVerb::Handover(HandoverOptions { id, to }) => {
            let target = format!("/v1/jobs/{}/handover", segment(&id));
            let view: JobView = client.send(Method::POST, &target, &HandOver { to }).await?;
            format.print(&view, |view| format!("{} decides about {} now", view.state.arbiter().1, view.summary.id))?;
        }
        JobVerb::Takeover(options) => {
            let target = format!("/v1/jobs/{}/takeover", segment(&options.id));
            let TakeoverOptions { to, dead, lease, abandon, reason, .. } = options;
            let wish = TakeOver { to, arbiter_is_dead: dead, lease_ms: lease, abandon, reason };
            let view: JobView = client.send(Method::POST, &target, &wish).await?;
            format.print(&view, |view| format!("{} decides about {} now", view.state.arbiter().1, view.summary.id))?;
        }
        JobVerb::Artifacts(options) => artifacts(client, options, format).await?,
        JobVerb::Evict(EvictOptions { id, grace }) => {
            let summary: JobSummary = client.send(Method::POST, "/evict", &Evict { id, grace_ms: grace }).await?;
            format.print(&summary, |summary| format!("ending the run of {} here", summary.id))?;
        }
    }
    Ok(0)
}

async fn list(client: &Client, options: &ListOptions, format: Format) -> Result<(), Failure> {
    let wire = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let status = options.status.map(|name| wire(serde_json::json!(cobs::job::state::Status::from(name))));
    let outcome = options.outcome.map(|name| wire(serde_json::json!(cobs::job::outcome::Outcome::from(name))));
    let parameters = [
        ("status", status),
        ("outcome", outcome),
        ("queue", options.queue.clone()),
        ("author", options.author.map(|node| node.to_string())),
        ("ledger", options.ledger.map(|ledger| ledger.to_string())),
        ("limit", options.limit.map(|count| count.to_string())),
        ("cursor", options.cursor.clone()),
    ];
    let given: Vec<String> =
        parameters.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", segment(&value?)))).collect();
    let page: Page<JobSummary> = client.get(&format!("/v1/jobs?{}", given.join("&"))).await?;
    format.print(&page, show::jobs)
}

async fn logs(client: &Client, options: &LogsOptions, format: Format) -> Result<(), Failure> {
    let LogsOptions { id, follow, offset } = options;
    let target = format!("/v1/jobs/{}/logs?offset={offset}&follow={follow}", segment(id));
    let body = client.call(Method::GET, &target, &[], empty()).await?.into_body();
    let mut sink = Sink { out: tokio::io::stdout(), err: tokio::io::stderr(), status: Status::Shown };
    let mut lines = Lines { body, rest: Vec::new() };
    while let Some(line) = lines.next().await? {
        let Ok(piece) = serde_json::from_slice::<LogPiece>(&line) else {
            return Err(problem(hyper::StatusCode::OK, &line));
        };
        match format {
            Format::Text => follow::write(&piece, &mut sink).await?,
            Format::Json => format.print(&piece, |_| String::new())?,
        }
    }
    Ok(())
}

/// The lines of an answer, as they come.
struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let behind = self.rest.split_off(at + 1);
                return Ok(Some(std::mem::replace(&mut self.rest, behind)));
            }
            let broke = |why: &str| Error::new(Code::NoDaemon, format!("the log broke off: {why}"));
            match self.body.frame().await {
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(broke("its last line is cut").into()),
                Some(Err(error)) => return Err(broke(&error.to_string()).into()),
                Some(Ok(frame)) => self.rest.extend(frame.into_data().unwrap_or_default()),
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(broke("a line of it is too long").into());
            }
        }
    }
}

/// A file that was fetched. Wire form of `--json`.
#[derive(Serialize)]
struct Fetched {
    #[serde(flatten)]
    artifact: Artifact,
    file: PathBuf,
}

async fn artifacts(client: &Client, options: ArtifactsOptions, format: Format) -> Result<(), Failure> {
    let ArtifactsOptions { id, paths, output } = options;
    let list: Artifacts = client.get(&format!("/v1/jobs/{}/artifacts", segment(&id))).await?;
    if paths.is_empty() && output.is_none() {
        return format.print(&list, show::artifacts);
    }
    for path in &paths {
        if !list.files.iter().any(|file| file.path == *path) {
            return Err(Error::new(Code::NotFound, format!("the job left no file '{path}'")).into());
        }
    }
    let below = output.unwrap_or_else(|| PathBuf::from("."));
    let mut fetched = Vec::new();
    for artifact in list.files {
        if paths.is_empty() || paths.contains(&artifact.path) {
            let file = below.join(inside(&artifact.path)?);
            fetch(client, &id, &artifact, &file).await?;
            fetched.push(Fetched { artifact, file });
        }
    }
    format.print(&fetched, |fetched| {
        fetched.iter().map(|one| format!("{}\n", super::output::plain(&one.file.to_string_lossy()))).collect()
    })
}

/// A path that another machine named, as one below a directory of ours.
pub(crate) fn inside(path: &str) -> Result<&Path, Error> {
    if crate::collect::is_inside(path) {
        return Ok(Path::new(path));
    }
    Err(Error::new(Code::PathEscapes, format!("the artifact's path {path} leaves the directory")))
}

/// Fetches beside its place and moves it there once its digest is right.
pub(crate) async fn fetch(client: &Client, id: &str, artifact: &Artifact, file: &Path) -> Result<(), Failure> {
    let unwritten = |error: std::io::Error| {
        Error::new(Code::Storage, format!("the artifact {} cannot be written: {error}", file.display()))
    };
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(unwritten)?;
    let beside = tempfile::NamedTempFile::new_in(directory).map_err(unwritten)?;
    let mut writer = tokio::fs::File::from_std(beside.reopen().map_err(unwritten)?);
    let path: Vec<String> = artifact.path.split('/').map(segment).collect();
    let target = format!("/v1/jobs/{}/artifacts/{}", segment(id), path.join("/"));
    let body = client.call(Method::GET, &target, &[], empty()).await?.into_body();
    let mut pieces = body
        .into_data_stream()
        .map_err(|error| Error::new(Code::NoDaemon, format!("the artifact {} broke off: {error}", artifact.path)));
    let mut hasher = Sha256::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hasher.update(&piece);
        writer.write_all(&piece).await.map_err(unwritten)?;
    }
    writer.flush().await.map_err(unwritten)?;
    let found = Digest(hasher.finalize().into());
    if found != artifact.digest {
        let why = format!("the artifact {} has the digest {found}, not {}", artifact.path, artifact.digest);
        return Err(Error::new(Code::Storage, why).hint("fetch it again; nothing was kept").into());
    }
    let mode = if artifact.executable { 0o755 } else { 0o644 };
    std::fs::set_permissions(beside.path(), std::fs::Permissions::from_mode(mode)).map_err(unwritten)?;
    beside.persist(file).map_err(|error| unwritten(error.error))?;
    Ok(())
}
