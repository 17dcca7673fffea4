//! Folders: what of them is served, and how files are sent.

use super::checks::{field, file_name, line, media_type, media_type_of, origin, page, user};
use super::{FILES, FOLDERS_TOO};
use crate::field::{Field, PairKind};
use crate::option::{Group, Opt, Scope};

const FILES_GROUP: Opt =
    Opt { group: Group::Files, verbs: FILES, scope: Scope::Service, embedded: false, ..Opt::BASE };
const ANSWERS: Opt = Opt { group: Group::Answers, ..FILES_GROUP };

pub(super) const OPTIONS: &[Opt] = &[
    DIRECTORY,
    INDEX,
    LISTING,
    LISTING_LIMIT,
    HIDDEN,
    NOT_FOUND,
    SPA,
    AUTH,
    AUTH_FILE,
    REALM,
    UPLOAD,
    UPLOAD_LIMIT,
    UPLOAD_REPLACE,
];

pub(super) const ANSWER_OPTIONS: &[Opt] = &[
    HEADER,
    CACHE_CONTROL,
    CORS,
    PRECOMPRESSED,
    COMPRESS,
    COMPRESS_FROM,
    COMPRESS_TO,
    MIME_TYPE,
    DEFAULT_TYPE,
    CHARSET,
    MAX_RANGES,
    SMALL_FILE,
    FILE_CACHE,
];

const DIRECTORY: Opt = Opt {
    name: "files",
    positional: true,
    metavar: "DIR",
    unset: "the current folder",
    help: "The folder that is served",
    doc: "Nothing outside of it is ever opened: no `..` and no link leads out.",
    field: Field::MaybePath(|s| &mut s.targets.files),
    ..FILES_GROUP
};

const INDEX: Opt = Opt {
    name: "index",
    metavar: "NAME",
    default: Some("index.html,index.htm"),
    help: "Files that stand for their folder",
    doc: "The first that is there is sent for a path that ends in `/`.",
    field: Field::Texts(|s| &mut s.files.index, file_name),
    ..FILES_GROUP
};

const LISTING: Opt = Opt {
    name: "listing",
    default: Some("true"),
    help: "Answer 404 for a folder without index",
    doc: "A folder without an index file is answered with a list of what is in it, as a page, or as JSON for \
        `Accept: application/json`.",
    field: Field::Switch(|s| &mut s.files.listing),
    ..FILES_GROUP
};

const LISTING_LIMIT: Opt = Opt {
    name: "listing-limit",
    metavar: "N",
    default: Some("10000"),
    help: "Most entries of a list",
    doc: "The list says where there are more.",
    field: Field::Count(|s| &mut s.files.listing_limit, 1, 10_000_000),
    ..FILES_GROUP
};

const HIDDEN: Opt = Opt {
    name: "hidden",
    default: Some("false"),
    help: "Serve names that begin with a dot, too",
    doc: "`.well-known` (RFC 8615) always is.",
    field: Field::Switch(|s| &mut s.files.hidden),
    ..FILES_GROUP
};

const NOT_FOUND: Opt = Opt {
    name: "not-found",
    aliases: &["error-page"],
    metavar: "PAGE",
    unset: "a line of text",
    help: "Page beneath the folder that is sent with 404",
    doc: "A path, such as `404.html`.",
    field: Field::MaybeText(|s| &mut s.files.not_found, page),
    ..FILES_GROUP
};

const SPA: Opt = Opt {
    name: "spa",
    aliases: &["fallback"],
    metavar: "PAGE",
    unset: "none",
    help: "Page for paths that lead nowhere, sent with 200",
    doc: "For an application that routes in the browser: `--spa index.html`. Names with an extension get it only where \
        a page was asked for (`Accept: text/html`).",
    field: Field::MaybeText(|s| &mut s.files.fallback, page),
    ..FILES_GROUP
};

const AUTH: Opt = Opt {
    name: "auth",
    secret: true,
    metavar: "USER:PASSWORD",
    default: Some(""),
    unset: "everybody may come in",
    help: "Ask for a user and a password; repeatable",
    doc: "Basic authentication (RFC 7617): without TLS everyone on the way can read the password. On the command line \
        every user of the machine can see it: better in the environment or in `--auth-file`.",
    field: Field::Pairs(|s| &mut s.files.users, &USER_FORM),
    ..FILES_GROUP
};

/// How a user is written, also in the file of users.
pub(crate) const USER_FORM: PairKind = PairKind { separator: ':', form: "USER:PASSWORD", check: user };

const AUTH_FILE: Opt = Opt {
    name: "auth-file",
    metavar: "FILE",
    unset: "none",
    help: "File with USER:PASSWORD lines",
    doc: "Empty lines and those that begin with `#` do not count. It is read at the start.",
    field: Field::MaybePath(|s| &mut s.files.users_file),
    ..FILES_GROUP
};

const REALM: Opt = Opt {
    name: "auth-realm",
    aliases: &["realm"],
    metavar: "TEXT",
    default: Some("stdserve"),
    help: "What browsers show when they ask",
    doc: "Passwords are remembered for it.",
    field: Field::Text(|s| &mut s.files.realm, line),
    ..FILES_GROUP
};

const UPLOAD: Opt = Opt {
    name: "upload",
    default: Some("false"),
    help: "Take files by PUT and by a form on listings",
    doc: "A file appears under its name when all of it is there. Everybody may bring files unless `--auth` is given.",
    field: Field::Switch(|s| &mut s.files.upload),
    ..FILES_GROUP
};

const UPLOAD_LIMIT: Opt = Opt {
    name: "upload-limit",
    metavar: "SIZE",
    default: Some("1GiB"),
    help: "Largest file that is taken; 413 past it",
    doc: "`--max-body` holds besides.",
    field: Field::Size(|s| &mut s.files.upload_limit),
    ..FILES_GROUP
};

const UPLOAD_REPLACE: Opt = Opt {
    name: "upload-replace",
    default: Some("false"),
    help: "Uploads may replace files; else 409",
    doc: "The old file is served until all of the new one is there.",
    field: Field::Switch(|s| &mut s.files.upload_replace),
    ..FILES_GROUP
};

const HEADER: Opt = Opt {
    name: "header",
    metavar: "'NAME: VALUE'",
    default: Some(""),
    help: "Field for every answer; repeatable",
    doc: "In the environment each stands on a line of its own.",
    field: Field::Pairs(|s| &mut s.files.headers, &HEADER_FORM),
    ..ANSWERS
};

const HEADER_FORM: PairKind = PairKind { separator: ':', form: "'NAME: VALUE'", check: field };

const CACHE_CONTROL: Opt = Opt {
    name: "cache-control",
    verbs: FOLDERS_TOO,
    metavar: "PATTERN=VALUE",
    default: Some(""),
    help: "Cache-Control by file; the first that fits",
    doc: "`--cache-control '*.css=max-age=3600' --cache-control 'assets/**=public, max-age=31536000, immutable'`. `*` \
        stands for any part of a name, `**` for any part of a path, `?` for one character, `{a,b}` for either. Without \
        `/` a pattern is held against the last name of the path, else against the whole path beneath the folder.",
    field: Field::Pairs(|s| &mut s.files.cache_control, &CACHE_FORM),
    ..ANSWERS
};

const CACHE_FORM: PairKind = PairKind {
    separator: '=',
    form: "PATTERN=VALUE",
    check: |pattern, value| match (pattern, value) {
        ("", _) => Err("has no pattern; write PATTERN=VALUE, such as *.css=max-age=3600".into()),
        (_, "") => Err("has no value; write PATTERN=VALUE, such as *.css=max-age=3600".into()),
        (pattern, value) => Ok((line(pattern)?, line(value)?)),
    },
};

const CORS: Opt = Opt {
    name: "cors",
    verbs: FOLDERS_TOO,
    metavar: "ORIGIN",
    default: Some(""),
    help: "Whose pages may read the files; * for all",
    doc: "Origins such as `https://example.org`; repeatable.",
    field: Field::Texts(|s| &mut s.files.cors, origin),
    ..ANSWERS
};

const PRECOMPRESSED: Opt = Opt {
    name: "precompressed",
    verbs: FOLDERS_TOO,
    default: Some("true"),
    help: "Do not send NAME.br, .zst, .gz in place of NAME",
    doc: "Where such a file stands beside the one that is asked for, it is sent to clients that take it.",
    field: Field::Switch(|s| &mut s.files.precompressed),
    ..ANSWERS
};

const COMPRESS: Opt = Opt {
    name: "compress",
    verbs: FOLDERS_TOO,
    default: Some("false"),
    help: "Compress text on the way (gzip)",
    doc: "Where no compressed file stands beside it.",
    field: Field::Switch(|s| &mut s.files.compress),
    ..ANSWERS
};

const COMPRESS_FROM: Opt = Opt {
    name: "compress-from",
    metavar: "SIZE",
    default: Some("1KiB"),
    help: "Smallest file that is compressed",
    doc: "Smaller ones hardly shrink.",
    field: Field::Size(|s| &mut s.files.compress_from),
    ..ANSWERS
};

const COMPRESS_TO: Opt = Opt {
    name: "compress-to",
    metavar: "SIZE",
    default: Some("1MiB"),
    help: "Largest file that is compressed",
    doc: "It is held in memory for that.",
    field: Field::Size(|s| &mut s.files.compress_to),
    ..ANSWERS
};

const MIME_TYPE: Opt = Opt {
    name: "mime-type",
    verbs: FOLDERS_TOO,
    metavar: ".EXT=TYPE",
    default: Some(""),
    unset: "a built-in table",
    help: "Media type by extension; repeatable",
    doc: "Counts before the built-in table: `--mime-type .glb=model/gltf-binary`.",
    field: Field::Pairs(|s| &mut s.files.types, &TYPE_FORM),
    ..ANSWERS
};

const TYPE_FORM: PairKind = PairKind { separator: '=', form: ".EXT=TYPE", check: media_type_of };

const DEFAULT_TYPE: Opt = Opt {
    name: "default-type",
    metavar: "TYPE",
    default: Some("application/octet-stream"),
    help: "Media type of unknown extensions",
    doc: "nginx's name for it.",
    field: Field::Text(|s| &mut s.files.default_type, media_type),
    ..ANSWERS
};

const CHARSET: Opt = Opt {
    name: "charset",
    metavar: "NAME",
    default: Some("utf-8"),
    help: "Charset that text is said to be in",
    doc: "An empty one says nothing.",
    field: Field::Text(|s| &mut s.files.charset, line),
    ..ANSWERS
};

const MAX_RANGES: Opt = Opt {
    name: "max-ranges",
    metavar: "N",
    default: Some("16"),
    help: "Most ranges of a request",
    doc: "A request for more is answered with the whole file.",
    field: Field::Count(|s| &mut s.files.ranges, 0, 1000),
    ..ANSWERS
};

const SMALL_FILE: Opt = Opt {
    name: "small-file",
    metavar: "SIZE",
    default: Some("32KiB"),
    help: "Up to it files are sent in one piece",
    doc: "Larger ones go by sendfile(2).",
    field: Field::Memory(|s| &mut s.files.small_file, 0),
    ..ANSWERS
};

const FILE_CACHE: Opt = Opt {
    name: "file-cache",
    metavar: "SIZE",
    default: Some("16MiB"),
    help: "Memory of a worker for small files",
    doc: "Each request asks the kernel whether the file is still the same. 0 keeps nothing.",
    field: Field::Memory(|s| &mut s.files.memory, 0),
    ..ANSWERS
};
