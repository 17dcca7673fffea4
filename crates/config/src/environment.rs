//! Values from environment variables: `STDSERVE_*`, and a few names that platforms share.

use std::path::PathBuf;

use crate::error::{Problem, Source};
use crate::field::Raw;
use crate::layers::{Given, Rank};
use crate::options::{all, find};
use crate::suggest;
use crate::surroundings::Surroundings;

/// The prefix of our variables.
pub(crate) const PREFIX: &str = "STDSERVE_";

/// What follows the prefix in variables that are no options: a further `_` marks what the server tells its own
/// children, `TEST_` what tests tell theirs.
const NOT_OPTIONS: [&str; 2] = ["_", "TEST_"];

/// The variable that names the configuration file.
pub(crate) const CONFIG: &str = "STDSERVE_CONFIG";

/// The values in the environment, and the configuration file that it names.
pub(crate) fn read(around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> (Vec<Given>, Option<PathBuf>) {
    let mut given = Vec::new();
    let mut config = None;
    for (name, value) in &around.env {
        let Some(name) = name.to_str() else { continue };
        let shared = all().find(|opt| opt.variables.contains(&name));
        let ours = name.strip_prefix(PREFIX);
        if shared.is_none() && ours.is_none_or(|rest| NOT_OPTIONS.iter().any(|start| rest.starts_with(start)))
        {
            continue;
        }
        let source = Source::Environment(name.to_owned());
        let Some(value) = value.to_str() else {
            problems.push(Problem::new(source, "is not valid UTF-8"));
            continue;
        };
        if value.is_empty() || is_container_link(name, value) {
            continue;
        }
        if name == CONFIG {
            config = Some(PathBuf::from(value));
        } else if let Some(opt) = shared {
            // NO_COLOR says it by being there (no-color.org).
            let value = if name == "NO_COLOR" { "never" } else { value };
            given.push(Given { opt, raw: Raw::from(value), rank: Rank::Platform, source });
        } else if let Some(found) = ours.and_then(find) {
            given.push(Given::new(found, Raw::from(value), Rank::Environment, source));
        } else if let Some(unknown) = ours {
            let as_variable = |name: &str| format!("{PREFIX}{}", name.replace('-', "_").to_ascii_uppercase());
            let hint = suggest::hint(unknown, None, as_variable);
            problems.push(Problem::new(source, "there is no such option").hint(hint));
        }
    }
    (given, config)
}

/// Kubernetes sets `STDSERVE_PORT=tcp://…`, `STDSERVE_SERVICE_HOST` and more in every container beside a
/// service that is named "stdserve"; none of them is meant for us.
fn is_container_link(name: &str, value: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    rest.starts_with("SERVICE_")
        || rest.strip_prefix("PORT").is_some_and(|more| {
            value.starts_with("tcp://") || value.starts_with("udp://") || more.starts_with('_')
        })
}
