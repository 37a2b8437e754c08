//! The addresses of a host, looked up within a deadline.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;

use super::Deadline;

/// The addresses of a host. The system's look-up has no deadline: it runs on a thread of its own,
/// which ends when the system gives up.
pub(super) fn resolve(host: &str, port: u16, deadline: Deadline) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let too_late = || {
        let message = "the address of the host was not found in time";
        io::Error::new(io::ErrorKind::TimedOut, message)
    };
    let left = deadline.remaining().map_err(|_| too_late())?;
    let (answer, answered) = mpsc::sync_channel(1);
    let host = host.to_owned();
    let look_up = move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        // The caller may have given up.
        let _ = answer.send(addresses.map(Iterator::collect));
    };
    thread::Builder::new().name("hilcat-resolve".to_owned()).spawn(look_up)?;
    answered.recv_timeout(left).unwrap_or_else(|_| Err(too_late()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn addresses_are_found_or_given_up() {
        let soon = Deadline::after(Duration::from_secs(10));
        assert_eq!(resolve("::1", 7, soon).unwrap(), ["[::1]:7".parse().unwrap()]);
        assert!(!resolve("localhost", 7, soon).unwrap().is_empty());
        let error = resolve("localhost", 7, Deadline::after(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
