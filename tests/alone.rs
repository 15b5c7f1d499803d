//! One machine and nobody else: everything works, and ends as it says.

use std::thread;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;

use crate::support::node::{Node, text};
use crate::support::process::Process;
use crate::support::{repository, wait};

/// What a shell hears of a job's end: its exit code, 128 + n after signal n, 124 when its time ran out, 125 when it could
/// not start; and `--json` tells it in words.
#[test]
fn a_run_ends_as_its_command_did() {
    let node = Node::start("solo");
    let cases: [(&[&str], i32, &str, Value); 6] = [
        (&["--", "true"], 0, "succeeded", json!({"type": "exited", "code": 0})),
        (&["--", "sh", "-c", "exit 3"], 3, "failed", json!({"type": "exited", "code": 3})),
        (&["--", "sh", "-c", "kill -TERM $$"], 143, "failed", json!({"type": "signalled", "signal": 15})),
        (&["--", "sh", "-c", "kill -KILL $$"], 137, "failed", json!({"type": "signalled", "signal": 9})),
        (&["--", "no-such-program"], 125, "failed", json!({"type": "couldNotStart"})),
        (&["--wall", "300ms", "--", "sleep", "60"], 124, "failed", json!({"type": "timedOut"})),
    ];
    for (arguments, code, outcome, how) in cases {
        let mut all = vec!["--json", "run"];
        all.extend(arguments);
        let output = node.cli(&all);
        assert_eq!(output.code, code, "{arguments:?}: {output:?}");
        let job: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(job["outcome"], outcome, "{job:#}");
        assert_eq!(job["runOutcome"], how, "{job:#}");
        assert_eq!(job["exitCode"], code, "{job:#}");
        assert_eq!(job["waitsFor"], "it is settled", "{job:#}");
    }
}

/// Both outputs of a job arrive where they belong, byte for byte, also where they are no text.
#[test]
fn both_outputs_arrive_byte_for_byte() {
    let node = Node::start("solo");
    let script =
        r"printf 'a\377\000\303b'; printf 'no newline' >&2; seq 1 5000; printf '\342\202'; sleep 0.1; printf '\254'";
    let output = node.cli(&["run", "--quiet", "--", "sh", "-c", script]);
    let mut wanted = b"a\xff\x00\xc3b".to_vec();
    wanted.extend((1..=5000).flat_map(|number| format!("{number}\n").into_bytes()));
    wanted.extend("€".as_bytes());
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.bytes == wanted, "{} bytes of {}: {output:?}", output.bytes.len(), wanted.len());
    assert_eq!(output.stderr, "no newline");
}

/// One idempotency key makes one job: twice by hand, and eight times at once over HTTP with a token.
#[test]
fn one_key_makes_one_job() {
    let node = Node::start("solo");
    let [first, second] = [(); 2].map(|()| node.submit(&["--key", "once", "--", "true"]));
    assert_eq!(first, second);
    let token = text(&node.json(&["token", "create", "ci", "--scope", "read:jobs,write:jobs"]), "/secret");
    let body = json!({"command": ["true"]}).to_string();
    let answers: Vec<Value> = thread::scope(|scope| {
        let ask = || {
            let key = ["Idempotency-Key: race".to_owned()];
            let answer = node.ask_with(&token, "POST", "/schedule", &key, body.as_bytes()).unwrap();
            assert_eq!(answer.status, 202, "{answer:?}");
            answer.json()
        };
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer["id"] == answers[0]["id"]), "{answers:#?}");
    assert_eq!(answers.iter().filter(|answer| answer["replayed"] == false).count(), 1, "{answers:#?}");
    assert_eq!(node.jobs().len(), 2);
    // another request under the same key is a mistake, and no job
    let other = json!({"command": ["false"]}).to_string();
    let refused = node.ask_with(&token, "POST", "/schedule", &["Idempotency-Key: race".into()], other.as_bytes());
    assert_eq!(refused.unwrap().json()["code"], "idempotency_conflict");
    assert_eq!(node.jobs().len(), 2);
}

/// A running job that is cancelled ends at once, and whoever follows it hears 125.
#[test]
fn a_running_job_can_be_cancelled() {
    let node = Node::start("solo");
    let mut follower = Process::start(&node.home, "follower", &mut node.command(&["run", "--", "sleep", "600"]));
    follower.wait_for("running on", wait::LIMIT);
    let id = node.jobs()[0].0.clone();
    node.cli(&["job", "cancel", &id, "--reason", "enough"]).ok();
    assert_eq!(follower.wait(wait::LIMIT).code(), Some(125), "{}", follower.output());
    let job = node.settled(&id);
    assert_eq!((&job["outcome"], &job["exitCode"]), (&json!("cancelled"), &json!(125)), "{job:#}");
    wait::until("nothing runs", wait::LIMIT, || {
        (node.ask("GET", "/pods", &[], b"")?.json() == json!([])).then_some(())
    });
}

/// An evicted run gives its job back, also when it has only just started; the job is not ended by that.
#[test]
fn an_evicted_run_is_given_back() {
    let node = Node::start("solo");
    let id = node.submit(&["--", "sleep", "600"]);
    node.running(&id);
    node.cli(&["job", "evict", &id, "--grace", "100ms"]).ok();
    let job = node.until(&id, "the run was given back", wait::LIMIT, |job| {
        job.pointer("/state/dones/0/1/outcome/type") == Some(&json!("released"))
    });
    assert_ne!(job["status"], "settled", "{job:#}");
    node.cli(&["job", "cancel", &id]).ok();
    assert_eq!(node.settled(&id)["outcome"], "cancelled");
}

/// A private job runs, can be read here, and leaves neither log tail nor artifacts in the ledger.
#[test]
fn a_private_job_stays_here() {
    let node = Node::start("solo");
    let id = node.submit(&["--private", "--artifact", "kept", "--", "sh", "-c", "echo secret | tee kept"]);
    let job = node.settled(&id);
    assert_eq!(job["outcome"], "succeeded", "{job:#}");
    assert_eq!(job.pointer("/state/dones/0/1/tail"), Some(&json!("")), "{job:#}");
    assert_eq!(job.pointer("/state/create/workers"), Some(&json!([node.id()])), "{job:#}");
    assert_eq!(node.cli(&["job", "logs", &id]).ok(), "secret\n");
    node.cli(&["job", "artifacts", &id, "--output", "out"]).ok();
    assert_eq!(std::fs::read_to_string(node.home.join("out/kept")).unwrap(), "secret\n");
}

/// An input file is in the work tree, and what the job leaves comes out with its digest and mode.
#[test]
fn files_go_in_and_come_out() {
    let node = Node::start("solo");
    std::fs::write(node.home.join("numbers"), "3\n1\n2\n").unwrap();
    let script =
        "mkdir -p out/deep; sort data/in > out/deep/sorted; printf '#!/bin/sh\n' > out/tool; chmod +x out/tool";
    let id = node.submit(&["--input", "numbers=data/in", "--artifact", "out/**", "--", "sh", "-c", script]);
    assert_eq!(node.settled(&id)["outcome"], "succeeded");
    let listed = node.json(&["job", "artifacts", &id]);
    let sorted = json!({"path": "out/deep/sorted", "size": 6, "executable": false});
    let files = listed["files"].as_array().unwrap();
    let found = files.iter().find(|file| file["path"] == sorted["path"]).unwrap();
    assert_eq!((&found["size"], &found["executable"]), (&sorted["size"], &sorted["executable"]));
    node.cli(&["job", "artifacts", &id, "--output", "fetched"]).ok();
    assert_eq!(std::fs::read_to_string(node.home.join("fetched/out/deep/sorted")).unwrap(), "1\n2\n3\n");
    let tool = std::fs::metadata(node.home.join("fetched/out/tool")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&tool.permissions()) & 0o111, 0o111);
}

/// A list is filtered by status, outcome and queue, and comes in pages that hold every job once.
#[test]
fn lists_are_filtered_and_paged() {
    let node = Node::start_with("solo", &[("node.queues", "default,night"), ("scheduler.slots", "1")]);
    let mut all: Vec<String> = (0..4).map(|_| node.submit(&["--label", "team=a", "--", "true"])).collect();
    let failed = node.submit(&["--queue", "night", "--", "false"]);
    all.push(failed.clone());
    for id in &all {
        node.settled(id);
    }
    let running = node.submit(&["--", "sleep", "600"]);
    node.running(&running);
    let waiting = node.submit(&["--", "true"]);
    all.extend([running, waiting.clone()]);
    let ids = |arguments: &[&str]| -> Vec<String> {
        let page = node.json(arguments);
        page["items"].as_array().unwrap().iter().map(|job| text(job, "/id")).collect()
    };
    assert_eq!(ids(&["job", "list", "--outcome", "failed"]), std::slice::from_ref(&failed));
    assert_eq!(ids(&["job", "list", "--queue", "night"]), [failed]);
    assert_eq!(ids(&["job", "list", "--status", "queued"]), std::slice::from_ref(&waiting));
    assert_eq!(ids(&["job", "list", "--status", "settled"]).len(), 5);
    assert_eq!(node.job(&all[0]).pointer("/state/create/spec/labels/team"), Some(&json!("a")));
    let why = text(&node.json(&["job", "explain", &waiting]), "/waitsFor");
    assert!(!why.is_empty(), "a job that waits says why");
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for _ in 0..all.len() {
        let mut arguments = vec!["job", "list", "--limit", "4"];
        if !cursor.is_empty() {
            arguments.extend(["--cursor", &cursor]);
        }
        let page = node.json(&arguments);
        seen.extend(page["items"].as_array().unwrap().iter().map(|job| text(job, "/id")));
        let Some(next) = page["next"].as_str() else { break };
        cursor = next.to_owned();
    }
    let mut newest_first = seen.clone();
    seen.sort_unstable();
    all.sort_unstable();
    assert_eq!(seen, all);
    newest_first.dedup();
    assert_eq!(newest_first.len(), all.len());
}

/// A stream that breaks off after every few messages and goes on with `since` has every byte of the log once.
#[test]
fn a_stream_resumes_without_losing_a_byte() {
    let node = Node::start("solo");
    let script = "for i in $(seq 60); do echo line $i; sleep 0.02; done";
    let id = node.submit(&["--", "sh", "-c", script]);
    let (mut log, mut since, mut connections) = (Vec::new(), None::<u64>, 0);
    let ended = loop {
        connections += 1;
        assert!(connections < 200, "no end in {connections} connections");
        let after = since.map(|seq| format!("?since={seq}")).unwrap_or_default();
        let target = format!("ws://localhost/stream/{id}{after}");
        let (mut socket, _) = tungstenite::client(target, node.socket().unwrap()).unwrap();
        let mut messages = 0;
        let ended = loop {
            let tungstenite::Message::Text(message) = socket.read().unwrap() else { continue };
            let message: Value = serde_json::from_str(&message).unwrap();
            let payload = &message["payload"];
            let seq = payload["seq"].as_u64().unwrap();
            match message["type"].as_str().unwrap() {
                "log" => {
                    assert_eq!(payload["offset"], log.len(), "{message:#}");
                    log.extend(bytes(payload));
                }
                "heartbeat" | "status" => {}
                "result" => break Some(payload.clone()),
                other => panic!("{other}: {message:#}"),
            }
            let grows = since.is_none_or(|last| last < seq || (last == seq && message["type"] != "log"));
            assert!(grows, "{since:?}: {message:#}");
            since = Some(seq);
            messages += 1;
            if messages == 5 {
                break None;
            }
        };
        if let Some(result) = ended {
            break result;
        }
    };
    assert_eq!(ended["outcome"], "succeeded", "{ended:#}");
    let wanted: String = (1..=60).map(|line| format!("line {line}\n")).collect();
    assert_eq!(String::from_utf8(log).unwrap(), wanted);
    assert!(connections > 3, "{connections}");
}

fn bytes(piece: &Value) -> Vec<u8> {
    match piece["text"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => base64::engine::general_purpose::STANDARD.decode(piece["base64"].as_str().unwrap()).unwrap(),
    }
}

/// Two who follow one log at once read the same, and the same as one who comes later.
#[test]
fn two_readers_of_a_log_read_the_same() {
    let node = Node::start("solo");
    let script = "for i in $(seq 40); do echo $i; echo $i >&2; sleep 0.02; done";
    let id = node.submit(&["--", "sh", "-c", script]);
    node.running(&id);
    let follow = || node.cli(&["job", "logs", "--follow", &id]);
    let [first, second] =
        thread::scope(|scope| [(); 2].map(|()| scope.spawn(follow)).map(|reader| reader.join().unwrap()));
    let later = node.cli(&["job", "logs", &id]);
    let wanted: String = (1..=40).map(|line| format!("{line}\n")).collect();
    for output in [&first, &second, &later] {
        assert_eq!((output.code, &output.stdout, &output.stderr), (0, &wanted, &wanted));
    }
}

/// A daemon that is stopped and started again has the same jobs and their logs.
#[test]
fn a_restart_forgets_nothing() {
    let mut node = Node::start("solo");
    let id = node.submit(&["--", "echo", "kept"]);
    node.settled(&id);
    let before = node.jobs();
    node.down();
    let refused = node.cli(&["job", "list"]);
    assert_eq!(refused.code, 69, "{refused:?}");
    assert!(refused.stderr.contains("rhizome up"), "{refused:?}");
    node.up();
    assert_eq!(node.jobs(), before);
    assert_eq!(node.cli(&["job", "logs", &id]).ok(), "kept\n");
    node.kill();
    node.up();
    assert_eq!(node.jobs(), before);
}

/// A held run goes on while its daemon is away, and is adopted by the next one: started once, all of its log.
#[test]
fn a_run_outlives_its_daemon() {
    let mut node = Node::start("solo");
    let id = node.submit(&["--", "sh", "-c", "for i in $(seq 30); do echo $i; sleep 0.1; done"]);
    node.running(&id);
    node.kill();
    node.up();
    let job = node.until(&id, "the job is settled", Duration::from_secs(20), |job| job["status"] == "settled");
    assert_eq!((&job["outcome"], node.runs(&id)), (&json!("succeeded"), 1), "{job:#}");
    let wanted: String = (1..=30).map(|line| format!("{line}\n")).collect();
    assert_eq!(node.cli(&["job", "logs", &id]).ok(), wanted);
}

/// Changes that no commit holds go along when they are asked for, as a commit that only the job sees.
#[test]
fn a_dirty_tree_goes_along_when_asked() {
    let node = Node::start("solo");
    let path = node.home.join("source");
    repository::create(&node.home, &path, &[("kept", "kept\n"), ("changed", "before\n"), ("gone", "gone\n")]);
    std::fs::write(path.join("changed"), "after\n").unwrap();
    std::fs::write(path.join("new"), "new\n").unwrap();
    std::fs::remove_file(path.join("gone")).unwrap();
    let state = || {
        let status = repository::git(&node.home, &path, &["status", "--porcelain"]);
        status + &repository::git(&node.home, &path, &["for-each-ref"])
    };
    let before = state();
    let run = |dirty: &str| {
        let repo = path.to_str().unwrap();
        let command = ["--", "sh", "-c", "for file in *; do cat $file; done"];
        node.cli(&[&["run", "--quiet", "--repo", repo, "--publish", dirty], &command[..]].concat()).ok()
    };
    assert_eq!(run("--dirty"), "after\nkept\nnew\n");
    assert_eq!(run("--dirty=ignore"), "before\ngone\nkept\n");
    assert_eq!(state(), before);
}

/// Who asked for what, and what came of it, is kept; what only looks is not. The configuration is shown with and without a daemon,
/// and a token that is revoked is worth nothing any more.
#[test]
fn changes_are_audited_and_settings_shown() {
    let mut node = Node::start("solo");
    let secret = text(&node.json(&["token", "create", "ci", "--scope", "write:jobs,read:jobs"]), "/secret");
    let submitted = node.ask_with(&secret, "POST", "/schedule", &[], br#"{"command":["true"]}"#).unwrap();
    assert_eq!(submitted.status, 202, "{submitted:?}");
    let id = text(&submitted.json(), "/id");
    node.settled(&id);
    // nobody in particular is refused and counted, and pushes nobody else out
    let refused = node.ask_as_nobody("POST", "/schedule", br#"{"command":["true"]}"#).unwrap();
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_ne!(node.cli(&["job", "cancel", "ffff"]).code, 0);
    assert_eq!(node.json(&["token", "list"]).pointer("/0/name"), Some(&json!("ci")));
    node.cli(&["token", "revoke", "ci"]).ok();
    let refused = node.ask_with(&secret, "GET", "/v1/jobs", &[], b"").unwrap();
    assert_eq!(refused.status, 401, "{refused:?}");
    let entries = node.json(&["audit"]);
    let row = |entry: &Value| {
        ["caller", "operation", "subject", "result"].map(|name| entry[name].as_str().unwrap_or_default().to_owned())
    };
    let rows: Vec<_> = entries.as_array().unwrap().iter().map(row).collect();
    let wanted = [
        ["owner", "revoke_token", "ci", "ok"],
        ["owner", "cancel", "", "not_found"],
        ["ci", "submit", &id, "ok"],
        ["owner", "create_token", "ci", "ok"],
    ];
    assert_eq!(rows, wanted);
    let figures = String::from_utf8(node.ask("GET", "/metrics", &[], b"").unwrap().body).unwrap();
    let figure = r#"rhizome_operations_total{operation="submit",result="ok"} 1"#;
    assert!(figures.lines().any(|line| line == figure), "{figures}");

    let shown = |node: &Node| -> Vec<Value> { node.json(&["config", "show"]).as_array().unwrap().clone() };
    let with = shown(&node);
    let slots = with.iter().find(|value| value["key"] == "scheduler.slots").unwrap();
    assert_eq!((text(slots, "/value"), text(slots, "/from")), ("\"4\"".into(), "flag --set scheduler.slots".into()));
    node.down();
    let without = shown(&node);
    let keys = |values: &[Value]| values.iter().map(|value| text(value, "/key")).collect::<Vec<_>>();
    assert_eq!(keys(&without), keys(&with));
    node.up();
    assert_eq!(node.json(&["audit", "--limit", "1"]).as_array().unwrap().len(), 1);
}
