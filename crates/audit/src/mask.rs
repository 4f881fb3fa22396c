//! What is kept of bodies: no more than the limit, and nothing of what is masked.

use kea_core::service::PayloadRules;
use serde_json::Value;

use crate::record::Payload;

/// What stands in the place of what is masked.
const MASKED: &str = "***";

/// A request's body as it is written.
pub(crate) fn request(payload: &Payload) -> String {
    kept(&payload.settings.audit.payload, &payload.request)
}

/// An answer's body as it is written.
pub(crate) fn response(payload: &Payload) -> String {
    kept(&payload.settings.audit.payload, &payload.response.concat())
}

/// A body that cannot be masked, as it is no JSON or not there whole, is not kept where there are masks.
fn kept(rules: &PayloadRules, body: &[u8]) -> String {
    let limit = rules.limit();
    if rules.mask.is_empty() {
        return cut(&String::from_utf8_lossy(&body[..body.len().min(limit + 1)]), limit);
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            rules.mask.iter().for_each(|pointer| mask(&mut value, pointer));
            cut(&value.to_string(), limit)
        }
        Err(_) => "(left out: it cannot be masked)".into(),
    }
}

fn cut(text: &str, limit: usize) -> String {
    match text.len() > limit {
        true => format!("{}…", &text[..text.floor_char_boundary(limit)]),
        false => text.into(),
    }
}

/// Replaces what `pointer` points to.
fn mask(value: &mut Value, pointer: &str) {
    let Some(rest) = pointer.strip_prefix('/') else {
        *value = MASKED.into();
        return;
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (segment, rest) = rest.split_at(end);
    match value {
        Value::Object(members) if segment == "*" => members.values_mut().for_each(|member| mask(member, rest)),
        Value::Array(items) if segment == "*" => items.iter_mut().for_each(|item| mask(item, rest)),
        Value::Object(members) => {
            let name = segment.replace("~1", "/").replace("~0", "~");
            members.get_mut(&name).into_iter().for_each(|member| mask(member, rest));
        }
        Value::Array(items) => {
            let item = segment.parse().ok().and_then(|index: usize| items.get_mut(index));
            item.into_iter().for_each(|item| mask(item, rest));
        }
        // Nothing is below a scalar.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(masks: &[&str], body: &str, expected: &str) {
        let mask = masks.iter().map(|pointer| (*pointer).to_owned()).collect();
        let rules = PayloadRules { sample: 1.0, max_bytes: Some(kea_core::quantity::Memory { bytes: 60 }), mask };
        assert_eq!(kept(&rules, body.as_bytes()), expected, "{masks:?}");
    }

    #[test]
    fn masks_point_to_members_items_and_all_of_them() {
        let body = r#"{"inputs":{"name":"Ada","rows":[[1,2],[3,4]],"a/b":{"c":1}}}"#;
        check(&["/inputs/name"], body, r#"{"inputs":{"a/b":{"c":1},"name":"***","rows":[[1,2],[3,4]]}}"#);
        check(
            &["/inputs/rows/*/1", "/inputs/name"],
            r#"{"inputs":{"rows":[[1,2],[3,4]]}}"#,
            r#"{"inputs":{"rows":[[1,"***"],[3,"***"]]}}"#,
        );
        check(&["/inputs/*"], r#"{"inputs":{"a":1,"b":{"c":2}}}"#, r#"{"inputs":{"a":"***","b":"***"}}"#);
        check(&["/inputs/a~1b"], r#"{"inputs":{"a/b":1}}"#, r#"{"inputs":{"a/b":"***"}}"#);
        check(&["/rows/0"], r#"{"rows":["x","y"]}"#, r#"{"rows":["***","y"]}"#);
        check(&["/none/of/it", "/inputs/9"], r#"{"inputs":[1]}"#, r#"{"inputs":[1]}"#);
        check(&["/"], r#"{"":1,"a":2}"#, r#"{"":"***","a":2}"#);
    }

    #[test]
    fn what_cannot_be_masked_is_not_kept() {
        check(&["/ssn"], "ssn=1234", "(left out: it cannot be masked)");
        check(&["/ssn"], r#"{"ssn":"12"#, "(left out: it cannot be masked)");
        check(&[], "ssn=1234", "ssn=1234");
    }

    #[test]
    fn bodies_are_cut_between_characters() {
        check(&[], &"ü".repeat(40), &format!("{}…", "ü".repeat(30)));
        check(&[], &"x".repeat(60), &"x".repeat(60));
    }
}
