//! What a provider answers in the form of OpenAI.

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::llm::chat::{End, Finish, Piece, TOOL_CALLS_MAX, Usage};
use crate::llm::failure::{Failure, Kind};
use crate::llm::wire::said::{self, too_many_calls};

/// What a stream ends with.
const DONE: &[u8] = b"[DONE]";

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<UsageForm>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    /// Of an answer in one piece.
    message: Option<Message>,
    /// Of a chunk.
    delta: Option<Message>,
    /// Of a completion.
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
    /// As DeepSeek and those that follow it name it.
    reasoning_content: Option<String>,
    /// As Ollama, OpenRouter and vLLM do.
    reasoning: Option<String>,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    index: Option<usize>,
    id: Option<String>,
    function: Option<Called>,
}

#[derive(Deserialize)]
struct Called {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct UsageForm {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Vectors {
    data: Vec<Item>,
    usage: Option<UsageForm>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Numbers,
}

/// What was asked for, or what servers send that know nothing else.
#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Base64(String),
    Plain(Vec<f32>),
}

/// Reads an answer, in one piece or chunk by chunk.
#[derive(Default, Debug)]
pub struct Reader {
    /// The provider's numbers of the calls, in the order in which they began: it may begin at 1, or write any.
    calls: Vec<usize>,
    finish: Option<Finish>,
    usage: Option<Usage>,
    has_ended: bool,
}

impl Reader {
    /// The pieces that the data of an event are.
    ///
    /// # Errors
    /// When they tell of a failure, or are no chunk.
    pub fn event(&mut self, data: &[u8], tell: &mut dyn FnMut(Piece)) -> Result<(), Failure> {
        if data == DONE {
            return self.end(tell);
        }
        let body: Body = serde_json::from_slice(data)
            .map_err(|error| Failure::new(Kind::Internal, format!("a chunk of its answer is not OpenAI's: {error}")))?;
        self.take(body, tell)
    }

    /// The pieces of an answer in one piece, its end among them.
    ///
    /// # Errors
    /// When it tells of a failure, or is no answer.
    pub fn whole(&mut self, body: &[u8], tell: &mut dyn FnMut(Piece)) -> Result<(), Failure> {
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| Failure::new(Kind::Internal, format!("its answer is not OpenAI's: {error}")))?;
        if body.choices.is_empty() && body.error.is_none() {
            return Err(Failure::new(Kind::Internal, "its answer has no choice"));
        }
        self.take(body, tell)?;
        // some leave the reason out where there is nothing else to say
        self.finish.get_or_insert(Finish::Stop);
        self.end(tell)
    }

    /// The end of a stream. Servers that send no last word have said why the answer ended.
    ///
    /// # Errors
    /// When the answer is not whole.
    pub fn end(&mut self, tell: &mut dyn FnMut(Piece)) -> Result<(), Failure> {
        if self.has_ended {
            return Ok(());
        }
        let Some(finish) = self.finish else {
            return Err(Failure::new(Kind::Unavailable, "its answer broke off"));
        };
        self.has_ended = true;
        tell(Piece::End(End { finish, usage: self.usage }));
        Ok(())
    }

    fn take(&mut self, body: Body, tell: &mut dyn FnMut(Piece)) -> Result<(), Failure> {
        if let Some(error) = body.error.filter(|error| !error.is_null()) {
            return Err(by_code(None, &error));
        }
        if let Some(usage) = body.usage {
            self.usage = Some(usage.into());
        }
        // there is one answer, and after it a chunk with the tokens alone
        let Some(choice) = body.choices.into_iter().next() else { return Ok(()) };
        if let Some(message) = choice.message.or(choice.delta) {
            self.message(message, tell)?;
        }
        if let Some(text) = choice.text.filter(|text| !text.is_empty()) {
            tell(Piece::Text(text));
        }
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(match &*reason {
                "length" => Finish::Length,
                "tool_calls" | "function_call" => Finish::ToolCalls,
                "content_filter" => Finish::ContentFilter,
                // Ollama and others say that it stopped where it waits for tools
                _ if !self.calls.is_empty() => Finish::ToolCalls,
                _ => Finish::Stop,
            });
        }
        Ok(())
    }

    fn message(&mut self, message: Message, tell: &mut dyn FnMut(Piece)) -> Result<(), Failure> {
        let filled = |text: &String| !text.is_empty();
        if let Some(text) = message.reasoning_content.or(message.reasoning).filter(filled) {
            tell(Piece::Thinking(text));
        }
        for text in [message.content, message.refusal].into_iter().flatten().filter(filled) {
            tell(Piece::Text(text));
        }
        for call in message.tool_calls.unwrap_or_default() {
            let is_first = call.id.as_ref().is_some_and(filled);
            // without a number an id begins the next call
            let next = self.calls.last().map_or(0, |last| last.saturating_add(usize::from(is_first)));
            let number = call.index.unwrap_or(next);
            let known = self.calls.iter().rposition(|known| *known == number);
            let (index, is_new) = (known.unwrap_or(self.calls.len()), known.is_none());
            if is_new {
                self.calls.push(number);
            }
            if index >= TOOL_CALLS_MAX {
                return Err(too_many_calls());
            }
            let (name, arguments) = call.function.map_or((None, None), |called| (called.name, called.arguments));
            let id = call.id.filter(filled).or_else(|| is_new.then(|| format!("call_{index}")));
            tell(Piece::ToolCall { index, id, name: name.filter(filled), arguments: arguments.unwrap_or_default() });
        }
        Ok(())
    }
}

impl From<UsageForm> for Usage {
    fn from(form: UsageForm) -> Self {
        Self {
            input_tokens: form.prompt_tokens,
            cached_tokens: form.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            output_tokens: form.completion_tokens,
        }
    }
}

/// The vectors of an answer in the order of the texts, and what they took.
///
/// # Errors
/// When it is no such answer.
pub fn vectors(body: &[u8]) -> Result<(Vec<Vec<f32>>, Option<Usage>), Failure> {
    let wrong = |why: &str| Failure::new(Kind::Internal, format!("its answer is not OpenAI's: {why}"));
    let Vectors { mut data, usage } = serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))?;
    // they may come in another order than the texts
    data.sort_by_key(|item| item.index);
    if data.iter().enumerate().any(|(at, item)| at != item.index) {
        return Err(wrong("it has no vector for a text, or two"));
    }
    let numbers = data.into_iter().map(|item| item.embedding.read());
    let vectors = numbers.collect::<Option<_>>();
    let vectors = vectors.ok_or_else(|| wrong("a vector is no base64 of whole numbers of 4 bytes"))?;
    Ok((vectors, usage.map(Into::into)))
}

impl Numbers {
    /// The numbers; none where it is no base64 of floats of 4 bytes, the lowest byte first.
    fn read(self) -> Option<Vec<f32>> {
        match self {
            Self::Plain(numbers) => Some(numbers),
            Self::Base64(text) => {
                let bytes = STANDARD.decode(text).ok()?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                rest.is_empty().then(|| numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
            }
        }
    }
}

/// What an answer with a status other than 200 means.
pub fn refused(status: u16, body: &[u8]) -> Failure {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    match json.as_ref().and_then(|json| json.get("error")) {
        Some(error) => by_code(Some(status), error),
        None => Failure::new(
            kind(Some(status), "", &said::words(body)),
            format!("it answers {status}: {}", said::words(body)),
        ),
    }
}

fn by_code(status: Option<u16>, error: &Value) -> Failure {
    let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let words = error.as_str().unwrap_or_else(|| field("message"));
    let code = if field("code").is_empty() { field("type") } else { field("code") };
    // OpenRouter and others write a status as a number where OpenAI has a word
    let status = status.or_else(|| error.get("code")?.as_u64()?.try_into().ok());
    let begin = status.map_or_else(|| String::from("it says"), |status| format!("it answers {status}"));
    Failure::new(kind(status, code, words), format!("{begin}: {}", said::shown(words)))
}

fn kind(status: Option<u16>, code: &str, words: &str) -> Kind {
    match code {
        "context_length_exceeded" | "string_above_max_length" => Kind::ContextLength,
        "insufficient_quota" | "billing_hard_limit_reached" => Kind::Quota,
        "content_filter" | "content_policy_violation" => Kind::ContentFilter,
        "model_not_found" => Kind::ModelMissing,
        "invalid_api_key" | "authentication_error" | "permission_error" => Kind::Auth,
        "rate_limit_exceeded" | "rate_limit_error" | "tokens" | "requests" => Kind::RateLimit,
        _ if matches!(status, Some(400 | 413 | 422) | None) && said::says_too_long(words) => Kind::ContextLength,
        "invalid_request_error" if status.is_none() => Kind::BadRequest,
        _ => match status {
            // an address that is none says the same status as a model that is none
            Some(404) if !words.to_lowercase().contains("model") && code.is_empty() => Kind::BadRequest,
            Some(status) => said::by_status(status),
            None => Kind::Internal,
        },
    }
}
