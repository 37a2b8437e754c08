//! Malformed replies: endless ones, and such with huge lengths.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use hilcat::{Cache, ErrorKind};

use crate::Test;
use crate::support::{SECOND, Server};

pub(crate) const TESTS: &[Test] = &[
    ("replies_are_bounded", replies_are_bounded),
    ("malformed_replies_are_errors", malformed_replies_are_errors),
];

/// Starts a server that replies PONG to PING, and to other commands `head` and then endlessly
/// `tail`. Returns its URI.
fn hostile(head: &'static str, tail: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut asked = [0; 4_096];
                loop {
                    let count = client.read(&mut asked)?;
                    if count == 0 {
                        return Ok::<(), std::io::Error>(());
                    }
                    if asked[..count].windows(4).any(|word| word == b"PING") {
                        client.write_all(b"+PONG\r\n")?;
                        continue;
                    }
                    client.write_all(head.as_bytes())?;
                    let piece = tail.repeat(10_000);
                    while !piece.is_empty() {
                        client.write_all(piece.as_bytes())?;
                    }
                }
            });
        }
    });
    format!("redis://{place}?layout=plain&timeout=10s")
}

fn replies_are_bounded(_: &Server) {
    for (head, tail) in [
        ("$9999999999\r\n", "x"),
        ("$2147483647\r\n", ""),
        ("*9223372036854775807\r\n", ""),
        ("*2000000000\r\n", ":1\r\n"),
        ("*400000\r\n", "$0\r\n\r\n"),
        ("%2000000000\r\n", ":1\r\n"),
        ("+", "x"),
        ("-ERR ", "x"),
    ] {
        let cache = Cache::from_uri(&format!("{}&max_response=4mb", hostile(head, tail))).unwrap();
        let start = Instant::now();
        let error = cache.map::<String, String>("m").unwrap().fetch("x").unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Unsupported, false),
            "{error}"
        );
        assert!(error.to_string().contains("max_response"), "{head:?}: {error}");
        assert!(start.elapsed() < SECOND * 9, "{head:?}: {:?}", start.elapsed());
    }
}

fn malformed_replies_are_errors(_: &Server) {
    for (head, tail) in
        [("?", "\r\n"), ("", "*1\r\n"), ("$-7\r\n", ""), ("$1\r\n", "xyz"), (":x\r\n", "")]
    {
        let cache = Cache::from_uri(&hostile(head, tail)).unwrap();
        let error = cache.map::<String, String>("m").unwrap().fetch("x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{head:?}: {error}");
    }
}
