//! People, their logins and tokens, and the members of a board.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{Client, ClientError, Page};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub id: Uuid,
    pub name: String,
    #[serde(default)]
    pub display_name: String,
    #[serde(default)]
    pub role: String,
    #[serde(default)]
    pub disabled_at: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UserEdit {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    pub user_id: Uuid,
    pub name: String,
    #[serde(default)]
    pub display_name: String,
    #[serde(default)]
    pub role: String,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A login, or a personal token, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Login {
    pub id: Uuid,
    pub kind: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub expires_at: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A personal token, the only time that it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewToken {
    pub token: String,
    #[serde(flatten)]
    pub login: Login,
}

/// What a login gives. The refresh token is good once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tokens {
    pub access_token: String,
    pub expires_in: i64,
    pub refresh_token: String,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Client {
    pub async fn log_in(&self, name: &str, password: &str) -> Result<Tokens, ClientError> {
        self.post(&["auth", "login"], &json!({ "name": name, "password": password })).await
    }

    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, ClientError> {
        self.post(&["auth", "refresh"], &json!({ "refresh_token": refresh_token })).await
    }

    /// Ends the login that this client's token belongs to.
    pub async fn log_out(&self) -> Result<(), ClientError> {
        self.post_for_nothing(&["auth", "logout"], &json!({})).await
    }

    /// The keys that are believed from now on; the first signs.
    pub async fn rotate_keys(&self) -> Result<Value, ClientError> {
        self.post(&["auth", "rotate-keys"], &json!({})).await
    }

    pub async fn create_user(
        &self,
        name: &str,
        display_name: Option<&str>,
        role: &str,
        password: Option<&str>,
    ) -> Result<User, ClientError> {
        let new = json!({ "name": name, "display_name": display_name, "role": role, "password": password });
        self.post(&["users"], &new).await
    }

    /// All of them, page after page.
    pub async fn users(&self) -> Result<Vec<User>, ClientError> {
        let mut users = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", "200".to_owned())];
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<User> = self.get(&["users"], &query).await?;
            users.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(users);
            }
        }
    }

    /// `user` is an id, a name, or `me`.
    pub async fn update_user(&self, user: &str, edit: &UserEdit) -> Result<User, ClientError> {
        self.patch(&["users", user], edit).await
    }

    pub async fn set_password(&self, user: &str, password: &str, current: Option<&str>) -> Result<User, ClientError> {
        self.post(&["users", user, "password"], &json!({ "password": password, "current": current })).await
    }

    pub async fn members(&self, board: &str) -> Result<Vec<Member>, ClientError> {
        let page: Page<Member> = self.get(&["boards", board, "members"], &[]).await?;
        Ok(page.items)
    }

    pub async fn add_member(&self, board: &str, user: &str) -> Result<Member, ClientError> {
        self.post(&["boards", board, "members"], &json!({ "user": user })).await
    }

    pub async fn remove_member(&self, board: &str, user: &str) -> Result<Member, ClientError> {
        self.delete(&["boards", board, "members", user], &[]).await
    }

    pub async fn create_token(
        &self,
        name: &str,
        scopes: &[String],
        days: Option<u32>,
    ) -> Result<NewToken, ClientError> {
        self.post(&["tokens"], &json!({ "name": name, "scopes": scopes, "expires_in_days": days })).await
    }

    pub async fn tokens(&self) -> Result<Vec<Login>, ClientError> {
        let page: Page<Login> = self.get(&["tokens"], &[]).await?;
        Ok(page.items)
    }

    pub async fn revoke_token(&self, id: Uuid) -> Result<(), ClientError> {
        self.delete_for_nothing(&["tokens", &id.to_string()]).await
    }
}
