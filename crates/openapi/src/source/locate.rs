//! Which file of a folder and which class of a file is the model.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ruff_python_ast::{Expr, Stmt, StmtClassDef};

use super::{
    SourceError,
    class::{self, Kind},
    convention,
    file::for_each_statement,
    project::Project,
    unreadable, web,
};

/// The file that is preferred in a folder.
const PREFERRED: &str = "model.py";

/// Candidates that are compared with each other; nobody means one among more.
const CANDIDATES: usize = 100;

/// The main file, and the folder where a folder was given.
pub(super) fn main_file(path: &Path) -> Result<(PathBuf, Option<PathBuf>), SourceError> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        return Ok((path.into(), None));
    }
    let preferred = path.join(PREFERRED);
    if preferred.is_file() {
        return Ok((preferred, Some(path.into())));
    }
    let mut candidates = candidates(path)?;
    match candidates.len() {
        0 => Err(SourceError::NoFile { folder: path.into() }),
        1 => Ok((path.join(candidates.remove(0)), Some(path.into()))),
        _ => Err(SourceError::SeveralFiles { folder: path.into(), candidates }),
    }
}

/// Whether a file is called as a model's is.
pub(super) fn is_preferred(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == PREFERRED)
}

fn candidates(folder: &Path) -> Result<Vec<String>, SourceError> {
    let failed = |error| unreadable(folder, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.file_name().into_string() {
            Ok(name) if may_be_a_model(&name) && entry.path().is_file() => names.push(name),
            _ => {}
        }
    }
    names.sort();
    Ok(names)
}

fn may_be_a_model(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".py") else { return false };
    let helper = ["setup", "conftest", "noxfile", "__init__", "__main__"].contains(&stem);
    let test = stem.starts_with("test_") || stem.ends_with("_test") || stem == "tests" || stem == "test";
    !helper && !test && !stem.starts_with('.')
}

/// The class of the main file that has `predict`, or else its only public class that is no type of data.
pub(super) fn class<'a>(project: &Project<'a>) -> Result<&'a StmtClassDef, SourceError> {
    let mut public = Vec::new();
    for_each_statement(project.main_body(), &mut |statement| match statement {
        Stmt::ClassDef(class) if !class.name.starts_with('_') => public.push(class),
        _ => {}
    });
    let models = public.iter().copied().filter(|class| class::kind(project, Project::MAIN, class) == Kind::Plain);
    let served: Vec<_> =
        models.clone().filter(|class| convention::of(project, Project::MAIN, class).is_some()).collect();
    if !served.is_empty() {
        return only(project, &outermost(project, &most_derived(project, &served)));
    }
    let (predicting, others): (Vec<_>, Vec<_>) = models.partition(|class| predicts(project, class));
    let candidates = if predicting.is_empty() { others } else { predicting };
    if candidates.len() > CANDIDATES {
        return only(project, &candidates);
    }
    only(project, &most_derived(project, &candidates))
}

/// Services that no other depends on, as `inner = bentoml.depends(Inner)` says in the body of the outer one.
fn outermost<'a>(project: &Project<'a>, services: &[&'a StmtClassDef]) -> Vec<&'a StmtClassDef> {
    let mut inner: Vec<&str> = Vec::new();
    for service in services {
        for statement in &service.body {
            let value = match statement {
                Stmt::Assign(assign) => Some(&*assign.value),
                Stmt::AnnAssign(assign) => assign.value.as_deref(),
                _ => None,
            };
            let Some(Expr::Call(call)) = value else { continue };
            if project.external(Project::MAIN, &call.func).is_some_and(|name| name == "bentoml.depends") {
                inner.extend(call.arguments.args.first().and_then(Expr::as_name_expr).map(|name| name.id.as_str()));
            }
        }
    }
    services.iter().copied().filter(|service| !inner.contains(&service.name.as_str())).collect()
}

fn predicts(project: &Project<'_>, class: &StmtClassDef) -> bool {
    class::methods(project, Project::MAIN, class).iter().any(|method| method.function.name.as_str() == "predict")
}

/// Those of which no other candidate is made: a base class is not the model where its heir is there.
fn most_derived<'a>(project: &Project<'a>, candidates: &[&'a StmtClassDef]) -> Vec<&'a StmtClassDef> {
    let inherited = |class: &StmtClassDef| {
        let is_base_of = |other: &&&StmtClassDef| {
            other.name != class.name
                && class::lineage(project, Project::MAIN, other).iter().any(|(_, base)| std::ptr::eq(*base, class))
        };
        candidates.iter().any(|other| is_base_of(&other))
    };
    candidates.iter().copied().filter(|class| !inherited(class)).collect()
}

fn only<'a>(project: &Project<'a>, candidates: &[&'a StmtClassDef]) -> Result<&'a StmtClassDef, SourceError> {
    let file = project.main_path().to_path_buf();
    match candidates {
        [class] => Ok(class),
        [] => Err(match web::framework_of(project) {
            Some(framework) => {
                SourceError::WebApplication { file, framework: framework.as_str(), command: framework.command() }
            }
            None => SourceError::NoClass { file },
        }),
        several => Err(SourceError::SeveralClasses {
            file,
            candidates: several.iter().map(|class| class.name.to_string()).collect(),
        }),
    }
}
