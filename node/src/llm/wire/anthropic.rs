//! The form of Anthropic's messages (<https://docs.anthropic.com/en/api/messages>), in which existing clients ask this node.

pub mod read;
pub mod reply;
