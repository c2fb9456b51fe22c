//! The server over real sockets: order, back-pressure, file slices, and how connections end.
#![allow(clippy::unwrap_used)]

mod wire_support;

use std::time::Duration;

use jackdaw::server::ServerOptions;
use kafka_wire::{FetchRequest, HeartbeatRequest, MetadataRequest, ProduceRequest};
use wire_support::{PANICS, Steered, fetch, heartbeat, metadata, produce, soon, start};

#[tokio::test]
async fn responses_leave_in_request_order_however_they_finish() {
    let mut steering = Steered::steering();
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut client = running.connect().await;
    let mut gates: Vec<_> = (0..20).map(|id| steering.handler.gate(id)).collect();
    for id in 0..20 {
        client.send(&heartbeat(id), 4).await;
        // Answered in place, but due after the heartbeat before it.
        client.send(&metadata(&format!("t{id}")), 9).await;
    }
    for id in 0..20 {
        assert_eq!(soon(steering.begun.recv()).await, Some(id), "requests begin in order");
    }
    while let Some(gate) = gates.pop() {
        gate.send(()).unwrap();
    }
    for id in 0..20 {
        let response = client.receive::<HeartbeatRequest>(4, 2 * id + 1).await;
        assert_eq!(response.throttle_time_ms, id);
        let response = client.receive::<MetadataRequest>(9, 2 * id + 2).await;
        assert_eq!(response.topics[0].name.as_ref().unwrap().as_str(), format!("t{id}"));
    }
    drop(client);
    running.quiet().await;
}

#[tokio::test]
async fn reading_pauses_at_the_limit_of_requests_in_work() {
    let mut steering = Steered::steering();
    let options = ServerOptions { in_flight_requests_max: 4, ..ServerOptions::default() };
    let running = start(options, steering.handler.clone()).await;
    let mut client = running.connect().await;
    let mut gates: Vec<_> = (0..10).map(|id| Some(steering.handler.gate(id))).collect();
    for id in 0..10 {
        client.send(&heartbeat(id), 0).await;
    }
    for id in 0..4 {
        assert_eq!(soon(steering.begun.recv()).await, Some(id));
    }
    let mut other = running.connect().await;
    for round in 0..10 {
        other.round_trip(&format!("round-{round}")).await;
        assert!(steering.begun.try_recv().is_err(), "a fifth request began");
    }
    for id in 0..10 {
        gates[id as usize].take().unwrap().send(()).unwrap();
        client.receive::<HeartbeatRequest>(0, id + 1).await;
        if id < 6 {
            assert_eq!(soon(steering.begun.recv()).await, Some(id + 4));
        }
    }
}

#[tokio::test]
async fn connections_wait_for_the_shared_byte_budget() {
    let mut steering = Steered::steering();
    let options = ServerOptions {
        request_bytes_max: 1 << 20,
        in_flight_bytes_max: 1 << 20,
        ..ServerOptions::default()
    };
    let running = start(options, steering.handler.clone()).await;
    let mut gates = Vec::new();
    let mut clients = Vec::new();
    for acks in 1..=3 {
        gates.push(Some(steering.handler.gate(acks)));
        let mut client = running.connect().await;
        clients.push(tokio::spawn(async move {
            client.send(&produce(acks as i16, 700 << 10), 9).await;
            client.receive::<ProduceRequest>(9, 1).await;
        }));
    }
    for _ in 0..3 {
        let acks = soon(steering.begun.recv()).await.unwrap();
        assert!(steering.begun.try_recv().is_err(), "two frames are beyond the budget");
        let held = running.server.in_flight_bytes();
        assert!((700 << 10..=1 << 20).contains(&held), "{held} bytes are held");
        gates[acks as usize - 1].take().unwrap().send(()).unwrap();
    }
    for client in clients {
        soon(client).await.unwrap();
    }
    running.quiet().await;
}

#[tokio::test]
async fn frames_that_never_come_give_way_to_those_that_wait() {
    let steering = Steered::steering();
    let options = ServerOptions {
        request_bytes_max: 1 << 20,
        in_flight_bytes_max: 2 << 20,
        frame_stall_max: Duration::from_millis(200),
        ..ServerOptions::default()
    };
    let running = start(options, steering.handler.clone()).await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut client = running.connect().await;
        // A Produce frame of the largest size, of which only the head comes.
        let mut head = (1_i32 << 20).to_be_bytes().to_vec();
        head.extend([0, 0, 0, 9]);
        head.extend([0; 1_000]);
        client.send_raw(&head).await;
        stalled.push(client);
    }
    soon(async {
        while running.server.in_flight_bytes() < 2 << 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.connect().await.round_trip("small").await;
    // Behind two that wait, for which the first two give way, and then they for this.
    let mut client = running.connect().await;
    client.send(&produce(1, 512 << 10), 9).await;
    client.receive::<ProduceRequest>(9, 1).await;
    drop((stalled, client));
    running.quiet().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_keep_the_budget() {
    let mut steering = Steered::steering();
    steering.handler.set_file(&vec![1; 32 << 20]);
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut client = running.connect().await;
    let open = steering.handler.gate(1);
    client.send(&fetch(&[(0, 32 << 20)]), 17).await;
    client.send(&produce(1, 1 << 20), 9).await;
    assert_eq!(soon(steering.begun.recv()).await, Some(1));
    assert!(running.server.in_flight_bytes() > 1 << 20);
    open.send(()).unwrap();
    soon(async {
        while running.server.in_flight_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let frame = client.receive_frame().await.unwrap();
    assert!(frame.len() > 32 << 20);
    client.receive::<ProduceRequest>(9, 2).await;
}

#[tokio::test]
async fn files_are_sent_whole_and_in_place() {
    let steering = Steered::steering();
    let content: Vec<u8> =
        (0..12_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    steering.handler.set_file(&content);
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut client = running.connect().await;
    let parts = [(0, 3), (17, 4 << 20), (5, 0), (1 << 20, 8 << 20), (100, 1)];
    let versions = [4, 11, 12, 18];
    for version in versions {
        client.send(&fetch(&parts), version).await;
        client.send(&metadata("after"), 9).await;
    }
    for (round, version) in (0..).zip(versions) {
        let response = client.receive::<FetchRequest>(version, 2 * round + 1).await;
        let partitions = &response.responses[0].partitions;
        assert_eq!(partitions.len(), parts.len());
        for (partition, (at, len)) in partitions.iter().zip(parts) {
            let expected = &content[at as usize..at as usize + len as usize];
            let records = partition.records.as_ref().unwrap();
            assert!(records == expected, "version {version}, offset {at}, {len} bytes");
        }
        client.receive::<MetadataRequest>(9, 2 * round + 2).await;
    }
}

#[tokio::test]
async fn produce_without_acknowledgement_has_no_response() {
    let mut steering = Steered::steering();
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut client = running.connect().await;
    for _ in 0..3 {
        client.send(&produce(0, 100), 3).await;
    }
    client.send(&metadata("t"), 1).await;
    for _ in 0..3 {
        assert_eq!(soon(steering.begun.recv()).await, Some(0));
    }
    client.receive::<MetadataRequest>(1, 4).await;
}

#[tokio::test]
async fn a_request_that_closes_lets_earlier_responses_out() {
    let steering = Steered::steering();
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut client = running.connect().await;
    let open = steering.handler.gate(5);
    client.send(&heartbeat(5), 4).await;
    client.send(&metadata("t"), 9).await;
    client.send(&produce(-2, 10), 9).await;
    client.send(&metadata("never answered"), 9).await;
    open.send(()).unwrap();
    client.receive::<HeartbeatRequest>(4, 1).await;
    client.receive::<MetadataRequest>(9, 2).await;
    assert!(client.until_closed().await.is_empty());
    running.quiet().await;
    assert_eq!(running.server.stats().refused.get(), 1);
}

#[tokio::test]
async fn what_is_in_work_for_a_client_that_leaves_is_dropped() {
    let mut steering = Steered::steering();
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut client = running.connect().await;
    let _gates = [1, 2].map(|id| steering.handler.gate(id));
    client.send(&heartbeat(1), 4).await;
    client.send(&heartbeat(2), 4).await;
    soon(steering.begun.recv()).await;
    soon(steering.begun.recv()).await;
    drop(client);
    let mut dropped = [soon(steering.dropped.recv()).await, soon(steering.dropped.recv()).await];
    dropped.sort_unstable();
    assert_eq!(dropped, [Some(1), Some(2)]);
    running.quiet().await;
    assert_eq!(running.server.stats().refused.get(), 0, "leaving is no offence");
}

#[tokio::test]
async fn many_connections_are_served_side_by_side() {
    let steering = Steered::steering();
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(running.connect().await);
    }
    for round in 0..3 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(&metadata(&format!("{index}-{round}")), 9).await;
        }
        for client in &mut clients {
            let id = client.correlation_id;
            client.receive::<MetadataRequest>(9, id).await;
        }
    }
    assert_eq!(running.server.stats().connections.get(), 300);
    drop(clients);
    running.quiet().await;
    assert_eq!(running.server.stats().requests.get(), 900);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let steering = Steered::steering();
    let options = ServerOptions { connections_max: 2, ..ServerOptions::default() };
    let running = start(options, steering.handler.clone()).await;
    let mut first = running.connect().await;
    let mut second = running.connect().await;
    first.round_trip("a").await;
    second.round_trip("b").await;
    let mut third = running.connect().await;
    assert!(third.until_closed().await.is_empty());
    drop(first);
    soon(async {
        while running.server.stats().connections.get() == 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.connect().await.round_trip("c").await;
}

#[tokio::test]
async fn silent_connections_are_closed_and_waiting_ones_are_not() {
    let mut steering = Steered::steering();
    let idle_max = Duration::from_millis(100);
    let options = ServerOptions { idle_max, ..ServerOptions::default() };
    let running = start(options, steering.handler.clone()).await;
    let mut waiting = running.connect().await;
    let open = steering.handler.gate(1);
    waiting.send(&heartbeat(1), 4).await;
    soon(steering.begun.recv()).await;
    let mut silent = running.connect().await;
    silent.round_trip("t").await;
    let began = std::time::Instant::now();
    assert!(silent.until_closed().await.is_empty());
    assert!(began.elapsed() >= idle_max / 2);
    // By now the other one has been silent for longer, but its request is in work.
    open.send(()).unwrap();
    waiting.receive::<HeartbeatRequest>(4, 1).await;
}

#[tokio::test]
async fn shutdown_answers_what_is_in_work_and_closes_the_rest() {
    let mut steering = Steered::steering();
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut busy = running.connect().await;
    let mut idle = running.connect().await;
    idle.round_trip("t").await;
    let open = steering.handler.gate(1);
    busy.send(&heartbeat(1), 4).await;
    soon(steering.begun.recv()).await;
    running.shutdown.send(true).unwrap();
    assert!(idle.until_closed().await.is_empty());
    open.send(()).unwrap();
    busy.receive::<HeartbeatRequest>(4, 1).await;
    assert!(busy.until_closed().await.is_empty());
    soon(running.task).await.unwrap();
    assert!(tokio::net::TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_what_never_ends() {
    let mut steering = Steered::steering();
    let options = ServerOptions {
        in_flight_requests_max: 2,
        drain_max: Duration::from_millis(50),
        ..ServerOptions::default()
    };
    let running = start(options, steering.handler.clone()).await;
    let mut client = running.connect().await;
    let _gates = [1, 2, 3].map(|id| steering.handler.gate(id));
    for id in 1..=3 {
        client.send(&heartbeat(id), 4).await;
    }
    soon(steering.begun.recv()).await;
    soon(steering.begun.recv()).await;
    // The third is read, and waits for admission.
    running.shutdown.send(true).unwrap();
    soon(running.task).await.unwrap();
    assert!(client.until_closed().await.is_empty());
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_own_connection_only() {
    let steering = Steered::steering();
    let running = start(ServerOptions::default(), steering.handler.clone()).await;
    let mut other = running.connect().await;
    other.round_trip("before").await;
    let mut client = running.connect().await;
    client.send(&heartbeat(PANICS), 4).await;
    assert!(client.until_closed().await.is_empty());
    other.round_trip("after").await;
    drop((client, other));
    running.quiet().await;
}
