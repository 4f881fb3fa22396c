//! The OpenAPI document that a web service has of its own, as operations of a contract.
//!
//! It comes from elsewhere and is believed in nothing: what is no OpenAPI 3.0 is left out, and what is kept has a bound. What
//! FastAPI writes, OpenAPI 3.1, is put into the words of 3.0.

mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use kea_core::{
    Field, ValueType,
    contract::web::{WebAnswer, WebBody, WebMethod, WebOperation, WebParameter, WebPlace},
};
use serde_json::{Map, Value};

use schema::Schemas;

/// Most operations that are kept.
const OPERATIONS: usize = 500;

/// Most bytes of all operations as JSON: they are a part of the contract, which the store and a cluster's resources keep.
const SIZE: usize = 128 << 10;

/// Longest description that is kept, in characters.
const WORDS: usize = 2_000;

/// What a web service's own document says.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    /// What it says of the whole service.
    pub description: String,
    /// Its operations, in the order of the document.
    pub operations: Vec<WebOperation>,
    /// What of it could not be kept, a sentence each.
    pub notes: Vec<String>,
}

/// Why a document is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    /// The text is no JSON.
    #[error("it is no JSON: {0}")]
    NotJson(String),
    /// It does not say that it is OpenAPI 3.
    #[error("it is no document of OpenAPI 3")]
    NotOpenApi,
}

/// Reads a document of OpenAPI 3.0 or 3.1.
///
/// # Errors
/// It is none.
pub fn read(text: &[u8]) -> Result<Foreign, ForeignError> {
    let document: Value = serde_json::from_slice(text).map_err(|error| ForeignError::NotJson(error.to_string()))?;
    let is_three = document["openapi"].as_str().is_some_and(|version| version.starts_with("3."));
    let Some(paths) = document["paths"].as_object().filter(|_| is_three) else { return Err(ForeignError::NotOpenApi) };
    let mut reader = Reader { document: &document, names: HashSet::new(), left: SIZE, operations: Vec::new(), cut: 0 };
    for (path, item) in paths.iter().filter(|(path, _)| is_template(path)) {
        reader.path(path, item);
    }
    let Reader { operations, cut, .. } = reader;
    let notes = (cut > 0)
        .then(|| format!("{cut} more operations of the web service's own document are left out: it is too large"));
    Ok(Foreign { description: words(&document["info"]["description"]), operations, notes: notes.into_iter().collect() })
}

/// A path of plain text and whole names in braces.
fn is_template(path: &str) -> bool {
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { return false };
        if before.contains('}') || name.is_empty() || name.contains(['{', '/']) {
            return false;
        }
        rest = after;
    }
    path.starts_with('/') && !rest.contains('}') && !path.contains(['?', '#'])
}

/// Names in braces of a path.
fn placeholders(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
}

/// A text, not too long.
fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().take(WORDS).collect()
}

struct Reader<'a> {
    document: &'a Value,
    /// Names that are taken.
    names: HashSet<String>,
    /// Bytes that may still be kept.
    left: usize,
    operations: Vec<WebOperation>,
    /// How many operations are left out.
    cut: usize,
}

impl<'a> Reader<'a> {
    fn path(&mut self, path: &str, item: &'a Value) {
        for method in WebMethod::ALL {
            let Some(described) = item.get(method.as_str()).filter(|described| described.is_object()) else { continue };
            let operation = self.operation(method, path, item, described);
            let size = serde_json::to_vec(&operation).map_or(usize::MAX, |text| text.len());
            if self.operations.len() == OPERATIONS || size > self.left {
                self.cut += 1;
                continue;
            }
            self.left -= size;
            self.operations.push(operation);
        }
    }

    fn operation(&mut self, method: WebMethod, path: &str, item: &Value, described: &Value) -> WebOperation {
        let named =
            described["operationId"].as_str().map_or_else(|| format!("{}_{path}", method.as_str()), String::from);
        WebOperation {
            name: self.free_name(&named),
            method,
            path: path.into(),
            description: description(described),
            deprecated: described["deprecated"] == true,
            parameters: self.parameters(path, [&item["parameters"], &described["parameters"]]),
            body: self.body(self.resolved(&described["requestBody"])),
            answers: self.answers(&described["responses"]),
        }
    }

    /// A name of letters, digits and `_` that no other operation has.
    fn free_name(&mut self, wanted: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let wanted: String = wanted.chars().take(100).map(plain).collect();
        let wanted = wanted.trim_matches('_');
        let numbered = (2..).map(|number| format!("{wanted}_{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        let name = names.find(|name| !name.is_empty() && !self.names.contains(name)).unwrap_or_default();
        self.names.insert(name.clone());
        name
    }

    /// Those of the operation come before those of its path. Each name of the path has one.
    fn parameters(&self, path: &str, [of_path, own]: [&Value; 2]) -> Vec<WebParameter> {
        let listed = [own, of_path].into_iter().filter_map(Value::as_array).flatten();
        let wanted = placeholders(path);
        let mut found: Vec<WebParameter> = Vec::new();
        for parameter in listed.filter_map(|parameter| self.parameter(self.resolved(parameter))) {
            let is_same =
                |other: &WebParameter| other.place == parameter.place && other.field.name == parameter.field.name;
            let is_of_path = parameter.place == WebPlace::Path;
            if !found.iter().any(is_same) && (!is_of_path || wanted.contains(&&*parameter.field.name)) {
                found.push(parameter);
            }
        }
        for name in wanted {
            let has = |other: &WebParameter| other.place == WebPlace::Path && other.field.name == name;
            if !found.iter().any(has) {
                let schema = serde_json::json!({"type": "string"});
                found.push(WebParameter { place: WebPlace::Path, field: Field::new(name, ValueType::Json { schema }) });
            }
        }
        found
    }

    fn parameter(&self, parameter: &Value) -> Option<WebParameter> {
        let place = match parameter["in"].as_str()? {
            "path" => WebPlace::Path,
            "query" => WebPlace::Query,
            "header" => WebPlace::Header,
            "cookie" => WebPlace::Cookie,
            _ => return None,
        };
        let name = parameter["name"].as_str().filter(|name| !name.is_empty())?;
        let schema = self.schema(&parameter["schema"]);
        let required = place == WebPlace::Path || parameter["required"] == true;
        let field = Field::new(name, ValueType::Json { schema });
        Some(WebParameter { place, field: Field { required, description: words(&parameter["description"]), ..field } })
    }

    fn body(&self, body: &Value) -> Option<WebBody> {
        let (media_type, media) = media(body)?;
        let schema = self.schema(&media["schema"]);
        Some(WebBody { media_type: media_type.clone(), schema, required: body["required"] == true })
    }

    fn answers(&self, answers: &Value) -> Vec<WebAnswer> {
        let listed = answers.as_object().into_iter().flatten();
        listed.filter_map(|(status, answer)| self.answer(status.parse().ok()?, self.resolved(answer))).collect()
    }

    fn answer(&self, status: u16, answer: &Value) -> Option<WebAnswer> {
        let media = media(answer);
        let schema = media.and_then(|(_, media)| media.get("schema")).map(|schema| self.schema(schema));
        let media_type = media.map(|(media_type, _)| media_type.clone());
        let description = words(&answer["description"]);
        (100..600).contains(&status).then_some(WebAnswer { status, description, media_type, schema })
    }

    fn schema(&self, schema: &Value) -> Value {
        Schemas::of(&self.document["components"]["schemas"]).read(schema)
    }

    /// What a reference to the document's components stands for.
    fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        let reference = value["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/components/"));
        match reference {
            Some(rest) => self.document.pointer(&format!("/components/{rest}")).unwrap_or(&Value::Null),
            None => value,
        }
    }
}

/// Summary and description, without a repetition.
fn description(described: &Value) -> String {
    let (summary, description) = (words(&described["summary"]), words(&described["description"]));
    match (summary.is_empty(), description.is_empty()) {
        (_, true) => summary,
        (true, false) => description,
        (false, false) => format!("{summary}\n\n{description}"),
    }
}

/// The media type that is described: JSON where there is a choice.
fn media(of: &Value) -> Option<(&String, &Value)> {
    let content: &Map<String, Value> = of["content"].as_object()?;
    content.get_key_value("application/json").or_else(|| content.iter().next())
}
