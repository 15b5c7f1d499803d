//! Layers, provenance, errors and the template, as the person who configures a node meets them.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;

use cobs::id::RepoId;

use super::home::{Home, NoHome};
use super::keys::{Answers, KEYS, template};
use super::{ConfigError, EmbedderChoice, Environment, Flag, Loaded, Origin, RootGrant, Sources, load};

struct Case {
    directory: tempfile::TempDir,
    environment: Environment,
    flags: Vec<Flag>,
}

impl Case {
    fn new(file: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        fs::create_dir_all(home.rhizome()).unwrap();
        fs::write(home.config_file(), file).unwrap();
        Self { directory, environment: Environment::default(), flags: Vec::new() }
    }

    fn env(mut self, pairs: &[(&str, &str)]) -> Self {
        self.environment = pairs.iter().copied().collect();
        self
    }

    fn flag(mut self, flag: &str, key: &'static str, value: &str) -> Self {
        self.flags.push(Flag { flag: flag.into(), key: key.into(), value: value.into() });
        self
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        let home = Home::new(self.directory.path());
        let cores = NonZeroU32::new(6).unwrap();
        load(&Sources { home: &home, environment: &self.environment, flags: self.flags.clone(), cores })
    }

    /// The error, with the home's path as HOME.
    fn error(&self) -> String {
        let error = self.load().unwrap_err();
        error.to_string().replace(&self.directory.path().display().to_string(), "HOME")
    }
}

fn origin(loaded: &Loaded, key: &str) -> Origin {
    loaded.settings.iter().find(|setting| setting.key == key).unwrap().origin.clone()
}

#[test]
fn a_later_layer_wins_and_every_value_tells_where_it_came_from() {
    let file =
        "[scheduler]\nlease_ms = 20000\nbid_window_ms = 60\nslots = 3\n[node]\nalias = 'file'\nlabels = ['a', 'b']";
    let case = Case::new(file)
        .env(&[
            ("RHIZOME_SCHEDULER__LEASE_MS", "25s"),
            ("RHIZOME_NODE__LABELS", "c, d"),
            ("RHIZOME_LOG", "debug"),
            ("RHIZOME_JOB", "is not ours to judge"),
            ("RHIZOME_API__LISTEN", ""),
            ("PATH", "/bin"),
        ])
        .flag("--slots", "scheduler.slots", "9");
    let loaded = case.load().unwrap();
    let config = &loaded.config;
    assert_eq!((config.scheduler.lease_ms, config.scheduler.bid_window_ms, config.scheduler.slots), (25_000, 60, 9));
    assert_eq!(config.node.labels, BTreeSet::from(["c".to_owned(), "d".to_owned()]));
    assert_eq!(config.node.alias.as_deref(), Some("file"));
    assert_eq!(config.log.level.to_string(), "debug");
    let path = Home::new(case.directory.path()).config_file();
    assert_eq!(origin(&loaded, "scheduler.lease_ms").to_string(), "environment RHIZOME_SCHEDULER__LEASE_MS");
    assert_eq!(origin(&loaded, "scheduler.bid_window_ms").to_string(), format!("file {}", path.display()));
    assert_eq!(origin(&loaded, "scheduler.slots").to_string(), "flag --slots");
    assert_eq!(origin(&loaded, "log.level").to_string(), "environment RHIZOME_LOG");
    assert_eq!(origin(&loaded, "api.listen").to_string(), "default");
    assert_eq!(origin(&loaded, "arbiter"), Origin::Default);
}

#[test]
fn with_nothing_set_the_defaults_hold() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path());
    let environment = Environment::default();
    let sources =
        Sources { home: &home, environment: &environment, flags: Vec::new(), cores: NonZeroU32::new(6).unwrap() };
    let config = load(&sources).unwrap().config;
    assert_eq!(config.node.queues, BTreeSet::from(["default".to_owned()]));
    assert_eq!((config.scheduler.lease_ms, config.scheduler.slots), (30_000, 6));
    assert_eq!(config.scheduler.root_grant, RootGrant::Auto);
    assert_eq!((config.limits.cpu_milli, config.limits.wall_ms), (6_000, 3_600_000));
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8778");
    assert_eq!((config.artifacts.keep_days, config.artifacts.keep_bytes), (7, 1 << 30));
    let beside = config.link.listen_beside(&["10.0.0.1:8776".parse().unwrap(), "10.0.0.1:9999".parse().unwrap()]);
    assert_eq!(beside, ["10.0.0.1:8777".parse().unwrap()]);
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_known_one() {
    for (file, message) in [
        (
            "[scheduler]\nleas_ms = 1",
            "unknown key 'scheduler.leas_ms' (file HOME/rhizome/config.toml); did you mean 'scheduler.lease_ms'?",
        ),
        (
            "keep_days = 1",
            "unknown key 'keep_days' (file HOME/rhizome/config.toml); did you mean 'artifacts.keep_days'?",
        ),
        (
            "[directories.rust]\npath = '/x'\nmount = '/y'",
            "unknown key 'directories.rust.mount' (file HOME/rhizome/config.toml); did you mean 'directories.*.at'?",
        ),
        ("node = 3", "unknown key 'node' (file HOME/rhizome/config.toml); did you mean 'node.alias'?"),
    ] {
        let found = Case::new(file).error();
        let same_start = found.split(';').next() == message.split(';').next();
        assert!(same_start && found.contains("did you mean '"), "{found}");
    }
    assert!(Case::new("[scheduler]\nleas_ms = 1").error().ends_with("did you mean 'scheduler.lease_ms'?"));
    assert!(Case::new("keep_days = 1").error().ends_with("did you mean 'artifacts.keep_days'?"));
    let environment = Case::new("").env(&[("RHIZOME_LOG__LEVLE", "info")]).error();
    assert_eq!(environment, "unknown key 'log.levle' (environment RHIZOME_LOG__LEVLE); did you mean 'log.level'?");
}

#[test]
fn a_bad_value_is_told_with_why_and_what_next() {
    let file = "(file HOME/rhizome/config.toml)";
    for (text, message) in [
        (
            "[scheduler]\nlease_ms = 5",
            format!(
                "scheduler.lease_ms = 5 {file}: the least is 1000; write a time such as 30s, or milliseconds from 1000 to 600000"
            ),
        ),
        (
            "[limits]\nmemory_bytes = '10M'",
            format!(
                "limits.memory_bytes = \"10M\" {file}: it is not a size such as 512MiB; write a size such as 512MiB from 1048576 to 1125899906842624"
            ),
        ),
        (
            "[api]\nlisten = '0.0.0.0:8778'",
            format!(
                "api.listen = \"0.0.0.0:8778\" {file}: the API is for this machine only; use a loopback address such as 127.0.0.1:8778"
            ),
        ),
        ("arbiter = 'bob'", format!("arbiter = \"bob\" {file}: ")),
        ("[ledger]\ndefault = 'rad:x'", format!("ledger.default = \"rad:x\" {file}: it is no repository id; ")),
        ("[log]\nlevel = 'verbose'", format!("log.level = \"verbose\" {file}: 'verbose' is no level")),
        ("[sandbox]\nuid = 0", format!("sandbox.uid = 0 {file}: runs are never made as root; ")),
        (
            "[directories.rust]\npath = 'rust'",
            format!("directories.rust.path = \"rust\" {file}: it is not an absolute path"),
        ),
        (
            "[directories.rust]\nat = '/rust'",
            format!("directories.rust.path = nothing {file}: a named directory needs its path; "),
        ),
        ("[directories.rust]\npath = '/r'\nbin = '../b'", format!("directories.rust.bin = \"../b\" {file}: ")),
        ("[link]\naddresses = ['box']", format!("link.addresses = [\"box\"] {file}: 'box' is no host and port; ")),
        ("[node]\nlabels = 1.5", format!("node.labels = 1.5 {file}: it is a decimal number; ")),
    ] {
        let found = Case::new(text).error();
        assert!(found.starts_with(&message), "{found}\n{message}");
    }
    let both = Case::new("[api]\nlisten = 'x'\n[scheduler]\nslots = -1").error();
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(Case::new("a = = 1").error().starts_with("HOME/rhizome/config.toml is not valid TOML: line 1: "));
}

#[test]
fn the_template_parses_with_every_example_taken_and_holds_every_key() {
    let text = template(&Answers::default());
    let untouched = Case::new(&text).load().unwrap();
    assert_eq!(untouched.config, Case::new("").load().unwrap().config);
    let taken: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = Case::new(&taken).load().unwrap();
    for key in KEYS {
        let name = key.name.replace('*', "rust");
        let own = |setting: &&super::Setting| setting.key == name || setting.key.starts_with(&format!("{name}."));
        let setting = loaded.settings.iter().find(own).unwrap_or_else(|| panic!("{name} is not in the template"));
        assert!(matches!(setting.origin, Origin::File(_)), "{name} is not set by the template");
    }
    assert_eq!(loaded.config.directories["rust"].environment["CARGO_NET_OFFLINE"], "true");
    let ledger = RepoId::from_urn("rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5").unwrap();
    let known = template(&Answers { alias: Some("my-\"box".into()), ledger: Some(ledger) });
    let config = Case::new(&known).load().unwrap().config;
    assert_eq!((config.node.alias.as_deref(), config.ledger), (Some("my-\"box"), Some(ledger)));
}

#[test]
fn a_named_directory_may_come_from_the_environment_and_keeps_the_case_of_variables() {
    let case = Case::new("").env(&[
        ("RHIZOME_DIRECTORIES__RUST__PATH", "/opt/rust"),
        ("RHIZOME_DIRECTORIES__RUST__BIN", "bin,tools/bin"),
        ("RHIZOME_DIRECTORIES__RUST__ENVIRONMENT__CARGO_HOME", "/opt/rust/cargo"),
    ]);
    let directory = &case.load().unwrap().config.directories["rust"];
    assert_eq!(directory.path, std::path::Path::new("/opt/rust"));
    assert_eq!(directory.bin, ["bin", "tools/bin"]);
    assert_eq!(directory.environment["CARGO_HOME"], "/opt/rust/cargo");
}

#[test]
fn the_home_is_found_by_flag_then_rad_home_then_home() {
    let both: Environment = [("RAD_HOME", "/r"), ("HOME", "/h")].into_iter().collect();
    let empty: Environment = [("RAD_HOME", ""), ("HOME", "/h")].into_iter().collect();
    let find = |flag: Option<&str>, environment: &Environment| Home::find(flag.map(std::path::Path::new), environment);
    assert_eq!(find(Some("/f"), &both), Ok(Home::new("/f")));
    assert_eq!(find(None, &both), Ok(Home::new("/r")));
    assert_eq!(find(None, &empty), Ok(Home::new("/h/.radicle")));
    assert_eq!(find(None, &Environment::default()), Err(NoHome));
    assert_eq!(Home::new("/r").state(), std::path::Path::new("/r/rhizome/state.redb"));
}

/// A URL with a password and a key are never shown, neither as settings nor in errors, wherever they come from.
#[test]
fn secrets_are_not_shown() {
    let secret = "hunter2";
    let case = Case::new("[vault]\nembedder = ['minilm', 'ollama:nomic-embed-text:v1.5', 'openai:large']\n").env(&[
        ("VECTOR_DB_URL", "postgres://ann:hunter2@db.example/notes?sslmode=disable&password=hunter2"),
        ("OPENAI_API_KEY", secret),
        ("OLLAMA_BASE_URL", "http://127.0.0.1:1/"),
    ]);
    let loaded = case.load().unwrap();
    let models = &loaded.config.vault.embedders;
    assert_eq!(
        models[1..],
        [EmbedderChoice::Ollama("nomic-embed-text:v1.5".into()), EmbedderChoice::OpenAi("large".into())]
    );
    let shown = format!("{loaded:?}");
    assert!(!shown.contains(secret), "{shown}");
    let value = |key: &str| loaded.settings.iter().find(|setting| setting.key == key).unwrap().value.clone();
    assert_eq!(value("vectors.url"), "postgres://ann@db.example/notes");
    assert_eq!(value("openai.key"), "(not shown)");
    assert_eq!(origin(&loaded, "vectors.url"), Origin::Environment("VECTOR_DB_URL".into()));

    for (name, value, why) in [
        ("VECTOR_DB_URL", "mysql://hunter2@host", "its scheme is none that is known"),
        ("RHIZOME_VAULT__EMBEDDER", "ollama:", "'ollama:' is no embedder"),
        ("OLLAMA_BASE_URL", "http://ann:hunter2@host", "has no user, password"),
        ("RHIZOME_CODE__PATHS", "src", "not an absolute path"),
        ("OPENAI_API_KEY_FILE", secret, "not an absolute path"),
    ] {
        let error = Case::new("").env(&[(name, value)]).error();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains(secret), "{error}");
    }
}
