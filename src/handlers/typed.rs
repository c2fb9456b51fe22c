//! Wrappers that decode, call a typed handler, and encode.

use kafka_wire::RequestResponsePair;

use super::{Outcome, Reply, Request, RequestMeta};

/// Answers in place: the connection's next request begins after this one's response is known.
/// For what answers from memory.
pub async fn typed<Req, Handle, Answer>(request: Request, handle: Handle) -> Outcome
where
    Req: RequestResponsePair,
    Handle: FnOnce(RequestMeta, Req) -> Answer,
    Answer: Future<Output = Req::Response>,
{
    match request.decode::<Req>() {
        Ok(body) => {
            let meta = request.meta.clone();
            let response = handle(request.meta, body).await;
            meta.respond(&response).into()
        }
        Err(reason) => reason.into(),
    }
}

/// Answers later: the connection reads on while the handler waits for others (group members, a
/// quorum, the metadata leader).
pub fn deferred<Req, Handle, Answer>(request: Request, handle: Handle) -> Outcome
where
    Req: RequestResponsePair + Send + 'static,
    Handle: FnOnce(RequestMeta, Req) -> Answer,
    Answer: Future<Output = Req::Response> + Send + 'static,
{
    match request.decode::<Req>() {
        Ok(body) => {
            let meta = request.meta.clone();
            let answer = handle(request.meta, body);
            Outcome::Pending(Box::pin(async move { meta.respond(&answer.await) }))
        }
        Err(reason) => Outcome::Ready(Reply::Close(reason)),
    }
}
