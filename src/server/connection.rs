//! One connection: a reading and a writing half that share a task.
//!
//! The reading half begins requests in order and hands each, answered or not, to the writing half,
//! which sends replies in that order and as many at once as are ready.
//!
//! **Invariant:** when the client leaves, both halves are dropped, and with them every request
//! that is still in work.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::sync::{mpsc, watch};

use super::dispatch::{Dispatcher, refuse};
use super::end::End;
use super::in_flight::{Admission, Answered, Slot};
use super::listener::Shared;
use super::reader::FrameReader;
use super::response::ResponseWriter;
use super::socket::Socket;
use crate::handlers::{ConnectionState, Reply};

/// Serves a connection until it ends.
pub(super) async fn serve(
    shared: &Shared,
    stream: &dyn Socket,
    state: &ConnectionState,
    shutdown: watch::Receiver<bool>,
) -> End {
    let admission = Admission::new(&shared.budget, &shared.options);
    let (begun, replies) = mpsc::unbounded_channel();
    let reading = Reading {
        shared,
        reader: FrameReader::new(stream, &shared.options, shutdown.clone()),
        dispatcher: Dispatcher::new(&*shared.handler, state),
        admission,
        begun,
    };
    let writer = ResponseWriter::new(stream, shared.options.idle_max);
    let mut writing = std::pin::pin!(Writing { shared, writer, replies }.run());
    let end = tokio::select! {
        biased;
        end = reading.run() => end,
        end = &mut writing => return end,
        // The reading half stops by itself, unless it waits for admission or in a handler.
        () = overdue(shutdown, shared.options.drain_max) => return End::Shutdown,
    };
    if !end.drains() {
        return end;
    }
    // `reading` and its sender are gone: the writing half ends once all that was begun is answered.
    match tokio::time::timeout(shared.options.drain_max, writing).await {
        Ok(earlier @ End::Request { .. }) => earlier,
        Ok(_) | Err(_) => end,
    }
}

/// Waits for the signal to stop, and then as long as requests may still take.
async fn overdue(mut shutdown: watch::Receiver<bool>, drain_max: Duration) {
    // A dropped sender means the same as the signal.
    let _ = shutdown.wait_for(|stops| *stops).await;
    tokio::time::sleep(drain_max).await;
}

struct Reading<'a> {
    shared: &'a Shared,
    reader: FrameReader<'a>,
    dispatcher: Dispatcher<'a>,
    admission: Admission<'a>,
    /// Unbounded, but `admission` bounds what is in it.
    begun: mpsc::UnboundedSender<Slot>,
}

impl Reading<'_> {
    async fn run(mut self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    async fn next(&mut self) -> Result<(), End> {
        let prefix = self.reader.prefix(|| self.admission.is_busy()).await?;
        let grant = self.admission.admit(prefix.length).await;
        let budget = &self.shared.budget;
        let frame = self.reader.frame(&prefix, || budget.is_wanted(prefix.length)).await?;
        self.shared.stats.requests.add(1);
        self.shared.stats.bytes_in.add(prefix.length as u64 + 4);
        let (outcome, origin) = self.dispatcher.begin(&prefix, frame).await?;
        // A send can only fail when the writing half is over, and then so is this future.
        let _ = self.begun.send(Slot::new(outcome, origin, grant));
        Ok(())
    }
}

struct Writing<'a> {
    shared: &'a Shared,
    writer: ResponseWriter<'a>,
    replies: mpsc::UnboundedReceiver<Slot>,
}

impl Writing<'_> {
    /// Runs until the reading half is gone and all it began is answered, or until the end that a
    /// reply or the socket brings.
    async fn run(mut self) -> End {
        let mut in_work = FuturesOrdered::new();
        let mut ready = VecDeque::new();
        let mut end = None;
        loop {
            while end.is_none() && !self.writer.is_full() {
                let Some(answered) = ready.pop_front() else { break };
                end = self.queue(answered);
            }
            if self.writer.is_empty()
                && let Some(end) = end
            {
                return end;
            }
            // Requests in work go on while a slow client takes its bytes: each holds a share of
            // the budget until its reply is known, and that must not hang on this client.
            tokio::select! {
                biased;
                Some(slot) = self.replies.recv() => in_work.push_back(slot),
                Some(answered) = in_work.next() => ready.push_back(answered),
                flushed = self.writer.flush(), if !self.writer.is_empty() => {
                    if let Err(end) = flushed {
                        return end;
                    }
                }
                else => return End::Closed,
            }
        }
    }

    /// Queues a reply, or says how it ends the connection.
    fn queue(&mut self, answered: Answered) -> Option<End> {
        match answered.reply {
            Reply::Response(response) => {
                self.shared.stats.bytes_out.add(response.bytes() as u64);
                self.writer.push(response);
                None
            }
            Reply::None => None,
            Reply::Close(reason) => Some(refuse(reason, &answered.origin)),
        }
    }
}
