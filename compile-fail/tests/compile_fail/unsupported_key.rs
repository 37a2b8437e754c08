use hilcat::ScopeRecord;

struct Point {}

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    at: Point,
    name: String,
}

fn main() {}
