//! What is decided, for each reason, and what holds of every decision.

use proptest::prelude::*;

use super::*;
use crate::llm::failure::Failure;

/// Providers and loads as a test has them.
#[derive(Clone, Default, Debug)]
struct World {
    providers: Vec<Known>,
    loads: BTreeMap<(String, String), Load>,
}

impl State for World {
    fn providers(&self) -> &[Known] {
        &self.providers
    }

    fn load(&self, provider: &Known, model: &str, _: u64) -> Load {
        let idle = Load { requests_max: 8, ..Load::default() };
        self.loads.get(&(provider.key.clone(), model.to_owned())).copied().unwrap_or(idle)
    }
}

impl World {
    fn load_of(mut self, provider: &str, model: &str, load: Load) -> Self {
        self.loads.insert((provider.to_owned(), model.to_owned()), load);
        self
    }
}

fn known(key: &str, place: Place, models: &[&str]) -> Known {
    Known {
        key: key.to_owned(),
        place,
        problem: None,
        abilities: BTreeSet::new(),
        models: Some(models.iter().map(|&name| name.to_owned()).collect()),
        roles: BTreeMap::new(),
    }
}

/// Ollama here, a peer, and two in the cloud, of which one has no list.
fn world() -> World {
    let mut peer = known("shed", Place::Peer, &["llama3:latest", "big:70b"]);
    peer.roles.insert(Role::Chat, "big:70b".to_owned());
    let open = Known { models: None, ..known("openai", Place::Cloud, &[]) };
    let providers = vec![
        known("ollama", Place::Local, &["llama3:latest", "nomic:latest"]),
        open,
        known("anthropic", Place::Cloud, &["claude"]),
        peer,
    ];
    World { providers, loads: BTreeMap::new() }
}

fn rules() -> Rules {
    let targets = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
    let model = |words: &[&str]| Model { targets: targets(words), ..Model::default() };
    Rules {
        policy: "local,cloud".parse().unwrap(),
        chains: BTreeMap::from([
            ("cheap".to_owned(), "local,peers".parse().unwrap()),
            ("best".to_owned(), "anthropic,openai,local".parse().unwrap()),
        ]),
        labels: BTreeMap::from([("urgent".to_owned(), "best".to_owned())]),
        local_preferred: true,
        cloud_fallback: true,
        models: BTreeMap::from([
            ("writer".to_owned(), model(&["openai/gpt", "anthropic/claude", "ollama/llama3", "peer/big:70b"])),
            ("vectors".to_owned(), Model { dimension: Some(768), ..model(&["ollama/nomic"]) }),
            ("short".to_owned(), Model { context_tokens: Some(1_000), ..model(&["ollama/llama3"]) }),
        ]),
        roles: BTreeMap::from([(Role::Chat, "writer".to_owned()), (Role::Embedding, "vectors".to_owned())]),
    }
}

fn ask(wanted: &str) -> Ask {
    Ask {
        ability: Ability::Chat,
        wanted: Wanted::Model(wanted.to_owned()),
        route: None,
        labels: BTreeSet::new(),
        is_private: false,
        input_tokens: 100,
        max_tokens: None,
        dimension: None,
    }
}

fn chat() -> Ask {
    Ask { wanted: Wanted::Role(Role::Chat), ..ask("") }
}

fn by(route: &str) -> Option<Route> {
    Some(Route::Chain(route.parse().unwrap()))
}

fn plan(rules: &Rules, ask: &Ask, world: &World) -> Plan {
    decide(rules, ask, world, 0).unwrap()
}

fn steps(rules: &Rules, ask: &Ask, world: &World) -> Vec<String> {
    plan(rules, ask, world).steps.iter().map(|step| format!("{}/{}", step.provider, step.model)).collect()
}

fn reason(plan: &Plan, provider: &str) -> Reason {
    let passed = plan.passed_over.iter().find(|passed| passed.provider == provider);
    passed.unwrap_or_else(|| panic!("{provider} is asked: {plan:?}")).reason.clone()
}

fn refused(rules: &Rules, ask: &Ask, world: &World) -> Failure {
    let plan = plan(rules, ask, world);
    assert!(plan.steps.is_empty(), "{plan:?}");
    plan.refusal()
}

#[test]
fn the_chain_goes_before_the_wishes_of_a_name() {
    assert_eq!(steps(&rules(), &chat(), &world()), ["ollama/llama3", "openai/gpt", "anthropic/claude"]);
    let plan = plan(&rules(), &chat(), &world());
    assert_eq!(
        (reason(&plan, "shed"), plan.by, &*plan.chain),
        (Reason::NotInChain, ChosenBy::Configuration, "local,cloud")
    );
}

#[test]
fn a_request_and_then_a_label_go_before_the_configuration() {
    let labelled = Ask { labels: ["slow".to_owned(), "urgent".to_owned()].into(), ..chat() };
    assert_eq!(steps(&rules(), &labelled, &world()), ["anthropic/claude", "openai/gpt", "ollama/llama3"]);
    assert_eq!(plan(&rules(), &labelled, &world()).by, ChosenBy::Label);
    let named = Ask { route: Some(Route::Named("cheap".into())), ..labelled.clone() };
    assert_eq!(steps(&rules(), &named, &world()), ["ollama/llama3", "shed/big:70b"]);
    let written = Ask { route: by("cloud"), ..labelled };
    assert_eq!(steps(&rules(), &written, &world()), ["openai/gpt", "anthropic/claude"]);
    assert_eq!(plan(&rules(), &written, &world()).by, ChosenBy::Request);
}

#[test]
fn the_switches_move_and_stop_the_cloud() {
    let cloud_first = Rules { policy: "cloud,local".parse().unwrap(), ..rules() };
    assert_eq!(steps(&cloud_first, &chat(), &world())[0], "ollama/llama3", "local goes first as it is preferred");
    let in_order = Rules { local_preferred: false, ..cloud_first.clone() };
    assert_eq!(steps(&in_order, &chat(), &world()), ["openai/gpt", "anthropic/claude", "ollama/llama3"]);
    let alone = Rules { cloud_fallback: false, ..rules() };
    assert_eq!(steps(&alone, &chat(), &world()), ["ollama/llama3"]);
    assert_eq!(reason(&plan(&alone, &chat(), &world()), "openai"), Reason::CloudFallbackOff);
    let cloud_alone = Rules { cloud_fallback: false, local_preferred: false, ..cloud_first };
    assert_eq!(steps(&cloud_alone, &chat(), &world())[0], "openai/gpt", "what is asked first stands in for nobody");
    let wished = Ask { route: by("openai"), ..chat() };
    assert_eq!(steps(&alone, &wished, &world()), ["openai/gpt"], "who asks for it has it");
}

#[test]
fn what_is_private_stays_here_whatever_is_wished() {
    let private = Ask { is_private: true, ..chat() };
    assert_eq!(steps(&rules(), &private, &world()), ["ollama/llama3"]);
    for route in ["cloud", "openai", "peers", "anthropic,openai"] {
        let wished = Ask { route: by(route), ..private.clone() };
        let failure = refused(&rules(), &wished, &world());
        assert_eq!(failure.kind, Kind::Policy, "{route}");
        assert!(failure.detail.contains("private"), "{}", failure.detail);
    }
}

#[test]
fn a_model_is_found_by_each_of_its_names() {
    let names = [
        ("writer", vec!["ollama/llama3", "openai/gpt", "anthropic/claude"]),
        ("llama3", vec!["ollama/llama3"]),
        ("llama3:latest", vec!["ollama/llama3:latest"]),
        ("claude", vec!["anthropic/claude"]),
        ("openai/anything", vec!["openai/anything"]),
        ("ollama/nomic", vec!["ollama/nomic"]),
    ];
    for (name, wanted) in names {
        assert_eq!(steps(&rules(), &ask(name), &world()), wanted, "{name}");
    }
    let to_peers = Ask { route: by("peers"), ..ask("llama3") };
    assert_eq!(steps(&rules(), &to_peers, &world()), ["shed/llama3"]);
    let any = Ask { route: by("peers"), ..ask("peer/big:70b") };
    assert_eq!(steps(&rules(), &any, &world()), ["shed/big:70b"]);
    let role = Ask { wanted: Wanted::Role(Role::Embedding), ability: Ability::Embedding, ..ask("") };
    assert_eq!(steps(&rules(), &role, &world()), ["ollama/nomic"]);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let missing = |ask: &Ask| decide(&rules(), ask, &world(), 0).unwrap_err();
    let failure = missing(&ask("gpt-9"));
    assert_eq!((failure.kind, &*failure.detail), (Kind::ModelMissing, "there is no model 'gpt-9'"));
    let hint = failure.hint.unwrap();
    for name in ["writer", "llama3:latest", "claude", "provider/model"] {
        assert!(hint.contains(name), "{hint}");
    }
    let failure = missing(&Ask { wanted: Wanted::Role(Role::Coding), ..ask("") });
    assert!(failure.hint.unwrap().contains("llm.roles.coding"));
    let failure = missing(&Ask { route: by("local,mistral"), ..chat() });
    assert_eq!((failure.kind, &*failure.detail), (Kind::BadRequest, "there is no provider 'mistral'"));
    let failure = missing(&Ask { route: Some(Route::Named("dear".into())), ..chat() });
    assert!(failure.hint.unwrap().contains("best, cheap"));
    let failure = refused(&rules(), &ask("ollama/gpt"), &world());
    assert_eq!(failure.kind, Kind::ModelMissing);
    let nobody = World::default();
    let nothing = Rules { models: BTreeMap::new(), ..rules() };
    assert_eq!(decide(&nothing, &ask("gpt"), &nobody, 0).unwrap_err().kind, Kind::ModelMissing);
    for chain in ["", "local,,cloud", "a b", "open/ai"] {
        assert!(chain.parse::<Chain>().is_err(), "{chain}");
    }
}

#[test]
fn what_rests_or_is_full_is_passed_over_and_says_until_when() {
    let rests = Load { rests_ms: 700, rests_for: Some(Kind::Timeout), requests_max: 8, ..Load::default() };
    let full = Load { requests: 8, requests_max: 8, ..Load::default() };
    let busy = world().load_of("ollama", "llama3", rests).load_of("openai", "gpt", full);
    assert_eq!(steps(&rules(), &chat(), &busy), ["anthropic/claude"]);
    let here = Ask { route: by("local"), ..chat() };
    let failure = refused(&rules(), &here, &busy);
    assert_eq!((failure.kind, failure.retry_after.unwrap().as_millis()), (Kind::Unavailable, 700));
    assert!(failure.detail.contains("timeout"), "{}", failure.detail);
    let there = Ask { route: by("openai"), ..chat() };
    let failure = refused(&rules(), &there, &busy);
    assert!(failure.detail.contains("8 requests are before") && failure.retry_after.is_some(), "{}", failure.detail);
}

#[test]
fn what_cannot_be_done_is_told_apart() {
    let mut world = world();
    world.providers[0].abilities = [Ability::Chat].into();
    world.providers[2].problem = Some("its key is not set".to_owned());
    let vectors = Ask { ability: Ability::Embedding, ..ask("llama3") };
    assert_eq!(refused(&rules(), &vectors, &world).kind, Kind::BadRequest);
    let failure = refused(&rules(), &Ask { route: by("anthropic"), ..chat() }, &world);
    assert_eq!((failure.kind, failure.detail.contains("key")), (Kind::Unavailable, true));
    let long = Ask { input_tokens: 900, max_tokens: Some(101), ..ask("short") };
    assert_eq!(refused(&rules(), &long, &world).kind, Kind::ContextLength);
    assert_eq!(steps(&rules(), &Ask { max_tokens: Some(100), ..long }, &world), ["ollama/llama3"]);
    let wide = Ask { dimension: Some(384), ..ask("vectors") };
    assert_eq!(reason(&plan(&rules(), &wide, &world), "ollama"), Reason::Dimension { has: 768 });
}

#[test]
fn of_equals_the_loaded_and_then_the_idle_and_then_the_cheap_goes_first() {
    let providers = ["a", "b", "c", "d"].map(|key| known(key, Place::Local, &["m"])).to_vec();
    let load = |requests, is_loaded, price| Load { requests, is_loaded, price, requests_max: 8, ..Load::default() };
    let world = World { providers, loads: BTreeMap::new() }
        .load_of("a", "m", load(1, false, 0))
        .load_of("b", "m", load(0, false, 9))
        .load_of("c", "m", load(0, false, 8))
        .load_of("d", "m", load(7, true, 9));
    assert_eq!(steps(&rules(), &ask("m"), &world), ["d/m", "c/m", "b/m", "a/m"]);
}

fn any_world() -> impl Strategy<Value = World> {
    let place = prop::sample::select(vec![Place::Local, Place::Peer, Place::Cloud]);
    let provider = (place, any::<bool>(), any::<bool>(), any::<bool>());
    let loads = prop::collection::vec((0_u64..3, 0_u32..3, any::<bool>()), 6);
    (prop::collection::vec(provider, 1..6), loads).prop_map(|(providers, loads)| {
        let mut world = World::default();
        for (at, (place, has_list, has_problem, has_role)) in providers.into_iter().enumerate() {
            let mut provider = known(&format!("p{at}"), place, &["m", "n"]);
            provider.models = provider.models.filter(|_| has_list);
            provider.problem = has_problem.then(|| "it is ill".to_owned());
            provider.roles.extend(has_role.then(|| (Role::Chat, "n".to_owned())));
            world.providers.push(provider);
            let (rests_ms, requests, is_loaded) = loads[at];
            let load = Load { rests_ms, requests, requests_max: 2, is_loaded, ..Load::default() };
            world = world.load_of(&format!("p{at}"), "m", load);
        }
        world
    })
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let wanted = prop::sample::select(vec!["m", "n", "all", "p0/m", "p1/x", "peer/m"]);
    let wanted = prop_oneof![wanted.prop_map(|name| Wanted::Model(name.to_owned())), Just(Wanted::Role(Role::Chat)),];
    let route =
        prop::option::of(prop::sample::select(vec!["local", "cloud", "peers", "p0", "p2,cloud", "peers,local"]));
    (wanted, route, any::<bool>()).prop_map(|(wanted, route, is_private)| Ask {
        wanted,
        route: route.and_then(by),
        is_private,
        ..ask("")
    })
}

proptest! {
    /// Every provider is asked or passed over with a reason, nothing private leaves, and the chain's order holds.
    #[test]
    fn every_decision_is_whole(world in any_world(), ask in any_ask(), fallback in any::<bool>(), local in any::<bool>()) {
        let targets = ["p0/m", "p1/n", "p2/m", "peer/m"].map(|word| word.parse().unwrap()).to_vec();
        let all = Model { targets, ..Model::default() };
        let rules = Rules {
            models: BTreeMap::from([("all".to_owned(), all)]),
            cloud_fallback: fallback,
            local_preferred: local,
            ..rules()
        };
        let Ok(plan) = decide(&rules, &ask, &world, 0) else { return Ok(()) };
        let asked = plan.steps.iter().map(|step| &step.provider);
        let named: BTreeSet<&String> = asked.chain(plan.passed_over.iter().map(|passed| &passed.provider)).collect();
        prop_assert_eq!(named.len(), world.providers.len());
        let chain: Chain = plan.chain.parse().unwrap();
        let mut last = 0;
        for step in &plan.steps {
            prop_assert!(!ask.is_private || step.place == Place::Local);
            let provider = world.providers.iter().find(|known| known.key == step.provider).unwrap();
            prop_assert!(provider.problem.is_none());
            let link = chain.0.iter().position(|link| link.has(provider)).unwrap();
            if !(local && plan.by == ChosenBy::Configuration) {
                prop_assert!(link >= last);
                last = link;
            }
        }
        if plan.steps.is_empty() {
            prop_assert!(!plan.refusal().detail.is_empty());
        }
        prop_assert_eq!(decide(&rules, &ask, &world, 0).unwrap(), plan);
    }
}
