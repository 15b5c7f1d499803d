//! From what was written to what is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use cobs::id::{NodeId, RepoId};
use vault::ingest::watch::WatchMode;
use vault::vectors::url::StoreUrl;

use super::layers::Layers;
use super::reader::{Bad, Reader, host_port, name, parsed, set, socket, text, texts};
use super::{
    Api, Artifacts, Code, Config, Directory, EmbedderChoice, Key, Link, Log, Node, OpenAi, Problem, RootGrant,
    RunLimits, Scheduler, Vault,
};
use crate::llm::Address;
use crate::logging::{Filter, Format};
use crate::store::secret::Secret;

/// Most bytes of an alias, which is Radicle's own limit.
const ALIAS_BYTES_MAX: usize = 32;
/// The most that a size or time may be: past it arithmetic would have to be checked everywhere.
const AMOUNT_MAX: u64 = 1 << 50;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Reads everything; the configuration means nothing when there are problems.
pub(super) fn resolve(layers: &Layers) -> (Config, Vec<Problem>) {
    let mut reader = Reader::new(layers);
    let config = Config {
        node: node(&mut reader),
        ledger: reader.get("ledger.default", |value| {
            let text = text(value)?;
            RepoId::from_urn(&text).map_err(|_| {
                Bad::new("it is no repository id", "write it as `rad .` in the ledger prints it: rad:z...")
            })
        }),
        collect_every_ms: reader.ms("ledger.collect_every_ms", 1_000..=AMOUNT_MAX),
        archive_after_ms: reader.ms("ledger.archive_after_ms", 0..=AMOUNT_MAX),
        arbiter: reader
            .get("arbiter", |value| parsed::<NodeId>(value, "write a node id as `rad self --nid` prints it: z6Mk...")),
        link: Link { listen: reader.list("link.listen", socket), addresses: reader.list("link.addresses", host_port) },
        api: api(&mut reader),
        scheduler: scheduler(&mut reader),
        limits: RunLimits {
            cpu_milli: reader.number("limits.cpu_milli", 1..=AMOUNT_MAX),
            memory_bytes: reader.bytes("limits.memory_bytes", MIB..=AMOUNT_MAX),
            processes: reader.number("limits.processes", 1..=4_194_304),
            disk_bytes: reader.bytes("limits.disk_bytes", MIB..=AMOUNT_MAX),
            wall_ms: reader.ms("limits.wall_ms", 1..=AMOUNT_MAX),
            log_bytes: reader.bytes("limits.log_bytes", KIB..=AMOUNT_MAX),
        },
        sandbox_uid: reader.get("sandbox.uid", |value| match parsed(value, "write the number of a user")? {
            0 => Err(Bad::new("runs are never made as root", "write the number of another user")),
            uid => Ok(uid),
        }),
        directories: directories(&mut reader),
        heartbeat_ms: reader.ms("replication.heartbeat_ms", 500..=600_000),
        artifacts: Artifacts {
            keep_days: u32::try_from(reader.number("artifacts.keep_days", 0..=36_500)).unwrap_or(u32::MAX),
            keep_bytes: reader.bytes("artifacts.keep_bytes", 0..=AMOUNT_MAX),
        },
        vault: vault(&mut reader),
        log: Log {
            level: reader
                .get("log.level", |value| parsed::<Filter>(value, "write info, or info,node::link=debug"))
                .unwrap_or_default(),
            format: reader.get("log.format", format).unwrap_or(Format::Json),
        },
    };
    (config, reader.problems)
}

fn node(reader: &mut Reader<'_>) -> Node {
    Node {
        alias: reader.get("node.alias", |value| {
            let alias = text(value)?;
            let plain = !alias.chars().any(|c| c.is_control() || c.is_whitespace());
            if (1..=ALIAS_BYTES_MAX).contains(&alias.len()) && plain {
                Ok(alias)
            } else {
                Err(Bad::new("an alias has 1 to 32 bytes and no spaces", "choose another one"))
            }
        }),
        labels: set(reader.list("node.labels", name)),
        queues: set(reader.list("node.queues", name)),
        listen: reader.list("node.listen", socket),
    }
}

fn api(reader: &mut Reader<'_>) -> Api {
    let lower = |text: &str| Ok(text.to_lowercase());
    let listen = reader.get("api.listen", |value| {
        let address = socket(&text(value)?)?;
        if address.ip().is_loopback() {
            Ok(address)
        } else {
            Err(Bad::new("the API is for this machine only", "use a loopback address such as 127.0.0.1:8778"))
        }
    });
    let origin = |text: &str| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        match rest {
            Some(host) if !host.is_empty() && !host.contains('/') => Ok(text.to_lowercase()),
            _ => Err(Bad::new(format!("'{text}' is no origin"), "write it as http://localhost:5173, with no path")),
        }
    };
    Api {
        listen: listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        allowed_hosts: set(reader.list("api.allowed_hosts", lower)),
        allowed_origins: set(reader.list("api.allowed_origins", origin)),
    }
}

fn scheduler(reader: &mut Reader<'_>) -> Scheduler {
    Scheduler {
        lease_ms: reader.ms("scheduler.lease_ms", 1_000..=600_000),
        bid_window_ms: reader.ms("scheduler.bid_window_ms", 0..=60_000),
        grant_wait_ms: reader.ms("scheduler.grant_wait_ms", 100..=600_000),
        root_grant: reader
            .get("scheduler.root_grant", |value| match text(value)?.as_str() {
                "auto" => Ok(RootGrant::Auto),
                "never" => Ok(RootGrant::Never),
                _ => Err(Bad::new("it is neither auto nor never", "write one of them")),
            })
            .unwrap_or(RootGrant::Auto),
        slots: u32::try_from(reader.number("scheduler.slots", 0..=10_000)).unwrap_or(u32::MAX),
    }
}

fn vault(reader: &mut Reader<'_>) -> Vault {
    let folder = |value: &figment::value::Value| {
        let path = PathBuf::from(text(value)?);
        if path.is_absolute() { Ok(path) } else { Err(Bad::new("the path is not absolute", "write it from / on")) }
    };
    let embedder = |name: &str| match name.split_once(':') {
        None if name == "minilm" => Ok(EmbedderChoice::MiniLm),
        Some(("ollama", model)) if !model.is_empty() => Ok(EmbedderChoice::Ollama(model.to_owned())),
        Some(("openai", model)) if !model.is_empty() => Ok(EmbedderChoice::OpenAi(model.to_owned())),
        _ => Err(Bad::new(format!("'{name}' is no embedder"), "there are minilm, ollama:MODEL and openai:MODEL")),
    };
    let address = |value: &figment::value::Value| {
        Address::new(&text(value)?).map_err(|error| Bad::new(error, "write it as http://127.0.0.1:11434"))
    };
    let nowhere = || Address::new("http://127.0.0.1").expect("it is an address");
    let line = |line: &str| Ok(line.to_owned());
    let given = reader.list("vault.embedder", embedder);
    Vault {
        path: reader.get("vault.path", folder),
        private: reader.list("vault.private", line),
        watch: reader
            .get("vault.watch", |value| match text(value)?.as_str() {
                "events" => Ok(WatchMode::Events),
                "scan" => Ok(WatchMode::Scan),
                _ => Err(Bad::new("it is neither events nor scan", "write one of them")),
            })
            .unwrap_or_default(),
        embedders_given: !given.is_empty(),
        embedders: if given.is_empty() { vec![EmbedderChoice::MiniLm] } else { given },
        model: reader.get("vault.model", folder),
        store: reader.get("vectors.url", |value| {
            text(value)?
                .parse::<StoreUrl>()
                .map_err(|error| Bad::new(error, "unset it to keep vectors in this process"))
        }),
        ollama: reader.get("ollama.url", address).unwrap_or_else(nowhere),
        openai: OpenAi { address: reader.get("openai.url", address).unwrap_or_else(nowhere), key: openai_key(reader) },
        code: Code {
            paths: reader.list("code.paths", |path: &str| absolute(path)),
            private: reader.list("code.private", line),
        },
    }
}

/// The key itself goes before a file that has it.
fn openai_key(reader: &mut Reader<'_>) -> Option<Key> {
    let given = reader.get("openai.key", |value| Ok(Key::Given(Secret::presented(text(value)?))));
    let file = reader.get("openai.key_file", |value| Ok(Key::File(absolute(&text(value)?)?)));
    given.or(file)
}

fn format(value: &figment::value::Value) -> Result<Format, Bad> {
    match text(value)?.as_str() {
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => Err(Bad::new("it is neither json nor text", "write one of them")),
    }
}

fn directories(reader: &mut Reader<'_>) -> BTreeMap<String, Directory> {
    let names: BTreeSet<String> = reader
        .below("directories")
        .into_iter()
        .filter_map(|(key, _)| Some(key.split_once('.')?.0.to_owned()))
        .collect();
    let mut directories = BTreeMap::new();
    for directory in names {
        let key = |field: &str| format!("directories.{directory}.{field}");
        let path = reader.get(&key("path"), |value| absolute(&text(value)?));
        let at = reader.get(&key("at"), |value| absolute(&text(value)?));
        let bin = reader.get(&key("bin"), |value| texts(value)?.iter().map(|bin| inside(bin)).collect());
        let mut environment = BTreeMap::new();
        for (variable, _) in reader.below(&key("environment")) {
            if let Some(value) = reader.get(&key(&format!("environment.{variable}")), text) {
                environment.insert(variable, value);
            }
        }
        if !reader.has(&key("path")) {
            reader.missing(
                &key("path"),
                Bad::new("a named directory needs its path", "write the directory on this machine"),
            );
        }
        let Some(path) = path else { continue };
        directories.insert(directory, Directory { path, at, bin: bin.unwrap_or_default(), environment });
    }
    directories
}

/// A path that means the same wherever the daemon was started.
fn absolute(text: &str) -> Result<PathBuf, Bad> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain {
        Ok(path.into())
    } else {
        Err(Bad::new("it is not an absolute path without '..'", "write the whole path, such as /opt/rust"))
    }
}

fn inside(text: &str) -> Result<String, Bad> {
    let mut parts = Path::new(text).components();
    if !text.is_empty() && parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        Ok(text.to_owned())
    } else {
        Err(Bad::new(format!("'{text}' is not inside of the directory"), "write it relative to path, such as bin"))
    }
}
