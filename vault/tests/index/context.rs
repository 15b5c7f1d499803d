//! Packs out of an index: what is named, found, linked and beside.

use vault::context::{Ask, ContextError, Made, pack};
use vault::index::record::Privacy;
use vault::pack::tokens::tokens;
use vault::pack::{Budget, Origin, Private};

use crate::support::{NO_EMBEDDER, Vault};

fn vault() -> Vault {
    let mut vault = Vault::new();
    vault.write("Plan.md", "# Plan\n\nMove the hives in [[Meadow]].\n");
    vault.write("Meadow.md", "# Meadow\n\nIt lies south of the river.\n");
    vault.write(
        "Winter.md",
        "# Feeding\n\nSugar syrup for the winter.\n\n## How much\n\nTwelve kilos for each colony.\n",
    );
    vault.write("Secret.md", "---\nprivacy: private\n---\nThe safe holds sugar syrup.\n");
    vault.write("Other.md", "Nothing that matters.\n");
    vault.start();
    vault
}

fn made(vault: &Vault, text: &str, named: &[&str], private: Private) -> Result<Made, ContextError> {
    let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    let ask = Ask { text, named: &named, budget: Budget::Tokens(500), private, privacy: Privacy::Open };
    pack(&vault.serving(), Err(NO_EMBEDDER.to_owned()), ask, &tokens)
}

/// What a text links to comes first, then what it finds, then what those link to; the rest is not there.
#[test]
fn a_pack_has_what_is_named_found_and_linked() {
    let vault = vault();
    let made = made(&vault, "How do we feed sugar in winter? See [[plan]].", &[], Private::Taken).unwrap();
    let cited: Vec<(&str, Origin)> =
        made.pack.citations.iter().map(|citation| (citation.path.as_str(), citation.origin)).collect();
    assert_eq!(cited[0], ("Plan.md", Origin::Named), "{cited:?}");
    assert!(cited.contains(&("Winter.md", Origin::Found)), "{cited:?}");
    assert!(cited.contains(&("Meadow.md", Origin::Linked { distance: 1 })), "{cited:?}");
    assert!(!cited.iter().any(|(path, _)| *path == "Other.md"), "{cited:?}");
    assert_eq!(made.pack.privacy, Privacy::Private);
    assert_eq!(made.notices, ["by words only: no embedder is configured"]);
    let again = self::made(&vault, "How do we feed sugar in winter? See [[plan]].", &[], Private::Taken).unwrap();
    assert_eq!(made.pack.to_json(), again.pack.to_json());
}

/// Nothing private is in a pack that may leave the node, not even a name.
#[test]
fn what_is_private_stays() {
    let vault = vault();
    let made = made(&vault, "sugar syrup", &["Secret"], Private::Refused).unwrap();
    assert_eq!(made.pack.privacy, Privacy::Open);
    assert!(
        !made.pack.to_json().contains("Secret") && !made.pack.to_json().contains("safe"),
        "{}",
        made.pack.to_json()
    );
    assert_eq!(made.pack.private_left_out, 1);
}

/// What cannot be asked for is told.
#[test]
fn a_wrong_ask_is_told() {
    let vault = vault();
    let told = |text: &str, named: &[&str]| made(&vault, text, named, Private::Taken).unwrap_err().to_string();
    assert_eq!(
        told("x", &["Nowhere"]),
        "there is no note Nowhere in the vault; name it by its path, or as a link would"
    );
    assert!(told(" ", &[]).contains("neither a text to search for nor a note"));
    let none = Ask { text: "x", named: &[], budget: Budget::Bytes(0), private: Private::Taken, privacy: Privacy::Open };
    assert!(
        pack(&vault.serving(), Err(NO_EMBEDDER.to_owned()), none, &tokens)
            .unwrap_err()
            .to_string()
            .contains("the budget of the pack is 0")
    );
}
