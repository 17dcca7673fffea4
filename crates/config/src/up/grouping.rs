//! Services that share a listener share its workers: how the services of a file come together into worker groups,
//! and what they must agree on.

use crate::bind::{Address, Bind};
use crate::error::{Problem, Source, UsageError};
use crate::layers::{Given, resolve};
use crate::option::Scope;
use crate::service;
use crate::services::{GroupSpec, MountSpec, ServiceKind, ServiceSpec};
use crate::up::Service;

/// The worker groups, with the services that `only` names, or all.
pub(super) fn groups(
    services: Vec<Service>,
    shared: &[Given],
    only: &[String],
) -> Result<Vec<GroupSpec>, UsageError> {
    let mut problems = Vec::new();
    let mut groups: Vec<Vec<Service>> = Vec::new();
    for service in services {
        let touched =
            groups.iter().position(|group| group[0].binds.iter().any(|bind| is_among(bind, &service)));
        match touched {
            None => groups.push(vec![service]),
            Some(index) => {
                problems.extend(objection(&groups[index], &service));
                groups[index].push(service);
            }
        }
    }
    if !problems.is_empty() {
        return Err(UsageError { problems });
    }
    let wanted = |service: &Service| only.is_empty() || only.contains(&service.name);
    groups
        .into_iter()
        .map(|group| group.into_iter().filter(wanted).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
        .map(|group| specification(group, shared))
        .collect()
}

/// Whether two name one listener. A port that the kernel chooses is another one for each name.
fn is_same(one: &Bind, other: &Bind) -> bool {
    let chosen = matches!(one.address, Address::Inet { port: 0, .. });
    one.address == other.address && one.transport == other.transport && (!chosen || one.name == other.name)
}

fn is_among(bind: &Bind, service: &Service) -> bool {
    service.binds.iter().any(|other| is_same(bind, other))
}

/// What keeps a service out of a group whose listeners it shares.
fn objection(group: &[Service], service: &Service) -> Option<Problem> {
    let at = said(service, "bind");
    let other = &group[0];
    let list = |binds: &[Bind]| binds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let all = |left: &[Bind], right: &Service| left.iter().all(|bind| is_among(bind, right));
    if !all(&other.binds, service) || !all(&service.binds, other) {
        let message = format!(
            "`{}` and `{}` share some of their listeners, but not all: {}",
            service.name,
            other.name,
            list(&other.binds)
        );
        return Some(Problem::new(at, message).hint(
            "Services that share a listener share their workers: give both the same addresses, or none in common."
                .to_owned(),
        ));
    }
    if !service.kind.speaks_http() || !other.kind.speaks_http() {
        let raw = if service.kind.speaks_http() { other } else { service };
        let message = format!(
            "`{}` shares {} with `{}`, but a {} service needs a listener for itself",
            service.name,
            list(&service.binds),
            other.name,
            raw.verb.word()
        );
        let scheme = if raw.verb == crate::Verb::Udp { "udp" } else { "tcp" };
        let hint = format!("Give it one: bind = \"{scheme}://127.0.0.1:PORT\".");
        return Some(Problem::new(at, message).hint(hint));
    }
    if let Some(problem) = names_differ(other, service, &at) {
        return Some(problem);
    }
    group.iter().find_map(|other| same_mount(other, service).or_else(|| differing(other, service)))
}

/// A listener has one name.
fn names_differ(other: &Service, service: &Service, at: &Source) -> Option<Problem> {
    let differs = |bind: &Bind| {
        let twin = other.binds.iter().find(|twin| is_same(twin, bind))?;
        (twin.name != bind.name).then(|| format!("`{bind}` is `{twin}` in service `{}`", other.name))
    };
    let message = service.binds.iter().find_map(differs)?;
    Some(Problem::new(at.clone(), message).hint("Write it the same way in both.".to_owned()))
}

/// Two services at one place.
fn same_mount(other: &Service, service: &Service) -> Option<Problem> {
    let (left, right) = (places(other), places(service));
    let place = right.iter().find(|place| left.contains(place))?;
    let host = place.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let path = if place.prefix.is_empty() { "/" } else { &place.prefix };
    let message = format!("`{}` and `{}` both answer {path}{host}", service.name, other.name);
    let hint =
        "Give one of them a mount (mount = \"/path\"), a host (host = \"example.org\") or a bind of its own.";
    Some(Problem::new(service.mount_source.clone(), message).hint(hint.to_owned()))
}

/// Where a service answers, and the folders beside it.
fn places(service: &Service) -> Vec<MountSpec> {
    let everywhere = MountSpec { host: None, prefix: String::new() };
    let mut places = service.mounts.clone();
    if places.is_empty() {
        places.push(everywhere);
    }
    places.extend(folders(service).into_iter().flat_map(|folder| folder.mounts));
    places
}

/// The folders beside an application.
fn folders(service: &Service) -> Vec<ServiceSpec> {
    match service.kind {
        ServiceKind::Wsgi { .. } => service::folders(&service.configuration.settings, &service.mounts),
        _ => Vec::new(),
    }
}

/// An option of the worker group that two services give different values.
fn differing(other: &Service, service: &Service) -> Option<Problem> {
    for given in shared_options(service) {
        let twin = shared_options(other).find(|twin| twin.opt.name == given.opt.name);
        let Some(twin) = twin else { continue };
        let value = |service: &Service| given.opt.field.show(&service.configuration.settings);
        if value(service) != value(other) {
            let message = format!("differs from {}, with which it shares its workers", twin.source);
            return Some(Problem::new(given.source.clone(), message).hint(
                "Services on one listener share their workers: say it once, or give them listeners of their own."
                    .to_owned(),
            ));
        }
    }
    None
}

/// What a service's table says of its worker group; its listeners were compared already.
fn shared_options(service: &Service) -> impl Iterator<Item = &Given> {
    service.own.iter().filter(|given| given.opt.scope == Scope::Group && given.opt.name != "bind")
}

/// Where a service's option was said, or the service's table.
fn said(service: &Service, option: &str) -> Source {
    let own = service.own.iter().find(|given| given.opt.name == option);
    own.map_or_else(|| service.source.clone(), |given| given.source.clone())
}

fn specification(group: Vec<Service>, shared: &[Given]) -> Result<GroupSpec, UsageError> {
    let name = group.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join("+");
    let own = group.iter().flat_map(|service| &service.own).filter(|given| given.opt.scope == Scope::Group);
    // What is wrong with a value was said when its service was read.
    let configuration = resolve(shared.iter().chain(own).cloned().collect(), Vec::new())?;
    let binds = group[0].binds.clone();
    let mut services = Vec::new();
    for service in group {
        let folders = folders(&service);
        services.push(ServiceSpec { name: service.name, kind: service.kind, mounts: service.mounts });
        services.extend(folders);
    }
    Ok(GroupSpec {
        name,
        binds,
        default_binds: *configuration.sources.of("bind") == Source::Default,
        services,
        settings: configuration.settings,
        sources: configuration.sources,
    })
}
