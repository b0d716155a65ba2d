//! The stream over a socket that takes and gives little at a time.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

/// A client's frame with an empty mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn what_is_written_in_pieces_is_one_frame() {
    let (near, mut far) = duplex(7);
    let mut socket = WebSocket::new(Box::new(near), 1000);
    let writing = tokio::spawn(async move {
        socket.write_all(&[5; 300]).await.unwrap();
        socket.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    far.read_to_end(&mut received).await.unwrap();
    writing.await.unwrap();
    let expected = [&[0x82, 126, 1, 44][..], &[5; 300], &[0x88, 2, 3, 232]].concat();
    assert_eq!(received, expected);
}

#[tokio::test]
async fn a_ping_is_answered_while_reading_but_never_within_a_frame() {
    let (near, mut far) = duplex(64);
    let mut socket = WebSocket::new(Box::new(near), 1000);
    far.write_all(&[frame(0x89, b"one"), frame(0x82, b"packet")].concat()).await.unwrap();
    let mut read = [0; 6];
    socket.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"packet");
    let mut pong = [0; 5];
    far.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\x8A\x03one");

    // Only a part of the frame fits the pipe before the ping comes.
    let wrote = socket.write(&[7; 100]).await.unwrap();
    assert_eq!(wrote, 62);
    far.write_all(&frame(0x89, b"two")).await.unwrap();
    far.write_all(&frame(0x82, b"packet")).await.unwrap();
    socket.read_exact(&mut read).await.unwrap();
    let rest = tokio::spawn(async move {
        socket.write_all(&[7; 38]).await.unwrap();
        socket.flush().await.unwrap();
        socket
    });
    let mut received = vec![0; 107];
    far.read_exact(&mut received).await.unwrap();
    rest.await.unwrap();
    assert_eq!(received, [&[0x82, 100][..], &[7; 100], b"\x8A\x03two"].concat());
}

#[tokio::test]
async fn a_close_frame_is_the_end_and_is_answered() {
    let (near, mut far) = duplex(64);
    let mut socket = WebSocket::new(Box::new(near), 1000);
    far.write_all(&[frame(0x82, b"last"), frame(0x88, &[])].concat()).await.unwrap();
    let mut read = Vec::new();
    socket.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"last");
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0x88, 2, 3, 232], "once");
}

#[tokio::test]
async fn a_violation_is_told_by_its_code() {
    for (bytes, code) in [(frame(0x81, b"text"), 1003u16), (frame(0x80, b""), 1002)] {
        let (near, mut far) = duplex(64);
        let mut socket = WebSocket::new(Box::new(near), 1000);
        far.write_all(&bytes).await.unwrap();
        let error = socket.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [&[0x88, 2][..], &code.to_be_bytes()].concat());
    }
}
