//! Parsing of Elasticsearch URIs.

use std::net::Ipv6Addr;

use crate::store::uri::decode;
use crate::{Error, Result};

/// The default port of a node.
const PORT: u16 = 9200;

/// The part of a URI between its scheme and its options, decoded.
#[derive(Default, PartialEq, Eq)]
pub(super) struct ClusterUri {
    pub(super) hosts: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) path: String,
}

impl ClusterUri {
    /// Parses `//user:password@host:port,host:port/path`, of which only the slashes are required.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), without quoting the URI,
    /// which may contain a password.
    pub(super) fn parse(rest: &str) -> Result<Self> {
        let rest = rest
            .strip_prefix("//")
            .ok_or_else(|| wrong("has no `//` between its scheme and the hosts"))?;
        if rest.contains('#') {
            return Err(wrong("has a `#`, which must be escaped"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        if login.contains('@') || password.is_some_and(|password| password.contains(':')) {
            return Err(wrong("has more than one `@`, or more than one `:` before it"));
        }
        let hosts = hosts.split(',').map(decode).collect::<Result<Vec<_>>>()?;
        hosts.iter().try_for_each(|host| address(host).map(drop))?;
        Ok(Self {
            hosts: hosts.into_iter().filter(|host| !host.is_empty()).collect(),
            user: (!user.is_empty()).then(|| decode(user)).transpose()?,
            password: password.map(decode).transpose()?,
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

fn wrong(what: &str) -> Error {
    Error::invalid_config(format!(
        "the URI {what}; write it as //user:password@host:port,host:port, with %40 for @, %3A for :, %2F for / and %23 for # in a name or password"
    ))
}

/// Parses `host:port` or `[::1]:port`; the port is optional.
///
/// # Errors
///
/// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if the text is neither.
pub(super) fn address(host_and_port: &str) -> Result<(String, u16)> {
    split(host_and_port)
        .ok_or_else(|| wrong("has an invalid host or port (IPv6 addresses need brackets)"))
}

fn split(host_and_port: &str) -> Option<(String, u16)> {
    let (host, port) = match host_and_port.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
            (format!("[{host}]"), port)
        }
        None => {
            let (host, port) = host_and_port.split_once(':').unwrap_or((host_and_port, ""));
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            host.bytes().all(plain).then_some((host.to_owned(), port))?
        }
    };
    let port = match port {
        "" => PORT,
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port > 0)?
        }
        _ => return None,
    };
    Some((if host.is_empty() { "localhost".to_owned() } else { host }, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn uris_are_split_and_decoded() {
        let full = ClusterUri::parse("//me%3A:p%40ss%2Fw%3Aord@es1,es2.example:9201/a/b/").unwrap();
        assert_eq!(full.hosts, ["es1", "es2.example:9201"]);
        assert_eq!(full.user.as_deref(), Some("me:"));
        assert_eq!(full.password.as_deref(), Some("p@ss/w:ord"));
        assert_eq!(full.path, "a/b");
        assert!(ClusterUri::parse("//").unwrap() == ClusterUri::default());
        assert_eq!(address("").unwrap(), ("localhost".into(), 9200));
        assert_eq!(address("h:7").unwrap(), ("h".into(), 7));
        assert_eq!(address("[::1]:7").unwrap(), ("[::1]".into(), 7));
        assert_eq!(address("[fe80::1]").unwrap(), ("[fe80::1]".into(), 9200));
    }

    #[test]
    fn errors_do_not_contain_the_password() {
        for rest in [
            "h",
            "//u:secret@h:x",
            "//u:secret@h:0",
            "//u:secret@h:+7",
            "//u:secret@h,i:99999",
            "//u:se@cret@h",
            "//u:se:cret@h",
            "//u:se#cret@h",
            "//u:secret@::1",
            "//u:secret@[::1",
            "//u:secret@[::1]7",
            "//u:secret@a b",
        ] {
            let error = ClusterUri::parse(rest).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{rest}");
            assert!(!error.to_string().contains("cret"), "{error}");
        }
    }
}
