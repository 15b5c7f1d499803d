//! Bearer tokens of the API: local to this node, kept as hashes, with scopes and an expiry.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use super::secret::{Secret, SecretHash};
use super::state::State;
use super::{StoreError, UnixMs, decode, encode};

/// Token name to JSON of [`Row`].
pub(super) const TOKENS: TableDefinition<&str, &[u8]> = TableDefinition::new("tokens-v1");

/// Most tokens of a node; each check compares with all of them.
pub const TOKENS_MAX: u64 = 256;
/// Most bytes of a token's name.
pub const NAME_BYTES_MAX: usize = 64;
/// The last use of a token is written down at most this often, in milliseconds.
pub const LAST_USED_STEP_MS: u64 = 60_000;
/// The caller on the unix socket, who is the node itself; no token may take this name.
const NODE: &str = "node";

/// The name of a token: `a-z`, `0-9`, `.`, `_`, `-`, at most [`NAME_BYTES_MAX`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenName(String);

/// The text cannot name a token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' cannot name a token; use 1 to 64 of a-z, 0-9, '.', '_' and '-', and not 'node'")]
pub struct TokenNameError(String);

/// What a token may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// List and show jobs, follow their logs.
    #[serde(rename = "read:jobs")]
    ReadJobs,
    /// Submit, cancel and evict jobs.
    #[serde(rename = "write:jobs")]
    WriteJobs,
    /// Search the vault and read its notes.
    #[serde(rename = "context:read")]
    ContextRead,
    /// Push documents, and change notes of the vault.
    #[serde(rename = "context:write")]
    ContextWrite,
}

/// The text names no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is no scope; there are read:jobs, write:jobs, context:read and context:write")]
pub struct ScopeError(String);

/// What is asked for with a new token.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: TokenName,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// When it ends by itself.
    pub expires: Option<UnixMs>,
}

/// What may be shown of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenInfo {
    /// Its name.
    pub name: TokenName,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created: UnixMs,
    /// When it ends by itself.
    pub expires: Option<UnixMs>,
    /// When it was last used, to [`LAST_USED_STEP_MS`].
    pub last_used: Option<UnixMs>,
}

/// What a presented secret is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenCheck {
    /// A token that holds.
    Valid(TokenInfo),
    /// One that did until its expiry.
    Expired(TokenName),
    /// None of ours.
    Unknown,
}

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    secret: SecretHash,
    scopes: BTreeSet<Scope>,
    created: UnixMs,
    expires: Option<UnixMs>,
    last_used: Option<UnixMs>,
}

impl TokenName {
    /// The caller on the unix socket, for what is kept by caller.
    pub fn node() -> Self {
        Self(NODE.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenName {
    type Err = TokenNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) && text != NODE {
            Ok(Self(text.into()))
        } else {
            Err(TokenNameError(text.chars().take(80).collect()))
        }
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

impl TryFrom<String> for TokenName {
    type Error = TokenNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadJobs => "read:jobs",
            Self::WriteJobs => "write:jobs",
            Self::ContextRead => "context:read",
            Self::ContextWrite => "context:write",
        })
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "read:jobs" => Ok(Self::ReadJobs),
            "write:jobs" => Ok(Self::WriteJobs),
            "context:read" => Ok(Self::ContextRead),
            "context:write" => Ok(Self::ContextWrite),
            other => Err(ScopeError(other.chars().take(80).collect())),
        }
    }
}

impl State {
    /// Makes a token and gives its secret, which cannot be had again.
    pub fn create_token(&self, token: &NewToken, now: UnixMs) -> Result<Secret, StoreError> {
        let secret = Secret::token();
        let row = Row {
            secret: secret.hash(),
            scopes: token.scopes.clone(),
            created: now,
            expires: token.expires,
            last_used: None,
        };
        self.write(|txn| {
            let mut table = txn.open_table(TOKENS)?;
            if table.get(token.name.as_str())?.is_some() {
                return Err(StoreError::Taken { what: "token", name: token.name.to_string() });
            }
            if table.len()? >= TOKENS_MAX {
                return Err(StoreError::Full { what: "tokens", limit: TOKENS_MAX });
            }
            table.insert(token.name.as_str(), encode(&row).as_slice())?;
            Ok(())
        })?;
        Ok(secret)
    }

    /// All tokens by name, expired ones too.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>, StoreError> {
        Ok(self.token_rows()?.into_iter().map(|(name, row)| info(name, row)).collect())
    }

    /// Ends a token at once. False when there is none of that name.
    pub fn revoke_token(&self, name: &TokenName) -> Result<bool, StoreError> {
        self.write(|txn| Ok(txn.open_table(TOKENS)?.remove(name.as_str())?.is_some()))
    }

    /// What `presented` is worth now. The time taken tells nothing of any stored secret.
    pub fn check_token(&self, presented: &Secret, now: UnixMs) -> Result<TokenCheck, StoreError> {
        let hash = presented.hash();
        let mut found = None;
        for (name, row) in self.token_rows()? {
            if bool::from(row.secret.same_as(&hash)) {
                found = Some((name, row));
            }
        }
        let Some((name, row)) = found else { return Ok(TokenCheck::Unknown) };
        if row.expires.is_some_and(|expires| expires <= now) {
            return Ok(TokenCheck::Expired(name));
        }
        if row.last_used.is_none_or(|used| used.plus_ms(LAST_USED_STEP_MS) <= now) {
            self.touch_token(&name, now)?;
        }
        Ok(TokenCheck::Valid(info(name, row)))
    }

    fn touch_token(&self, name: &TokenName, now: UnixMs) -> Result<(), StoreError> {
        self.write_soon(|txn| {
            let mut table = txn.open_table(TOKENS)?;
            let row: Option<Row> = table.get(name.as_str())?.map(|row| decode("tokens", row.value())).transpose()?;
            // Revoked since it was read.
            let Some(row) = row else { return Ok(()) };
            table.insert(name.as_str(), encode(&Row { last_used: Some(now), ..row }).as_slice())?;
            Ok(())
        })
    }

    fn token_rows(&self) -> Result<Vec<(TokenName, Row)>, StoreError> {
        self.read(|txn| {
            let mut rows = Vec::new();
            for entry in txn.open_table(TOKENS)?.iter()? {
                let (name, row) = entry?;
                rows.push((TokenName(name.value().into()), decode("tokens", row.value())?));
            }
            Ok(rows)
        })
    }
}

fn info(name: TokenName, row: Row) -> TokenInfo {
    TokenInfo { name, scopes: row.scopes, created: row.created, expires: row.expires, last_used: row.last_used }
}
