//! The parts of a request, which are read and written alike.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How a `data:` URL begins, and what its data follow.
pub const DATA: &str = "data:";
pub const BASE64: &str = ";base64,";

#[derive(Deserialize, Serialize)]
pub struct MessageForm<'a> {
    pub role: SpeakerForm,
    #[serde(borrow, default)]
    pub content: Option<ContentForm<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallForm<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeakerForm {
    System,
    /// What newer models call the system.
    Developer,
    User,
    Assistant,
    Tool,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub enum ContentForm<'a> {
    Words(Cow<'a, str>),
    Parts(Vec<PartForm<'a>>),
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PartForm<'a> {
    Text {
        text: Cow<'a, str>,
    },
    ImageUrl {
        image_url: ImageForm<'a>,
    },
    /// What the model refused before.
    Refusal {
        refusal: Cow<'a, str>,
    },
}

#[derive(Deserialize, Serialize)]
pub struct ImageForm<'a> {
    pub url: Cow<'a, str>,
}

#[derive(Deserialize, Serialize)]
pub struct CallForm<'a> {
    pub id: Cow<'a, str>,
    #[serde(default = "function")]
    pub r#type: Cow<'a, str>,
    pub function: CalledForm<'a>,
}

#[derive(Deserialize, Serialize)]
pub struct CalledForm<'a> {
    pub name: Cow<'a, str>,
    #[serde(default)]
    pub arguments: Cow<'a, str>,
}

#[derive(Deserialize, Serialize)]
pub struct ToolForm<'a> {
    #[serde(default = "function")]
    pub r#type: Cow<'a, str>,
    pub function: FunctionForm<'a>,
}

#[derive(Deserialize, Serialize)]
pub struct FunctionForm<'a> {
    pub name: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Cow<'a, RawValue>>,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub enum ChoiceForm<'a> {
    Word(Cow<'a, str>),
    Named { r#type: Cow<'a, str>, function: NameForm<'a> },
}

#[derive(Deserialize, Serialize)]
pub struct NameForm<'a> {
    pub name: Cow<'a, str>,
}

/// No enum with a tag, since a schema would lose the order of its keys in it.
#[derive(Deserialize, Serialize)]
pub struct FormatForm<'a> {
    pub r#type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<SchemaForm<'a>>,
}

#[derive(Deserialize, Serialize)]
pub struct SchemaForm<'a> {
    pub name: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Cow<'a, RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

#[derive(Deserialize, Serialize, Default)]
pub struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

pub fn function() -> Cow<'static, str> {
    Cow::Borrowed("function")
}
