//! Malformed and hostile servers cause errors in time, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::catch_unwind;
use std::thread;
use std::time::{Duration, Instant};

use hilcat::Cache;
use libtest_mimic::{Completion, Failed};

use crate::server::{Case, PASSED, Server, cases};

pub const CASES: &[Case] = cases![
    malformed_packets_are_errors,
    mutated_sessions_are_errors,
    the_password_is_not_encrypted_with_an_untrusted_key,
];

const SECOND: Duration = Duration::from_secs(1);

/// A packet with its header.
fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(sequence);
    packet.extend_from_slice(payload);
    packet
}

fn greeting(plugin: &str) -> Vec<u8> {
    let mut greeting = b"\x0a8.0.31\0\x01\0\0\0abcdefgh\0".to_vec();
    // All capabilities except TLS.
    greeting.extend_from_slice(&[0xff, 0xf7, 45, 2, 0, 0xff, 0x00, 21]);
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(b"ijklmnopqrst\0");
    greeting.extend_from_slice(plugin.as_bytes());
    greeting.push(0);
    greeting
}

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];

/// The definition of a text column.
fn column() -> Vec<u8> {
    b"\x03def\0\0\0\x01c\0\x0c\x2d\0\0\0\0\0\xfd\0\0\0\0\0".to_vec()
}

/// The result of the first query of a connection: the server's version and limits.
fn traits() -> Vec<Vec<u8>> {
    let mut packets = vec![vec![3]];
    packets.extend([column(), column(), column()]);
    packets.push(EOF.to_vec());
    packets.push(b"\x068.0.31\x0867108864\x010".to_vec());
    packets.push(EOF.to_vec());
    packets
}

/// Starts a scripted server, which sends one answer per request and then closes the connection.
fn serve(script: Vec<Vec<Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten().take(8) {
            let _ = answer(stream, &script);
        }
    });
    format!("mysql://u:secret@{address}/d?timeout=1s")
}

fn answer(mut stream: TcpStream, script: &[Vec<Vec<u8>>]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SECOND))?;
    for (at, packets) in script.iter().enumerate() {
        if at > 0 {
            stream.read_exact(&mut [0; 5])?;
            thread::sleep(Duration::from_millis(2));
            stream.set_nonblocking(true)?;
            let _ = stream.read(&mut [0; 1 << 16]);
            stream.set_nonblocking(false)?;
        }
        // The greeting is the first packet of its exchange, an answer is the second one.
        let sent: Vec<u8> = (u8::from(at > 0)..)
            .zip(packets)
            .flat_map(|(at, payload)| packet(at, payload))
            .collect();
        stream.write_all(&sent)?;
    }
    Ok(())
}

/// Returns the script of a session until the result of the first query.
fn session() -> Vec<Vec<Vec<u8>>> {
    vec![vec![greeting("mysql_native_password")], vec![OK.to_vec()], traits(), vec![OK.to_vec()]]
}

/// Checks that opening a cache fails in time and without a panic.
fn fails(uri: &str, what: &str) {
    let start = Instant::now();
    let result = catch_unwind(|| {
        let cache = Cache::from_uri(uri)?;
        cache.scopes().map(drop)
    });
    let result = result.unwrap_or_else(|_| panic!("{what}: a panic"));
    let error = result.expect_err(what);
    assert!(!format!("{error} {error:?}").contains("secret"), "{what}: {error:?}");
    assert!(start.elapsed() < SECOND * 4, "{what} took {:?}", start.elapsed());
}

fn malformed_packets_are_errors(_: &Server) -> Result<Completion, Failed> {
    let first = |payload: Vec<u8>| vec![vec![payload]];
    let instead = |at: usize, packets: Vec<Vec<u8>>| {
        let mut script = session();
        script[at] = packets;
        script
    };
    let mut bad_version = greeting("mysql_native_password");
    bad_version.splice(1..7, b"\xff\xfe..x".iter().copied());
    let absurd = vec![0xfe, 255, 255, 255, 255, 255, 255, 255, 127];
    for (what, script) in [
        ("an empty packet", first(Vec::new())),
        ("a bad version", first(bad_version)),
        ("another protocol", first(b"\x09".to_vec())),
        ("an error at once", first(b"\xff\x10\x04Too many connections".to_vec())),
        ("half an error", first(b"\xff\x10".to_vec())),
        ("an empty answer to the login", instead(1, vec![Vec::new()])),
        ("a login without an end", instead(1, vec![vec![1, 3]; 100])),
        ("an unknown plugin", instead(1, vec![b"\xfeevil\0abc\0".to_vec()])),
        ("absurdly many columns", instead(2, vec![absurd])),
        ("many columns", instead(2, vec![vec![0xfd, 255, 255, 255]])),
        ("a file of this machine", instead(2, vec![b"\xfb/etc/passwd".to_vec()])),
        ("a cut OK", instead(2, vec![vec![0]])),
        ("a cut column", instead(2, vec![vec![1], vec![3, b'd'], EOF.to_vec()])),
        ("no end of the columns", instead(2, vec![vec![1], column(), column()])),
        ("a type that no result has", {
            let mut script = session();
            let mut typed = column();
            let at = typed.len() - 6;
            // A timestamp in the storage format.
            typed[at] = 17;
            script.push(vec![
                vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                typed.clone(),
                EOF.to_vec(),
            ]);
            script.push(vec![vec![1], typed, EOF.to_vec(), vec![0, 0, 1, b'x'], EOF.to_vec()]);
            script
        }),
        ("more changed rows than can be counted", {
            let mut script = session();
            // The maximum number of rows, and the flag for a further result.
            let most = [&[0, 0xfe][..], &[0xff; 8], &[0, 0x0a, 0, 0, 0]].concat();
            script.push(vec![vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]);
            script.push(vec![most.clone(), most, Vec::new()]);
            script
        }),
        ("an empty row", instead(2, vec![vec![1], column(), EOF.to_vec(), Vec::new()])),
    ] {
        fails(&serve(script), what);
    }
    PASSED
}

/// Sessions with changed bytes, from a deterministic generator.
fn mutated_sessions_are_errors(_: &Server) -> Result<Completion, Failed> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..300 {
        let mut script = session();
        for _ in 0..=random(3) {
            let exchange = random(script.len());
            let packet = random(script[exchange].len());
            let payload = &mut script[exchange][packet];
            match random(3) {
                0 if !payload.is_empty() => payload.truncate(random(payload.len())),
                1 => payload.push(random(256) as u8),
                _ if payload.is_empty() => {}
                _ => {
                    let at = random(payload.len());
                    payload[at] = random(256) as u8;
                }
            }
        }
        let uri = serve(script).replace("timeout=1s", "timeout=200ms");
        // The opening fails at the end of the script at the latest.
        fails(&uri, &format!("round {round}"));
    }
    PASSED
}

/// The server supplies its own public key and requests the password, over a connection without TLS.
fn the_password_is_not_encrypted_with_an_untrusted_key(_: &Server) -> Result<Completion, Failed> {
    // On a loopback address any key is accepted, so another address is needed.
    let Some(address) = own_address() else {
        return Ok(Completion::ignored_with("this machine has a loopback address alone"));
    };
    let listener = TcpListener::bind((address, 0)).unwrap();
    let place = listener.local_addr().unwrap();
    let received = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SECOND * 2)).unwrap();
        stream.write_all(&packet(0, &greeting("caching_sha2_password"))).unwrap();
        let mut login = [0; 512];
        let _ = stream.read(&mut login);
        stream.write_all(&packet(2, &[1, 4])).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        rest
    });
    let error = Cache::from_uri(&format!("mysql://u:secret@{place}/d?timeout=1s")).unwrap_err();
    assert!(error.to_string().contains("allow_public_key_retrieval"), "{error}");
    assert!(!error.is_retryable() && !error.to_string().contains("secret"), "{error}");
    assert_eq!(received.join().unwrap(), b"");
    PASSED
}

/// Returns an address of this machine that is not a loopback address.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Connecting a UDP socket sends nothing.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}
