//! Operations of web services, which are documented and not validated by KEA: what of them its callers rely on.

use crate::contract::{
    Contract, WebOperation,
    web::{WebAnswer, WebBody, WebParameter, WebPlace},
};

use super::{
    ContractChange, Side, change, fields,
    found::{Found, Moved},
    schema::{self, Context},
    words::{below, shortened},
};

/// What `after` changes for callers of the operations of `before`. Nothing is known of a web service without any.
pub(super) fn compare(before: &Contract, after: &Contract, context: &Context) -> Vec<ContractChange> {
    let (old, new) = (&before.operations, &after.operations);
    if old.is_empty() && new.is_empty() {
        return Vec::new();
    }
    if old.is_empty() || new.is_empty() {
        let told = |operations: &[WebOperation]| match operations.len() {
            0 => "not known".to_owned(),
            count => format!("{count} operations"),
        };
        return vec![change("web service", Side::Function, Found::unknown("", told(old), told(new)))];
    }
    let mut changes: Vec<_> = old.iter().flat_map(|operation| of_operation(operation, new, context)).collect();
    let is_new = |operation: &&WebOperation| old.iter().all(|other| key(other) != key(operation));
    changes.extend(new.iter().filter(is_new).map(|new| change(&title(new), Side::Function, Found::new_one())));
    changes
}

/// Method and path. What a path's parameters are called does not matter to callers.
fn key(operation: &WebOperation) -> (&'static str, String) {
    let mut path = String::new();
    let mut is_within = false;
    for letter in operation.path.chars() {
        match letter {
            '{' => {
                is_within = true;
                path.push('{');
            }
            '}' => is_within = false,
            _ if is_within => {}
            letter => path.push(letter),
        }
    }
    (operation.method.as_str(), path)
}

fn title(operation: &WebOperation) -> String {
    format!("{} {}", operation.method, operation.path)
}

fn of_operation(before: &WebOperation, after: &[WebOperation], context: &Context) -> Vec<ContractChange> {
    let title = title(before);
    let Some(other) = after.iter().find(|other| key(other) == key(before)) else {
        return vec![change(&title, Side::Function, Found { was: "an operation".into(), ..Found::gone() })];
    };
    let mut changes = Vec::new();
    let mut add = |side, found: Vec<Found>| changes.extend(found.into_iter().map(|found| change(&title, side, found)));
    if before.description != other.description {
        let (was, is) = (shortened(&before.description), shortened(&other.description));
        add(Side::Function, vec![Found::of("", Moved::Words, was, is)]);
    }
    add(Side::Input, parameters(&before.parameters, &other.parameters, context));
    add(Side::Input, body(before.body.as_ref(), other.body.as_ref(), context));
    add(Side::Output, answers(&before.answers, &other.answers, context));
    changes
}

/// Parameters by place and name. Web services look only at what they know, so that one that is gone is still sent in vain;
/// those of the path are as many as it has.
fn parameters(before: &[WebParameter], after: &[WebParameter], context: &Context) -> Vec<Found> {
    let named = |list: &[WebParameter]| -> Vec<WebParameter> {
        list.iter().filter(|parameter| parameter.place != WebPlace::Path).cloned().collect()
    };
    let (before, after) = (named(before), named(after));
    let same =
        |one: &WebParameter, other: &WebParameter| one.place == other.place && one.field.name == other.field.name;
    let at = |one: &WebParameter| below(&format!("/{}", one.place.as_str()), &one.field.name);
    let mut found = Vec::new();
    for old in &before {
        match after.iter().find(|new| same(old, new)) {
            Some(new) => {
                found.extend(fields::one(&at(old), &old.field, &new.field, context));
                found.extend(schema::required(&at(old), old.field.required, new.field.required));
            }
            None => found.push(Found::of(at(old), Moved::Removed { taken: true }, "a parameter", "gone")),
        }
    }
    for new in after.iter().filter(|new| !before.iter().any(|old| same(old, new))) {
        let moved = Moved::Added { required: new.field.required && new.field.default.is_none() };
        found.push(Found::of(at(new), moved, "nothing", "a parameter"));
    }
    found
}

fn body(before: Option<&WebBody>, after: Option<&WebBody>, context: &Context) -> Vec<Found> {
    const AT: &str = "/body";
    match (before, after) {
        (None, None) => Vec::new(),
        (Some(_), None) => vec![Found::of(AT, Moved::Removed { taken: true }, "a body", "none")],
        (None, Some(new)) => vec![Found::of(AT, Moved::Added { required: new.required }, "none", "a body")],
        (Some(old), Some(new)) if old.media_type != new.media_type => {
            vec![Found::of(AT, Moved::Changed, &*old.media_type, &*new.media_type)]
        }
        (Some(old), Some(new)) => {
            let mut found = schema::compare(AT, &old.schema, &new.schema, context);
            found.extend(schema::required(AT, old.required, new.required));
            found
        }
    }
}

/// Good answers; what is answered to mistakes is for people. A status that is documented no more may still come.
fn answers(before: &[WebAnswer], after: &[WebAnswer], context: &Context) -> Vec<Found> {
    let good = before.iter().filter(|answer| answer.status < 400);
    good.flat_map(|old| {
        let at = format!("/answers/{}", old.status);
        match after.iter().find(|new| new.status == old.status) {
            Some(new) => answer(&at, old, new, context),
            None => vec![Found::unknown(at, "an answer", "not known")],
        }
    })
    .collect()
}

fn answer(at: &str, before: &WebAnswer, after: &WebAnswer, context: &Context) -> Vec<Found> {
    let told = |answer: &WebAnswer| match (&answer.media_type, &answer.schema) {
        (Some(media_type), _) => media_type.clone(),
        (None, _) => "not known".into(),
    };
    match (before, after) {
        (WebAnswer { media_type: Some(old), .. }, WebAnswer { media_type: Some(new), .. }) if old != new => {
            vec![Found::of(at, Moved::Changed, old.as_str(), new.as_str())]
        }
        (WebAnswer { schema: Some(old), .. }, WebAnswer { schema: Some(new), .. }) => {
            schema::compare(at, old, new, context)
        }
        (WebAnswer { schema: None, .. }, WebAnswer { schema: None, .. }) => Vec::new(),
        (old, new) => vec![Found::unknown(at, told(old), told(new))],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Field, ValueType, compare::Effect};

    fn contract(operations: Value) -> Contract {
        Contract { operations: serde_json::from_value(operations).unwrap(), ..Contract::default() }
    }

    /// `POST /score`, with what differs from it.
    fn score(other: &Value) -> Value {
        let mut operation = json!({
            "name": "score", "method": "post", "path": "/score/{kind}",
            "parameters": [
                {"in": "path", "field": field("kind", true)},
                {"in": "query", "field": field("top", false)},
            ],
            "body": {"mediaType": "application/json", "required": true, "schema": {
                "type": "object", "required": ["text"], "properties": {"text": {"type": "string"}},
            }},
            "answers": [{"status": 200, "description": "", "mediaType": "application/json", "schema": {
                "type": "object", "required": ["score"], "properties": {"score": {"type": "number"}},
            }}],
        });
        operation.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        operation
    }

    fn field(name: &str, required: bool) -> Value {
        let value = ValueType::Json { schema: json!({"type": "string"}) };
        serde_json::to_value(Field { required, ..Field::new(name, value) }).unwrap()
    }

    /// Effect and place of each change.
    fn changes(before: &Value, after: &Value) -> Vec<(Effect, String)> {
        let changes = super::super::compare(&contract(before.clone()), &contract(after.clone()));
        changes.into_iter().map(|change| (change.effect, format!("{}{}", change.function, change.pointer))).collect()
    }

    #[test]
    fn what_callers_of_an_operation_rely_on_is_compared() {
        let base = json!([score(&json!({}))]);
        let answer = |schema: Value| json!({"answers": [{"status": 200, "description": "", "mediaType": "application/json", "schema": schema}]});
        let body =
            |schema: Value| json!({"body": {"mediaType": "application/json", "required": true, "schema": schema}});
        let text = json!({"type": "string"});
        let table = [
            // Parameters of the path may be called otherwise.
            (score(&json!({"path": "/score/{k}"})), vec![]),
            (score(&json!({"path": "/rate/{kind}"})), vec![(Effect::Breaking, ""), (Effect::Compatible, "new")]),
            (score(&json!({"method": "put"})), vec![(Effect::Breaking, ""), (Effect::Compatible, "new")]),
            (score(&json!({"parameters": []})), vec![(Effect::Compatible, "/query/top")]),
            (
                score(&json!({"parameters": [{"in": "query", "field": field("top", true)}]})),
                vec![(Effect::Breaking, "/query/top")],
            ),
            (
                score(&json!({"parameters": [
                    {"in": "query", "field": field("top", false)}, {"in": "header", "field": field("x-key", true)},
                ]})),
                vec![(Effect::Breaking, "/header/x-key")],
            ),
            (
                score(&body(json!({
                    "type": "object", "required": ["text", "lang"], "properties": {"text": text, "lang": text},
                }))),
                vec![(Effect::Breaking, "/body/lang")],
            ),
            (score(&json!({"body": null})), vec![(Effect::Compatible, "/body")]),
            (
                score(&answer(json!({"type": "object", "properties": {"value": {"type": "number"}}}))),
                vec![(Effect::Breaking, "/answers/200/score"), (Effect::Compatible, "/answers/200/value")],
            ),
            (score(&json!({"answers": []})), vec![(Effect::Unknown, "/answers/200")]),
        ];
        for (after, expected) in table {
            let found = changes(&base, &json!([after]));
            let place = |place: &str| place.strip_prefix("POST /score/{kind}").unwrap_or("new").to_owned();
            let found: Vec<_> = found.iter().map(|(effect, at)| (*effect, place(at))).collect();
            let expected: Vec<_> = expected.into_iter().map(|(effect, at)| (effect, at.to_owned())).collect();
            assert_eq!(found, expected, "{after}");
        }
    }

    #[test]
    fn nothing_breaks_where_the_operations_are_not_known() {
        let base = json!([score(&json!({}))]);
        assert_eq!(changes(&base, &base), []);
        assert_eq!(changes(&base, &json!([])), [(Effect::Unknown, "web service".into())]);
        assert_eq!(changes(&json!([]), &base), [(Effect::Unknown, "web service".into())]);
    }
}
