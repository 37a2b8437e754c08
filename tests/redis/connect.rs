//! Connections to servers.

use std::time::Instant;

use hilcat::backend::{Redis, RedisLayout, Resp, SslMode};
use hilcat::{Cache, Error, ErrorKind};

use crate::Test;
use crate::support::{SECOND, Server, variable};

pub(crate) const TESTS: &[Test] = &[
    ("unreachable_servers_are_reported_in_time", unreachable_servers_are_reported_in_time),
    ("builders_set_the_parts_of_the_uri", builders_set_the_parts_of_the_uri),
    ("unix_sockets", unix_sockets),
    ("databases_are_separate", databases_are_separate),
    ("both_protocols", both_protocols),
    ("other_kinds_of_servers_are_reported", other_kinds_of_servers_are_reported),
    ("unknown_options_list_the_known_ones", unknown_options_list_the_known_ones),
    ("unneeded_passwords_are_reported", unneeded_passwords_are_reported),
    ("calls_inside_a_runtime", calls_inside_a_runtime),
    ("callers_wait_for_a_connection", callers_wait_for_a_connection),
];

/// The tests for the server with TLS and a password.
pub(crate) const SECURED: &[Test] =
    &[("passwords_are_never_shown", passwords_are_never_shown), ("tls_modes", tls_modes)];

fn refused(uri: &str) -> Error {
    let error = Cache::from_uri(uri).unwrap_err();
    for secret in ["secret", "p@ss", "p%40ss", "w:ord"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    error
}

fn unreachable_servers_are_reported_in_time(_: &Server) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    let closed = "127.0.0.1:1";
    for uri in [
        format!("redis://u:secret@{silent}/0?timeout=1s"),
        format!("redis://{silent}/0?timeout=1s"),
        format!("redis+cluster://{silent},{silent}?timeout=1s"),
        format!("redis+sentinel://{silent}/m?timeout=1s"),
        format!("rediss://{silent}?timeout=1s"),
        format!("redis://{closed}?timeout=1s"),
        format!("redis+cluster://{closed}?timeout=1s"),
        format!("redis+sentinel://{closed}/m?timeout=1s"),
        "redis+unix:///nowhere/x.sock".to_owned(),
        "redis://no.such.host.invalid?timeout=2s".to_owned(),
    ] {
        let start = Instant::now();
        let error = refused(&uri);
        let kinds = [ErrorKind::Unavailable, ErrorKind::Timeout];
        assert!(kinds.contains(&error.kind()) && error.is_retryable(), "{uri}: {error}");
        let limit = if uri.contains("invalid") { SECOND * 10 } else { SECOND * 11 / 10 };
        assert!(start.elapsed() <= limit, "{uri}: {:?}: {error}", start.elapsed());
    }
}

fn builders_set_the_parts_of_the_uri(server: &Server) {
    let (host, port) = server.address().rsplit_once(':').unwrap();
    let builder = Redis::builder(host)
        .port(port.parse().unwrap())
        .database(1)
        .protocol(Resp::Resp3)
        .layout(RedisLayout::Hash)
        .prefix(&server.prefix)
        .pool_size(2)
        .timeout(SECOND * 5);
    let scope = Cache::from_store(builder.open().unwrap()).map::<i64, i64>("squares").unwrap();
    assert_eq!(scope.get(7, || 49).unwrap(), 49);
    let name = format!("{}:squares:7", server.prefix);
    let mut other = server.other();
    other.ask::<()>(&["SELECT", "1"]);
    assert_eq!(other.ask::<String>(&["HGET", &name, "value"]), "49");
    let builder = Redis::builder("h").user("u").password("secret").sentinel_password("secret");
    assert!(!format!("{builder:?}").contains("secret"));
    let prefer = Redis::builder(host).ssl_mode(SslMode::Prefer).open().unwrap_err();
    assert_eq!(prefer.kind(), ErrorKind::InvalidConfig);
    let store = Redis::builder(host).port(port.parse().unwrap()).open().unwrap();
    assert!(!format!("{store:?}").contains(port), "{store:?}");
}

fn unix_sockets(server: &Server) {
    let uri = variable("HILCAT_TEST_REDIS_SOCKET").unwrap();
    let path = uri.strip_prefix("redis+unix://").unwrap();
    let cache = Cache::from_uri(&format!("{uri}?prefix={}", server.prefix)).unwrap();
    cache.map::<String, i64>("m").unwrap().set("x", &1).unwrap();
    assert_eq!(server.cache().map::<String, i64>("m").unwrap().fetch("x").unwrap(), Some(1));
    let store = Redis::unix(path).prefix(&server.prefix).open().unwrap();
    assert_eq!(Cache::from_store(store).scopes().unwrap(), ["m"]);
    let escaped = format!("redis+unix://{}?prefix={}", path.replace('s', "%73"), server.prefix);
    assert_eq!(Cache::from_uri(&escaped).unwrap().scopes().unwrap(), ["m"]);
}

fn databases_are_separate(server: &Server) {
    let at = |path: &str| {
        let uri = server.with("timeout=10s").replacen('?', &format!("{path}?"), 1);
        Cache::from_uri(&uri).unwrap().map::<String, i64>("m").unwrap()
    };
    at("/0").set("x", &0).unwrap();
    at("/1").set("x", &1).unwrap();
    assert_eq!((at("").fetch("x").unwrap(), at("/1").fetch("x").unwrap()), (Some(0), Some(1)));
    let error = refused(&format!("redis://{}/99", server.address()));
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
}

fn both_protocols(server: &Server) {
    for (protocol, version) in [("resp2", "resp=2"), ("resp3", "resp=3")] {
        let cache = Cache::from_uri(&server.with(&format!("protocol={protocol}"))).unwrap();
        let scope = cache.map::<String, i64>("m").unwrap();
        scope.set(protocol, &1).unwrap();
        assert_eq!(scope.fetch_many([protocol, "no"]).unwrap(), [Some(1), None]);
        assert_eq!(scope.keys().unwrap().count() as u64, scope.len().unwrap());
        let clients: String = server.other().ask(&["CLIENT", "LIST"]);
        // Servers before Redis 7.2 do not report the protocol.
        assert!(!clients.contains("resp=") || clients.contains(version), "{clients}");
    }
}

fn other_kinds_of_servers_are_reported(server: &Server) {
    for uri in ["redis+cluster://{}", "redis+sentinel://{}/m"] {
        let error = refused(&uri.replace("{}", server.address()));
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    }
    if let Ok(sentinels) = variable("HILCAT_TEST_REDIS_SENTINEL") {
        let error = refused(&sentinels.replace("mymaster", "nobody"));
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains("nobody"), "{error}");
    }
}

fn unknown_options_list_the_known_ones(server: &Server) {
    let error = refused(&format!("redis://{}?prefixx=a", server.address())).to_string();
    assert!(
        error.contains("layout, slots") && error.ends_with("did you mean `prefix`?"),
        "{error}"
    );
}

fn unneeded_passwords_are_reported(server: &Server) {
    let error = refused(&format!("redis://:secret@{}", server.address()));
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false), "{error}");
}

fn passwords_are_never_shown(server: &Server) {
    for (from, to) in [("p%40ss", "secret"), ("hilcat:", "nobody:")] {
        for protocol in ["resp2", "resp3"] {
            let uri = server.with(&format!("protocol={protocol}")).replace(from, to);
            let error = refused(&uri);
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (ErrorKind::Unavailable, false),
                "{error}"
            );
        }
    }
    let (login, rest) = server.base.split_once('@').unwrap();
    let nobody = format!("{}://{rest}", login.split_once("://").unwrap().0);
    let error = refused(&nobody);
    assert!(error.to_string().contains("password"), "{error}");
}

fn tls_modes(server: &Server) {
    let authorities = variable("HILCAT_TEST_REDIS_SECURED_CA").unwrap();
    let (bare, _) = server.base.split_once('?').unwrap();
    for options in [
        format!("sslrootcert={authorities}"),
        format!("sslmode=verify-ca&sslrootcert={authorities}"),
        "sslmode=require".to_owned(),
    ] {
        let cache = Cache::from_uri(&format!("{bare}?prefix={}&{options}", server.prefix)).unwrap();
        cache.map::<String, i64>("m").unwrap().set("x", &1).unwrap();
    }
    // The certificate is signed by an unknown authority.
    let error = refused(bare);
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    // A server with TLS does not answer in clear text.
    assert!(Cache::from_uri(&bare.replace("rediss", "redis")).is_err());
}

fn calls_inside_a_runtime(server: &Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let scope = server.cache().map::<String, i64>("m").unwrap();
        assert_eq!(scope.get("x", || 7).unwrap(), 7);
    });
}

fn callers_wait_for_a_connection(server: &Server) {
    let cache = Cache::from_uri(&server.with("pool_size=2")).unwrap();
    let scope = cache.map::<String, i64>("m").unwrap();
    std::thread::scope(|threads| {
        for thread in 0..16 {
            let scope = &scope;
            threads.spawn(move || {
                for n in 0..50 {
                    let key = format!("{thread}-{n}");
                    scope.set(&key, &n).unwrap();
                    assert_eq!(scope.fetch(&key).unwrap(), Some(n));
                }
            });
        }
    });
    assert_eq!(scope.len().unwrap(), 800);
}
