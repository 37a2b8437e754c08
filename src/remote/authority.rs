//! Where a server is and who logs in, as a URI or a builder says it.

use std::fmt;
use std::path::PathBuf;

use crate::store::uri::decode;
use crate::{Error, Result};

/// The parts of a server's URI, their escapes resolved. Its `Debug` never shows the password.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Server {
    /// The name or address of its host; an IPv6 address without brackets.
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    /// A path in place of a host: what a Unix socket is found by.
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
    /// Reads what stands between a URI's scheme and its options:
    /// `//user:password@host:port/database`, each part but the slashes left out at will. A host
    /// with a slash in it (written `%2F`) is the path of a socket.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), naming what is wrong but
    /// never what stands there: it may be a password.
    pub(crate) fn parse(rest: &str) -> Result<Self> {
        let wrong = |what: &str| {
            let right = "write it as //user:password@host:port/database, with %40 for @, %3A for :, %2F for / and %23 for # in a name or password";
            Error::invalid_config(format!("the URI {what}; {right}"))
        };
        let rest = rest
            .strip_prefix("//")
            .ok_or_else(|| wrong("has no `//` between its scheme and the server"))?;
        if rest.contains('#') {
            return Err(wrong("has a `#`, which means nothing here"));
        }
        let (authority, database) = match rest.split_once('/') {
            Some((authority, database)) => (authority, database),
            None => (rest, ""),
        };
        if database.contains('/') {
            return Err(wrong("has more than one `/` after the server"));
        }
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (login, place),
            None => ("", authority),
        };
        if login.contains('@') {
            return Err(wrong("has more than one `@`"));
        }
        if place.contains(',') {
            return Err(wrong("names several hosts, of which there is one"));
        }
        let (user, password) = match login.split_once(':') {
            Some((_, password)) if password.contains(':') => {
                return Err(wrong("has more than one `:` before the `@`"));
            }
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let (host, port) = split_port(place).ok_or_else(|| {
            wrong("has a host and port that cannot be read (an IPv6 address stands in brackets)")
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

    /// Checks that no part holds the character NUL, which ends a text in the protocols.
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
                "the {name} of the server holds the character NUL"
            ))),
        }
    }
}

/// The host and the port of `host:port`, `[::1]:port`, either without its port.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
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
    fn the_parts_are_found_and_their_escapes_resolved() {
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
    fn what_is_wrong_is_said_without_the_password() {
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
    fn debug_keeps_the_password() {
        let server = Server::parse("//me:secret@host/db").unwrap();
        assert!(!format!("{server:?}").contains("secret"), "{server:?}");
    }
}
