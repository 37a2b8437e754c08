//! Servers that are stopped, die and restart.

use std::time::Duration;

use hilcat::{Cache, DynScope};

use crate::Test;
use crate::load::{self, DEADLINE, FAULTS, Fault, survives};
use crate::stopped;
use crate::support::{Server, int, null, scope, services, text};

pub(crate) const TESTS: &[Test] = &[
    ("every_call_ends_while_the_server_is_stopped", every_call_ends_while_the_server_is_stopped),
    ("idempotent_calls_survive_a_restart", idempotent_calls_survive_a_restart),
    ("no_write_is_lost_when_the_server_is_killed", |server| {
        no_acknowledged_write_is_lost(server, FAULTS[0])
    }),
    ("no_write_is_lost_when_the_server_is_stopped", |server| {
        no_acknowledged_write_is_lost(server, FAULTS[1])
    }),
    ("no_write_is_lost_when_the_server_is_restarted", |server| {
        no_acknowledged_write_is_lost(server, FAULTS[2])
    }),
];

const TIMEOUT: Duration = Duration::from_secs(2);

fn open(server: &Server) -> DynScope {
    // Created by a cache with a longer timeout.
    server.cache().dynamic_with(scope([int("n")])).unwrap();
    let cache = Cache::from_uri(&server.with("timeout=2s&pool_size=4")).unwrap();
    cache.dynamic_with(scope([int("n")])).unwrap()
}

fn every_call_ends_while_the_server_is_stopped(server: &Server) {
    stopped::every_call_ends(|| open(server), TIMEOUT, |command| services(command, server.engine));
}

fn idempotent_calls_survive_a_restart(server: &Server) {
    stopped::idempotent_calls_survive_a_restart(&open(server), |command| {
        services(command, server.engine)
    });
}

fn no_acknowledged_write_is_lost(server: &Server, fault_injection: Fault) {
    let schema = || scope([null(text("v"))]);
    let reader = server.cache().dynamic_with(schema()).unwrap();
    let options = format!("timeout={}ms&pool_size=8", DEADLINE.as_millis());
    let writers = Cache::from_uri(&server.with(&options)).unwrap().dynamic_with(schema()).unwrap();
    print!("{} {}: ", server.engine, fault_injection.0);
    survives(&writers, &reader, || {
        load::fault_injection(fault_injection, |command| services(command, server.engine))
    });
}
