//! Weaviate's answers, as far as they are read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::vectors::{Point, PointId};

/// What stands before a text that is kept: so that the product has no spaces at an end to take off.
const EDGE: char = '|';

/// `GET /v1/schema`.
#[derive(Default, Deserialize)]
pub struct Schema {
    #[serde(default)]
    pub classes: Vec<Class>,
}

/// A class of it.
#[derive(Deserialize)]
pub struct Class {
    pub class: String,
    #[serde(default)]
    pub description: String,
}

/// `POST /v1/graphql`.
#[derive(Default, Deserialize)]
pub struct Graph {
    #[serde(default)]
    pub data: Data,
    #[serde(default)]
    pub errors: Vec<Fault>,
}

/// What was found or counted, by class.
#[derive(Default, Deserialize)]
pub struct Data {
    #[serde(default, rename = "Get")]
    pub get: BTreeMap<String, Vec<Found>>,
    #[serde(default, rename = "Aggregate")]
    pub aggregate: BTreeMap<String, Vec<Counted>>,
}

/// An error of GraphQL.
#[derive(Deserialize)]
pub struct Fault {
    pub message: String,
}

/// A count.
#[derive(Deserialize)]
pub struct Counted {
    pub meta: Meta,
}

/// The number in it.
#[derive(Deserialize)]
pub struct Meta {
    pub count: u64,
}

/// An object as GraphQL answers with it.
#[derive(Deserialize)]
pub struct Found {
    document: String,
    digest: String,
    #[serde(rename = "_additional")]
    additional: Additional,
}

#[derive(Deserialize)]
struct Additional {
    id: String,
    vector: Vec<f32>,
}

/// `GET /v1/objects`.
#[derive(Default, Deserialize)]
pub struct Objects {
    #[serde(default)]
    pub objects: Vec<Object>,
}

/// An object as REST answers with it.
#[derive(Deserialize)]
pub struct Object {
    id: String,
    vector: Vec<f32>,
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    document: String,
    digest: String,
}

/// What became of an object of `POST /v1/batch/objects`.
#[derive(Deserialize)]
pub struct Batch {
    pub result: Outcome,
}

/// The same.
#[derive(Deserialize)]
pub struct Outcome {
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    errors: Value,
}

/// `DELETE /v1/batch/objects`.
#[derive(Deserialize)]
pub struct Deleted {
    pub results: Results,
}

/// Its numbers.
#[derive(Deserialize)]
pub struct Results {
    #[serde(default)]
    pub failed: u64,
}

impl Batch {
    /// Why it was not kept.
    pub fn words(&self) -> String {
        self.result.errors.to_string()
    }
}

impl From<Object> for Found {
    fn from(object: Object) -> Self {
        let Properties { document, digest } = object.properties;
        Self { document, digest, additional: Additional { id: object.id, vector: object.vector } }
    }
}

impl Found {
    /// The point that it is; none where it is not of this program.
    pub fn point(self) -> Option<Point> {
        let id = PointId(u128::from_str_radix(&self.additional.id.replace('-', ""), 16).ok()?);
        let text = |text: String| Some(text.strip_prefix(EDGE)?.strip_suffix(EDGE)?.to_owned());
        Some(Point { id, document: text(self.document)?, digest: text(self.digest)?, vector: self.additional.vector })
    }
}

/// A text with edges, so that it comes back as it was.
pub fn kept(text: &str) -> String {
    format!("{EDGE}{text}{EDGE}")
}

/// The id as the product writes it.
pub fn uuid(id: PointId) -> String {
    let hex = format!("{:032x}", id.0);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
