//! The four layers laid over one another, each value with where it came from.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use vault::vectors::url::StoreUrl;

use super::keys::{Given, HIDDEN, KEYS, SECRET, is_known, nearest};
use super::{ConfigError, Environment, Origin, Problem, Setting, Sources};

/// Most bytes of a config file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Begins the names of our variables; `__` stands between section and key.
const PREFIX: &str = "RHIZOME_";
/// Short names of what is set most often.
const SHORT: &[(&str, &str)] = &[
    ("RHIZOME_ALIAS", "node.alias"),
    ("RHIZOME_ARBITER", "arbiter"),
    ("RHIZOME_LEDGER", "ledger.default"),
    ("RHIZOME_LOG", "log.level"),
    ("VECTOR_DB_URL", "vectors.url"),
    ("OLLAMA_BASE_URL", "ollama.url"),
    ("CLOUD_PROVIDER_BASE_URL", "openai.url"),
    ("OPENAI_API_KEY", "openai.key"),
    ("OPENAI_API_KEY_FILE", "openai.key_file"),
];

/// What the layers come to.
pub(super) struct Layers {
    /// Every value that is not a table, by dotted key.
    pub values: BTreeMap<String, (Value, Origin)>,
    /// Keys that do not exist.
    pub unknown: Vec<Problem>,
}

/// One layer for figment; its name finds the origin again.
struct Layer {
    origin: Origin,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// Lays them over one another.
pub(super) fn merge(sources: &Sources<'_>) -> Result<Layers, ConfigError> {
    let mut layers = vec![Layer { origin: Origin::Default, dict: defaults(sources.cores.get()) }];
    layers.extend(file(&sources.home.config_file())?);
    layers.extend(environment(sources.environment));
    for flag in &sources.flags {
        layers.push(Layer { origin: Origin::Flag(flag.flag.clone()), dict: nested(&flag.key, &flag.value) });
    }
    let origins: BTreeMap<String, Origin> =
        layers.iter().map(|layer| (layer.origin.to_string(), layer.origin.clone())).collect();
    let mut unknown = Vec::new();
    let mut figment = Figment::new();
    for layer in layers {
        for_each_value(&layer.dict, &mut Vec::new(), &mut |parts, _| {
            if !is_known(parts) {
                let key = parts.join(".");
                let nearest = nearest(&key).to_owned();
                unknown.push(Problem::Unknown { key, origin: layer.origin.clone(), nearest });
            }
        });
        figment = figment.merge(layer);
    }
    let merged: Dict = figment
        .data()
        .ok()
        .and_then(|mut profiles| profiles.remove(&Profile::Default))
        .expect("layers that were read before do not fail");
    let mut values = BTreeMap::new();
    for_each_value(&merged, &mut Vec::new(), &mut |parts, value| {
        let origin = figment.get_metadata(value.tag()).and_then(|metadata| origins.get(metadata.name.as_ref()));
        values.insert(parts.join("."), (value.clone(), origin.cloned().unwrap_or(Origin::Default)));
    });
    Ok(Layers { values, unknown })
}

impl Layers {
    /// Every key in the order of the table; named directories stand where the table has `*`.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for key in KEYS {
            let before = settings.len();
            for (name, (value, origin)) in &self.values {
                if key.name == name || key.name.contains('*') && matches(key.name, name) {
                    let value = shown(name, value);
                    settings.push(Setting { key: name.clone(), value, origin: origin.clone() });
                }
            }
            if settings.len() == before && !key.name.contains('*') {
                let (key, value) = (key.name.to_owned(), serde_json::Value::Null);
                settings.push(Setting { key, value, origin: Origin::Default });
            }
        }
        settings
    }
}

/// A value, without what is secret in it.
fn shown(name: &str, value: &Value) -> serde_json::Value {
    if !SECRET.contains(&name) {
        return serde_json::to_value(value).unwrap_or_default();
    }
    let url = value.as_str().and_then(|text| text.parse::<StoreUrl>().ok());
    url.map_or_else(|| HIDDEN.to_owned(), |url| url.to_string()).into()
}

/// Whether `name` is a case of `pattern`, or a value in it.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = name.split('.');
    pattern.split('.').all(|known| parts.next().is_some_and(|part| known == "*" || known == part))
}

/// What the table says, and what the machine suggests.
fn defaults(cores: u32) -> Dict {
    let mut text = String::new();
    for key in KEYS {
        if let Given::Default(value) = key.value {
            text.push_str(&format!("{} = {value}\n", key.name));
        }
    }
    text.push_str(&format!("scheduler.slots = {cores}\nlimits.cpu_milli = {}\n", u64::from(cores) * 1000));
    to_dict(&toml::from_str(&text).expect("the table of keys holds valid TOML"))
}

fn file(path: &Path) -> Result<Option<Layer>, ConfigError> {
    let read = || {
        if fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
        }
        fs::read_to_string(path)
    };
    let text = match read() {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ConfigError::Read { path: path.into(), source }),
    };
    let table = toml::from_str::<toml::Table>(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = &text.as_bytes()[..at];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::Syntax { path: path.into(), message: format!("line {line}: {}", error.message().trim()) }
    })?;
    Ok(Some(Layer { origin: Origin::File(path.into()), dict: to_dict(&table) }))
}

/// The short names first, so that the long ones win.
fn environment(environment: &Environment) -> Vec<Layer> {
    let layer = |name: &str, key: &str, value: &str| Layer {
        origin: Origin::Environment(name.to_owned()),
        dict: nested(key, value),
    };
    let short = SHORT.iter().filter_map(|(name, key)| Some(layer(name, key, environment.get(name)?)));
    let long = environment.0.keys().filter_map(|name| {
        let key = name.strip_prefix(PREFIX).filter(|key| key.contains("__"))?;
        // Variables of a directory's environment keep their case.
        let key = match key.split_once("__ENVIRONMENT__") {
            Some((directory, variable)) => {
                format!("{}.environment.{variable}", directory.to_lowercase().replace("__", "."))
            }
            None => key.to_lowercase().replace("__", "."),
        };
        Some(layer(name, &key, environment.get(name)?))
    });
    short.chain(long).collect()
}

fn nested(key: &str, value: &str) -> Dict {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let value = rest.map_or_else(|| Value::from(value), |rest| Value::from(nested(rest, value)));
    Dict::from([(first.to_owned(), value)])
}

fn to_dict(table: &toml::Table) -> Dict {
    table.iter().map(|(key, value)| (key.clone(), to_value(value))).collect()
}

fn to_value(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(items) => Value::from(items.iter().map(to_value).collect::<Vec<_>>()),
        toml::Value::Table(table) => Value::from(to_dict(table)),
    }
}

/// Calls `each` with the path of every value that is not a table.
fn for_each_value<'a>(dict: &'a Dict, parts: &mut Vec<&'a str>, each: &mut impl FnMut(&[&str], &Value)) {
    for (name, value) in dict {
        parts.push(name);
        match value {
            Value::Dict(_, inner) => for_each_value(inner, parts, each),
            value => each(parts, value),
        }
        parts.pop();
    }
}
