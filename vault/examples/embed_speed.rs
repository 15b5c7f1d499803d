//! How fast the model in process embeds the passages of a vault: `embed_speed VAULT MODEL COUNT THREADS PASSAGES`.
//!
//! Writes the passages as lines of JSON to the file PASSAGES, for others to embed, and prints how many it did in a second.

#![expect(clippy::disallowed_methods, reason = "a program of its own reads its arguments")]

#[path = "../../tests/support/notes.rs"]
mod notes;

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use vault::embed::Embedder as _;
use vault::embed::minilm::MiniLm;
use vault::source::Source;
use vault::{chunk, parse};

/// As the cache in front of an embedder gives them.
const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [vault, model, count, threads, file] = &arguments[..] else {
        return Err("embed_speed VAULT MODEL COUNT THREADS PASSAGES".into());
    };
    let mut texts = Vec::new();
    for note in notes::below(Path::new(vault))? {
        let source = Source::new(fs::read(note)?);
        let passages = chunk::passages(source.text(), &parse::note(&source));
        texts.extend(passages.into_iter().map(|passage| source.text()[passage.span].to_owned()));
    }
    // from all over the vault
    let wanted: usize = count.parse()?;
    let step = (texts.len() / wanted).max(1);
    let mut texts: Vec<String> = texts.into_iter().step_by(step).take(wanted).collect();
    let mut out = BufWriter::new(File::create(file)?);
    for text in &texts {
        writeln!(out, "{}", serde_json::to_string(text)?)?;
    }
    out.flush()?;
    let model = MiniLm::open(Path::new(model), threads.parse()?)?;
    model.embed(&texts[..BATCH.min(texts.len())].iter().map(String::as_str).collect::<Vec<_>>())?;
    let began = Instant::now();
    texts.sort_by_key(String::len);
    for batch in texts.chunks(BATCH) {
        model.embed(&batch.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    println!("{:.1}", texts.len() as f64 / began.elapsed().as_secs_f64());
    Ok(())
}
