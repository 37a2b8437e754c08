//! Columns of the types of chrono, rust_decimal and uuid.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;

#[derive(Debug, Clone, PartialEq, ScopeRecord)]
struct Others {
    #[scope(unique)]
    id: Uuid,
    #[scope(unique)]
    day: NaiveDate,
    time: NaiveTime,
    at: DateTime<Utc>,
    local: Option<NaiveDateTime>,
    #[scope(type = "decimal(10,2)", default)]
    price: Decimal,
    plain: Option<Decimal>,
}

#[test]
fn types_of_other_crates_round_trip() {
    assert_eq!(
        columns::<Others>(),
        "id uuid, day date, time time, at timestamp, local timestamp?, price decimal(10,2), \
         plain decimal(38,9)?"
    );
    let day = NaiveDate::from_ymd_opt(2013, 1, 31).unwrap();
    let time = NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999).unwrap();
    let others = Others {
        id: Uuid::from_u128(u128::MAX - 1),
        day,
        time,
        at: day.and_time(time).and_utc(),
        local: None,
        price: Decimal::new(-1250, 2),
        plain: Some(Decimal::new(1, 9)),
    };
    assert_round_trip(others.clone(), (others.id, day));
    assert_round_trip(Others { local: Some(day.and_time(time)), ..others }, (&others.id, day));
}

#[test]
fn a_default_decimal_has_the_digits_of_its_column() {
    let schema = Others::schema();
    schema.validate().unwrap();
    assert_eq!(schema.columns()[5].default, Some(Value::Decimal("0.00".into())));
}

#[test]
fn a_decimal_with_too_many_digits_names_its_column() {
    let price = Decimal::new(1, 3);
    let others = Others {
        id: Uuid::nil(),
        day: NaiveDate::MIN,
        time: NaiveTime::MIN,
        at: DateTime::UNIX_EPOCH,
        local: None,
        price,
        plain: None,
    };
    let error = scope().set(&others).unwrap_err();
    assert_eq!(error.column(), Some("day"));
    let others = Others { day: DateTime::UNIX_EPOCH.date_naive(), ..others };
    let error = scope().set(&others).unwrap_err();
    assert_eq!((error.kind(), error.column()), (ErrorKind::InvalidInput, Some("price")));
}
