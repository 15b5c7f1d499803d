//! `rhizome run` and `rhizome job submit`: from what was typed to a job, and to its end.

use std::io::{IsTerminal, Write};
use std::path::Path;

use cobs::id::JobId;
use cobs::job::spec::{Input, Limit, Limits, Privacy, Requirements, Retry};
use hyper::Method;
use tokio::io::AsyncReadExt;

use super::args::{FollowOptions, PublishChoice, RunOptions, SourceOptions, SubmitCommand, SubmitOptions};
use super::client::{Client, segment};
use super::exit::{Failure, LEFT};
use super::follow::{self, Ending, Sink, Status};
use super::output::Format;
use super::quantity::LimitName;
use crate::ops::error::{Code, Error};
use crate::ops::types::{ContextWish, Dirty, FirstGrant, JobView, Publish, Submit, SubmitSource, Submitted, Uploaded};

/// The exit code for a job that ended without giving one.
const NO_RESULT: u8 = 125;
/// Most bytes of a job that is read from a file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Submits, follows, and ends with the job's exit code.
pub async fn run(client: &Client, options: RunOptions, format: Format) -> Result<u8, Failure> {
    let RunOptions { submit, follow: FollowOptions { detach, quiet }, command } = options;
    let status = if quiet || format == Format::Json { Status::Quiet } else { Status::Shown };
    let submitted = submit_command(client, submit, command, status).await?;
    if detach {
        return print_submitted(&submitted, format).map(|()| 0);
    }
    status.line(&format!("job {} is submitted", submitted.id));
    let (out, err) = (tokio::io::stdout(), tokio::io::stderr());
    let ending = match format {
        Format::Text => follow::follow(client, submitted.id, &mut Sink { out, err, status }).await?,
        // standard output is for the one object
        Format::Json => {
            let out = tokio::io::stderr();
            follow::follow(client, submitted.id, &mut Sink { out, err, status }).await?
        }
    };
    end(submitted.id, ending, format, status)
}

fn end(id: JobId, ending: Ending, format: Format, status: Status) -> Result<u8, Failure> {
    match ending {
        Ending::Result(view) => {
            status.line(&format!("job {id} {}", follow::ended(&view)));
            if format == Format::Json {
                format.print::<JobView>(&view, |_| String::new())?;
            }
            Ok(view.exit_code.unwrap_or(NO_RESULT))
        }
        Ending::Left => {
            status.line(&format!("left; look at it with: rhizome job show {id}"));
            Ok(LEFT)
        }
    }
}

/// Submits and prints the id.
pub async fn submit(client: &Client, options: SubmitCommand, format: Format) -> Result<u8, Failure> {
    let SubmitCommand { file, submit, command } = options;
    let submitted = match file {
        None => submit_command(client, submit, command, Status::Shown).await?,
        Some(path) => {
            let job = read_job(&path).await?;
            send(client, &job, submit.key.as_deref()).await?
        }
    };
    print_submitted(&submitted, format).map(|()| 0)
}

fn print_submitted(submitted: &Submitted, format: Format) -> Result<(), Failure> {
    format.print(submitted, |submitted| submitted.id.to_string())
}

async fn read_job(path: &Path) -> Result<Submit, Failure> {
    let unread = |error: std::io::Error| {
        Error::new(Code::NotFound, format!("the job in {} cannot be read: {error}", path.display()))
    };
    let mut text = String::new();
    if path == Path::new("-") {
        tokio::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text).await.map_err(unread)?;
    } else {
        let file = tokio::fs::File::open(path).await.map_err(unread)?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).await.map_err(unread)?;
    }
    let wrong = |error: serde_json::Error| {
        Error::new(Code::BadRequest, format!("the job in {} is wrong: {error}", path.display()))
    };
    Ok(serde_json::from_str(&text).map_err(wrong)?)
}

async fn submit_command(
    client: &Client,
    options: SubmitOptions,
    command: Vec<String>,
    status: Status,
) -> Result<Submitted, Failure> {
    if options.private {
        status.line("private: inputs, log and artifacts never leave this machine");
        status.line("its command, environment, title and labels do go to the members of the ledger");
    }
    let key = options.key.clone();
    let publish = if options.source.publish { PublishChoice::Yes } else { PublishChoice::Ask };
    let mut job = resolve(client, options, command).await?;
    match send(client, &job, key.as_deref()).await {
        Err(failure) if failure.code() == Some(Code::NotPublished) && publish == PublishChoice::Ask => {
            let Some(SubmitSource::Path { path, publish, .. }) = &mut job.source else { return Err(failure) };
            if !consents(path, &failure) {
                return Err(failure);
            }
            *publish = Publish::Private;
            send(client, &job, key.as_deref()).await
        }
        answer => answer,
    }
}

async fn send(client: &Client, job: &Submit, key: Option<&str>) -> Result<Submitted, Failure> {
    let headers: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
    client.send_with(Method::POST, "/schedule", &headers, job).await
}

/// Asks a person, where there is one.
fn consents(path: &str, failure: &Failure) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    eprintln!("{failure}");
    eprint!("publish {path} privately to the members of the ledger? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stderr().flush().and_then(|()| std::io::stdin().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// From what was typed to what is meant: uploads the inputs, finds the jobs that prefixes name.
async fn resolve(client: &Client, options: SubmitOptions, command: Vec<String>) -> Result<Submit, Failure> {
    let mut inputs = Vec::new();
    for typed in &options.inputs {
        inputs.push(upload(client, typed).await?);
    }
    let mut supersedes = Vec::new();
    for prefix in &options.supersedes {
        let view: JobView = client.get(&format!("/v1/jobs/{}", segment(prefix))).await?;
        supersedes.push(view.summary.id);
    }
    let limits = limits(&options)?;
    let retry = retry(&options);
    let SubmitOptions { source, on, arbiter, standby, mode, private, artifacts, environment, labels, .. } = options;
    let requirements = Requirements {
        directories: options.directories.into_iter().collect(),
        runners: options.runners.into_iter().map(Into::into).collect(),
        ..Requirements::default()
    };
    Ok(Submit {
        command,
        title: options.title,
        description: options.description,
        environment: environment.into_iter().collect(),
        working_directory: None,
        source: resolve_source(source)?,
        inputs,
        artifacts,
        limits,
        requirements,
        attempts: options.attempts,
        retry,
        start_within_ms: options.start_within,
        supersedes,
        context: (options.context || !options.notes.is_empty() || options.context_tokens.is_some()).then(|| {
            ContextWish { notes: options.notes, budget_tokens: options.context_tokens, ..ContextWish::default() }
        }),
        queue: options.queue,
        mode: mode.into(),
        on,
        arbiter,
        standby,
        held_allowed: options.held,
        privacy: if private { Privacy::Private } else { Privacy::Shared },
        priority: options.priority,
        labels: labels.into_iter().collect(),
        traceparent: None,
        ledger: options.ledger,
        first_grant: FirstGrant::Auto,
    })
}

/// When and where another attempt is made, where anything was said about it.
fn retry(options: &SubmitOptions) -> Option<Retry> {
    let SubmitOptions { retry_place, backoff, retry_on, .. } = options;
    let said = retry_place.is_some() || backoff.is_some() || !retry_on.is_empty();
    said.then(|| Retry {
        place: retry_place.map(Into::into).unwrap_or_default(),
        backoff_ms: backoff.unwrap_or_default(),
        backoff_max_ms: 0,
        exit_codes: retry_on.iter().copied().collect(),
    })
}

/// What is typed as `rad:...` is an id, everything else a path.
fn resolve_source(source: SourceOptions) -> Result<Option<SubmitSource>, Error> {
    let SourceOptions { repo, commit, dirty, publish } = source;
    let Some(typed) = repo else { return Ok(None) };
    if typed.starts_with("rad:") {
        let repo = typed
            .parse()
            .map_err(|error| Error::new(Code::BadRequest, format!("'{typed}' is no repository id: {error}")))?;
        return Ok(Some(SubmitSource::Repository { repo, commit }));
    }
    let absolute = std::fs::canonicalize(&typed).map_err(|error| {
        Error::new(Code::RepositoryNotFound, format!("there is no repository at {typed}: {error}"))
            .hint("give --repo a path on this machine, or an id that begins with rad:")
    })?;
    let path = absolute
        .into_os_string()
        .into_string()
        .map_err(|path| Error::new(Code::BadRequest, format!("the path {} is not UTF-8", path.display())))?;
    let dirty = dirty.map_or(Dirty::Refuse, Into::into);
    let publish = if publish { Publish::Private } else { Publish::Refuse };
    Ok(Some(SubmitSource::Path { path, commit, dirty, publish }))
}

/// The caps that were named; they are strict unless `--best-effort` names them too.
fn limits(options: &SubmitOptions) -> Result<Limits, Error> {
    let given = &options.limits;
    let limit = |name: LimitName, value: Option<u64>| match (value, given.best_effort.contains(&name)) {
        (Some(value), best_effort) => Ok(Some(Limit { value, strict: !best_effort })),
        (None, false) => Ok(None),
        (None, true) => {
            let name = format!("{name:?}").to_lowercase();
            Err(Error::new(Code::BadRequest, format!("--best-effort names {name}, which has no limit here")))
        }
    };
    Ok(Limits {
        cpu_milli: limit(LimitName::Cpu, given.cpu)?,
        memory_bytes: limit(LimitName::Memory, given.memory)?,
        processes: limit(LimitName::Processes, given.processes)?,
        disk_bytes: limit(LimitName::Disk, given.disk)?,
        wall_ms: limit(LimitName::Wall, given.wall)?,
        log_bytes: limit(LimitName::Log, given.log_limit)?,
    })
}

/// `FILE` under its own name, or `FILE=PATH`. A file whose name holds `=` is found by its whole name first.
async fn upload(client: &Client, typed: &str) -> Result<Input, Failure> {
    let (file, path) = match typed.rsplit_once('=') {
        Some((file, path)) if !Path::new(typed).exists() => (file, path.to_owned()),
        Some(_) | None => {
            let name = Path::new(typed).file_name().map(|name| name.to_string_lossy().into_owned());
            (typed, name.unwrap_or_default())
        }
    };
    let unread = |why: String| Error::new(Code::NotFound, format!("the input {file} cannot be read: {why}"));
    let opened = tokio::fs::File::open(file).await.map_err(|error| unread(error.to_string()))?;
    let found = opened.metadata().await.map_err(|error| unread(error.to_string()))?;
    if !found.is_file() {
        return Err(unread(String::from("it is no file")).into());
    }
    let Uploaded { blob } = client.upload("/v1/blobs", opened).await?;
    Ok(Input { path, digest: blob.digest, size: blob.size })
}
