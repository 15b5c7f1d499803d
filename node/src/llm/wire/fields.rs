//! The fields of a JSON object, taken one by one, so that an error names the field and what is not taken is kept.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::llm::failure::{Failure, Kind};

/// The fields that were not taken yet.
pub struct Fields(BTreeMap<String, Box<RawValue>>);

/// One value, or a list of them: what OpenAI's interface takes in several places.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl Fields {
    /// Reads an object.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(json: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(json).map(Self).map_err(|error| {
            let what = if error.is_data() { "the body is no JSON object" } else { "the body is not JSON" };
            wrong(format!("{what}: {error}"))
        })
    }

    /// A field; null is none.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let Some(json) = self.0.remove(name) else { return Ok(None) };
        serde_json::from_str(json.get()).map_err(|error| wrong(format!("the field '{name}' does not fit: {error}")))
    }

    /// A field that is needed.
    ///
    /// # Errors
    /// When it is not there, or of another type.
    pub fn need<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Failure> {
        self.take(name)?.ok_or_else(|| wrong(format!("the field '{name}' is missing")))
    }

    /// A value or a list of values.
    ///
    /// # Errors
    /// When it is neither.
    pub fn list<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<Vec<T>>, Failure> {
        Ok(self.take(name)?.map(|value| match value {
            OneOrMany::One(value) => vec![value],
            OneOrMany::Many(values) => values,
        }))
    }

    /// What was not taken, nulls left out.
    pub fn rest(mut self) -> BTreeMap<String, Box<RawValue>> {
        self.0.retain(|_, json| json.get() != "null");
        self.0
    }
}

/// A request that is wrong.
pub fn wrong(detail: impl Into<String>) -> Failure {
    Failure::new(Kind::BadRequest, detail)
}
