use hilcat::ScopeRecord;

struct Point {}

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    #[scope(skip)]
    at: Point,
}

fn main() {}
