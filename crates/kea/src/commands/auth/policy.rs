//! Who may do what: roles, bindings, and asking.

use std::path::PathBuf;

use clap::Args;
use kea_core::{
    management::{BindingInfo, CanIRequest, CanIResponse, RoleInfo},
    policy::{BindingSpec, Permission, PolicyName, Subject, SubjectKind, Verb},
    policy_documents::{PolicyDocument, policies},
};

use super::super::{Session, deploy};
use crate::{
    failure::Failure,
    output::{pairs, table},
};

/// What somebody would do.
#[derive(Debug, Args)]
pub(crate) struct CanIArgs {
    /// A user, where it is not you; a verb; a service, with a function where it is not `predict`
    #[arg(required = true, num_args = 1..=3, value_name = "WORD")]
    pub(super) words: Vec<String>,
}

/// One of the roles or bindings, or all of them.
#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// The one that is meant
    name: Option<PolicyName>,
    /// Delete it
    #[arg(long, requires = "name")]
    delete: bool,
}

/// Documents.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// YAML file of Role and RoleBinding documents; `-` is standard input
    #[arg(short, long)]
    file: PathBuf,
}

/// A role and who is to have it, or to have it no more.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// The role
    pub(super) role: PolicyName,
    #[command(flatten)]
    pub(super) subject: SubjectArgs,
}

/// Who is meant.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SubjectArgs {
    /// A user's name
    #[arg(long)]
    user: Option<String>,
    /// A group's name, as the provider of logins tells it
    #[arg(long)]
    group: Option<String>,
    /// An API key's identifier
    #[arg(long)]
    key: Option<String>,
}

impl SubjectArgs {
    pub(super) fn subject(self) -> Subject {
        let of = |kind, name: Option<String>| name.map(|name| Subject { kind, name });
        let given = of(SubjectKind::User, self.user).or(of(SubjectKind::Group, self.group));
        given.or(of(SubjectKind::Key, self.key)).expect("clap asks for one of them")
    }
}

pub(super) async fn can_i(session: &Session, words: &[String]) -> Result<(), Failure> {
    let answer = session.client.post(&["auth", "can-i"], &question(words)?).await?;
    session.output.answer(&answer, |told: &CanIResponse| {
        format!("{}: {}", if told.allowed { "yes" } else { "no" }, told.reason)
    })?;
    if answer.read::<CanIResponse>()?.allowed { Ok(()) } else { Err(Failure::No) }
}

/// `[USER] VERB [SERVICE[/FUNCTION]]`: with two words, the verb says which of the others is there.
fn question(words: &[String]) -> Result<CanIRequest, Failure> {
    let verb = |word: &String| word.parse::<Verb>();
    let of_service = |word: &String| verb(word).is_ok_and(Verb::is_of_service);
    let (username, verb, target) = match words {
        [one] => (None, verb(one), None),
        [one, target] if of_service(one) => (None, verb(one), Some(target)),
        [user, one] => (Some(user.clone()), verb(one), None),
        [user, one, target] => (Some(user.clone()), verb(one), Some(target)),
        _ => return Err(Failure::Usage("give a verb, as in `kea auth can-i predict iris`".into())),
    };
    let verb = verb.map_err(|error| Failure::Usage(error.to_string()))?;
    let (service, function) = match target.map(|target| target.split_once('/').unwrap_or((target, ""))) {
        Some((service, function)) => (Some(service.to_owned()), Some(function.to_owned())),
        None => (None, None),
    };
    Ok(CanIRequest { username, verb, service, function: function.filter(|function| !function.is_empty()) })
}

pub(super) async fn roles(session: &Session, args: NamedArgs) -> Result<(), Failure> {
    let Some(name) = args.name else {
        let answer = session.client.get(&["auth", "roles"], &[]).await?;
        return session.output.answer(&answer, |roles: &Vec<RoleInfo>| {
            let row = |role: &RoleInfo| {
                let kind = if role.built_in { "built-in" } else { "own" };
                vec![role.name.to_string(), kind.into(), permissions(role).join(" "), role.description.clone()]
            };
            table(&["NAME", "KIND", "ALLOWS", "DESCRIPTION"], roles.iter().map(row))
        });
    };
    if args.delete {
        return delete(session, "roles", "role", &name).await;
    }
    let answer = session.client.get(&["auth", "roles", name.as_str()], &[]).await?;
    session.output.answer(&answer, |role: &RoleInfo| {
        let lines = [
            ("NAME", role.name.to_string()),
            ("DESCRIPTION", role.description.clone()),
            ("ALLOWS", permissions(role).join("\n")),
        ];
        pairs(lines)
    })
}

/// What a role allows, as permissions.
fn permissions(role: &RoleInfo) -> Vec<String> {
    let mut all = Vec::new();
    for rule in &role.rules {
        let labels: Vec<_> = rule.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let services = if rule.services.is_empty() { vec![labels.join(",")] } else { rule.services.clone() };
        for verb in &rule.verbs {
            let verbs = verb.to_string();
            let is_of_kea = verbs.parse::<Verb>().is_ok_and(|verb| !verb.is_of_service());
            match is_of_kea || services[0].is_empty() {
                true => all.push(verbs),
                false => all.extend(services.iter().flat_map(|service| on(&verbs, service, &rule.functions))),
            }
        }
    }
    all
}

fn on(verb: &str, service: &str, functions: &[String]) -> Vec<String> {
    let written = |text: String| text.parse::<Permission>().map_or(text.clone(), |permission| permission.to_string());
    if functions.is_empty() || verb != Verb::Predict.as_str() {
        return vec![written(format!("{verb}:{service}"))];
    }
    functions.iter().map(|function| written(format!("{verb}:{service}/{function}"))).collect()
}

pub(super) async fn bindings(session: &Session, args: NamedArgs) -> Result<(), Failure> {
    let row = |binding: &BindingInfo| {
        let subjects: Vec<_> = binding.subjects.iter().map(Subject::to_string).collect();
        vec![binding.name.to_string(), binding.role.to_string(), subjects.join(", ")]
    };
    let shown = |rows: Vec<Vec<String>>| table(&["NAME", "ROLE", "SUBJECTS"], rows);
    match args.name {
        None => {
            let answer = session.client.get(&["auth", "bindings"], &[]).await?;
            session.output.answer(&answer, |all: &Vec<BindingInfo>| shown(all.iter().map(row).collect()))
        }
        Some(name) if args.delete => delete(session, "bindings", "binding", &name).await,
        Some(name) => {
            let answer = session.client.get(&["auth", "bindings", name.as_str()], &[]).await?;
            session.output.answer(&answer, |one: &BindingInfo| shown(vec![row(one)]))
        }
    }
}

async fn delete(session: &Session, path: &str, what: &str, name: &PolicyName) -> Result<(), Failure> {
    session.client.delete(&["auth", path, name.as_str()], &[]).await?;
    session.output.result(&serde_json::json!({"name": name, "deleted": true}), &format!("the {what} {name} is deleted"))
}

pub(super) async fn apply(session: &Session, args: &ApplyArgs) -> Result<(), Failure> {
    let documents = deploy::documents_of(&args.file)?;
    let documents = policies(documents).map_err(|source| Failure::Documents { path: args.file.clone(), source })?;
    let mut applied = Vec::new();
    for document in documents {
        let (kind, path, name, answer) = match document {
            PolicyDocument::Role(role) => {
                let answer = session.client.put(&["auth", "roles", role.name.as_str()], &role.spec).await?;
                ("role", "roles", role.name, answer)
            }
            PolicyDocument::Binding(binding) => {
                let answer = session.client.put(&["auth", "bindings", binding.name.as_str()], &binding.spec).await?;
                ("binding", "bindings", binding.name, answer)
            }
        };
        let kept: serde_json::Value = answer.read()?;
        applied.push((
            format!("the {kind} {name} holds\n"),
            serde_json::json!({"kind": path, "name": name, "kept": kept}),
        ));
    }
    let (told, kept): (Vec<_>, Vec<_>) = applied.into_iter().unzip();
    session.output.result(&kept, &told.concat())
}

pub(super) async fn grant(session: &Session, role: PolicyName, subject: Subject) -> Result<(), Failure> {
    let name = binding_name(&role, &subject);
    let told = format!("the {subject} has the role {role} (binding {name})");
    let spec = BindingSpec { role, subjects: vec![subject] };
    let answer = session.client.put(&["auth", "bindings", &name], &spec).await?;
    session.output.answer(&answer, |_: &BindingInfo| told)
}

/// One name for one role and subject, so that granting twice is granting once. What names cannot hold is written as the
/// numbers of its bytes.
fn binding_name(role: &PolicyName, subject: &Subject) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.@".contains(&b);
    let written = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("_{b:02x}") };
    let name: String = subject.name.bytes().map(written).collect();
    format!("{role}-{}-{name}", format!("{:?}", subject.kind).to_lowercase())
}

/// Takes the subject out of every binding of the role, and ends those that name nobody else.
pub(super) async fn revoke(session: &Session, role: &PolicyName, subject: &Subject) -> Result<(), Failure> {
    let all: Vec<BindingInfo> = session.client.get(&["auth", "bindings"], &[]).await?.read()?;
    let found: Vec<_> = all.into_iter().filter(|one| one.role == *role && one.subjects.contains(subject)).collect();
    if found.is_empty() {
        let why = format!("the {subject} does not have the role {role} by a binding: `kea auth bindings` lists them");
        return Err(Failure::Usage(why));
    }
    for BindingInfo { name, role, mut subjects } in found {
        subjects.retain(|one| one != subject);
        let path = ["auth", "bindings", name.as_str()];
        match subjects.is_empty() {
            true => drop(session.client.delete(&path, &[]).await?),
            false => drop(session.client.put(&path, &BindingSpec { role, subjects }).await?),
        }
    }
    let told = format!("the {subject} does not have the role {role} any more");
    session.output.result(&serde_json::json!({"role": role, "subject": subject, "revoked": true}), &told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> (Option<String>, Verb, Option<String>, Option<String>) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let CanIRequest { username, verb, service, function } = question(&words).unwrap();
        (username, verb, service, function)
    }

    #[test]
    fn the_verb_tells_the_words_apart() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(asked("predict iris"), (None, Verb::Predict, text("iris"), None));
        assert_eq!(
            asked("ada predict grades/set_grades"),
            (text("ada"), Verb::Predict, text("grades"), text("set_grades"))
        );
        assert_eq!(asked("audit"), (None, Verb::Audit, None, None));
        assert_eq!(asked("ada audit"), (text("ada"), Verb::Audit, None, None));
        let told = question(&["fly".into()]).unwrap_err().to_string();
        assert!(told.contains("`fly` is no verb"), "{told}");
    }

    #[test]
    fn bindings_of_two_subjects_never_meet() {
        let name = |name: &str| {
            let subject = Subject { kind: SubjectKind::User, name: name.into() };
            binding_name(&"teacher".parse().unwrap(), &subject)
        };
        assert_eq!(name("ada@example.org"), "teacher-user-ada@example.org");
        assert_ne!(name("a_20"), name("a "));
        assert!(name("å b").parse::<PolicyName>().is_ok());
    }

    #[test]
    fn what_a_role_allows_is_shown_as_permissions() {
        let role: RoleInfo = serde_json::from_value(serde_json::json!({
            "name": "teacher", "builtIn": false, "description": "", "rules": [
                {"verbs": ["predict", "read"], "services": ["grades"], "functions": ["set_grades"]},
                {"verbs": ["read"], "labels": {"team": "risk"}},
                {"verbs": ["audit"]},
                {"verbs": ["*"], "services": ["*"]},
            ],
        }))
        .unwrap();
        assert_eq!(permissions(&role), ["predict:grades/set_grades", "read:grades", "read:team=risk", "audit", "*:*"]);
    }
}
