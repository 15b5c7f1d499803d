//! The verbs of the vault, and what people see of their answers.

use std::fs;
use std::path::Path;

use hyper::Method;
use serde_json::Value;

use vault::edit::Patched;
use vault::edit::names::Renamed;
use vault::embed::minilm;
use vault::index::record::Privacy;
use vault::ingest::shared::{Phase, WatchState};
use vault::pack::Pack;
use vault::search::{Answer, Hit, Mode};
use vault::vectors::Content;

use super::args::{ContextOptions, ModelVerb, NoteVerb, PatchOptions, SearchOptions, VaultVerb};
use super::client::{Client, segment};
use super::exit::Failure;
use super::output::{Format, plain, table};
use super::transfer;
use crate::ops::error::{Code, Error};
use crate::ops::types::{Coverage, LinkShown, NoteLinks, NotePatch, NoteRename, NoteText, VaultStatus};
use crate::setup::Place;

/// Prints what fits a query.
pub async fn search(client: &Client, options: SearchOptions, format: Format) -> Result<(), Failure> {
    let query = options.query.join(" ");
    let mode = match Mode::from(options.mode) {
        Mode::Hybrid => "hybrid",
        Mode::Keyword => "keyword",
        Mode::Vector => "vector",
    };
    let matching = if options.all { "all" } else { "any" };
    let (limit, content) = (options.limit, Content::from(options.content).as_str());
    let target = format!("/v1/search?q={}&mode={mode}&match={matching}&limit={limit}&in={content}", segment(&query));
    let answer: Answer = client.get(&target).await?;
    format.print(&answer, |answer| hits(answer, options.explain))
}

fn hits(answer: &Answer, explain: bool) -> String {
    let mut text: String = answer.notices.iter().map(|notice| format!("{notice}\n")).collect();
    if answer.hits.is_empty() {
        text.push_str("nothing was found\n");
    }
    for hit in &answer.hits {
        let private = if hit.privacy == Privacy::Private { " (private)" } else { "" };
        text.push_str(&format!("{}:{}{}{private}\n", plain(&hit.path), hit.line, place(hit)));
        text.push_str(&format!("    {}\n", plain(&hit.excerpt)));
        if explain {
            text.push_str(&format!("    {:.4} =", hit.score));
            let parts: Vec<String> = hit
                .parts
                .iter()
                .map(|part| format!(" {:.4} {} (rank {}, {:.3})", part.adds, part.list, part.rank, part.raw))
                .collect();
            text.push_str(&if parts.is_empty() { " not ranked".to_owned() } else { parts.join(" +") });
            text.push('\n');
        }
    }
    text
}

fn place(hit: &Hit) -> String {
    let headings: String = hit.headings.iter().map(|heading| format!(" > {}", plain(heading))).collect();
    let block = hit.block.as_ref().map(|block| format!(" ^{}", plain(block)));
    headings + &block.unwrap_or_default()
}

/// Prints a pack.
pub async fn context(client: &Client, options: ContextOptions, format: Format) -> Result<(), Failure> {
    let target = match &options.job {
        Some(job) => format!("/v1/context/{}", segment(job)),
        None => {
            let mut target = format!("/context/search?openOnly={}", options.open_only);
            if !options.text.is_empty() {
                target.push_str(&format!("&q={}", segment(&options.text.join(" "))));
            }
            if !options.notes.is_empty() {
                target.push_str(&format!("&notes={}", segment(&options.notes.join("\n"))));
            }
            if let Some(tokens) = options.tokens {
                target.push_str(&format!("&budgetTokens={tokens}"));
            }
            if let Some(bytes) = options.bytes {
                target.push_str(&format!("&budgetBytes={bytes}"));
            }
            target
        }
    };
    let pack: Pack = client.get(&target).await?;
    format.print(&pack, |pack| pack.text.clone())
}

/// Looks at a note, or changes it.
pub async fn note(client: &Client, verb: NoteVerb, format: Format) -> Result<(), Failure> {
    match verb {
        NoteVerb::Show { path } => {
            let note: NoteText = client.get(&format!("/v1/notes?path={}", segment(&path))).await?;
            format.print(&note, |note| note.text.clone())
        }
        NoteVerb::Patch(options) => {
            let target = format!("/v1/notes?path={}", segment(&options.path));
            let patched: Patched = client.send(Method::PATCH, &target, &patch(options)).await?;
            format.print(&patched, |patched| {
                let what = if patched.changed { "written" } else { "already so" };
                format!("{what}; the note is now {}\n", patched.digest)
            })
        }
        NoteVerb::Rename { from, to } => {
            let wish = NoteRename { from, to };
            let renamed: Renamed = client.send(Method::POST, "/v1/notes/rename", &wish).await?;
            format.print(&renamed, shown_renamed)
        }
        NoteVerb::Links { path } => {
            let target =
                path.map_or_else(|| "/v1/links".to_owned(), |path| format!("/v1/links?path={}", segment(&path)));
            format.print(&client.get::<NoteLinks>(&target).await?, shown_links)
        }
    }
}

fn patch(options: PatchOptions) -> NotePatch {
    NotePatch {
        if_match: options.if_match,
        heading: (!options.heading.is_empty()).then_some(options.heading),
        block: options.block,
        property: options.property,
        replace: options.replace,
        prepend: options.prepend,
        append: options.append,
        // what is no JSON is text
        value: options.value.map(|value| serde_json::from_str(&value).unwrap_or(Value::String(value))),
        remove: options.remove,
    }
}

fn shown_renamed(renamed: &Renamed) -> String {
    let mut text = format!("{} links in {} files follow\n", renamed.links, renamed.written.len());
    for path in &renamed.left {
        text.push_str(&format!("left as it is, since it was changed meanwhile: {path}\n"));
    }
    for (path, link) in &renamed.lost {
        text.push_str(&format!("leads elsewhere now: {} in {path}\n", plain(link)));
    }
    text
}

fn shown_links(links: &NoteLinks) -> String {
    let row = |link: &LinkShown| [link.leads.clone(), plain(link.path.as_deref().unwrap_or("-")), plain(&link.target)];
    match links {
        NoteLinks::File { outgoing, backlinks, .. } => {
            let mut text = table(["LEADS TO", "FILE", "WRITTEN"], outgoing.iter().map(row).collect());
            text.push('\n');
            text.push_str(&table(["LINKED FROM", "FILE", "WRITTEN"], backlinks.iter().map(row).collect()));
            text
        }
        NoteLinks::Vault { unresolved, orphans } => {
            let rows =
                unresolved.iter().map(|(name, files)| [plain(name), files.len().to_string(), plain(&files.join(", "))]);
            let mut text = table(["UNRESOLVED", "FILES", "IN"], rows.collect());
            text.push_str(&format!("\n{} notes that no other links to\n", orphans.len()));
            text.extend(orphans.iter().map(|path| format!("    {}\n", plain(path))));
            text
        }
    }
}

/// Shows how the vault stands, or has its index built anew.
pub async fn vault(client: &Client, verb: VaultVerb, format: Format) -> Result<(), Failure> {
    let status: VaultStatus = match verb {
        VaultVerb::Status { path: None } => client.get("/v1/vault/status").await?,
        VaultVerb::Status { path: Some(path) } => {
            client.get(&format!("/v1/vault/status?path={}", segment(&path))).await?
        }
        VaultVerb::Export { file } => return transfer::export(client, file.as_deref()).await,
        VaultVerb::Import { file } => return transfer::import(client, &file, format).await,
        VaultVerb::Rebuild => client.send(Method::POST, "/v1/vault/rebuild", &()).await?,
    };
    format.print(&status, shown_status)
}

/// How many of all, for people.
fn share(count: u64, all: u64) -> String {
    (count * 100).checked_div(all).map_or_else(|| "-".to_owned(), |part| format!("{count} of {all} ({part} %)"))
}

fn shown_status(status: &VaultStatus) -> String {
    let coverage = status.coverage;
    let share = |count: u64| share(count, coverage.documents);
    let index = &status.index;
    let phase = match index.phase {
        Phase::Starting => "looking through the vault".to_owned(),
        Phase::Building { documents } => format!("building, {documents} documents so far"),
        Phase::Ready => "ready".to_owned(),
    };
    let watch = match &index.watch {
        WatchState::Nothing => "-".to_owned(),
        WatchState::Events => "told by the system".to_owned(),
        WatchState::Scanning { why, every_s } => format!("looked for every {every_s} s: {why}"),
    };
    let mut text = format!(
        "vault      {}\nindex      {phase}\nchanges    {watch}\nby words   {}\nby meaning {}\n",
        status.vault.as_deref().unwrap_or("- (pushed documents only)"),
        share(coverage.words),
        share(coverage.meaning),
    );
    match &status.meaning {
        None => text.push_str("embedder   none: rhizome model add DIR\n"),
        Some(meaning) => {
            text.push_str(&format!("vectors    {}\n", meaning.collection.as_deref().unwrap_or("-")));
            text.extend(meaning.failure.iter().map(|why| format!("           {why}\n")));
        }
    }
    for other in &status.others {
        let Coverage { documents, words, meaning } = other.coverage;
        let by_meaning = self::share(meaning, documents);
        text.push_str(&format!(
            "{:<10} by words {}, by meaning {by_meaning}\n",
            other.content.as_str(),
            self::share(words, documents)
        ));
        text.extend(other.index.faults.iter().map(|fault| format!("           {}\n", plain(fault))));
        text.extend(other.index.failure.iter().map(|why| format!("FAILED     {why}\n")));
    }
    text.extend(index.failure.iter().map(|why| format!("FAILED     {why}\n")));
    text.extend(index.faults.iter().map(|fault| format!("rules      {}\n", plain(fault))));
    text.extend(index.skipped.iter().map(|(path, why)| format!("not indexed: {}: {}\n", plain(path), plain(why))));
    for (path, warnings) in &status.warnings {
        text.push_str(&format!("warning: {}: {}\n", plain(path), plain(&warnings.join("; "))));
    }
    if let Some(note) = &status.note {
        let at =
            |moment: Option<u64>| moment.map_or_else(|| "no".to_owned(), |at| format!("since {}", moment_shown(at)));
        text.push_str(&format!(
            "\n{}\n  by words   {}\n  by links   {}\n  by meaning {}\n",
            plain(&note.path),
            at(note.words_at_ms),
            at(note.links_at_ms),
            at(note.meaning_at_ms)
        ));
        text.extend(note.why.iter().map(|why| format!("  why not    {}\n", plain(why))));
        text.push_str(if note.private { "  private\n" } else { "" });
    }
    text
}

fn moment_shown(at_ms: u64) -> String {
    crate::clock::rfc3339(crate::store::UnixMs(at_ms))
}

/// Copies a model to where the daemon finds it.
pub fn model(place: &Place, verb: ModelVerb, format: Format) -> Result<(), Failure> {
    let ModelVerb::Add { folder } = verb;
    let id = minilm::check(&folder).map_err(|error| Error::new(Code::BadRequest, error.to_string()))?;
    let failed = |error: std::io::Error| Error::new(Code::Storage, format!("the model is not copied: {error}"));
    let models = place.files.models();
    let (to, beside) = (models.join(&id.model), models.join(format!(".{}.new", id.model)));
    fs::create_dir_all(&models).map_err(failed)?;
    // what a crash left
    match fs::remove_dir_all(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    copy(&folder, &beside).map_err(failed)?;
    match fs::remove_dir_all(&to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    fs::rename(&beside, &to).map_err(failed)?;
    format.print(&serde_json::json!({ "model": id.to_string(), "folder": to.display().to_string() }), |_| {
        format!("{id} is added; the next rhizome up compares by meaning\n")
    })
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for file in minilm::FILES.into_iter().chain(minilm::MORE_FILES) {
        if from.join(file).exists() {
            to.join(file).parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::copy(from.join(file), to.join(file))?;
        }
    }
    Ok(())
}
