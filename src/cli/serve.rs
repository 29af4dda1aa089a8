//! `swingbridge serve`: from a file, or from nothing, to a running relay.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::admin;
use crate::admin::LogConfig;
use crate::config;
use crate::config::Loaded;
use crate::config::Machine;
use crate::config::OperatingSystem;
use crate::config::Settings;
use crate::config::Severity;
use crate::config::show_span;
use crate::control::Clock;
use crate::control::Commands;
use crate::control::Control;
use crate::control::DrawnAhead;
use crate::control::Ended;
use crate::control::EventSink;
use crate::control::Leave;
use crate::control::SystemEntropy;
use crate::control::view::ControlView;
use crate::listen::Listening;
use crate::net::BindCause;
use crate::net::BindError;
use crate::net::Certificates;
use crate::net::footprint;
use crate::net::probe;
use crate::proto::auth::challenge::Challenger;
use crate::proto::auth::credential::Credentials;
use crate::proto::auth::nonce::NonceKey;
use crate::proto::media::ExternalAddresses;
use crate::proto::turn;
use crate::proto::turn::Server;
use crate::proto::types::Entropy as _;
use crate::proto::types::Secret;
use crate::proto::types::Tick;
use crate::proto::types::limits;
use crate::relay;

use super::Exit;
use super::ServeArgs;
#[cfg(feature = "acme")]
use super::acme;
use super::explain;
#[cfg(feature = "fault-injection")]
use super::fault;
use super::input;
use super::losses;
use super::machine;
use super::mras;
use super::output;
use super::reload;
use super::reload::Reloader;
use super::signals::Signals;
use super::snapshots;
use super::state;
use super::streams;
use super::summary::Summary;
use super::workers;
use super::workers::Workers;

/// What `--dev-tls` is no good for.
const DEV_TLS: &str = "--dev-tls: a new self-signed certificate at each start, for trials alone; browsers take turns: only \
                       with a name, not with an address, and only if they are told to trust the certificate";

/// Serves until SIGTERM or Ctrl-C; reads its file again on SIGHUP.
#[must_use]
pub fn run(args: ServeArgs) -> ExitCode {
    if args.explain_path {
        let format = args.format;
        let explained = prepare(args).map(|plan| explain::path(&plan.settings, format));
        return explained.unwrap_or_else(|exit| exit).into();
    }
    let exit = prepare(args).and_then(|plan| {
        // Before anybody is served: until here a signal ends the process as it always does.
        let signals = Signals::listen();
        let signals = signals.map_err(|error| refused(&format!("signals cannot be listened to: {error}")))?;
        start(plan)?.wait(signals)
    });
    exit.unwrap_or_else(|exit| exit).into()
}

/// What is to be served, before anything of the machine is taken.
struct Plan {
    settings: Settings,
    /// Lines that the operator should read first.
    warnings: Vec<String>,
    /// Set without a file: the secret that credentials are minted with, to be shown in the iceServers JSON.
    trial: Option<Secret>,
    /// The file, for reading it again.
    started: Option<reload::Started>,
    /// The state directory, if there is a place for one.
    #[cfg(feature = "acme")]
    state: Option<std::path::PathBuf>,
}

fn prepare(args: ServeArgs) -> Result<Plan, Exit> {
    let state = || state::directory(args.state_dir.clone(), |name| std::env::var_os(name).map(Into::into));
    #[cfg(feature = "acme")]
    let kept_at = state();
    let mut warnings = Vec::new();
    let mut trial = None;
    let loaded = match &args.config {
        Some(path) => {
            let name = path.display().to_string();
            let text = input::read_config(path).map_err(|error| {
                let help =
                    "write the path of a configuration, or leave --config out to serve with the defaults";
                output::complain(
                    &format!("error: `{name}` cannot be read: {error}\n  = help: {help}\n"),
                    Exit::Wrong,
                )
            })?;
            config::load(&name, &text, &OperatingSystem::beside(path))
        }
        None => {
            let kept = state::secret(state(), &mut SystemEntropy);
            warnings.extend(kept.warning);
            if let Some(file) = &kept.file {
                warnings.push(format!(
                    "no --config: serving with defaults; the secret is kept in {}",
                    file.display()
                ));
            }
            trial = Some(kept.secret.clone());
            config::defaults(kept.secret)
        }
    };
    let machine = machine::observe();
    let checked = checked(loaded, &machine)?;
    let started = args.config.map(|path| reload::Started {
        path,
        listed: checked.listed().to_vec(),
        level_is_set: args.log_level.is_some(),
        dev_tls: args.dev_tls,
    });
    let mut settings = checked.build(&machine);
    if args.dev_tls {
        if !settings.certificates.is_empty() {
            let help = "leave --dev-tls out, or `[[tls.certificates]]`";
            let message = format!("error: the file names certificates of its own\n  = help: {help}\n");
            return Err(output::complain(&message, Exit::Wrong));
        }
        settings.certificates.push(streams::self_signed(&settings)?);
        warnings.push(DEV_TLS.to_owned());
    }
    if let Some(format) = args.log_format {
        settings.log.format = format.into();
    }
    if let Some(level) = args.log_level {
        settings.log.level = level.into();
    }
    Ok(Plan {
        settings,
        warnings,
        trial,
        started,
        #[cfg(feature = "acme")]
        state: kept_at,
    })
}

/// Complains about every problem; goes on if none of them is an error, nor an address that this machine does not have.
fn checked(loaded: Loaded, machine: &Machine) -> Result<config::Checked, Exit> {
    let Loaded { report, checked } = loaded;
    let foreign = match &checked {
        Some(checked) => checked.foreign(machine, probe::can_be_bound, Severity::Error),
        None => Vec::new(),
    };
    let refused = !foreign.is_empty();
    let text = report.with(foreign).render(output::stderr_has_colours());
    if !text.is_empty() {
        let _ = output::complain(&text, Exit::Wrong);
    }
    if refused { Err(Exit::Refused) } else { checked.ok_or(Exit::Wrong) }
}

/// A relay at work.
struct Running {
    control: thread::JoinHandle<std::io::Result<Ended>>,
    leave: Arc<Leave>,
    /// Ends when the control task does.
    gone: oneshot::Receiver<()>,
    admin: Option<admin::Admin>,
    drain_deadline: Duration,
    reloader: Option<Reloader>,
    listening: Listening,
    doors: Option<mras::Doors>,
    watched: losses::Watched,
    #[cfg(feature = "acme")]
    acme: Option<crate::acme::Acme>,
    #[cfg(feature = "fault-injection")]
    faults: fault::Faults,
}

fn start(plan: Plan) -> Result<Running, Exit> {
    let Plan { mut settings, mut warnings, trial, started, .. } = plan;
    #[cfg(feature = "acme")]
    let state = plan.state;
    // A second call within one process, as in a test, keeps the first log.
    let log = LogConfig { format: settings.log.format, level: settings.log.level };
    let level = admin::init(log).ok().inspect(|_| admin::log_panics());
    let clock = Clock::start();
    let (turn_config, mut relay_config) = rooms(&settings, clock, &mut SystemEntropy);
    let server = Server::new(turn_config, DrawnAhead::default());
    let certificates = Arc::new(Certificates::new(settings.certificates.clone()));
    #[cfg(feature = "acme")]
    let acme = acme::prepare(&settings, state, &certificates)?;
    #[cfg(feature = "dtls")]
    streams::answer_dtls(&mut relay_config, &certificates, &mut warnings)?;
    let workers = workers::start(&settings, &mut relay_config, trial.is_some(), &mut warnings)?;
    let Workers { mut handles, wake, tier, watched } = workers;
    settings.listen_udp.retain(|listener| relay_config.listen_udp.contains(&listener.bind));
    let listeners = streams::bind(&mut settings, &mut warnings)?;
    let listening = streams::open(&settings, &certificates, listeners, &mut handles)?;
    let doors = mras::open(&settings, &certificates, clock)?;
    let view = Arc::new(ControlView::new());
    let sources = admin::Sources {
        control: Arc::clone(&view),
        workers: snapshots::of(&handles),
        streams: snapshots::of_streams(listening.stats()),
        mras: snapshots::of_mras(doors.as_ref().map(mras::Doors::stats)),
        #[cfg(feature = "acme")]
        acme: acme::snapshots(acme.as_ref()),
        #[cfg(not(feature = "acme"))]
        acme: Arc::new(admin::AcmeSnapshot::default),
        clock: Arc::new(move || clock.now().tick()),
        path: tier.word(),
    };
    let admin = settings.admin.map(|listen| open_admin(listen, sources)).transpose()?;
    let (trial, unix) = (trial.as_ref(), clock.now().unix);
    let summary = Summary { settings: &settings, warnings: &warnings, trial, unix, tier };
    let _ = output::out(&summary.to_string(), Exit::Done);

    let leave = Arc::new(Leave::new(Arc::clone(&wake)));
    let (commands, orders) = Commands::new(Arc::clone(&wake));
    let reloader = started.map(|started| {
        Reloader::new(started, &settings, level, commands, Arc::clone(&view))
            .showing(certificates)
            .behind(doors.as_ref().map(mras::Doors::behind))
    });
    #[cfg(feature = "fault-injection")]
    let faults = fault::Faults::of(&handles);
    let control =
        Control::new(server, clock, handles, wake, view, Box::new(Logged::default())).obeying(orders);
    let (control, gone) = begin(control, Arc::clone(&leave))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "serving");
    give_back_pages();
    Ok(Running {
        control,
        leave,
        gone,
        admin,
        drain_deadline: settings.drain_deadline,
        reloader,
        listening,
        doors,
        watched,
        #[cfg(feature = "acme")]
        acme: acme::start(acme)?,
        #[cfg(feature = "fault-injection")]
        faults,
    })
}

/// What the start alone needed of libraries is not kept.
fn give_back_pages() {
    match footprint::give_back() {
        Ok(bytes) => tracing::debug!(bytes, "pages of files that the start alone needed"),
        Err(error) => tracing::debug!(%error, "pages of files stay where they are"),
    }
}

/// The log, for the control task to tell.
#[derive(Debug, Default)]
struct Logged(admin::EventLog);

impl EventSink for Logged {
    fn tell(&mut self, tick: Tick, event: &turn::Event) {
        self.0.write(tick, event);
    }

    fn end_round(&mut self) {
        self.0.write_kept();
    }
}

/// Gives the control task its thread, and what ends when it does.
fn begin(
    control: Control,
    leave: Arc<Leave>,
) -> Result<(thread::JoinHandle<std::io::Result<Ended>>, oneshot::Receiver<()>), Exit> {
    let (alive, gone) = oneshot::channel::<()>();
    let thread = thread::Builder::new().name("control".to_owned());
    let begun = thread.spawn(move || {
        let _alive = alive;
        control.run(&leave)
    });
    let control = begun.map_err(|error| refused(&format!("no thread for the control task: {error}")))?;
    Ok((control, gone))
}

/// What both planes are made with. They share the policy, the realm and the nonce key.
fn rooms(settings: &Settings, clock: Clock, entropy: &mut SystemEntropy) -> (turn::Config, relay::Config) {
    let policy = Arc::new(settings.policy.clone().build());
    let credentials = Arc::new(Credentials::new(settings.credentials.clone()));
    let challenger = Challenger {
        realm: settings.realm.clone(),
        nonce_key: NonceKey::generate(entropy).with_username_anonymity(credentials.resolves_userhash()),
        nonce_lifetime: settings.nonce_lifetime,
        discovery: settings.discovery,
        third_party: settings.credentials.tokens.third_party(),
        legacy: settings.ms_turn,
    };
    let turn = turn::Config {
        challenger: challenger.clone(),
        credentials,
        policy: Arc::clone(&policy),
        relays: settings.relays.clone(),
        ports: settings.ports.clone(),
        lifetime_default: settings.lifetime_default,
        lifetime_max: settings.lifetime_max,
        permission_lifetime: settings.permission_lifetime,
        channel_number_max: settings.channel_number_max,
        channel_lifetime: settings.channel_lifetime,
        session_lifetime_max: settings.session_lifetime_max,
        allocations_per_user: settings.allocations_per_user,
        allocations_per_address: settings.allocations_per_address,
        bandwidth_per_allocation: settings.bandwidth_per_allocation,
        bandwidth_per_user: settings.bandwidth_per_user,
        allocations_total: settings.allocations_total,
        permissions_per_allocation: settings.permissions_per_allocation,
        channels_per_allocation: settings.channels_per_allocation,
        alternate_servers: settings.alternate_servers.clone(),
        mobility: settings.mobility,
        legacy: settings.legacy,
        connections_per_allocation: settings.connections_per_allocation,
        connects_per_allocation: settings.connects_per_allocation,
    };
    let relay = relay::Config {
        workers: settings.workers,
        listen_udp: settings.listen_udp.iter().map(|listener| listener.bind).collect(),
        challenger,
        policy,
        strict_permissions: settings.strict_permissions,
        unproven_exempt: settings.unproven_exempt.clone(),
        hash_seeds: (0..settings.workers).map(|_| seeds(entropy)).collect(),
        start: clock.origin(),
        external: ExternalAddresses::new(settings.relays.iter().map(|relay| (relay.bind, relay.external))),
        #[cfg(feature = "dtls")]
        dtls: None,
        path: explain::wish(settings),
        runs: settings.runs,
    };
    (turn, relay)
}

/// What can be done about an address that cannot be had.
pub(super) fn bind_cure(refusal: &BindError) -> &'static str {
    match refusal.cause() {
        BindCause::AddressInUse => {
            "\n  = help: another program, or another swingbridge, has this address: `ss -lntup` tells which"
        }
        BindCause::PermissionDenied => {
            "\n  = help: ports below 1024 need CAP_NET_BIND_SERVICE: \
             `setcap cap_net_bind_service=+ep swingbridge`, or the systemd unit that grants it"
        }
        BindCause::AddressNotAvailable => {
            "\n  = help: this machine has no such address: `ip address` lists those it has"
        }
        BindCause::FamilyNotSupported => {
            "\n  = help: this machine does not speak that address family: leave the entry out"
        }
        BindCause::Other => "",
    }
}

fn open_admin(listen: std::net::SocketAddr, sources: admin::Sources) -> Result<admin::Admin, Exit> {
    let door = admin::bind(admin::Config { listen }).and_then(|bound| bound.serve(sources));
    door.map_err(|error| {
        let help = "write another address to `[admin] listen`, or \"off\"";
        refused(&format!("cannot listen on tcp {listen} for the admin door: {error}\n  = help: {help}"))
    })
}

pub(super) fn seeds(entropy: &mut SystemEntropy) -> [u64; 4] {
    [(); 4].map(|()| {
        let mut seed = [0; 8];
        entropy.fill_secret(&mut seed);
        u64::from_le_bytes(seed)
    })
}

pub(super) fn refused(message: &str) -> Exit {
    output::complain(&format!("error: {message}\n"), Exit::Refused)
}

impl Running {
    /// Waits until the control task has left, or ended by itself, which it never should.
    fn wait(self, signals: Signals) -> Result<Exit, Exit> {
        let Self { control, leave, gone, admin, drain_deadline, reloader, listening, doors, watched, .. } =
            self;
        let Signals { runtime, streams } = signals;
        let until_gone = watched.beside(streams.obey(gone, &leave, drain_deadline, reloader));
        #[cfg(feature = "fault-injection")]
        let until_gone = self.faults.beside(until_gone);
        runtime.block_on(until_gone);
        let ended = control.join();
        #[cfg(feature = "acme")]
        drop(self.acme);
        drop((admin, listening, doors));
        match ended {
            Ok(Ok(Ended::Asked)) => {
                tracing::info!("left");
                Ok(Exit::Done)
            }
            Ok(Ok(Ended::WorkerGone(worker))) => {
                Err(output::complain(&format!("error: worker {} ended by itself\n", worker.0), Exit::Failed))
            }
            Ok(Ok(Ended::PanicsTooMany)) => Err(output::complain(
                &format!(
                    "error: workers panicked more than {} times within {}, which is a bug\n",
                    limits::WORKER_PANICS_MAX,
                    show_span(limits::WORKER_PANICS_WINDOW),
                ),
                Exit::Failed,
            )),
            Ok(Err(error)) => Err(refused(&format!("the control task cannot wait: {error}"))),
            Err(_) => Err(output::complain(
                "error: the control task ended by a panic, which is a bug\n",
                Exit::Failed,
            )),
        }
    }
}
