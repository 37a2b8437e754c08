//! The addresses of a host, asked for in no more time than there is.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The addresses of a host. The system's own look-up knows no deadline: it is left to a thread,
/// which ends when the system gives up.
pub(super) fn resolve(host: &str, port: u16, left: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let too_late = || {
        let message = "the address of the host was not found in time";
        io::Error::new(io::ErrorKind::TimedOut, message)
    };
    if left.is_zero() {
        return Err(too_late());
    }
    let (answer, answered) = mpsc::sync_channel(1);
    let host = host.to_owned();
    let look_up = move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        // Nobody may be waiting any more.
        let _ = answer.send(addresses.map(Iterator::collect));
    };
    thread::Builder::new().name("hilcat-resolve".to_owned()).spawn(look_up)?;
    answered.recv_timeout(left).unwrap_or_else(|_| Err(too_late()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn addresses_are_found_or_given_up() {
        let second = Duration::from_secs(1);
        assert_eq!(resolve("::1", 7, second).unwrap(), ["[::1]:7".parse().unwrap()]);
        assert!(!resolve("localhost", 7, second * 10).unwrap().is_empty());
        let error = resolve("localhost", 7, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
