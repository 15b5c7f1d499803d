//! Bearer tokens of this node, and the configuration it was started with.

use std::sync::Arc;

use super::Caller;
use super::error::{Code, Error};
use super::jobs::storage;
use super::types::{ConfigValue, TokenCreate, TokenCreated, TokenInfo};
use crate::clock::{rfc3339, unix_now};
use crate::node::Node;
use crate::store::StoreError;
use crate::store::secret::Secret;
use crate::store::tokens::{NewToken, TokenCheck, TokenName, TokenNameError};

impl Node {
    /// Who presents a bearer token, if it is one of this node's and still good.
    pub fn authenticate(&self, bearer: &str) -> Option<Caller> {
        match self.state.check_token(&Secret::presented(bearer), unix_now()) {
            Ok(TokenCheck::Valid(token)) => {
                Some(Caller::Token { name: token.name.as_str().to_owned(), scopes: token.scopes })
            }
            Ok(_) => None,
            Err(error) => {
                tracing::error!(%error, "cannot check a token");
                None
            }
        }
    }

    /// All tokens, without their secrets.
    ///
    /// # Errors
    /// For anyone but the owner.
    pub async fn tokens(self: &Arc<Self>, caller: &Caller) -> Result<Vec<TokenInfo>, Error> {
        caller.require_owner()?;
        let tokens = self.state.tokens().map_err(|error| storage(&error))?;
        let info = |token: crate::store::tokens::TokenInfo| TokenInfo {
            name: token.name.as_str().to_owned(),
            scopes: token.scopes,
            created_at: rfc3339(token.created),
            expires_at: token.expires.map(rfc3339),
            last_used_at: token.last_used.map(rfc3339),
        };
        Ok(tokens.into_iter().map(info).collect())
    }

    /// Makes a token; its secret is shown this once.
    ///
    /// # Errors
    /// When the name is taken or unfit, or for anyone but the owner.
    pub async fn create_token(self: &Arc<Self>, caller: &Caller, create: TokenCreate) -> Result<TokenCreated, Error> {
        caller.require_owner()?;
        if create.scopes.is_empty() {
            return Err(Error::new(Code::BadRequest, "a token without scopes may do nothing")
                .hint("give --scope read:jobs, write:jobs, context:read or context:write"));
        }
        let name = name(&create.name)?;
        let now = unix_now();
        let token =
            NewToken { name, scopes: create.scopes, expires: create.expires_in_ms.map(|span| now.plus_ms(span)) };
        let state = Arc::clone(&self.state);
        let made = tokio::task::spawn_blocking(move || state.create_token(&token, now)).await;
        let made = made.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let secret = made.map_err(|error| match error {
            StoreError::Taken { .. } => Error::new(Code::BadRequest, error.to_string()).hint("choose another name"),
            other => storage(&other),
        })?;
        Ok(TokenCreated { name: create.name, secret: secret.expose().to_owned() })
    }

    /// Ends a token.
    ///
    /// # Errors
    /// When there is none, or for anyone but the owner.
    pub async fn revoke_token(self: &Arc<Self>, caller: &Caller, token: &str) -> Result<(), Error> {
        caller.require_owner()?;
        let name = name(token)?;
        let state = Arc::clone(&self.state);
        let revoked = tokio::task::spawn_blocking(move || state.revoke_token(&name)).await;
        let revoked = revoked.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        if revoked.map_err(|error| storage(&error))? {
            return Ok(());
        }
        Err(Error::new(Code::NotFound, format!("there is no token '{token}'")).hint("see: rhizome token list"))
    }

    /// Each value of the configuration and where it came from.
    ///
    /// # Errors
    /// For anyone but the owner.
    pub async fn config(self: &Arc<Self>, caller: &Caller) -> Result<Vec<ConfigValue>, Error> {
        caller.require_owner()?;
        Ok(values(&self.settings))
    }
}

/// The settings as they are shown.
pub fn values(settings: &[crate::config::Setting]) -> Vec<ConfigValue> {
    let value = |setting: &crate::config::Setting| ConfigValue {
        key: setting.key.clone(),
        value: setting.value.to_string(),
        from: setting.origin.to_string(),
    };
    settings.iter().map(value).collect()
}

fn name(text: &str) -> Result<TokenName, Error> {
    text.parse().map_err(|error: TokenNameError| Error::new(Code::BadRequest, error.to_string()))
}
