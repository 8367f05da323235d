//! Owns compression: any piece of a member becomes a run of whole deflate blocks (RFC 1951) that ends on a byte, so
//! that pieces compressed side by side join into one stream; refuses to spend time on what does not shrink.

use flate2::{Compress, Compression, FlushCompress, Status};

/// Level 1 of zlib-rs: on two cores compression bounds a collection, and higher levels halve its speed.
const LEVEL: u32 = 1;
/// Pieces shorter than this are simply tried; longer ones are sampled first.
const SAMPLED_FROM: usize = 64 * 1024;
const SAMPLE: usize = 4 * 1024;
/// Longest content of one stored block (RFC 1951 3.2.4).
const STORED_BLOCK: usize = 65_535;

/// Where a piece stands in its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// More pieces follow.
    Inner,
    /// The stream ends with this piece.
    Last,
}

/// A compressor that is reused from piece to piece.
pub(super) struct Deflater {
    compress: Compress,
    sample: Vec<u8>,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self { compress: Compress::new(Compression::new(LEVEL), false), sample: Vec::new() }
    }

    /// Appends the blocks of `piece` to `out`.
    pub(super) fn piece(&mut self, piece: &[u8], position: Position, out: &mut Vec<u8>) {
        if piece.is_empty() {
            // Resetting the compressor costs more than a small file does; an end is one empty fixed block.
            return out.extend(match position {
                Position::Inner => &[][..],
                Position::Last => &[3, 0],
            });
        }
        let start = out.len();
        if piece.len() >= SAMPLED_FROM && !self.shrinks(piece) {
            return store(piece, position, out);
        }
        self.compress(piece, position, out);
        // Stored blocks are never longer than their content by more than this.
        if out.len() - start > piece.len() + 5 * (piece.len() / STORED_BLOCK + 1) {
            out.truncate(start);
            store(piece, position, out);
        }
    }

    fn compress(&mut self, piece: &[u8], position: Position, out: &mut Vec<u8>) {
        self.compress.reset();
        let flush = match position {
            Position::Inner => FlushCompress::Sync,
            Position::Last => FlushCompress::Finish,
        };
        let mut rest = piece;
        loop {
            out.reserve(room(rest.len()));
            let before = self.compress.total_in();
            let status = self.compress.compress_vec(rest, out, flush);
            let taken = usize::try_from(self.compress.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            let room_left = out.len() < out.capacity();
            match (position, status) {
                (Position::Last, Ok(Status::StreamEnd)) => return,
                (Position::Inner, Ok(_)) if rest.is_empty() && room_left => return,
                // Without room the compressor has more to give; anything else cannot happen with valid arguments.
                (_, Ok(_)) => {}
                (_, Err(_)) => unreachable!("deflate of a byte slice into a growing buffer has no error"),
            }
        }
    }

    /// Whether three samples of a long piece shrink by at least a thirtieth.
    fn shrinks(&mut self, piece: &[u8]) -> bool {
        let mut sample = std::mem::take(&mut self.sample);
        sample.clear();
        let last = piece.len() - SAMPLE;
        let tried: Vec<u8> =
            [0, last / 2, last].iter().flat_map(|from| &piece[*from..from + SAMPLE]).copied().collect();
        self.compress(&tried, Position::Last, &mut sample);
        let shrinks = sample.len() < tried.len() - tried.len() / 30;
        self.sample = sample;
        shrinks
    }
}

/// Room that compressing `len` bytes wants; with less it goes on in a second step.
pub(super) fn room(len: usize) -> usize {
    len + len / 8 + 64
}

/// Appends `piece` in stored blocks.
fn store(piece: &[u8], position: Position, out: &mut Vec<u8>) {
    out.reserve(piece.len() + 5 * (piece.len() / STORED_BLOCK + 1));
    let blocks = piece.len().div_ceil(STORED_BLOCK).max(1);
    let mut chunks = piece.chunks(STORED_BLOCK);
    for number in 1..=blocks {
        let chunk = chunks.next().unwrap_or_default();
        let len = u16::try_from(chunk.len()).expect("a chunk is at most 65,535 bytes");
        out.push(u8::from(number == blocks && position == Position::Last));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};

    fn inflate(stream: &[u8], size: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(size + 1);
        let mut inflate = Decompress::new(false);
        let status =
            inflate.decompress_vec(stream, &mut content, FlushDecompress::Finish).expect("a valid stream");
        assert_eq!(status, Status::StreamEnd);
        assert_eq!(
            usize::try_from(inflate.total_in()).expect("small"),
            stream.len(),
            "nothing after the stream"
        );
        content
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn pieces_join_into_one_stream() {
        let text: Vec<u8> = b"Nov 24 15:04:05 web-01 sshd[812]: Failed password for root\n".repeat(9_000);
        let random = noise(300_000);
        let content: Vec<u8> = [&text[..], &random, &[0; 200_000]].concat();
        for size in [1, 7, 4_096, 65_535, 65_536, 262_144, content.len()] {
            let content = if size < 4_096 { &content[..3_000] } else { &content[..] };
            let mut deflater = Deflater::new();
            let mut stream = Vec::new();
            for piece in content.chunks(size) {
                deflater.piece(piece, Position::Inner, &mut stream);
            }
            deflater.piece(b"", Position::Last, &mut stream);
            assert!(inflate(&stream, content.len()) == content, "pieces of {size}");
        }
    }

    #[test]
    fn what_does_not_shrink_grows_by_block_headers_only() {
        for len in [0, 1, 100, 65_535, 65_536, 1_000_000] {
            let content = noise(len);
            let mut stream = Vec::new();
            Deflater::new().piece(&content, Position::Last, &mut stream);
            assert!(stream.len() <= len + 5 * (len / STORED_BLOCK + 1), "{len} became {}", stream.len());
            assert!(inflate(&stream, len) == content);
        }
    }
}
