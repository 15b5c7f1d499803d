//! What this node answers in the form of OpenAI.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::llm::chat::{End, Finish, Piece, Usage};
use crate::llm::failure::{Failure, Kind};
use crate::llm::whole::Whole;

/// What a stream ends with.
pub const DONE: &str = "data: [DONE]\n\n";

/// Which of both interfaces is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// `chat/completions`.
    Chat,
    /// `completions`.
    Completion,
}

/// What each part of an answer says.
#[derive(Clone, Debug)]
pub struct Head {
    /// Names the answer.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The model, as it was asked for.
    pub model: String,
    /// The interface.
    pub shape: Shape,
}

#[derive(Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallOut<'a>; 1]>,
}

#[derive(Serialize)]
struct CallOut<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    function: CalledOut<'a>,
}

#[derive(Serialize)]
struct CalledOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

const NOTHING: Delta<'static> = Delta { role: None, content: None, reasoning_content: None, tool_calls: None };

/// Writes the events of a stream.
#[derive(Debug)]
pub struct Stream {
    head: Head,
    /// What each chunk begins with.
    before: String,
    tells_usage: bool,
}

impl Stream {
    /// For an answer; `tells_usage` when its end tells the tokens.
    pub fn new(head: Head, tells_usage: bool) -> Self {
        let object = match head.shape {
            Shape::Chat => "chat.completion.chunk",
            Shape::Completion => "text_completion",
        };
        let (id, model) = (json!(head.id), json!(head.model));
        let created = head.created;
        let before =
            format!(r#"data: {{"id":{id},"object":"{object}","created":{created},"model":{model},"choices":["#);
        Self { head, before, tells_usage }
    }

    /// The first event; none for a completion.
    pub fn begin(&self) -> String {
        match self.head.shape {
            Shape::Chat => self.chat(&Delta { role: Some("assistant"), content: Some(""), ..NOTHING }, None),
            Shape::Completion => String::new(),
        }
    }

    /// The events of a piece.
    ///
    pub fn piece(&self, piece: &Piece, usage: &Usage) -> String {
        let finish = match piece {
            Piece::End(End { finish, .. }) => *finish,
            Piece::Text(text) if self.head.shape == Shape::Completion => return self.completion(text, None),
            // such an answer has words alone
            _ if self.head.shape == Shape::Completion => return String::new(),
            Piece::Text(text) => return self.chat(&Delta { content: Some(text), ..NOTHING }, None),
            Piece::Thinking(text) => return self.chat(&Delta { reasoning_content: Some(text), ..NOTHING }, None),
            Piece::ToolCall { index, id, name, arguments } => {
                let function = CalledOut { name: name.as_deref(), arguments };
                let r#type = id.as_ref().map(|_| "function");
                let call = CallOut { index: *index, id: id.as_deref(), r#type, function };
                return self.chat(&Delta { tool_calls: Some([call]), ..NOTHING }, None);
            }
        };
        let mut events = match self.head.shape {
            Shape::Chat => self.chat(&NOTHING, Some(finish)),
            Shape::Completion => self.completion("", Some(finish)),
        };
        if self.tells_usage {
            events += &format!("{}],\"usage\":{}}}\n\n", self.before, tokens(usage));
        }
        events + DONE
    }

    /// The last event of a stream that failed; what comes after would be taken for more of the answer.
    pub fn failure(&self, failure: &Failure) -> String {
        format!("data: {}\n\n", error(failure))
    }

    fn chat(&self, delta: &Delta<'_>, finish: Option<Finish>) -> String {
        let delta = serde_json::to_string(delta).expect("a delta holds only texts");
        let finish = finish.map_or_else(|| String::from("null"), |finish| format!("\"{}\"", reason(finish)));
        format!("{}{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n", self.before)
    }

    fn completion(&self, text: &str, finish: Option<Finish>) -> String {
        let choice = json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish.map(reason)});
        format!("{}{choice}]}}\n\n", self.before)
    }
}

/// A whole answer.
pub fn whole(head: &Head, answer: &Whole, usage: &Usage) -> Value {
    let finish = reason(answer.finish.unwrap_or(Finish::Stop));
    let (object, choice) = match head.shape {
        Shape::Completion => {
            ("text_completion", json!({"index": 0, "text": answer.text, "logprobs": null, "finish_reason": finish}))
        }
        Shape::Chat => {
            let calls = answer.calls.iter().map(|call| {
                json!({"id": call.id, "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments}})
            });
            let calls: Vec<Value> = calls.collect();
            let content = (!answer.text.is_empty() || calls.is_empty()).then_some(&answer.text);
            let mut message = json!({"role": "assistant", "content": content, "refusal": null});
            if !calls.is_empty() {
                message["tool_calls"] = Value::Array(calls);
            }
            if !answer.thinking.is_empty() {
                message["reasoning_content"] = json!(answer.thinking);
            }
            ("chat.completion", json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish}))
        }
    };
    json!({"id": head.id, "object": object, "created": head.created, "model": head.model,
        "choices": [choice], "usage": tokens(usage)})
}

/// Vectors.
pub fn vectors(model: &str, vectors: &[Vec<f32>], is_base64: bool, usage: &Usage) -> Value {
    let data = vectors.iter().enumerate().map(|(index, vector)| {
        let embedding = if is_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    let data: Vec<Value> = data.collect();
    let usage = json!({"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens});
    json!({"object": "list", "data": data, "model": model, "usage": usage})
}

/// A failure; clients tell what it is by its status and code.
pub fn error(failure: &Failure) -> Value {
    let kind = match failure.kind {
        Kind::Auth => "authentication_error",
        Kind::Quota => "insufficient_quota",
        Kind::RateLimit => "rate_limit_error",
        Kind::Policy => "permission_error",
        Kind::BadRequest | Kind::ContextLength | Kind::ContentFilter | Kind::ModelMissing => "invalid_request_error",
        Kind::Timeout | Kind::Unavailable | Kind::Cancelled | Kind::Internal => "server_error",
    };
    let hint = failure.hint.as_deref().unwrap_or(failure.kind.next_step());
    let message = format!("{}; {hint}", failure.detail);
    json!({"error": {"message": message, "type": kind, "param": null, "code": code(failure.kind)}})
}

/// By OpenAI's own word where it has one, since clients look for it.
fn code(kind: Kind) -> &'static str {
    match kind {
        Kind::ContextLength => "context_length_exceeded",
        Kind::ModelMissing => "model_not_found",
        Kind::Quota => "insufficient_quota",
        Kind::RateLimit => "rate_limit_exceeded",
        _ => kind.word(),
    }
}

fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
    }
}

fn tokens(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::chat::ToolCall;
    use crate::llm::frames::Events;
    use crate::llm::wire::openai::answer::{self, Reader};

    fn head(shape: Shape) -> Head {
        Head { id: "a\"1".into(), created: 7, model: "m".into(), shape }
    }

    fn pieces() -> Vec<Piece> {
        let call = |id: Option<&str>, name: Option<&str>, arguments: &str| Piece::ToolCall {
            index: 0,
            id: id.map(Into::into),
            name: name.map(Into::into),
            arguments: arguments.into(),
        };
        vec![
            Piece::Thinking("Hm.\n".into()),
            Piece::Text("Grüße \"x\"\r\n".into()),
            Piece::Text("\u{2028}".into()),
            call(Some("c"), Some("f"), "{\"a\""),
            call(None, None, ":1}"),
            Piece::End(End { finish: Finish::ToolCalls, usage: Some(usage()) }),
        ]
    }

    fn usage() -> Usage {
        Usage { input_tokens: 5, cached_tokens: 1, output_tokens: 2 }
    }

    fn put_together(pieces: impl IntoIterator<Item = Piece>) -> Whole {
        let mut whole = Whole::default();
        pieces.into_iter().for_each(|piece| whole.add(piece));
        whole
    }

    /// What is written is read again, as a stream and in one piece.
    #[test]
    fn an_answer_comes_back() {
        let stream = Stream::new(head(Shape::Chat), true);
        let written = pieces().iter().fold(stream.begin(), |text, piece| text + &stream.piece(piece, &usage()));
        assert!(written.ends_with(DONE), "{written}");
        let (mut reader, mut events, mut got) = (Reader::default(), Events::default(), Vec::new());
        let read = |event: crate::llm::frames::Event| reader.event(&event.data, &mut |piece| got.push(piece)).unwrap();
        events.push(written.as_bytes(), read).unwrap();
        assert_eq!(got, pieces());
        let answer = put_together(pieces());
        assert_eq!(answer.calls, [ToolCall { id: "c".into(), name: "f".into(), arguments: "{\"a\":1}".into() }]);
        let (mut reader, mut got) = (Reader::default(), Vec::new());
        let written = whole(&head(Shape::Chat), &answer, &usage()).to_string();
        reader.whole(written.as_bytes(), &mut |piece| got.push(piece)).unwrap();
        assert_eq!(put_together(got), answer);
    }

    #[test]
    fn a_completion_has_words_alone() {
        let stream = Stream::new(head(Shape::Completion), false);
        let written = pieces().iter().fold(stream.begin(), |text, piece| text + &stream.piece(piece, &usage()));
        let first = r#"data: {"id":"a\"1","object":"text_completion","created":7,"model":"m","choices":[{"#;
        assert!(written.starts_with(first) && !written.contains("Hm.") && !written.contains("usage"), "{written}");
        let answer = whole(&head(Shape::Completion), &put_together(pieces()), &usage());
        assert_eq!(answer["choices"][0]["text"], "Grüße \"x\"\r\n\u{2028}");
        assert_eq!(answer["usage"]["total_tokens"], 7);
    }

    #[test]
    fn a_count_that_is_none_is_passed_on() {
        let usage = Usage { input_tokens: u64::MAX, cached_tokens: u64::MAX, output_tokens: u64::MAX };
        let answer = whole(&head(Shape::Chat), &Whole::default(), &usage);
        assert_eq!(answer["usage"]["total_tokens"], u64::MAX);
    }

    #[test]
    fn vectors_come_back_in_both_forms() {
        let sent = vec![vec![1.0, -0.25], vec![f32::MIN_POSITIVE, 3.5]];
        for is_base64 in [true, false] {
            let written = vectors("m", &sent, is_base64, &usage()).to_string();
            let (got, usage) = answer::vectors(written.as_bytes()).unwrap();
            assert_eq!((got, usage.unwrap().input_tokens), (sent.clone(), 5));
        }
    }

    #[test]
    fn a_failure_keeps_its_kind() {
        let kinds = [
            (Kind::ContextLength, 400),
            (Kind::ContentFilter, 400),
            (Kind::ModelMissing, 404),
            (Kind::Quota, 429),
            (Kind::RateLimit, 429),
            (Kind::BadRequest, 400),
            (Kind::Timeout, 504),
            (Kind::Unavailable, 503),
            (Kind::Internal, 500),
        ];
        for (kind, status) in kinds {
            let body = error(&Failure::new(kind, "it failed").hint("do that")).to_string();
            assert_eq!(answer::refused(status, body.as_bytes()).kind, kind, "{body}");
            assert!(body.contains("it failed; do that"), "{body}");
        }
        let stream = Stream::new(head(Shape::Chat), true);
        let event = stream.failure(&Failure::new(Kind::Unavailable, "it broke off"));
        let data = event.strip_prefix("data: ").unwrap();
        assert!(Reader::default().event(data.as_bytes(), &mut |_| {}).is_err());
    }
}
