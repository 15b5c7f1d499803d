//! What is asked.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::llm::chat::{Chat, Content, Format, Message, Settings, Speaker, Tool, ToolCall, ToolChoice};
use crate::llm::failure::Failure;
use crate::llm::wire::fields::{Fields, wrong};

/// A request as a client sent it.
#[derive(Debug)]
pub struct Asked {
    /// The model's name, as the client gave it.
    pub model: String,
    /// What is asked.
    pub what: Chat,
    /// Whether the answer comes piece by piece.
    pub stream: bool,
}

#[derive(Deserialize)]
struct MessageForm {
    role: SpeakerForm,
    content: Blocks,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SpeakerForm {
    User,
    Assistant,
}

/// A text, or blocks. Each block is read by itself, since what a tool was asked would lose the order of its keys in an enum.
#[derive(Deserialize)]
#[serde(untagged)]
enum Blocks {
    Words(String),
    Blocks(Vec<Block>),
}

#[derive(Deserialize)]
struct Block {
    r#type: String,
    text: Option<String>,
    source: Option<Source>,
    id: Option<String>,
    name: Option<String>,
    input: Option<serde_json::Value>,
    tool_use_id: Option<String>,
    content: Option<Box<Blocks>>,
    #[serde(default)]
    is_error: bool,
}

#[derive(Deserialize)]
struct Source {
    r#type: String,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct ToolForm {
    r#type: Option<String>,
    name: String,
    description: Option<String>,
    input_schema: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ChoiceForm {
    r#type: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct ThinkingForm {
    r#type: String,
}

/// Reads the body of `POST /v1/messages`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn messages(body: &[u8]) -> Result<Asked, Failure> {
    let mut fields = Fields::read(body)?;
    let model = fields.need("model")?;
    let max_tokens = fields.need("max_tokens")?;
    let mut messages = Vec::new();
    if let Some(system) = fields.take::<Blocks>("system")? {
        messages.push(Message::text(Speaker::System, words(system, "the system prompt")?));
    }
    for (at, message) in fields.need::<Vec<Box<RawValue>>>("messages")?.iter().enumerate() {
        let message: MessageForm = serde_json::from_str(message.get())
            .map_err(|error| wrong(format!("the message {at} does not fit: {error}")))?;
        incoming(message, at, &mut messages)?;
    }
    let mut tools = Vec::new();
    for (at, tool) in fields.take::<Vec<ToolForm>>("tools")?.unwrap_or_default().into_iter().enumerate() {
        if tool.r#type.as_deref().is_some_and(|kind| kind != "custom") {
            let kind = tool.r#type.unwrap_or_default();
            return Err(wrong(format!("the tool {at} is of the type '{kind}'; only tools of the client are known")));
        }
        tools.push(Tool { name: tool.name, description: tool.description, parameters: tool.input_schema });
    }
    let tool_choice = match fields.take::<ChoiceForm>("tool_choice")? {
        None => ToolChoice::Auto,
        Some(choice) => match (&*choice.r#type, choice.name) {
            ("auto", _) => ToolChoice::Auto,
            ("none", _) => ToolChoice::None,
            ("any", _) => ToolChoice::Required,
            ("tool", Some(name)) => ToolChoice::Named(name),
            (other, _) => return Err(wrong(format!("the tool_choice '{other}' is not known, or has no name"))),
        },
    };
    let stop: Vec<String> = fields.take("stop_sequences")?.unwrap_or_default();
    let thinking = fields.take::<ThinkingForm>("thinking")?.map(|thinking| thinking.r#type != "disabled");
    let settings = Settings {
        max_tokens: Some(max_tokens),
        temperature: fields.take("temperature")?,
        top_p: fields.take("top_p")?,
        top_k: fields.take("top_k")?,
        stop,
        thinking,
        ..Settings::default()
    };
    let stream = fields.take("stream")?.unwrap_or(false);
    let what = Chat { messages, tools, tool_choice, format: Format::Text, settings, ..Chat::default() };
    what.check()?;
    Ok(Asked { model, what, stream })
}

/// A message of theirs may be several of ours: what tools answered is a message each.
fn incoming(message: MessageForm, at: usize, messages: &mut Vec<Message>) -> Result<(), Failure> {
    let speaker = match message.role {
        SpeakerForm::User => Speaker::User,
        SpeakerForm::Assistant => Speaker::Assistant,
    };
    let blocks = match message.content {
        Blocks::Words(text) => {
            messages.push(Message::text(speaker, text));
            return Ok(());
        }
        Blocks::Blocks(blocks) => blocks,
    };
    let mut own = Message { speaker, content: Vec::new(), tool_calls: Vec::new(), tool_call_id: None };
    for block in blocks {
        let lacks = |what: &str| wrong(format!("a block '{}' of the message {at} has no {what}", block.r#type));
        match &*block.r#type {
            "text" => own.content.push(Content::Text { text: block.text.ok_or_else(|| lacks("text"))? }),
            "image" => own.content.push(image(block.source.ok_or_else(|| lacks("source"))?, at)?),
            "tool_use" => own.tool_calls.push(ToolCall {
                id: block.id.clone().ok_or_else(|| lacks("id"))?,
                name: block.name.clone().ok_or_else(|| lacks("name"))?,
                arguments: block.input.as_ref().map_or_else(|| "{}".to_owned(), ToString::to_string),
            }),
            "tool_result" => {
                let id = block.tool_use_id.clone().ok_or_else(|| lacks("tool_use_id"))?;
                let text =
                    block.content.map_or_else(|| Ok(String::new()), |content| words(*content, "a tool_result"))?;
                let text = if block.is_error { format!("Error: {text}") } else { text };
                messages.push(Message { tool_call_id: Some(id), ..Message::text(Speaker::Tool, text) });
            }
            // what another model has thought says nothing to the next
            "thinking" | "redacted_thinking" => {}
            other => return Err(wrong(format!("the message {at} has a block of the type '{other}', not known here"))),
        }
    }
    if !own.content.is_empty() || !own.tool_calls.is_empty() {
        messages.push(own);
    }
    Ok(())
}

fn words(blocks: Blocks, of: &str) -> Result<String, Failure> {
    let blocks = match blocks {
        Blocks::Words(text) => return Ok(text),
        Blocks::Blocks(blocks) => blocks,
    };
    let texts = blocks.into_iter().map(|block| {
        block.text.ok_or_else(|| wrong(format!("{of} has a block of the type '{}'; only text is known", block.r#type)))
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
}

fn image(source: Source, at: usize) -> Result<Content, Failure> {
    match (&*source.r#type, source.media_type, source.data, source.url) {
        ("base64", Some(media_type), Some(data), _) => Ok(Content::Image { media_type, data }),
        ("url", _, _, Some(url)) => Ok(Content::ImageLink { url }),
        (other, ..) => {
            Err(wrong(format!("the image of the message {at} has the source '{other}', not whole or not known")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::failure::Kind;

    fn text(text: &str) -> Content {
        Content::Text { text: text.into() }
    }

    #[test]
    fn a_request_is_read_whole() {
        let asked = messages(
            br#"{"model":"claude","max_tokens":9,"stream":true,"system":[{"type":"text","text":"Be"},{"type":"text","text":"brief."}],
            "messages":[
                {"role":"user","content":[{"type":"text","text":"What?","cache_control":{"type":"ephemeral"}},
                    {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
                    {"type":"image","source":{"type":"url","url":"https://example.org/a.png"}}]},
                {"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"s"},
                    {"type":"text","text":"I look."},{"type":"tool_use","id":"t1","name":"look","input":{"at":1}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"A duck."}]},
                    {"type":"tool_result","tool_use_id":"t2","content":"no","is_error":true},{"type":"text","text":"And?"}]}],
            "tools":[{"name":"look","description":"Looks.","input_schema":{"type":"object"}}],
            "tool_choice":{"type":"tool","name":"look"},"stop_sequences":["END"],"temperature":0.5,"top_k":3,
            "thinking":{"type":"enabled","budget_tokens":1024},"metadata":{"user_id":"u"}}"#,
        );
        let asked = asked.unwrap();
        assert!(asked.stream && asked.model == "claude");
        let Chat { messages, tools, tool_choice, settings, .. } = asked.what;
        assert_eq!(messages[0], Message::text(Speaker::System, "Be\nbrief."));
        let image = Content::Image { media_type: "image/png".into(), data: "AAAA".into() };
        let link = Content::ImageLink { url: "https://example.org/a.png".into() };
        assert_eq!((messages[1].speaker, &messages[1].content[..]), (Speaker::User, &[text("What?"), image, link][..]));
        let call = ToolCall { id: "t1".into(), name: "look".into(), arguments: r#"{"at":1}"#.into() };
        assert_eq!((&messages[2].content[..], &messages[2].tool_calls[..]), (&[text("I look.")][..], &[call][..]));
        let result =
            |id: &str, text: &str| Message { tool_call_id: Some(id.into()), ..Message::text(Speaker::Tool, text) };
        assert_eq!(messages[3..5], [result("t1", "A duck."), result("t2", "Error: no")]);
        assert_eq!(messages[5..], [Message::text(Speaker::User, "And?")]);
        assert_eq!((&*tools[0].name, tool_choice), ("look", ToolChoice::Named("look".into())));
        assert_eq!((settings.max_tokens, settings.top_k, settings.thinking), (Some(9), Some(3), Some(true)));
        assert_eq!(settings.stop, ["END"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |body: &str, part: &str| {
            let failure = messages(body.as_bytes()).expect_err(part);
            assert!(failure.kind == Kind::BadRequest && failure.detail.contains(part), "{part}: {failure:?}");
        };
        wrong("{", "not JSON");
        wrong(r#"{"model":"m","messages":[]}"#, "'max_tokens' is missing");
        let with =
            |message: &str, more: &str| format!(r#"{{"model":"m","max_tokens":1,"messages":[{message}]{more}}}"#);
        let block = |block: &str| with(&format!(r#"{{"role":"user","content":[{block}]}}"#), "");
        wrong(&with(r#"{"role":"system","content":"x"}"#, ""), "message 0");
        wrong(&block(r#"{"type":"text"}"#), "has no text");
        wrong(&block(r#"{"type":"video"}"#), "'video'");
        wrong(&block(r#"{"type":"tool_result","content":"x"}"#), "tool_use_id");
        wrong(&block(r#"{"type":"image","source":{"type":"file"}}"#), "'file'");
        wrong(&with("", ""), "no messages");
        let said = r#"{"role":"user","content":"x"}"#;
        wrong(&with(said, &format!(r#","stop_sequences":["x"{}]"#, r#","x""#.repeat(16))), "17 texts that end");
        wrong(&with("", r#","tools":[{"type":"web_search_20250305","name":"w"}]"#), "web_search");
        wrong(&with("", r#","tool_choice":{"type":"tool"}"#), "tool_choice");
        wrong(&with("", r#","system":[{"type":"image"}]"#), "system prompt");
    }
}
