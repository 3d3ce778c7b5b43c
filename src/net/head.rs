//! Reading an HTTP head and not one byte beyond it. What comes with the head belongs to whoever
//! speaks next, and the buffer in which heads are read is larger than what follows needs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at once.
const READ_BYTES: usize = 1_024;

/// A stream of which no read goes beyond an empty line: that is where a head ends.
pub struct Head<S> {
    stream: S,
    /// What was read, and not handed out yet.
    rest: Vec<u8>,
    /// Whether nothing but a carriage return has come since the last line feed.
    is_line_empty: bool,
}

impl<S> Head<S> {
    /// One that has read nothing.
    pub const fn new(stream: S) -> Self {
        Self { stream, rest: Vec::new(), is_line_empty: false }
    }

    /// The stream, and what was read beyond the head.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.rest)
    }

    /// How many of the bytes that were read may be handed out at once: up to an empty line.
    fn handed_out(&mut self, most: usize) -> usize {
        for (at, byte) in self.rest.iter().take(most).enumerate() {
            match byte {
                b'\n' if self.is_line_empty => return at + 1,
                b'\n' => self.is_line_empty = true,
                b'\r' => {}
                _ => self.is_line_empty = false,
            }
        }
        self.rest.len().min(most)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Head<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            self.rest.extend_from_slice(read.filled());
        }
        let count = self.handed_out(buf.remaining());
        buf.put_slice(self.rest.get(..count).unwrap_or_default());
        self.rest.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Head<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What two reads of so many bytes give at most, of a stream that has it all at once, and what
    /// is left.
    async fn read(sent: &[u8], most: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut head = Head::new(sent);
        let mut parts = Vec::new();
        for _ in 0..2 {
            let mut part = vec![0; most];
            let count = head.read(&mut part).await.unwrap();
            part.truncate(count);
            parts.push(part);
        }
        (parts, head.into_parts().1)
    }

    #[tokio::test]
    async fn no_read_goes_beyond_an_empty_line_and_what_is_behind_it_is_kept() {
        for end in ["\r\n\r\n", "\n\n", "\n\r\n"] {
            let head = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket{end}");
            let sent = format!("{head}frame\r\n\r\nframe");
            let (parts, rest) = read(sent.as_bytes(), 4_096).await;
            assert_eq!(parts, [head.as_bytes(), b"frame\r\n\r\n"], "{end:?}");
            assert_eq!(rest, b"frame");
        }
    }

    #[tokio::test]
    async fn an_empty_line_that_comes_in_two_reads_is_one() {
        let (parts, rest) = read(b"a\r\n\r\nb", 3).await;
        assert_eq!((parts, rest), (vec![b"a\r\n".to_vec(), b"\r\n".to_vec()], b"b".to_vec()));
    }

    #[tokio::test]
    async fn a_stream_that_has_ended_has_ended() {
        let (parts, rest) = read(b"no head", 100).await;
        assert_eq!((parts, rest), (vec![b"no head".to_vec(), vec![]], vec![]));
    }
}
