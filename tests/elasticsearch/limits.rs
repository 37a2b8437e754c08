//! Indices that refuse writes, that are not ready yet, or whose name is an alias of several.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use elasticsearch::http::Method;
use hilcat::{Cache, DynScope, Error, ErrorKind, Schema};
use serde_json::json;

use crate::Test;
use crate::support::{SECOND, Server, int, scope, text};

pub const TESTS: &[Test] = &[
    ("write_blocks_are_reported_at_once", write_blocks_are_reported_at_once),
    ("new_indices_are_waited_for", new_indices_are_waited_for),
    ("responses_are_bounded", responses_are_bounded),
    ("redirects_are_not_followed", redirects_are_not_followed),
    ("proxy_timeouts_lose_no_records", proxy_timeouts_lose_no_records),
    ("aliases_of_several_indices_are_reported", aliases_of_several_indices_are_reported),
];

fn writes(a: &DynScope) -> [Error; 4] {
    [
        a.set("x", json!({"n": 2})).unwrap_err(),
        a.update("x", json!({"n": 2})).unwrap_err(),
        a.set_many([("x", json!({"n": 2})), ("y", json!({"n": 2}))]).unwrap_err(),
        a.set("z", json!({"n": 2})).unwrap_err(),
    ]
}

fn write_blocks_are_reported_at_once(server: &Server) {
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    for (block, reason) in [("read_only_allow_delete", "disk"), ("write", "index write")] {
        let settings = format!("{}/_settings", server.name("a"));
        let setting = format!("index.blocks.{block}");
        server.put(&settings, json!({&setting: true}));
        let start = Instant::now();
        let errors = writes(&a);
        assert!(start.elapsed() < SECOND * 10, "{:?}", start.elapsed());
        for error in errors {
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (ErrorKind::Backend, false),
                "{error}"
            );
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
        server.put(&settings, json!({&setting: null}));
        assert_eq!(a.len().unwrap(), 1);
    }
    a.set("x", json!({"n": 2})).unwrap();
}

/// Many handles open a scope at once, and one creates the index: no call of the others fails.
fn new_indices_are_waited_for(server: &Server) {
    for round in 0..20 {
        let schema = Schema::new(format!("r{round}")).unique(text("id")).column(int("n"));
        let (uri, schema) = (&server.indices.uri("timeout=60s"), &schema);
        let work = |n: usize| {
            move || {
                let a = Cache::from_uri(uri).unwrap().dynamic_with(schema.clone()).unwrap();
                let (key, value) = (format!("k{n}"), json!({"id": format!("k{n}"), "n": n}));
                match n % 4 {
                    0 => assert_eq!(a.fetch(&*key).unwrap(), None),
                    1 => assert_eq!(a.fetch_many([&*key]).unwrap(), [None]),
                    2 => assert!(a.keys().unwrap().all(|key| key.is_ok())),
                    _ => assert!(a.len().unwrap() < 16),
                }
                a.set(&*key, json!({"n": n})).unwrap();
                assert_eq!(a.fetch(&*key).unwrap(), Some(value));
            }
        };
        thread::scope(|threads| {
            let workers: Vec<_> = (0..16).map(|n| threads.spawn(work(n))).collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
        let a = server.cache().dynamic_with(schema.clone()).unwrap();
        assert_eq!(a.len().unwrap(), 16);
    }
}

fn aliases_of_several_indices_are_reported(server: &Server) {
    let reported = |error: Error| {
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Unsupported, false),
            "{error}"
        );
        let names = ["a", "two"].map(|name| format!("{}{name}", server.indices.prefix));
        assert!(names.iter().all(|name| error.to_string().contains(name)), "{error}");
        assert!(error.to_string().contains("an alias of 2 indices"), "{error}");
    };
    let add = |index: &str, alias: &str| {
        server.ask(
            Method::Put,
            &format!("{}/_alias/{}", server.name(index), server.name(alias)),
            None,
        );
    };
    // With hilcat's own indices, and with those of others.
    let a = server.cache().dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    let theirs = server.name("two");
    server.put(&format!("{theirs}/_doc/x?refresh=true"), json!({"id": "x", "n": 2}));
    add("two", "a");
    reported(server.cache().dynamic_with(scope([int("n")])).unwrap_err());
    let all = || {
        [
            a.fetch("x").unwrap_err(),
            a.fetch_many(["x"]).unwrap_err(),
            a.set("x", json!({"n": 3})).unwrap_err(),
            a.update("x", json!({"n": 3})).unwrap_err(),
            a.set_many([("x", json!({"n": 3}))]).unwrap_err(),
            a.pop("x").unwrap_err(),
            a.pop_many(["x"]).unwrap_err(),
            a.keys().err().unwrap(),
            a.iter().err().unwrap(),
            a.len().unwrap_err(),
            a.clear().unwrap_err(),
        ]
    };
    all().into_iter().for_each(reported);
    server.ask(Method::Delete, &format!("{theirs}/_alias/{}", server.name("a")), None);
    assert_eq!(a.fetch("x").unwrap(), Some(json!({"id": "x", "n": 1})));
    server.put(&format!("{}/_doc/x?refresh=true", server.name("a-foreign")), json!({"n": 2}));
    add("two", "theirs");
    add("a-foreign", "theirs");
    let foreign = Schema::new("theirs").unique(text("id").key_only()).column(int("n"));
    reported(server.cache().dynamic_with(foreign.clone()).unwrap_err());
    server.ask(Method::Delete, &format!("{theirs}/_alias/{}", server.name("theirs")), None);
    let b = server.cache().dynamic_with(foreign).unwrap();
    add("two", "theirs");
    [
        b.fetch("x").unwrap_err(),
        b.set("x", json!({"n": 3})).unwrap_err(),
        b.keys().err().unwrap(),
        b.len().unwrap_err(),
        b.pop("x").unwrap_err(),
    ]
    .into_iter()
    .for_each(reported);
}

/// Starts a server that responds to every request with `head` and then endlessly `tail`. Returns
/// its address.
fn answering(head: String, tail: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (head, tail) = (head.clone(), tail.clone());
            thread::spawn(move || answer(client, &head, &tail));
        }
    });
    place
}

fn answer(mut client: TcpStream, head: &str, tail: &str) -> std::io::Result<()> {
    let mut asked = [0; 4_096];
    while client.read(&mut asked)? > 0 {
        client.write_all(head.as_bytes())?;
        while !tail.is_empty() {
            client.write_all(tail.as_bytes())?;
        }
    }
    Ok(())
}

fn responses_are_bounded(_: &Server) {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let piece = "x".repeat(0x4000);
    for (head, tail) in [
        ("content-length: 9999999999\r\n\r\n", String::new()),
        ("\r\n{\"a\":\"", piece.clone()),
        ("transfer-encoding: chunked\r\n\r\n", format!("4000\r\n{piece}\r\n")),
    ] {
        let place = answering(format!("{json}{head}"), tail);
        let start = Instant::now();
        let uri = format!("es://{place}?max_response=4mb&timeout=20s");
        let error = Cache::from_uri(&uri).unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Unsupported, false),
            "{error}"
        );
        assert!(error.to_string().contains("max_response"), "{error}");
        assert!(start.elapsed() < SECOND * 15, "{:?}", start.elapsed());
    }
}

/// The credentials are sent to the configured host only.
fn redirects_are_not_followed(_: &Server) {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/", other.local_addr().unwrap());
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let head =
            format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let uri = format!("es://me:secret@{}?timeout=5s", answering(head, String::new()));
        let error = Cache::from_uri(&uri).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "no request was sent to the target of the redirect");
}

/// Starts a proxy that forwards every request, but drops the server's response to the request that
/// changes aliases. Returns its address.
fn dropping_proxy(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (place, server) = (listener.local_addr().unwrap().to_string(), server.to_owned());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = server.clone();
            thread::spawn(move || forward(client, &server));
        }
    });
    place
}

fn forward(client: TcpStream, server: &str) -> std::io::Result<()> {
    let (mut to_client, mut to_server) = (client.try_clone()?, TcpStream::connect(server)?);
    let mut from_client = BufReader::new(client);
    let mut from_server = BufReader::new(to_server.try_clone()?);
    loop {
        let request = message(&mut from_client)?;
        to_server.write_all(&request)?;
        let answer = message(&mut from_server)?;
        match request.starts_with(b"POST /_aliases") {
            true => to_client
                .write_all(b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 4\r\n\r\nlate")?,
            false => to_client.write_all(&answer)?,
        }
    }
}

/// Reads an HTTP message, whose length is given by its head or by chunks.
fn message(from: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let (mut message, mut length, mut chunked) = (Vec::new(), 0, false);
    loop {
        let line = line(from, &mut message)?.to_lowercase();
        chunked |= line == "transfer-encoding: chunked";
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    while chunked {
        let size = usize::from_str_radix(&line(from, &mut message)?, 16).unwrap();
        chunked = size > 0;
        bytes(from, &mut message, size + 2)?;
    }
    bytes(from, &mut message, length)?;
    Ok(message)
}

fn line(from: &mut impl BufRead, message: &mut Vec<u8>) -> std::io::Result<String> {
    let start = message.len();
    match from.read_until(b'\n', message)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(String::from_utf8_lossy(&message[start..]).trim_end().to_owned()),
    }
}

fn bytes(from: &mut impl Read, message: &mut Vec<u8>, count: usize) -> std::io::Result<()> {
    let start = message.len();
    message.resize(start + count, 0);
    from.read_exact(&mut message[start..])
}

fn proxy_timeouts_lose_no_records(server: &Server) {
    let (_, _, place) = server.parts();
    let place = place.split(['?', '/']).next().unwrap().to_owned();
    let uri = server.indices.uri("timeout=30s").replace(&place, &dropping_proxy(&place));
    let staged = Cache::staged(Cache::memory(), Cache::from_uri(&uri).unwrap());
    let a = staged.dynamic_with(scope([int("n")])).unwrap();
    a.set("x", json!({"n": 1})).unwrap();
    let error = staged.backup(None).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.to_string().contains("is not known"), "{error}");
    let stored = server.cache().dynamic_with(scope([int("n")])).unwrap().fetch("x").unwrap();
    assert_eq!(stored, Some(json!({"id": "x", "n": 1})));
}
