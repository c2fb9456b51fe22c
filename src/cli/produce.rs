//! `jackdaw produce`: one record per line, in batches, with progress where someone watches.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, stderr, stdin};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;

use super::args::{Connect, ProduceArgs};
use super::client::{Producer, ProducerOptions};
use super::output::print_json;
use crate::model::{Clock as _, SystemClock};

/// A batch is closed at this size.
const BATCH_BYTES: usize = 512 * 1024;
/// Lines read ahead of the network.
const LINES_AHEAD: usize = 10_000;

type Lines = mpsc::Receiver<std::io::Result<Vec<u8>>>;

pub(super) async fn run(args: ProduceArgs, connect: &Connect) -> anyhow::Result<()> {
    let separator = args.key_separator.as_deref().map(unescape);
    let options = ProducerOptions {
        acks: if args.acks == "all" { -1 } else { args.acks.parse()? },
        compression: args.compression,
        partition: args.partition,
        batch_bytes: BATCH_BYTES,
    };
    let (input, size_bytes) = open(args.file)?;
    let client = connect.client().await?;
    let mut producer = Producer::open(client, &args.topic, options).await?;
    let progress = progress(size_bytes);
    let mut lines = read_lines(input);
    let mut acknowledged = 0_u64;
    while let Some(first) = lines.recv().await {
        // Whatever is there already goes into the same request; nothing waits for more.
        let mut next = Some(first);
        let (mut full, mut bytes) = (false, 0);
        while let Some(line) = next {
            let line = line.context("the input cannot be read")?;
            bytes += line.len() as u64 + 1;
            let (key, value) = split(&line, separator.as_deref());
            full |= producer.append(SystemClock.now(), key, value);
            next = if full { None } else { lines.try_recv().ok() };
        }
        acknowledged += producer.flush().await.map_err(|failure| {
            let sent = format!("{acknowledged} record(s) were acknowledged before this");
            anyhow::Error::new(failure).context(sent)
        })?;
        progress.inc(bytes);
        progress.set_message(format!("{acknowledged} records"));
    }
    progress.finish_and_clear();
    if connect.json {
        return print_json(&json!({ "topic": args.topic, "records": acknowledged }));
    }
    let sent = if args.acks == "0" { "sent" } else { "acknowledged" };
    eprintln!("{acknowledged} record(s) {sent} in {}", args.topic);
    Ok(())
}

fn open(file: Option<PathBuf>) -> anyhow::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    let Some(path) = file else { return Ok((Box::new(BufReader::new(stdin())), None)) };
    let file = File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let size = file.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(BufReader::with_capacity(1 << 20, file)), size))
}

/// Shown after half a second and only to a terminal, so that short input and scripts see nothing.
fn progress(size_bytes: Option<u64>) -> ProgressBar {
    if !stderr().is_terminal() || (size_bytes.is_none() && stdin().is_terminal()) {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size_bytes {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:32} {bytes}/{total_bytes} {binary_bytes_per_sec} eta {eta} {msg}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {binary_bytes_per_sec} {msg}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Reads on a thread of its own, since standard input blocks.
fn read_lines(mut input: Box<dyn BufRead + Send>) -> Lines {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    thread::spawn(move || {
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            let done = !matches!(read, Ok(count) if count > 0);
            let message = match read {
                Ok(0) => return,
                Ok(_) => Ok(line),
                Err(error) => Err(error),
            };
            if sender.blocking_send(message).is_err() || done {
                return;
            }
        }
    });
    receiver
}

fn split<'a>(line: &'a [u8], separator: Option<&[u8]>) -> (Option<&'a [u8]>, &'a [u8]) {
    let Some(separator) = separator.filter(|separator| !separator.is_empty()) else {
        return (None, line);
    };
    match line.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (Some(&line[..at]), &line[at + separator.len()..]),
        None => (None, line),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\t", "\t").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_splits_at_the_first_separator() {
        assert_eq!(split(b"k\tv\tw", Some(b"\t")), (Some(&b"k"[..]), &b"v\tw"[..]));
        assert_eq!(split(b"no key", Some(b"\t")), (None, &b"no key"[..]));
        assert_eq!(split(b"a:b", None), (None, &b"a:b"[..]));
        assert_eq!(unescape("\\t"), b"\t");
    }

    #[tokio::test]
    async fn lines_keep_their_bytes_and_the_last_needs_no_newline() {
        let input: &[u8] = b"one\n\n\xff\r\nlast";
        let mut lines = read_lines(Box::new(input));
        let mut got = Vec::new();
        while let Some(line) = lines.recv().await {
            got.push(line.unwrap());
        }
        assert_eq!(got, [&b"one"[..], b"", b"\xff\r", b"last"]);
    }
}
