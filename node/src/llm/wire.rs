//! What providers are sent and what they answer, each in its own form, to and from the form of this node. Nothing is sent
//! here.

pub mod anthropic;
mod fields;
pub mod ollama;
pub mod openai;
pub mod said;
