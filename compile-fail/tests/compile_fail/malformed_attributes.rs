use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
#[scope(name)]
#[scope(table = 7)]
struct Article {
    #[scope(unique = true)]
    id: String,
    #[scope(column = "")]
    a: i32,
    #[scope(column =)]
    b: i32,
    #[scope(column("c"))]
    c: i32,
    #[scope]
    d: i32,
    #[scope = "e"]
    e: i32,
    #[scope("f")]
    f: i32,
}

fn main() {}
