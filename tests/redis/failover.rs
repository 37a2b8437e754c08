//! Failover: a master dies, and a replica takes over.

use hilcat::{Cache, DynScope};
use serde_json::json;

use crate::Test;
use crate::outages::{missing, write_for};
use crate::support::{Other, SECOND, Server, numbers, part, services, until};

pub(crate) const CLUSTER: &[Test] = &[
    ("a_master_of_a_cluster_dies_under_load", a_master_of_a_cluster_dies_under_load),
    ("with_replicas_no_acknowledged_write_is_lost", with_replicas_no_acknowledged_write_is_lost),
    ("a_stopped_master_of_a_cluster_is_replaced", a_stopped_master_of_a_cluster_is_replaced),
];

pub(crate) const SENTINEL: &[Test] = &[
    ("a_watched_master_dies_under_load", a_watched_master_dies_under_load),
    ("a_stopped_watched_master_is_replaced", a_stopped_watched_master_is_replaced),
];

/// The maximum rate of acknowledged writes that may be lost, one in a thousand: Redis acknowledges
/// a write before its replica has it.
const LOST: usize = 1_000;

fn open(server: &Server, options: &str) -> DynScope {
    let uri = server.with(&format!("timeout=8s&pool_size=4{options}"));
    Cache::from_uri(&uri).unwrap().dynamic_with(numbers()).unwrap()
}

/// Returns the process that is a master of the cluster, or the master of the sentinels.
fn master(server: &Server) -> String {
    let port = match server.engine {
        "redis-cluster" => {
            let nodes: String = server.other().ask(&["CLUSTER", "NODES"]);
            let master = nodes.lines().find(|line| {
                line.contains("master") && !line.contains("fail") && !line.contains("myself")
            });
            let address = master.unwrap().split(' ').nth(1).unwrap().split('@').next().unwrap();
            address.rsplit(':').next().unwrap().to_owned()
        }
        _ => {
            let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];
            let address: Vec<String> = Other::at(server.address()).ask(&question);
            address[1].clone()
        }
    };
    format!("{}/{}", server.engine, part(server.engine, &port))
}

fn dies_under_load(server: &Server, options: &str) -> (usize, usize) {
    let a = open(server, options);
    let master = master(server);
    let (acknowledged, failed) = write_for(&a, SECOND * 8, SECOND * 8, || {
        services("kill", &master);
        // If writes wait for a replica, there must be one again.
        if !options.is_empty() {
            std::thread::sleep(SECOND * 4);
            services("start", server.engine);
        }
    });
    // The writes continued without the old master.
    assert!(acknowledged.len() > 500, "{}", acknowledged.len());
    until(SECOND * 10, || a.set("afterwards", json!({"n": 1})).is_ok());
    let lost = missing(&a, &acknowledged);
    let count = acknowledged.len();
    eprintln!("{master} killed: {count} acknowledged, of which {lost} lost; {failed} failed");
    services("start", server.engine);
    assert_eq!(missing(&a, &acknowledged), lost);
    a.clear().unwrap();
    (count, lost)
}

fn a_master_of_a_cluster_dies_under_load(server: &Server) {
    let (acknowledged, lost) = dies_under_load(server, "");
    assert!(lost <= acknowledged / LOST, "{lost} of {acknowledged}");
}

fn with_replicas_no_acknowledged_write_is_lost(server: &Server) {
    let (_, lost) = dies_under_load(server, "&replicas=1");
    assert_eq!(lost, 0);
}

fn a_watched_master_dies_under_load(server: &Server) {
    let (acknowledged, lost) = dies_under_load(server, "");
    assert!(lost <= acknowledged / LOST, "{lost} of {acknowledged}");
}

fn stopped(server: &Server) {
    let a = open(server, "");
    let keys: Vec<String> = (0..300).map(|n| format!("k{n}")).collect();
    a.set_many(keys.iter().map(|key| (key.as_str(), json!({"n": 1})))).unwrap();
    let short = Cache::from_uri(&server.with("timeout=1s")).unwrap();
    let short = short.dynamic_with(numbers()).unwrap();
    let master = master(server);
    services("pause", &master);
    // Calls end by their deadlines, and soon succeed on the replica.
    until(SECOND * 20, || {
        let start = std::time::Instant::now();
        let all = short.fetch_many(&keys).is_ok() && short.set("x", json!({"n": 1})).is_ok();
        assert!(start.elapsed() <= SECOND * 22 / 10, "{:?}", start.elapsed());
        all
    });
    assert_eq!(missing(&short, &keys), 0);
    assert_eq!(short.len().unwrap(), 301);
    services("resume", &master);
    services("start", server.engine);
    assert_eq!(missing(&a, &keys), 0);
    a.set_many(keys.iter().map(|key| (key.as_str(), json!({"n": 2})))).unwrap();
}

fn a_stopped_master_of_a_cluster_is_replaced(server: &Server) {
    stopped(server);
}

fn a_stopped_watched_master_is_replaced(server: &Server) {
    stopped(server);
}
