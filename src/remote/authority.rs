//! The authority part of a server's URI: host, port, login and database.

use std::fmt;
use std::path::PathBuf;

use crate::store::uri::decode;
use crate::{Error, Result};

/// The decoded parts of a server's URI. `Debug` omits user and password.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Server {
    /// The host name or address; an IPv6 address has no brackets.
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    /// The path of a Unix socket, which replaces the host.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("socket", &self.socket)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Parses the part of a URI between its scheme and its options:
    /// `//user:password@host:port/database`. Every part except the slashes is optional. A host
    /// that contains a slash (written `%2F`) is the path of a socket.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig). The message describes the
    /// mistake without quoting the text, which may contain a password.
    pub(crate) fn parse(rest: &str) -> Result<Self> {
        let wrong = |what: &str| {
            let expected = "write it as //user:password@host:port/database, with %40 for @, %3A for :, %2F for / and %23 for # in a name or password";
            Error::invalid_config(format!("the URI {what}; {expected}"))
        };
        let rest = rest
            .strip_prefix("//")
            .ok_or_else(|| wrong("has no `//` between scheme and server"))?;
        if rest.contains('#') {
            return Err(wrong("contains a `#`, which has no meaning in it"));
        }
        let (authority, database) = match rest.split_once('/') {
            Some((authority, database)) => (authority, database),
            None => (rest, ""),
        };
        if database.contains('/') {
            return Err(wrong("has more than one `/` after the server"));
        }
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (login, address),
            None => ("", authority),
        };
        if login.contains('@') {
            return Err(wrong("has more than one `@`"));
        }
        if address.contains(',') {
            return Err(wrong("names several hosts; only one is allowed"));
        }
        let (user, password) = match login.split_once(':') {
            Some((_, password)) if password.contains(':') => {
                return Err(wrong("has more than one `:` before the `@`"));
            }
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let (host, port) = split_port(address).ok_or_else(|| {
            wrong("has a malformed host or port (an IPv6 address is written in brackets)")
        })?;
        let part = |text: &str| (!text.is_empty()).then(|| decode(text)).transpose();
        let host = part(host)?;
        let (socket, host) = match host {
            Some(path) if path.contains('/') => (Some(PathBuf::from(path)), None),
            host => (None, host),
        };
        let server = Self {
            host,
            port,
            socket,
            user: part(user)?,
            password: password.map(decode).transpose()?,
            database: part(database)?,
        };
        server.check().map(|()| server)
    }

    /// Checks that no part contains the character NUL, which terminates strings in the protocols.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming the part.
    pub(crate) fn check(&self) -> Result<()> {
        let parts = [
            ("host", &self.host),
            ("user", &self.user),
            ("password", &self.password),
            ("database", &self.database),
        ];
        let has_nul = |part: &Option<String>| part.as_deref().is_some_and(|it| it.contains('\0'));
        match parts.into_iter().find(|(_, part)| has_nul(part)) {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid_config(format!(
                "the {name} of the server contains the character NUL"
            ))),
        }
    }
}

/// Splits `host:port` or `[::1]:port`; the port is optional.
fn split_port(address: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    match port {
        None | Some("") => Some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port > 0).map(|port| (host, Some(port)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn server(host: &str, port: Option<u16>) -> Server {
        Server { host: Some(host.into()), port, ..Server::default() }
    }

    #[test]
    fn parts_are_split_and_percent_decoded() {
        let full = Server::parse("//me%3A:p%40ss%2Fw%3Aord@db.example:5433/my%20db").unwrap();
        let expected = Server {
            user: Some("me:".into()),
            password: Some("p@ss/w:ord".into()),
            database: Some("my db".into()),
            ..server("db.example", Some(5433))
        };
        assert_eq!(full, expected);
        assert_eq!(Server::parse("//").unwrap(), Server::default());
        assert_eq!(Server::parse("//h/").unwrap(), server("h", None));
        assert_eq!(Server::parse("//[::1]:7").unwrap(), server("::1", Some(7)));
        assert_eq!(Server::parse("//[fe80::1]").unwrap(), server("fe80::1", None));
        let socket = Server::parse("//%2Ftmp%2Fpg:7/db").unwrap();
        assert_eq!((socket.socket, socket.host), (Some("/tmp/pg".into()), None));
        assert_eq!(Server::parse("//u:@h").unwrap().password.as_deref(), Some(""));
    }

    #[test]
    fn errors_omit_the_password() {
        for rest in [
            "h/db",
            "//u:secret@h:x/db",
            "//u:secret@h:0/db",
            "//u:secret@h:+7/db",
            "//u:secret@h:99999/db",
            "//u:secret@a,b/db",
            "//u:secret@h/db/more",
            "//u:se@cret@h/db",
            "//u:se:cret@h/db",
            "//u:se#cret@h/db",
            "//u:secret@::1/db",
            "//u:secret@[::1/db",
            "//u:secret@[::1]7/db",
            "//u:secret@[h]/db",
            "//u:secret%00@h/db",
        ] {
            let error = Server::parse(rest).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{rest}");
            assert!(!error.to_string().contains("cret"), "{error}");
        }
    }

    #[test]
    fn debug_omits_the_password() {
        let server = Server::parse("//me:secret@host/db").unwrap();
        assert!(!format!("{server:?}").contains("secret"), "{server:?}");
    }
}
