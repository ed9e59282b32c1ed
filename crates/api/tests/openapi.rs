//! The description in `docs/openapi.json` is the one that the code gives. `KANVOY_GEN=1` writes it anew.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

#[test]
fn the_description_in_docs_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let made = kanvoy_api::openapi::json() + "\n";
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    let write = std::env::var_os("KANVOY_GEN").is_some();
    if write {
        std::fs::write(&path, &made).expect("is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/openapi.json is out of date; `make gen` writes it anew");
}

#[test]
fn the_description_is_whole() {
    let document: Value = serde_json::from_str(&kanvoy_api::openapi::json()).expect("is JSON");
    let schemas = document["components"]["schemas"].as_object().expect("there are schemas");
    let mut referred = Vec::new();
    refers(&document, &mut referred);
    for name in referred {
        assert!(schemas.contains_key(&name), "{name} is referred to, but not there");
    }
    let mut names = HashSet::new();
    for (path, methods) in document["paths"].as_object().expect("there are paths") {
        for (method, operation) in methods.as_object().expect("there are methods") {
            let name = operation["operationId"].as_str().expect("has a name");
            assert!(names.insert(name.to_owned()), "{name} names two operations");
            let key = operation["parameters"]
                .as_array()
                .is_some_and(|all| all.iter().any(|it| it["name"] == "Idempotency-Key"));
            assert_eq!(key, method == "post", "{method} {path}");
        }
    }
}

fn refers(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                all.push(name.trim_start_matches("#/components/schemas/").to_owned());
            }
            fields.values().for_each(|it| refers(it, all));
        }
        Value::Array(items) => items.iter().for_each(|it| refers(it, all)),
        _ => {}
    }
}
