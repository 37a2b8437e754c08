//! Connections to clusters.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use hilcat::backend::{Elasticsearch, Refresh};
use hilcat::{Cache, Error, ErrorKind};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server, int, scope, within};

pub const TESTS: &[Test] = &[
    ("unreachable_clusters_are_reported_in_time", unreachable_clusters_are_reported_in_time),
    ("one_of_several_hosts_is_enough", one_of_several_hosts_is_enough),
    ("builders_set_the_parts_of_the_uri", builders_set_the_parts_of_the_uri),
    ("unknown_options_list_the_known_ones", unknown_options_list_the_known_ones),
    ("calls_inside_runtimes", calls_inside_runtimes),
    ("other_servers_are_reported", other_servers_are_reported),
];

/// The tests for the server with TLS and a password.
pub const SECURED: &[Test] = &[
    ("credentials_are_never_shown", credentials_are_never_shown),
    ("certificates_are_checked", certificates_are_checked),
];

fn refused(uri: &str) -> Error {
    let error = Cache::from_uri(uri).unwrap_err();
    for secret in ["secret", "c2VjcmV0", "p@ss", "p%40ss", "w:ord"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    error
}

fn unreachable_clusters_are_reported_in_time(server: &Server) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    let (_, _, place) = server.parts();
    for place_of in [silent.as_str(), "127.0.0.1:1", "nowhere.invalid:9200"] {
        let start = Instant::now();
        let uri = server.indices.uri("timeout=500ms").replace(&place, place_of);
        let error = refused(&uri);
        let kinds = [ErrorKind::Unavailable, ErrorKind::Timeout];
        assert!(kinds.contains(&error.kind()) && error.is_retryable(), "{error}");
        if !place_of.contains("invalid") {
            assert!(start.elapsed() < SECOND, "{place_of}: {:?}", start.elapsed());
        }
    }
}

/// Unreachable and unresponsive hosts are left for the others.
fn one_of_several_hosts_is_enough(server: &Server) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("127.0.0.1:{}", silent.local_addr().unwrap().port());
    let (_, _, place) = server.parts();
    let hosts = format!("127.0.0.1:1,{place},127.0.0.1:2");
    let cache = Cache::from_uri(&server.indices.uri("").replace(&place, &hosts)).unwrap();
    let a = cache.dynamic_with(scope([int("n")])).unwrap();
    for n in 0..10 {
        a.set("x", json!({"n": n})).unwrap();
        assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": n})));
    }
    let hosts = format!("{place},{silent}");
    let uri = server.indices.uri("timeout=2s").replace(&place, &hosts);
    // The first request may reach the unresponsive host.
    let cache = Cache::from_uri(&uri).or_else(|_| Cache::from_uri(&uri)).unwrap();
    let opened = || cache.dynamic_with(scope([int("n")]));
    let a = opened().or_else(|_| opened()).unwrap();
    let failed = (0..20).filter(|_| a.fetch("x").is_err()).count();
    assert!(failed <= 1, "{failed} of 20 calls reached the unresponsive host");
}

fn builders_set_the_parts_of_the_uri(server: &Server) {
    let (scheme, login, place) = server.parts();
    let mut builder = Elasticsearch::builder(place)
        .https(scheme == "es+https")
        .prefix(&server.indices.prefix)
        .refresh(Refresh::True)
        .shards(1)
        .replicas(0)
        .timeout(SECOND * 30)
        .pool_size(2);
    if let Some(ca) = &server.indices.ca {
        builder = builder.user("elastic").password("p@ss/w:ord").ssl_root_cert(ca);
        assert!(!format!("{builder:?}").contains("p@ss") && !login.is_empty());
    }
    let store = builder.open().unwrap();
    assert!(!format!("{store:?}").contains("p@ss"), "{store:?}");
    let cache = Cache::from_store(store);
    cache.dynamic_with(scope([int("n")])).unwrap().set("x", json!({"n": 1})).unwrap();
    let count = server.get(&format!("{}/_count", server.name("a")));
    assert_eq!(count["count"], 1);
    assert!(format!("{:?}", Elasticsearch::builder("h").api_key("secret")).contains("\"h\""));
    assert!(!format!("{:?}", Elasticsearch::builder("h").api_key("secret")).contains("secret"));
}

fn unknown_options_list_the_known_ones(server: &Server) {
    for (option, part) in [
        ("refrsh=true", "did you mean `refresh`?"),
        ("refresh=maybe", "none, false, wait_for, true"),
        ("shards=0", "`shards`"),
        ("shards=x", "`shards`"),
        ("api_key=", "API key"),
        ("api_key=se%0Acret", "API key"),
        ("ca=/nowhere.crt", "`sslrootcert`"),
    ] {
        // Some options are in the URI already.
        let uri = server.indices.base.clone() + "?" + option;
        let uri = if option.starts_with("api_key") {
            uri.replace("elastic:p%40ss%2Fw%3Aord@", "")
        } else {
            uri
        };
        let error = refused(&uri);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    for (uri, part) in [
        ("es://u:secret@h?api_key=secret", "both"),
        ("es://:secret@h", "no user"),
        ("es://h?prefix=A", "prefix"),
        ("es://h?ca=/x.crt", "HTTPS"),
        ("es://u:se#cret@h", "`#`"),
    ] {
        let error = refused(uri);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

/// A blocking call inside an asynchronous runtime neither panics nor deadlocks, and the cache can
/// be dropped there.
fn calls_inside_runtimes(server: &Server) {
    fn work(uri: &str) {
        let cache = Cache::from_uri(uri).unwrap();
        let a = cache.dynamic_with(scope([int("n")])).unwrap();
        a.set("x", json!({"n": 1})).unwrap();
        assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
        a.set_many((0..50).map(|n| (n.to_string(), json!({"n": n})))).unwrap();
        let mut rows = a.iter().unwrap();
        rows.next().unwrap().unwrap();
        assert_eq!(a.keys().unwrap().count(), 51);
    }
    let uri = server.indices.uri("timeout=30s");
    within(SECOND * 60, move || {
        use tokio::runtime::Builder;
        let current = Builder::new_current_thread().enable_all().build().unwrap();
        current.block_on(async { work(&uri) });
        let several = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let other = uri.clone();
        several.block_on(several.spawn(async move { work(&other) })).unwrap();
        several.block_on(several.spawn_blocking(move || work(&uri))).unwrap();
    });
}

fn other_servers_are_reported(_: &Server) {
    let (port, asked) = answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let cache = Cache::from_uri(&format!("es://127.0.0.1:{port}/behind/a/proxy")).unwrap();
    let error = cache.scopes().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
    assert!(asked.recv().unwrap().starts_with("GET /behind/a/proxy/_cluster/health"));
    // The test servers have no API keys, so the request itself is checked.
    for (key, header) in [("aWQ6a2V5", "ApiKey aWQ6a2V5\r"), ("id:key", "ApiKey aWQ6a2V5\r")] {
        let (port, asked) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let key = key.replace(':', "%3A");
        Cache::from_uri(&format!("es://127.0.0.1:{port}?api_key={key}")).unwrap();
        assert!(asked.recv().unwrap().contains(header));
    }
}

/// Starts a server with the same response to every request. Returns its port and the requests.
fn answering(answer: &'static str) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, asked) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 4_096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                let _ = sender.send(String::from_utf8_lossy(&buffer[..read]).into_owned());
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (port, asked)
}

fn credentials_are_never_shown(server: &Server) {
    let (_, login, place) = server.parts();
    let uri = server.indices.uri("");
    let without = uri.replace(&format!("{login}@"), "");
    for uri in [
        uri.replace(&login, "elastic:secret"),
        uri.replace(&login, "nobody:secret"),
        without.clone(),
        format!("{without}&api_key=c2VjcmV0OnNlY3JldA=="),
        format!("{without}&api_key=secret:secret"),
    ] {
        let error = refused(&uri);
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Unavailable, false),
            "{error}"
        );
        assert!(error.to_string().contains("refused the login"), "{error}");
        assert!(!error.to_string().contains(&place));
    }
}

fn certificates_are_checked(server: &Server) {
    let (_, _, place) = server.parts();
    let unknown = server.indices.base.clone();
    let plain = server.indices.base.replace("es+https", "es");
    for uri in [unknown, plain] {
        let error = refused(&uri);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let error = refused(&server.indices.base);
    assert!(error.to_string().contains("certificate"), "{error}");
    // The name differs from that of the certificate.
    let uri =
        server.indices.uri("").replace(&place, &place.replace("127.0.0.1", "[::ffff:127.0.0.1]"));
    assert!(refused(&uri).to_string().contains("certificate"));
}

/// A proxy for a cache's requests that counts them and can be cut.
pub struct Proxy {
    pub uri: String,
    pub requests: AtomicUsize,
    /// The number of batches to forward; the next one cuts all connections permanently.
    pub batches: AtomicUsize,
    place: String,
}

impl Proxy {
    pub fn open(server: &Server) -> Arc<Self> {
        let (_, _, place) = server.parts();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let uri = server.indices.uri("timeout=30s").replace(&place, &here);
        let (requests, batches) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let proxy = Arc::new(Self { uri, requests, batches, place });
        let serving = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, proxy) = (client.unwrap(), serving.clone());
                if proxy.batches.load(Ordering::Relaxed) > 0 {
                    thread::spawn(move || proxy.serve(client));
                }
            }
        });
        proxy
    }

    fn serve(&self, mut client: TcpStream) {
        let mut upstream = TcpStream::connect(&self.place).unwrap();
        let (mut down, mut up) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut up, &mut down));
        let mut buffer = [0; 65_536];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
            self.requests.fetch_add(text.matches(" HTTP/1.1\r\n").count(), Ordering::Relaxed);
            if text.contains("POST /_bulk") && self.is_cut() {
                break;
            }
            upstream.write_all(&buffer[..read]).unwrap();
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = upstream.shutdown(Shutdown::Both);
    }

    /// Counts a batch and returns whether the proxy is now cut.
    fn is_cut(&self) -> bool {
        let left = |left: usize| left.checked_sub(1);
        self.batches.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err()
    }
}
