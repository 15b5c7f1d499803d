//! The embedder in process, against vectors that `tests/reference/minilm.py` computed, and the cache before it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod golden;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use vault::embed::cache::Cache;
use vault::embed::minilm::{self, MiniLm};
use vault::embed::{EmbedError, Embedder, EmbedderId, Reach};

#[derive(Deserialize)]
struct Known {
    text: String,
    vector: Vec<f32>,
}

fn known() -> Vec<Known> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/minilm/reference.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests/run.sh tells where it put the model")]
fn folder() -> PathBuf {
    std::env::var_os("RHIZOME_MINILM_DIR").expect("RHIZOME_MINILM_DIR is what deploy/minilm.sh prints").into()
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |one: &[f32], other: &[f32]| -> f64 {
        one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
    };
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

/// Vectors are those of the published model, of length 1, and the same alone, in a batch and on several threads.
#[test]
fn vectors_are_those_of_the_model() {
    let known = known();
    let texts: Vec<&str> = known.iter().map(|known| known.text.as_str()).collect();
    for threads in [1, 2] {
        let model = MiniLm::open(&folder(), threads).unwrap();
        assert_eq!(model.id().dimension, 384);
        let vectors = model.embed(&texts).unwrap();
        for (known, vector) in known.iter().zip(&vectors) {
            let near = cosine(&known.vector, vector);
            assert!(near > 0.999_999, "{near}: {}", &known.text.chars().take(60).collect::<String>());
            let length: f32 = vector.iter().map(|number| number * number).sum();
            assert!((length - 1.0).abs() < 1e-5, "length {length}");
        }
        let alone = model.embed(&texts[..1]).unwrap();
        assert!(cosine(&alone[0], &vectors[0]) > 0.999_999_9);
        assert_eq!(model.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
    }
}

/// A folder that is no model is told what is wrong with it.
#[test]
fn a_wrong_folder_is_told() {
    let id = minilm::check(&folder()).unwrap();
    assert_eq!((&*id.kind, id.dimension), ("minilm", 384));
    assert!(id.model.starts_with("all-MiniLM-L6-v2-"), "{id}");
    let wrong = tempfile::tempdir().unwrap();
    let told = || minilm::check(wrong.path()).unwrap_err().to_string();
    assert!(told().contains("has no config.json"), "{}", told());
    fs::write(wrong.path().join("config.json"), "{").unwrap();
    assert!(told().starts_with("config.json of the model"), "{}", told());
    let config = fs::read_to_string(folder().join("config.json")).unwrap();
    fs::write(wrong.path().join("config.json"), config.replace("\"bert\"", "\"mpnet\"")).unwrap();
    assert!(told().contains("mpnet with gelu is no BERT"), "{}", told());
    fs::write(wrong.path().join("config.json"), config.replace("\"hidden_size\": 384", "\"hidden_size\": 768"))
        .unwrap();
    fs::copy(folder().join("tokenizer.json"), wrong.path().join("tokenizer.json")).unwrap();
    assert!(told().contains("has no model.safetensors"), "{}", told());
    fs::copy(folder().join("model.safetensors"), wrong.path().join("model.safetensors")).unwrap();
    assert!(told().contains("numbers") && told().contains("rhizome model add"), "{}", told());
    fs::write(wrong.path().join("config.json"), config.replace("\"vocab_size\": 30522", "\"vocab_size\": 30000"))
        .unwrap();
    assert!(told().contains("a token 30521, and the model knows 30000"), "{}", told());
    fs::write(wrong.path().join("config.json"), &config).unwrap();
    assert_ne!(minilm::check(wrong.path()).unwrap().model, id.model);
    // a model of this name with these bytes is the same, wherever it is
    let named = wrong.path().join(&id.model);
    fs::create_dir(&named).unwrap();
    for file in minilm::FILES.into_iter().chain(["sentence_bert_config.json"]) {
        fs::copy(folder().join(file), named.join(file)).unwrap();
    }
    assert_eq!(minilm::check(&named).unwrap(), id);
    fs::create_dir(named.join("1_Pooling")).unwrap();
    let pooling = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
    fs::write(named.join("1_Pooling/config.json"), pooling).unwrap();
    let told = minilm::check(&named).unwrap_err().to_string();
    assert!(told.contains("pooling_mode_cls_token") && told.contains("1_Pooling/config.json"), "{told}");
}

/// Counts what it is asked, and goes away when it is told to.
struct Counting {
    id: EmbedderId,
    asked: AtomicUsize,
    limit: usize,
}

impl Embedder for Counting {
    fn id(&self) -> &EmbedderId {
        &self.id
    }

    fn reach(&self) -> Reach {
        Reach::Local
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let asked = self.asked.fetch_add(texts.len(), Ordering::Relaxed) + texts.len();
        if asked > self.limit {
            return Err(EmbedError::Away { embedder: self.id.to_string(), why: "it was told to".to_owned() });
        }
        Ok(texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect())
    }
}

fn counting(model: &str, limit: usize) -> Counting {
    let id = EmbedderId { kind: "counting".to_owned(), model: model.to_owned(), dimension: 2 };
    Counting { id, asked: AtomicUsize::new(0), limit }
}

/// A text is embedded once by each embedder, what went well before a failure is kept, and the oldest go when it is full.
#[test]
fn what_was_embedded_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache.redb");
    let texts: Vec<(String, String)> = (0..200).map(|number| (format!("digest{number}"), "x".repeat(number))).collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(digest, text)| (digest.as_str(), text.as_str())).collect();
    let cache = Cache::open(&file, 150).unwrap();
    let failing = counting("one", 100);
    assert!(matches!(cache.embed(&failing, &texts[..120]), Err(EmbedError::Away { .. })));
    let one = counting("one", usize::MAX);
    let (vectors, embedded) = cache.embed(&one, &texts[..120]).unwrap();
    assert_eq!(vectors.len(), 120);
    assert!(vectors.iter().enumerate().all(|(number, vector)| *vector == [number as f32, 1.0]));
    assert!((20..120).contains(&embedded), "{embedded} were embedded again");
    assert!(Cache::open(&file, 150).is_err(), "it is in use");
    drop(cache);

    let cache = Cache::open(&file, 150).unwrap();
    let twice: Vec<(&str, &str)> = texts[..120].iter().chain(&texts[..120]).copied().collect();
    assert_eq!(cache.embed(&one, &twice).unwrap().1, 0);
    assert_eq!(cache.embed(&counting("two", usize::MAX), &texts[..10]).unwrap().1, 10, "another embedder");
    assert_eq!(cache.embed(&one, &texts[100..]).unwrap().1, 80);
    assert!(cache.embed(&one, &texts).unwrap().1 > 0, "the oldest are gone");

    drop(cache);
    fs::write(&file, "no database").unwrap();
    let cache = Cache::open(&file, 150).unwrap();
    assert_eq!(cache.embed(&one, &texts[..5]).unwrap().1, 5);
    assert!(folder.path().join("cache.redb.aside").exists());
}

/// A model is loaded when it is asked, and forgotten when nobody asks.
#[test]
fn an_idle_model_takes_no_memory() {
    let idle = vault::embed::idle::Idle::new(&folder(), 1).unwrap();
    assert!(!idle.is_loaded());
    assert_eq!(idle.embed(&["bees"]).unwrap()[0].len(), 384);
    idle.release(std::time::Duration::from_secs(3600));
    assert!(idle.is_loaded());
    idle.release(std::time::Duration::ZERO);
    assert!(!idle.is_loaded());
}

/// A model that was changed in its place while it was not loaded is not taken for the one before.
#[test]
fn a_model_that_changed_is_refused() {
    let own = tempfile::tempdir().unwrap();
    for file in minilm::FILES.into_iter().chain(["sentence_bert_config.json"]) {
        fs::copy(folder().join(file), own.path().join(file)).unwrap();
    }
    let idle = vault::embed::idle::Idle::new(own.path(), 1).unwrap();
    idle.embed(&["bees"]).unwrap();
    idle.release(std::time::Duration::ZERO);
    fs::write(own.path().join("sentence_bert_config.json"), r#"{"max_seq_length": 64}"#).unwrap();
    let refused = idle.embed(&["bees"]).unwrap_err();
    assert!(matches!(&refused, EmbedError::Refused { why, .. } if why.contains("start rhizome again")), "{refused}");
}
