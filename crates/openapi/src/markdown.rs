//! A document of OpenAPI as Markdown: for a README or a wiki, where no page of KEA is at hand.

mod table;

use serde_json::{Map, Value};

use table::{Reader, cell, row};

/// Methods in the order in which a path's are shown.
const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

/// The whole document. It takes any that [`crate::document::service_document`] makes.
pub fn of_document(document: &Value) -> String {
    let mut page = Page { reader: Reader { document }, out: String::new() };
    page.head(&document["info"]);
    let paths = document["paths"].as_object().cloned().unwrap_or_default();
    for (path, methods) in &paths {
        for method in METHODS {
            if let Some(operation) = methods.get(method) {
                page.operation(path, method, operation);
            }
        }
    }
    page.out
}

struct Page<'d> {
    reader: Reader<'d>,
    out: String,
}

impl Page<'_> {
    fn head(&mut self, info: &Value) {
        self.paragraph(&format!("# {} {}", text(&info["title"]), text(&info["version"])));
        self.paragraph(text(&info["description"]));
        self.incomplete(info);
    }

    fn incomplete(&mut self, of: &Value) {
        let notes: Vec<&str> = of["x-kea-incomplete"].as_array().into_iter().flatten().map(text).collect();
        if !notes.is_empty() {
            let listed: Vec<String> = notes.iter().map(|note| format!("> - {note}")).collect();
            self.paragraph(&format!("> **Not known:**\n>\n{}", listed.join("\n")));
        }
    }

    fn operation(&mut self, path: &str, method: &str, operation: &Value) {
        self.paragraph(&format!("## `{} {path}`", method.to_ascii_uppercase()));
        match text(&operation["description"]) {
            "" => self.paragraph(text(&operation["summary"])),
            description => self.paragraph(description),
        }
        if operation["deprecated"] == true {
            self.paragraph("**Deprecated.**");
        }
        self.incomplete(operation);
        self.parameters(operation["parameters"].as_array().map_or(&[][..], Vec::as_slice));
        self.content("Body", &operation["requestBody"]["content"]);
        self.sample(&operation["x-codeSamples"]);
        self.answers(&operation["responses"]);
    }

    /// The program that needs nothing but a shell.
    fn sample(&mut self, samples: &Value) {
        let shell = samples.as_array().into_iter().flatten().find(|sample| sample["lang"] == "Shell");
        if let Some(sample) = shell {
            self.paragraph(&format!("```sh\n{}\n```", text(&sample["source"]).trim_end()));
        }
    }

    fn parameters(&mut self, parameters: &[Value]) {
        let rows = parameters.iter().map(|parameter| {
            let kind = self.reader.kind(&parameter["schema"]);
            let required = if parameter["required"] == true { "yes" } else { "no" };
            let name = format!("`{}`", text(&parameter["name"]));
            [name, text(&parameter["in"]).to_owned(), kind, required.to_owned(), cell(text(&parameter["description"]))]
        });
        let rows: Vec<String> = rows.map(|cells| row(&cells)).collect();
        self.table(&["Parameter", "in", "type", "required", "description"], &rows);
    }

    /// What a body or an answer holds, and an example of it.
    fn content(&mut self, what: &str, content: &Value) {
        for (media_type, media) in content.as_object().into_iter().flatten() {
            let schema = &media["schema"];
            let fields = self.reader.fields(schema);
            let rows: Vec<String> = fields.iter().map(|field| row(field)).collect();
            self.paragraph(&format!("{what}, `{media_type}`: {}", self.reader.kind(schema)));
            self.table(&["Field", "type", "required", "description"], &rows);
            if let Some(example) = example(media) {
                self.paragraph(&format!("```json\n{example:#}\n```"));
            }
        }
    }

    fn answers(&mut self, answers: &Value) {
        let empty = Map::new();
        let answers = answers.as_object().unwrap_or(&empty);
        for (status, answer) in answers.iter().filter(|(status, _)| status.starts_with('2')) {
            self.content(&format!("Answer {status}"), &answer["content"]);
        }
        let listed = |(status, answer): (&String, &Value)| {
            let described = self.reader.resolved(answer);
            row(&[status.clone(), cell(text(&described["description"]))])
        };
        let rows: Vec<String> = answers.iter().map(listed).collect();
        self.table(&["Status", "meaning"], &rows);
    }

    fn table(&mut self, header: &[&str], rows: &[String]) {
        if rows.is_empty() {
            return;
        }
        let header: Vec<String> = header.iter().map(|&title| title.to_owned()).collect();
        let rule: Vec<String> = header.iter().map(|_| "---".to_owned()).collect();
        let lines: Vec<String> = [row(&header), row(&rule)].into_iter().chain(rows.iter().cloned()).collect();
        self.paragraph(&lines.join("\n"));
    }

    fn paragraph(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }
}

fn example(media: &Value) -> Option<&Value> {
    media.get("example").or_else(|| media["examples"].as_object()?.values().next()?.get("value"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of_document;

    #[test]
    fn a_document_is_told_in_words_and_tables() {
        let document = json!({
            "info": {"title": "Loans", "version": "2", "description": "Who gets one.", "x-kea-incomplete": ["no `x`"]},
            "paths": {"/score/{id}": {"post": {
                "summary": "Scores",
                "x-codeSamples": [{"lang": "Go", "source": "package main"}, {"lang": "Shell", "source": "curl 'x'\n"}],
                "parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}}],
                "requestBody": {"content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/Loan"}, "example": {"debt": [1.5]},
                }}},
                "responses": {"200": {"description": "Yes | no."}, "404": {"$ref": "#/components/responses/NotFound"}},
            }}},
            "components": {
                "schemas": {"Loan": {"type": "object", "required": ["debt"], "properties": {
                    "debt": {"type": "array", "items": {"type": "number", "minimum": 0}, "description": "In €."},
                }}},
                "responses": {"NotFound": {"description": "There is none."}},
            },
        });
        let expected = "# Loans 2\n\nWho gets one.\n\n> **Not known:**\n>\n> - no `x`\n\n## `POST /score/{id}`\n\nScores\n\n\
            | Parameter | in | type | required | description |\n| --- | --- | --- | --- | --- |\n\
            | `id` | path | integer | yes |  |\n\n\
            Body, `application/json`: object\n\n\
            | Field | type | required | description |\n| --- | --- | --- | --- |\n\
            | `debt` | array of number, at least 0 | yes | In €. |\n\n\
            ```json\n{\n  \"debt\": [\n    1.5\n  ]\n}\n```\n\n```sh\ncurl 'x'\n```\n\n\
            | Status | meaning |\n| --- | --- |\n| 200 | Yes \\| no. |\n| 404 | There is none. |\n";
        assert_eq!(of_document(&document), expected);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let document = json!({
            "info": {"title": "Tree", "version": "1"},
            "paths": {"/": {"get": {"responses": {"200": {"description": "It.", "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Node"}},
            }}}}}},
            "components": {"schemas": {"Node": {
                "type": "object", "properties": {"child": {"$ref": "#/components/schemas/Node"}},
            }}},
        });
        assert!(of_document(&document).contains("`child.child`"));
    }
}
