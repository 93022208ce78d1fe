//! Reads the HTTP/2 frames that the service sends.
//!
//! h2 refuses a malformed request, for instance for its `:authority`, before the service sees it. It
//! tells only the client, by a `RST_STREAM`, so this looks for those.

/// The length of a frame's header.
const HEADER_BYTES: usize = 9;
/// The bytes of an error code.
const CODE_BYTES: usize = 4;
/// The type of a `RST_STREAM` frame.
const RST_STREAM: u8 = 3;
/// The code of a malformed request.
const PROTOCOL_ERROR: [u8; CODE_BYTES] = [0, 0, 0, 1];

/// The position in the frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of the current frame: its header, and the code of a `RST_STREAM`.
    begin: Vec<u8>,
    /// The bytes to skip.
    skip: usize,
}

impl Frames {
    /// Reads the next bytes. Returns the number of malformed requests that they refuse.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> usize {
        let mut refused = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let is_reset = self.begin.get(3) == Some(&RST_STREAM);
            let wanted = if is_reset { HEADER_BYTES + CODE_BYTES } else { HEADER_BYTES };
            let taken = (wanted - self.begin.len()).min(bytes.len());
            let (first, rest) = bytes.split_at_checked(taken).unwrap_or_default();
            self.begin.extend_from_slice(first);
            bytes = rest;
            match *self.begin.as_slice() {
                [_, _, _, RST_STREAM, _, _, _, _, _, a, b, c, d] => {
                    refused += usize::from([a, b, c, d] == PROTOCOL_ERROR);
                    self.begin.clear();
                }
                [a, b, c, kind, _, _, _, _, _] if kind != RST_STREAM => {
                    // Three bytes fit into a usize.
                    self.skip = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
                    self.begin.clear();
                }
                _ => {}
            }
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn finds_refused_streams_wherever_the_writes_are_cut() {
        let sent = [
            frame(4, &[]),
            frame(0, &[3; 300]),
            frame(RST_STREAM, &[0, 0, 0, 8]),
            frame(RST_STREAM, &PROTOCOL_ERROR),
            frame(1, &PROTOCOL_ERROR),
            frame(RST_STREAM, &PROTOCOL_ERROR),
            frame(0, &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
        ]
        .concat();
        for step in 1..sent.len() {
            let mut frames = Frames::default();
            let refused: usize = sent.chunks(step).map(|bytes| frames.read(bytes)).sum();
            assert_eq!(refused, 2, "in steps of {step}");
        }
    }
}
