//! Paths of the three frameworks as those of OpenAPI, with what each says of its variables.

use serde_json::{Value, json};

use super::application::Framework;

/// A path with its variables in braces.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    /// As `/items/{id}`.
    pub(super) template: String,
    /// Its variables, with the schema that the path gives them.
    pub(super) variables: Vec<(String, Value)>,
}

impl Template {
    pub(super) fn parse(framework: Framework, path: &str) -> Self {
        let (open, close) = if framework == Framework::Flask { ('<', '>') } else { ('{', '}') };
        let mut template = String::new();
        let mut variables: Vec<(String, Value)> = Vec::new();
        let mut rest = path;
        while let Some((before, (variable, after))) =
            rest.split_once(open).and_then(|(before, after)| Some((before, after.split_once(close)?)))
        {
            let (name, schema) = match framework {
                Framework::Flask => of_flask(variable),
                Framework::FastApi | Framework::Starlette => of_starlette(variable),
            };
            template.push_str(&format!("{before}{{{name}}}"));
            if !variables.iter().any(|(known, _)| known == name) {
                variables.push((name.to_owned(), schema));
            }
            rest = after;
        }
        template.push_str(rest);
        let joined = template.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        let end = if template.ends_with('/') && !joined.is_empty() { "/" } else { "" };
        Self { template: format!("/{joined}{end}"), variables }
    }
}

/// `name` or `name:converter`
fn of_starlette(variable: &str) -> (&str, Value) {
    let (name, converter) = variable.split_once(':').unwrap_or((variable, "str"));
    (name.trim(), converted(converter.trim()))
}

/// `name`, `converter:name` or `converter(arguments):name`
fn of_flask(variable: &str) -> (&str, Value) {
    let (converter, name) = variable.rsplit_once(':').unwrap_or(("string", variable));
    let (converter, arguments) = converter.split_once('(').unwrap_or((converter, ""));
    let schema = match converter.trim() {
        "any" => json!({"type": "string", "enum": choices(arguments)}),
        // Flask's own take no sign unless they are told to.
        "int" | "float" if arguments.contains("signed=True") => converted(converter),
        converter @ ("int" | "float") => {
            let mut schema = converted(converter);
            schema["minimum"] = 0.into();
            schema
        }
        other => converted(other),
    };
    (name.trim(), schema)
}

fn converted(converter: &str) -> Value {
    match converter {
        "int" => json!({"type": "integer"}),
        "float" => json!({"type": "number"}),
        "uuid" => json!({"type": "string", "format": "uuid"}),
        _ => json!({"type": "string"}),
    }
}

fn choices(arguments: &str) -> Vec<&str> {
    let quotes = |c: char| c == '\'' || c == '"' || c.is_whitespace();
    arguments.trim_end_matches(')').split(',').map(|choice| choice.trim_matches(quotes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(framework: Framework, path: &str, template: &str, variables: &[(&str, Value)]) {
        let variables = variables.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
        assert_eq!(Template::parse(framework, path), Template { template: template.into(), variables }, "{path}");
    }

    #[test]
    fn variables_stand_in_braces_and_have_the_type_of_their_converter() {
        let text = json!({"type": "string"});
        check(Framework::FastApi, "/files/{path:path}", "/files/{path}", &[("path", text.clone())]);
        check(Framework::Starlette, "/u/{id:int}/x", "/u/{id}/x", &[("id", json!({"type": "integer"}))]);
        check(Framework::Flask, "/u/<name>", "/u/{name}", &[("name", text)]);
        check(Framework::Flask, "/n/<int:n>/", "/n/{n}/", &[("n", json!({"type": "integer", "minimum": 0}))]);
        check(
            Framework::Flask,
            "/<any(cat, 'dog'):kind>/<uuid:id>",
            "/{kind}/{id}",
            &[
                ("kind", json!({"type": "string", "enum": ["cat", "dog"]})),
                ("id", json!({"type": "string", "format": "uuid"})),
            ],
        );
    }

    #[test]
    fn what_is_no_variable_stays_as_it_is() {
        check(Framework::FastApi, "", "/", &[]);
        check(Framework::FastApi, "//a//b", "/a/b", &[]);
        check(Framework::Flask, "/a<b", "/a<b", &[]);
    }
}
