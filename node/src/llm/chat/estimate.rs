//! How many tokens a request takes, where nobody has counted them yet.

use super::{Content, Format, Message, Task, Tool, ToolCall};

impl Task {
    /// How many bytes of text the model is to read.
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::Chat(chat) => {
                let content = |content: &Content| match content {
                    Content::Text { text } => text.len(),
                    // what an image takes depends on its size in pixels, which is not read here
                    Content::Image { .. } | Content::ImageLink { .. } => IMAGE_TOKENS * BYTES_A_TOKEN,
                };
                let call = |call: &ToolCall| call.name.len() + call.arguments.len();
                let message = |message: &Message| {
                    message.content.iter().map(content).sum::<usize>()
                        + message.tool_calls.iter().map(call).sum::<usize>()
                };
                let tool = |tool: &Tool| {
                    tool.name.len()
                        + tool.description.as_ref().map_or(0, String::len)
                        + tool.parameters.as_ref().map_or(0, |schema| schema.get().len())
                };
                let schema = match &chat.format {
                    Format::Schema { schema, .. } => schema.get().len(),
                    Format::Text | Format::Json => 0,
                };
                chat.messages.iter().map(message).sum::<usize>() + chat.tools.iter().map(tool).sum::<usize>() + schema
            }
            Self::Completion(wanted) => wanted.prompt.len() + wanted.suffix.as_ref().map_or(0, String::len),
            Self::Embedding(wanted) => wanted.texts.iter().map(String::len).sum(),
        }
    }

    /// How many tokens the model is to read, estimated.
    pub fn input_tokens(&self) -> u64 {
        let messages = match self {
            Self::Chat(chat) => chat.messages.len(),
            Self::Completion(_) => 1,
            Self::Embedding(wanted) => wanted.texts.len(),
        };
        estimated_tokens(self.text_bytes()) + (messages * MESSAGE_TOKENS) as u64
    }
}

/// Bytes that a token stands for, as low as usual texts come: an estimate is rather too high, since budgets rest on it.
const BYTES_A_TOKEN: usize = 3;
/// Tokens around each message.
const MESSAGE_TOKENS: usize = 4;
/// Tokens of an image, about as many as OpenAI counts for one of 1024 by 1024 pixels.
const IMAGE_TOKENS: usize = 800;

/// Tokens of so many bytes of text, estimated where no provider counts.
pub fn estimated_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_A_TOKEN) as u64
}
