use super::*;

fn article() -> Schema {
    Schema::new("a")
        .unique(Column::new("id", ColumnType::Text))
        .column(Column::new("count", ColumnType::Int).default_value(0_i32))
}

#[test]
fn an_invalid_schema_is_an_error_with_a_reason() {
    let repeated = article().column(Column::new("id", ColumnType::Text));
    assert!(repeated.validate().unwrap_err().to_string().contains("two columns are named `id`"));
    let keyless = Schema::new("a").column(Column::new("x", ColumnType::Int));
    assert!(keyless.validate().is_err());
    let null_key = Schema::new("a").unique(Column::new("x", ColumnType::Int).nullable(true));
    assert!(null_key.validate().is_err());
    let wrong_default = article().column(Column::new("n", ColumnType::Int).default_value("x"));
    assert_eq!(wrong_default.validate().unwrap_err().column(), Some("n"));
}

#[test]
fn the_fingerprint_is_of_the_table_alone() {
    let schema = article();
    assert_eq!(
        schema.fingerprint(),
        article().shape(Shape::Tuple).migrate(Migrate::Manual).fingerprint()
    );
    assert_ne!(schema.fingerprint(), article().table("b").fingerprint());
    // Stored in databases: it must not change from one release to the next.
    assert_eq!(fnv1a(b"foobar"), 0x85944171f73967e8);
}

#[test]
fn absent_columns_get_their_default() {
    let mut row = vec!["a1".into(), Value::Absent];
    article().fill_absent(&mut row).unwrap();
    assert_eq!(row[1], Value::Int(0));
    let error = article().fill_absent(&mut vec![Value::Absent, Value::Null]).unwrap_err();
    assert_eq!(error.column(), Some("id"));
}
