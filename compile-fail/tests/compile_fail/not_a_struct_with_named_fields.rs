use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Tuple(String, i32);

#[derive(ScopeRecord)]
struct Unit;

#[derive(ScopeRecord)]
enum Enum {
    A { id: i32 },
}

#[derive(ScopeRecord)]
union Union {
    a: i32,
    b: f32,
}

fn main() {}
