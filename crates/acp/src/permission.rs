//! Choosing among the options an agent offers: by kind, never by place. Order and ids differ from agent to agent, and one
//! of them lists "always" first.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::envelope::object;

/// One option as the agent offers it. `id` goes back unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionOption {
    #[serde(rename = "optionId")]
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub kind: OptionKind,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OptionKind {
    AllowOnce,
    AllowAlways,
    RejectOnce,
    RejectAlways,
    /// None given. Only a person may choose it.
    #[default]
    Missing,
    /// A kind of a newer protocol. Only a person may choose it.
    Other(String),
}

impl OptionKind {
    pub fn as_str(&self) -> &str {
        match self {
            Self::AllowOnce => "allow_once",
            Self::AllowAlways => "allow_always",
            Self::RejectOnce => "reject_once",
            Self::RejectAlways => "reject_always",
            Self::Missing => "",
            Self::Other(kind) => kind,
        }
    }
}

impl Serialize for OptionKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for OptionKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Anything that is no string is as good as missing; a strange kind must not hide the request.
        let Some(kind) = serde_json::Value::deserialize(deserializer)?.as_str().map(str::to_owned) else {
            return Ok(Self::Missing);
        };
        Ok(match kind.as_str() {
            "allow_once" => Self::AllowOnce,
            "allow_always" => Self::AllowAlways,
            "reject_once" => Self::RejectOnce,
            "reject_always" => Self::RejectAlways,
            "" => Self::Missing,
            _ => Self::Other(kind),
        })
    }
}

/// What goes back when nobody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    Option(&'a PermissionOption),
    Cancelled,
}

/// What an automatic yes may choose: an option that allows this once. Where there is none, a person has to be asked: an
/// automatic yes never outlives the one call it was given for.
pub fn allow_once(options: &[PermissionOption]) -> Option<&PermissionOption> {
    options.iter().find(|option| option.kind == OptionKind::AllowOnce)
}

/// What a no chooses: an option that rejects this once, else the request is cancelled, which every agent has to understand.
/// Never "always": a rule that nobody meant to make would stay with the agent.
pub fn reject(options: &[PermissionOption]) -> Choice<'_> {
    options.iter().find(|option| option.kind == OptionKind::RejectOnce).map_or(Choice::Cancelled, Choice::Option)
}

/// Options as far as they can be read: one without an id cannot be chosen, so it is left out.
pub(crate) fn options(raw: &str) -> Vec<PermissionOption> {
    #[derive(Deserialize)]
    struct Loose<'a> {
        #[serde(borrow, rename = "optionId")]
        id: Cow<'a, str>,
        #[serde(default)]
        name: serde_json::Value,
        #[serde(default)]
        kind: OptionKind,
    }
    let Ok(list) = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(raw) else { return Vec::new() };
    list.into_iter()
        .filter_map(|option| object::<Loose<'_>>(option.get().as_bytes()))
        .map(|Loose { id, name, kind }| {
            let id = id.into_owned();
            let name = name.as_str().map_or_else(|| id.clone(), str::to_owned);
            PermissionOption { id, name, kind }
        })
        .collect()
}
