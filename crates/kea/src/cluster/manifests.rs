//! `kea manifests`: what installs KEA in a cluster.

use std::{io::Write, process::ExitCode};

use anyhow::ensure;
use clap::Args;
use kea_operator::{Exposure, GatewayName, InstallOptions, manifests};

use super::{check_webhook, ended};

/// How KEA is installed in a cluster.
#[derive(Debug, Args)]
pub(crate) struct ManifestsArgs {
    /// Namespace that KEA runs in
    #[arg(long, default_value = "kea", value_name = "NAMESPACE")]
    namespace: String,
    /// KEA's own image, as `make image` pushes it
    #[arg(long, env = "KEA_IMAGE", value_name = "IMAGE")]
    image: String,
    /// Number of operators; one acts, the others wait
    #[arg(long, default_value_t = 2, value_name = "NUMBER")]
    operators: u32,
    /// Number of routers
    #[arg(long, default_value_t = 2, value_name = "NUMBER")]
    routers: u32,
    /// Serve the services of that namespace alone, with rights in no other
    #[arg(long)]
    single_namespace: bool,
    /// Registry, with a folder in it, to which images of models are sent; without it models need an image of their own
    #[arg(long, value_name = "REGISTRY/FOLDER")]
    registry: Option<String>,
    /// Image with Python and pip in which models are built
    #[arg(long, value_name = "IMAGE")]
    builder_image: Option<String>,
    /// Where callers reach the routers, as `https://models.example`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Host of an Ingress to be made for the routers
    #[arg(long, value_name = "HOST")]
    ingress_host: Option<String>,
    /// Class of that Ingress
    #[arg(long, value_name = "CLASS", requires = "ingress_host")]
    ingress_class: Option<String>,
    /// Secret with the certificate of that host, of type kubernetes.io/tls; callers then use https
    #[arg(long, value_name = "SECRET", requires = "ingress_host")]
    tls_secret: Option<String>,
    /// Gateway of the Gateway API by which callers reach the routers; an HTTPRoute is made for it
    #[arg(long, value_name = "[NAMESPACE/]NAME", value_parser = gateway_name)]
    #[arg(conflicts_with_all = ["ingress_host", "ingress_class", "tls_secret"])]
    gateway: Option<GatewayName>,
    /// Host of that route, else all hosts of the Gateway; where the Gateway has TLS, give `--url https://HOST` too
    #[arg(long, value_name = "HOST", requires = "gateway", conflicts_with = "ingress_host")]
    gateway_host: Option<String>,
    /// Type of the routers' Service
    #[arg(long, default_value = "ClusterIP", value_parser = ["ClusterIP", "NodePort", "LoadBalancer"])]
    service_type: String,
    /// Secret with the URL of a database for users in its key `url`; without it users are kept in Secrets
    #[arg(long, value_name = "SECRET")]
    database_secret: Option<String>,
    /// Secret with `[[sso]]` tables in its key `sso.toml`: providers of single sign-on. Needs an address of KEA
    #[arg(long, value_name = "SECRET")]
    sso_secret: Option<String>,
    /// Secret with the URL of a Redis in its key `url`, for the response cache of all routers
    #[arg(long, value_name = "SECRET")]
    cache_redis_secret: Option<String>,
    /// Secret with the URL of a Redis in its key `url`, in which all routers count rates together
    #[arg(long, value_name = "SECRET")]
    rates_redis_secret: Option<String>,
    /// Mutual TLS between routers and KEA's own replicas, by certificates that the operator makes and renews
    #[arg(long)]
    replica_mtls: bool,
    /// Secret with authorities in its key `ca.crt`, that are believed of replicas elsewhere at https:// addresses
    #[arg(long, value_name = "SECRET")]
    replica_ca_secret: Option<String>,
    /// Secret with a certificate in its keys `tls.crt` and `tls.key`, that is shown to those replicas
    #[arg(long, value_name = "SECRET")]
    replica_certificate_secret: Option<String>,
    /// Refuse MLModels and MLDeployments that cannot be while they are applied, by a validating webhook
    #[arg(long)]
    webhook: bool,
    /// A further variable of operator and routers, as NAME=VALUE; can be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("write it as NAME=VALUE")?;
    if has_password(value) {
        return Err("a URL with a password would stand where many can read it: keep it in a Secret, and name that by \
                    `--database-secret`, `--cache-redis-secret` or `--rates-redis-secret`"
            .into());
    }
    Ok((name.into(), value.into()))
}

/// Whether a value is a URL with a password in it.
fn has_password(value: &str) -> bool {
    let after = value.split_once("://").map(|(_, after)| after);
    let authority = after.and_then(|after| after.split(['/', '?', '#']).next());
    let login = authority.and_then(|authority| authority.rsplit_once('@')).map(|(login, _)| login);
    login.and_then(|login| login.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

fn gateway_name(text: &str) -> Result<GatewayName, String> {
    match *text.split('/').collect::<Vec<_>>() {
        [name] if !name.is_empty() => Ok(GatewayName { namespace: None, name: name.into() }),
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok(GatewayName { namespace: Some(namespace.into()), name: name.into() })
        }
        _ => Err("write it as NAME or NAMESPACE/NAME".into()),
    }
}

/// Prints everything that installs KEA, for `kubectl apply -f -`.
pub(crate) fn print_manifests(args: ManifestsArgs) -> ExitCode {
    let objects = install_options(args).map(|options| manifests(&options));
    let written =
        objects.and_then(|objects| yaml(&objects)).and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?));
    ended(written)
}

fn install_options(args: ManifestsArgs) -> anyhow::Result<InstallOptions> {
    check_webhook(args.webhook, args.single_namespace)?;
    let ManifestsArgs { namespace, image, operators, routers, single_namespace, registry, builder_image, .. } = args;
    let exposure = match (args.ingress_host, args.gateway) {
        (Some(host), _) => Some(Exposure::Ingress { host, class: args.ingress_class, tls_secret: args.tls_secret }),
        (None, Some(gateway)) => Some(Exposure::Route { gateway, host: args.gateway_host }),
        (None, None) => None,
    };
    let url = args.url.or_else(|| exposure.as_ref().and_then(Exposure::url));
    // The routers would refuse to start.
    ensure!(
        args.sso_secret.is_none() || url.is_some(),
        "`--sso-secret` needs `--url`, or a host: providers send browsers back to it"
    );
    Ok(InstallOptions {
        namespace,
        image,
        operators,
        routers,
        single_namespace,
        registry,
        builder_image,
        url,
        exposure,
        database_secret: args.database_secret,
        sso_secret: args.sso_secret,
        cache_redis_secret: args.cache_redis_secret,
        rates_redis_secret: args.rates_redis_secret,
        replica_mtls: args.replica_mtls,
        replica_ca_secret: args.replica_ca_secret,
        replica_certificate_secret: args.replica_certificate_secret,
        env: args.env,
        service_type: args.service_type,
        webhook: args.webhook,
    })
}

/// Objects as one text of several documents.
fn yaml(objects: &[serde_json::Value]) -> anyhow::Result<String> {
    let document = |object| Ok(format!("---\n{}", crate::yaml::write(serde_yaml_ng::to_value(object)?)?));
    objects.iter().map(document).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::Parser;
    use serde_json::json;

    use super::*;

    /// A committed file is what the code says. `UPDATE=1` writes it anew.
    fn assert_fresh(file: &str, objects: &[serde_json::Value]) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let fresh = yaml(objects).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &fresh).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == fresh, "{file} is not what the code says: run `make generate`");
    }

    #[test]
    fn the_committed_definitions_are_fresh() {
        assert_fresh("deploy/crds.yaml", &kea_operator::custom_resource_definitions());
        assert_fresh("deploy/helm/kea/crds/crds.yaml", &kea_operator::custom_resource_definitions());
    }

    #[test]
    fn the_rights_of_the_chart_are_fresh() {
        // The chart puts the release's namespace in the place of this one.
        let line = "kea manifests --image r/kea:1 --namespace release-namespace";
        let rights = |options: &str| {
            let granted = |object: &serde_json::Value| {
                object["kind"] == "ServiceAccount" || object["apiVersion"] == "rbac.authorization.k8s.io/v1"
            };
            installed(&format!("{line}{options}")).into_iter().filter(granted).collect::<Vec<_>>()
        };
        for of in ["", "-webhook", "-single-namespace"] {
            let options = if of.is_empty() { String::new() } else { format!(" -{of}") };
            assert_fresh(&format!("deploy/helm/kea/files/rights{of}.yaml"), &rights(&options));
            let with_mtls = rights(&format!("{options} --replica-mtls"));
            assert_fresh(&format!("deploy/helm/kea/files/rights{of}-mtls.yaml"), &with_mtls);
        }
    }

    fn parsed(line: &str) -> Result<crate::cli::Cli, clap::Error> {
        crate::cli::Cli::try_parse_from(line.split(' '))
    }

    fn options(line: &str) -> anyhow::Result<InstallOptions> {
        let crate::cli::Command::Manifests(args) = parsed(line).unwrap().command else { panic!("another command") };
        install_options(*args)
    }

    fn installed(line: &str) -> Vec<serde_json::Value> {
        manifests(&options(line).unwrap())
    }

    fn kinds(objects: &[serde_json::Value]) -> Vec<&str> {
        objects.iter().filter_map(|object| object["kind"].as_str()).collect()
    }

    #[test]
    fn a_single_namespace_needs_no_right_in_any_other() {
        let wide = installed("kea manifests --image r/kea:1");
        assert!(kinds(&wide).contains(&"ClusterRole"));
        let narrow = installed("kea manifests --image r/kea:1 --single-namespace --namespace ml");
        assert!(!kinds(&narrow).iter().any(|kind| kind.starts_with("ClusterRole")));
        let strangers = narrow.iter().filter(|object| {
            let namespace = object["metadata"]["namespace"].as_str();
            namespace.is_some_and(|namespace| namespace != "ml")
        });
        assert_eq!(strangers.count(), 0);
    }

    /// The rules of the operator's ClusterRole that are about this resource: names and verbs.
    fn rights_on(objects: &[serde_json::Value], resource: &str) -> Vec<(serde_json::Value, serde_json::Value)> {
        let role = objects.iter().find(|object| {
            object["kind"] == "ClusterRole"
                && object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("kea-operator"))
        });
        let rules = role.unwrap()["rules"].as_array().unwrap().iter();
        let about = rules.filter(|rule| rule["resources"] == json!([resource]));
        about.map(|rule| (rule["resourceNames"].clone(), rule["verbs"].clone())).collect()
    }

    #[test]
    fn a_webhook_has_a_service_and_rights_to_its_own_objects_alone() {
        let configurations = "validatingwebhookconfigurations";
        let with = installed("kea manifests --image r/kea:1 --namespace ml --webhook");
        let found = |name: &str, kind: &str| {
            with.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
        };
        let port = &found("kea-webhook", "Service")["spec"]["ports"][0];
        let container = &found("kea-operator", "Deployment")["spec"]["template"]["spec"]["containers"][0];
        assert_eq!((&port["port"], &port["targetPort"]), (&443.into(), &container["ports"][1]["name"]));
        assert_eq!(container["ports"][1]["containerPort"], 8443);
        assert!(container["env"].to_string().contains("KEA_WEBHOOK"));
        let own = json!(["kea-ml"]);
        let expected = [(json!(null), json!(["create"])), (own.clone(), json!(["get", "patch"]))];
        assert_eq!(rights_on(&with, configurations), expected);

        let without = installed("kea manifests --image r/kea:1 --namespace ml");
        assert_eq!(rights_on(&without, configurations), [(own, json!(["delete"]))]);
        let text = yaml(&without).unwrap();
        assert!(!text.contains("KEA_WEBHOOK") && !text.contains("kea-webhook") && !text.contains("8443"));
    }

    #[test]
    fn a_webhook_of_a_single_namespace_is_refused() {
        let refused = options("kea manifests --image r/kea:1 --webhook --single-namespace").unwrap_err().to_string();
        assert!(refused.contains("exclude each other") && refused.contains("before 1.21"), "{refused}");
    }

    #[test]
    fn options_reach_the_pods() {
        let objects = installed("kea manifests --image r/kea:1 --registry r/models --database-secret db --env A=b");
        let text = yaml(&objects).unwrap();
        for part in ["value: r/models", "name: KEA_DATABASE", "value: b", "name: kea-admin"] {
            assert!(text.contains(part), "{part}");
        }
        let ingress = installed("kea manifests --image r/kea:1 --ingress-host models.example --ingress-class nginx");
        assert!(kinds(&ingress).contains(&"Ingress"));
        assert!(yaml(&ingress).unwrap().contains("value: http://models.example"));
    }

    #[test]
    fn an_ingress_with_a_certificate_is_called_by_https() {
        let objects = installed("kea manifests --image r/kea:1 --ingress-host models.example --tls-secret web");
        let ingress = objects.iter().find(|object| object["kind"] == "Ingress").unwrap();
        assert_eq!(ingress["spec"]["tls"], json!([{"hosts": ["models.example"], "secretName": "web"}]));
        assert!(yaml(&objects).unwrap().contains("value: https://models.example"));
    }

    #[test]
    fn providers_of_single_sign_on_come_from_a_secret() {
        let line = "kea manifests --image r/kea:1 --sso-secret corp";
        let objects = installed(&format!("{line} --url https://models.example"));
        let router =
            objects.iter().find(|object| object["metadata"]["name"] == "kea-router" && object["kind"] == "Deployment");
        let pod = &router.unwrap()["spec"]["template"]["spec"];
        assert_eq!(pod["volumes"][1], json!({"name": "sso", "secret": {"secretName": "corp"}}));
        let folder = pod["containers"][0]["volumeMounts"][1]["mountPath"].as_str().unwrap();
        let env = pod["containers"][0]["env"].as_array().unwrap();
        assert!(env.contains(&json!({"name": "KEA_SSO", "value": format!("{folder}/sso.toml")})));
        assert!(options(line).unwrap_err().to_string().contains("`--url`"));
        assert!(options(&format!("{line} --ingress-host models.example")).is_ok());
    }

    fn router(options: &str) -> serde_json::Value {
        let mut objects = installed(format!("kea manifests --image r/kea:1 {options}").trim()).into_iter();
        objects.find(|one| one["metadata"]["name"] == "kea-router" && one["kind"] == "Deployment").unwrap()
    }

    #[test]
    fn urls_with_passwords_come_from_secrets_alone() {
        let pod = router("--cache-redis-secret cache --rates-redis-secret rates");
        let env = &pod["spec"]["template"]["spec"]["containers"][0]["env"];
        for (name, secret) in [("KEA_CACHE_REDIS", "cache"), ("KEA_RATES_REDIS", "rates")] {
            let reference = json!({"secretKeyRef": {"name": secret, "key": "url"}});
            assert!(env.as_array().unwrap().contains(&json!({"name": name, "valueFrom": reference})), "{env}");
        }
        for (value, is_refused) in [
            ("redis://user:secret@host:6379/0", true),
            ("postgres://user:se%40cret@host/kea?sslmode=require", true),
            ("redis://host:6379/0", false),
            ("postgres://user@host/kea", false),
            ("https://models.example/a:b@c", false),
            ("info,kea_router=debug", false),
        ] {
            let told = variable(&format!("X={value}")).err();
            assert_eq!(told.is_some(), is_refused, "{value}");
            assert!(told.is_none_or(|why| why.contains("--rates-redis-secret") && !why.contains("secret@")));
        }
    }

    #[test]
    fn files_for_replicas_elsewhere_come_from_secrets() {
        let pod = router("--replica-ca-secret theirs --replica-certificate-secret ours");
        let pod = &pod["spec"]["template"]["spec"];
        let env = pod["containers"][0]["env"].as_array().unwrap();
        for (name, file) in [
            ("KEA_REPLICA_CA", "/etc/kea/replica-ca/ca.crt"),
            ("KEA_REPLICA_CERTIFICATE", "/etc/kea/replica-certificate/tls.crt"),
            ("KEA_REPLICA_KEY", "/etc/kea/replica-certificate/tls.key"),
        ] {
            assert!(env.contains(&json!({"name": name, "value": file})), "{name}");
        }
        assert_eq!(pod["volumes"][1], json!({"name": "replica-ca", "secret": {"secretName": "theirs"}}));
        assert_eq!(pod["volumes"][2], json!({"name": "replica-certificate", "secret": {"secretName": "ours"}}));
        assert_eq!(pod["containers"][0]["volumeMounts"][2]["mountPath"], "/etc/kea/replica-certificate");
    }

    #[test]
    fn mutual_tls_is_the_operators_and_routers_can_it_in_any_case() {
        let of = |options: &str| {
            let objects = installed(format!("kea manifests --image r/kea:1 {options}").trim());
            (rights_on(&objects, "secrets"), yaml(&objects).unwrap())
        };
        let (with, without) = (of("--replica-mtls"), of(""));
        assert_eq!(without.0, [(json!(null), json!(["get"]))]);
        assert_eq!(with.0[1..], [(json!(null), json!(["create", "patch"]))]);
        assert!(with.1.contains("KEA_REPLICA_MTLS") && !without.1.contains("KEA_REPLICA_MTLS"));
        assert!(with.1.contains("kea-replica-authority") && !without.1.contains("kea-replica-authority"));
        assert_eq!(router("--replica-mtls"), router(""), "no router starts anew");
        assert_eq!(
            router("")["spec"]["template"]["metadata"]["annotations"],
            json!({"ml.kea-project.io/tls": "mutual"})
        );
    }

    fn route(options: &str) -> serde_json::Value {
        let objects = installed(format!("kea manifests --image r/kea:1 {options}").trim());
        objects.into_iter().find(|object| object["kind"] == "HTTPRoute").unwrap()
    }

    #[test]
    fn a_gateway_that_is_there_gets_a_route() {
        let near = route("--namespace ml --gateway web");
        assert_eq!(near["metadata"]["namespace"], "ml");
        assert_eq!(near["spec"]["parentRefs"][0]["name"], "web");
        assert!(near["spec"]["parentRefs"][0].get("namespace").is_none());
        assert!(near["spec"].get("hostnames").is_none());
        let far = route("--gateway edge/web --gateway-host models.example");
        assert_eq!(far["spec"]["parentRefs"][0]["namespace"], "edge");
        assert_eq!(far["spec"]["hostnames"], json!(["models.example"]));
        assert_eq!(far["spec"]["rules"][0]["backendRefs"][0]["name"], "kea");
    }

    #[test]
    fn the_url_that_is_given_is_told_rather_than_that_of_a_host() {
        let line = "kea manifests --image r/kea:1 --gateway web --gateway-host models.example";
        assert!(yaml(&installed(line)).unwrap().contains("value: http://models.example"));
        let text = yaml(&installed(&format!("{line} --url https://other.example"))).unwrap();
        assert!(text.contains("value: https://other.example") && !text.contains("value: http://models.example"));
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument, ValueValidation};
        for (options, kind) in [
            ("--ingress-host a.example --gateway web", ArgumentConflict),
            ("--ingress-class nginx", MissingRequiredArgument),
            ("--tls-secret web", MissingRequiredArgument),
            ("--gateway web --ingress-class nginx", ArgumentConflict),
            ("--gateway web --tls-secret web", ArgumentConflict),
            ("--ingress-host a.example --gateway-host a.example", ArgumentConflict),
            ("--gateway-host a.example", MissingRequiredArgument),
            ("--gateway a/b/c", ValueValidation),
            ("--gateway /web", ValueValidation),
            ("--gateway web/", ValueValidation),
        ] {
            let error = parsed(&format!("kea manifests --image r/kea:1 {options}")).unwrap_err();
            assert_eq!(error.kind(), kind, "{options}");
        }
    }
}
