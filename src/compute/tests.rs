use std::thread;
use std::time::Duration;

use super::*;
use crate::{Column, ColumnType, ErrorKind, Value};

fn flights() -> (Arc<Flights>, Arc<Schema>) {
    let schema = Schema::new("a").unique(Column::new("id", ColumnType::BigInt));
    (Arc::default(), Arc::new(schema))
}

fn key(id: i64) -> Key {
    Key::single(Value::Int(id))
}

fn computes(role: Role) -> ComputeGuard {
    match role {
        Role::Compute(guard) => guard,
        _ => panic!("another caller has the flight"),
    }
}

#[test]
fn claiming_the_same_key_again_is_an_error() {
    let (flights, schema) = flights();
    let guard = computes(flights.claim(&key(1), &schema).unwrap());
    let Err(error) = flights.claim(&key(1), &schema) else { panic!("it must not wait") };
    assert_eq!(error.kind(), ErrorKind::ComputeCycle);
    drop(guard);
    computes(flights.claim(&key(1), &schema).unwrap());
}

#[test]
fn a_cycle_of_two_threads_is_an_error() {
    let (flights, schema) = flights();
    let barrier = std::sync::Barrier::new(2);
    let run = |own: i64| {
        let guard = computes(flights.claim(&key(own), &schema).unwrap());
        barrier.wait();
        let other = flights.claim(&key(1 - own), &schema).map(|_| ());
        drop(guard);
        other
    };
    let results = thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        [run(0), other.join().unwrap()]
    });
    let errors = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(errors, 1, "one of the two fails, and the other goes on");
}

#[test]
fn a_panic_lets_the_next_caller_compute() {
    let (flights, schema) = flights();
    let panicked = thread::scope(|scope| {
        scope
            .spawn(|| {
                let _guard = flights.claim(&key(1), &schema).unwrap();
                panic!("on purpose");
            })
            .join()
    });
    assert!(panicked.is_err());
    computes(flights.claim(&key(1), &schema).unwrap());
    assert!(!flights.is_busy());
}

#[test]
fn a_void_flight_is_not_stored_and_not_joined() {
    let (flights, schema) = flights();
    let first = computes(flights.claim(&key(1), &schema).unwrap());
    flights.void([key(1), key(2)]);
    assert!(!flights.is_busy());
    let second = computes(flights.claim(&key(1), &schema).unwrap());
    assert!(!first.begin_storing());
    drop(first);
    assert!(second.begin_storing(), "the end of a void flight leaves the next one alone");
    drop(second);
    assert!(!flights.is_busy());
}

#[test]
fn waiting_callers_get_the_result_of_a_void_flight() {
    let (flights, schema) = flights();
    let guard = computes(flights.claim(&key(1), &schema).unwrap());
    let row = vec![Value::Int(1)];
    thread::scope(|scope| {
        let waiting = scope.spawn(|| flights.claim(&key(1), &schema).unwrap());
        while Arc::strong_count(&guard.flight) < 3 {
            thread::yield_now();
        }
        flights.void_all();
        guard.land(&schema, Some(&row));
        let Role::Take(taken) = waiting.join().unwrap() else { panic!("it has a result") };
        assert_eq!(taken, Some(row));
    });
}

#[test]
fn every_write_waits_for_a_storing_flight() {
    let (flights, schema) = flights();
    let guard = computes(flights.claim(&key(1), &schema).unwrap());
    assert!(guard.begin_storing());
    thread::scope(|scope| {
        let writes = [(); 2].map(|()| scope.spawn(|| flights.void([key(1)])));
        while Arc::strong_count(&guard.flight) < 4 {
            thread::yield_now();
        }
        let late = scope.spawn(|| flights.claim(&key(1), &schema).unwrap());
        thread::sleep(Duration::from_millis(20));
        assert!(writes.iter().all(|write| !write.is_finished()));
        guard.land(&schema, Some(&vec![Value::Int(1)]));
        writes.into_iter().for_each(|write| write.join().unwrap());
        assert!(matches!(late.join().unwrap(), Role::Retry), "it began after the writes");
    });
}

#[test]
fn a_row_of_a_different_schema_is_not_taken() {
    let (flights, schema) = flights();
    let wider = Schema::new("a").unique(Column::new("id", ColumnType::BigInt));
    let wider = Arc::new(wider.column(Column::new("v", ColumnType::Int)));
    let guard = computes(flights.claim(&key(1), &schema).unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| flights.claim(&key(1), &wider).unwrap());
        while Arc::strong_count(&guard.flight) < 3 {
            thread::yield_now();
        }
        guard.land(&schema, Some(&vec![Value::Int(1)]));
        assert!(matches!(waiting.join().unwrap(), Role::Retry));
    });
}
