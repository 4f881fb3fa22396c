//! The image of a version: given, found in a registry, or built by a Job.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, Shared};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret},
};
use kea_containerizer::{ImageFacts, Logins, Platform, RegistryError, RegistrySettings};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
    runtime::reflector::ObjectRef,
};

use crate::{
    apply::Applier,
    error::Error,
    names, objects,
    resources::MlDeployment,
    settings::ClusterSettings,
    version::{ImageRecord, VersionRecord},
    watch::{Caches, is_owned},
    wish::{Refusal, Wish},
};

/// How long the answer of a registry is used again: many versions of one image may be asked for at once.
const ANSWER_KEPT: Duration = Duration::from_secs(10);

/// Port of web services that `kea build` packs: they are told it in `$PORT`.
const WEB_SERVICE_PORT: u16 = 8080;

/// How far a version's image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// It is there.
    Known(ImageRecord),
    /// A Job is building it.
    Building(String),
    /// It cannot be had. What a registry or network did is asked again; a failed build is not.
    Failed(Refusal),
}

/// Finds and builds images.
pub(crate) struct Images {
    client: Client,
    registries: RegistrySettings,
    asked: Mutex<HashMap<Question, (Instant, Answer)>>,
}

type Question = (String, Vec<String>);
type Answer = Shared<BoxFuture<'static, Result<ImageFacts, std::sync::Arc<RegistryError>>>>;

impl Images {
    pub(crate) fn new(client: Client, registries: RegistrySettings) -> Self {
        Self { client, registries, asked: Mutex::default() }
    }

    /// The image of the wanted version: as the version remembers it, else from the registry or a build.
    pub(crate) async fn image(
        &self,
        caches: &Caches,
        owner: &MlDeployment,
        wish: &Wish,
        records: &[VersionRecord],
        settings: &ClusterSettings,
    ) -> Result<Image, Error> {
        // A version keeps its image, whatever its tag means by now.
        let record = records.iter().find(|record| record.version == wish.version);
        if let Some(image) = record.and_then(|record| record.image.clone()) {
            return Ok(Image::Known(image));
        }
        match &wish.model.image {
            Some(image) => self.given(image, owner, wish).await,
            None => self.built(caches, owner, wish, settings).await,
        }
    }

    /// An image that is named: by its digest from now on.
    async fn given(&self, image: &str, owner: &MlDeployment, wish: &Wish) -> Result<Image, Error> {
        let logins = match self.logins(owner, &wish.pod.image_pull_secrets).await? {
            Ok(logins) => logins,
            Err(refusal) => return Ok(Image::Failed(refusal)),
        };
        let facts = match self.inspect(image, logins).await {
            Ok(facts) => facts,
            Err(error) => return Ok(Image::Failed(Refusal { reason: "ImageUnknown", message: error.to_string() })),
        };
        let web_service = match (facts.is_kea_model(), wish.model.port, &facts.ports[..]) {
            (true, ..) => None,
            (false, Some(port), _) => Some(port),
            (false, None, [port]) => Some(*port),
            (false, None, ports) => {
                let exposed = if ports.is_empty() { "none".into() } else { format!("{ports:?}") };
                return Ok(Image::Failed(Refusal {
                    reason: "NoPort",
                    message: format!(
                        "`{image}` is the image of a web service, and which port it listens on is not known (it exposes \
                         {exposed}): give `port` in the MLModel"
                    ),
                }));
            }
        };
        let (framework, tls) = (facts.framework(), facts.serves_tls());
        Ok(Image::Known(ImageRecord { reference: facts.reference, framework, web_service, tls }))
    }

    async fn inspect(&self, image: &str, logins: Vec<String>) -> Result<ImageFacts, std::sync::Arc<RegistryError>> {
        let question = (image.to_string(), logins);
        let answer = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.retain(|_, (at, _)| at.elapsed() < ANSWER_KEPT);
            let registries = self.registries.clone();
            let (_, answer) =
                asked.entry(question.clone()).or_insert_with(|| (Instant::now(), ask(question, registries)));
            answer.clone()
        };
        answer.await
    }

    /// The logins in the Secrets by which nodes pull the image.
    async fn logins(&self, owner: &MlDeployment, names: &[String]) -> Result<Result<Vec<String>, Refusal>, Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), owner.namespace());
        let mut logins = Vec::new();
        for name in names {
            let secret = secrets.get_opt(name).await.map_err(Error::kube(format!("read Secret `{name}`")))?;
            let config = secret.and_then(|secret| secret.data?.remove(".dockerconfigjson"));
            let Some(config) = config.and_then(|bytes| String::from_utf8(bytes.0).ok()) else {
                return Ok(Err(Refusal {
                    reason: "NoLogin",
                    message: format!(
                        "`spec.pod.imagePullSecrets` names `{name}`, and there is no such Secret with a \
                         `.dockerconfigjson`: make it with `kubectl create secret docker-registry {name}`"
                    ),
                }));
            };
            logins.push(config);
        }
        Ok(Ok(logins))
    }

    /// An image that a Job builds.
    async fn built(
        &self,
        caches: &Caches,
        owner: &MlDeployment,
        wish: &Wish,
        settings: &ClusterSettings,
    ) -> Result<Image, Error> {
        let Some(registry) = &settings.registry else {
            return Ok(Image::Failed(Refusal {
                reason: "NoRegistry",
                message: "its image cannot be built, since this KEA knows no registry to send it to: install it with \
                          `--registry`, or give an `image`"
                    .into(),
            }));
        };
        let name = names::of_build(owner.name(), &wish.version, &objects::model_text(&wish.model));
        let image = image_name(registry, owner, wish);
        let made = caches.made.as_ref().expect("the operator watches what it makes");
        let Some(job) = made.jobs.get(&ObjectRef::new(&name).within(owner.namespace())) else {
            let job = objects::build_job(owner, wish, &image, settings);
            Applier { client: &self.client, owner }.apply(None, &job).await?;
            return Ok(Image::Building(format!("Job `{name}` builds it")));
        };
        match outcome(&job) {
            Outcome::Running => Ok(Image::Building(running(caches, &job))),
            Outcome::Failed(why) => {
                let words = last_words(caches, &job).unwrap_or(why);
                let message = format!(
                    "the build failed: {words} (see `kea logs {} --build`; `kubectl delete job {name}` tries again)",
                    owner.name()
                );
                Ok(Image::Failed(Refusal { reason: "BuildFailed", message }))
            }
            Outcome::Done => match self.digest(owner, &job).await? {
                Some(digest) => Ok(Image::Known(self.made(&image, &digest, wish).await)),
                // Its pod is gone, and with it what it said: the parts of the build are quick to make again.
                None => {
                    self.delete(&job).await?;
                    Ok(Image::Building("its build ended unseen, and is done again".into()))
                }
            },
        }
    }

    /// The digest that a build ended with. Its pods are asked for anew: the watch of them may be later than that of the Job.
    async fn digest(&self, owner: &MlDeployment, job: &Job) -> Result<Option<String>, Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), owner.namespace());
        let of_job = ListParams::default().labels(&format!("job-name={}", job.name_any()));
        let pods = pods.list(&of_job).await.map_err(Error::kube("list the pods of a build"))?;
        Ok(pods.items.iter().flat_map(said).find_map(|message| {
            let last = message.trim().lines().last()?.trim();
            last.starts_with("sha256:").then(|| last.to_string())
        }))
    }

    /// An image that was built. What made the model is in it, where nobody said so; it runs without that being known.
    async fn made(&self, image: &str, digest: &str, wish: &Wish) -> ImageRecord {
        let reference = format!("{}@{digest}", image.rsplit_once(':').map_or(image, |(name, _)| name));
        let found = match wish.model.framework {
            Some(framework) => Some(framework),
            None => self.inspect(&reference, Vec::new()).await.ok().and_then(|facts| facts.framework()),
        };
        let web_service = (!wish.model.command.is_empty()).then_some(WEB_SERVICE_PORT);
        // The Job has put this KEA's own program into it.
        ImageRecord { reference, framework: found, web_service, tls: web_service.is_none() }
    }

    /// Removes Jobs of other builds than those of the versions that are asked for.
    pub(crate) async fn clean(&self, caches: &Caches, owner: &MlDeployment, wishes: &[&Wish]) -> Result<(), Error> {
        let name = |wish: &&Wish| names::of_build(owner.name(), &wish.version, &objects::model_text(&wish.model));
        let wanted: Vec<String> = wishes.iter().map(name).collect();
        let made = caches.made.as_ref().expect("the operator watches what it makes");
        let stale = made
            .jobs
            .state_filter(|job| is_owned(job, owner.metadata.uid.as_deref()) && !wanted.contains(&job.name_any()));
        for job in stale {
            self.delete(&job).await?;
        }
        Ok(())
    }

    async fn delete(&self, job: &Job) -> Result<(), Error> {
        let jobs: Api<Job> =
            Api::namespaced(self.client.clone(), job.metadata.namespace.as_deref().unwrap_or_default());
        let name = job.name_any();
        match jobs.delete(&name, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Error::kube(format!("delete Job `{name}`"))(error)),
        }
    }
}

fn ask((image, logins): Question, registries: RegistrySettings) -> Answer {
    use futures_util::FutureExt;
    async move {
        let given = if logins.is_empty() { None } else { Some(Logins::of(logins.iter().map(String::as_str))?) };
        let registries = RegistrySettings { logins: given.or(registries.logins.clone()), ..registries };
        Ok(kea_containerizer::inspect(&image, Platform::HOST, &registries).await?)
    }
    .boxed()
    .shared()
}

/// `REGISTRY/FOLDER/NAMESPACE-SERVICE:VERSION-DIGEST`: another model has another name, whatever its version.
fn image_name(registry: &str, owner: &MlDeployment, wish: &Wish) -> String {
    let digest = names::short_digest(&objects::model_text(&wish.model));
    let registry = registry.trim_end_matches('/');
    // Versions have the letters of tags.
    format!("{registry}/{}-{}:{}-{digest}", owner.namespace(), owner.name(), wish.version)
}

enum Outcome {
    Running,
    Done,
    Failed(String),
}

fn outcome(job: &Job) -> Outcome {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    for condition in conditions.filter(|condition| condition.status == "True") {
        match condition.type_.as_str() {
            "Complete" => return Outcome::Done,
            "Failed" => {
                return Outcome::Failed(condition.message.clone().unwrap_or_else(|| "it gave no reason".into()));
            }
            _ => {}
        }
    }
    Outcome::Running
}

/// Whether a pod builds a version of that service.
pub(crate) fn is_of_build(pod: &Pod, owner: &MlDeployment) -> bool {
    let label = |name: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    pod.metadata.namespace.as_deref() == Some(owner.namespace())
        && label(names::COMPONENT) == Some(names::BUILD_COMPONENT)
        && label(names::SERVICE) == Some(owner.name())
}

/// Pods of a build, the latest last.
pub(crate) fn pods_of_job(caches: &Caches, job: &Job) -> Vec<std::sync::Arc<Pod>> {
    let mut pods = caches.pods.state_filter(|pod| is_owned(pod, job.metadata.uid.as_deref()));
    pods.sort_by_key(|pod| crate::watch::created(&**pod));
    pods
}

/// What keeps a build from running, or that it runs.
fn running(caches: &Caches, job: &Job) -> String {
    let name = job.name_any();
    let pods = pods_of_job(caches, job);
    let trouble = pods.last().and_then(|pod| crate::pods::trouble(pod)).filter(|trouble| trouble.lasting);
    trouble.map_or_else(|| format!("Job `{name}` builds it"), |trouble| format!("Job `{name}`: {}", trouble.message))
}

/// What the containers of a build said last.
fn said(pod: &Pod) -> impl Iterator<Item = &str> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    let main = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    init.chain(main).filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.message.as_deref())
}

fn last_words(caches: &Caches, job: &Job) -> Option<String> {
    let pods = pods_of_job(caches, job);
    let words = pods.iter().rev().flat_map(|pod| said(pod)).map(str::trim).find(|words| !words.is_empty())?;
    Some(error_of(words))
}

/// The error in what a build said: the last line that is one, else all of it.
fn error_of(words: &str) -> String {
    let error = words.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
    let words = error.unwrap_or(words).split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(1000).collect()
}

#[cfg(test)]
mod tests {
    use kea_containerizer::FetchError;

    use super::*;

    #[test]
    fn a_build_without_git_tells_which_image_has_it() {
        let said = format!("1/4 fetch the model\nerror: fetch the model: {}\n", FetchError::NoGit);
        let told = error_of(&said);
        assert!(told.starts_with("fetch the model: git sources need `git`"), "{told}");
        assert!(told.contains("--builder-image`, as `python:3.11`"), "{told}");
    }

    #[test]
    fn what_is_no_error_is_told_as_a_whole() {
        assert_eq!(error_of("Killed\n  by somebody"), "Killed by somebody");
    }
}
