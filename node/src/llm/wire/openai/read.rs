//! What a client asks this node in the form of OpenAI.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::form::{
    BASE64, ChoiceForm, ContentForm, DATA, FormatForm, FunctionForm, ImageForm, MessageForm, PartForm, SchemaForm,
    SpeakerForm, StreamOptions, ToolForm,
};
use crate::llm::chat::{
    Chat, Completion, Content, Embedding, Format, Message, Settings, Speaker, Tool, ToolCall, ToolChoice,
};
use crate::llm::failure::Failure;
use crate::llm::wire::fields::{Fields, wrong};

/// Fields that change how many answers there are, or what an answer has beside its words, which nobody would notice if they
/// were left out for a provider of another kind. This node has no form for them.
const NOT_HERE: [&str; 4] = ["logprobs", "top_logprobs", "audio", "modalities"];

/// A request as a client sent it.
#[derive(Debug)]
pub struct Asked<T> {
    /// The model's name, as the client gave it.
    pub model: String,
    /// What is asked.
    pub what: T,
    /// Whether the answer comes piece by piece.
    pub stream: bool,
    /// Whether the end of a stream tells the tokens.
    pub tells_usage: bool,
    /// Whether vectors are sent in base64.
    pub is_base64: bool,
}

/// Reads the body of `POST /v1/chat/completions`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn chat(body: &[u8]) -> Result<Asked<Chat>, Failure> {
    let mut fields = Fields::read(body)?;
    let model = fields.need("model")?;
    let messages: Vec<Box<RawValue>> = fields.need("messages")?;
    let messages = messages.iter().enumerate().map(|(at, message)| {
        let message: MessageForm = serde_json::from_str(message.get())
            .map_err(|error| wrong(format!("the message {at} does not fit: {error}")))?;
        incoming(message, at)
    });
    let messages = messages.collect::<Result<_, _>>()?;
    let tools: Vec<Box<RawValue>> = fields.take("tools")?.unwrap_or_default();
    let tools = tools.iter().enumerate().map(|(at, tool)| {
        let tool: ToolForm =
            serde_json::from_str(tool.get()).map_err(|error| wrong(format!("the tool {at} does not fit: {error}")))?;
        if tool.r#type != "function" {
            return Err(wrong(format!("the tool {at} is of the type '{}'; only functions are known", tool.r#type)));
        }
        let FunctionForm { name, description, parameters } = tool.function;
        let parameters = parameters.map(Cow::into_owned);
        Ok(Tool { name: name.into_owned(), description: description.map(Cow::into_owned), parameters })
    });
    let tools = tools.collect::<Result<_, _>>()?;
    let tool_choice = choice(&mut fields)?;
    let format = format(&mut fields)?;
    let (stream, tells_usage) = streaming(&mut fields)?;
    let limit: Option<u32> = fields.take("max_completion_tokens")?;
    let mut settings = settings(&mut fields)?;
    settings.max_tokens = limit.or(settings.max_tokens);
    let what = Chat { messages, tools, tool_choice, format, settings, besides: besides(fields)? };
    what.check()?;
    Ok(Asked { model, what, stream, tells_usage, is_base64: false })
}

/// Reads the body of `POST /v1/completions`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn completion(body: &[u8]) -> Result<Asked<Completion>, Failure> {
    let mut fields = Fields::read(body)?;
    let model = fields.need("model")?;
    let mut prompts: Vec<String> = fields.list("prompt")?.unwrap_or_default();
    let prompt = match (prompts.pop(), prompts.is_empty()) {
        (Some(prompt), true) => prompt,
        (None, _) => return Err(wrong("the field 'prompt' is missing")),
        (Some(_), false) => return Err(wrong("there is more than one prompt; send a request for each")),
    };
    let suffix = fields.take("suffix")?;
    let (stream, tells_usage) = streaming(&mut fields)?;
    let settings = settings(&mut fields)?;
    besides(fields)?;
    let what = Completion { prompt, suffix, settings };
    what.check()?;
    Ok(Asked { model, what, stream, tells_usage, is_base64: false })
}

/// Reads the body of `POST /v1/embeddings`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn embedding(body: &[u8]) -> Result<Asked<Embedding>, Failure> {
    let mut fields = Fields::read(body)?;
    let model = fields.need("model")?;
    let texts = fields.list("input").map_err(|failure| failure.hint("send texts, not tokens"))?;
    let texts = texts.ok_or_else(|| wrong("the field 'input' is missing"))?;
    let dimensions = fields.take("dimensions")?;
    let encoding: Option<String> = fields.take("encoding_format")?;
    let is_base64 = match encoding.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => return Err(wrong(format!("the encoding '{other}' is neither float nor base64"))),
    };
    let what = Embedding { texts, dimensions };
    what.check()?;
    Ok(Asked { model, what, stream: false, tells_usage: false, is_base64 })
}

fn incoming(message: MessageForm<'_>, at: usize) -> Result<Message, Failure> {
    let speaker = match message.role {
        SpeakerForm::System | SpeakerForm::Developer => Speaker::System,
        SpeakerForm::User => Speaker::User,
        SpeakerForm::Assistant => Speaker::Assistant,
        SpeakerForm::Tool => Speaker::Tool,
    };
    let content = match message.content {
        None => Vec::new(),
        Some(ContentForm::Words(text)) => vec![Content::Text { text: text.into_owned() }],
        Some(ContentForm::Parts(parts)) => parts.into_iter().map(part).collect(),
    };
    let calls = message.tool_calls.into_iter().map(|call| ToolCall {
        id: call.id.into_owned(),
        name: call.function.name.into_owned(),
        arguments: call.function.arguments.into_owned(),
    });
    let tool_call_id = message.tool_call_id.map(Cow::into_owned);
    if speaker == Speaker::Tool && tool_call_id.is_none() {
        return Err(wrong(format!("the message {at} is of a tool, and has no tool_call_id")));
    }
    Ok(Message { speaker, content, tool_calls: calls.collect(), tool_call_id })
}

fn part(part: PartForm<'_>) -> Content {
    match part {
        PartForm::Text { text } | PartForm::Refusal { refusal: text } => Content::Text { text: text.into_owned() },
        PartForm::ImageUrl { image_url: ImageForm { url } } => {
            let data = url.strip_prefix(DATA).and_then(|url| url.split_once(BASE64));
            match data {
                Some((media_type, data)) => Content::Image { media_type: media_type.to_owned(), data: data.to_owned() },
                None => Content::ImageLink { url: url.into_owned() },
            }
        }
    }
}

fn choice(fields: &mut Fields) -> Result<ToolChoice, Failure> {
    let Some(json) = fields.take::<Box<RawValue>>("tool_choice")? else { return Ok(ToolChoice::Auto) };
    match serde_json::from_str(json.get()) {
        Ok(ChoiceForm::Word(word)) => match &*word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(wrong(format!("the tool_choice '{word}' is neither auto, none nor required"))),
        },
        Ok(ChoiceForm::Named { function, .. }) => Ok(ToolChoice::Named(function.name.into_owned())),
        Err(_) => Err(wrong("the field 'tool_choice' is neither a word nor a function")),
    }
}

fn format(fields: &mut Fields) -> Result<Format, Failure> {
    let Some(json) = fields.take::<Box<RawValue>>("response_format")? else { return Ok(Format::Text) };
    let FormatForm { r#type, json_schema } = serde_json::from_str(json.get())
        .map_err(|error| wrong(format!("the field 'response_format' does not fit: {error}")))?;
    match (&*r#type, json_schema) {
        ("text", _) => Ok(Format::Text),
        ("json_object", _) | ("json_schema", Some(SchemaForm { schema: None, .. })) => Ok(Format::Json),
        ("json_schema", Some(SchemaForm { name, schema: Some(schema), .. })) => {
            Ok(Format::Schema { name: name.into_owned(), schema: schema.into_owned() })
        }
        ("json_schema", None) => Err(wrong("the response_format json_schema has no json_schema")),
        (other, _) => Err(wrong(format!("the response_format '{other}' is not known here"))),
    }
}

fn streaming(fields: &mut Fields) -> Result<(bool, bool), Failure> {
    let stream = fields.take("stream")?.unwrap_or(false);
    let options: StreamOptions = fields.take("stream_options")?.unwrap_or_default();
    Ok((stream, options.include_usage))
}

fn settings(fields: &mut Fields) -> Result<Settings, Failure> {
    let answers: Option<u32> = fields.take("n")?;
    if answers.is_some_and(|answers| answers != 1) {
        return Err(wrong("only one answer is made ('n'); send the request as often as you want answers"));
    }
    let stop: Vec<String> = fields.list("stop")?.unwrap_or_default();
    Ok(Settings {
        max_tokens: fields.take("max_tokens")?,
        temperature: fields.take("temperature")?,
        top_p: fields.take("top_p")?,
        top_k: fields.take("top_k")?,
        stop,
        seed: fields.take("seed")?,
        presence_penalty: fields.take("presence_penalty")?,
        frequency_penalty: fields.take("frequency_penalty")?,
        ..Settings::default()
    })
}

fn besides(fields: Fields) -> Result<BTreeMap<String, Box<RawValue>>, Failure> {
    let rest = fields.rest();
    let asks = |name: &&&str| rest.get(**name).is_some_and(|json| json.get() != "false");
    match NOT_HERE.iter().find(asks) {
        Some(name) => Err(wrong(format!("the field '{name}' is not known here; leave it out"))),
        None => Ok(rest),
    }
}
