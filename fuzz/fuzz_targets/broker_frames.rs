//! What the host and the broker say to each other. Every message has one form: what can be read
//! is written as it was.

#![no_main]

use keycell_broker_protocol::{MAX_FRAME, Request, Response, read_frame, write_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::decode(bytes) {
        assert!(*request.encode() == bytes);
    }
    if let Ok(response) = Response::decode(bytes) {
        assert!(*response.encode() == bytes);
    }
    let mut stream = Vec::new();
    write_frame(&mut stream, bytes).expect("a vector takes everything");
    let framed = read_frame(&mut stream.as_slice(), MAX_FRAME);
    assert!(framed.is_ok_and(|frame| frame.is_some_and(|frame| *frame == bytes)));
    // Of a frame that was cut off nothing is taken. Claims between that and the limit only cost
    // time: memory of that size is wiped.
    let claim = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    if (64 * 1024..=MAX_FRAME).contains(&claim) {
        return;
    }
    if let Ok(Some(frame)) = read_frame(&mut &bytes[..], MAX_FRAME) {
        assert!(frame.len() + 4 <= bytes.len());
    }
});
