//! What operators see and do while the server runs.

use super::checks::host_name;
use crate::field::Field;
use crate::option::{Group, Opt, Scope};

const OPERATIONS: Opt =
    Opt { group: Group::Operations, scope: Scope::Supervisor, reload: false, embedded: false, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[ADMIN, ADMIN_HOST];

const ADMIN: Opt = Opt {
    name: "admin",
    metavar: "ADDRESS",
    default: Some("auto"),
    help: "Operations plane: HOST:PORT, unix:PATH or none",
    doc: "Where health, figures and orders are served (docs/admin.md), by the supervisor, whatever the workers do. \
        `auto`: on a Unix socket of mode 0600 alone, which `stdserve ctl` finds by itself: `stdserve/PID.sock` in \
        `$XDG_RUNTIME_DIR` or `/run`, else `stdserve-UID/PID.sock` in the folder for temporary files. An address is \
        served beside that socket. Whoever reaches it can read, and orders are taken from this machine only: keep \
        it off public networks.",
    field: Field::Admin(|s| &mut s.operations.admin),
    ..OPERATIONS
};

const ADMIN_HOST: Opt = Opt {
    name: "admin-host",
    metavar: "NAME",
    unset: "none",
    default: Some(""),
    help: "Name that the plane may be asked for by; repeatable",
    doc: "Addresses, `localhost` and the host of `--admin` always may. Any other name is refused, since a foreign \
        page could have its own name point here (DNS rebinding).",
    field: Field::Texts(|s| &mut s.operations.admin_hosts, host_name),
    ..OPERATIONS
};
