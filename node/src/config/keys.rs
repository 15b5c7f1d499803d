//! Every key there is: the one table behind defaults, the template, and the search for the key that was meant.

use std::fmt::Write as _;

use cobs::id::RepoId;

/// A key of the config file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section and key; `*` stands for any name.
    pub name: &'static str,
    /// As TOML.
    pub value: Given,
    /// For people; one line.
    pub help: &'static str,
}

/// What a key is when nobody sets it, as TOML.
#[derive(Clone, Copy, Debug)]
pub enum Given {
    /// This.
    Default(&'static str),
    /// Nothing, or what the machine suggests; this shows how it is written.
    Example(&'static str),
}

use Given::{Default, Example};

/// All keys, in the order of the template.
pub const KEYS: &[Key] = &[
    key(
        "arbiter",
        Example(r#""z6MknSLrJoTcukLrE435hVNQT4JUhbvWLX4kUzqkEStBU8Vi""#),
        "The always-on node that orders jobs submitted here, so that this machine may sleep; this node without.",
    ),
    key("node.alias", Example(r#""workshop""#), "What people call this node; Radicle's alias without."),
    key("node.labels", Default("[]"), "Labels that a job may require of the node that runs it."),
    key("node.queues", Default(r#"["default"]"#), "Queues from which jobs are taken."),
    key(
        "node.listen",
        Example(r#"["0.0.0.0:8776"]"#),
        "Where the Radicle node listens; without, what Radicle's own config.json says.",
    ),
    key(
        "ledger.default",
        Example(r#""rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5""#),
        "The ledger that is meant when none is named; without, the first one created or joined.",
    ),
    key(
        "ledger.archive_after_ms",
        Default(r#""24h""#),
        "How long settled jobs stay among the live ones of the ledger; archived ones are read as before and cost less.",
    ),
    key(
        "ledger.collect_every_ms",
        Default(r#""24h""#),
        "How often git's garbage in the ledger's storage is collected, at the lowest priority; sooner where there is much.",
    ),
    key(
        "link.listen",
        Example(r#"["0.0.0.0:8777"]"#),
        "Where the direct link listens; without, on the Radicle node's hosts at port 8777.",
    ),
    key(
        "link.addresses",
        Default("[]"),
        "Addresses to publish besides those listened on, such as a tailnet name: host:port.",
    ),
    key("api.listen", Default(r#""127.0.0.1:8778""#), "Where the HTTP API listens; loopback only."),
    key("api.allowed_hosts", Default("[]"), "Host names, besides loopback's, by which browsers may reach the API."),
    key(
        "api.allowed_origins",
        Default("[]"),
        "Origins of web pages that may use the API, such as http://localhost:5173.",
    ),
    key("scheduler.lease_ms", Default("30000"), "How long a grant holds without a renewal: 1 second to 10 minutes."),
    key("scheduler.bid_window_ms", Default("50"), "How long the arbiter waits for better bids after the first."),
    key(
        "scheduler.grant_wait_ms",
        Default("10000"),
        "After this, a grant that nobody asked to confirm goes to another node.",
    ),
    key(
        "scheduler.root_grant",
        Default(r#""auto""#),
        "Whether the first grant may ride in the job itself: auto or never.",
    ),
    key("scheduler.slots", Example("4"), "Most runs at once; one a core without."),
    key(
        "limits.cpu_milli",
        Example("4000"),
        "Thousandths of a core for a run whose job names none; all cores without.",
    ),
    key("limits.memory_bytes", Default(r#""4GiB""#), "Memory of a run."),
    key("limits.processes", Default("1024"), "Processes and threads of a run."),
    key("limits.disk_bytes", Default(r#""8GiB""#), "Work tree and temporary files of a run."),
    key("limits.wall_ms", Default(r#""1h""#), "Time of a run."),
    key("limits.log_bytes", Default(r#""16MiB""#), "Output of a run."),
    key("sandbox.uid", Example("65534"), "The host user that sandboxed runs are made as when the daemon is root."),
    key("directories.*.path", Example(r#""/opt/rust""#), "A read-only directory that jobs may ask for by name."),
    key("directories.*.at", Example(r#""/opt/rust""#), "Where the sandbox shows it."),
    key("directories.*.bin", Example(r#"["bin"]"#), "Directories in it that go in front of PATH."),
    key("directories.*.environment", Example(r#"{ CARGO_NET_OFFLINE = "true" }"#), "Variables that come with it."),
    key(
        "replication.heartbeat_ms",
        Default("3000"),
        "How often this node tells its peers that it is there; a restarted one is seen that soon.",
    ),
    key("artifacts.keep_days", Default("7"), "How long what settled jobs left is kept on the machine that ran them."),
    key(
        "artifacts.keep_bytes",
        Default(r#""1GiB""#),
        "How much of it; beyond it the oldest settled goes first. Copies at the author's stay.",
    ),
    key("vault.path", Example(r#""/home/ann/Notes""#), "The Obsidian vault that is indexed; none without."),
    key(
        "vault.private",
        Default("[]"),
        "Where in the vault all is private, as lines of a .gitignore: no cloud and no peer sees it.",
    ),
    key(
        "vault.watch",
        Default(r#""events""#),
        "How changes are noticed: events, or scan where others write over a network.",
    ),
    key(
        "vault.embedder",
        Example(r#"["minilm", "ollama:all-minilm"]"#),
        "What compares by meaning, the first that is there: minilm, ollama:MODEL or openai:MODEL; without, the model that was added.",
    ),
    key(
        "vault.model",
        Example(r#""/opt/all-MiniLM-L6-v2""#),
        "The folder of the model minilm; without, the one that rhizome model add copied.",
    ),
    key(
        "code.paths",
        Example(r#"["/home/ann/src/project"]"#),
        "Working trees whose files are searched beside the vault, by their names, words and symbols; none without.",
    ),
    key(
        "code.private",
        Default("[]"),
        "Where in them all is private, as lines of a .gitignore, each tree by its folder's name.",
    ),
    key(
        "vectors.url",
        Example(r#""postgres://rhizome@localhost/rhizome""#),
        "Where vectors are kept: weaviate+http(s)://, milvus:// or postgres://; in this process without. Or VECTOR_DB_URL.",
    ),
    key("ollama.url", Default(r#""http://127.0.0.1:11434""#), "Where Ollama is. Or OLLAMA_BASE_URL."),
    key(
        "openai.url",
        Default(r#""https://api.openai.com/v1""#),
        "Where OpenAI is, or who answers in its way. Or CLOUD_PROVIDER_BASE_URL.",
    ),
    key(
        "openai.key",
        Example(r#""sk-...""#),
        "Its key, which is never shown; better in OPENAI_API_KEY, or in a file that openai.key_file names.",
    ),
    key(
        "openai.key_file",
        Example(r#""/etc/rhizome/openai.key""#),
        "The file that has its key. Or OPENAI_API_KEY_FILE.",
    ),
    key(
        "log.level",
        Default(r#""info""#),
        "error, warn, info, debug, trace or off, or by module: info,node::link=debug.",
    ),
    key("log.format", Default(r#""json""#), "json for machines, text for people."),
];

/// Keys whose values may be secrets or have one in them: they are shown without it.
pub const SECRET: [&str; 2] = ["vectors.url", "openai.key"];
/// Where a key may be put by mistake.
pub const KEY_FILE: &str = "openai.key_file";
/// What is shown instead.
pub const HIDDEN: &str = "(not shown)";

/// The name that stands for any in the template.
const ANY: &str = "rust";

const HEADER: &str = "\
# Rhizome's configuration. Every key is shown with its default, or with an example; remove the '#' to set it.
# The environment overrides it: RHIZOME_SCHEDULER__LEASE_MS=20000 sets scheduler.lease_ms.
# `rhizome config show` tells each value and where it came from. Sizes: 512MiB, 2GB. Times: 250ms, 10m, 1.5h.
";

/// What `rhizome init` knows already.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answers {
    /// The node's alias.
    pub alias: Option<String>,
    /// The ledger it created.
    pub ledger: Option<RepoId>,
}

/// A commented config file.
pub fn template(answers: &Answers) -> String {
    let mut text = HEADER.to_owned();
    let mut section = "";
    for key in KEYS {
        let (its_section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if its_section != section {
            section = its_section;
            match section.strip_suffix(".*") {
                // Commented out: an empty one would lack its path.
                Some(named) => write!(text, "\n#[{named}.{ANY}]\n"),
                None => write!(text, "\n[{section}]\n"),
            }
            .expect("a string takes all that is written");
        }
        let answer = match key.name {
            "node.alias" => answers.alias.clone(),
            "ledger.default" => answers.ledger.map(|ledger| ledger.to_string()),
            _ => None,
        };
        let line = match (answer, key.value) {
            (Some(answer), _) => format!("{name} = {}", toml::Value::String(answer)),
            (None, Default(value) | Example(value)) => format!("#{name} = {value}"),
        };
        write!(text, "# {}\n{line}\n", key.help).expect("a string takes all that is written");
    }
    text
}

/// Whether a key of these parts is in the table, or lies in one that holds any names.
pub fn is_known(parts: &[&str]) -> bool {
    KEYS.iter().any(|key| {
        let mut known = key.name.split('.');
        let same = known.by_ref().zip(parts).all(|(known, part)| known == "*" || known == *part);
        let depth = key.name.split('.').count();
        same && (parts.len() == depth || (key.name.ends_with(".environment") && parts.len() == depth + 1))
    })
}

/// The known key that is most like `wrong`, by whole name or by last part.
pub fn nearest(wrong: &str) -> &'static str {
    let last = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    let distance = |key: &&Key| distance(key.name, wrong).min(distance(last(key.name), wrong) + 1);
    KEYS.iter().min_by_key(distance).map_or("", |key| key.name)
}

/// Letters to insert, remove or replace (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

const fn key(name: &'static str, value: Given, help: &'static str) -> Key {
    Key { name, value, help }
}
