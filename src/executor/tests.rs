use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

fn threads(executor: &Executor) -> usize {
    executor.queue.lock().threads
}

#[test]
fn the_number_of_threads_is_bounded() {
    let executor = Executor::new(2, None);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..100 {
        let (running, most, sender) = (running.clone(), most.clone(), sender.clone());
        executor.spawn(move || {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
            running.fetch_sub(1, Ordering::SeqCst);
            sender.send(()).unwrap();
        });
    }
    (0..100).for_each(|_| receiver.recv().unwrap());
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert_eq!(threads(&executor), 4);
}

#[test]
fn a_queued_call_is_dropped_with_its_future() {
    let executor = Executor::new(0, None);
    let (end, ended) = mpsc::channel::<()>();
    let ended = Arc::new(Mutex::new(ended));
    for _ in 0..EXTRA {
        let ended = ended.clone();
        executor.spawn(move || {
            let _ = ended.lock().recv();
        });
    }
    let ran = Arc::new(AtomicUsize::new(0));
    let mut call = Box::pin({
        let (executor, ran) = (executor.clone(), ran.clone());
        async move { executor.run(move || ran.fetch_add(1, Ordering::SeqCst)).await }
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    assert_eq!(Arc::strong_count(&ran), 2, "the queued call has one");
    drop(call);
    assert_eq!(Arc::strong_count(&ran), 1, "it is dropped at once");
    drop(end);
    pollster::block_on(executor.run(|| ()));
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_is_that_of_the_future_and_the_thread_goes_on() {
    let executor = Executor::new(0, None);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        pollster::block_on(executor.run(|| panic!("on purpose")));
    }));
    assert!(panicked.is_err());
    assert_eq!(pollster::block_on(executor.run(|| 7)), 7);
}
