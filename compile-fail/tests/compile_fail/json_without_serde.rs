use hilcat::ScopeRecord;

#[derive(serde::Serialize)]
struct Point {
    x: i32,
}

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    #[scope(json)]
    at: Point,
}

fn main() {}
