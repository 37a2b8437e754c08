//! Servers, and addresses at which a server becomes reachable later.

use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hilcat::{Cache, Column, ColumnType, Schema};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const ENGINES: [&str; 6] =
    ["postgresql15", "postgresql18", "mysql8", "mariadb", "redis", "elasticsearch8"];

/// A server that `scripts/services` started.
pub(crate) struct Server {
    pub(crate) engine: &'static str,
    uri: String,
}

impl Server {
    pub(crate) fn of(engine: &'static str) -> Result<Self, String> {
        let variable = format!("HILCAT_TEST_{}", engine.to_uppercase());
        let uri = std::env::var(&variable).map_err(|_| format!("{variable} is not set"))?;
        Ok(Self { engine, uri })
    }

    /// The URI with more options.
    pub(crate) fn with(&self, options: &str) -> String {
        with(&self.uri, options)
    }

    pub(crate) fn open(&self, options: &str) -> Cache {
        Cache::from_uri(&self.with(options)).unwrap()
    }

    /// Stops the server during a call, and resumes it afterwards.
    pub(crate) fn stopped<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        struct Resumed<'a>(&'a Server);
        impl Drop for Resumed<'_> {
            fn drop(&mut self) {
                self.0.services("resume");
            }
        }
        self.services("pause");
        let _resumed = Resumed(self);
        meanwhile()
    }

    fn services(&self, command: &str) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        let mut services = Command::new(script);
        // With these variables, the script would not consider the servers its own.
        for engine in ENGINES {
            services.env_remove(format!("HILCAT_TEST_{}", engine.to_uppercase()));
        }
        let output = services.args([command, self.engine]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn is_sql(&self) -> bool {
        !matches!(self.engine, "redis" | "elasticsearch8")
    }
}

fn with(uri: &str, options: &str) -> String {
    let sign = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{sign}{options}")
}

/// A port at which nothing listens until `open` is called.
pub(crate) struct LateServer {
    address: String,
    target: String,
    uri: String,
}

impl LateServer {
    pub(crate) fn of(server: &Server) -> Self {
        let rest = server.uri.split_once("//").unwrap().1;
        let target = rest.split(['/', '?']).next().unwrap().rsplit('@').next().unwrap().to_owned();
        let address = closed_port();
        let uri = server.uri.replacen(&target, &address, 1);
        Self { address, target, uri }
    }

    pub(crate) fn with(&self, options: &str) -> String {
        with(&self.uri, options)
    }

    /// Makes the server reachable.
    pub(crate) fn open(&self) {
        let listener = TcpListener::bind(&self.address).unwrap();
        let target = self.target.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&target).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || pump(from, to));
                }
            }
        });
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Returns an address at which nothing listens.
pub(crate) fn closed_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Returns a name that no other test uses.
pub(crate) fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("out{:016x}{count}", RandomState::new().hash_one(std::process::id()))
}

/// A key `id` of text and a number `n`.
pub(crate) fn schema(name: &str) -> Schema {
    Schema::new(name)
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("n", ColumnType::BigInt))
}

pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = call();
    (value, start.elapsed())
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Returns the time until a condition holds.
pub(crate) fn until(mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < 20 * SECOND, "the condition never held");
        thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}
