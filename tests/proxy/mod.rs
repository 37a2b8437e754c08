//! A TCP proxy in front of a real server, which delays data or closes connections.

#![allow(dead_code, reason = "each suite uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What the proxy does with the data that it forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Forwards this many bytes a second in each direction.
    Throttle(usize),
    /// Forwards the server's answers byte by byte, with this pause after each.
    Drip(Duration),
    /// Delays each piece of an answer.
    Delay(Duration),
    /// Closes connections that were idle for this time.
    CloseIdle(Duration),
    /// Does not forward the server's answers.
    Silent,
    /// Closes the connection instead of forwarding its next answer, once.
    CutOnce,
}

struct State {
    mode: Mutex<Mode>,
    target: Mutex<String>,
    accepted: AtomicUsize,
    stopped: AtomicBool,
}

impl State {
    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// A proxy on its own port; dropping it closes its connections.
pub struct Proxy {
    state: Arc<State>,
    address: String,
}

impl Proxy {
    /// Starts a proxy in front of a server, given as `host:port`. It forwards everything at first.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            mode: Mutex::new(Mode::Pass),
            target: Mutex::new(target.to_owned()),
            accepted: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.stopped() {
                    break;
                }
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let target = shared.target.lock().unwrap().clone();
                if let Ok(server) = TcpStream::connect(target) {
                    relay(client, server, &shared);
                }
            }
        });
        Self { state, address }
    }

    /// Starts a proxy in front of the server of a URI. Returns it and the URI through it.
    pub fn before(uri: &str) -> (Self, String) {
        let rest = uri.split_once("//").unwrap().1;
        let authority = rest.split(['/', '?']).next().unwrap();
        let place = authority.rsplit('@').next().unwrap();
        let proxy = Self::to(place);
        let uri = uri.replacen(place, &proxy.address, 1);
        (proxy, uri)
    }

    /// Returns its `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn set(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
    }

    /// Forwards new connections to another server.
    pub fn switch(&self, target: &str) {
        *self.state.target.lock().unwrap() = target.to_owned();
    }

    /// Returns the number of accepted connections.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        drop(TcpStream::connect(&self.address));
    }
}

fn relay(client: TcpStream, server: TcpStream, state: &Arc<State>) {
    let used = Arc::new(Mutex::new(Instant::now()));
    for (from, to, answers) in [(&client, &server, false), (&server, &client, true)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let (state, used) = (state.clone(), used.clone());
        thread::spawn(move || pump(from, to, answers, &state, &used));
    }
}

/// Forwards data in one direction until either end closes.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    answers: bool,
    state: &State,
    used: &Mutex<Instant>,
) {
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let _ = from.set_read_timeout(Some(Duration::from_millis(20)));
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                *used.lock().unwrap() = Instant::now();
                if pass(&buffer[..read], &mut to, answers, state).is_err() {
                    break;
                }
                *used.lock().unwrap() = Instant::now();
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let idle = used.lock().unwrap().elapsed();
                if matches!(state.mode(), Mode::CloseIdle(limit) if idle > limit) || state.stopped()
                {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn pass(bytes: &[u8], to: &mut TcpStream, answers: bool, state: &State) -> std::io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, pause) = match state.mode() {
            Mode::CutOnce if answers => {
                *state.mode.lock().unwrap() = Mode::Pass;
                return Err(ErrorKind::ConnectionReset.into());
            }
            _ if state.stopped() => return Err(ErrorKind::BrokenPipe.into()),
            Mode::Throttle(rate) => ((rate / 50).max(1), Duration::from_millis(20)),
            Mode::Drip(pause) if answers => (1, pause),
            Mode::Silent if answers => (0, Duration::from_millis(20)),
            Mode::Delay(pause) if answers => (rest.len(), pause),
            _ => (rest.len(), Duration::ZERO),
        };
        thread::sleep(pause);
        let (now, later) = rest.split_at(piece.min(rest.len()));
        to.write_all(now)?;
        rest = later;
    }
    Ok(())
}
