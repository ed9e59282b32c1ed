//! A board with its whole log as a file, out and in: piece by piece, never all of it in memory.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use crate::{Client, ClientError};

impl Client {
    /// Writes the board's NDJSON and says how many bytes that were. A cut-off download is an error.
    pub async fn export(&self, board: &str, mut to: impl AsyncWrite + Unpin) -> Result<u64, ClientError> {
        let url = self.api(&["boards", board, "export"], &[]);
        let mut response = self.send(self.request(Method::GET, url)).await?;
        let mut bytes = 0;
        while let Some(piece) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            to.write_all(&piece).await?;
            bytes += piece.len() as u64;
        }
        to.flush().await?;
        Ok(bytes)
    }

    /// Sent once and never again by itself: what was read from `from` is gone. Without an idempotency key, since the
    /// server refuses a board that it has already.
    pub async fn import(
        &self,
        from: impl AsyncRead + Send + 'static,
        key: Option<&str>,
        name: Option<&str>,
    ) -> Result<Value, ClientError> {
        let query: Vec<(&str, String)> = [("key", key), ("name", name)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.to_owned())))
            .collect();
        let url = self.api(&["boards", "import"], &query);
        let request = self
            .request(Method::POST, url)
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(reqwest::Body::wrap_stream(ReaderStream::with_capacity(from, 1 << 16)));
        let response = self.send(request).await?;
        let text = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&text).map_err(|error| ClientError::Protocol(error.to_string()))
    }
}
