//! The decision.

use std::collections::BTreeSet;

use super::plan::{ChosenBy, PassedOver, Plan, Reason, Step};
use super::{ANY_PEER, Ask, Chain, Known, Link, Load, Model, Place, Role, Route, Rules, State, Target, Wanted};
use crate::llm::failure::{Failure, Kind};

/// Most names that an error lists.
const NAMES_SHOWN: usize = 8;

/// A model that fits what is wanted, before it is looked at closer.
struct Candidate<'a> {
    provider: &'a Known,
    model: String,
    /// What the name here says of it.
    named: Option<&'a Model>,
    /// Its place among the wishes of the name.
    wish: usize,
}

/// Decides.
///
/// # Errors
/// When the wish itself is wrong: a chain or a model that nobody here has.
pub fn decide(rules: &Rules, ask: &Ask, state: &impl State, now_ms: u64) -> Result<Plan, Failure> {
    let (chain, by) = chain(rules, ask)?;
    for link in &chain.0 {
        if let Link::Provider(key) = link
            && !state.providers().iter().any(|provider| provider.key == *key)
        {
            return Err(no_such_provider(key, state));
        }
    }
    let (candidates, mut passed_over) = candidates(rules, ask, state)?;
    let mut ranked = Vec::new();
    for candidate in candidates {
        let load = state.load(candidate.provider, &candidate.model, now_ms);
        match place_in(rules, &chain, by, ask, &candidate, load) {
            Ok(link) => ranked.push((link, load, candidate)),
            Err(reason) => passed_over.push(candidate.passed_over(reason)),
        }
    }
    ranked.sort_by_key(|(link, load, candidate)| {
        let full = u64::from(load.requests) * 1_000 / u64::from(load.requests_max.max(1));
        let here = rules.local_preferred && by == ChosenBy::Configuration && candidate.provider.place == Place::Local;
        (!here, *link, candidate.wish, !load.is_loaded, full, load.price)
    });
    let steps = ranked.into_iter().map(|(link, load, candidate)| candidate.step(&chain.0[link], load)).collect();
    Ok(Plan { steps, passed_over, chain: chain.to_string(), by })
}

fn chain(rules: &Rules, ask: &Ask) -> Result<(Chain, ChosenBy), Failure> {
    let named = |name: &str| {
        rules.chains.get(name).cloned().ok_or_else(|| {
            let names = listed(rules.chains.keys().map(String::as_str));
            Failure::new(Kind::BadRequest, format!("there is no policy '{name}'"))
                .hint(format!("use local, peers, cloud, a provider's key, or one of llm.chains: {names}"))
        })
    };
    match &ask.route {
        Some(Route::Chain(chain)) => return Ok((chain.clone(), ChosenBy::Request)),
        Some(Route::Named(name)) => return Ok((named(name)?, ChosenBy::Request)),
        None => {}
    }
    match ask.labels.iter().find_map(|label| rules.labels.get(label)) {
        Some(name) => Ok((named(name)?, ChosenBy::Label)),
        None => Ok((rules.policy.clone(), ChosenBy::Configuration)),
    }
}

/// All models that the name may mean, and the providers that have none of them.
fn candidates<'a>(
    rules: &'a Rules,
    ask: &Ask,
    state: &'a impl State,
) -> Result<(Vec<Candidate<'a>>, Vec<PassedOver>), Failure> {
    let (name, role) = match &ask.wanted {
        Wanted::Model(name) => (Some(name.as_str()), None),
        Wanted::Role(role) => (rules.roles.get(role).map(String::as_str), Some(*role)),
    };
    let mut found = Vec::new();
    if let Some((named, name)) = name.and_then(|name| Some((rules.models.get(name)?, name))) {
        for (wish, target) in named.targets.iter().enumerate() {
            let fits = |provider: &&Known| {
                provider.key == target.provider || target.provider == ANY_PEER && provider.place == Place::Peer
            };
            let of = state.providers().iter().filter(fits);
            found.extend(of.map(|provider| Candidate {
                provider,
                model: target.model.clone(),
                named: Some(named),
                wish,
            }));
        }
        if found.is_empty() {
            return Err(Failure::new(Kind::ModelMissing, format!("no provider of the model '{name}' is there")).hint(
                format!("llm.models.{name} names {}", listed(named.targets.iter().map(|target| &*target.provider))),
            ));
        }
    } else if let Some(name) = name {
        found = by_own_name(name, state);
    }
    if let Some(role) = role {
        // peers say themselves what they give for a role
        let after = found.len();
        for provider in state.providers() {
            let Some(model) = provider.roles.get(&role) else { continue };
            if !found.iter().any(|candidate| candidate.provider.key == provider.key) {
                found.push(Candidate { provider, model: model.clone(), named: None, wish: after });
            }
        }
    }
    if found.is_empty() {
        return Err(missing(name, role, rules, state));
    }
    let without = state
        .providers()
        .iter()
        .filter(|provider| !found.iter().any(|candidate| candidate.provider.key == provider.key));
    let passed_over = without.map(|provider| PassedOver {
        provider: provider.key.clone(),
        model: name.map(str::to_owned),
        reason: Reason::NoSuchModel,
    });
    let passed_over = passed_over.collect();
    Ok((found, passed_over))
}

/// `provider/model`, or a model by the name that its providers give it.
fn by_own_name<'a>(name: &str, state: &'a impl State) -> Vec<Candidate<'a>> {
    let candidate =
        |provider: &'a Known, model: &str| Candidate { provider, model: model.to_owned(), named: None, wish: 0 };
    if let Ok(target) = name.parse::<Target>() {
        let of = state.providers().iter().filter(|provider| {
            provider.key == target.provider || target.provider == ANY_PEER && provider.place == Place::Peer
        });
        let found: Vec<_> = of.map(|provider| candidate(provider, &target.model)).collect();
        if !found.is_empty() {
            return found;
        }
    }
    let listing =
        state.providers().iter().filter(|provider| provider.models.as_ref().is_some_and(|all| lists(all, name)));
    listing.map(|provider| candidate(provider, name)).collect()
}

/// Whether a list has a model; Ollama means the tag `latest` where none is said.
fn lists(models: &BTreeSet<String>, name: &str) -> bool {
    models.contains(name) || !name.contains(':') && models.contains(&format!("{name}:latest"))
}

/// Where in the chain a candidate stands, or why it is not asked.
fn place_in(
    rules: &Rules,
    chain: &Chain,
    by: ChosenBy,
    ask: &Ask,
    candidate: &Candidate<'_>,
    load: Load,
) -> Result<usize, Reason> {
    let provider = candidate.provider;
    // first of all, whatever else is said
    if ask.is_private && provider.place != Place::Local {
        return Err(Reason::Private);
    }
    let link = chain.0.iter().position(|link| link.has(provider)).ok_or(Reason::NotInChain)?;
    // somebody who asks for the cloud by name has it
    if !rules.cloud_fallback && by == ChosenBy::Configuration && provider.place == Place::Cloud && link > 0 {
        return Err(Reason::CloudFallbackOff);
    }
    if let Some(why) = &provider.problem {
        return Err(Reason::Problem { why: why.clone() });
    }
    if !provider.abilities.is_empty() && !provider.abilities.contains(&ask.ability) {
        return Err(Reason::Unable { ability: ask.ability });
    }
    if provider.models.as_ref().is_some_and(|all| !lists(all, &candidate.model)) {
        return Err(Reason::NoSuchModel);
    }
    let named = candidate.named;
    if let (Some(wanted), Some(has)) = (ask.dimension, named.and_then(|model| model.dimension))
        && wanted != has
    {
        return Err(Reason::Dimension { has });
    }
    if let Some(context_tokens) = named.and_then(|model| model.context_tokens)
        && ask.input_tokens.saturating_add(u64::from(ask.max_tokens.unwrap_or(0))) > u64::from(context_tokens)
    {
        return Err(Reason::TooLong { context_tokens });
    }
    if load.rests_ms > 0 {
        return Err(Reason::Rests { ms: load.rests_ms, after: load.rests_for });
    }
    if load.requests >= load.requests_max {
        return Err(Reason::Full { requests: load.requests });
    }
    Ok(link)
}

impl Candidate<'_> {
    fn passed_over(self, reason: Reason) -> PassedOver {
        PassedOver { provider: self.provider.key.clone(), model: Some(self.model), reason }
    }

    fn step(self, link: &Link, load: Load) -> Step {
        let mut why = match link {
            Link::Local => String::from("it is on this machine"),
            Link::Peers => String::from("it is on a peer"),
            Link::Cloud => String::from("it is in the cloud"),
            Link::Provider(key) => format!("the policy names {key}"),
        };
        if self.wish > 0 {
            why += &format!(", wish {} of its name", self.wish + 1);
        }
        if load.is_loaded {
            why += ", loaded";
        }
        if load.requests > 0 {
            why += &format!(", {} of {} requests", load.requests, load.requests_max);
        }
        Step { provider: self.provider.key.clone(), model: self.model, place: self.provider.place, why }
    }
}

fn no_such_provider(key: &str, state: &impl State) -> Failure {
    let names = listed(state.providers().iter().map(|provider| &*provider.key));
    Failure::new(Kind::BadRequest, format!("there is no provider '{key}'")).hint(format!("there are {names}"))
}

fn missing(name: Option<&str>, role: Option<Role>, rules: &Rules, state: &impl State) -> Failure {
    let own = state.providers().iter().flat_map(|provider| provider.models.iter().flatten());
    let names: BTreeSet<&str> = rules.models.keys().map(String::as_str).chain(own.map(String::as_str)).collect();
    let names = match names.len() {
        0 => String::from("no provider tells of a model; see rhizome llm providers"),
        _ => format!("there are {}", listed(names.into_iter())),
    };
    match (name, role) {
        (Some(name), _) => Failure::new(Kind::ModelMissing, format!("there is no model '{name}'"))
            .hint(format!("{names}; one without a list is asked as provider/model")),
        (None, Some(role)) => {
            let role = role.word();
            Failure::new(Kind::ModelMissing, format!("no model is set for {role}"))
                .hint(format!("set llm.roles.{role} in the configuration; {names}"))
        }
        (None, None) => Failure::new(Kind::ModelMissing, "no model is named").hint(names),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 if shown.is_empty() => String::from("none"),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
