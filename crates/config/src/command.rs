//! From arguments, environment and files to what is to be done.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::app_spec::AppSpec;
use crate::cli::{self, CommandLine};
use crate::ctl::{self, Ctl};
use crate::error::{Problem, Source, UsageError, shown};
use crate::field::Raw;
use crate::layers::{Configuration, Given, Rank, resolve};
use crate::options::find;
use crate::report::Shown;
use crate::run_script::{self, Asked, RunScript};
use crate::service;
use crate::services::{GroupSpec, ServiceKind};
use crate::surroundings::Surroundings;
use crate::verb::Verb;
use crate::{completions, environment, file, help, python_file, report, suggest, up};

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Print this text on standard output and exit with 0.
    Print(String),
    /// Serve, or check that one could.
    Serve(Box<Serve>),
    /// Run a program with the standard servers replaced.
    Run(RunScript),
    /// Speak to a server that runs.
    Control(Control),
    /// Ask the operations plane of a server that runs.
    Ctl(Ctl),
}

/// What is asked of a server that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// What.
    pub order: Order,
    /// The file that says which process it is; a relative path begins at `chdir`.
    pub pid: PathBuf,
    /// The folder that the server changed to.
    pub chdir: Option<PathBuf>,
}

/// What a server that runs can be asked for by a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To end.
    Stop,
    /// To load anew.
    Reload,
    /// Nothing: whether it is there.
    Status,
}

/// What is to be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Serve {
    /// The verb: what was asked for.
    pub verb: Verb,
    /// The worker groups, at least one; one alone unless `stdserve up` says otherwise.
    pub groups: Vec<GroupSpec>,
    /// The settings of the server as a whole, and where they came from.
    pub configuration: Configuration,
    /// The options with their values, as operators may see them.
    pub shown: Vec<Shown>,
    /// `--check-config`: load what is served, say whether that went well, and exit.
    pub check: bool,
    /// `stdserve restart`: the server of the pid file is ended first.
    pub restart: bool,
}

/// Parses the command line: `argv` without the program's name.
pub fn parse(
    argv: impl IntoIterator<Item = impl Into<OsString>>,
    around: &Surroundings<'_>,
) -> Result<Command, UsageError> {
    let mut argv: Vec<OsString> = argv.into_iter().map(Into::into).collect();
    if argv.first().is_some_and(|word| word == Verb::Run.word()) {
        argv.remove(0);
        return match run_script::parse(argv)? {
            Asked::Help => help::help(Verb::Run, "").map(Command::Print),
            Asked::Run(run) => Ok(Command::Run(run)),
        };
    }
    if argv.first().is_some_and(|word| word == Verb::Ctl.word()) {
        argv.remove(0);
        return match ctl::parse(argv, around)? {
            None => help::help(Verb::Ctl, "").map(Command::Print),
            Some(ctl) => Ok(Command::Ctl(ctl)),
        };
    }
    let mut line = cli::parse(argv)?;
    let background = background(&mut line);
    let word = line.words.first().map_or("", String::as_str);
    let verb = Verb::of(word);
    if let Some(group) = &line.help {
        let verb = verb.or(background).unwrap_or(Verb::Serve);
        return help::help(verb, group).map(Command::Print);
    }
    if line.version {
        return Ok(Command::Print(format!("stdserve {}\n", env!("CARGO_PKG_VERSION"))));
    }
    match verb {
        None if word == "help" => help_for(&line.words[1..]),
        Some(Verb::Completions) => completions::print(&line.words[1..]).map(Command::Print),
        Some(Verb::Ctl) => {
            let hint = "Write stdserve ctl ORDER: its options stand behind it.";
            Err(Problem::new(None, "`ctl` has to be the first word").hint(hint.to_owned()).into())
        }
        Some(Verb::Run) => {
            let hint = "Write stdserve run SCRIPT: all that follows is the script's own.";
            Err(Problem::new(None, "`run` has to be the first word").hint(hint.to_owned()).into())
        }
        Some(verb @ (Verb::Stop | Verb::Reload | Verb::Status)) => control(line, verb, around),
        Some(Verb::Start | Verb::Restart) => {
            Err(Problem::new(None, format!("`{word}` is written once")).into())
        }
        verb => serve(line, verb, background, around),
    }
}

/// `start` and `restart` stand before what is served: takes the word off, and says `--daemon`.
fn background(line: &mut CommandLine) -> Option<Verb> {
    let verb = line.words.first().and_then(|word| Verb::of(word))?;
    if !matches!(verb, Verb::Start | Verb::Restart) {
        return None;
    }
    line.words.remove(0);
    let source = Source::CommandLine(verb.word().to_owned());
    line.given
        .extend(find("daemon").map(|found| Given::new(found, Raw::from("true"), Rank::Arguments, source)));
    Some(verb)
}

/// The verbs that find a server by its pid file.
fn control(line: CommandLine, verb: Verb, around: &Surroundings<'_>) -> Result<Command, UsageError> {
    let mut problems = Vec::new();
    for stray in line.given.iter().filter(|given| !given.opt.is_for(verb)) {
        problems.push(stray_option(stray, verb));
    }
    if let Some(extra) = line.words.get(1) {
        problems.push(extra_word(extra, verb, None));
    }
    let Gathered { given, problems, .. } = gather(line.given, &line.config, Some(verb), around, problems);
    let configuration = resolve(given, problems)?;
    if line.print_config {
        return Ok(Command::Print(report::report(&configuration, verb)));
    }
    let order = match verb {
        Verb::Stop => Order::Stop,
        Verb::Reload => Order::Reload,
        _ => Order::Status,
    };
    let process = configuration.settings.process;
    let pid = process.pid.ok_or_else(|| {
        let hint = "Write --pid FILE, as for the server, or `pid` in stdserve.toml.".to_owned();
        Problem::new(None, "no pid file is named, which says which server is meant").hint(hint)
    })?;
    Ok(Command::Control(Control { order, pid, chdir: process.chdir }))
}

/// `stdserve help [VERB]`.
fn help_for(words: &[String]) -> Result<Command, UsageError> {
    let verb = match words {
        [] => Verb::Serve,
        [word, ..] => Verb::of(word).ok_or_else(|| {
            let near = near_verb(word).map(|verb| format!("Did you mean {}?", verb.word()));
            Problem::new(None, format!("there is no command `{}`", shown(word))).hint(near)
        })?,
    };
    help::help(verb, "").map(Command::Print)
}

/// The verb that was most likely meant.
fn near_verb(word: &str) -> Option<Verb> {
    let words = Verb::ALL.into_iter().map(|verb| verb.word().to_owned());
    suggest::closest(word, words).and_then(|word| Verb::of(&word))
}

fn serve(
    line: CommandLine,
    verb: Option<Verb>,
    background: Option<Verb>,
    around: &Surroundings<'_>,
) -> Result<Command, UsageError> {
    let (check, restart) = (line.check_config, background == Some(Verb::Restart));
    // `stdserve fils public`: most likely no application of that name, with something after it.
    let meant = line.words.first().filter(|_| verb.is_none()).and_then(|word| near_verb(word));
    let mut words = line.words.into_iter().skip(usize::from(verb.is_some()));
    let verb = verb.unwrap_or(Verb::Serve);
    let mut problems = Vec::new();
    let mut given = line.given;
    for stray in given.iter().filter(|given| !given.opt.is_for(verb)) {
        problems.push(stray_option(stray, verb));
    }
    if let Some(found) = verb.target().and_then(find) {
        let flag = Source::CommandLine(found.opt.metavar.to_owned());
        given.extend(words.next().map(|word| Given::new(found, Raw::Text(word), Rank::Arguments, flag)));
    }
    if let Some(extra) = words.next() {
        problems.push(extra_word(&extra, verb, meant));
    }
    let Gathered { given, contents, problems, notes } =
        gather(given, &line.config, Some(verb), around, problems);
    if verb == Verb::Up {
        let up = up::services(&given, &contents, around, problems)?;
        if line.print_config {
            return Ok(Command::Print(with_notes(up.report(), &notes)));
        }
        let shown = up.listing();
        let (mut configuration, groups) = up.groups()?;
        configuration.notes = notes;
        return Ok(Command::Serve(Box::new(Serve { verb, groups, configuration, shown, check, restart })));
    }
    let mut configuration = resolve(given, problems)?;
    if line.print_config {
        return Ok(Command::Print(with_notes(report::report(&configuration, verb), &notes)));
    }
    configuration.notes = notes;
    let group = service::group(verb, &configuration, around).map_err(|problem| {
        // Who has services in the file most likely wants them.
        let forgotten = problem.source.is_none() && !contents.services.is_empty();
        if forgotten { problem.hint(up::hint(&contents)) } else { problem }
    })?;
    let (shown, groups) = (report::listing(&configuration, verb), vec![group]);
    Ok(Command::Serve(Box::new(Serve { verb, groups, configuration, shown, check, restart })))
}

impl Serve {
    /// One application, as `stdserve.run` serves it. It fails where an address is not for connections.
    pub fn application(app: AppSpec, configuration: Configuration) -> Result<Self, UsageError> {
        let kind = ServiceKind::Wsgi { app, options: configuration.settings.wsgi.clone() };
        let group = service::of_kind(Verb::Serve, kind, &configuration)?;
        let (shown, groups) = (report::listing(&configuration, Verb::Serve), vec![group]);
        Ok(Self { verb: Verb::Serve, groups, configuration, shown, check: false, restart: false })
    }
}

/// What means nothing stands behind the rest, as comments.
fn with_notes(mut text: String, notes: &[String]) -> String {
    for line in notes.iter().flat_map(|note| note.lines()) {
        text.push_str("# ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// An option of another verb.
fn stray_option(given: &Given, verb: Verb) -> Problem {
    let takers: Vec<_> =
        Verb::ALL.into_iter().filter(|verb| given.opt.is_for(*verb)).map(Verb::word).collect();
    let hint = match verb {
        Verb::Up => "Give it to a service in the file.".to_owned(),
        _ => format!("It is one of stdserve {}.", takers.join(", ")),
    };
    Problem::new(given.source.clone(), format!("is no option of stdserve {}", verb.word())).hint(hint)
}

fn extra_word(extra: &str, verb: Verb, meant: Option<Verb>) -> Problem {
    let (after, hint) = match verb {
        Verb::Serve => ("the application", "One application is served at a time."),
        Verb::Files | Verb::Cgi => {
            ("the folder", "One folder is served at a time; stdserve up serves several.")
        }
        Verb::Up => ("up", "What is served stands in the file (-c FILE); --only NAME chooses from it."),
        Verb::Stop | Verb::Reload | Verb::Status => (verb.word(), "--pid FILE says which server is meant."),
        _ => ("the object", "One object is served at a time; stdserve up serves several."),
    };
    let hint =
        meant.map_or_else(|| hint.to_owned(), |verb| format!("Did you mean stdserve {}?", verb.word()));
    Problem::new(None, format!("`{}` stands after {after}", shown(extra))).hint(hint)
}

/// `stdserve.run(app, **options)`: keywords in the place of the command line, then environment and files.
pub fn parse_run(
    keywords: impl IntoIterator<Item = (String, Raw)>,
    around: &Surroundings<'_>,
) -> Result<Configuration, UsageError> {
    let mut problems = Vec::new();
    let mut config = Vec::new();
    let keywords = keywords.into_iter().filter_map(|(name, raw)| match (name.as_str(), raw) {
        ("config", Raw::Text(path)) => {
            config.push(path);
            None
        }
        (_, raw) => Some((name, raw)),
    });
    let given = keyword_values(keywords, "run", |_| true, &mut problems);
    let Gathered { given, problems, notes, .. } = gather(given, &config, None, around, problems);
    Ok(Configuration { notes, ..resolve(given, problems)? })
}

/// `stdserve.Server(app, **options)`: keywords and defaults only, and no options of the supervisor.
pub fn parse_server(keywords: impl IntoIterator<Item = (String, Raw)>) -> Result<Configuration, UsageError> {
    let mut problems = Vec::new();
    let given = keyword_values(keywords, "Server", |opt| opt.embedded, &mut problems);
    resolve(given, problems)
}

fn keyword_values(
    keywords: impl IntoIterator<Item = (String, Raw)>,
    function: &str,
    takes: impl Fn(&crate::option::Opt) -> bool,
    problems: &mut Vec<Problem>,
) -> Vec<Given> {
    let mut given = Vec::new();
    for (name, raw) in keywords {
        let source = Source::Keyword(name.clone());
        match find(&name) {
            Some(found) if found.opt.name == "app" => {
                let message = format!("the application is stdserve.{function}'s first argument");
                problems.push(Problem::new(source, message));
            }
            Some(found) if !found.opt.is_for(Verb::Serve) => {
                let hint = format!("It is an option of stdserve {}.", found.opt.verbs[0].word());
                let message = format!("stdserve.{function} serves an application, which has no use for it");
                problems.push(Problem::new(source, message).hint(hint));
            }
            Some(found) if takes(found.opt) => given.push(Given::new(found, raw, Rank::Arguments, source)),
            Some(_) => {
                let message = format!("stdserve.{function} has no use for it; stdserve.run has");
                problems.push(Problem::new(source, message));
            }
            None => {
                let keyword = |name: &str| format!("{}=", name.replace('-', "_"));
                let hint = suggest::hint(&name, Some(Verb::Serve), keyword);
                problems.push(Problem::new(source, "there is no such option").hint(hint));
            }
        }
    }
    given
}

/// All that was given, and what is wrong with it so far.
struct Gathered {
    given: Vec<Given>,
    contents: file::Contents,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

/// Adds environment and files to what was given as arguments.
fn gather(
    mut given: Vec<Given>,
    config: &[String],
    verb: Option<Verb>,
    around: &Surroundings<'_>,
    mut problems: Vec<Problem>,
) -> Gathered {
    let (values, in_environment) = environment::read(around, &mut problems);
    given.extend(values);
    let by = match config {
        [_, ..] => Source::CommandLine("--config".into()),
        [] => Source::Environment(environment::CONFIG.into()),
    };
    let mut named: Vec<_> = config.iter().map(PathBuf::from).collect();
    if named.is_empty() {
        named.extend(in_environment);
    }
    // One of each kind; of several the last counts. What is named stands in the place of all that is looked for.
    let (in_python, others): (Vec<_>, Vec<_>) = named.into_iter().partition(|path| python_file::is_one(path));
    let mut contents = match (in_python.last(), others.last()) {
        (Some(_), None) => file::Contents::default(),
        (_, other) => file::read(other.map(PathBuf::as_path), &by, around, &mut problems),
    };
    given.append(&mut contents.given);
    let looked_for: &[&str] = match verb {
        // gunicorn serves one application.
        Some(Verb::Serve | Verb::Stop | Verb::Reload | Verb::Status) => &python_file::NAMES,
        Some(Verb::Up | Verb::Rpc | Verb::Tcp | Verb::Udp) => &python_file::NAMES[..1],
        // Others run no Python; a program that calls `stdserve.run` names the file.
        _ => &[],
    };
    let python = match (in_python.last(), others.last()) {
        (Some(path), _) => Some((path.as_path(), Some(&by))),
        (None, Some(_)) => None,
        (None, None) => python_file::discover(looked_for, around).map(|path| (path, None)),
    };
    let read = python.map(|(path, by)| python_file::read(path, by, around, &mut problems));
    let mut python = read.unwrap_or_default();
    given.append(&mut python.given);
    Gathered { given, contents, problems, notes: python.notes }
}
