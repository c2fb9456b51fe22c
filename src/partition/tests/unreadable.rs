//! A disk that does not give back what was written, found out when records are sent.

use std::os::unix::net::UnixStream;

use super::*;
use crate::storage::FileSlice;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_is_damage() {
    let mut nodes = Nodes::start(1).await;
    nodes.leader().await;
    let partition = Arc::clone(nodes.0[0].partition());
    produce_all(&partition, 0..20).await;
    let mut slices = partition.read(Offset(0), 1 << 20, true, -1).unwrap().slices;
    let (socket, _peer) = UnixStream::pair().unwrap();
    let send = |slice: &mut FileSlice| slice.send_to(&socket, 100);
    assert_eq!(send(&mut slices[0]).unwrap(), 100);
    // Whose peer does not read is no trouble of the log's.
    socket_is_full(&slices[0]);
    assert_eq!(partition.damage(), None);

    let mut segments: Vec<_> =
        std::fs::read_dir(nodes.0[0].dir.path()).unwrap().flatten().collect();
    segments.retain(|entry| entry.path().extension().is_some_and(|e| e == "log"));
    segments.sort_by_key(std::fs::DirEntry::path);
    let first = std::fs::OpenOptions::new().write(true).open(segments[0].path()).unwrap();
    first.set_len(0).unwrap();
    assert!(send(&mut slices[0]).is_err());
    let damage = partition.damage().expect("it is known");
    assert!(damage.contains("00000000000000000000.log"), "{damage}");
    nodes.stop().await;
}

fn socket_is_full(slice: &FileSlice) {
    let (socket, _peer) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    let error = std::iter::repeat_with(|| slice.clone().send_to(&socket, 1 << 20))
        .find_map(Result::err)
        .unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}
