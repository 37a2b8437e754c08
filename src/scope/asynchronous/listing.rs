//! Streams of records and keys.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::scope::Core;
use crate::{Key, Result, Row};

/// How many items one blocking call reads.
const CHUNK: usize = 256;

type Items<T> = Box<dyn Iterator<Item = Result<T>> + Send>;

/// What a blocking call returns: the rest of the items, unless they ended, and those that it read.
type Chunk<T> = (Option<Items<T>>, std::vec::IntoIter<Result<T>>);

/// A stream of the records or keys of a scope, in bounded memory and in no promised order.
///
/// An item is an error where the backend fails, or where what is stored is not such a record.
pub struct Listing<T> {
    inner: Box<dyn Stream<Item = Result<T>> + Send + Unpin>,
}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}

impl<T> Stream for Listing<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        Pin::new(&mut self.inner).poll_next(context)
    }
}

impl<T: 'static> Listing<T> {
    fn new<S: Send + Unpin + 'static>(
        core: &Arc<Core>,
        first: Chunk<S>,
        convert: impl FnMut(S) -> Result<T> + Send + Unpin + 'static,
    ) -> Self {
        let (rest, read) = first;
        let core = core.clone();
        Self { inner: Box::new(Chunks { core, rest, read, reading: None, convert }) }
    }

    pub(super) async fn of_rows(
        core: &Arc<Core>,
        convert: impl FnMut(Row) -> Result<T> + Send + Unpin + 'static,
    ) -> Result<Self> {
        let first = core.run_blocking(|core| core.rows().map(read_chunk)).await?;
        Ok(Self::new(core, first, convert))
    }

    pub(super) async fn of_keys(
        core: &Arc<Core>,
        convert: impl FnMut(Key) -> Result<T> + Send + Unpin + 'static,
    ) -> Result<Self> {
        let first = core.run_blocking(|core| core.keys().map(read_chunk)).await?;
        Ok(Self::new(core, first, convert))
    }
}

struct Chunks<S, F> {
    core: Arc<Core>,
    rest: Option<Items<S>>,
    read: std::vec::IntoIter<Result<S>>,
    reading: Option<Pin<Box<dyn Future<Output = Chunk<S>> + Send>>>,
    convert: F,
}

impl<S, T, F> Stream for Chunks<S, F>
where
    S: Send + Unpin + 'static,
    F: FnMut(S) -> Result<T> + Unpin,
{
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let this = &mut *self;
        loop {
            if let Some(item) = this.read.next() {
                return Poll::Ready(Some(item.and_then(&mut this.convert)));
            }
            if let Some(reading) = &mut this.reading {
                (this.rest, this.read) = ready!(reading.as_mut().poll(context));
                this.reading = None;
                continue;
            }
            let Some(rest) = this.rest.take() else { return Poll::Ready(None) };
            let core = this.core.clone();
            let read = async move { core.run_blocking(|_| read_chunk(rest)).await };
            this.reading = Some(Box::pin(read));
        }
    }
}

fn read_chunk<T>(mut items: Items<T>) -> Chunk<T> {
    let read: Vec<Result<T>> = items.by_ref().take(CHUNK).collect();
    let rest = (read.len() == CHUNK).then_some(items);
    (rest, read.into_iter())
}
