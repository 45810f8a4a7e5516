//! Both directions of the control socket: what is understood is written so that it is understood the same.

use scrubd::daemon::protocol::{LINE_MAX, REQUEST_MAX, RequestLine, Response};

pub fn holds(bytes: &[u8]) {
    match serde_json::from_slice::<RequestLine>(bytes) {
        Ok(request) => {
            let line = serde_json::to_vec(&request).expect("a plain name");
            assert!(line.len() <= REQUEST_MAX);
            assert_eq!(serde_json::from_slice::<RequestLine>(&line).expect("its own words"), request);
        }
        Err(error) => super::told(&error),
    }
    match serde_json::from_slice::<Response>(bytes) {
        Ok(response) => {
            let line = serde_json::to_vec(&response).expect("plain values");
            assert!(line.len() <= LINE_MAX.max(bytes.len() * 8), "{} bytes of {}", line.len(), bytes.len());
            assert!(!line.contains(&b'\n'), "one line an answer");
            let again: Response = serde_json::from_slice(&line).expect("its own words");
            // A float may be nearer to another after the first reading; from then on it stays.
            assert_eq!(serde_json::to_vec(&again).expect("plain values"), line);
        }
        Err(error) => super::told(&error),
    }
}
