//! A collection of ours as Milvus has it: its columns, there and back.

use super::messages::{
    CollectionSchema, DescribeCollectionResponse, FieldData, FieldSchema, KeyValuePair, ScalarField, StringArray,
};
use crate::vectors::check::{DIGEST_BYTES_MAX, DOCUMENT_BYTES_MAX};
use crate::vectors::remote::collection_json;
use crate::vectors::{Collection, Point, PointId};

/// Length of an id or a key: 16 bytes in hexadecimal.
const HEX_BYTES: usize = 32;
/// `schema.DataType.VarChar`.
const VAR_CHAR: i32 = 21;
/// `schema.DataType.FloatVector`, also `common.PlaceholderType.FloatVector`.
pub const FLOAT_VECTOR: i32 = 101;
/// The property of a collection that says which of ours it is.
pub const PROPERTY: &str = "rhizome.collection";

/// Which of ours a collection is: by its property, or by its description where that is not kept.
pub fn read_collection(described: &DescribeCollectionResponse) -> Option<Collection> {
    let property = described.properties.iter().find(|property| property.key == PROPERTY);
    let text = property.map(|property| &property.value).or(described.schema.as_ref().map(|schema| &schema.description));
    serde_json::from_str(text?).ok()
}

/// What a collection is made of.
pub fn schema(name: &str, collection: &Collection) -> CollectionSchema {
    let text = |id: i64, name: &str, bytes: usize| FieldSchema {
        field_id: id,
        name: name.to_owned(),
        is_primary_key: name == "id",
        data_type: VAR_CHAR,
        type_params: pairs(&[("max_length", &bytes.to_string())]),
        ..FieldSchema::default()
    };
    let vector = FieldSchema {
        field_id: 104,
        name: "vector".into(),
        data_type: FLOAT_VECTOR,
        type_params: pairs(&[("dim", &collection.embedder.dimension.to_string())]),
        ..FieldSchema::default()
    };
    let fields = vec![
        text(100, "id", HEX_BYTES),
        text(101, "document", DOCUMENT_BYTES_MAX),
        text(102, "document_key", HEX_BYTES),
        text(103, "digest", DIGEST_BYTES_MAX),
        vector,
    ];
    CollectionSchema { name: name.to_owned(), description: collection_json(collection), fields }
}

/// The points of some columns; none where they are not of this program.
pub fn read_points(columns: &[FieldData]) -> Option<Vec<Point>> {
    let column = |name: &str| columns.iter().find(|column| column.field_name == name);
    let texts = |name: &str| Some(&column(name)?.scalars.as_ref()?.string_data.as_ref()?.data);
    let Some(vectors) = column("vector").and_then(|column| column.vectors.as_ref()) else {
        // nothing was found
        return columns
            .iter()
            .all(|column| column.scalars.is_none())
            .then(Vec::new)
            .or_else(|| texts("id").is_some_and(Vec::is_empty).then(Vec::new));
    };
    let numbers = vectors.float_vector.as_ref().map_or(&[][..], |numbers| &numbers.data);
    let vectors = numbers.chunks_exact(usize::try_from(vectors.dim).ok()?.max(1));
    let (ids, documents, digests) = (texts("id")?, texts("document")?, texts("digest")?);
    if [documents.len(), digests.len(), vectors.len()] != [ids.len(); 3] {
        return None;
    }
    let rows = ids.iter().zip(documents).zip(digests).zip(vectors);
    let point = |(((id, document), digest), vector): (((&String, &String), &String), &[f32])| {
        let id = PointId(u128::from_str_radix(id, 16).ok()?);
        Some(Point { id, document: document.clone(), digest: digest.clone(), vector: vector.to_vec() })
    };
    rows.map(point).collect()
}

/// A column of texts.
pub fn texts(name: &str, data: Vec<String>) -> FieldData {
    let scalars = ScalarField { long_data: None, string_data: Some(StringArray { data }) };
    FieldData { kind: VAR_CHAR, field_name: name.to_owned(), scalars: Some(scalars), vectors: None }
}

/// Settings as the product takes them.
pub fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
}

/// An expression for a column that is one of some values, which are of letters and digits.
pub fn listed(column: &str, values: &[String]) -> String {
    format!("{column} in [\"{}\"]", values.join("\",\""))
}

/// An id whose order as a text is its own.
pub fn hex_id(id: PointId) -> String {
    format!("{:032x}", id.0)
}
