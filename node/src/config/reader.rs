//! Values from the layers as the types they mean; what will not do is noted, and reading goes on.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use figment::value::Value;

use super::keys::{HIDDEN, KEY_FILE, SECRET};
use super::layers::Layers;
use super::{Problem, units};

/// Reads, and keeps what was wrong.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    pub problems: Vec<Problem>,
}

/// Why a value will not do, and what to do.
pub(super) struct Bad {
    pub why: String,
    pub next: String,
}

impl Bad {
    pub fn new(why: impl Display, next: impl Display) -> Self {
        Self { why: why.to_string(), next: next.to_string() }
    }
}

impl<'a> Reader<'a> {
    pub fn new(layers: &'a Layers) -> Self {
        Self { layers, problems: Vec::new() }
    }

    /// The value of `key` by `parse`; none when it is not set or will not do.
    pub fn get<T>(&mut self, key: &str, parse: impl FnOnce(&Value) -> Result<T, Bad>) -> Option<T> {
        let (value, origin) = self.layers.values.get(key)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(Bad { why, next }) => {
                // an address that is none may have a password before its `@`
                let is_secret =
                    SECRET.contains(&key) || key == KEY_FILE || value.as_str().is_some_and(|text| text.contains('@'));
                let value = if is_secret { HIDDEN.into() } else { serde_json::to_string(value).unwrap_or_default() };
                self.problems.push(Problem::Bad { key: key.to_owned(), value, origin: origin.clone(), why, next });
                None
            }
        }
    }

    /// Whether a key is set.
    pub fn has(&self, key: &str) -> bool {
        self.layers.values.contains_key(key)
    }

    /// Notes that `key` is not set where values beside it are.
    pub fn missing(&mut self, key: &str, bad: Bad) {
        let table = key.trim_end_matches(|c| c != '.');
        let beside = self.layers.values.range(table.to_owned()..).next();
        let origin = beside.map_or(super::Origin::Default, |(_, (_, origin))| origin.clone());
        let (key, value) = (key.to_owned(), "nothing".to_owned());
        self.problems.push(Problem::Bad { key, value, origin, why: bad.why, next: bad.next });
    }

    /// A number in a range, below it where it will not do.
    pub fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        self.amount(key, range, str_number, "a whole number")
    }

    /// Bytes in a range.
    pub fn bytes(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        self.amount(key, range, units::size_bytes, "a size such as 512MiB")
    }

    /// Milliseconds in a range.
    pub fn ms(&mut self, key: &str, range: RangeInclusive<u64>) -> u64 {
        self.amount(key, range, units::time_ms, "a time such as 30s, or milliseconds")
    }

    /// A list of texts, each by `parse`.
    pub fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Bad>) -> Vec<T> {
        self.get(key, |value| texts(value)?.iter().map(|item| parse(item)).collect()).unwrap_or_default()
    }

    /// Values below `prefix.`, by what follows it.
    pub fn below(&self, prefix: &str) -> Vec<(String, Value)> {
        let start = format!("{prefix}.");
        let values = self.layers.values.range(start.clone()..).take_while(|(key, _)| key.starts_with(&start));
        values.map(|(key, (value, _))| (key[start.len()..].to_owned(), value.clone())).collect()
    }

    fn amount(&mut self, key: &str, range: RangeInclusive<u64>, parse: fn(&str) -> Option<u64>, what: &str) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        let next = format!("write {what} from {low} to {high}");
        self.get(key, |value| {
            let text = text(value)?;
            let amount = parse(&text).ok_or_else(|| Bad::new(format!("it is not {what}"), &next))?;
            match amount {
                amount if amount < low => Err(Bad::new(format!("the least is {low}"), &next)),
                amount if amount > high => Err(Bad::new(format!("the most is {high}"), &next)),
                amount => Ok(amount),
            }
        })
        .unwrap_or(low)
    }
}

/// A value as text: what the environment can say, too.
pub(super) fn text(value: &Value) -> Result<String, Bad> {
    match value {
        Value::String(_, text) => Ok(text.clone()),
        Value::Char(_, letter) => Ok(letter.to_string()),
        Value::Bool(_, truth) => Ok(truth.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|number| number.to_string())
            .ok_or_else(|| Bad::new("it is a decimal number", "write a whole number, or quote it with a unit")),
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => {
            Err(Bad::new("it is not a single value", "write a text or a number"))
        }
    }
}

/// A list, or one text with commas.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, Bad> {
    match value {
        Value::Array(_, items) => items.iter().map(text).collect(),
        single => Ok(text(single)?.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Into::into).collect()),
    }
}

/// One text that `T` reads.
pub(super) fn parsed<T: FromStr>(value: &Value, next: &str) -> Result<T, Bad>
where
    T::Err: Display,
{
    text(value)?.parse().map_err(|error: T::Err| Bad::new(error, next))
}

/// An address to listen on.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Bad> {
    text.parse()
        .map_err(|_| Bad::new(format!("'{text}' is no address and port"), "write it as 127.0.0.1:8776 or [::1]:8776"))
}

/// A `host:port` to publish.
pub(super) fn host_port(text: &str) -> Result<String, Bad> {
    let bad = || Bad::new(format!("'{text}' is no host and port"), "write it as box.tailnet.ts.net:8777");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let bracketed = host.starts_with('[') && host.ends_with(']') && text.parse::<SocketAddr>().is_ok();
    let named = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
    let port_is_real = port.parse::<u16>().is_ok_and(|port| port > 0);
    if (named || bracketed) && port_is_real { Ok(text.to_owned()) } else { Err(bad()) }
}

/// A label or queue.
pub(super) fn name(text: &str) -> Result<String, Bad> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '=' | '/');
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(Bad::new(format!("'{text}' is no plain name"), "use 1 to 64 letters, digits, '.', '-', '_', '=' and '/'"))
    }
}

/// Most bytes of a label or queue.
const NAME_BYTES_MAX: usize = 64;

/// Every text of a list, as a set.
pub(super) fn set<T: Ord>(items: Vec<T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

fn str_number(text: &str) -> Option<u64> {
    text.trim().replace('_', "").parse().ok()
}
