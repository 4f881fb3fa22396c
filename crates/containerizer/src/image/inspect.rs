//! What an image in a registry says of itself, without any of its layers.

use std::collections::BTreeMap;

use kea_core::Framework;
use oci_client::Reference;
use serde_json::Value;

use super::{Platform, document, recipe};
use crate::{
    RegistryError,
    registry::{self, Registries, RegistrySettings},
};

/// What an image in a registry says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// The image's name by digest, which always means the same: `REGISTRY/NAME@sha256:…`.
    pub reference: String,
    /// Digest of what the name points at: for an image of several platforms that of all of them together.
    pub digest: String,
    /// What is started.
    pub entrypoint: Vec<String>,
    /// Arguments of what is started, or, without an entrypoint, the command itself.
    pub cmd: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// TCP ports that the image says it listens on, in order.
    pub ports: Vec<u16>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// Whom it runs as, by name or number and perhaps with a group; empty for root.
    pub user: String,
}

/// Asks the registry for an image, as `REGISTRY/NAME:TAG` or `REGISTRY/NAME@sha256:…`, and reads how it is run on
/// `platform`. Only its manifests and its configuration are fetched.
///
/// # Errors
/// [`RegistryError::NotFound`], [`RegistryError::Refused`] and [`RegistryError::Unreachable`] for what they say, and the
/// others as their texts say; [`RegistryError::may_heal`] tells whether asking again may help.
pub async fn inspect(
    image: &str,
    platform: Platform,
    registries: &RegistrySettings,
) -> Result<ImageFacts, RegistryError> {
    let image = registry::reference(image)?;
    let repository = Registries::new(registries.clone()).open(&image).await?;
    let manifest = document::manifest(&repository, platform).await?;
    let config = document::config(&repository, &manifest.document).await?;
    if !config["rootfs"].is_object() {
        return Err(RegistryError::NoImage { image: image.whole() });
    }
    Ok(ImageFacts::read(&image, manifest.named, &config["config"]))
}

impl ImageFacts {
    fn read(image: &Reference, digest: String, config: &Value) -> Self {
        let split = |line: String| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let labels = config["Labels"].as_object().into_iter().flatten();
        let ports = config["ExposedPorts"].as_object().into_iter().flatten();
        let mut ports: Vec<u16> = ports.filter_map(|(port, _)| tcp_port(port)).collect();
        ports.sort_unstable();
        Self {
            reference: format!("{}/{}@{digest}", image.registry(), image.repository()),
            digest,
            entrypoint: texts(&config["Entrypoint"]),
            cmd: texts(&config["Cmd"]),
            env: texts(&config["Env"]).into_iter().filter_map(split).collect(),
            ports,
            labels: labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
            user: config["User"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Whether KEA wrote the image, and its model server is what the image starts. A web service keeps its own command,
    /// so that its image is none such, whoever wrote it.
    pub fn is_kea_model(&self) -> bool {
        self.entrypoint == recipe::model_server() && self.labels.contains_key(recipe::FRAMEWORK_LABEL)
    }

    /// Whether the model server in it can serve TLS: those of earlier KEAs cannot.
    pub fn serves_tls(&self) -> bool {
        self.is_kea_model() && self.labels.contains_key(recipe::TLS_LABEL)
    }

    /// The framework of the model, where it is an image of one.
    pub fn framework(&self) -> Option<Framework> {
        let name = self.env.get(recipe::FRAMEWORK).filter(|_| self.is_kea_model())?;
        Framework::ALL.into_iter().find(|framework| framework.as_str() == name)
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The port of `8080/tcp` or `8080`, which means the same.
fn tcp_port(text: &str) -> Option<u16> {
    match text.split_once('/') {
        Some((port, "tcp")) => port.parse().ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        thread,
    };

    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::{
        super::{describe, store::Blob},
        *,
    };

    fn facts(config: &Value) -> ImageFacts {
        let image = registry::reference("registry.example/team/iris:1").unwrap();
        ImageFacts::read(&image, format!("sha256:{}", "a".repeat(64)), config)
    }

    fn model() -> Value {
        json!({
            "Entrypoint": ["/usr/local/bin/kea", "model-server"],
            "Cmd": [],
            "Env": ["KEA_FRAMEWORK=ONNX", "OPTIONS=a=b"],
            "ExposedPorts": {"9000/tcp": {}, "8080/tcp": {}, "53/udp": {}, "70": {}, "1-2/tcp": {}},
            "Labels": {"ml.kea-project.framework": "ONNX"},
            "User": "65532:65532",
        })
    }

    #[test]
    fn a_configuration_says_how_an_image_is_run() {
        let facts = facts(&model());
        assert_eq!(facts.reference, format!("registry.example/team/iris@{}", facts.digest));
        assert_eq!(facts.ports, [70, 8080, 9000]);
        assert_eq!(facts.env["OPTIONS"], "a=b");
        assert_eq!((facts.user.as_str(), facts.cmd.len()), ("65532:65532", 0));
    }

    #[test]
    fn images_of_models_are_told_from_others() {
        assert_eq!(facts(&model()).framework(), Some(Framework::Onnx));
        for (field, value) in [
            ("Entrypoint", json!(["/usr/local/bin/kea"])),
            ("Entrypoint", json!(["/usr/bin/other", "model-server"])),
            ("Labels", Value::Null),
        ] {
            let mut config = model();
            config[field] = value;
            let other = facts(&config);
            assert!(!other.is_kea_model() && other.framework().is_none(), "{config}");
        }
    }

    #[test]
    fn what_an_image_does_not_say_is_empty() {
        let facts = facts(&Value::Null);
        assert!(facts.entrypoint.is_empty() && facts.env.is_empty() && facts.ports.is_empty() && facts.user.is_empty());
    }

    /// A registry of these documents, by the ends of their paths; there are none but them, and `closed` wants a login.
    fn serve(documents: Vec<(String, &'static str, String)>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
                let path = head.split(' ').nth(1).unwrap_or_default();
                let found = documents.iter().find(|(end, ..)| path.ends_with(end.as_str()));
                let (status, kind, text) = match found {
                    Some((_, kind, text)) => ("200 OK", *kind, text.as_str()),
                    None if path == "/v2/" => ("200 OK", "application/json", "{}"),
                    None if path.contains("closed") => ("401 Unauthorized", "application/json", "{}"),
                    None => ("404 Not Found", "application/json", r#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#),
                };
                let length = text.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
                write!(stream, "{head}Connection: close\r\n\r\n{text}").unwrap();
            }
        });
        host
    }

    fn digest(text: &str) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(text)))
    }

    #[tokio::test]
    async fn the_digest_is_of_what_the_name_points_at() {
        let config = json!({"config": model(), "rootfs": {"type": "layers"}}).to_string();
        let blob = |text: &str| Blob { digest: digest(text), bytes: text.len() as u64 };
        let one = describe::manifest(&blob(&config), &[], &[]).to_string();
        let all = describe::index(&[(Platform::Arm64, blob(&one))]).to_string();
        let host = serve(vec![
            ("/iris/manifests/1".to_owned(), describe::INDEX, all.clone()),
            (digest(&one), describe::MANIFEST, one.clone()),
            (digest(&config), "application/octet-stream", config),
        ]);
        let ask = async |name: &str, platform| inspect(&format!("{host}/{name}"), platform, &Default::default()).await;
        let facts = ask("iris:1", Platform::Arm64).await.unwrap();
        assert_eq!(facts.reference, format!("{host}/iris@{}", digest(&all)));
        assert!(facts.is_kea_model());
        let same = ask(&format!("iris@{}", digest(&one)), Platform::Arm64).await.unwrap();
        assert_eq!(same.digest, digest(&one));
        let refused = async |name: &str| ask(name, Platform::Amd64).await.unwrap_err();
        assert!(matches!(refused("iris:1").await, RegistryError::NoPlatform { known, .. } if known == "linux/arm64"));
        assert!(matches!(refused("iris:2").await, RegistryError::NotFound { image, .. } if image.ends_with("iris:2")));
        assert!(
            matches!(refused("closed:1").await, RegistryError::Refused { repository, .. } if repository == "closed")
        );
        assert!(matches!(refused("Iris").await, RegistryError::Name { .. }));
    }
}
