//! Round trips of calls, counted by a proxy.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hilcat::{Cache, Column, ColumnType};
use serde_json::json;

use crate::Test;
use crate::support::{Server, int, null, scope, text};

pub(crate) const TESTS: &[Test] = &[
    ("every_call_is_one_round_trip", every_call_is_one_round_trip),
    ("a_batch_is_one_round_trip", a_batch_is_one_round_trip),
    ("an_unchanged_scope_costs_nothing_to_open", an_unchanged_scope_costs_nothing_to_open),
];

/// A proxy that counts how often the client sends data after an answer.
struct Proxy {
    port: u16,
    trips: Arc<AtomicUsize>,
}

impl Proxy {
    fn before(place: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, place) = (listener.local_addr().unwrap().port(), place.to_owned());
        let trips = Arc::new(AtomicUsize::new(0));
        let counted = trips.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&place).unwrap());
                relay(client, server, counted.clone());
            }
        });
        Self { port, trips }
    }

    /// Returns the result of a call and the number of its round trips.
    fn count<T>(&self, call: impl FnOnce() -> T) -> (T, usize) {
        self.trips.store(0, Ordering::SeqCst);
        let given = call();
        (given, self.trips.load(Ordering::SeqCst))
    }
}

fn relay(client: TcpStream, server: TcpStream, trips: Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(1));
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (mut from_server, mut to_client) = (server, client);
    let asked = answered.clone();
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        while let Ok(read @ 1..) = from_client.read(&mut bytes) {
            trips.fetch_add(asked.swap(0, Ordering::SeqCst), Ordering::SeqCst);
            to_server.write_all(&bytes[..read]).unwrap();
        }
    });
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        while let Ok(read @ 1..) = from_server.read(&mut bytes) {
            answered.store(1, Ordering::SeqCst);
            if to_client.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
    });
}

fn behind(server: &Server) -> (Proxy, Cache) {
    let (_, place, _) = server.parts();
    let proxy = Proxy::before(&place);
    let uri = server.uri().replace(&place, &format!("127.0.0.1:{}", proxy.port));
    let cache = Cache::from_uri(&uri).unwrap();
    (proxy, cache)
}

macro_rules! one_trip {
    ($proxy:expr, $($call:expr),* $(,)?) => {$({
        // The first call also prepares the statement.
        $call.unwrap();
        let (given, trips) = $proxy.count(|| $call);
        given.unwrap();
        assert_eq!(trips, 1, "{}", stringify!($call));
    })*};
}

fn every_call_is_one_round_trip(server: &Server) {
    let (proxy, cache) = behind(server);
    let a = cache.dynamic_with(scope([null(int("n")), null(text("t"))])).unwrap();
    let whole = || json!({"n": 1, "t": "x"});
    one_trip!(
        proxy,
        a.set("x", whole()),
        a.set("x", json!({"n": 2})),
        a.exists("x"),
        a.exists("none"),
        a.fetch("x"),
        a.fetch("none"),
        a.get("x", || panic!("the record is stored")),
        a.update("x", whole()),
        a.update("x", json!({"n": 3})),
        a.pop("x"),
        a.len(),
        a.clear(),
    );
    a.set("x", whole()).unwrap();
    let (popped, trips) = proxy.count(|| a.pop("x").unwrap());
    assert_eq!((popped.is_some(), trips), (true, 1));
    let schema = scope([Column::new("at", ColumnType::Timestamp)]).renamed("b").table("b");
    let b = cache.dynamic_with(schema).unwrap();
    let dated = || json!({"at": "2024-02-29T00:00:00Z"});
    b.set_many([("x", dated()), ("y", dated())]).unwrap();
    b.pop("x").unwrap();
    let (popped, trips) = proxy.count(|| b.pop("y").unwrap());
    assert_eq!((popped.is_some(), trips), (true, 1));
}

fn a_batch_is_one_round_trip(server: &Server) {
    let (proxy, cache) = behind(server);
    let a = cache.dynamic_with(scope([null(int("n"))])).unwrap();
    let keys: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
    let items = || keys.iter().map(|key| (key.as_str(), json!({"n": 1}))).collect::<Vec<_>>();
    one_trip!(
        proxy,
        a.set_many(items()),
        a.fetch_many(keys.iter().map(String::as_str)),
        a.pop_many(keys.iter().map(String::as_str)),
    );
}

fn an_unchanged_scope_costs_nothing_to_open(server: &Server) {
    let schemas: Vec<_> = (0..100)
        .map(|at| {
            let name = format!("s{at}");
            scope([int("n")]).renamed(&name).table(&name)
        })
        .collect();
    let cache = server.cache();
    schemas.iter().for_each(|schema| drop(cache.dynamic_with(schema.clone()).unwrap()));
    let (proxy, cache) = behind(server);
    let open =
        || schemas.iter().try_for_each(|schema| cache.dynamic_with(schema.clone()).map(drop));
    let (opened, trips) = proxy.count(open);
    opened.unwrap();
    // The statement of the registry is prepared and executed.
    assert!(trips <= 2, "{trips}");
}
