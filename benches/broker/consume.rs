//! CPU time of a broker per GB that one consumer reads from the page cache, against a bare loop of
//! `sendfile(2)` over the same files to the same kind of socket.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::client::{BATCH, Client};
use crate::process::{Broker, cpu_of};

const ROUNDS: usize = 5;

pub(crate) fn run(gb: usize) {
    println!("\nconsume: CPU time to send {gb} GB from the page cache");
    let broker = Broker::start();
    let mut client = Client::connect(broker.port);
    client.create_topic();
    client.produce(gb * 1_000_000_000 / BATCH);
    let files = broker.segments();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (bytes, cpu, took) = consume(&broker);
        let loop_cpu = sendfile_loop(&files, bytes);
        if round > 0 {
            // The first one warms up.
            ours.push(cpu.as_secs_f64() / bytes as f64 * 1e9);
            bare.push(loop_cpu.as_secs_f64() / bytes as f64 * 1e9);
        }
        println!(
            "  round {round}: {:.2} GB/s, broker {:.3} s, bare loop {:.3} s of CPU time",
            bytes as f64 / took.as_secs_f64() / 1e9,
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
    println!("  ratio      {:.2} (bar: 1.3)", ours / bare);
}

fn consume(broker: &Broker) -> (usize, Duration, Duration) {
    let mut client = Client::connect(broker.port);
    let (mut offset, mut bytes) = (0, 0);
    let (cpu, begun) = (broker.cpu(), Instant::now());
    loop {
        client.ask(offset);
        let (got, next) = client.records(offset);
        if got == 0 {
            return (bytes, broker.cpu() - cpu, begun.elapsed());
        }
        (offset, bytes) = (next, bytes + got);
    }
}

fn sendfile_loop(files: &[PathBuf], bytes: usize) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let files = files.to_vec();
    let sender = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let task = Path::new("/proc/thread-self").canonicalize().unwrap();
        let before = cpu_of(&task);
        let (mut left, mut asked) = (bytes, 0);
        for path in files {
            let file = File::open(path).unwrap();
            let mut at = 0;
            let end = file.metadata().unwrap().len().min(left as u64);
            while at < end {
                if asked == 0 {
                    // A slice per request, as a consumer asks for them.
                    let mut request = [0; 100];
                    stream.read_exact(&mut request).unwrap();
                    asked = BATCH;
                }
                let most = asked.min((end - at) as usize);
                let sent = rustix::fs::sendfile(&stream, &file, Some(&mut at), most).unwrap();
                assert!(sent > 0);
                asked -= sent;
            }
            left -= end as usize;
        }
        cpu_of(&task) - before
    });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; BATCH];
    let mut got = 0;
    let mut asked = 0;
    while got < bytes {
        if got >= asked {
            std::io::Write::write_all(&mut stream, &[0; 100]).unwrap();
            asked += BATCH;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => got += n,
        }
    }
    drop(stream);
    sender.join().unwrap()
}
