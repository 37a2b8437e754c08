//! Round trips, counted by a proxy in front of the server.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hilcat::{Cache, Column, ColumnType, Schema};

use crate::harness::Outcome;
use crate::report::{Goal, Line};

/// The number of opened scopes.
const SCOPES: usize = 100;

pub fn run(server: &str, uri: &str, print: &mut dyn FnMut(Line)) -> Outcome {
    let (count, uri) = proxied(uri)?;
    let open = || -> Outcome<(Cache, usize)> {
        let cache = Cache::from_uri(&uri)?;
        let before = count.load(Ordering::SeqCst);
        (0..SCOPES).try_for_each(|at| cache.dynamic_with(scope(at)).map(drop))?;
        Ok((cache, count.load(Ordering::SeqCst) - before))
    };
    let (_, fresh) = open()?;
    if fresh < SCOPES {
        return Err("the round trips of making tables were not counted".into());
    }
    let (_, trips) = open()?;
    let work = format!("{server}: open {SCOPES} unchanged scopes");
    print(Line {
        work,
        against: "the goal: 2 in all".to_owned(),
        ours: trips as f64,
        theirs: 2.0,
        ratio: trips as f64 / 2.0,
        spread: None,
        unit: "round trips",
        goal: Goal::AtMost(1.0),
    });
    Ok(())
}

fn scope(at: usize) -> Schema {
    Schema::new(format!("hilcat_bench_{at}"))
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("value", ColumnType::Text).nullable(true))
}

/// Starts a proxy. Returns the counter of its round trips and the URI through it.
fn proxied(uri: &str) -> Outcome<(Arc<AtomicUsize>, String)> {
    let place = uri.split(['/', '@', '?']).find(|part| part.starts_with("127.0.0.1:"));
    let place = place.ok_or("the server is not on 127.0.0.1 with a port")?.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let uri = uri.replace(&place, &listener.local_addr()?.to_string());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.and_then(|client| relay(client, TcpStream::connect(&place)?, &counted));
        }
    });
    Ok((count, uri))
}

fn relay(client: TcpStream, server: TcpStream, count: &Arc<AtomicUsize>) -> io::Result<()> {
    // Data that is sent after an answer begins a round trip.
    let answered = Arc::new(AtomicUsize::new(1));
    let (count, asked) = (count.clone(), answered.clone());
    let (from_client, to_client) = (client.try_clone()?, client);
    let (from_server, to_server) = (server.try_clone()?, server);
    thread::spawn(move || {
        copy(from_client, to_server, || {
            count.fetch_add(asked.swap(0, Ordering::SeqCst), Ordering::SeqCst);
        });
    });
    thread::spawn(move || copy(from_server, to_client, || answered.store(1, Ordering::SeqCst)));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, seen: impl Fn()) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        seen();
        if to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
}
