use chrono::{DateTime, Utc};
use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    at: DateTime<Utc>,
}

fn main() {}
