//! What is private stays on its node: it is in no request to a cloud, in nothing that a peer has, and in no object of the ledger.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::context::{node, paths, ready};
use crate::support::node::{Node, text};
use crate::support::repository;

const MARKERS: [&str; 3] = ["quokkamarker4410", "wombatmarker9921", "numbatmarker3307"];
const KEY: &str = "sk-never-to-be-seen";
/// Numbers of a vector of the cloud.
const DIMENSION: usize = 8;

/// A server that answers as OpenAI does, and keeps all that it was sent. Nobody takes it for one of this machine.
struct Cloud {
    url: String,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Cloud {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // the way to it is the loopback, but its address is not
        let url = format!("http://0.0.0.0:{}/v1", listener.local_addr().unwrap().port());
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let keeps = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &keeps);
            }
        });
        Self { url, seen }
    }

    fn saw(&self, text: &str) -> bool {
        has(&self.seen.lock().unwrap(), text)
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Answers one request; a client that goes away is none of its concern.
fn answer(stream: TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let lower = line.to_lowercase();
        length = lower.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap());
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    seen.lock().unwrap().extend(head.into_bytes().into_iter().chain(body.clone()));
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let vector = |text: &str| {
        let mut vector = [0.01f32; DIMENSION];
        text.bytes().for_each(|byte| vector[usize::from(byte) % DIMENSION] += 1.0);
        vector
    };
    let texts = asked["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
    let data: Vec<Value> =
        texts.enumerate().map(|(index, text)| json!({"index": index, "embedding": vector(text)})).collect();
    let answer = json!({ "data": data, "model": "tiny", "object": "list" }).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ";
    write!(reader.get_mut(), "{head}{}\r\n\r\n{answer}", answer.len()).ok();
}

fn until_compared(node: &Node) {
    node.says("the open notes have their vectors", &["vault", "status"], |status| {
        let meaning = &status["meaning"];
        meaning["documents"] == meaning["of"] && meaning["of"].as_u64() > Some(0) && meaning["failure"].is_null()
    });
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    };
    entries.flat_map(below).collect()
}

/// All objects of all repositories of a node, as git has them inside.
fn objects(node: &Node) -> String {
    let storage = node.place().join("storage");
    let repositories = fs::read_dir(&storage).unwrap().map(|entry| entry.unwrap().path());
    let of_git = repositories.filter(|path| path.join("objects").is_dir());
    of_git.map(|path| repository::git(&node.home, &path, &["cat-file", "--batch-all-objects", "--batch"])).collect()
}

#[test]
fn what_is_private_leaves_its_node_nowhere() {
    let cloud = Cloud::start();
    let (mut ann, vault) = node("ann");
    ann.down();
    let [note, folder, query] = MARKERS;
    fs::create_dir_all(vault.join("Cellar")).unwrap();
    fs::write(vault.join("Hidden.md"), format!("---\nprivacy: private\n---\nThe narwhal's code is {note}.\n")).unwrap();
    fs::write(vault.join("Cellar/Wine.md"), format!("The narwhal drinks {folder}.\n")).unwrap();
    fs::write(vault.join("Open.md"), "# Narwhal plan\n\nFeed the narwhal at noon, see [[Hidden]].\n").unwrap();
    ann.set("vault.private", "Cellar/");
    ann.set("vault.embedder", "openai:tiny");
    ann.environment.insert("CLOUD_PROVIDER_BASE_URL".to_owned(), cloud.url.clone());
    ann.environment.insert("OPENAI_API_KEY".to_owned(), KEY.to_owned());
    ann.up();
    ready(&ann);
    until_compared(&ann);
    assert!(cloud.saw("Feed the narwhal at noon") && cloud.saw(KEY), "it is asked for what is open, with the key");
    assert!(ann.json(&["vault", "status"])["meaning"]["private"].as_u64() >= Some(2));
    let bob = Node::join("bob", &[], &ann, "submit,run,read");

    // searched by words, with a query that is private itself
    assert!(paths(&ann.json(&["search", "code of the narwhal"])).contains(&"Hidden.md"));
    let asked = ann.ask("GET", &format!("/v1/search?q={query}&private=true"), &[], b"").unwrap();
    let answer: Value = serde_json::from_slice(&asked.body).unwrap();
    assert!(answer["notices"].to_string().contains("the query is private"), "{answer:#}");
    let asked = ann.ask("GET", &format!("/v1/search?q={query}"), &[], b"").unwrap();
    assert!(asked.status == 200 && cloud.saw(query), "a query that is not is sent");

    // used by a private job, and near a job that a peer runs
    let private = ["--private", "--note", "Hidden", "--title", "narwhal", "--", "sh", "-c", "cat $RHIZOME_CONTEXT"];
    let private = ann.submit(&private);
    assert_eq!(ann.settled(&private)["outcome"], "succeeded");
    assert!(text(&ann.json(&["context", "--job", &private]), "/text").contains(note));
    let shared = ann.submit(&[
        "--on",
        "bob",
        "--context",
        "--title",
        "Feed the narwhal",
        "--",
        "sh",
        "-c",
        "cat $RHIZOME_CONTEXT",
    ]);
    assert_eq!(ann.settled(&shared)["outcome"], "succeeded");
    bob.until(&shared, "bob has heard", std::time::Duration::from_secs(60), |job| job["outcome"] == "succeeded");
    bob.until(&private, "bob has heard", std::time::Duration::from_secs(60), |job| job["outcome"] == "succeeded");

    assert!(
        objects(&ann).contains("narwhal") && objects(&bob).contains("narwhal"),
        "the jobs' titles are in the ledger"
    );
    for marker in [note, folder] {
        assert!(!cloud.saw(marker), "{marker} was sent to the cloud");
        assert!(!objects(&ann).contains(marker) && !objects(&bob).contains(marker), "{marker} is in the ledger");
        let of_bob: Vec<PathBuf> =
            files(&bob.place()).into_iter().filter(|file| has(&fs::read(file).unwrap_or_default(), marker)).collect();
        assert!(of_bob.is_empty(), "{marker} is with the peer: {of_bob:?}");
    }
    let shown = ann.cli(&["config", "show"]).ok();
    assert!(shown.contains("(not shown)") && !shown.contains(KEY) && !ann.log().contains(KEY), "{shown}");
}
