use hilcat::{Cache, ScopeRecord};

struct Point {
    x: i32,
}

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique)]
    id: String,
    at: Point,
}

fn main() {
    let articles = Cache::memory().scope::<Article>().unwrap();
    articles.set(&Article { id: "a".into(), at: Point { x: 1 } }).unwrap();
}
