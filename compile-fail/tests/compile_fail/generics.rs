use hilcat::ScopeRecord;

#[derive(ScopeRecord)]
struct Typed<T> {
    #[scope(unique)]
    id: T,
}

#[derive(ScopeRecord)]
struct Borrowed<'a> {
    #[scope(unique)]
    id: &'a str,
}

#[derive(ScopeRecord)]
struct Sized<const N: usize> {
    #[scope(unique)]
    id: i32,
    bytes: [u8; N],
}

fn main() {}
