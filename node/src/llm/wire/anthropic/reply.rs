//! What this node answers.

use serde_json::{Value, json};

use crate::llm::chat::{End, Finish, Piece, Usage};
use crate::llm::failure::{Failure, Kind};
use crate::llm::whole::Whole;

/// What each answer says.
#[derive(Clone, Debug)]
pub struct Head {
    /// Names the answer.
    pub id: String,
    /// The model, as it was asked for.
    pub model: String,
}

/// Writes the events of a stream: blocks of text, of thinking and of each tool call, one after the other.
#[derive(Debug)]
pub struct Stream {
    head: Head,
    open: Option<Open>,
    /// How many blocks have begun.
    blocks: usize,
}

/// The block that pieces are added to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Open {
    Text,
    Thinking,
    Call(usize),
}

impl Stream {
    /// For an answer.
    pub fn new(head: Head) -> Self {
        Self { head, open: None, blocks: 0 }
    }

    /// The first event. The tokens that were read are estimated, since no provider tells them before the end.
    pub fn begin(&self, input_tokens: u64) -> String {
        let message = json!({"id": self.head.id, "type": "message", "role": "assistant", "model": self.head.model,
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": input_tokens, "output_tokens": 0}});
        event("message_start", json!({"type": "message_start", "message": message}))
    }

    /// The events of a piece.
    pub fn piece(&mut self, piece: &Piece, usage: &Usage) -> String {
        match piece {
            Piece::Text(text) => {
                let block = json!({"type": "text", "text": ""});
                self.delta(Open::Text, block, json!({"type": "text_delta", "text": text}))
            }
            Piece::Thinking(text) => {
                let block = json!({"type": "thinking", "thinking": "", "signature": ""});
                self.delta(Open::Thinking, block, json!({"type": "thinking_delta", "thinking": text}))
            }
            Piece::ToolCall { index, id, name, arguments } => {
                let block = json!({"type": "tool_use", "id": id.as_deref().unwrap_or_default(),
                    "name": name.as_deref().unwrap_or_default(), "input": {}});
                let delta = json!({"type": "input_json_delta", "partial_json": arguments});
                self.delta(Open::Call(*index), block, delta)
            }
            Piece::End(End { finish, .. }) => {
                let closed = self.close();
                let delta = json!({"stop_reason": reason(*finish), "stop_sequence": null});
                let delta = json!({"type": "message_delta", "delta": delta, "usage": tokens(usage)});
                closed + &event("message_delta", delta) + &event("message_stop", json!({"type": "message_stop"}))
            }
        }
    }

    /// The last event of a stream that failed.
    pub fn failure(&self, failure: &Failure) -> String {
        event("error", error(failure))
    }

    fn delta(&mut self, wanted: Open, block: Value, delta: Value) -> String {
        let mut events = String::new();
        if self.open != Some(wanted) {
            events = self.close();
            let index = self.blocks;
            self.blocks += 1;
            self.open = Some(wanted);
            let start = json!({"type": "content_block_start", "index": index, "content_block": block});
            events += &event("content_block_start", start);
        }
        let index = self.blocks - 1;
        events + &event("content_block_delta", json!({"type": "content_block_delta", "index": index, "delta": delta}))
    }

    fn close(&mut self) -> String {
        match self.open.take() {
            Some(_) => {
                let stop = json!({"type": "content_block_stop", "index": self.blocks - 1});
                event("content_block_stop", stop)
            }
            None => String::new(),
        }
    }
}

/// A whole answer.
pub fn whole(head: &Head, answer: &Whole, usage: &Usage) -> Value {
    let mut content = Vec::new();
    if !answer.thinking.is_empty() {
        content.push(json!({"type": "thinking", "thinking": answer.thinking, "signature": ""}));
    }
    if !answer.text.is_empty() || answer.calls.is_empty() {
        content.push(json!({"type": "text", "text": answer.text}));
    }
    for call in &answer.calls {
        // a model may write what is no JSON: the client is shown that, and not nothing
        let input: Value =
            serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({"arguments": call.arguments}));
        content.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}));
    }
    let finish = reason(answer.finish.unwrap_or(Finish::Stop));
    json!({"id": head.id, "type": "message", "role": "assistant", "model": head.model, "content": content,
        "stop_reason": finish, "stop_sequence": null, "usage": tokens(usage)})
}

/// A failure.
pub fn error(failure: &Failure) -> Value {
    let kind = match failure.kind {
        Kind::Auth => "authentication_error",
        Kind::Quota => "billing_error",
        Kind::RateLimit => "rate_limit_error",
        Kind::Policy => "permission_error",
        Kind::ModelMissing => "not_found_error",
        Kind::BadRequest | Kind::ContextLength | Kind::ContentFilter => "invalid_request_error",
        Kind::Unavailable => "overloaded_error",
        Kind::Timeout => "timeout_error",
        Kind::Cancelled | Kind::Internal => "api_error",
    };
    let hint = failure.hint.as_deref().unwrap_or(failure.kind.next_step());
    json!({"type": "error", "error": {"type": kind, "message": format!("{}; {hint}", failure.detail)}})
}

fn event(name: &str, data: Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
        Finish::ContentFilter => "refusal",
    }
}

/// Theirs does not count among the tokens that were read what was read before.
fn tokens(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens.saturating_sub(usage.cached_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::chat::ToolCall;
    use crate::llm::frames::{Event, Events};

    fn head() -> Head {
        Head { id: "msg_1".into(), model: "m".into() }
    }

    fn usage() -> Usage {
        Usage { input_tokens: 5, cached_tokens: 1, output_tokens: 2 }
    }

    fn call(index: usize, id: Option<&str>, arguments: &str) -> Piece {
        let name = id.map(|_| "f".to_owned());
        Piece::ToolCall { index, id: id.map(Into::into), name, arguments: arguments.into() }
    }

    #[test]
    fn blocks_open_and_close_one_after_the_other() {
        let pieces = [
            Piece::Thinking("Hm.".into()),
            Piece::Text("Grüße".into()),
            Piece::Text("\n".into()),
            call(0, Some("a"), ""),
            call(0, None, "{}"),
            call(1, Some("b"), "{}"),
            Piece::End(End { finish: Finish::ToolCalls, usage: None }),
        ];
        let mut stream = Stream::new(head());
        let mut written = stream.begin(7);
        for piece in &pieces {
            written += &stream.piece(piece, &usage());
        }
        let mut all = Vec::new();
        let take = |event: Event| {
            let data: Value = serde_json::from_slice(&event.data).unwrap();
            assert_eq!(event.name.unwrap(), data["type"].as_str().unwrap().as_bytes());
            all.push(data);
        };
        Events::default().push(written.as_bytes(), take).unwrap();
        let types: Vec<String> = all
            .iter()
            .map(|event| {
                let index = event.get("index").map_or_else(String::new, ToString::to_string);
                format!("{}{index}", event["type"].as_str().unwrap().trim_start_matches("content_block_"))
            })
            .collect();
        let wanted = [
            "message_start",
            "start0",
            "delta0",
            "stop0",
            "start1",
            "delta1",
            "delta1",
            "stop1",
            "start2",
            "delta2",
            "delta2",
            "stop2",
            "start3",
            "delta3",
            "stop3",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(types, wanted);
        assert_eq!(all[0]["message"]["usage"]["input_tokens"], 7);
        assert_eq!(all[5]["delta"], json!({"type": "text_delta", "text": "Grüße"}));
        assert_eq!(all[8]["content_block"], json!({"type": "tool_use", "id": "a", "name": "f", "input": {}}));
        assert_eq!(all[10]["delta"], json!({"type": "input_json_delta", "partial_json": "{}"}));
        assert_eq!(all[15]["delta"]["stop_reason"], "tool_use");
        assert_eq!(all[15]["usage"]["input_tokens"], 4);
    }

    #[test]
    fn a_whole_answer_has_its_blocks() {
        let call = |arguments: &str| ToolCall { id: "a".into(), name: "f".into(), arguments: arguments.into() };
        let answer = Whole {
            text: "x".into(),
            calls: vec![call("{\"a\":1}"), call("{")],
            finish: Some(Finish::Length),
            ..Whole::default()
        };
        let written = whole(&head(), &answer, &usage());
        assert_eq!(
            written["content"],
            json!([
                {"type": "text", "text": "x"},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"arguments": "{"}},
            ])
        );
        assert_eq!((&written["stop_reason"], &written["usage"]["output_tokens"]), (&json!("max_tokens"), &json!(2)));
        assert_eq!(whole(&head(), &Whole::default(), &usage())["content"], json!([{"type": "text", "text": ""}]));
        let failed = error(&Failure::new(Kind::ModelMissing, "there is no model 'x'").hint("take y"));
        let wanted = json!({"type": "not_found_error", "message": "there is no model 'x'; take y"});
        assert_eq!(failed, json!({"type": "error", "error": wanted}));
    }
}
