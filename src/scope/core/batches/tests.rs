use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;

use super::*;
use crate::ErrorKind;

type Call = Pin<Box<dyn Future<Output = Result<u64>> + Send>>;

/// Starts a call: its item is in the queue afterwards.
fn start(
    batcher: &Arc<Batcher<u64, u64>>,
    executor: &Arc<Executor>,
    input: u64,
    execute: impl Fn(Vec<u64>) -> Vec<Result<u64>> + Send + 'static,
) -> Call {
    let (batcher, executor) = (batcher.clone(), executor.clone());
    let mut call: Call = Box::pin(async move { batcher.run(&executor, input, execute).await });
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    call
}

#[test]
fn what_is_queued_during_a_statement_is_the_next_one() {
    let (batcher, executor) = (Arc::default(), Executor::new(0, None));
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let ended = Arc::new(Mutex::new(ended));
    let execute = move |inputs: Vec<u64>| {
        begin.send(inputs.len()).unwrap();
        ended.lock().recv().unwrap();
        inputs.into_iter().map(|input| Ok(2 * input)).collect()
    };
    let first = start(&batcher, &executor, 0, execute.clone());
    assert_eq!(begun.recv(), Ok(1));
    let mut others: Vec<Call> =
        (1..=9).map(|n| start(&batcher, &executor, n, execute.clone())).collect();
    drop(others.pop());
    end.send(()).unwrap();
    assert_eq!(begun.recv(), Ok(8), "the item of a future that was dropped is left out");
    end.send(()).unwrap();
    assert_eq!(pollster::block_on(first).unwrap(), 0);
    for (call, n) in others.into_iter().zip(1..) {
        assert_eq!(pollster::block_on(call).unwrap(), 2 * n);
    }
    while batcher.queue.lock().jobs > 0 {
        thread::yield_now();
    }
}

#[test]
fn calls_that_waited_for_a_store_that_is_down_end_with_it() {
    let (batcher, executor) = (Arc::default(), Executor::new(0, None));
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let ended = Arc::new(Mutex::new(ended));
    let execute = move |inputs: Vec<u64>| {
        begin.send(inputs.clone()).unwrap();
        ended.lock().recv().unwrap();
        inputs.iter().map(|_| Err(Error::new(ErrorKind::Unavailable, "down"))).collect()
    };
    let first = start(&batcher, &executor, 0, execute.clone());
    begun.recv().unwrap();
    let waiting = start(&batcher, &executor, 1, execute.clone());
    thread::sleep(SLOW);
    end.send(()).unwrap();
    for call in [first, waiting] {
        assert_eq!(pollster::block_on(call).unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(begun.try_recv().is_err(), "the waiting call needed no statement of its own");
}

#[test]
fn one_more_job_starts_while_a_statement_hangs() {
    let (batcher, executor) = (Arc::default(), Executor::new(2, None));
    let (end, ended) = mpsc::channel::<()>();
    let ended = Arc::new(Mutex::new(ended));
    let execute = move |inputs: Vec<u64>| {
        if inputs == [0] {
            ended.lock().recv().unwrap();
        }
        inputs.into_iter().map(Ok).collect()
    };
    let hangs = start(&batcher, &executor, 0, execute.clone());
    thread::sleep(2 * SLOW);
    let other = start(&batcher, &executor, 1, execute);
    assert_eq!(pollster::block_on(other).unwrap(), 1);
    end.send(()).unwrap();
    assert_eq!(pollster::block_on(hangs).unwrap(), 0);
}
