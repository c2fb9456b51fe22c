//! A server that runs out of file descriptors goes on once some are free again.
//!
//! A binary of its own, since it lowers the limit of its process.
#![allow(clippy::unwrap_used)]

mod wire_support;

use jackdaw::server::ServerOptions;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wire_support::{Client, Steered, soon, start};

#[tokio::test]
async fn accepting_resumes_after_descriptors_ran_out() {
    let steering = Steered::steering();
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut first = running.connect().await;
    first.round_trip("before").await;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(40), maximum: limit.maximum }).unwrap();

    // Each connection takes two descriptors here, one on either side, until none is left.
    let reserve = std::fs::File::open("/dev/null").unwrap();
    let mut clients = Vec::new();
    while let Ok(stream) = tokio::net::TcpStream::connect(running.address).await {
        clients.push(Client { stream, correlation_id: 0 });
    }
    let stats = running.server.stats();
    let all_accepted = || stats.accepted.get() == clients.len() as u64 + 1;
    soon(async {
        while stats.accept_errors.get() == 0 && !all_accepted() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    if stats.accept_errors.get() == 0 {
        // The server took the last one. One more for a client, and none for its other side.
        drop(reserve);
        let stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
        clients.push(Client { stream, correlation_id: 0 });
    }
    soon(async {
        while stats.accept_errors.get() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(running.server.stats().accepted.get() <= clients.len() as u64);
    first.round_trip("meanwhile").await;

    let mut last = clients.pop().unwrap();
    drop(clients);
    last.round_trip("after").await;
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(running.server.stats().accept_errors.get() < 100, "it waits between attempts");
}
