//! The documentation pages.

use crate::support::TestApi;

const PAGES: [&str; 3] = ["/docs", "/docs/iris", "/docs/api"];
const FILES: [&str; 8] = [
    "kea.css",
    "kea.svg",
    "session.js",
    "services.js",
    "service.js",
    "samples.js",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
];

#[tokio::test]
async fn pages_need_no_token_and_forbid_everything_from_elsewhere() {
    let api = TestApi::start().await;
    let files = FILES.map(|file| format!("/docs/assets/{file}"));
    for path in PAGES.into_iter().chain(files.iter().map(String::as_str)) {
        let answer = api.send("GET", path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'self';"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn pages_name_no_other_server_and_hold_no_inline_script() {
    let api = TestApi::start().await;
    for path in PAGES {
        let html = api.send("GET", path, &[], "").await.text;
        assert!(!html.contains("http://") && !html.contains("https://"), "{path}");
        assert!(!html.contains("style=") && !html.contains("onclick") && !html.contains("<style"), "{path}");
        let scripts = html.matches("<script").count();
        assert_eq!(html.matches("></script>").count(), scripts, "{path}");
        for source in html.split(['"']).filter(|text| text.starts_with("/docs/assets/")) {
            assert_eq!(api.send("GET", source, &[], "").await.status, 200, "{source}");
        }
    }
    for file in FILES.into_iter().filter(|file| file.ends_with(".js") && !file.starts_with("swagger")) {
        let script = api.send("GET", &format!("/docs/assets/{file}"), &[], "").await.text;
        assert!(!script.contains("http://") && !script.contains("https://"), "{file}");
        assert!(!script.contains("innerHTML") && !script.contains("eval("), "{file}");
    }
}

#[tokio::test]
async fn an_unchanged_file_is_not_sent_again() {
    let api = TestApi::start().await;
    let path = "/docs/assets/swagger-ui-bundle.js";
    let tag = api.send("GET", path, &[], "").await.header("etag").to_owned();
    assert_eq!(api.send("GET", path, &[("if-none-match", &tag)], "").await.status, 304);
    assert_eq!(api.send("GET", "/docs/assets/nothing.js", &[], "").await.status, 404);
}

/// The services that the list shows.
async fn cards(api: &TestApi, query: &str, with_token: bool) -> Vec<String> {
    let path = format!("/docs/services.json{query}");
    let answer = if with_token { api.get(&path).await } else { api.send("GET", &path, &[], "").await };
    assert_eq!(answer.status, 200, "{}", answer.text);
    let services = answer.json["services"].as_array().unwrap();
    services.iter().map(|service| service["serviceId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_list_shows_public_services_to_everybody_and_all_to_those_with_a_token() {
    let api = TestApi::start().await;
    assert_eq!(cards(&api, "", false).await, ["shop"]);
    assert_eq!(cards(&api, "", true).await, ["fresh", "iris", "shop"]);
    assert_eq!(cards(&api, "?search=IRIS", true).await, ["iris"]);
    assert_eq!(cards(&api, "?search=sepal_length%20iris", true).await, ["iris"]);
    assert_eq!(cards(&api, "?offset=2", true).await, ["shop"]);
    let forged = [("authorization", "Bearer forged")];
    assert_eq!(api.send("GET", "/docs/services.json", &forged, "").await.status, 401);
}

#[tokio::test]
async fn a_card_has_what_is_needed_to_choose_a_service() {
    let api = TestApi::start().await;
    let answer = api.get("/docs/services.json?search=iris").await.json;
    let card = &answer["services"][0];
    for field in ["serviceId", "modelName", "status", "version", "framework", "url"] {
        assert!(card[field].is_string(), "{field}");
    }
    assert_eq!(card["functions"], serde_json::json!(["predict"]));
    assert_eq!(answer["user"], "admin");
}

#[tokio::test]
async fn the_start_page_is_the_documentation() {
    let api = TestApi::start().await;
    assert_eq!(api.send("GET", "/", &[], "").await.header("location"), "/docs");
}
