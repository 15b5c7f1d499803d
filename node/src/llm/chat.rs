//! What is asked of a model and what it answers, as this node says it: every provider's form is translated to it and from
//! it, and it is the wire form of `POST /llm/infer`.

mod check;
mod estimate;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use estimate::estimated_tokens;

/// Most messages of a request.
pub const MESSAGES_MAX: usize = 10_000;
/// Most texts of which vectors are wanted at once; as many as OpenAI takes.
pub const TEXTS_MAX: usize = 2_048;
/// Most tools of a request.
pub const TOOLS_MAX: usize = 256;
/// Most tool calls of an answer.
pub const TOOL_CALLS_MAX: usize = 256;
/// Most sequences that end an answer.
pub const STOPS_MAX: usize = 16;

/// Who says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// What the model is told before.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
    /// What a tool answered.
    Tool,
}

/// A part of a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Content {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// A picture.
    Image {
        /// Such as `image/png`.
        #[serde(rename = "mediaType")]
        media_type: String,
        /// Base64.
        data: String,
    },
    /// A picture that the provider fetches itself; this node does not.
    #[serde(rename = "image_url")]
    ImageLink {
        /// Where it is.
        url: String,
    },
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Message {
    /// Who says it.
    #[serde(rename = "role")]
    pub speaker: Speaker,
    /// What; a plain string is one text.
    #[serde(default, deserialize_with = "words_or_parts")]
    pub content: Vec<Content>,
    /// What the model wants done, in a message of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// What a model wants done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolCall {
    /// Names the call in the answer to it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// JSON, as the model wrote it.
    pub arguments: String,
}

/// What a model may want done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Box<RawValue>>,
}

/// Whether tools are used.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// One of them.
    Required,
    /// This one.
    Named(String),
}

/// The form of an answer.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Words.
    #[default]
    Text,
    /// Any JSON.
    Json,
    /// JSON of this schema.
    Schema {
        /// What the schema is called.
        name: String,
        /// The JSON schema.
        schema: Box<RawValue>,
    },
}

/// How an answer is made.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// Most tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// 0 for the likeliest words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The share of likely words that are chosen from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// How many likely words are chosen from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// What ends the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// The same one gives the same answer, where the provider can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Against words that were there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Against words that were there often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Whether the model thinks aloud first, where it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
    /// Tokens that the model holds in mind, where the provider lets one choose (Ollama's `num_ctx`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u32>,
    /// How long the model stays loaded, as Ollama writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<String>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Task {
    /// The next message of a conversation.
    Chat(Chat),
    /// How a text goes on.
    Completion(Completion),
    /// Vectors of texts.
    Embedding(Embedding),
}

/// The next message of a conversation is wanted.
#[derive(Clone, Default, Debug)]
pub struct Chat {
    /// So far; at least one.
    pub messages: Vec<Message>,
    /// What the model may use.
    pub tools: Vec<Tool>,
    /// Whether it does.
    pub tool_choice: ToolChoice,
    /// The form of the answer.
    pub format: Format,
    /// How it is made.
    pub settings: Settings,
    /// What OpenAI's interface has besides, as it was written: only a provider with that interface is sent it.
    pub besides: BTreeMap<String, Box<RawValue>>,
}

/// It is wanted how a text goes on.
#[derive(Clone, Default, Debug)]
pub struct Completion {
    /// The text.
    pub prompt: String,
    /// What comes after the gap, where the model can fill one.
    pub suffix: Option<String>,
    /// How the answer is made.
    pub settings: Settings,
}

/// Vectors are wanted.
#[derive(Clone, Default, Debug)]
pub struct Embedding {
    /// Of these, in this order; at least one.
    pub texts: Vec<String>,
    /// So many numbers each, where the model lets one choose.
    pub dimensions: Option<u32>,
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Piece {
    /// Words of the answer.
    Text(String),
    /// Words that the model thinks.
    Thinking(String),
    /// A part of what it wants done.
    ToolCall {
        /// Which of the calls: they are numbered from 0 on, in the order in which they begin.
        index: usize,
        /// Its id, in its first piece.
        id: Option<String>,
        /// The tool, in its first piece.
        name: Option<String>,
        /// More of the arguments.
        arguments: String,
    },
    /// The end; nothing comes after.
    End(End),
}

/// How an answer ended, and what it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// Why.
    pub finish: Finish,
    /// By the provider's own count; none when it gives none.
    pub usage: Option<Usage>,
}

/// Why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was complete, or came to what ends it.
    Stop,
    /// It had as many tokens as were allowed.
    Length,
    /// The model waits for tools.
    ToolCalls,
    /// The provider refuses the rest.
    ContentFilter,
}

/// Tokens of a request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Read.
    pub input_tokens: u64,
    /// Of these, what the provider had read before.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Written, thought ones among them.
    pub output_tokens: u64,
}

impl Message {
    /// A text.
    pub fn text(speaker: Speaker, text: impl Into<String>) -> Self {
        Self { speaker, content: vec![Content::Text { text: text.into() }], tool_calls: Vec::new(), tool_call_id: None }
    }

    /// The words of its parts, one after the other.
    pub fn words(&self) -> String {
        let texts = self.content.iter().filter_map(|part| match part {
            Content::Text { text } => Some(text.as_str()),
            Content::Image { .. } | Content::ImageLink { .. } => None,
        });
        texts.collect()
    }
}

impl Task {
    /// The same, with so many tokens of an answer at most.
    #[must_use]
    pub fn limited(&self, tokens: u32) -> Self {
        let mut task = self.clone();
        match &mut task {
            Self::Chat(chat) => chat.settings.max_tokens = Some(tokens),
            Self::Completion(wanted) => wanted.settings.max_tokens = Some(tokens),
            Self::Embedding(_) => {}
        }
        task
    }

    /// Most tokens of the answer, where the request says.
    pub fn max_tokens(&self) -> Option<u32> {
        match self {
            Self::Chat(chat) => chat.settings.max_tokens,
            Self::Completion(wanted) => wanted.settings.max_tokens,
            Self::Embedding(_) => Some(0),
        }
    }
}

fn words_or_parts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Content>, D::Error> {
    struct Either;
    impl<'de> serde::de::Visitor<'de> for Either {
        type Value = Vec<Content>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text or a list of parts")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![Content::Text { text: text.to_owned() }])
        }

        fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
            Ok(vec![Content::Text { text }])
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(part) = parts.next_element()? {
                all.push(part);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_any(Either)
}
