use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(stale_if_error = "1h", lease = "10s", max_records = 0, on_unavailable = "wait")]
struct NeedsExpiry {
    #[scope(unique)]
    id: i64,
}

#[derive(ScopeRecord)]
#[scope(ttl = "soon", jitter = "100%")]
struct Unreadable {
    #[scope(unique)]
    id: i64,
}

#[derive(ScopeRecord)]
#[scope(ttl = "1h")]
struct TwoSources {
    #[scope(unique)]
    id: i64,
    #[scope(expires_at)]
    until: std::time::SystemTime,
}

fn main() {}
