//! The params of a call: an object, of which each method takes what it needs.

use kanvoy_store::Claim;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::methods::Asked;
use crate::body;
use crate::idempotency::{self, Fingerprint};
use crate::params::Params;
use crate::problem::{Code, Problem};

pub struct Fields(Map<String, Value>);

impl Fields {
    /// `None` where the call had no params.
    pub fn read(params: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = params else { return Ok(Self(Map::new())) };
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => {
                Err(Problem::new(Code::InvalidBody, "params must be an object: they go by name here, not by place"))
            }
            Err(error) => Err(Problem::new(Code::MalformedJson, format!("the params cannot be read: {error}"))),
        }
    }

    /// An id or a key, that must be given.
    pub fn id(&mut self, name: &str) -> Result<String, Problem> {
        self.id_if_any(name)?.ok_or_else(|| Problem::body(format!("/{name}"), format!("missing field `{name}`")))
    }

    pub fn id_if_any(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(id)) => Ok(Some(id)),
            Some(_) => Err(Problem::body(format!("/{name}"), "must be a text")),
        }
    }

    pub fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(Problem::body(format!("/{name}"), "must be true or false")),
        }
    }

    /// A number or a text, as a text.
    pub fn position(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(Problem::body(format!("/{name}"), "must be a number, or a cursor as a text")),
        }
    }

    /// The key that the call came with: its own, or the one that its body's header gave it. What is left of the params
    /// tells this call from another of the same key.
    pub fn claim(&mut self, asked: &Asked) -> Result<Option<Claim>, Problem> {
        let own = self.id_if_any("idempotency_key")?;
        if let Some(key) = &own {
            idempotency::checked(key, "idempotency_key")?;
        }
        let Some(key) = own.or_else(|| asked.key.clone()) else { return Ok(None) };
        let mut print = Fingerprint::of(&format!("rpc {}", asked.method));
        // In the order of their names, however they were sent.
        print.take(&serde_json::to_vec(&self.0).map_err(Problem::internal)?);
        Ok(Some(print.claim(&asked.caller.who, &key, asked.caller.api.clock.now())))
    }

    /// Everything that is left, as the body of a route.
    pub fn body<T: DeserializeOwned>(self) -> Result<T, Problem> {
        body::object(&serde_json::to_vec(&self.0).map_err(Problem::internal)?)
    }

    /// Everything that is left, as the query of a route. What is not known is refused: a filter that is misspelt would
    /// otherwise give what nobody asked for.
    pub fn query(self, known: &[&str]) -> Result<Params, Problem> {
        let mut pairs = Vec::new();
        for (name, value) in self.0 {
            if !known.contains(&name.as_str()) {
                let detail = format!("unknown field, expected one of {}", known.join(", "));
                return Err(Problem::body(pointer(&name), detail));
            }
            match value {
                Value::Array(all) => {
                    for one in all {
                        pairs.extend(text(&name, one)?.map(|text| (name.clone(), text)));
                    }
                }
                one => pairs.extend(text(&name, one)?.map(|text| (name, text))),
            }
        }
        Ok(Params::of(pairs))
    }

    /// Nothing must be left.
    pub fn end(self) -> Result<(), Problem> {
        self.query(&[]).map(drop)
    }
}

fn text(name: &str, value: Value) -> Result<Option<String>, Problem> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(flag) => Ok(Some(flag.to_string())),
        Value::Array(_) | Value::Object(_) => {
            Err(Problem::body(pointer(name), "must be a text, a number or a list of them"))
        }
    }
}

/// Names come from outside and may be of any length.
fn pointer(name: &str) -> String {
    let shown: String = name.chars().take(80).collect();
    format!("/{}", shown.replace('~', "~0").replace('/', "~1"))
}
