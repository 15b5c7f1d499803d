//! What a provider says of a failure: its status, its words, and when it may be asked again.

use std::time::Duration;

use serde_json::Value;

use crate::llm::chat::TOOL_CALLS_MAX;
use crate::llm::failure::{Failure, Kind};

/// Longest part of an answer that is repeated in an error, in characters.
const WORDS_MAX: usize = 300;

/// What a status means where a provider says nothing particular.
pub fn by_status(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Auth,
        402 => Kind::Quota,
        404 => Kind::ModelMissing,
        408 | 504 => Kind::Timeout,
        429 => Kind::RateLimit,
        // 529 is Anthropic's for one that has too much to do
        502 | 503 | 529 => Kind::Unavailable,
        300..=499 => Kind::BadRequest,
        _ => Kind::Internal,
    }
}

/// An answer that wants more done than anybody would.
pub fn too_many_calls() -> Failure {
    Failure::new(Kind::Internal, format!("its answer has more than {TOOL_CALLS_MAX} tool calls"))
}

/// What is told of words: their beginning, on one line.
pub fn shown(words: &str) -> String {
    words.chars().take(WORDS_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// What the body of a failure says: its message, else its beginning.
pub fn words(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let message = json.as_ref().and_then(|json| {
        let error = json.get("error").unwrap_or(json);
        let named = ["message", "detail"].iter().find_map(|name| error.get(name));
        error.as_str().or_else(|| named?.as_str())
    });
    shown(message.unwrap_or(&String::from_utf8_lossy(body)))
}

/// A span in the words of `Retry-After`: seconds, with or without a part, or a date of which `now_unix_s` is left out.
pub fn retry_after(value: &str, now_unix_s: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let format = &time::format_description::well_known::Rfc2822;
    // the date of HTTP ends in GMT, which that format takes for a zone
    let at = time::OffsetDateTime::parse(value, format).ok()?;
    Some(Duration::from_secs(u64::try_from(at.unix_timestamp() - now_unix_s).unwrap_or(0)))
}

/// Whether words say that a request is longer than a model reads, as several servers put it.
pub fn says_too_long(words: &str) -> bool {
    let words = words.to_lowercase();
    ["context length", "context size", "context window", "prompt is too long", "maximum context", "too many tokens"]
        .iter()
        .any(|part| words.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_in_each_of_its_forms() {
        let at = |value| retry_after(value, 1_445_412_420);
        assert_eq!(at("7"), Some(Duration::from_secs(7)));
        assert_eq!(at(" 0.5 "), Some(Duration::from_millis(500)));
        assert_eq!(at("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(at("Tue, 20 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        for value in ["", "soon", "-1", "inf", "NaN", "2015-10-21"] {
            assert_eq!(at(value), None, "{value}");
        }
    }

    #[test]
    fn words_are_found_where_servers_put_them() {
        let bodies = [
            r#"{"error":{"message":"no","type":"x"}}"#,
            r#"{"error":"no"}"#,
            r#"{"message":"no"}"#,
            r#"{"detail":"no"}"#,
            "no",
        ];
        for body in bodies {
            assert_eq!(words(body.as_bytes()), "no", "{body}");
        }
        assert_eq!(words(b"a\nb\xff"), "a b\u{fffd}");
        assert_eq!(words("ü".repeat(1_000).as_bytes()).chars().count(), WORDS_MAX);
        assert!(says_too_long("This model's maximum context length is 8192 tokens"));
        assert!(!says_too_long("this is too long"));
    }
}
