//! Queries with the grades that people gave, as lines of JSON: `{"query": "...", "grades": {"Note.md": 3}, "half": "held"}`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Grades;

/// Most bytes of a file of queries, and most queries.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// See [`FILE_BYTES_MAX`].
pub const QUERIES_MAX: usize = 100_000;

/// A query, and which documents answer it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Graded {
    /// In the search language.
    pub query: String,
    /// The documents that answer it, by their names.
    pub grades: Grades<String>,
    /// Of which part of the set it is, such as `tune` or `held`: that used to choose settings, or never.
    #[serde(default)]
    pub half: Option<String>,
    /// What sort it is, such as `exact` or `question`.
    #[serde(default)]
    pub kind: Option<String>,
}

/// Why a file holds no queries.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueriesError {
    /// A line is none.
    #[error("line {line} is no graded query: {why}; write {{\"query\": \"...\", \"grades\": {{\"Note.md\": 3}}}}")]
    Line {
        /// Which; the first is 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// There is none.
    #[error("there is no query in it")]
    None,
    /// There are too many.
    #[error("there are more than {QUERIES_MAX} queries")]
    Many,
}

/// Reads queries, one a line; empty lines count for nothing.
///
/// # Errors
/// When a line is no query, nothing answers one, or there is none at all.
pub fn read(text: &str) -> Result<Vec<Graded>, QueriesError> {
    let mut queries = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |why: String| QueriesError::Line { line: at + 1, why };
        let graded: Graded = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        if graded.query.trim().is_empty() {
            return Err(wrong("the query is empty".to_owned()));
        }
        if !graded.grades.values().any(|grade| *grade > 0) {
            return Err(wrong("no document answers it: a grade of 1 or more is missing".to_owned()));
        }
        queries.push(graded);
        if queries.len() > QUERIES_MAX {
            return Err(QueriesError::Many);
        }
    }
    if queries.is_empty() { Err(QueriesError::None) } else { Ok(queries) }
}

/// The queries by the part of the set that they are of, all of them first, by the name `all`.
pub fn parts(queries: &[Graded]) -> Vec<(String, Vec<&Graded>)> {
    let mut parts: BTreeMap<&str, Vec<&Graded>> = BTreeMap::new();
    for graded in queries {
        if let Some(half) = &graded.half {
            parts.entry(half).or_default().push(graded);
        }
    }
    let all = ("all".to_owned(), queries.iter().collect());
    std::iter::once(all).chain(parts.into_iter().map(|(name, part)| (name.to_owned(), part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_and_faults_told() {
        let text = "{\"query\":\"bees\",\"grades\":{\"a.md\":3},\"half\":\"held\"}\n\n{\"query\":\"wax\",\"grades\":{\"b.md\":1}}\n";
        let queries = read(text).unwrap();
        assert_eq!((queries.len(), queries[0].half.as_deref(), &*queries[1].query), (2, Some("held"), "wax"));
        let sizes: Vec<(String, usize)> = parts(&queries).into_iter().map(|(name, part)| (name, part.len())).collect();
        assert_eq!(sizes, [("all".to_owned(), 2), ("held".to_owned(), 1)]);
        let told = |text: &str| read(text).unwrap_err().to_string();
        assert!(told("\n{\"query\":\"bees\"}").starts_with("line 2 is no graded query: missing field `grades`"));
        assert!(told("{\"query\":\"bees\",\"grades\":{\"a.md\":0}}").contains("no document answers it"));
        assert!(told("{\"query\":\" \",\"grades\":{\"a.md\":1}}").contains("the query is empty"));
        assert_eq!(read("\n"), Err(QueriesError::None));
    }
}
