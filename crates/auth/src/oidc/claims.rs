//! From claims to a user: name, groups and roles.

use serde_json::{Map, Value};

use super::{OidcError, ProviderName, ProviderSettings};

/// Most groups of one user that are kept: some directories put a person into thousands.
const MOST_GROUPS: usize = 1000;

/// Longest name of a user, with its prefix, in bytes.
const LONGEST_NAME: usize = 128;

/// Who somebody is, as a provider says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// The provider.
    pub provider: ProviderName,
    /// The provider's issuer.
    pub issuer: String,
    /// The user's identifier there, which never changes.
    pub subject: String,
    /// The name here: the provider's prefix and the claim of the name.
    pub username: String,
    /// Groups: the provider's prefix and the provider's names.
    pub groups: Vec<String>,
    /// Roles that those groups have.
    pub roles: Vec<String>,
}

impl ExternalIdentity {
    /// Reads claims whose signature has been checked.
    pub(super) fn read(settings: &ProviderSettings, claims: &Map<String, Value>) -> Result<Self, OidcError> {
        let unusable = |why: String| OidcError::Unusable { provider: settings.name.clone(), why };
        let subject = text(claims, "sub")
            .filter(|subject| !subject.is_empty())
            .ok_or_else(|| unusable("there is no `sub`".into()))?;
        let name = username(settings, claims).map_err(unusable)?;
        let groups = groups(claims.get(&settings.groups_claim));
        let of_groups = groups.iter().filter_map(|group| settings.roles.get(group)).flatten();
        let mut roles: Vec<String> = of_groups.map(ToString::to_string).collect();
        roles.sort_unstable();
        roles.dedup();
        Ok(Self {
            provider: settings.name.clone(),
            issuer: settings.issuer.to_string(),
            subject: subject.into(),
            username: settings.username(name),
            groups: groups.iter().map(|group| format!("{}{group}", settings.groups_prefix)).collect(),
            roles,
        })
    }
}

fn username<'a>(settings: &ProviderSettings, claims: &'a Map<String, Value>) -> Result<&'a str, String> {
    let claim = &settings.username_claim;
    let name = text(claims, claim).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        format!("there is no claim `{claim}` with a name: ask for a scope that gives it, or set `username-claim`")
    })?;
    if settings.username(name).len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(format!("the claim `{claim}` holds no name"));
    }
    // Who can write another's address into an account would be that other.
    if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err("the e-mail address is not verified".into());
    }
    Ok(name)
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// A list of texts, or one text where there is one group.
fn groups(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).take(MOST_GROUPS).map(Into::into).collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(more: &str) -> ProviderSettings {
        let text = format!("name = \"corp\"\nissuer = \"https://login.example\"\nclient-id = \"kea\"\n{more}");
        toml::from_str(&text).unwrap()
    }

    fn read(more: &str, claims: &Value) -> Result<ExternalIdentity, OidcError> {
        ExternalIdentity::read(&settings(more), claims.as_object().unwrap())
    }

    #[test]
    fn a_user_of_a_provider_is_none_of_the_local_ones() {
        let read = read("", &json!({"sub": "1", "preferred_username": "admin"})).unwrap();
        assert_eq!(read.username, "corp:admin");
        assert!(read.roles.is_empty());
    }

    #[test]
    fn groups_have_roles() {
        let more = "groups-claim = \"teams\"\ngroups-prefix = \"c:\"\nusername-prefix = \"\"\n\
                    [roles]\nml = [\"engineer\", \"x\"]\nall = [\"x\"]";
        let claims = json!({"sub": "1", "preferred_username": "ada", "teams": ["ml", "all", "other", 7]});
        let identity = read(more, &claims).unwrap();
        assert_eq!(identity.username, "ada");
        assert_eq!(identity.groups, ["c:ml", "c:all", "c:other"]);
        assert_eq!(identity.roles, ["engineer", "x"]);
        let one = read(more, &json!({"sub": "1", "preferred_username": "ada", "teams": "all"})).unwrap();
        assert_eq!(one.roles, ["x"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (more, claims, told) in [
            ("", json!({"preferred_username": "ada"}), "`sub`"),
            ("", json!({"sub": "1"}), "`preferred_username`"),
            ("", json!({"sub": "1", "preferred_username": ""}), "`preferred_username`"),
            ("", json!({"sub": "1", "preferred_username": "a\nb"}), "no name"),
            ("username-claim = \"email\"", json!({"sub": "1", "email": "a@b.c"}), "not verified"),
            (
                "username-claim = \"email\"",
                json!({"sub": "1", "email": "a@b.c", "email_verified": "true"}),
                "not verified",
            ),
        ] {
            let error = read(more, &claims).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("`corp`"), "{error}");
        }
        let email = json!({"sub": "1", "email": "a@b.c", "email_verified": true});
        assert_eq!(read("username-claim = \"email\"", &email).unwrap().username, "corp:a@b.c");
    }
}
