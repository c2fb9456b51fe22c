//! From a frame to a begun request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::end::End;
use super::in_flight::Origin;
use super::reader::printable;
use crate::handlers::{
    CloseReason, ConnectionState, Outcome, Request, RequestHandler, RequestMeta,
};
use crate::protocol::{FramePrefix, RequestHeader, check_produce_shape};

/// Begins the requests of one connection.
pub(super) struct Dispatcher<'a> {
    handler: &'a dyn RequestHandler,
    state: &'a ConnectionState,
    /// The last client id: it rarely changes, and is then not allocated anew.
    client_id: Option<Arc<str>>,
}

impl<'a> Dispatcher<'a> {
    pub(super) fn new(handler: &'a dyn RequestHandler, state: &'a ConnectionState) -> Self {
        Self { handler, state, client_id: None }
    }

    /// Decodes the header of `frame` and begins its request.
    pub(super) async fn begin(
        &mut self,
        prefix: &FramePrefix,
        frame: Bytes,
    ) -> Result<(Outcome, Origin), End> {
        let (header, body) = RequestHeader::decode(frame).map_err(|error| End::Request {
            reason: CloseReason::Header(error),
            api: prefix.api.name,
            version: prefix.version,
            client_id: None,
        })?;
        let client_id = self.client_id(header.client_id.as_deref());
        let origin = Origin { api: header.api.key, version: header.version, client_id };
        if let Err(partitions) = check_produce_shape(header.api, header.version, &body) {
            return Err(refuse(CloseReason::Shape(partitions), &origin));
        }
        let meta = RequestMeta {
            api_key: header.api.key,
            version: header.version,
            correlation_id: header.correlation_id,
            client_id: origin.client_id.clone(),
            client_address: self.state.address(),
            software: self.state.software().cloned(),
        };
        let outcome = self.handler.handle(self.state, Request { meta, body }).await;
        Ok((started(outcome).await, origin))
    }

    fn client_id(&mut self, sent: Option<&str>) -> Option<Arc<str>> {
        if self.client_id.as_deref() != sent {
            self.client_id = sent.map(Arc::from);
        }
        self.client_id.clone()
    }
}

/// Takes a pending answer's first step here, so that it begins before the next request does.
async fn started(outcome: Outcome) -> Outcome {
    let Outcome::Pending(mut answer) = outcome else { return outcome };
    match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
        Poll::Ready(reply) => Outcome::Ready(reply),
        Poll::Pending => Outcome::Pending(answer),
    }
}

/// The end of a connection over one of its requests.
pub(super) fn refuse(reason: CloseReason, origin: &Origin) -> End {
    End::Request {
        reason,
        api: origin.api.api().name,
        version: origin.version,
        client_id: origin.client_id.as_deref().map(printable),
    }
}
