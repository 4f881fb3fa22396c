//! Web applications: the routes of FastAPI, Starlette and Flask as operations of a contract.

mod application;
mod body;
mod fastapi;
mod flask;
mod locate;
mod parameters;
mod path;
mod reads;
mod routes;
mod status;

use std::{collections::HashSet, path::Path};

use kea_core::{
    Contract,
    contract::web::{WebMethod, WebOperation},
};

use super::{
    SourceError,
    annotation::Types,
    docstring,
    file::{self, Imports},
    project::Project,
};
use application::{Application, Framework};
use routes::Route;

/// Operations that are described; an application of more of them has no readers.
const OPERATIONS: usize = 2_000;

/// The contract of the web application at `path`, where there is one.
pub(super) fn read(path: &Path, command: &[String]) -> Result<Option<Contract>, SourceError> {
    for place in locate::places(path, command)? {
        let files = file::load(&place.file, Some(&place.folder), Imports::All)?;
        let project = Project::new(&files, Some(&place.folder));
        let application = Application::find(&project, place.name.as_deref());
        if let Some(contract) = application.and_then(|application| contract(&project, &application)) {
            return Ok(Some(contract));
        }
    }
    Ok(None)
}

/// What the main file's application is made with, where it makes one.
pub(super) fn framework_of(project: &Project<'_>) -> Option<Framework> {
    let application = Application::find(project, None)?;
    (application.module == Project::MAIN).then_some(application.framework)
}

fn contract(project: &Project<'_>, application: &Application<'_>) -> Option<Contract> {
    let mut operations = Operations { types: Types::new(project), names: HashSet::new(), found: Vec::new() };
    operations.types.lenient = true;
    for route in application.routes() {
        operations.add(application.framework, &route);
    }
    let Operations { mut types, found, .. } = operations;
    types.place = format!("the application of {}", application.framework.as_str());
    if found.is_empty() {
        types.note("it has no route that could be read");
    }
    types.notes.splice(0..0, application.unread.iter().cloned());
    let words = docstring::of(project.main_body()).map(|words| words.prose);
    Some(Contract {
        description: application.description(project).or(words).unwrap_or_default(),
        platform: application.framework.as_str().to_lowercase(),
        operations: found,
        incomplete: types.notes,
        ..Contract::default()
    })
}

/// Operations that are being described.
struct Operations<'p, 'a> {
    types: Types<'p, 'a>,
    /// Names that are taken.
    names: HashSet<String>,
    found: Vec<WebOperation>,
}

impl<'a> Operations<'_, 'a> {
    fn add(&mut self, framework: Framework, route: &Route<'a>) {
        for method in &route.methods {
            let taken = |found: &WebOperation| found.method == *method && found.path == route.path.template;
            if self.found.len() >= OPERATIONS || self.found.iter().any(taken) {
                continue;
            }
            let name = self.free_name(route.name.as_deref().unwrap_or(&route.function.name), *method);
            self.types.place = format!("`{name}`");
            let described = match framework {
                Framework::FastApi => self.types.fastapi(route),
                Framework::Flask | Framework::Starlette => self.types.handler(framework, route, *method),
            };
            self.found.push(WebOperation { name, method: *method, ..described });
        }
    }

    /// The name of the function; with its method, or a number, where another has that.
    fn free_name(&mut self, wanted: &str, method: WebMethod) -> String {
        let with_method = format!("{wanted}_{}", method.as_str());
        let numbered = (2..).map(|number| format!("{with_method}_{number}"));
        let mut names = [wanted.to_owned(), with_method.clone()].into_iter().chain(numbered);
        let name = names.find(|name| !self.names.contains(name)).unwrap_or_default();
        self.names.insert(name.clone());
        name
    }
}
