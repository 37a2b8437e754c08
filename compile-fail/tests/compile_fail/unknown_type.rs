use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Article {
    #[scope(unique, type = "varchar(0)")]
    id: String,
    #[scope(type = "bigit")]
    count: i64,
    #[scope(type = "decimal(5,6)")]
    price: i64,
}

fn main() {}
