//! From claims to a user: name, groups and roles.

use serde_json::{Map, Value};

use super::{OidcError, ProviderName, ProviderSettings};

/// Most groups of one user that are kept: some directories put a person into thousands.
const MOST_GROUPS: usize = 1000;

/// Longest name of a group that is kept, in bytes.
const LONGEST_GROUP: usize = 256;

/// Most bytes of all groups of one user that are kept: they are read with the user, again and again.
const ALL_GROUPS: usize = 8 * 1024;

/// Longest name of a user, with its prefix, in bytes.
const LONGEST_NAME: usize = 128;

/// Longest identifier of a user at a provider, in bytes, as the specification has it.
const LONGEST_SUBJECT: usize = 255;

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
    /// The name here of one who has never logged in: the provider's prefix and `subject`. Others can have chosen the claim
    /// of the name.
    pub unknown_as: String,
    /// Groups: the provider's prefix and the provider's names.
    pub groups: Vec<String>,
    /// Roles that those groups have.
    pub roles: Vec<String>,
    /// How many groups more there are than are kept.
    pub groups_left_out: usize,
}

impl ExternalIdentity {
    /// Reads claims whose signature has been checked.
    pub(super) fn read(settings: &ProviderSettings, claims: &Map<String, Value>) -> Result<Self, OidcError> {
        let unusable = |why: String| OidcError::Unusable { provider: settings.name.clone(), why };
        let subject = text(claims, "sub")
            .filter(|subject| !subject.is_empty())
            .ok_or_else(|| unusable("there is no `sub`".into()))?;
        if subject.len() > LONGEST_SUBJECT || !subject.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(unusable("`sub` is no identifier of visible ASCII letters".into()));
        }
        let name = username(settings, claims).map_err(unusable)?;
        let (groups, groups_left_out) = groups(claims.get(&settings.groups_claim));
        let roles = settings.roles_of(groups.iter().copied());
        Ok(Self {
            provider: settings.name.clone(),
            issuer: settings.issuer.to_string(),
            subject: subject.into(),
            username: settings.username(name),
            // No name has a colon: nobody can choose to be called by the subject of somebody else.
            unknown_as: settings.username(&format!("sub:{subject}")),
            groups: groups.iter().map(|group| format!("{}{group}", settings.groups_prefix)).collect(),
            roles,
            groups_left_out,
        })
    }
}

fn username<'a>(settings: &ProviderSettings, claims: &'a Map<String, Value>) -> Result<&'a str, String> {
    let claim = &settings.username_claim;
    let name = text(claims, claim).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        format!("there is no claim `{claim}` with a name: ask for a scope that gives it, or set `username-claim`")
    })?;
    // Two names that look the same, or one that holds another provider's prefix, would be taken for each other.
    if settings.username(name).len() > LONGEST_NAME || !name.chars().all(is_letter_of_a_name) {
        return Err(format!(
            "the claim `{claim}` holds no name of at most {LONGEST_NAME} letters and digits of ASCII, `.`, `_`, `@`, `+` \
             and `-`: set `username-claim` to one that does"
        ));
    }
    // Who can write another's address into an account would be that other.
    if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
        return Err("the e-mail address is not verified".into());
    }
    Ok(name)
}

/// As of the names of users with a password, `kea_core::who::Username`.
fn is_letter_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "._@+-".contains(letter)
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// A list of texts, or one text where there is one group; and how many are left out.
fn groups(claim: Option<&Value>) -> (Vec<&str>, usize) {
    let all: Vec<&str> = match claim {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    };
    let mut room = ALL_GROUPS;
    let fits = |group: &&&str| {
        let fits = group.len() <= LONGEST_GROUP.min(room);
        room -= if fits { group.len() } else { 0 };
        fits
    };
    let kept: Vec<&str> = all.iter().filter(fits).take(MOST_GROUPS).copied().collect();
    let left_out = all.len() - kept.len();
    (kept, left_out)
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
    fn a_name_has_letters_that_nobody_takes_for_others() {
        let named = |name: &str| read("", &json!({"sub": "1", "preferred_username": name}));
        for good in ["ada", "ada.king@corp.example", "A_1+x-y"] {
            assert_eq!(named(good).unwrap().username, format!("corp:{good}"));
        }
        let long = "x".repeat(LONGEST_NAME);
        for bad in ["a:b", "a/b", "a b", "a\tb", "a\u{202e}b", "a\u{200b}b", "\u{430}da", "a\u{0}", &long] {
            let error = named(bad).unwrap_err().to_string();
            assert!(error.contains("`.`, `_`, `@`, `+` and `-`"), "{error}");
        }
    }

    #[test]
    fn names_have_the_letters_of_users_with_a_password() {
        for letter in '\0'..'\u{3000}' {
            let local = format!("a{letter}").parse::<kea_core::who::Username>();
            assert_eq!(is_letter_of_a_name(letter), local.is_ok(), "{letter:?}");
        }
    }

    #[test]
    fn who_has_never_logged_in_is_called_by_what_they_cannot_choose() {
        let read = read("", &json!({"sub": "auth0|7", "preferred_username": "admin"})).unwrap();
        assert_eq!(read.unknown_as, "corp:sub:auth0|7");
    }

    #[test]
    fn groups_are_kept_as_far_as_there_is_room() {
        let of = |groups: Value| read("", &json!({"sub": "1", "preferred_username": "ada", "groups": groups})).unwrap();
        let long = of(json!(["x".repeat(256), "y".repeat(257), "ml"]));
        assert_eq!((long.groups, long.groups_left_out), (vec!["x".repeat(256), "ml".into()], 1));
        let many = of(json!((0..100).map(|i| format!("{i:0200}")).collect::<Vec<_>>()));
        assert_eq!((many.groups.len(), many.groups_left_out), (40, 60));
        let short = of(json!((0..1500).map(|i| (i % 10).to_string()).collect::<Vec<_>>()));
        assert_eq!((short.groups.len(), short.groups_left_out), (1000, 500));
        assert_eq!(of(json!("y".repeat(300))).groups_left_out, 1);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (more, claims, told) in [
            ("", json!({"preferred_username": "ada"}), "`sub`"),
            ("", json!({"sub": "1"}), "`preferred_username`"),
            ("", json!({"sub": "1", "preferred_username": ""}), "`preferred_username`"),
            ("", json!({"sub": "1", "preferred_username": "a\nb"}), "no name"),
            ("", json!({"sub": "a b", "preferred_username": "ada"}), "`sub`"),
            ("", json!({"sub": "a\u{202e}", "preferred_username": "ada"}), "`sub`"),
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
