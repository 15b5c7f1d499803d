//! What Ollama is sent, and what of its answers means what.

use serde_json::json;

use super::*;
use crate::llm::chat::{Tool, ToolCall, ToolChoice};

fn read(lines: &[&str]) -> Result<Vec<Piece>, Failure> {
    let (mut reader, mut pieces) = (Reader::default(), Vec::new());
    for line in lines {
        reader.line(line.as_bytes(), |piece| pieces.push(piece))?;
    }
    assert!(reader.has_ended());
    Ok(pieces)
}

fn end(finish: Finish, usage: Option<(u64, u64)>) -> Piece {
    let usage = usage.map(|(input_tokens, output_tokens)| Usage { input_tokens, cached_tokens: 0, output_tokens });
    Piece::End(End { finish, usage })
}

#[test]
fn a_conversation_is_written_as_ollama_reads_it() {
    let call = ToolCall { id: "c1".into(), name: "weather".into(), arguments: r#"{"city":"Bern"}"#.into() };
    let tool = Tool {
        name: "weather".into(),
        description: Some("The weather.".into()),
        parameters: Some(raw(r#"{"type":"object"}"#)),
    };
    let bare = Tool { name: "now".into(), description: None, parameters: None };
    let image = Content::Image { media_type: "image/png".into(), data: "AAAA".into() };
    let mut seen = Message::text(Speaker::User, "Look: ");
    seen.content.extend([image, Content::Text { text: "what is it?".into() }]);
    let asked = Message { content: Vec::new(), tool_calls: vec![call], ..Message::text(Speaker::Assistant, "") };
    let answered = Message { tool_call_id: Some("c1".into()), ..Message::text(Speaker::Tool, "Rain.") };
    let wanted = Chat {
        messages: vec![Message::text(Speaker::System, "Be brief."), seen, asked, answered],
        tools: vec![tool, bare],
        tool_choice: ToolChoice::Auto,
        format: Format::Schema { name: "answer".into(), schema: raw(r#"{"type":"object","z":1,"a":2}"#) },
        settings: Settings {
            max_tokens: Some(9),
            temperature: Some(0.5),
            stop: vec!["END".into()],
            seed: Some(-3),
            context_tokens: Some(4096),
            thinking: Some(false),
            keep_alive: Some("-1".into()),
            ..Settings::default()
        },
        ..Chat::default()
    };
    let usual = KeepAlive::from("5m");
    let written = String::from_utf8(chat("tiny", &wanted, &usual).unwrap()).unwrap();
    // a schema's order of keys is the order in which some models write
    assert!(written.contains(r#""format":{"type":"object","z":1,"a":2}"#), "{written}");
    let empty: Value = serde_json::from_str(NO_ARGUMENTS).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&written).unwrap(),
        json!({
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Look: what is it?", "images": ["AAAA"]},
                {"role": "assistant", "content": "",
                 "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Bern"}}}]},
                {"role": "tool", "content": "Rain.", "tool_name": "weather"},
            ],
            "tools": [
                {"type": "function", "function":
                    {"name": "weather", "description": "The weather.", "parameters": {"type": "object"}}},
                {"type": "function", "function": {"name": "now", "description": "", "parameters": empty}},
            ],
            "stream": true,
            "format": {"type": "object", "z": 1, "a": 2},
            "think": false,
            "keep_alive": -1,
            "options": {"num_ctx": 4096, "num_predict": 9, "temperature": 0.5, "stop": ["END"], "seed": -3},
        })
    );
    let mut broken = wanted;
    broken.messages[2].tool_calls[0].arguments = "{".into();
    assert_eq!(chat("tiny", &broken, &usual).unwrap_err().kind, Kind::BadRequest);
    let going_on = Completion { prompt: "fn main".into(), suffix: Some("}".into()), settings: Settings::default() };
    assert_eq!(
        serde_json::from_slice::<Value>(&completion("tiny", &going_on, &usual)).unwrap(),
        json!({
            "model": "tiny", "prompt": "fn main", "suffix": "}", "stream": true, "keep_alive": "5m", "options": {},
        })
    );
    assert_eq!(KeepAlive::from("5m"), KeepAlive::Time("5m".into()));
}

#[test]
fn an_answer_is_read_piece_by_piece() {
    let pieces = read(&[
        r#"{"model":"t","message":{"role":"assistant","content":"","thinking":"Hm."},"done":false}"#,
        r#"{"model":"t","message":{"role":"assistant","content":"Grüße"},"done":false}"#,
        "",
        "{\"model\":\"t\",\"message\":{\"role\":\"assistant\",\"content\":\" \"},\"done\":false}\r",
        r#"{"model":"t","message":{"role":"assistant","content":""},"done":true,"done_reason":"length",
            "prompt_eval_count":23,"eval_count":12}"#,
    ]);
    let wanted = [
        Piece::Thinking("Hm.".into()),
        Piece::Text("Grüße".into()),
        Piece::Text(" ".into()),
        end(Finish::Length, Some((23, 12))),
    ];
    assert_eq!(pieces.unwrap(), wanted);
    let pieces = read(&[r#"{"response":"x","done":false}"#, r#"{"response":"","done":true,"done_reason":"stop"}"#]);
    assert_eq!(pieces.unwrap(), [Piece::Text("x".into()), end(Finish::Stop, None)]);
}

#[test]
fn tool_calls_have_an_id_each_and_their_arguments_as_written() {
    let pieces = read(&[
        r#"{"message":{"role":"assistant","content":"","tool_calls":[
            {"function":{"name":"a","arguments":{"z":1,"b":[2]}}},{"id":"x9","function":{"name":"b"}}]},"done":false}"#,
        r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":1}"#,
    ]);
    let call = |index, id: &str, name: &str, arguments: &str| Piece::ToolCall {
        index,
        id: Some(id.into()),
        name: Some(name.into()),
        arguments: arguments.into(),
    };
    let wanted =
        [call(0, "call_0", "a", r#"{"z":1,"b":[2]}"#), call(1, "x9", "b", "{}"), end(Finish::ToolCalls, Some((0, 1)))];
    assert_eq!(pieces.unwrap(), wanted);
}

#[test]
fn nobody_wants_so_much_done() {
    let call = r#"{"function":{"name":"a","arguments":{}}}"#;
    let line = |calls| format!(r#"{{"message":{{"content":"","tool_calls":[{}]}}}}"#, vec![call; calls].join(","));
    let mut reader = Reader::default();
    reader.line(line(TOOL_CALLS_MAX).as_bytes(), |_| {}).unwrap();
    assert_eq!(reader.line(line(1).as_bytes(), |_| panic!("it is one too many")).unwrap_err().kind, Kind::Internal);
}

#[test]
fn what_it_says_in_words_has_a_kind() {
    let kinds = [
        (404, r#"{"error":"model 'x' not found"}"#, Kind::ModelMissing),
        (404, r#"{"error":"model \"x\" not found, try pulling it first"}"#, Kind::ModelMissing),
        (400, r#"{"error":"\"all-minilm\" does not support chat"}"#, Kind::BadRequest),
        (400, r#"{"error":"the input length exceeds the context length"}"#, Kind::ContextLength),
        (403, "", Kind::Unavailable),
        (503, r#"{"error":"server busy, please try again. maximum pending requests exceeded"}"#, Kind::Unavailable),
        (500, r#"{"error":"option \"num_ctx\" must be of type integer"}"#, Kind::BadRequest),
        (500, r#"{"error":"llama runner: library not found"}"#, Kind::Internal),
        (502, "<html>", Kind::Internal),
        (401, "{}", Kind::Auth),
        (429, "{}", Kind::RateLimit),
    ];
    for (status, body, kind) in kinds {
        assert_eq!(refused(status, body.as_bytes(), "x").kind, kind, "{status} {body}");
    }
    assert!(refused(503, b"", "x").retry_after.is_some());
    assert!(refused(404, b"", "x").hint.unwrap().contains("rhizome llm pull x"));
    let failure = read(&[r#"{"error":"llama runner process\nhas terminated"}"#]).unwrap_err();
    assert_eq!((failure.kind, &*failure.detail), (Kind::Internal, "Ollama says: llama runner process has terminated"));
    for line in ["{", "[]", "\u{fffd}", r#"{"message":5}"#, r#"{"done":"yes"}"#] {
        assert_eq!(read(&[line]).unwrap_err().kind, Kind::Internal, "{line}");
    }
    assert_eq!(Reader::default().line(b"{\"response\":\"\xff\"}", |_| panic!()).unwrap_err().kind, Kind::Internal);
}
