//! A query's text to what it asks for.

use regex::RegexBuilder;

use super::{Done, Pattern, PropertyTest, Query, Scope, ValueTest, Written};
use crate::path::key;

/// Longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 4096;
/// How deep brackets and operators may lie in each other.
const DEPTH_MAX: usize = 32;
/// Most memory of a regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// All operators, as they are named to whoever asks for another.
const OPERATORS: [&str; 12] = [
    "file",
    "path",
    "content",
    "tag",
    "line",
    "block",
    "section",
    "task",
    "task-todo",
    "task-done",
    "match-case",
    "ignore-case",
];

/// Why a text is no query. Places count bytes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// There is nothing to search for.
    #[error("the query is empty at byte {at}")]
    Empty {
        /// Where something is missing.
        at: usize,
    },
    /// It is too long.
    #[error("the query has {bytes} bytes, {QUERY_BYTES_MAX} are the most")]
    Long {
        /// Its length.
        bytes: usize,
    },
    /// Too much lies within each other.
    #[error("more than {DEPTH_MAX} brackets or operators lie in each other at byte {at}")]
    Deep {
        /// Where.
        at: usize,
    },
    /// Something was opened and never closed.
    #[error("what opens with {sign} at byte {at} is never closed")]
    Open {
        /// Where it opens.
        at: usize,
        /// With what.
        sign: char,
    },
    /// Something closes that was not opened.
    #[error("nothing was opened that {sign} at byte {at} could close")]
    Closed {
        /// Where.
        at: usize,
        /// With what.
        sign: char,
    },
    /// There is no such operator.
    #[error("there is no operator {name}: at byte {at}; there are {}, and quotes for text with a colon", OPERATORS.join(", "))]
    Operator {
        /// Where.
        at: usize,
        /// Its name.
        name: String,
    },
    /// The regular expression is none.
    #[error("the regular expression at byte {at} is not one: {why}")]
    Regex {
        /// Where it begins.
        at: usize,
        /// Why.
        why: String,
    },
}

/// Reads a query.
///
/// # Errors
/// When the text is none; the error names the place.
pub fn read(text: &str) -> Result<Query, QueryError> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(QueryError::Long { bytes: text.len() });
    }
    let mut reader = Reader { text, at: 0, depth: 0, match_case: false };
    let query = reader.any()?;
    match reader.peek() {
        None => Ok(query),
        Some(sign) => Err(QueryError::Closed { at: reader.at, sign }),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    match_case: bool,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_spaces();
        self.rest().chars().next()
    }

    fn take(&mut self, sign: char) -> bool {
        let is_next = self.rest().starts_with(sign);
        self.at += if is_next { sign.len_utf8() } else { 0 };
        is_next
    }

    fn any(&mut self) -> Result<Query, QueryError> {
        let mut any = vec![self.all()?];
        while self.is_or() {
            self.at += "OR".len();
            any.push(self.all()?);
        }
        Ok(if any.len() == 1 { any.swap_remove(0) } else { Query::Any(any) })
    }

    fn is_or(&mut self) -> bool {
        self.skip_spaces();
        let after = self.rest().strip_prefix("OR");
        after.is_some_and(|after| after.chars().next().is_none_or(|next| next.is_whitespace() || "()".contains(next)))
    }

    fn all(&mut self) -> Result<Query, QueryError> {
        let mut all = Vec::new();
        while self.peek().is_some_and(|next| !")]".contains(next)) && !self.is_or() {
            all.push(self.factor()?);
        }
        match all.len() {
            0 => Err(QueryError::Empty { at: self.at }),
            1 => Ok(all.swap_remove(0)),
            _ => Ok(Query::All(all)),
        }
    }

    fn factor(&mut self) -> Result<Query, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(QueryError::Deep { at: self.at });
        }
        let at = self.at;
        let query = match self.peek() {
            Some('-') if self.rest().len() > 1 && !self.rest()[1..].starts_with(char::is_whitespace) => {
                self.at += 1;
                Query::Not(Box::new(self.factor()?))
            }
            Some('(') => {
                self.at += 1;
                let query = self.any()?;
                self.close(')', '(', at)?;
                query
            }
            Some('[') => self.property()?,
            Some('"') => Query::Text(self.phrase()?),
            Some('/') if self.rest()[1..].contains('/') => Query::Text(self.regex()?),
            _ => self.word()?,
        };
        self.depth -= 1;
        Ok(query)
    }

    fn close(&mut self, sign: char, opened: char, at: usize) -> Result<(), QueryError> {
        self.skip_spaces();
        if self.take(sign) { Ok(()) } else { Err(QueryError::Open { at, sign: opened }) }
    }

    fn phrase(&mut self) -> Result<Pattern, QueryError> {
        let at = self.at;
        let mut words = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((index, next)) = characters.next() {
            match next {
                '"' => {
                    self.at += index + 1;
                    let written = Written::Phrase(words.clone());
                    return self.words(&words, written, at);
                }
                '\\' => words.extend(characters.next().map(|(_, escaped)| escaped)),
                next => words.push(next),
            }
        }
        Err(QueryError::Open { at, sign: '"' })
    }

    fn words(&self, words: &str, written: Written, at: usize) -> Result<Pattern, QueryError> {
        if words.is_empty() {
            return Err(QueryError::Empty { at });
        }
        // the letters of a phrase, with any spaces between its words
        let parts: Vec<String> = words.split_whitespace().map(regex::escape).collect();
        let pattern = if parts.is_empty() { regex::escape(words) } else { parts.join(r"\s+") };
        self.pattern(&pattern, written, at)
    }

    fn pattern(&self, pattern: &str, written: Written, at: usize) -> Result<Pattern, QueryError> {
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(!self.match_case)
            .multi_line(true)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build();
        match regex {
            Ok(regex) => Ok(Pattern { written, regex }),
            Err(error) => {
                let why = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                Err(QueryError::Regex { at, why })
            }
        }
    }

    fn regex(&mut self) -> Result<Pattern, QueryError> {
        let at = self.at;
        let mut escaped = false;
        for (index, next) in self.rest().char_indices().skip(1) {
            if next == '/' && !escaped {
                let inner = self.rest()[1..index].replace("\\/", "/");
                self.at += index + 1;
                return self.pattern(&inner, Written::Regex, at);
            }
            escaped = next == '\\' && !escaped;
        }
        Err(QueryError::Open { at, sign: '/' })
    }

    fn property(&mut self) -> Result<Query, QueryError> {
        let at = self.at;
        self.at += 1;
        let length = self.rest().find([':', ']']).ok_or(QueryError::Open { at, sign: '[' })?;
        let name = self.rest()[..length].trim().trim_matches('"');
        if name.is_empty() {
            return Err(QueryError::Empty { at: self.at });
        }
        self.at += length;
        let value = if self.take(':') { Some(self.value(at)?) } else { None };
        self.close(']', '[', at)?;
        Ok(Query::Property(PropertyTest { name: key(name), value }))
    }

    fn value(&mut self, at: usize) -> Result<ValueTest, QueryError> {
        self.skip_spaces();
        let end = self.rest().find(']').ok_or(QueryError::Open { at, sign: '[' })?;
        let raw = self.rest()[..end].trim();
        if raw == "null" {
            self.at += end;
            return Ok(ValueTest::Null);
        }
        let than = |sign: char| raw.strip_prefix(sign).map(|value| value.trim().to_owned());
        let compared = than('<').map(ValueTest::Less).or_else(|| than('>').map(ValueTest::Greater));
        match compared {
            Some(ValueTest::Less(value) | ValueTest::Greater(value)) if value.is_empty() => {
                Err(QueryError::Empty { at: self.at + 1 })
            }
            Some(compared) => {
                self.at += end;
                Ok(compared)
            }
            None => Ok(ValueTest::Fits(Box::new(self.any()?))),
        }
    }

    fn word(&mut self) -> Result<Query, QueryError> {
        let at = self.at;
        let length = self
            .rest()
            .find(|next: char| next.is_whitespace() || "()\"[]:".contains(next))
            .unwrap_or(self.rest().len());
        let word = &self.rest()[..length];
        self.at += length;
        if !word.is_empty() && self.take(':') {
            return self.operator(word, at);
        }
        if word.is_empty() {
            let sign = self.rest().chars().next().unwrap_or(' ');
            return Err(QueryError::Closed { at, sign });
        }
        Ok(Query::Text(self.words(word, Written::Word(word.to_owned()), at)?))
    }

    fn operator(&mut self, name: &str, at: usize) -> Result<Query, QueryError> {
        let scope = match name.to_ascii_lowercase().as_str() {
            "file" => Scope::File,
            "path" => Scope::Path,
            "content" => Scope::Content,
            "line" => Scope::Line,
            "block" => Scope::Block,
            "section" => Scope::Section,
            "task" => Scope::Task(Done::Any),
            "task-todo" => Scope::Task(Done::Open),
            "task-done" => Scope::Task(Done::Closed),
            "tag" => return self.tag(),
            "match-case" => return self.with_case(true),
            "ignore-case" => return self.with_case(false),
            _ => return Err(QueryError::Operator { at, name: name.to_owned() }),
        };
        if self.peek().is_none() {
            // any task at all, or any line: it is there
            return Err(QueryError::Empty { at: self.at });
        }
        Ok(Query::In(scope, Box::new(self.factor()?)))
    }

    fn with_case(&mut self, match_case: bool) -> Result<Query, QueryError> {
        if self.peek().is_none() {
            return Err(QueryError::Empty { at: self.at });
        }
        let before = std::mem::replace(&mut self.match_case, match_case);
        let query = self.factor();
        self.match_case = before;
        query
    }

    fn tag(&mut self) -> Result<Query, QueryError> {
        self.skip_spaces();
        let quoted = self.take('"');
        let ends = |next: char| if quoted { next == '"' } else { next.is_whitespace() || "()".contains(next) };
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        let name = self.rest()[..length].trim_start_matches('#').trim_matches('/');
        if name.is_empty() {
            return Err(QueryError::Empty { at: self.at });
        }
        self.at += length;
        if quoted {
            self.close('"', '"', self.at)?;
        }
        Ok(Query::Tag(key(name)))
    }
}
