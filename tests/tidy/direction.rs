//! Our crates depend on each other one way: `cobs <- scheduler <- node -> vault`.

use super::Source;

/// Each of our crates, and those of ours that it may depend on.
const MAY_USE: &[(&str, &[&str])] = &[
    ("cobs", &[]),
    ("cobs/fuzz", &["cobs"]),
    ("scheduler", &["cobs"]),
    ("vault", &[]),
    ("node", &["cobs", "scheduler", "vault"]),
];

/// The wrong dependencies of a crate, also those of its tests.
pub fn wrong(source: &Source) -> Vec<String> {
    let Some(folder) = source.path.strip_suffix("/Cargo.toml") else { return Vec::new() };
    let Some((name, may_use)) = MAY_USE.iter().find(|(name, _)| *name == folder) else {
        return vec!["a new crate: give it its place in tests/tidy/direction.rs".to_owned()];
    };
    let manifest: toml::Table = source.text.parse().expect("cargo has read it");
    let ours = MAY_USE.iter().map(|(other, _)| *other).filter(|other| uses(&manifest, other));
    let wrong = ours.filter(|other| other != name && !may_use.contains(other));
    wrong.map(|other| format!("{name} may not depend on {other}")).collect()
}

fn uses(manifest: &toml::Table, name: &str) -> bool {
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).any(|table| {
        // by its name, by another name, or by its path
        table.iter().any(|(key, value)| {
            let package = value.get("package").and_then(toml::Value::as_str);
            let path = value.get("path").and_then(toml::Value::as_str);
            key == name
                || package.is_some_and(|package| package == package_of(name))
                || path.is_some_and(|path| path.trim_end_matches('/').ends_with(&format!("/{name}")))
        })
    })
}

fn package_of(name: &str) -> String {
    if name == "node" { "rhizome".to_owned() } else { format!("rhizome-{name}") }
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn dependencies_point_one_way() {
        let cobs = "[dependencies]\ncobs = { workspace = true }\n";
        assert!(wrong(&source("scheduler/Cargo.toml", cobs)).is_empty());
        assert_eq!(wrong(&source("vault/Cargo.toml", cobs)), ["vault may not depend on cobs"]);
        let hidden = "[dev-dependencies]\nx = { package = \"rhizome-scheduler\", path = \"../scheduler\" }\n";
        assert_eq!(wrong(&source("cobs/Cargo.toml", hidden)), ["cobs may not depend on scheduler"]);
        let path = "[dependencies.rhizome]\npath = \"../node\"\n";
        assert_eq!(wrong(&source("scheduler/Cargo.toml", path)), ["scheduler may not depend on node"]);
        assert_eq!(wrong(&source("extra/Cargo.toml", "")).len(), 1);
        assert!(wrong(&source("Cargo.toml", "")).is_empty());
    }
}
