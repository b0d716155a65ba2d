//! Buffers that the connections of one worker share, so that an idle connection holds none.

use std::cell::RefCell;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
    static WRITE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that one read takes at most.
pub const READ_SIZE: usize = 128 * 1024;

/// Output that is gathered before it is offered to the socket.
pub const WRITE_SIZE: usize = 64 * 1024;

/// Lends the worker's read buffer. It must not be asked for again inside `read`.
pub fn with_read_buffer<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    READ.with(|buffer| read(&mut buffer.borrow_mut()))
}

/// An empty output buffer with room in it.
pub fn lend_write_buffer() -> Vec<u8> {
    WRITE.with(|buffer| std::mem::take(&mut *buffer.borrow_mut()))
}

/// Takes an empty output buffer back, unless a great packet has blown it up.
pub fn return_write_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() <= 4 * WRITE_SIZE {
        buffer.clear();
        WRITE.with(|place| {
            let mut place = place.borrow_mut();
            if place.capacity() < buffer.capacity() {
                *place = buffer;
            }
        });
    }
}
