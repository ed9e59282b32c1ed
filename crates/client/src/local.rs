//! Who we are here, and a link that lets a browser in.

use serde_json::json;

use crate::{Client, ClientError, Link, Me};

impl Client {
    pub async fn me(&self) -> Result<Me, ClientError> {
        self.get(&["auth", "me"], &[]).await
    }

    /// Good for one use and a short time.
    pub async fn browser_link(&self) -> Result<Link, ClientError> {
        self.post(&["auth", "link"], &json!({})).await
    }
}
