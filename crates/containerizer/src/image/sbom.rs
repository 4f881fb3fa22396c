//! The bill of materials of an image, as CycloneDX 1.6. It says the same for the same image: no time, no serial number.

use serde_json::{Value, json};

use super::{base::Base, dependencies::Dependencies, lock::Locked};

/// What an image consists of.
pub(crate) fn sbom(
    name: &str,
    model: Option<&str>,
    base: &Base,
    dependencies: Option<&Dependencies>,
    with_server: bool,
) -> Value {
    let packages = dependencies.map(|dependencies| dependencies.packages.as_slice()).unwrap_or_default();
    let mut components: Vec<Value> = vec![base_component(base)];
    components.extend(packages.iter().map(package));
    components.extend(with_server.then(server));
    components.extend(model.map(|digest| {
        let hash = digest.trim_start_matches("sha256:");
        json!({
            "type": "machine-learning-model",
            "bom-ref": format!("model@{digest}"),
            "name": name,
            "version": digest,
            "hashes": [{"alg": "SHA-256", "content": hash}],
        })
    }));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": "image", "name": name}},
        "components": components,
    })
}

fn base_component(base: &Base) -> Value {
    let name = format!("{}/{}", base.image.registry(), base.image.repository());
    json!({"type": "container", "bom-ref": format!("base@{}", base.digest), "name": name, "version": base.digest})
}

fn server() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({"type": "application", "bom-ref": format!("kea@{version}"), "name": "kea", "version": version})
}

fn package(locked: &Locked) -> Value {
    let Locked { name, version, sha256 } = locked;
    let normal = name.to_ascii_lowercase().replace(['_', '.'], "-");
    let purl = format!("pkg:pypi/{normal}@{}", version.replace('+', "%2B"));
    // A lock names the hashes of all files that may be taken; one of them was. A single one is known for sure.
    let hashes: Vec<Value> = match sha256.as_slice() {
        [only] => vec![json!({"alg": "SHA-256", "content": only})],
        _ => Vec::new(),
    };
    let mut component = json!({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl});
    if !hashes.is_empty() {
        component["hashes"] = hashes.into();
    }
    component
}
