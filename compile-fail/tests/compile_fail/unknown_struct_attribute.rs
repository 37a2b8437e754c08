use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(zebra)]
struct Article {
    #[scope(unique)]
    id: String,
}

fn main() {}
