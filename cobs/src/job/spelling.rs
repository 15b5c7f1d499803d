//! One spelling: bytes that read as an action, though no writer of the wire form would write them so, are refused.
//!
//! The parsers that we use take several: an id by another alphabet, a list where an object stands, a number or an object
//! where a word stands. Another implementation takes others, and every reader must judge an operation alike.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Most characters of a value that an error quotes.
const QUOTED_CHARS_MAX: usize = 80;

/// The first value of what was `given` that stands in another form than the `own` one, which it was read as. Fields
/// that the own one lacks are unknown, or at their default.
pub(super) fn foreign(own: &Value, given: &Value) -> Option<String> {
    match (own, given) {
        (Value::String(own), Value::String(given)) if own == given => None,
        (Value::Array(own), Value::Array(given)) if own.iter().all(Value::is_string) => {
            // the texts of a set may come in any order, and more than once
            let own: BTreeSet<Option<&str>> = own.iter().map(Value::as_str).collect();
            given.iter().find(|item| !own.contains(&item.as_str())).map(quoted)
        }
        (Value::Array(own), Value::Array(given)) => own.iter().zip(given).find_map(|(own, given)| foreign(own, given)),
        (Value::Object(own), Value::Object(given)) => {
            own.iter().find_map(|(key, own)| given.get(key).and_then(|given| foreign(own, given)))
        }
        (Value::Number(_), Value::Number(_)) | (Value::Bool(_), Value::Bool(_)) | (Value::Null, Value::Null) => None,
        (_, given) => Some(quoted(given)),
    }
}

fn quoted(value: &Value) -> String {
    value.to_string().chars().take(QUOTED_CHARS_MAX).collect()
}

/// Reads an object as an object alone. For fields that are not written at their default, which [`foreign`] cannot see.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(Object(PhantomData))
}

/// Reads a word as text alone. For fields as those of [`object`].
pub(super) fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Word<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Word<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a word")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::deserialize(StrDeserializer::new(text))
        }
    }

    deserializer.deserialize_any(Word(PhantomData))
}
