//! Finding services by what they are called, what they are for, and what they take and give.

use kea_core::{Contract, Field, Function, ValueType, management::ServiceDetails};
use serde_json::Value;

/// Most functions and fields that a card names: it is to be read at a glance.
const NAMED: usize = 3;

/// Nesting that is followed into the schema of a field; references of schemas may lead back to themselves.
const DEPTH: usize = 8;

/// Words, each of which has to be somewhere.
pub(super) struct Search {
    words: Vec<String>,
}

impl Search {
    pub(super) fn new(text: &str) -> Self {
        Self { words: text.split_whitespace().map(str::to_lowercase).collect() }
    }

    /// Whether there is anything to look for.
    pub(super) fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whether a service has all words, and then the functions and fields that have one of them.
    pub(super) fn found(&self, details: &ServiceDetails, contract: Option<&Contract>) -> Option<Vec<String>> {
        self.found_in([details.service_id.as_str(), &details.model_name], contract)
    }

    fn found_in(&self, own: [&str; 2], contract: Option<&Contract>) -> Option<Vec<String>> {
        let mut missing: Vec<&String> = self.words.iter().collect();
        let description = contract.map(|contract| contract.description.as_str());
        for text in own.into_iter().chain(description) {
            strike(&mut missing, text);
        }
        let mut named = Vec::new();
        for (place, text) in contract.into_iter().flat_map(|contract| &contract.functions).flat_map(places) {
            // What the names said already need not be said of a field.
            if strike(&mut missing, &text) && named.len() < NAMED && !named.contains(&place) {
                named.push(place);
            }
        }
        missing.is_empty().then_some(named)
    }
}

/// Takes the words away that are in a text; tells whether there were any.
fn strike(missing: &mut Vec<&String>, text: &str) -> bool {
    if missing.is_empty() {
        return false;
    }
    let (before, text) = (missing.len(), text.to_lowercase());
    missing.retain(|word| !text.contains(word.as_str()));
    missing.len() < before
}

/// Where a function has words, and which.
fn places(function: &Function) -> impl Iterator<Item = (String, String)> {
    let own = (format!("`{}`", function.name), format!("{} {}", function.name, function.description));
    let fields = function.inputs.iter().chain(&function.outputs);
    std::iter::once(own).chain(fields.map(|field| (format!("`{}: {}`", function.name, field.name), words(field))))
}

/// Names and descriptions of a field and of what is within it.
fn words(field: &Field) -> String {
    let mut words = vec![field.name.as_str(), &field.description];
    words.extend(field.labels.iter().map(String::as_str));
    if let ValueType::Json { schema } = &field.value {
        within(schema, DEPTH, &mut words);
    }
    words.join(" ")
}

fn within<'s>(schema: &'s Value, depth: usize, words: &mut Vec<&'s str>) {
    if depth == 0 {
        return;
    }
    words.extend(schema.get("description").and_then(Value::as_str));
    for members in ["properties", "$defs"].iter().filter_map(|keyword| schema.get(keyword)?.as_object()) {
        for (name, member) in members {
            words.push(name);
            within(member, depth - 1, words);
        }
    }
    let several = ["anyOf", "oneOf", "allOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
    for inner in several.chain(schema.get("items")) {
        within(inner, depth - 1, words);
    }
}

#[cfg(test)]
mod tests {
    use kea_core::{Datatype, Layout};
    use serde_json::json;

    use super::*;

    fn loans() -> Contract {
        let schema = json!({
            "type": "array", "items": {"$ref": "#/$defs/Person"},
            "$defs": {"Person": {"properties": {"birthDate": {"description": "Day of birth, in UTC."}}}},
        });
        let income = Field {
            description: "Euro a year.".into(),
            ..Field::new("income", ValueType::Scalar { datatype: Datatype::Fp64 })
        };
        let function = Function {
            name: "predict".into(),
            description: "Says whether a loan is paid back.".into(),
            layout: Layout::Arguments,
            inputs: vec![income, Field::new("people", ValueType::Json { schema })],
            outputs: vec![],
            idempotent: true,
            deterministic: true,
        };
        Contract { description: "Credit of a bank.".into(), functions: vec![function], ..Contract::default() }
    }

    fn found(text: &str) -> Option<Vec<String>> {
        Search::new(text).found_in(["loans", "Loans of 2024"], Some(&loans()))
    }

    #[test]
    fn all_words_have_to_be_somewhere_and_fields_are_named() {
        let nothing: Vec<String> = Vec::new();
        for text in ["", "LOANS", " bank 2024 "] {
            assert_eq!(found(text).as_ref(), Some(&nothing), "{text}");
        }
        assert_eq!(found("euro").unwrap(), ["`predict: income`"]);
        assert_eq!(found("loans birthdate utc").unwrap(), ["`predict: people`"]);
        assert_eq!(found("paid income").unwrap(), ["`predict`", "`predict: income`"]);
        assert_eq!(found("loans weather"), None);
    }

    #[test]
    fn a_service_of_which_nothing_is_known_is_found_by_its_name() {
        let search = |text: &str| Search::new(text).found_in(["loans", "Loans"], None).is_some();
        assert!(search("loan") && !search("income"));
    }
}
