//! What a remote store is named by: its URL, with what may not be shown.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::embed::Reach;

/// Where Milvus listens unless told otherwise.
const MILVUS_PORT: u16 = 19_530;
/// What there is, for an error.
const KINDS: &str = "weaviate+http://host[:port], weaviate+https://host[:port], milvus://[user:password@]host[:port][/database] or \
                     postgres://[user[:password]@]host[:port][/database]";

/// A remote store. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// Weaviate.
    Weaviate {
        /// `http://host:port` or `https://host:port`.
        base: String,
    },
    /// Milvus.
    Milvus {
        /// `host:port`.
        address: String,
        /// Who asks; none where anybody may.
        login: Option<Login>,
        /// The database; the product's own choice where it is empty.
        database: String,
    },
    /// PostgreSQL with pgvector.
    Postgres {
        /// The URL without its password, to be shown.
        shown: String,
        /// The whole URL, which the client reads by itself.
        secret: String,
    },
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Why a URL names no store. It never holds the URL, which may have a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no vector store: {why}; a vector store is {KINDS}")]
pub struct UrlError {
    why: String,
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fault("it has no `://`"))?;
        let place = rest.split(['/', '?']).next().unwrap_or_default();
        let path = rest[place.len()..].trim_start_matches('/');
        let (login, address) = place.rsplit_once('@').map_or((None, place), |(login, host)| (Some(login), host));
        match scheme {
            "weaviate+http" | "weaviate+https" => {
                if login.is_some() || !path.is_empty() {
                    return Err(fault("weaviate has a host and a port and nothing else"));
                }
                check_address(address)?;
                Ok(Self::Weaviate { base: format!("{}://{address}", &scheme["weaviate+".len()..]) })
            }
            "milvus" => {
                let host = check_address(address)?;
                let address = if host == address { format!("{address}:{MILVUS_PORT}") } else { address.to_owned() };
                let login = login.map(read_login).transpose()?;
                if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                    return Err(fault("a database of milvus is of letters, digits and underscores"));
                }
                Ok(Self::Milvus { address, login, database: path.to_owned() })
            }
            "postgres" | "postgresql" => {
                check_address(address)?;
                // what is behind `?` may hold a password too
                let database = path.split('?').next().unwrap_or_default();
                let user = login.map(|login| login.split(':').next().unwrap_or_default());
                let user = user.map(|user| format!("{user}@")).unwrap_or_default();
                let shown = format!("postgres://{user}{address}/{database}");
                Ok(Self::Postgres { shown: shown.trim_end_matches('/').to_owned(), secret: text.to_owned() })
            }
            _ => Err(fault("its scheme is none that is known")),
        }
    }
}

impl StoreUrl {
    /// Where what is sent there goes: only the loopback is surely this machine.
    pub fn reach(&self) -> Reach {
        let address = match self {
            Self::Weaviate { base } => base.split_once("://").map_or("", |(_, address)| address),
            Self::Milvus { address, .. } => address,
            Self::Postgres { shown, .. } => {
                let place = shown.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
                place.rsplit_once('@').map_or(place, |(_, address)| address)
            }
        };
        let bracketed = address.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(host, _)| host);
        let host = bracketed.unwrap_or_else(|| address.rsplit_once(':').map_or(address, |(host, _)| host));
        let is_loopback =
            host.parse::<IpAddr>().map_or(host == "localhost", |number| number.to_canonical().is_loopback());
        if is_loopback { Reach::Local } else { Reach::Remote }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weaviate { base } => write!(formatter, "weaviate+{base}"),
            Self::Milvus { address, login, database } => {
                let user = login.as_ref().map(|login| format!("{}@", login.user)).unwrap_or_default();
                let slash = if database.is_empty() { "" } else { "/" };
                write!(formatter, "milvus://{user}{address}{slash}{database}")
            }
            Self::Postgres { shown, .. } => formatter.write_str(shown),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:***", self.user)
    }
}

/// The host of an address that has one, and perhaps a port.
fn check_address(address: &str) -> Result<&str, UrlError> {
    let (host, port) = match address.rsplit_once(':') {
        // the colons of an IPv6 address are within brackets
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) || host.starts_with('[') != host.contains(':') {
        return Err(fault("its host is missing or no host"));
    }
    match port.map(str::parse::<u16>) {
        None => Ok(host),
        Some(Ok(1..)) => Ok(host),
        Some(_) => Err(fault("its port is no port")),
    }
}

fn read_login(login: &str) -> Result<Login, UrlError> {
    let (user, password) = login.split_once(':').ok_or_else(|| fault("milvus wants a password after the user"))?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
    let (Ok(user), Ok(password)) = (decode(user), decode(password)) else {
        return Err(fault("the user or password is no text"));
    };
    Ok(Login { user, password })
}

fn fault(why: &str) -> UrlError {
    UrlError { why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each kind is read, and shown without its password.
    #[test]
    fn only_the_loopback_is_here() {
        let reach = |url: &str| url.parse::<StoreUrl>().unwrap().reach();
        for here in [
            "postgres://a:b@127.0.0.1:5/x",
            "weaviate+http://localhost:80",
            "milvus://u:p@[::1]:19530/db",
            "postgres://localhost",
        ] {
            assert_eq!(reach(here), Reach::Local, "{here}");
        }
        for away in [
            "postgres://localhost@db.example/x",
            "weaviate+https://10.0.0.7:80",
            "milvus://localhost.example",
            "postgres://0.0.0.0",
        ] {
            assert_eq!(reach(away), Reach::Remote, "{away}");
        }
    }

    #[test]
    fn shows_no_password() {
        let cases = [
            ("weaviate+http://127.0.0.1:8080", "weaviate+http://127.0.0.1:8080"),
            ("weaviate+https://vectors.example", "weaviate+https://vectors.example"),
            ("milvus://localhost", "milvus://localhost:19530"),
            ("milvus://root:s3cr%40et@[::1]:7/notes", "milvus://root@[::1]:7/notes"),
            ("postgres://me:s3cret@db.example:5433/notes", "postgres://me@db.example:5433/notes"),
            ("postgresql://me@db/notes?password=s3cret", "postgres://me@db/notes"),
            ("postgres://db?password=s3cret", "postgres://db"),
        ];
        for (text, shown) in cases {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
        let StoreUrl::Milvus { login: Some(login), .. } = cases[3].0.parse().unwrap() else { panic!("it has a login") };
        assert_eq!((login.password.as_str(), format!("{login:?}").as_str()), ("s3cr@et", "root:***"));
    }

    /// What names no store says which there are, and never repeats what it was given.
    #[test]
    fn says_what_there_is() {
        let wrong = [
            "",
            "localhost",
            "redis://host",
            "weaviate://host",
            "weaviate+http://s3cret@host",
            "weaviate+http://host/path",
            "weaviate+http://",
            "milvus://s3cret@host",
            "milvus://host:0",
            "milvus://host:99999",
            "milvus://host/a-b",
            "milvus://ho st",
            "milvus://a:b:c",
            "postgres://u:s3cret@",
        ];
        for text in wrong {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains("milvus://[user:password@]host") && !error.contains("s3cret"), "{text}: {error}");
        }
    }
}
