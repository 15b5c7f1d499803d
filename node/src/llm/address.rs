//! Where a model is asked.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;
use vault::embed::Reach;

/// How an address of a socket on this machine begins.
const UNIX: &str = "unix:";

/// Why something is no address of a model.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// It cannot be read.
    #[error("`{0}` is no address; give it as http://127.0.0.1:11434 or unix:/run/ollama.sock")]
    Unreadable(String),
    /// It has what belongs elsewhere; it is not repeated, since it may be a password.
    #[error("the address of a model has no user, password, query or fragment; give a key apart")]
    Extra,
}

/// Where a model is asked: `http://`, `https://` with a path if its interface is below one, or `unix:` and the path of a
/// socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// By TCP; without `/` at its end.
    Url(Url),
    /// By a socket of this machine.
    Socket(PathBuf),
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none, or has a user, a password, a query or a fragment.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        let unreadable = || AddressError::Unreadable(text.to_owned());
        if let Some(path) = text.strip_prefix(UNIX) {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Socket(path)) } else { Err(unreadable()) };
        }
        // before anything of it is repeated
        if text.contains(['@', '?', '#']) {
            return Err(AddressError::Extra);
        }
        let url = Url::parse(text.trim_end_matches('/')).map_err(|_| unreadable())?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        if is_http { Ok(Self::Url(url)) } else { Err(unreadable()) }
    }

    /// Where what is sent there goes: only the loopback and a socket are surely this machine.
    pub fn reach(&self) -> Reach {
        let Self::Url(url) = self else { return Reach::Local };
        let host = url.host_str().unwrap_or_default();
        let number = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let loopback = number.map_or(host == "localhost", |number| number.to_canonical().is_loopback());
        if loopback { Reach::Local } else { Reach::Remote }
    }

    /// The URL of a path below the address.
    pub(super) fn below(&self, path: &str) -> String {
        match self {
            Self::Url(url) => format!("{}/{path}", url.as_str().trim_end_matches('/')),
            // the name is not looked up
            Self::Socket(_) => format!("http://localhost/{path}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => formatter.write_str(url.as_str().trim_end_matches('/')),
            Self::Socket(path) => write!(formatter, "{UNIX}{}", path.display()),
        }
    }
}
