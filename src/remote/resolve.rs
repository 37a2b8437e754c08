//! Name lookup with a deadline.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;

use super::Deadline;

/// Returns the addresses of a host.
///
/// The system's lookup has no timeout. It runs on a separate thread, which outlives the call if the
/// deadline passes first and ends when the system gives up.
pub(super) fn resolve(host: &str, port: u16, deadline: Deadline) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let too_late = || {
        let message = "the name lookup of the host did not finish before the deadline";
        io::Error::new(io::ErrorKind::TimedOut, message)
    };
    let left = deadline.remaining().map_err(|_| too_late())?;
    let (answer, answered) = mpsc::sync_channel(1);
    let host = host.to_owned();
    let lookup = move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        // The receiver is gone if the caller's deadline has passed.
        let _ = answer.send(addresses.map(Iterator::collect));
    };
    thread::Builder::new().name("hilcat-resolve".to_owned()).spawn(lookup)?;
    answered.recv_timeout(left).unwrap_or_else(|_| Err(too_late()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn lookup_ends_by_the_deadline() {
        let soon = Deadline::after(Duration::from_secs(10));
        assert_eq!(resolve("::1", 7, soon).unwrap(), ["[::1]:7".parse().unwrap()]);
        assert!(!resolve("localhost", 7, soon).unwrap().is_empty());
        let error = resolve("localhost", 7, Deadline::after(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
