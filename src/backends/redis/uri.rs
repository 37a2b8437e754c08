//! The URIs of the Redis backend.

use std::path::PathBuf;
use std::sync::Arc;

use super::builder::{Named, RedisBuilder, RedisLayout};
use super::login::{Address, Resp};
use crate::codec::CodecOptions;
use crate::outage::Unconnected;
use crate::remote::tls::SslMode;
use crate::remote::{ConnectOptions, Server, ServerOptions};
use crate::store::uri::decode;
use crate::store::{Options, Store, Uri};
use crate::{Error, Result};

/// Opens a Redis URI.
pub(crate) fn open(uri: Uri, options: Options) -> Result<Unconnected> {
    let builder = read(uri, options)?;
    // Errors of the URI itself are reported without contacting the server.
    let unconnected = builder.clone().open_unconnected()?;
    Ok(Unconnected {
        name: unconnected.name(),
        capabilities: unconnected.capabilities(),
        options: builder.options.clone(),
        connect: Box::new(move || Ok(Arc::new(builder.clone().open()?))),
    })
}

fn read(mut uri: Uri, options: Options) -> Result<RedisBuilder> {
    let (mut builder, mut known) = named(&mut uri)?;
    builder.options = uri.take_common(options)?;
    let protocols = [("resp2", Resp::Resp2), ("resp3", Resp::Resp3)];
    if let Some(protocol) = uri.take_choice("protocol", &protocols)? {
        builder = builder.protocol(protocol);
    }
    if let Some(prefix) = uri.take("prefix") {
        builder = builder.prefix(prefix);
    }
    let layouts = [
        ("record", RedisLayout::Record),
        ("hash", RedisLayout::Hash),
        ("plain", RedisLayout::Plain),
    ];
    builder = builder.layout(uri.take_choice("layout", &layouts)?.unwrap_or_default());
    let slots = [("spread", false), ("scope", true)];
    builder = builder.slot_per_scope(uri.take_choice("slots", &slots)?.unwrap_or(false));
    if let Some(replicas) = uri.take_parsed("replicas", "a number of replicas")? {
        builder = builder.replicas(replicas);
    }
    builder.connect_options.take_timeout(&mut uri)?;
    builder.codec = CodecOptions::take(&mut uri)?;
    builder.server_options = ServerOptions::take(&mut uri)?;
    known.extend(["protocol", "prefix", "layout", "slots", "replicas", "connect_timeout"]);
    known.extend(CodecOptions::NAMES);
    known.extend(ServerOptions::NAMES);
    uri.finish(&known)?;
    Ok(builder)
}

/// Reads the servers and the login from a URI. Returns the names of the options of its scheme as
/// well.
fn named(uri: &mut Uri) -> Result<(RedisBuilder, Vec<&'static str>)> {
    let scheme = uri.scheme().to_owned();
    let kind = scheme.split_once('+').map_or("", |(_, kind)| kind);
    let (builder, mut known) = match kind {
        "unix" => (unix(uri)?, vec!["db"]),
        "cluster" => (cluster(uri)?, vec![]),
        "sentinel" => (sentinel(uri)?, vec!["db", "sentinel_user", "sentinel_password"]),
        _ => (one(uri)?, vec!["db"]),
    };
    if !scheme.starts_with("rediss") {
        return Ok((builder, known));
    }
    // The modes that always use TLS.
    let modes = &SslMode::CHOICES[2..];
    let mut builder = builder.ssl_mode(SslMode::VerifyFull);
    builder.connect_options.take_tls(uri, modes, [None, None])?;
    known.extend(ConnectOptions::TLS_NAMES);
    Ok((builder, known))
}

/// Reads `//user:password@host:port/0`; the database can also be an option.
fn one(uri: &mut Uri) -> Result<RedisBuilder> {
    let server = Server::parse(uri.rest())?;
    if server.socket.is_some() {
        return Err(Error::invalid_config(
            "the host of the URI is a socket path; write the URI as redis+unix:///path",
        ));
    }
    let host = server.host.clone().unwrap_or_else(|| "localhost".to_owned());
    let mut builder = super::Redis::builder(host);
    if let Some(port) = server.port {
        builder = builder.port(port);
    }
    builder = match &server.database {
        Some(in_path) => builder.database(number(in_path)?),
        None => database(builder, uri)?,
    };
    Ok(logged_in(builder, server))
}

/// Reads `//user:password@/path/of/the/socket?db=0`.
fn unix(uri: &mut Uri) -> Result<RedisBuilder> {
    let wrong = || {
        Error::invalid_config(
            "the URI has no path; write it as redis+unix:///path or redis+unix://user:password@/path",
        )
    };
    let rest = uri.rest().strip_prefix("//").ok_or_else(wrong)?;
    let at = rest.find('/').ok_or_else(wrong)?;
    let server = Server::parse(&format!("//{}", &rest[..at]))?;
    if server.host.is_some() || server.port.is_some() {
        return Err(wrong());
    }
    let address = Address::Unix(PathBuf::from(decode(&rest[at..])?));
    let builder = database(RedisBuilder::new(Named::One(address)), uri)?;
    Ok(logged_in(builder, server))
}

/// Reads `//user:password@host:port,host:port`.
fn cluster(uri: &Uri) -> Result<RedisBuilder> {
    let (server, nodes, rest) = several(uri.rest())?;
    if !matches!(rest, "" | "0") {
        return Err(Error::invalid_config(
            "a cluster supports only database 0; leave the database out of the URI",
        ));
    }
    Ok(logged_in(super::Redis::cluster(nodes), server))
}

/// Reads `//user:password@host:port,host:port/master?db=0`.
fn sentinel(uri: &mut Uri) -> Result<RedisBuilder> {
    let (server, sentinels, master) = several(uri.rest())?;
    let builder = super::Redis::sentinel(sentinels, decode(master)?);
    let mut builder = database(logged_in(builder, server), uri)?;
    if let Some(user) = uri.take("sentinel_user") {
        builder = builder.sentinel_user(user);
    }
    if let Some(password) = uri.take("sentinel_password") {
        builder = builder.sentinel_password(password);
    }
    Ok(builder)
}

/// Splits a URI into the login, the hosts and the rest.
fn several(rest: &str) -> Result<(Server, Vec<String>, &str)> {
    let wrong = || {
        Error::invalid_config(
            "the URI names no servers; write it as //user:password@host:port,host:port",
        )
    };
    let rest = rest.strip_prefix("//").ok_or_else(wrong)?;
    let (authority, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let server = match login {
        "" => Server::default(),
        login => Server::parse(&format!("//{login}@"))?,
    };
    let hosts: Vec<String> = hosts.split(',').map(decode).collect::<Result<_>>()?;
    match hosts.iter().any(String::is_empty) {
        true => Err(wrong()),
        false => Ok((server, hosts, rest)),
    }
}

fn logged_in(mut builder: RedisBuilder, server: Server) -> RedisBuilder {
    if let Some(user) = server.user {
        builder = builder.user(user);
    }
    if let Some(password) = server.password {
        builder = builder.password(password);
    }
    builder
}

fn database(builder: RedisBuilder, uri: &mut Uri) -> Result<RedisBuilder> {
    match uri.take("db") {
        Some(database) => Ok(builder.database(number(&database)?)),
        None => Ok(builder),
    }
}

fn number(database: &str) -> Result<u32> {
    database.parse().map_err(|_| {
        Error::invalid_config(
            "the database is not a number; write the URI as in redis://localhost/0",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn builder(uri: &str) -> Result<RedisBuilder> {
        read(uri.parse()?, Options::default())
    }

    #[test]
    fn uri_errors_do_not_contain_the_password() {
        for uri in [
            "redis:secret",
            "redis://u:secret@h:x/0",
            "redis://u:secret@h/zero",
            "redis://u:secret@a,b/0",
            "redis://u:secret@h/0?sslmode=require",
            "redis+unix://u:secret@host/path",
            "redis+unix:path",
            "redis+cluster://u:secret@a,,b",
            "redis+cluster://u:secret@a,b/1",
            "redis+cluster://u:se@cret@a,b",
            "redis://u:secret@h?protocol=4",
            "redis://u:secret@h?layout=flat",
            "redis://u:secret@h?slots=one",
            "rediss://u:secret@h?sslmode=prefer",
        ] {
            let error = builder(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{uri}: {error}");
            assert!(!format!("{error:?}").contains("cret"), "{error:?}");
        }
    }

    #[test]
    fn invalid_options_are_refused_on_opening() {
        for uri in [
            "redis+sentinel://a,b",
            "redis+cluster://a:x",
            "redis://u@h",
            "redis://h?prefix=",
            "redis://h?layout=hash&format=json&compress=1kb",
            "redis://h?layout=plain&slots=scope",
            "rediss://h?sslrootcert=/nowhere",
        ] {
            let error = builder(uri).and_then(|builder| builder.open().map(drop)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{uri}: {error}");
        }
    }

    #[test]
    fn debug_output_contains_no_secrets() {
        let uri = "redis+sentinel://u:secret@a,b/m?sentinel_password=secret";
        let shown = format!("{:?}", builder(uri).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
