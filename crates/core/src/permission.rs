//! A permission as one text: `VERB`, `VERB:SERVICE` or `VERB:SERVICE/FUNCTION`, where a service is a name, `*`, or labels
//! as `team=risk,stage=test`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{
    policy::{ANY, PolicyError, Rule, Verb, Verbs},
    service::is_label,
};

/// What is allowed: the scopes of API keys are such permissions, and an answer that refuses names one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// What may be done.
    pub verb: Verbs,
    /// With which services; `None` for verbs about all of KEA.
    pub service: Option<Selector>,
    /// Which function may be called; all where it is `None`.
    pub function: Option<String>,
}

/// Services that are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// All of them.
    Any,
    /// The one of that name.
    Name(String),
    /// Those with these labels.
    Labels(BTreeMap<String, String>),
}

impl Permission {
    /// The permission to do something with all of KEA, or with a service, or to call a function of one.
    pub fn of(verb: Verb, service: Option<&str>, function: Option<&str>) -> Self {
        let selector = |name: &str| if name == ANY { Selector::Any } else { Selector::Name(name.into()) };
        Self { verb: Verbs::One(verb), service: service.map(selector), function: function.map(str::to_owned) }
    }

    /// The rule that allows the same.
    pub fn rule(self) -> Rule {
        let (services, labels) = match self.service {
            None if self.verb == Verbs::Any => (vec![ANY.into()], BTreeMap::new()),
            None => Default::default(),
            Some(Selector::Any) => (vec![ANY.into()], BTreeMap::new()),
            Some(Selector::Name(name)) => (vec![name], BTreeMap::new()),
            Some(Selector::Labels(labels)) => (Vec::new(), labels),
        };
        Rule { verbs: vec![self.verb], services, labels, functions: self.function.into_iter().collect() }
    }
}

impl FromStr for Permission {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let wrong = |why| PolicyError::Permission { text: text.into(), why };
        let (verb, rest) = text.split_once(':').map_or((text, None), |(verb, rest)| (verb, Some(rest)));
        let verb: Verbs = verb.parse()?;
        let (service, function) = match rest.map(|rest| rest.split_once('/').unwrap_or((rest, ANY))) {
            None => (None, None),
            Some((service, function)) => (Some(selector(service).map_err(wrong)?), Some(function)),
        };
        let of_service = matches!(verb, Verbs::One(verb) if verb.is_of_service());
        match (&service, function) {
            (None, _) if of_service => Err(wrong("it names no service")),
            (Some(_), _) if !of_service && verb != Verbs::Any => Err(wrong("its verb is about all of KEA")),
            (_, Some("")) => Err(wrong("its function is empty")),
            (_, function) => {
                let function = function.filter(|function| *function != ANY).map(str::to_owned);
                Ok(Self { verb, service, function })
            }
        }
    }
}

fn selector(text: &str) -> Result<Selector, &'static str> {
    match text {
        "" => Err("its service is empty"),
        ANY => Ok(Selector::Any),
        labels if labels.contains('=') => {
            let label = |label: &str| {
                let (name, value) = label.split_once('=').ok_or("its labels are not `name=value`")?;
                is_label(name, value).then(|| (name.to_owned(), value.to_owned())).ok_or("its labels are none")
            };
            labels.split(',').map(label).collect::<Result<_, _>>().map(Selector::Labels)
        }
        name => Ok(Selector::Name(name.into())),
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verb.fmt(f)?;
        match &self.service {
            None => return Ok(()),
            Some(Selector::Any) => write!(f, ":{ANY}")?,
            Some(Selector::Name(name)) => write!(f, ":{name}")?,
            Some(Selector::Labels(labels)) => {
                let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, ":{}", labels.join(","))?;
            }
        }
        self.function.as_ref().map_or(Ok(()), |function| write!(f, "/{function}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_written_as_it_is_read() {
        for text in [
            "predict:grades/get_grades",
            "predict:grades",
            "predict:*",
            "predict:*/get_grades",
            "read:stage=test,team=risk",
            "predict:example.org/team=risk",
            "audit",
            "*",
            "*:iris",
        ] {
            assert_eq!(text.parse::<Permission>().unwrap().to_string(), text);
        }
        assert_eq!("predict:iris/*".parse::<Permission>().unwrap().to_string(), "predict:iris");
    }

    #[test]
    fn what_is_no_permission_is_told() {
        for (text, why) in [
            ("", "no verb"),
            ("fly:iris", "`fly` is no verb"),
            ("predict", "names no service"),
            ("predict:", "service is empty"),
            ("predict:iris/", "function is empty"),
            ("audit:iris", "about all of KEA"),
            ("read:a=b,c", "not `name=value`"),
            ("read:a b=c", "labels are none"),
        ] {
            let told = text.parse::<Permission>().unwrap_err().to_string();
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn the_rule_of_a_permission_holds() {
        for text in ["predict:grades/get_grades", "read:team=risk", "audit", "*", "*:iris"] {
            assert_eq!(text.parse::<Permission>().unwrap().rule().check(), Ok(()), "{text}");
        }
    }
}
