//! What a provider is asked in the form of OpenAI.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::form::{
    BASE64, CallForm, CalledForm, ChoiceForm, ContentForm, DATA, FormatForm, FunctionForm, ImageForm, MessageForm,
    NameForm, PartForm, SchemaForm, SpeakerForm, StreamOptions, ToolForm, function,
};
use crate::llm::chat::{Chat, Completion, Content, Embedding, Format, Message, Settings, Speaker, ToolChoice};

#[derive(Serialize)]
struct ChatOut<'a> {
    model: &'a str,
    messages: Vec<MessageForm<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ChoiceForm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<FormatForm<'a>>,
    #[serde(flatten)]
    common: CommonOut<'a>,
    #[serde(flatten)]
    besides: &'a BTreeMap<String, Box<RawValue>>,
}

#[derive(Serialize)]
struct CompletionOut<'a> {
    model: &'a str,
    prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<&'a str>,
    #[serde(flatten)]
    common: CommonOut<'a>,
}

#[derive(Serialize)]
struct EmbeddingOut<'a> {
    model: &'a str,
    input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    /// A third of the bytes that numbers have.
    encoding_format: &'static str,
}

#[derive(Serialize)]
struct CommonOut<'a> {
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
}

/// By which name a provider takes the most tokens of an answer: OpenAI's own newer models know only the second, most
/// others only the first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LimitName {
    /// `max_tokens`.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// Whether an answer comes piece by piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// In one piece.
    Whole,
    /// As it is made.
    Stream,
}

/// The body of `POST chat/completions`.
pub fn chat(model: &str, chat: &Chat, delivery: Delivery, limit: LimitName) -> Vec<u8> {
    let tools = chat.tools.iter().map(|tool| ToolForm {
        r#type: function(),
        function: FunctionForm {
            name: (&*tool.name).into(),
            description: tool.description.as_deref().map(Cow::Borrowed),
            parameters: tool.parameters.as_deref().map(Cow::Borrowed),
        },
    });
    let tool_choice = match &chat.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(ChoiceForm::Word("none".into())),
        ToolChoice::Required => Some(ChoiceForm::Word("required".into())),
        ToolChoice::Named(name) => {
            Some(ChoiceForm::Named { r#type: function(), function: NameForm { name: name.into() } })
        }
    };
    let response_format = match &chat.format {
        Format::Text => None,
        Format::Json => Some(FormatForm { r#type: "json_object".into(), json_schema: None }),
        Format::Schema { name, schema } => Some(FormatForm {
            r#type: "json_schema".into(),
            json_schema: Some(SchemaForm {
                name: name.into(),
                schema: Some(Cow::Borrowed(schema)),
                strict: Some(true),
            }),
        }),
    };
    let request = ChatOut {
        model,
        messages: chat.messages.iter().map(outgoing).collect(),
        tools: tools.collect(),
        tool_choice,
        response_format,
        common: common(&chat.settings, delivery, limit),
        besides: &chat.besides,
    };
    serde_json::to_vec(&request).expect("a request holds only JSON")
}

/// The body of `POST completions`.
pub fn completion(model: &str, wanted: &Completion, delivery: Delivery) -> Vec<u8> {
    let common = common(&wanted.settings, delivery, LimitName::MaxTokens);
    let request = CompletionOut { model, prompt: &wanted.prompt, suffix: wanted.suffix.as_deref(), common };
    serde_json::to_vec(&request).expect("a request holds only JSON")
}

/// The body of `POST embeddings`.
pub fn embedding(model: &str, wanted: &Embedding) -> Vec<u8> {
    let Embedding { texts, dimensions } = wanted;
    let request = EmbeddingOut { model, input: texts, dimensions: *dimensions, encoding_format: "base64" };
    serde_json::to_vec(&request).expect("a request holds only JSON")
}

fn common(settings: &Settings, delivery: Delivery, limit: LimitName) -> CommonOut<'_> {
    let stream = delivery == Delivery::Stream;
    let limited = |name| settings.max_tokens.filter(|_| limit == name);
    CommonOut {
        stream,
        stream_options: stream.then_some(StreamOptions { include_usage: true }),
        max_tokens: limited(LimitName::MaxTokens),
        max_completion_tokens: limited(LimitName::MaxCompletionTokens),
        temperature: settings.temperature,
        top_p: settings.top_p,
        stop: &settings.stop,
        seed: settings.seed,
        presence_penalty: settings.presence_penalty,
        frequency_penalty: settings.frequency_penalty,
    }
}

fn outgoing(message: &Message) -> MessageForm<'_> {
    let role = match message.speaker {
        Speaker::System => SpeakerForm::System,
        Speaker::User => SpeakerForm::User,
        Speaker::Assistant => SpeakerForm::Assistant,
        Speaker::Tool => SpeakerForm::Tool,
    };
    let content = match &message.content[..] {
        [] => None,
        [Content::Text { text }] => Some(ContentForm::Words(text.into())),
        parts => Some(ContentForm::Parts(parts.iter().map(part_out).collect())),
    };
    let calls = message.tool_calls.iter().map(|call| CallForm {
        id: (&*call.id).into(),
        r#type: function(),
        function: CalledForm { name: (&*call.name).into(), arguments: (&*call.arguments).into() },
    });
    let tool_call_id = message.tool_call_id.as_deref().map(Cow::Borrowed);
    MessageForm { role, content, tool_calls: calls.collect(), tool_call_id }
}

fn part_out(part: &Content) -> PartForm<'_> {
    match part {
        Content::Text { text } => PartForm::Text { text: text.into() },
        Content::Image { media_type, data } => {
            PartForm::ImageUrl { image_url: ImageForm { url: format!("{DATA}{media_type}{BASE64}{data}").into() } }
        }
        Content::ImageLink { url } => PartForm::ImageUrl { image_url: ImageForm { url: url.into() } },
    }
}
