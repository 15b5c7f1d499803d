//! Both embedders over HTTP against a real Ollama, which also answers in the way of OpenAI.

use std::time::Duration;

use node::llm::ollama::Ollama;
use node::llm::openai::OpenAi;
use node::llm::{Address, Limits, ollama, openai};
use tokio::runtime::Runtime;
use vault::embed::{EmbedError, Embedder, Reach};

use crate::support::server::Server;
use crate::support::wait;

const MODEL: &str = "all-minilm";
/// To load a model, too, on a machine with much else to do.
const START: Duration = Duration::from_secs(60);

fn url(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port)
}

fn open_ollama(server: &Server, model: &str, runtime: &Runtime) -> Result<Ollama, EmbedError> {
    let address = Address::new(&url(server)).unwrap();
    let settings =
        ollama::Settings { address, model: model.to_owned(), keep_alive: "5m".to_owned(), limits: Limits::default() };
    Ollama::open(settings, runtime.handle().clone())
}

fn open_openai(server: &Server, model: &str, runtime: &Runtime) -> Result<OpenAi, EmbedError> {
    let address = Address::new(&format!("{}/v1", url(server))).unwrap();
    let settings = openai::Settings { address, model: model.to_owned(), key: None, limits: Limits::default() };
    OpenAi::open(settings, runtime.handle().clone())
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
}

/// What an embedder promises, with texts that servers trip over.
fn keeps_the_contract(embedder: &dyn Embedder) {
    assert_eq!((embedder.id().dimension, embedder.reach()), (384, Reach::Local));
    let texts =
        ["The cat sleeps on the mat.", "", "A cat is asleep.", "Взыскание долга", "budget = 4 < 5", "the tax return"];
    let many: Vec<&str> = texts.iter().cycle().take(texts.len() * 12).copied().collect();
    let vectors = embedder.embed(&many).unwrap();
    assert_eq!(vectors.len(), many.len());
    for (at, vector) in vectors.iter().enumerate() {
        assert_eq!(vector.len(), 384);
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5, "{}: length", many[at]);
        // the same text has the same vector, in whichever batch
        assert!(cosine(vector, &vectors[at % texts.len()]) > 0.99999, "{}", many[at]);
    }
    let alone = embedder.embed(&texts[..1]).unwrap().remove(0);
    assert!(cosine(&alone, &vectors[0]) > 0.99999);
    assert!(cosine(&vectors[0], &vectors[2]) > cosine(&vectors[0], &vectors[5]) + 0.3, "meaning shows");
}

#[test]
fn ollama_turns_text_into_vectors() {
    let Some(mut server) = Server::start("ollama", "ollama_turns_text_into_vectors") else { return };
    let runtime = Runtime::new().unwrap();
    let native = wait::until("Ollama answers", START, || match open_ollama(&server, MODEL, &runtime) {
        Ok(ollama) => Some(ollama),
        Err(EmbedError::Away { .. }) if !server.ended() => None,
        Err(error) => panic!("{error}: {}", server.output()),
    });
    keeps_the_contract(&native);
    // a text that is too long is cut at its end, not refused
    let long = "The cat sleeps on the mat. ".repeat(400);
    let (one, other) = (format!("{long}dogs"), format!("{long}taxes"));
    let cut = native.embed(&[&one, &other]).unwrap();
    assert!(cosine(&cut[0], &cut[1]) > 0.99999);

    let missing = open_ollama(&server, "nope", &runtime).map(drop).unwrap_err();
    assert!(matches!(&missing, EmbedError::Refused { why, .. } if why.contains("`ollama pull nope`")), "{missing}");

    let openai = open_openai(&server, MODEL, &runtime).unwrap();
    keeps_the_contract(&openai);
    let text = ["A cat is asleep."];
    assert!(cosine(&native.embed(&text).unwrap()[0], &openai.embed(&text).unwrap()[0]) > 0.99999);
    let missing = open_openai(&server, "nope", &runtime).map(drop).unwrap_err();
    assert!(matches!(missing, EmbedError::Refused { .. }), "{missing}");

    drop(server);
    for embedder in [&native as &dyn Embedder, &openai] {
        let away = embedder.embed(&text).unwrap_err();
        assert!(matches!(away, EmbedError::Away { .. }), "{away}");
    }
}
