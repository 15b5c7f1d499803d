//! An answer put together from its pieces.

use super::chat::{End, Finish, Piece, ToolCall, Usage};

/// A whole answer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Whole {
    /// Its words.
    pub text: String,
    /// What the model thought.
    pub thinking: String,
    /// What it wants done.
    pub calls: Vec<ToolCall>,
    /// Why it ended; none while it goes on.
    pub finish: Option<Finish>,
    /// What it took, by the provider's count.
    pub usage: Option<Usage>,
}

impl Whole {
    /// Adds a piece.
    pub fn add(&mut self, piece: Piece) {
        match piece {
            Piece::Text(text) => append(&mut self.text, text),
            Piece::Thinking(text) => append(&mut self.thinking, text),
            Piece::ToolCall { index, id, name, arguments } => {
                // they begin one after the other
                match self.calls.get_mut(index) {
                    Some(call) => {
                        // some servers say the name with every piece
                        if call.name.is_empty() {
                            call.name.extend(name);
                        }
                        append(&mut call.arguments, arguments);
                    }
                    None => self.calls.push(ToolCall {
                        id: id.unwrap_or_default(),
                        name: name.unwrap_or_default(),
                        arguments,
                    }),
                }
            }
            Piece::End(End { finish, usage }) => {
                self.finish = Some(finish);
                self.usage = usage;
            }
        }
    }

    /// How many bytes of it a model wrote.
    pub fn bytes(&self) -> usize {
        let calls = self.calls.iter().map(|call| call.name.len() + call.arguments.len());
        self.text.len() + self.thinking.len() + calls.sum::<usize>()
    }
}

/// The first piece is often the whole.
fn append(text: &mut String, more: String) {
    if text.is_empty() { *text = more } else { text.push_str(&more) }
}
