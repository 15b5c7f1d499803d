//! The command line: one binary under several names.
//!
//! It reads what was typed, calls the daemon over its unix socket or a part that needs none, and prints. It decides
//! nothing about jobs.

pub mod args;
pub(crate) mod client;
mod context;
pub(crate) mod exit;
mod explain;
pub(crate) mod follow;
pub(crate) mod jobs;
mod local;
pub(crate) mod output;
pub(crate) mod quantity;
mod rad_cob;
mod retrieval;
mod run;
mod show;
#[cfg(test)]
mod tests;
mod transfer;
mod why;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::FromArgMatches;
use clap::error::ErrorKind;
use hyper::Method;

use self::args::{
    Arguments, ConfigVerb, GrantName, GrantOptions, InviteOptions, JoinOptions, PeersVerb, TokenVerb, Verb,
};
use self::client::{Client, segment};
use self::exit::Failure;
use self::output::Format;
use crate::demo;
use crate::ops::error::{Code, Error};
use crate::ops::types::{
    AuditEntry, ConfigValue, Health, Invitation, Invite, Join, Joined, Peer, PeerChange, PeerGrant, Recovered, Removed,
    TokenCreate, TokenCreated, TokenInfo,
};
use crate::setup::Place;

/// By this name the binary evaluates our objects for `rad cob`.
const RAD_COB_JOB: &str = "rad-cob-job";

/// Does what was typed; the name it was called by decides which program it is.
pub fn main(typed: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed: Vec<OsString> = typed.into_iter().collect();
    let name = typed.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == RAD_COB_JOB) {
        return rad_cob::main();
    }
    let parsed = args::command().try_get_matches_from(&typed).and_then(|found| Arguments::from_arg_matches(&found));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return ExitCode::from(usage(&error, &typed)),
    };
    let format = if arguments.json { Format::Json } else { Format::Text };
    match arguments.verb {
        // these go before any thread
        Verb::Supervise { run_dir } => local::supervise(&run_dir),
        Verb::Symbols => local::symbols(),
        Verb::SandboxInit => local::sandbox_init(),
        Verb::Sweep { site } => demo::sweep::sweep(&site),
        verb => {
            let ended = perform(verb, arguments.home, format);
            ExitCode::from(ended.unwrap_or_else(|failure| failure.report(format)))
        }
    }
}

/// Help goes to standard output and is no error; a wrong command line ends with 64.
fn usage(error: &clap::Error, typed: &[OsString]) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // nobody to tell when nobody reads
        return error.print().map_or(exit::USAGE, |()| 0);
    }
    // what stands behind `--` is the job's
    let json = typed.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let text = error.render().to_string();
    let words: Vec<&str> = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => vec!["no command was given"],
        // the usage and the pointer to the help come after an empty line
        _ => text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect(),
    };
    let detail = words.join(" ");
    let detail = detail.strip_prefix("error: ").unwrap_or(&detail);
    let error = Error::new(Code::BadRequest, detail).hint(format!("see: {} --help", asked_verb(typed)));
    Failure::from(error).report(if json { Format::Json } else { Format::Text })
}

/// The command whose help says what may be typed: as much of it as is known.
fn asked_verb(typed: &[OsString]) -> String {
    let mut command = Arguments::command();
    let mut words = vec![String::from("rhizome")];
    for word in typed.iter().skip(1).map_while(|word| word.to_str()) {
        let Some(verb) = command.find_subcommand(word).filter(|verb| !verb.is_hide_set()).cloned() else { continue };
        words.push(word.to_owned());
        command = verb;
    }
    words.join(" ")
}

fn perform(verb: Verb, home: Option<std::path::PathBuf>, format: Format) -> Result<u8, Failure> {
    let place = local::place(home)?;
    let verb = match verb {
        // asks on the terminal
        Verb::Init(options) => return local::init(&place, options, format),
        verb => verb,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::Internal, format!("no threads can be had: {error}")))?;
    let ended = runtime.block_on(dispatch(verb, &place, format));
    // a write to an output that nobody reads must not keep us
    runtime.shutdown_background();
    ended
}

async fn dispatch(verb: Verb, place: &Place, format: Format) -> Result<u8, Failure> {
    let client = Client::new(place.socket());
    match verb {
        Verb::Up(options) => return local::up(place, options).await,
        Verb::Demo(options) => return demo::run(options.repo, options.command, format).await,
        Verb::Run(options) => return run::run(&client, *options, format).await,
        Verb::Job { verb } => return jobs::job(&client, verb, format).await,
        Verb::Search(options) => context::search(&client, options, format).await?,
        Verb::Context(options) => context::context(&client, options, format).await?,
        Verb::Note { verb } => context::note(&client, verb, format).await?,
        Verb::Vault { verb } => context::vault(&client, verb, format).await?,
        Verb::Bench { verb } => retrieval::bench(&client, verb, format).await?,
        Verb::Model { verb } => context::model(place, verb, format)?,
        Verb::Why { id } => why::why(&client, id.as_deref(), format).await?,
        Verb::Status => format.print(&client.get::<Health>("/health").await?, show::health)?,
        Verb::Recover => {
            let recovered = client.send::<Recovered>(Method::POST, "/v1/recover", &()).await?;
            format.print(&recovered, show::recovered)?;
        }
        Verb::Invite(options) => invite(&client, options, format).await?,
        Verb::Join(options) => join(&client, place, options, format).await?,
        Verb::Peers { verb } => peers(&client, verb.unwrap_or(PeersVerb::List), format).await?,
        Verb::Token { verb } => token(&client, verb, format).await?,
        Verb::Audit(options) => {
            let target = format!("/v1/audit?limit={}", options.limit);
            format.print(&client.get::<Vec<AuditEntry>>(&target).await?, |entries| show::audit(entries))?;
        }
        Verb::Config { verb: ConfigVerb::Show } => {
            let values = match client.get::<Vec<ConfigValue>>("/v1/config").await {
                // one that does not start may be why somebody looks
                Err(failure) if failure.code() == Some(Code::NoDaemon) => local::config(place)?,
                answer => answer?,
            };
            format.print(&values, |values| show::config(values))?;
        }
        Verb::Init(_) | Verb::Symbols | Verb::Supervise { .. } | Verb::SandboxInit | Verb::Sweep { .. } => {
            return Err(Error::new(Code::Internal, "this verb is done before the runtime starts").into());
        }
    }
    Ok(0)
}

fn granted(names: Vec<GrantName>) -> BTreeSet<PeerGrant> {
    names.into_iter().map(Into::into).collect()
}

async fn invite(client: &Client, options: InviteOptions, format: Format) -> Result<(), Failure> {
    let InviteOptions { grant, expires, ledger } = options;
    let invite = Invite { grants: granted(grant), expires_in_ms: expires, ledger };
    let invitation: Invitation = client.send(Method::POST, "/v1/invitations", &invite).await?;
    format.print(&invitation, show::invitation)
}

/// Over the daemon where one runs; else without.
async fn join(client: &Client, place: &Place, options: JoinOptions, format: Format) -> Result<(), Failure> {
    let arbiter = local::arbiter(&options, format);
    let options = JoinOptions { arbiter, ..options };
    let arbiter = options.arbiter.map(Into::into).unwrap_or_default();
    let join = Join { link: options.link.clone(), grants: granted(options.grant.clone()), arbiter };
    let joined = match client.connect().await {
        Ok(_) => client.send::<Joined>(Method::POST, "/v1/join", &join).await?,
        Err(failure) if failure.code() == Some(Code::NoDaemon) => local::join(place, options).await?,
        Err(failure) => return Err(failure),
    };
    format.print(&joined, show::joined)
}

async fn peers(client: &Client, verb: PeersVerb, format: Format) -> Result<(), Failure> {
    let (peer, change) = match verb {
        PeersVerb::List => {
            return format.print(&client.get::<Vec<Peer>>("/v1/peers").await?, |peers| show::peers(peers));
        }
        PeersVerb::Remove { peer } => {
            let target = format!("/v1/peers/{}", segment(&peer));
            return format.print(&client.remove::<Removed>(&target).await?, show::removed);
        }
        PeersVerb::Grant(GrantOptions { peer, grants }) => {
            (peer, PeerChange { grant: granted(grants), revoke: BTreeSet::new() })
        }
        PeersVerb::Revoke(GrantOptions { peer, grants }) => {
            (peer, PeerChange { grant: BTreeSet::new(), revoke: granted(grants) })
        }
    };
    let target = format!("/v1/peers/{}", segment(&peer));
    format.print(&client.send::<Peer>(Method::PATCH, &target, &change).await?, show::peer)
}

async fn token(client: &Client, verb: TokenVerb, format: Format) -> Result<(), Failure> {
    match verb {
        TokenVerb::List => {
            format.print(&client.get::<Vec<TokenInfo>>("/v1/tokens").await?, |tokens| show::tokens(tokens))
        }
        TokenVerb::Create { name, scopes, expires } => {
            let scopes = scopes.into_iter().map(Into::into).collect();
            let create = TokenCreate { name, scopes, expires_in_ms: expires };
            format.print(&client.send::<TokenCreated>(Method::POST, "/v1/tokens", &create).await?, show::token)
        }
        TokenVerb::Revoke { name } => {
            client.delete(&format!("/v1/tokens/{}", segment(&name))).await?;
            format.print(&serde_json::json!({ "revoked": name }), |_| format!("revoked {name}"))
        }
    }
}
