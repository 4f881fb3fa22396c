//! Programs that call a function, as `x-codeSamples` of its operation: each works as it is pasted.
//!
//! Where a token is needed it comes from the variable `KEA_TOKEN`, so that none is pasted along.

use serde_json::{Value, json};

use crate::literal::{JAVASCRIPT, JSON, PYTHON, quoted};

/// What a program is to call.
pub(super) struct Call<'a> {
    /// The whole URL.
    pub(super) url: &'a str,
    /// What is sent.
    pub(super) body: &'a Value,
    /// Whether a token is needed.
    pub(super) with_token: bool,
}

impl Call<'_> {
    /// The programs, in the form that pages of documents know.
    pub(super) fn samples(&self) -> Value {
        let sample = |lang: &str, label: &str, source: String| json!({"lang": lang, "label": label, "source": source});
        json!([
            sample("Shell", "curl", self.curl()),
            sample("Python", "Python (requests)", self.python()),
            sample("JavaScript", "JavaScript (fetch)", self.javascript()),
            sample("Rust", "Rust (reqwest)", self.rust()),
            sample("Go", "Go (net/http)", self.go()),
        ])
    }

    /// The line, where a token is needed.
    fn token(&self, line: &'static str) -> &'static str {
        if self.with_token { line } else { "" }
    }

    fn curl(&self) -> String {
        let within_quotes = |text: &str| text.replace('\'', r"'\''");
        let token = self.token("-H \"Authorization: Bearer $KEA_TOKEN\" \\\n  ");
        let (url, body) = (within_quotes(self.url), within_quotes(&JSON.of(self.body, 0)));
        format!("curl '{url}' \\\n  {token}-H 'Content-Type: application/json' \\\n  -d '{body}'\n")
    }

    fn python(&self) -> String {
        let (url, body) = (quoted(self.url), PYTHON.of(self.body, 1));
        let os = self.token("import os\n\n");
        let headers = self.token("    headers={\"Authorization\": f\"Bearer {os.environ['KEA_TOKEN']}\"},\n");
        format!(
            "{os}import requests\n\nresponse = requests.post(\n    {url},\n{headers}    json={body},\n    timeout=30,\n)\n\
             if not response.ok:\n    raise SystemExit(f\"{{response.status_code}}: {{response.text}}\")\n\
             print(response.json())\n"
        )
    }

    fn javascript(&self) -> String {
        let (url, body) = (quoted(self.url), JAVASCRIPT.of(self.body, 1));
        // A browser has no environment: there, the token is asked for.
        let asked =
            self.token("const token = globalThis.process?.env.KEA_TOKEN ?? globalThis.prompt?.(\"KEA_TOKEN\");\n");
        let token = self.token("    \"Authorization\": `Bearer ${token}`,\n");
        format!(
            "{asked}const response = await fetch({url}, {{\n  method: \"POST\",\n  headers: {{\n{token}    \"Content-Type\": \
             \"application/json\",\n  }},\n  body: JSON.stringify({body}),\n}});\nif (!response.ok) throw new \
             Error(`${{response.status}}: ${{await response.text()}}`);\nconsole.log(await response.json());\n"
        )
    }

    /// The body is text: `json!` takes no array that is as long as a picture.
    fn rust(&self) -> String {
        let body = JSON.of(self.body, 0);
        // As many signs as no quote of the text is followed by.
        let hashes = (1..).map(|count| "#".repeat(count)).find(|hashes| !body.contains(&format!("\"{hashes}")));
        let hashes = hashes.unwrap_or_default();
        let token = self.token("        .bearer_auth(std::env::var(\"KEA_TOKEN\")?)\n");
        format!(
            "// Cargo.toml: reqwest = {{ version = \"0.13\", features = [\"blocking\"] }}\n\
             fn main() -> Result<(), Box<dyn std::error::Error>> {{\n    let response = reqwest::blocking::Client::new()\n        \
             .post({url:?})\n{token}        .header(\"Content-Type\", \"application/json\")\n        \
             .body(r{hashes}\"{body}\"{hashes})\n        .send()?;\n    \
             let (status, answer) = (response.status(), response.text()?);\n    \
             if !status.is_success() {{\n        return Err(format!(\"{{status}}: {{answer}}\").into());\n    }}\n    \
             println!(\"{{answer}}\");\n    Ok(())\n}}\n",
            url = self.url,
        )
    }

    fn go(&self) -> String {
        let text = JSON.of(self.body, 0);
        // What is escaped in JSON is escaped in the same way in Go.
        let body = if text.contains('`') { quoted(&text) } else { format!("`{text}`") };
        let (os, url) = (self.token("\t\"os\"\n"), quoted(self.url));
        let token = self.token("\trequest.Header.Set(\"Authorization\", \"Bearer \"+os.Getenv(\"KEA_TOKEN\"))\n");
        format!(
            r#"package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
{os}	"strings"
)

func main() {{
	body := strings.NewReader({body})
	request, err := http.NewRequest("POST", {url}, body)
	if err != nil {{
		log.Fatal(err)
	}}
{token}	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {{
		log.Fatal(err)
	}}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {{
		log.Fatal(err)
	}}
	if response.StatusCode != http.StatusOK {{
		log.Fatal(response.Status, ": ", string(answer))
	}}
	fmt.Println(string(answer))
}}
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program in a language.
    fn sample(lang: &str, body: &Value, with_token: bool) -> String {
        let call = Call { url: "http://127.0.0.1:8080/api/v1/k8c/services/a/predict", body, with_token };
        let samples = call.samples();
        let found = samples.as_array().unwrap().iter().find(|sample| sample["lang"] == lang).unwrap();
        found["source"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_token_comes_from_the_environment_and_only_where_one_is_needed() {
        for lang in ["Shell", "Python", "JavaScript", "Rust", "Go"] {
            let open = sample(lang, &json!({"inputs": {}}), false);
            let closed = sample(lang, &json!({"inputs": {}}), true);
            assert!(closed.contains("KEA_TOKEN") && closed.contains("http://127.0.0.1:8080/api/"), "{closed}");
            assert!(!open.contains("KEA_TOKEN") && !open.contains("os\"") && !open.contains("import os"), "{open}");
        }
    }

    #[test]
    fn what_kea_says_of_a_failure_is_shown() {
        for (lang, shown) in [
            ("Python", "raise SystemExit(f\"{response.status_code}: {response.text}\")"),
            ("JavaScript", "throw new Error(`${response.status}: ${await response.text()}`)"),
            ("Rust", "return Err(format!(\"{status}: {answer}\").into());"),
            ("Go", "log.Fatal(response.Status, \": \", string(answer))"),
        ] {
            let program = sample(lang, &json!({"inputs": {}}), true);
            assert!(program.contains(shown), "{program}");
        }
    }

    #[test]
    fn what_would_end_a_text_is_escaped_as_each_language_does_it() {
        let body = json!({"inputs": {"it's": "`a\"#b`\n"}});
        for (lang, expected) in [
            ("Shell", r###"-d '{"inputs": {"it'\''s": "`a\"#b`\n"}}'"###),
            ("Python", r###"json={"inputs": {"it's": "`a\"#b`\n"}},"###),
            ("JavaScript", r###"JSON.stringify({"inputs": {"it's": "`a\"#b`\n"}})"###),
            ("Rust", r####".body(r##"{"inputs": {"it's": "`a\"#b`\n"}}"##)"####),
            ("Go", r###"strings.NewReader("{\"inputs\": {\"it's\": \"`a\\\"#b`\\n\"}}")"###),
        ] {
            let program = sample(lang, &body, true);
            assert!(program.contains(expected), "{program}");
        }
    }
}
