//! The command line against a daemon in this process, and what typed words mean.

use clap::Parser;
use cobs::id::JobId;
use cobs::job::spec::{Limit, Privacy};
use serde_json::json;

use super::args::{Arguments, JobVerb, Verb};
use super::client::{Client, segment};
use super::exit::{Failure, exit_code};
use super::follow::{self, Ending, Sink, Status};
use super::output::Format;
use super::{jobs, run, usage};
use crate::api::settings::Settings;
use crate::api::tests::bodies::CODES;
use crate::api::tests::fake::ARTIFACT;
use crate::api::tests::rig::Rig;
use crate::ops::error::Code;
use crate::ops::types::{Dirty, Publish, Submit, SubmitSource};

fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from([&["rhizome"], words].concat())
}

/// Submits as typed, and says what the daemon was asked.
async fn submitted(rig: &Rig, words: &[&str]) -> Result<Submit, Failure> {
    let verb = parse(&[&["run", "--detach"], words].concat()).unwrap().verb;
    let Verb::Run(options) = verb else { panic!("it is a run") };
    let before = rig.node.last();
    run::run(&Client::new(rig.socket.clone()), *options, Format::Text).await?;
    let id = rig.node.last().filter(|id| Some(*id) != before).unwrap();
    Ok(rig.node.submitted(id))
}

fn sink() -> Sink<Vec<u8>, Vec<u8>> {
    Sink { out: Vec::new(), err: Vec::new(), status: Status::Quiet }
}

/// Our own errors end with 64 to 78, every one of them.
#[test]
fn every_code_has_its_exit_code() {
    for code in CODES {
        assert!((64..=78).contains(&exit_code(*code)), "{code:?}");
    }
    assert_eq!((exit_code(Code::NoDaemon), exit_code(Code::Config), exit_code(Code::Internal)), (69, 78, 70));
}

/// A wrong command line ends with 64, also as JSON; help is no error.
#[test]
fn a_wrong_command_line_ends_with_64() {
    let wrong: [&[&str]; 7] = [
        &["nonsense"],
        &["run"],
        &["run", "true"],
        &["run", "--cpu", "none", "--", "true"],
        &["run", "--commit", "abc", "--", "true"],
        &["job", "submit"],
        &["token", "create", "ci", "--scope", "admin"],
    ];
    for words in wrong {
        let error = parse(words).unwrap_err();
        for json in [None, Some("--json")] {
            let typed: Vec<_> = words.iter().copied().chain(json).map(Into::into).collect();
            assert_eq!(usage(&error, &typed), 64, "{words:?}");
        }
    }
    assert_eq!(usage(&parse(&["run", "--help"]).unwrap_err(), &[]), 0);
}

/// The help of every verb tells its exit codes.
#[test]
fn every_help_tells_the_exit_codes() {
    for words in [&["rhizome", "--help"][..], &["rhizome", "status", "-h"], &["rhizome", "job", "list", "--help"]] {
        let help = super::args::command().try_get_matches_from(words).unwrap_err().to_string();
        assert!(help.contains("69  no daemon"), "{words:?}: {help}");
    }
    let run = super::args::command().try_get_matches_from(["rhizome", "run", "--help"]).unwrap_err().to_string();
    assert!(run.contains("128 + n after signal n"), "{run}");
}

/// What is typed is what is asked: named limits are strict unless they are called best effort.
#[tokio::test]
async fn run_asks_for_what_was_typed() {
    let rig = Rig::start(Settings::default()).await;
    let input = rig.home.path().join("data.csv");
    std::fs::write(&input, "1,2\n").unwrap();
    let words = format!(
        "--cpu 1.5 --memory 512M --wall 10m --log-limit 1M --best-effort log,cpu --env A=b=c --label team=x --on beta \
         --arbiter alpha --mode idempotent --private --artifact out/* --dir cargo --priority -3 --runner sandbox \
         --attempts 2 --start-within 1h --queue slow --title T --input {0} --input {0}=in/d.csv -- sh -c",
        input.display()
    );
    let words: Vec<&str> = words.split_whitespace().chain(["echo --json"]).collect();
    let asked = submitted(&rig, &words).await.unwrap();
    assert_eq!(asked.command, ["sh", "-c", "echo --json"]);
    assert_eq!(asked.limits.cpu_milli, Some(Limit { value: 1500, strict: false }));
    assert_eq!(asked.limits.memory_bytes, Some(Limit { value: 512 << 20, strict: true }));
    assert_eq!(asked.limits.wall_ms, Some(Limit { value: 600_000, strict: true }));
    assert_eq!(asked.limits.log_bytes, Some(Limit { value: 1 << 20, strict: false }));
    assert_eq!(asked.limits.disk_bytes, None);
    assert_eq!((&asked.environment["A"], &asked.labels["team"]), (&"b=c".into(), &"x".into()));
    assert_eq!((asked.on.as_deref(), asked.arbiter.as_deref()), (Some("beta"), Some("alpha")));
    assert_eq!((asked.privacy, asked.priority, asked.attempts), (Privacy::Private, -3, Some(2)));
    assert_eq!((asked.start_within_ms, asked.queue.as_deref()), (Some(3_600_000), Some("slow")));
    let inputs: Vec<_> = asked.inputs.iter().map(|input| (input.path.as_str(), input.size)).collect();
    assert_eq!(inputs, [("data.csv", 4), ("in/d.csv", 4)]);
    assert_eq!(json!(asked.requirements), json!({ "directories": ["cargo"], "runners": ["sandbox"] }));
    let unlimited = submitted(&rig, &["--best-effort", "disk", "--", "true"]).await.unwrap_err();
    assert_eq!(unlimited.code(), Some(Code::BadRequest));
}

/// A repository is an id or a path; one without a Radicle identity is published only when that was typed or agreed to.
#[tokio::test]
async fn names_a_repository_and_never_publishes_unasked() {
    let rig = Rig::start(Settings::default()).await;
    let path = rig.home.path().to_str().unwrap();
    let refused = submitted(&rig, &["--repo", path, "--", "true"]).await.unwrap_err();
    assert_eq!((refused.code(), refused.report(Format::Text)), (Some(Code::NotPublished), 65));
    let asked = submitted(&rig, &["--repo", path, "--publish", "--dirty", "--commit", "HEAD~1", "--", "true"]).await;
    let path = std::fs::canonicalize(path).unwrap().to_str().unwrap().to_owned();
    let (commit, publish) = (Some(String::from("HEAD~1")), Publish::Private);
    let expected = SubmitSource::Path { path, commit, dirty: Dirty::Snapshot, publish };
    assert_eq!(asked.unwrap().source, Some(expected));
    let id = "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5";
    let asked = submitted(&rig, &["--repo", id, "--", "true"]).await.unwrap();
    assert_eq!(asked.source, Some(SubmitSource::Repository { repo: id.parse().unwrap(), commit: None }));
    for (repo, code) in [("rad:nonsense", Code::BadRequest), ("/nowhere/at/all", Code::RepositoryNotFound)] {
        assert_eq!(submitted(&rig, &["--repo", repo, "--", "true"]).await.unwrap_err().code(), Some(code));
    }
}

/// Output goes where the job wrote it, byte by byte, and the job's exit code is ours.
#[tokio::test]
async fn follows_to_the_end() {
    let rig = Rig::start(Settings::default()).await;
    let client = Client::new(rig.socket.clone());
    for (command, out, err, code) in
        [(&["say", "hello"][..], &b"hello\n"[..], &b"\xff\xfe\x0a"[..], Some(0)), (&["exit", "3"], b"", b"", Some(3))]
    {
        let id: JobId = rig.job(command).await.parse().unwrap();
        let mut sink = sink();
        let Ending::Result(view) = follow::follow(&client, id, &mut sink).await.unwrap() else { panic!("not left") };
        assert_eq!((&sink.out[..], &sink.err[..], view.exit_code), (out, err, code));
    }
}

/// A daemon that restarts costs the follower nothing: it comes back for what it has not seen.
#[tokio::test]
async fn follows_over_a_restart() {
    let mut rig = Rig::start(Settings::default()).await;
    let id = rig.job(&["wait"]).await;
    let (client, job) = (Client::new(rig.socket.clone()), id.parse().unwrap());
    let following = tokio::spawn(async move {
        let mut sink = sink();
        follow::follow(&client, job, &mut sink).await
    });
    rig.node.followed.notified().await;
    rig.restart().await;
    rig.node.followed.notified().await;
    assert_eq!(rig.owner(hyper::Method::POST, &format!("/v1/jobs/{id}/cancel"), "").await.status, 202);
    let Ending::Result(view) = following.await.unwrap().unwrap() else { panic!("it was not left") };
    assert_eq!(view.exit_code, Some(125));
    assert_eq!(*rig.node.since.lock().unwrap(), [None, Some(1)]);
}

/// Without a daemon every verb that needs one says how to start it, and ends with 69.
#[tokio::test]
async fn says_when_there_is_no_daemon() {
    let home = tempfile::tempdir().unwrap();
    let client = Client::new(home.path().join("s"));
    let Verb::Job { verb } = parse(&["job", "list"]).unwrap().verb else { panic!("it is a job") };
    let failure = jobs::job(&client, verb, Format::Text).await.unwrap_err();
    let Failure::Refused { error, .. } = &failure else { panic!("it was refused") };
    assert_eq!((error.code, error.hint.as_deref()), (Code::NoDaemon, Some("start it with: rhizome up")));
    assert_eq!(failure.report(Format::Json), 69);
}

/// Artifacts are written below the directory named, whole or not at all.
#[tokio::test]
async fn fetches_artifacts() {
    let rig = Rig::start(Settings::default()).await;
    let id = rig.job(&["true"]).await;
    let output = rig.home.path().join("got");
    let words = ["job", "artifacts", &id[..], "--output", output.to_str().unwrap()];
    let Verb::Job { verb } = parse(&words).unwrap().verb else { panic!("it is a job") };
    jobs::job(&Client::new(rig.socket.clone()), verb, Format::Text).await.unwrap();
    assert_eq!(std::fs::read(output.join(ARTIFACT.0)).unwrap(), ARTIFACT.1);
    *rig.node.spoiled.lock().unwrap() = Some(b"made by a rat\n");
    let spoiled = rig.home.path().join("spoiled");
    let words = ["job", "artifacts", &id[..], ARTIFACT.0, "--output", spoiled.to_str().unwrap()];
    let Verb::Job { verb } = parse(&words).unwrap().verb else { panic!("it is a job") };
    let refused = jobs::job(&Client::new(rig.socket.clone()), verb, Format::Text).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::Storage), "{refused}");
    assert!(!spoiled.join(ARTIFACT.0).exists());
    assert_eq!(std::fs::read_dir(spoiled.join("out")).unwrap().count(), 0);
}

/// A path of another machine stays below the directory.
#[test]
fn an_artifact_never_leaves_its_directory() {
    for path in ["../x", "/etc/passwd", "a/../../x", "", ".", ".."] {
        assert_eq!(jobs::inside(path).unwrap_err().code, Code::PathEscapes, "{path}");
    }
    assert!(jobs::inside("out/a b.txt").is_ok());
}

/// What a person types as a path segment stays one.
#[test]
fn a_segment_stays_one() {
    assert_eq!(segment("a/../b ?#%é"), "a%2F..%2Fb%20%3F%23%25%C3%A9");
}

/// The verbs' own words are read, and list stands for `peers` alone.
#[test]
fn reads_the_verbs() {
    let verbs: [&[&str]; 10] = [
        &["init", "--alias", "a"],
        &["up", "--set", "api.listen=127.0.0.1:0"],
        &["status", "--json"],
        &["invite", "--grant", "run,submit,arbitrate", "--expires", "1h"],
        &["join", "rhizome:link", "--grant", "run"],
        &["peers"],
        &["peers", "grant", "beta", "run,submit"],
        &["token", "create", "ci", "--scope", "read:jobs,write:jobs", "--expires", "30d"],
        &["config", "show"],
        &["demo", "--repo", ".", "--", "make", "test"],
    ];
    for words in verbs {
        assert!(parse(words).is_ok(), "{words:?}: {}", parse(words).unwrap_err());
    }
    let Verb::Job { verb: JobVerb::Submit(submit) } =
        parse(&["job", "submit", "--key", "k", "--", "true"]).unwrap().verb
    else {
        panic!("it is a submit")
    };
    assert_eq!((submit.submit.key.as_deref(), &submit.command[..]), (Some("k"), &[String::from("true")][..]));
}
