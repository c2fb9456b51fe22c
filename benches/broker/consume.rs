//! CPU time of a broker per GB that one consumer reads from the page cache, against a bare loop of
//! `sendfile(2)` over the same files, in slices of the same size, to the same client.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::client::{Client, FETCH};
use crate::process::{Broker, cpu_of};

const ROUNDS: usize = 5;

/// An answer of one batch, and one of as many small ones.
const BATCH_BYTES: [usize; 2] = [FETCH, 16 << 10];

/// Largest ratio that is meant to be.
const BAR: f64 = 1.3;

/// Whether the bar was met.
pub(crate) fn run(gb: usize) -> bool {
    // Both are run, whatever the first one says.
    let are_met = BATCH_BYTES.map(|batch_bytes| run_with(gb, batch_bytes));
    are_met.into_iter().all(|is_met| is_met)
}

fn run_with(gb: usize, batch_bytes: usize) -> bool {
    let kib = batch_bytes >> 10;
    println!("\nconsume: CPU time to send {gb} GB from the page cache, batches of {kib} KiB");
    let broker = Broker::start();
    let mut client = Client::connect(broker.port);
    client.create_topic();
    let batches = gb * 1_000_000_000 / batch_bytes;
    let records = client.produce(batches, batch_bytes) * batches as i64;
    let files = broker.segments();
    let shape = Shape::ask(&broker);
    println!("  {} records in {} bytes per answer", shape.slice_records, shape.slice_bytes);
    // The last answers of the log, and of each file as the bare loop cuts it, are not whole.
    let count = (records / shape.slice_records) as usize - files.len();
    let gb = (count * shape.slice_bytes) as f64 / 1e9;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (cpu, begun) = (broker.cpu(), Instant::now());
        consume(broker.port, shape, count);
        let (cpu, took) = (broker.cpu() - cpu, begun.elapsed());
        let loop_cpu = bare_loop(&files, shape, count);
        if round > 0 {
            // The first one warms up.
            ours.push(cpu.as_secs_f64() / gb);
            bare.push(loop_cpu.as_secs_f64() / gb);
        }
        println!(
            "  round {round}: {:.2} GB/s, broker {:.3} s, bare loop {:.3} s of CPU time",
            gb / took.as_secs_f64(),
            cpu.as_secs_f64(),
            loop_cpu.as_secs_f64()
        );
    }
    let middle = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (ours, bare) = (middle(&mut ours), middle(&mut bare));
    println!("  broker     {ours:.3} s/GB\n  bare loop  {bare:.3} s/GB");
    println!("  ratio      {:.2} (bar: {BAR})", ours / bare);
    ours / bare <= BAR
}

/// What every response looks like: whole batches behind a head.
#[derive(Clone, Copy)]
struct Shape {
    response_bytes: usize,
    slice_bytes: usize,
    slice_records: i64,
}

impl Shape {
    /// Of the first response.
    fn ask(broker: &Broker) -> Self {
        let mut client = Client::connect(broker.port);
        client.ask(0);
        let (slice_bytes, slice_records) = client.records(0);
        client.ask(0);
        let response_bytes = client.take(&mut Vec::new());
        Self { response_bytes, slice_bytes, slice_records }
    }

    fn head_bytes(&self) -> usize {
        self.response_bytes - self.slice_bytes
    }
}

/// Reads `count` answers from whoever listens on `port`: the same for the broker and for the bare loop.
fn consume(port: u16, shape: Shape, count: usize) {
    let mut client = Client::connect(port);
    let mut buffer = Vec::new();
    for at in 0..count {
        client.ask(at as i64 * shape.slice_records);
        assert_eq!(client.take(&mut buffer), shape.response_bytes);
    }
}

/// A thread that answers each request with a head and a slice by `sendfile(2)`, and its CPU time.
fn bare_loop(files: &[PathBuf], shape: Shape, count: usize) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let files: Vec<File> = files.iter().map(|path| File::open(path).unwrap()).collect();
    let sender = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let task = Path::new("/proc/thread-self").canonicalize().unwrap();
        let before = cpu_of(&task);
        let mut head = vec![0; 4 + shape.head_bytes()];
        head[..4].copy_from_slice(&(shape.response_bytes as u32).to_be_bytes());
        let slices = files.iter().flat_map(|file| {
            let whole = file.metadata().unwrap().len() / shape.slice_bytes as u64;
            (0..whole).map(move |at| (file, at * shape.slice_bytes as u64))
        });
        for (file, mut at) in slices.take(count) {
            read_request(&mut stream);
            rustix::net::send(&stream, &head, rustix::net::SendFlags::MORE).unwrap();
            let end = at + shape.slice_bytes as u64;
            while at < end {
                let left = (end - at) as usize;
                let sent = rustix::fs::sendfile(&stream, file, Some(&mut at), left).unwrap();
                assert!(sent > 0);
            }
        }
        cpu_of(&task) - before
    });
    consume(port, shape, count);
    sender.join().unwrap()
}

fn read_request(stream: &mut TcpStream) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut request = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut request).unwrap();
}
