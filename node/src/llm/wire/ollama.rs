//! The form of Ollama (<https://github.com/ollama/ollama/blob/main/docs/api.md>): JSON in, a line of JSON for each piece out.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::llm::chat::{
    Chat, Completion, Content, End, Finish, Format, Message, Piece, Settings, Speaker, TOOL_CALLS_MAX, Usage,
};
use crate::llm::failure::{Failure, Kind};
use crate::llm::wire::said;

/// After what time a full queue may be tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// A time with a unit, or seconds: Ollama takes a text without a unit for a mistake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum KeepAlive {
    /// `-1` for ever, `0` not at all.
    Seconds(i64),
    /// Such as `5m`.
    Time(String),
}

impl From<&str> for KeepAlive {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Time(text.to_owned()), Self::Seconds)
    }
}

#[derive(Serialize)]
struct ChatRequest<'a> {
    model: &'a str,
    messages: Vec<MessageOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<ToolOut<'a>>,
    #[serde(flatten)]
    common: Common<'a>,
}

#[derive(Serialize)]
struct GenerateRequest<'a> {
    model: &'a str,
    prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<&'a str>,
    #[serde(flatten)]
    common: Common<'a>,
}

#[derive(Serialize)]
struct Common<'a> {
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<bool>,
    keep_alive: KeepAlive,
    options: Options<'a>,
}

#[derive(Serialize)]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_ctx: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
}

#[derive(Serialize)]
struct MessageOut<'a> {
    role: Speaker,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
}

#[derive(Serialize)]
struct CallOut<'a> {
    function: CalledOut<'a>,
}

#[derive(Serialize)]
struct CalledOut<'a> {
    name: &'a str,
    arguments: Cow<'a, RawValue>,
}

#[derive(Serialize)]
struct ToolOut<'a> {
    r#type: &'static str,
    function: FunctionOut<'a>,
}

#[derive(Serialize)]
struct FunctionOut<'a> {
    name: &'a str,
    description: &'a str,
    parameters: Cow<'a, RawValue>,
}

#[derive(Deserialize)]
struct Line {
    error: Option<Value>,
    message: Option<MessageIn>,
    response: Option<String>,
    thinking: Option<String>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
}

#[derive(Deserialize)]
struct MessageIn {
    content: Option<String>,
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Vec<CallIn>,
}

#[derive(Deserialize)]
struct CallIn {
    id: Option<String>,
    function: CalledIn,
}

#[derive(Deserialize)]
struct CalledIn {
    name: String,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
}

/// The body of `POST /api/chat`, streamed.
///
/// # Errors
/// When the request has what Ollama has no form for.
pub fn chat(model: &str, chat: &Chat, keep_alive: &KeepAlive) -> Result<Vec<u8>, Failure> {
    let messages = chat.messages.iter().map(|message| outgoing(message, &chat.messages)).collect::<Result<_, _>>()?;
    let tools = chat.tools.iter().map(|tool| ToolOut {
        r#type: "function",
        function: FunctionOut {
            name: &tool.name,
            description: tool.description.as_deref().unwrap_or_default(),
            parameters: tool.parameters.as_deref().map_or_else(|| Cow::Owned(raw(NO_ARGUMENTS)), Cow::Borrowed),
        },
    });
    let request = ChatRequest {
        model,
        messages,
        tools: tools.collect(),
        common: common(&chat.settings, &chat.format, keep_alive),
    };
    Ok(serde_json::to_vec(&request).expect("a request holds only JSON"))
}

/// The body of `POST /api/generate`, streamed.
pub fn completion(model: &str, wanted: &Completion, keep_alive: &KeepAlive) -> Vec<u8> {
    let request = GenerateRequest {
        model,
        prompt: &wanted.prompt,
        suffix: wanted.suffix.as_deref(),
        common: common(&wanted.settings, &Format::Text, keep_alive),
    };
    serde_json::to_vec(&request).expect("a request holds only JSON")
}

/// The schema of a tool that takes nothing.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("it is JSON")
}

fn common<'a>(settings: &'a Settings, format: &'a Format, usual: &KeepAlive) -> Common<'a> {
    let format = match format {
        Format::Text => None,
        Format::Json => Some(Cow::Owned(raw(r#""json""#))),
        Format::Schema { schema, .. } => Some(Cow::Borrowed(&**schema)),
    };
    let options = Options {
        num_ctx: settings.context_tokens,
        num_predict: settings.max_tokens,
        temperature: settings.temperature,
        top_p: settings.top_p,
        top_k: settings.top_k,
        stop: &settings.stop,
        seed: settings.seed,
        presence_penalty: settings.presence_penalty,
        frequency_penalty: settings.frequency_penalty,
    };
    let keep_alive = settings.keep_alive.as_deref().map_or_else(|| usual.clone(), KeepAlive::from);
    Common { stream: true, format, think: settings.thinking, keep_alive, options }
}

fn outgoing<'a>(message: &'a Message, all: &'a [Message]) -> Result<MessageOut<'a>, Failure> {
    let mut images = Vec::new();
    let mut texts = Vec::new();
    for part in &message.content {
        match part {
            Content::Text { text } => texts.push(text.as_str()),
            Content::Image { data, .. } => images.push(data.as_str()),
            Content::ImageLink { .. } => {
                return Err(Failure::new(Kind::BadRequest, "Ollama fetches no images")
                    .hint("send the image itself, as a data: URL"));
            }
        }
    }
    let content = match &texts[..] {
        [one] => Cow::Borrowed(*one),
        many => Cow::Owned(many.concat()),
    };
    let mut tool_calls = Vec::new();
    for call in &message.tool_calls {
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        let arguments = serde_json::from_str(arguments).map_err(|error| {
            Failure::new(Kind::BadRequest, format!("the arguments of the tool call '{}' are no JSON: {error}", call.id))
        })?;
        tool_calls
            .push(CallOut { function: CalledOut { name: &call.name, arguments: Cow::<RawValue>::Owned(arguments) } });
    }
    // it knows the tool by its name, not by the id of the call
    let named = message.tool_call_id.as_ref().and_then(|id| {
        let calls = all.iter().flat_map(|message| &message.tool_calls);
        calls.filter(|call| call.id == *id).map(|call| call.name.as_str()).next_back()
    });
    Ok(MessageOut { role: message.speaker, content, images, tool_calls, tool_name: named })
}

/// Reads the lines of an answer.
#[derive(Default, Debug)]
pub struct Reader {
    calls: usize,
    has_ended: bool,
}

impl Reader {
    /// The pieces that a line is; an empty one is none.
    ///
    /// # Errors
    /// When it tells of a failure, or is no line of Ollama.
    pub fn line(&mut self, line: &[u8], mut tell: impl FnMut(Piece)) -> Result<(), Failure> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| Failure::new(Kind::Internal, format!("a line of its answer is not Ollama's: {error}")))?;
        if let Some(error) = line.error {
            let words = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
            return Err(meaning(&words));
        }
        let (content, thinking, calls) = match line.message {
            Some(message) => (message.content, message.thinking, message.tool_calls),
            None => (line.response, line.thinking, Vec::new()),
        };
        if let Some(text) = thinking.filter(|text| !text.is_empty()) {
            tell(Piece::Thinking(text));
        }
        if let Some(text) = content.filter(|text| !text.is_empty()) {
            tell(Piece::Text(text));
        }
        for call in calls {
            let index = self.calls;
            if index >= TOOL_CALLS_MAX {
                return Err(said::too_many_calls());
            }
            self.calls += 1;
            let arguments = call.function.arguments.map_or_else(|| "{}".to_owned(), |json| json.get().to_owned());
            let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{index}"));
            tell(Piece::ToolCall { index, id: Some(id), name: Some(call.function.name), arguments });
        }
        if line.done {
            self.has_ended = true;
            let finish = match line.done_reason.as_deref() {
                Some("length") => Finish::Length,
                _ if self.calls > 0 => Finish::ToolCalls,
                _ => Finish::Stop,
            };
            let usage = line.eval_count.map(|output_tokens| Usage {
                // what it had read before is not counted by it
                input_tokens: line.prompt_eval_count.unwrap_or(0),
                cached_tokens: 0,
                output_tokens,
            });
            tell(Piece::End(End { finish, usage }));
        }
        Ok(())
    }

    /// Whether the last line came.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// What an answer with a status other than 200 means.
pub fn refused(status: u16, body: &[u8], model: &str) -> Failure {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let words = json.as_ref().and_then(|json| json.get("error")?.as_str()).map(str::to_owned);
    let words = words.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    match status {
        404 => Failure::new(Kind::ModelMissing, format!("Ollama has no model '{model}': {}", said::shown(&words)))
            .hint(format!("fetch it with: rhizome llm pull {model}")),
        401 => Failure::new(Kind::Auth, format!("Ollama answers {status}: {}", said::shown(&words))),
        403 => Failure::new(Kind::Unavailable, "Ollama refuses this host (403)")
            .hint("set OLLAMA_HOST and OLLAMA_ORIGINS where it runs, or give its address as it knows itself"),
        429 => Failure::new(Kind::RateLimit, format!("Ollama answers {status}: {}", said::shown(&words))),
        503 => Failure::new(Kind::Unavailable, format!("Ollama is busy: {}", said::shown(&words)))
            .retry_after(Some(FULL_RETRY)),
        400..=499 => {
            let failure = meaning(&words);
            if failure.kind == Kind::ContextLength { failure } else { Failure { kind: Kind::BadRequest, ..failure } }
        }
        _ => meaning(&words),
    }
}

/// The end of a stream before its last line.
pub fn cut() -> Failure {
    Failure::new(Kind::Unavailable, "Ollama's answer broke off")
}

/// What its words mean; it has no codes.
fn meaning(words: &str) -> Failure {
    let lower = words.to_lowercase();
    let kind = if said::says_too_long(words) {
        Kind::ContextLength
    } else if lower.contains("model") && lower.contains("not found") {
        Kind::ModelMissing
    } else if lower.contains("must be of type") {
        Kind::BadRequest
    } else {
        Kind::Internal
    };
    Failure::new(kind, format!("Ollama says: {}", said::shown(words)))
}
