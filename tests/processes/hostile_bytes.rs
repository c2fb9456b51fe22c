//! Bytes of strangers at a real process: it lives, stays small, and serves the next client.
//!
//! What each kind of bytes is answered with is tested in `tests/hostile_input.rs`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::raw;
use super::support::{PATIENCE, cluster, read, records, send_all};

const MIB: u64 = 1 << 20;
/// Growth allowed over all that is sent here; one frame may be 100 MiB.
const GROWN_BYTES_MAX: u64 = 100 * MIB;

/// Sends `bytes`, ends the sending side, and reads until the broker ends the connection too.
fn send_to(address: SocketAddr, bytes: &[u8]) {
    let mut socket = raw::connect(address).unwrap();
    // The broker may close before it has read everything.
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(answer.len() < 100_000, "{} bytes for {} bytes", answer.len(), bytes.len());
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn hostile() -> Vec<Vec<u8>> {
    let header = |key: u16, version: u16| {
        let mut bytes = Vec::new();
        bytes.extend(key.to_be_bytes());
        bytes.extend(version.to_be_bytes());
        bytes.extend([0, 0, 0, 9, 0, 1, b'x']);
        bytes
    };
    let mut cases = vec![
        0x7fff_ffff_u32.to_be_bytes().to_vec(),
        (-1_i32).to_be_bytes().to_vec(),
        0_u32.to_be_bytes().to_vec(),
        raw::METADATA[..raw::METADATA.len() - 3].to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x55; 600]].concat(),
        frame(&header(999, 0)),
        frame(&header(3, 999)),
        frame(&header(18, 0x7fff)),
        // An array of 2³¹ − 1 topics in a request of a few bytes.
        frame(&[header(3, 1), vec![0x7f, 0xff, 0xff, 0xff]].concat()),
        frame(&[header(0, 9), vec![0xff; 40]].concat()),
        frame(&[header(1, 12), vec![0xff; 60]].concat()),
        frame(&[0xff; 3]),
    ];
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..200 {
        let mut noise = vec![0; rng.random_range(1..400)];
        rng.fill(noise.as_mut_slice());
        cases.push(noise.clone());
        cases.push(frame(&noise));
        // Random bodies behind a true header reach the decoders.
        cases.push(frame(
            &[header(rng.random_range(0..70), rng.random_range(0..14)), noise].concat(),
        ));
    }
    cases
}

#[test]
fn a_node_outlives_hostile_bytes() {
    let mut cluster = cluster(1);
    let address = cluster.node(1).ports.kafka;
    send_all(&cluster.bootstrap(), "before", 0, &records(10), &[]);
    let pid = cluster.node(1).pid();
    let small = cluster.node(1).resident_bytes().unwrap();

    hostile().iter().for_each(|bytes| send_to(address, bytes));
    // Many that announce the largest frame, send a little of it, and wait.
    let waiting: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut socket = raw::connect(address).unwrap();
            socket.write_all(&(100 * 1024 * 1024_u32).to_be_bytes()).unwrap();
            socket.write_all(&[0; 4096]).unwrap();
            socket
        })
        .collect();
    assert!(raw::works(address).unwrap(), "others are served meanwhile");
    let grown = cluster.node(1).resident_bytes().unwrap().saturating_sub(small);
    println!("grown by {} KiB", grown / 1024);
    assert!(grown < GROWN_BYTES_MAX, "{grown}");
    drop(waiting);

    assert!(cluster.node_mut(1).is_running().unwrap());
    assert_eq!(cluster.node(1).pid(), pid);
    assert_eq!(read(&cluster.bootstrap(), "before", 0, &[]).len(), 10);
}

#[test]
fn who_never_finishes_a_request_does_not_keep_a_node_from_stopping() {
    let mut cluster = cluster(1);
    let ports = cluster.node(1).ports;
    let open = |address, begun: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(begun).unwrap();
        stream
    };
    let half_asked = [
        open(ports.admin, b"GET /health/ready HTTP/1.1\r\nHost: node\r\n"),
        open(ports.admin, b"POST /api/v1/topics HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"),
        open(ports.admin, b""),
        open(ports.kafka, &[0, 0, 0, 99, 0]),
    ];
    let begun = Instant::now();
    cluster.node_mut(1).terminate(PATIENCE).unwrap();
    // Whoever is in the midst of a request has 5 s.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(half_asked);
}
