//! Answers of servers with the interface of OpenAI, whole, cut and wrong.

use super::*;
use crate::llm::chat::ToolCall;
use crate::llm::whole::Whole;

fn pieces(read: impl FnOnce(&mut Reader, &mut dyn FnMut(Piece)) -> Result<(), Failure>) -> Result<Vec<Piece>, Failure> {
    let (mut reader, mut pieces) = (Reader::default(), Vec::new());
    read(&mut reader, &mut |piece| pieces.push(piece)).map(|()| pieces)
}

fn chunks(chunks: &[&str]) -> Result<Vec<Piece>, Failure> {
    pieces(|reader, tell| {
        chunks.iter().try_for_each(|chunk| reader.event(chunk.as_bytes(), tell))?;
        reader.end(tell)
    })
}

fn whole(body: &str) -> Result<Vec<Piece>, Failure> {
    pieces(|reader, tell| reader.whole(body.as_bytes(), tell))
}

fn end(finish: Finish, usage: Option<(u64, u64, u64)>) -> Piece {
    let usage =
        usage.map(|(input_tokens, cached_tokens, output_tokens)| Usage { input_tokens, cached_tokens, output_tokens });
    Piece::End(End { finish, usage })
}

fn call(index: usize, id: Option<&str>, name: Option<&str>, arguments: &str) -> Piece {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Piece::ToolCall { index, id: owned(id), name: owned(name), arguments: arguments.to_owned() }
}

#[test]
fn a_stream_is_read_chunk_by_chunk() {
    let got = chunks(&[
        r#"{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"reasoning_content":"Hm."}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"Grüße"}}],"usage":null}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,
            "prompt_tokens_details":{"cached_tokens":4}}}"#,
        "[DONE]",
    ]);
    let wanted = [Piece::Thinking("Hm.".into()), Piece::Text("Grüße".into()), end(Finish::Stop, Some((9, 4, 2)))];
    assert_eq!(got.unwrap(), wanted);
    let without_done = chunks(&[r#"{"choices":[{"text":"x","finish_reason":"length"}]}"#]);
    assert_eq!(without_done.unwrap(), [Piece::Text("x".into()), end(Finish::Length, None)]);
}

#[test]
fn tool_calls_are_put_together_by_their_index() {
    let got = chunks(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":":1}"}}]}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
    ]);
    let wanted = [
        call(0, Some("a"), Some("f"), ""),
        call(0, None, None, "{\"x\""),
        call(1, Some("b"), Some("g"), "{}"),
        call(0, None, None, ":1}"),
        end(Finish::ToolCalls, None),
    ];
    assert_eq!(got.unwrap(), wanted);
    let without_index = whole(
        r#"{"choices":[{"message":{"content":null,"tool_calls":[
            {"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},
            {"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
    );
    let wanted =
        [call(0, Some("a"), Some("f"), "{}"), call(1, Some("b"), Some("g"), "{}"), end(Finish::ToolCalls, None)];
    assert_eq!(without_index.unwrap(), wanted);
}

/// A number of a call is a provider's to choose: it neither takes memory nor makes gaps.
#[test]
fn tool_calls_are_numbered_anew() {
    let chunk = |number: usize, id: &str| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{number},"id":"{id}","function":{{"name":"f","arguments":"1"}}}}]}}}}]}}"#
        )
    };
    let numbers = [(usize::MAX, "a"), (1, "b"), (usize::MAX, ""), (1, "")].map(|(number, id)| chunk(number, id));
    let end = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#.to_owned();
    let all: Vec<&str> = numbers.iter().chain([&end]).map(String::as_str).collect();
    let got = chunks(&all).unwrap();
    let mut whole = Whole::default();
    got.iter().cloned().for_each(|piece| whole.add(piece));
    let called = |id: &str| ToolCall { id: id.into(), name: "f".into(), arguments: "11".into() };
    assert_eq!(whole.calls, [called("a"), called("b")]);
    assert_eq!(whole.finish, Some(Finish::ToolCalls));
    let many: Vec<String> = (0..=TOOL_CALLS_MAX).map(|number| chunk(number, "x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(chunks(&many).unwrap_err().detail, "its answer has more than 256 tool calls");
    assert_eq!(chunks(&many[1..]).unwrap_err().kind, Kind::Unavailable, "as many as may be, and no end");
}

#[test]
fn what_is_not_whole_is_no_answer() {
    let cut = chunks(&[r#"{"choices":[{"delta":{"content":"x"}}]}"#]).unwrap_err();
    assert_eq!(cut.kind, Kind::Unavailable);
    assert_eq!(chunks(&["[DONE]"]).unwrap_err().kind, Kind::Unavailable);
    for chunk in ["{", "[]", "5", r#"{"choices":5}"#] {
        assert_eq!(chunks(&[chunk]).unwrap_err().kind, Kind::Internal, "{chunk}");
    }
    assert_eq!(whole("{}").unwrap_err().kind, Kind::Internal);
    let failure = chunks(&[
        r#"{"choices":[{"delta":{"content":"x"}}]}"#,
        r#"{"error":{"message":"The server had an error","type":"server_error","code":null}}"#,
    ]);
    assert_eq!(failure.unwrap_err().kind, Kind::Internal);
    let failure = whole(r#"{"error":{"message":"no credits","code":402}}"#).unwrap_err();
    assert_eq!((failure.kind, &*failure.detail), (Kind::Quota, "it answers 402: no credits"));
}

#[test]
fn failures_have_a_kind() {
    let error = |code: &str, words: &str| format!(r#"{{"error":{{"message":"{words}","type":"t","code":"{code}"}}}}"#);
    let kinds = [
        (401, error("invalid_api_key", "Incorrect API key provided"), Kind::Auth),
        (403, "{}".to_owned(), Kind::Auth),
        (402, "{}".to_owned(), Kind::Quota),
        (429, error("insufficient_quota", "You exceeded your current quota"), Kind::Quota),
        (429, error("rate_limit_exceeded", "Rate limit reached"), Kind::RateLimit),
        (429, "slow down".to_owned(), Kind::RateLimit),
        (400, error("context_length_exceeded", "x"), Kind::ContextLength),
        (400, error("", "This model's maximum context length is 5 tokens"), Kind::ContextLength),
        (400, error("content_filter", "x"), Kind::ContentFilter),
        (400, error("", "x"), Kind::BadRequest),
        (404, error("model_not_found", "The model `x` does not exist"), Kind::ModelMissing),
        (404, r#"{"error":"no such model"}"#.to_owned(), Kind::ModelMissing),
        (404, "404 page not found".to_owned(), Kind::BadRequest),
        (408, String::new(), Kind::Timeout),
        (422, r#"{"detail":"x"}"#.to_owned(), Kind::BadRequest),
        (500, error("", "x"), Kind::Internal),
        (502, "<html>".to_owned(), Kind::Unavailable),
        (503, String::new(), Kind::Unavailable),
        (504, String::new(), Kind::Timeout),
        (302, String::new(), Kind::BadRequest),
    ];
    for (status, body, kind) in kinds {
        let failure = refused(status, body.as_bytes());
        assert_eq!(failure.kind, kind, "{status} {body}");
        assert!(failure.detail.starts_with(&format!("it answers {status}")), "{}", failure.detail);
    }
}

#[test]
fn vectors_come_in_the_order_of_their_texts() {
    let body = r#"{"data":[{"index":1,"embedding":[3,4.5]},{"index":0,"embedding":"AACAPwAAAEA="}],
        "usage":{"prompt_tokens":5,"total_tokens":5}}"#;
    let (got, usage) = vectors(body.as_bytes()).unwrap();
    assert_eq!(got, [[1.0, 2.0], [3.0, 4.5]]);
    assert_eq!(usage.unwrap().input_tokens, 5);
    let wrong = [
        r#"{"data":[{"index":1,"embedding":[1]}]}"#,
        r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#,
        r#"{"data":[{"index":0,"embedding":"AAA="}]}"#,
        r#"{"data":[{"index":0,"embedding":"?"}]}"#,
        "{}",
    ];
    for body in wrong {
        assert_eq!(vectors(body.as_bytes()).unwrap_err().kind, Kind::Internal, "{body}");
    }
}
