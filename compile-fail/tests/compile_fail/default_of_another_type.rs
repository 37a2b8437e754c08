use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    #[scope(default = "many")]
    count: i32,
}

fn main() {}
