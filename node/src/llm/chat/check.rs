//! What is wrong with a request whoever is asked, so that it is told before anybody is.

use super::{Chat, Completion, Content, Embedding, MESSAGES_MAX, STOPS_MAX, Settings, TEXTS_MAX, TOOLS_MAX, Task};
use crate::llm::failure::{Failure, Kind};

impl Task {
    /// Whether it can be asked at all.
    ///
    /// # Errors
    /// What is missing, or too much.
    pub fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Chat(chat) => chat.check(),
            Self::Completion(wanted) => wanted.check(),
            Self::Embedding(wanted) => wanted.check(),
        }
    }
}

impl Chat {
    /// As [`Task::check`].
    ///
    /// # Errors
    /// As there.
    pub fn check(&self) -> Result<(), Failure> {
        talk(self)?;
        settings(&self.settings)
    }
}

impl Completion {
    /// As [`Task::check`].
    ///
    /// # Errors
    /// As there.
    pub fn check(&self) -> Result<(), Failure> {
        settings(&self.settings)
    }
}

impl Embedding {
    /// As [`Task::check`].
    ///
    /// # Errors
    /// As there.
    pub fn check(&self) -> Result<(), Failure> {
        some("texts", self.texts.len(), TEXTS_MAX)?;
        match self.dimensions {
            Some(0) => Err(wrong("a vector has one number at least, and none are asked for")),
            _ => Ok(()),
        }
    }
}

fn talk(chat: &Chat) -> Result<(), Failure> {
    some("messages", chat.messages.len(), MESSAGES_MAX)?;
    at_most("tools", chat.tools.len(), TOOLS_MAX)?;
    for (at, message) in chat.messages.iter().enumerate() {
        let says = message.content.iter().any(|part| match part {
            Content::Text { text } => !text.is_empty(),
            Content::Image { .. } | Content::ImageLink { .. } => true,
        });
        // a tool may have nothing to say
        if !says && message.tool_calls.is_empty() && message.tool_call_id.is_none() {
            return Err(wrong(format!("the message {at} is empty")));
        }
    }
    Ok(())
}

fn settings(settings: &Settings) -> Result<(), Failure> {
    at_most("texts that end the answer", settings.stop.len(), STOPS_MAX)?;
    // Ollama takes 0 for no limit
    if settings.max_tokens == Some(0) {
        return Err(wrong("an answer has one token at least, and none are asked for"));
    }
    Ok(())
}

fn some(what: &str, count: usize, most: usize) -> Result<(), Failure> {
    if count == 0 { Err(wrong(format!("there are no {what}"))) } else { at_most(what, count, most) }
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), Failure> {
    if count > most { Err(wrong(format!("there are {count} {what}, {most} are the most"))) } else { Ok(()) }
}

fn wrong(detail: impl Into<String>) -> Failure {
    Failure::new(Kind::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::chat::{Message, Speaker, Tool};

    fn wrong(task: &Task, words: &str) {
        let failure = task.check().expect_err(words);
        assert!(failure.kind == Kind::BadRequest && failure.detail.contains(words), "{words}: {failure:?}");
    }

    fn chat() -> Chat {
        Chat { messages: vec![Message::text(Speaker::User, "x")], ..Chat::default() }
    }

    #[test]
    fn what_can_be_asked_is() {
        let tool = Message { content: Vec::new(), tool_call_id: Some("c".into()), ..Message::text(Speaker::Tool, "") };
        let mut talk = chat();
        talk.messages.push(tool);
        Task::Chat(talk).check().unwrap();
        Task::Completion(Completion::default()).check().unwrap();
        Task::Embedding(Embedding { texts: vec![String::new(); TEXTS_MAX], dimensions: Some(1) }).check().unwrap();
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let message = Message::text(Speaker::User, "");
        wrong(&Task::Chat(Chat::default()), "no messages");
        wrong(
            &Task::Chat(Chat { messages: vec![chat().messages[0].clone(), message], ..chat() }),
            "message 1 is empty",
        );
        wrong(
            &Task::Chat(Chat { messages: vec![chat().messages[0].clone(); MESSAGES_MAX + 1], ..chat() }),
            "10001 messages",
        );
        let tool = Tool { name: "t".into(), description: None, parameters: None };
        wrong(&Task::Chat(Chat { tools: vec![tool; TOOLS_MAX + 1], ..chat() }), "257 tools");
        let with = |settings| Task::Completion(Completion { settings, ..Completion::default() });
        wrong(&with(Settings { stop: vec!["x".into(); STOPS_MAX + 1], ..Settings::default() }), "17 texts that end");
        wrong(&with(Settings { max_tokens: Some(0), ..Settings::default() }), "one token at least");
        wrong(&Task::Embedding(Embedding::default()), "no texts");
        let texts = vec![String::new(); TEXTS_MAX + 1];
        wrong(&Task::Embedding(Embedding { texts, dimensions: None }), "2049 texts");
        wrong(&Task::Embedding(Embedding { texts: vec![String::new()], dimensions: Some(0) }), "one number at least");
    }
}
