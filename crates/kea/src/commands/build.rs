//! `kea build`: an image of a model, made on this machine, without a daemon and without a running KEA.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf, absolute},
    sync::{Mutex, PoisonError},
};

use clap::Args;
use kea_containerizer::{
    BuildRequest, BuiltImage, ImageBuilder, ImageSettings, Platform, Progress as Steps, Pushed, RegistryEndpoint, size,
};
use kea_core::{
    Framework, ServiceId,
    management::{StepState, StepStatus},
    service::ModelSpec,
};
use serde_json::json;

use super::model_options::framework_parser;
use crate::{
    failure::Failure,
    output::{Format, Output, Target},
    progress::{Progress, note},
    signals,
};

/// What image, of what.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// File or folder of the model, or a URL of it
    #[arg(value_name = "PATH|URL", required_unless_present = "own")]
    source: Option<String>,
    /// Make KEA's own image in place of a model's: what a cluster runs KEA from
    #[arg(
        long = "self",
        conflicts_with_all = ["source", "framework", "requirements", "command", "python", "refresh"]
    )]
    own: bool,
    /// Name of the image, as REGISTRY/NAME:TAG
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Send the image to its registry
    #[arg(long)]
    push: bool,
    /// Write the image into this folder as an OCI image layout; `--output FOLDER` does the same
    #[arg(long, value_name = "FOLDER")]
    layout: Option<PathBuf>,
    /// What made the model; found from its files where it is not given
    #[arg(long, value_parser = framework_parser(), ignore_case = true, hide_possible_values = true)]
    framework: Option<Framework>,
    /// A Python package that the model needs, as pip writes it; can be repeated
    #[arg(long = "requirement", value_name = "PACKAGE")]
    requirements: Vec<String>,
    /// Command line of an existing web service, which listens on $PORT
    #[arg(long)]
    command: Option<String>,
    /// The image to build upon; `{python}` in it stands for Python's version
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// Python's version, as 3.11 [default: the one that the model asks for, else 3.11]
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// What the image runs on, as linux/arm64; repeated for an image of several [default: this machine's kind]
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<Platform>,
    /// KEA's own program for a platform other than this one; can be repeated
    #[arg(long = "program", value_name = "PLATFORM=PATH", value_parser = program)]
    programs: Vec<(Platform, PathBuf)>,
    /// A registry to speak to without TLS, beside those of this machine; can be repeated
    #[arg(long, value_name = "REGISTRY")]
    plain_http: Vec<String>,
    /// Where a registry is reached, if that is not the address in its images' names; can be repeated
    #[arg(long = "registry-endpoint", value_name = "NAME=ENDPOINT")]
    registry_endpoints: Vec<RegistryEndpoint>,
    /// Look packages up anew, in place of the versions that the same requirements gave before
    #[arg(long)]
    refresh: bool,
    /// Folder for parts of images, used again by later builds [default: kea in the user's cache folder]
    #[arg(long, env = "KEA_CACHE_DIR", value_name = "FOLDER")]
    cache_dir: Option<PathBuf>,
}

/// Makes the image, and tells its digest as the last line.
pub(crate) async fn run(target: &Target, args: BuildArgs) -> Result<(), Failure> {
    let folder = folder(target, &args)?;
    let output = Output::new(target.format().unwrap_or(Format::Table));
    ImageBuilder::check_name(&args.image).map_err(Box::new)?;
    let (folder_of_models, settings) = settings(&args)?;
    let builder = ImageBuilder::standalone(folder_of_models, settings);
    let shown = Shown::default();
    let building = build(&builder, &args, folder.as_deref(), &shown);
    let done = tokio::select! {
        done = building => done,
        () = signals::stop() => Err(Failure::Interrupted),
    };
    shown.finish();
    let (image, pushed) = done?;
    show(output, &args, &image, pushed.as_ref(), folder.as_deref())
}

/// Where the image is to be written.
fn folder(target: &Target, args: &BuildArgs) -> Result<Option<PathBuf>, Failure> {
    let Target::Folder(folder) = target else { return Ok(args.layout.clone()) };
    // A variable is set for all commands, so that it can only mean a format.
    if env::var_os("KEA_OUTPUT").is_some_and(|value| value == folder.as_os_str()) {
        target.format()?;
    }
    match &args.layout {
        Some(layout) => Err(Failure::Usage(format!(
            "--output {} and --layout {} both name a folder: give one of them",
            folder.display(),
            layout.display()
        ))),
        None => Ok(Some(folder.clone())),
    }
}

async fn build(
    builder: &ImageBuilder,
    args: &BuildArgs,
    folder: Option<&Path>,
    shown: &Shown,
) -> Result<(BuiltImage, Option<Pushed>), Failure> {
    let request = request(args)?;
    let image = match &args.source {
        Some(source) => builder.build(&spec(source, args)?, &request, shown).await,
        None => builder.build_own(&request, shown).await,
    };
    let image = image.map_err(Box::new)?;
    if let Some(folder) = folder {
        builder.export(&image, folder, tag(&args.image)).await.map_err(Box::new)?;
    }
    let pushed = match args.push {
        true => Some(builder.push(&image, &args.image, shown).await.map_err(Box::new)?),
        false => None,
    };
    Ok((image, pushed))
}

/// Where models are kept, and how images are made.
fn settings(args: &BuildArgs) -> Result<(PathBuf, ImageSettings), Failure> {
    let folder = match &args.cache_dir {
        Some(folder) => absolute(folder)?,
        None => cache_folder().ok_or_else(|| {
            Failure::Usage("there is no home folder to keep parts of images in: give one with --cache-dir".into())
        })?,
    };
    let mut settings = ImageSettings::new(folder.join("images"), env::current_exe()?)
        .with_env()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    settings.registries.endpoints.extend(args.registry_endpoints.iter().cloned());
    settings.registries.plain_http.extend(args.plain_http.iter().cloned());
    settings.programs.extend(args.programs.iter().cloned().collect::<BTreeMap<_, _>>());
    Ok((folder.join("sources"), settings))
}

/// Where commands keep what can be made again.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let named = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("kea"))
}

fn spec(source: &str, args: &BuildArgs) -> Result<ModelSpec, Failure> {
    let local = crate::client::ServerUrl::default();
    Ok(ModelSpec {
        source: Some(super::model_options::source_for(&local, source, Path::new("."))?),
        framework: args.framework.or(args.command.as_ref().map(|_| Framework::Custom)),
        requirements: args.requirements.clone(),
        command: args.command.as_ref().map_or_else(Vec::new, |line| vec!["sh".into(), "-c".into(), line.clone()]),
        functions: Vec::new(),
        env: BTreeMap::new(),
        resources: Default::default(),
    })
}

fn request(args: &BuildArgs) -> Result<BuildRequest, Failure> {
    let mut request = BuildRequest::of(service_name(&args.image)?);
    if !args.platforms.is_empty() {
        request.platforms.clone_from(&args.platforms);
        request.platforms.sort_unstable();
        request.platforms.dedup();
    }
    if let Some((platform, _)) = args.programs.iter().find(|(platform, _)| !request.platforms.contains(platform)) {
        return Err(Failure::Usage(format!(
            "--program is given for {platform}, which is not built: add --platform {platform}"
        )));
    }
    request.base.clone_from(&args.base);
    request.python.clone_from(&args.python);
    request.refresh = args.refresh;
    Ok(request)
}

/// The name of the service that an image is for: the last part of the image's own.
fn service_name(image: &str) -> Result<ServiceId, Failure> {
    let path = image.split('@').next().unwrap_or(image);
    let last = path.rsplit('/').next().unwrap_or(path);
    let name = last.split(':').next().unwrap_or(last);
    ServiceId::derive(name).map_err(|error| Failure::Usage(format!("`{image}`: {error}")))
}

/// The tag of an image's name, as Docker has it.
fn tag(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = last.split('@').next().unwrap_or(last);
    name.split_once(':').map_or("latest", |(_, tag)| tag)
}

fn program(text: &str) -> Result<(Platform, PathBuf), String> {
    let (platform, path) = text.split_once('=').ok_or("write PLATFORM=PATH")?;
    Ok((platform.parse().map_err(|error| format!("{error}"))?, path.into()))
}

fn show(
    output: Output,
    args: &BuildArgs,
    image: &BuiltImage,
    pushed: Option<&Pushed>,
    folder: Option<&Path>,
) -> Result<(), Failure> {
    for reason in &image.reasons {
        note(&format!("  {reason}"));
    }
    for (part, digest, bytes) in image.layers() {
        note(&format!("  {part:<12}  {digest}  {}", size(bytes)));
    }
    if let Some(folder) = folder {
        note(&format!("written to {} as {}", folder.display(), tag(&args.image)));
    }
    if let Some(pushed) = pushed {
        note(&format!("pushed as {}", pushed.reference));
    }
    if folder.is_none() && pushed.is_none() {
        note("built, and sent nowhere: --push sends it, --output FOLDER writes it down");
    }
    let layers = image.layers().map(|(part, digest, bytes)| json!({"part": part, "digest": digest, "bytes": bytes}));
    let result = json!({
        "image": args.image,
        "digest": image.digest,
        "reference": pushed.map(|pushed| &pushed.reference),
        "sentBytes": pushed.map(|pushed| pushed.sent),
        "layout": folder,
        "layers": layers.collect::<Vec<_>>(),
        "reasons": image.reasons,
    });
    output.result(&result, &image.digest)
}

/// Shows the steps of a build.
#[derive(Default)]
pub(super) struct Shown(Mutex<(Vec<StepStatus>, Option<Progress>)>);

impl Steps for Shown {
    fn step(&self, name: &str, state: StepState, detail: &str) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (steps, progress) = &mut *shown;
        match steps.iter_mut().find(|step| step.name == name) {
            Some(step) => (step.state, step.detail) = (state, detail.to_owned()),
            None => steps.push(StepStatus { name: name.into(), state, detail: detail.into() }),
        }
        progress.get_or_insert_with(Progress::new).show_steps(steps);
    }
}

impl Shown {
    /// Leaves what is shown as it is.
    pub(super) fn finish(&self) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = &mut shown.1 {
            progress.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_name_names_the_service_and_the_tag() {
        let check = |image: &str, service: &str, tag_of: &str| {
            assert_eq!((service_name(image).unwrap().as_str(), tag(image)), (service, tag_of), "{image}");
        };
        check("registry.example/team/iris:1.2", "iris", "1.2");
        check("127.0.0.1:5000/iris", "iris", "latest");
        check("127.0.0.1:5000/my_model@sha256:abc", "my-model", "latest");
        check("iris", "iris", "latest");
    }

    #[test]
    fn programs_are_given_by_platform() {
        assert_eq!(program("linux/arm64=/opt/kea").unwrap(), (Platform::Arm64, "/opt/kea".into()));
        assert!(program("/opt/kea").is_err() && program("plan9/mips=/kea").is_err());
    }
}
