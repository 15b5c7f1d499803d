//! The form of OpenAI (<https://platform.openai.com/docs/api-reference>), in both directions: providers with its interface
//! are asked in it, and existing clients ask this node in it.

pub mod answer;
mod form;
pub mod read;
pub mod reply;
#[cfg(test)]
mod tests;
pub mod write;
