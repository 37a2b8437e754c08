use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(ttl = "1 hour")]
#[scope(migrate = "manuel")]
#[scope(crate = "not a path")]
struct Article {
    #[scope(unique)]
    id: String,
}

#[derive(ScopeRecord)]
#[scope(ttl = "0s")]
struct Page {
    #[scope(unique)]
    id: String,
}

fn main() {}
