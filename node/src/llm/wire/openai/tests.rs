//! Requests there and back.

use serde_json::{Value, json};

use super::read;
use super::write::{self, Delivery, LimitName};
use crate::llm::chat::{Content, Format, Speaker, ToolChoice};
use crate::llm::failure::Kind;

fn wrong<T: std::fmt::Debug>(result: Result<T, crate::llm::failure::Failure>, words: &str) {
    let failure = result.expect_err(words);
    assert!(failure.kind == Kind::BadRequest && failure.detail.contains(words), "{words}: {failure:?}");
}

/// A request that has each field that is known, as a client writes it.
fn full() -> Value {
    json!({
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{\"at\": 1}"}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "A duck."},
        ],
        "tools": [{"type": "function", "function":
            {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema", "json_schema":
            {"name": "answer", "schema": {"type": "object"}, "strict": true}},
        "stream": true,
        "stream_options": {"include_usage": true},
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "reasoning_effort": "low",
    })
}

#[test]
fn a_request_comes_through_whole() {
    let full = full();
    let asked = read::chat(full.to_string().as_bytes()).unwrap();
    assert!(asked.stream && asked.tells_usage && asked.model == "gpt-4o-mini");
    let chat = &asked.what;
    assert_eq!(chat.messages[1].content[2], Content::ImageLink { url: "https://example.org/a.png".into() });
    assert_eq!(chat.tool_choice, ToolChoice::Named("look".into()));
    let written = write::chat("gpt-4o-mini", chat, Delivery::Stream, LimitName::MaxTokens);
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), full);
    let written = write::chat("gpt-4o-mini", chat, Delivery::Whole, LimitName::MaxCompletionTokens);
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!((&written["max_tokens"], &written["max_completion_tokens"]), (&Value::Null, &json!(9)));
    assert_eq!((&written["stream"], &written["stream_options"]), (&json!(false), &Value::Null));
}

#[test]
fn the_keys_of_a_schema_keep_their_order() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"x"}],
        "tools":[{"function":{"name":"t","parameters":{"z":1,"a":2}}}],
        "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"z":1,"a":2}}}}"#;
    let asked = read::chat(body).unwrap();
    let written = write::chat("m", &asked.what, Delivery::Whole, LimitName::MaxTokens);
    let written = String::from_utf8(written).unwrap();
    assert_eq!(written.matches(r#"{"z":1,"a":2}"#).count(), 2, "{written}");
}

#[test]
fn short_forms_are_read_too() {
    let asked = read::chat(
        br#"{"model":"m","messages":[{"role":"developer","content":"x"},{"role":"user","content":"y","name":"ann"}],
            "stop":"END","max_completion_tokens":3,"n":1,"temperature":null,"logprobs":false,"store":null,"user":"u"}"#,
    );
    let asked = asked.unwrap();
    assert!(!asked.stream && !asked.tells_usage);
    assert_eq!(asked.what.messages[0].speaker, Speaker::System);
    assert_eq!((&asked.what.settings.stop[..], asked.what.settings.max_tokens), (&["END".to_owned()][..], Some(3)));
    assert_eq!(asked.what.settings.temperature, None);
    assert_eq!(asked.what.besides.keys().map(String::as_str).collect::<Vec<_>>(), ["logprobs", "user"]);
    let json = br#"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_object"},"tool_choice":"required"}"#;
    let asked = read::chat(json).unwrap();
    assert!(matches!(asked.what.format, Format::Json) && asked.what.tool_choice == ToolChoice::Required);
    let asked = read::completion(br#"{"model":"m","prompt":["go on"],"max_tokens":1}"#).unwrap();
    assert_eq!(asked.what.prompt, "go on");
    let written = write::completion("m", &asked.what, Delivery::Whole);
    let wanted = json!({"model": "m", "prompt": "go on", "stream": false, "max_tokens": 1});
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), wanted);
    let asked = read::embedding(br#"{"model":"m","input":"one","encoding_format":"base64","dimensions":8}"#).unwrap();
    assert!(asked.is_base64);
    let written: Value = serde_json::from_slice(&write::embedding("m", &asked.what)).unwrap();
    assert_eq!(written, json!({"model": "m", "input": ["one"], "dimensions": 8, "encoding_format": "base64"}));
    assert!(!read::embedding(br#"{"model":"m","input":["one","two"]}"#).unwrap().is_base64);
}

#[test]
fn what_is_wrong_is_named() {
    let chat = |body: &str| read::chat(body.as_bytes());
    wrong(chat("{"), "not JSON");
    wrong(chat("[]"), "no JSON object");
    wrong(chat(r#"{"messages":[]}"#), "'model' is missing");
    wrong(chat(r#"{"model":7,"messages":[]}"#), "'model' does not fit");
    wrong(chat(r#"{"model":"m"}"#), "'messages' is missing");
    wrong(chat(r#"{"model":"m","messages":[]}"#), "no messages");
    let with = |field: &str| chat(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{field}}}"#));
    wrong(with(r#""temperature":"hot""#), "'temperature'");
    wrong(with(r#""max_tokens":-1"#), "'max_tokens'");
    wrong(with(r#""n":2"#), "only one answer");
    wrong(with(r#""logprobs":true"#), "'logprobs'");
    wrong(with(r#""tool_choice":"some""#), "'some'");
    wrong(with(r#""tool_choice":5"#), "'tool_choice'");
    wrong(with(r#""tools":[{"function":{}}]"#), "tool 0");
    wrong(with(r#""tools":[{"type":"search","function":{"name":"x"}}]"#), "'search'");
    wrong(with(r#""response_format":{"type":"xml"}"#), "'xml'");
    wrong(with(r#""response_format":{"type":"json_schema"}"#), "no json_schema");
    wrong(with(&format!(r#""stop":{}"#, json!(vec!["x"; 17]))), "17 texts that end");
    wrong(with(r#""max_completion_tokens":0"#), "one token at least");
    wrong(
        chat(r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"king","content":"x"}]}"#),
        "message 1",
    );
    wrong(chat(r#"{"model":"m","messages":[{"role":"tool","content":"x"}]}"#), "tool_call_id");
    wrong(read::completion(br#"{"model":"m"}"#), "'prompt' is missing");
    wrong(read::completion(br#"{"model":"m","prompt":["a","b"]}"#), "more than one prompt");
    wrong(read::completion(br#"{"model":"m","prompt":"x","max_tokens":0}"#), "one token at least");
    wrong(read::embedding(br#"{"model":"m"}"#), "'input' is missing");
    wrong(read::embedding(br#"{"model":"m","input":[]}"#), "no texts");
    wrong(read::embedding(br#"{"model":"m","input":[1,2]}"#), "'input'");
    wrong(read::embedding(br#"{"model":"m","input":"x","encoding_format":"hex"}"#), "'hex'");
}
