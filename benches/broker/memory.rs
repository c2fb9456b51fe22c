//! Resident memory of a broker while one fast producer and eight slow consumers use it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::client::{Client, FETCH};
use crate::process::Broker;

const CONSUMERS: usize = 8;
/// Answers that each asks for before it has read those before: together large, if a broker kept them.
const ASKED: i64 = 32;
/// What one takes at a time, with a pause behind it.
const SIP: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(5);
/// Batches that are there before anybody reads.
const AHEAD: usize = 2 * ASKED as usize;

/// Most that it may grow by, in MiB.
const BAR: f64 = 64.0;

/// Whether the bar was met.
pub(crate) fn run(gb: usize) -> bool {
    println!(
        "\nmemory: {gb} GB through a broker, one fast producer and {CONSUMERS} slow consumers"
    );
    let broker = Broker::start();
    let mut producer = Client::connect(broker.port);
    producer.create_topic();
    std::thread::sleep(Duration::from_secs(2));
    let idle = broker.resident();
    let (stop, largest) = (AtomicBool::new(false), AtomicU64::new(0));
    let read: Vec<u64> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                largest.fetch_max(broker.resident(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let batch_records = producer.produce(AHEAD, FETCH);
        let (port, stopped) = (broker.port, &stop);
        let consumer = move || slow_consumer(port, batch_records, stopped);
        let consumers: Vec<_> = (0..CONSUMERS).map(|_| scope.spawn(consumer)).collect();
        producer.produce((gb * 1_000_000_000 / FETCH).saturating_sub(AHEAD), FETCH);
        stop.store(true, Ordering::Relaxed);
        consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect()
    });
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    let largest = largest.load(Ordering::Relaxed);
    let (least, most) = (read.iter().min().unwrap(), read.iter().max().unwrap());
    println!("  each consumer read {:.0} to {:.0} MiB meanwhile", mib(*least), mib(*most));
    println!("  idle     {:.1} MiB\n  largest  {:.1} MiB", mib(idle), mib(largest));
    let growth = mib(largest.saturating_sub(idle));
    println!("  growth   {growth:.1} MiB (bar: {BAR})");
    growth <= BAR
}

/// Reads batch after batch until `stop`, in small pieces with pauses; always [`ASKED`] answers behind what it
/// asked for. The bytes it read.
fn slow_consumer(port: u16, batch_records: i64, stop: &AtomicBool) -> u64 {
    let mut client = Client::connect(port);
    client.stream().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    (0..ASKED).for_each(|at| client.ask(at * batch_records));
    let (mut next, mut read) = (ASKED, 0);
    let mut answer = Answer::default();
    let mut sip = vec![0; SIP];
    while !stop.load(Ordering::Relaxed) {
        // The producer may keep the disk, and so the broker, busy for a while.
        let Ok(got) = client.sip(&mut sip) else { continue };
        assert!(got > 0, "the connection was closed");
        read += got as u64;
        for _ in 0..answer.take(&sip[..got]) {
            client.ask(next * batch_records);
            next += 1;
        }
        std::thread::sleep(PAUSE);
    }
    read
}

/// Where in an answer a consumer is.
#[derive(Default)]
struct Answer {
    length: Vec<u8>,
    left: usize,
}

impl Answer {
    /// How many answers end in `bytes`, which come next.
    fn take(&mut self, mut bytes: &[u8]) -> usize {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                self.length.push(bytes[0]);
                bytes = &bytes[1..];
                if let Ok(length) = <[u8; 4]>::try_from(&self.length[..]) {
                    self.left = u32::from_be_bytes(length) as usize;
                    assert!(self.left > FETCH / 2, "an answer without a batch");
                    self.length.clear();
                }
                continue;
            }
            let part = self.left.min(bytes.len());
            self.left -= part;
            bytes = &bytes[part..];
            ended += usize::from(self.left == 0);
        }
        ended
    }
}
