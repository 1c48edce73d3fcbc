//! The bytes of a list as they arrive, decompressed if need be.

use std::io::{self, BufRead, BufReader};

use flate2::bufread::MultiGzDecoder;

/// How many bytes are read at once, if there are so many.
pub const BUFFER: usize = 64 * 1024;

/// Reads a list to its end, and calls `take` with each piece of it as soon as it has arrived, until that returns false.
///
/// A list may be compressed with gzip (RFC 1952). Its first byte tells: no text begins with that control character.
pub fn read_pieces(mut list: impl BufRead, take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    const FIRST_BYTE: u8 = 0x1f;
    let is_compressed = fill(&mut list)?.first() == Some(&FIRST_BYTE);
    if is_compressed {
        read_plain(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(list)), take)
    } else {
        read_plain(list, take)
    }
}

fn read_plain(mut list: impl BufRead, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    loop {
        let piece = fill(&mut list)?;
        let length = piece.len();
        if length == 0 || !take(piece) {
            return Ok(());
        }
        list.consume(length);
    }
}

/// Waits for bytes, even if a signal interrupts that.
fn fill(list: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match list.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    // Returns the same bytes again. The borrow checker does not see that the loop above has given them back.
    list.fill_buf()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn read(list: &[u8]) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        read_pieces(BufReader::with_capacity(3, list), |piece| {
            whole.extend_from_slice(piece);
            true
        })?;
        Ok(whole)
    }

    #[test]
    fn a_compressed_list_is_read_like_any_other() {
        let member = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let compressed = [member(b"http://h/a\n"), member(b"http://h/b\n")].concat();
        assert_eq!(read(&compressed).unwrap(), b"http://h/a\nhttp://h/b\n");
        assert_eq!(read(b"http://h/a\n").unwrap(), b"http://h/a\n");
        assert_eq!(read(b"").unwrap(), b"");
        assert!(read(&compressed[..compressed.len() - 5]).is_err());
        assert!(read(b"\x1fhttp").is_err());
    }

    #[test]
    fn nothing_is_read_once_it_is_not_wanted() {
        let mut pieces = 0;
        read_pieces(BufReader::with_capacity(1, &b"abc"[..]), |_| {
            pieces += 1;
            pieces < 2
        })
        .unwrap();
        assert_eq!(pieces, 2);
    }
}
