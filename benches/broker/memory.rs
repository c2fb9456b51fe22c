//! Resident memory of a broker while one fast producer and eight slow consumers use it.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::client::{BATCH, Client};
use crate::process::Broker;

const CONSUMERS: usize = 8;

pub(crate) fn run(gb: usize) {
    println!(
        "\nmemory: {gb} GB through a broker, one fast producer and {CONSUMERS} slow consumers"
    );
    let broker = Broker::start();
    let mut producer = Client::connect(broker.port);
    producer.create_topic();
    std::thread::sleep(Duration::from_secs(2));
    let idle = broker.resident();
    let (stop, largest, read) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CONSUMERS {
            scope.spawn(|| slow_consumer(broker.port, &stop, &read));
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                largest.fetch_max(broker.resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        producer.produce(gb * 1_000_000_000 / BATCH);
        stop.store(true, Ordering::Relaxed);
    });
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    let largest = largest.load(Ordering::Relaxed);
    println!("  produced {gb} GB, consumed {:.2} GB", read.load(Ordering::Relaxed) as f64 / 1e9);
    println!("  idle     {:.1} MiB\n  largest  {:.1} MiB", mib(idle), mib(largest));
    println!("  growth   {:.1} MiB (bar: 64)", mib(largest.saturating_sub(idle)));
}

/// Asks for a MiB, and takes it in small pieces with pauses; always several answers behind.
fn slow_consumer(port: u16, stop: &AtomicBool, read: &AtomicU64) {
    let mut client = Client::connect(port);
    // So many that their answers together would be large if a broker kept them in memory.
    (0..32).for_each(|_| client.ask(0));
    let mut piece = vec![0; 64 << 10];
    client.stream().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(got) = client.stream().read(&mut piece) {
            if got == 0 {
                return;
            }
            read.fetch_add(got as u64, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
