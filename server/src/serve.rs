//! `coney serve`: start, and stop in the opposite order.
//!
//! ```text
//! start   listeners, AF_XDP -> fewer privileges -> database -> I/O pool -> sync, admin -> workers
//!         -> metrics, expiry -> ready
//! stop    metrics, expiry -> workers (finish, reply, close) -> admin, pool, sync -> log to disk -> database
//! ```

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use coney_base::Clock;
use coney_control::config::{Config, LogFormat, PinCores};
use coney_control::info::ServerRow;
use coney_engine::{Engine, EngineConfig, Executor, OpenError, StoreError};
use coney_xdp_prog::{Rules, RulesError};
use crossbeam_channel::Receiver;
use tracing::{error, info, warn};

use crate::admin::{AdminClient, AdminParts};
use crate::datapath::{self, DatapathError, Part, Plan};
use crate::expiry::Expiry;
use crate::metrics::{self, MetricsServer};
use crate::pool::{Pool, PoolClient};
use crate::privileges::{PrivilegesError, User};
use crate::quota::QuotaKeeper;
use crate::reclaim::Reclaimer;
use crate::runtime::Runtime;
use crate::steering::Steering;
use crate::stop::StopWaiter;
use crate::storage::{self, StorageError};
use crate::sync::SyncHandle;
use crate::worker::core::CoreParts;
use crate::worker::inbox::{Message, WorkerHandle};
use crate::worker::{Worker, WorkerParts};
use crate::{access, files, host, logging, privileges, settings, sync, threads};

/// Why the server cannot start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Access(#[from] RulesError),
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    #[error(transparent)]
    Privileges(#[from] PrivilegesError),
    #[error(transparent)]
    Transports(#[from] datapath::OpenError),
    #[error("aclfile {}: {why}", path.display())]
    AclFile { path: PathBuf, why: String },
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    #[error("cannot write the ready file {}: {source}", path.display())]
    ReadyFile { path: PathBuf, source: std::io::Error },
    #[error(
        "the log could not be brought to the disk: {0}. The newest writes may not survive a crash \
         of the host"
    )]
    LastSync(StoreError),
    #[error(
        "cannot listen on {address} for metrics: {source}. Set `metrics-listen` to a free address of \
         this host, or to \"\" for none"
    )]
    Metrics { address: SocketAddr, source: std::io::Error },
}

fn listen_for_metrics(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    metrics::listen(address).map_err(|source| ServeError::Metrics { address, source })
}

/// The users of `aclfile`, if there is one.
fn load_users(config: &Config, engine: &Engine) -> Result<(), ServeError> {
    let path = &config.aclfile;
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let failed = |why: String| ServeError::AclFile { path: path.clone(), why };
    let text = std::fs::read(path).map_err(|problem| {
        failed(format!("{problem}. Create it (it may be empty), or take `aclfile` out"))
    })?;
    engine.acl().load(&text).map_err(|why| failed(why.to_string()))
}

/// Serves until told to stop.
pub(crate) fn run(
    config: Config,
    config_path: Option<PathBuf>,
    ready_file: Option<PathBuf>,
) -> ExitCode {
    let format = match config.log_format {
        LogFormat::Text => logging::Format::Text,
        LogFormat::Json => logging::Format::Json,
    };
    logging::init(&config.log_level, format);
    threads::abort_on_panic();
    match serve(config, config_path, ready_file.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn serve(
    mut config: Config,
    config_path: Option<PathBuf>,
    ready_file: Option<&Path>,
) -> Result<(), ServeError> {
    // First of all, so that an early signal is not lost.
    let (mut stop_waiter, stopper) = StopWaiter::new()?;
    limit_clients(&mut config);
    let cores = threads::cores();
    let workers = if config.workers == 0 { (cores.len() / 2).max(1) } else { config.workers };
    let clock = Clock::new();
    let seed = u64::from_ne_bytes(coney_base::random()?);
    let user = User::find(&config.user, &config.group)?;
    let rules = Arc::new(access::rules(&config)?);
    let mut plan = datapath::plan(&config, &rules, workers)?;
    let pins = pins(&config, &cores, workers);
    if let Err(errno) = threads::keep_off(&pins, &cores) {
        warn!("the threads that are no workers may take time from workers: {errno}");
    }
    let Privileged { steering, threads } = give_up_privileges(&config, user, &mut plan, clock)?;
    let opened = storage::open(&config)?;
    let place = opened.as_ref().map_or(&config.dir, |opened| &opened.path).clone();
    let flush_problem = opened.as_ref().and_then(|opened| opened.flush_problem);
    let device = opened.map(|opened| opened.device);
    let engine_config = EngineConfig { device, workers, seed, ..settings::of_engine(&config) };
    let engine = Arc::new(Engine::open(engine_config)?);
    settings::apply(&config, &engine);
    load_users(&config, &engine)?;
    let shared = Shared {
        rules,
        runtime: Arc::new(Runtime::new(&config)),
        sync: Arc::new(SyncHandle::default()),
        clock,
        engine,
    };
    let (handles, receivers) = handles(workers)?;
    let (pool, pool_client) = Pool::start(&shared.engine, config.io_threads)?;
    let sync_thread = sync::start(&shared.sync, &shared.engine, &shared.runtime, &handles)?;
    let (admin_client, admin_messages) = AdminClient::new();
    let listeners: Vec<String> = plan.listeners.iter().map(ToString::to_string).collect();
    let paths = (plan.name, plan.kernel_transport);
    let metrics = config.metrics_listen.map(listen_for_metrics).transpose()?;
    let mut server = server_row(&config, config_path.as_deref(), workers, paths, &listeners)?;
    server.metrics = metrics.as_ref().map(|(_, address)| address.to_string());
    let admin_thread = crate::admin::start(AdminParts {
        client: admin_client.clone(),
        messages: admin_messages,
        workers: handles.clone(),
        engine: Arc::clone(&shared.engine),
        runtime: Arc::clone(&shared.runtime),
        sync: Arc::clone(&shared.sync),
        config: config.clone(),
        config_path,
        flush_problem,
        server,
        steering: steering.clone(),
        stopper,
        clock,
    })?;
    let mut worker_threads = Vec::new();
    for (((part, handle), messages), core) in
        plan.parts.into_iter().zip(&handles).zip(receivers).zip(pins)
    {
        let seat =
            Seat { part, handle: Arc::clone(handle), messages, core, busy_poll: config.busy_poll };
        let clients = (pool_client.clone(), admin_client.clone());
        worker_threads.push(start_worker(&shared, seat, &handles, clients)?);
    }
    drop(pool_client);
    let metrics = metrics
        .map(|(listener, _)| MetricsServer::start(listener, admin_client.clone(), clock))
        .transpose()?;
    let expiry = Expiry::start(&shared.engine, &shared.runtime, &handles, clock)?;
    let reclaimer = Reclaimer::start(&shared.engine)?;
    let quota_keeper = QuotaKeeper::start(&shared.engine, clock)?;
    announce(&place, &listeners, workers, plan.name, ready_file)?;

    stop_waiter.wait();
    info!("stopping");
    if let Some(metrics) = metrics {
        metrics.stop();
    }
    expiry.stop();
    reclaimer.begin_stop();
    quota_keeper.begin_stop();
    for handle in &handles {
        handle.send(Message::Stop);
    }
    join(worker_threads);
    admin_client.stop();
    shared.sync.stop();
    join([admin_thread, sync_thread]);
    // New connections are the kernel's again, which refuses them.
    drop(steering);
    join(threads);
    pool.join();
    let closed = close(&shared.engine);
    reclaimer.join();
    quota_keeper.join();
    closed?;
    info!("stopped: all acknowledged writes are on the disk");
    Ok(())
}

/// What keeps a privilege.
struct Privileged {
    steering: Option<Steering>,
    threads: Vec<JoinHandle<()>>,
}

/// Becomes the user of the settings, and starts the threads that keep a privilege. There must be no other
/// thread yet.
fn give_up_privileges(
    config: &Config,
    user: Option<User>,
    plan: &mut Plan,
    clock: Clock,
) -> Result<Privileged, ServeError> {
    match &user {
        Some(user) => {
            user.make_directory(&config.dir)?;
            user.become_it()?;
        }
        None if plan.program.is_some() && rustix::process::geteuid().is_root() => {
            warn!("the server goes on as root: name a user with the setting `user`");
        }
        None => {}
    }
    let mut threads = Vec::new();
    privileges::keep(privileges::NEXT_HOPS | privileges::STEERING)?;
    if let Some(resolver) = plan.resolver.take() {
        let run = move || {
            privileges::keep(privileges::NEXT_HOPS).expect("a thread can always have less");
            resolver.run(clock);
        };
        threads.push(std::thread::Builder::new().name("coney-next-hops".to_owned()).spawn(run)?);
    }
    privileges::keep(privileges::STEERING)?;
    let mut steering = None;
    if let Some(program) = plan.program.take() {
        let (client, thread) = Steering::start(program)?;
        threads.push(thread);
        steering = Some(client);
    }
    privileges::keep(privileges::NONE)?;
    Ok(Privileged { steering, threads })
}

/// What all threads use.
struct Shared {
    engine: Arc<Engine>,
    runtime: Arc<Runtime>,
    sync: Arc<SyncHandle>,
    rules: Arc<Rules>,
    clock: Clock,
}

/// What belongs to one worker.
struct Seat {
    part: Part,
    handle: Arc<WorkerHandle>,
    messages: Receiver<Message>,
    /// The core it is pinned to.
    core: Option<usize>,
    busy_poll: bool,
}

/// Lowers `maxclients` to what the limit of open files allows.
fn limit_clients(config: &mut Config) {
    let allowed = host::raise_file_limit();
    if allowed < config.maxclients {
        warn!(
            "maxclients is lowered from {} to {}, because only so many files may be open: raise \
             the limit (`ulimit -n {}`)",
            config.maxclients,
            allowed.max(1),
            config.maxclients as u64 + host::FILES_RESERVED
        );
        config.maxclients = allowed.max(1);
    }
}

type Handles = (Vec<Arc<WorkerHandle>>, Vec<Receiver<Message>>);

fn handles(workers: usize) -> Result<Handles, ServeError> {
    let pairs: Vec<_> = (0..workers)
        .map(WorkerHandle::new)
        .collect::<Result<_, _>>()
        .map_err(std::io::Error::from)?;
    Ok(pairs.into_iter().map(|(handle, receiver)| (Arc::new(handle), receiver)).unzip())
}

/// The core of each worker.
fn pins(config: &Config, cores: &[usize], workers: usize) -> Vec<Option<usize>> {
    let chosen: &[usize] = match &config.pin_cores {
        PinCores::List(list) => list,
        PinCores::Auto if config.busy_poll => cores,
        PinCores::Auto | PinCores::Off => &[],
    };
    if !chosen.is_empty() && chosen.len() < workers {
        warn!("there are {workers} workers and only {} cores to pin them to", chosen.len());
    }
    chosen.iter().map(|core| Some(*core)).chain(std::iter::repeat(None)).take(workers).collect()
}

/// Starts a worker and waits until it has its sockets.
fn start_worker(
    shared: &Shared,
    seat: Seat,
    peers: &[Arc<WorkerHandle>],
    (pool, admin): (PoolClient, AdminClient),
) -> Result<JoinHandle<()>, ServeError> {
    let (opened, is_open) = mpsc::channel();
    let engine = Arc::clone(&shared.engine);
    let (runtime, sync, clock) =
        (Arc::clone(&shared.runtime), Arc::clone(&shared.sync), shared.clock);
    let rules = Arc::clone(&shared.rules);
    let id = seat.handle.id;
    let peers = peers.to_vec();
    let thread =
        std::thread::Builder::new().name(format!("coney-worker-{id}")).spawn(move || {
            if let Some(core) = seat.core
                && let Err(errno) = threads::pin(core)
            {
                warn!("worker {id} cannot be pinned to core {core}: {errno}");
            }
            if let Err(errno) = threads::go_first() {
                info!("worker {id} may wait for longer where it shares its core: {errno}");
            }
            let transports = match seat.part.open() {
                Ok(transports) => transports,
                Err(problem) => {
                    opened.send(Err(problem)).ok();
                    return;
                }
            };
            let worker = Worker::new(WorkerParts {
                core: CoreParts {
                    executor: Executor::new(Arc::clone(&engine), id),
                    runtime,
                    handle: seat.handle,
                    peers,
                    pool,
                    admin,
                    sync,
                    rules,
                    transports: transports.len(),
                    clock,
                },
                engine,
                transports,
                messages: seat.messages,
                busy_poll: seat.busy_poll,
                clock,
            });
            opened.send(Ok(())).ok();
            worker.run();
        })?;
    match is_open.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(problem)) => Err(problem.into()),
        Err(mpsc::RecvError) => unreachable!("a panic ends the process"),
    }
}

fn server_row(
    config: &Config,
    config_path: Option<&Path>,
    workers: usize,
    (datapath, kernel_transport): (&'static str, &'static str),
    listeners: &[String],
) -> Result<ServerRow, std::io::Error> {
    let port = listeners.first().and_then(|listener| listener.rsplit(':').next()?.parse().ok());
    Ok(ServerRow {
        coney_version: env!("CARGO_PKG_VERSION"),
        os: host::os(),
        process_id: std::process::id(),
        run_id: host::run_id()?,
        tcp_port: port.unwrap_or(config.port),
        executable: std::env::current_exe()?.display().to_string(),
        config_file: config_path.map(|path| path.display().to_string()).unwrap_or_default(),
        workers,
        io_threads: config.io_threads,
        maxclients: config.maxclients,
        datapath,
        kernel_transport,
        listeners: listeners.to_vec(),
        ..ServerRow::default()
    })
}

fn announce(
    place: &Path,
    listeners: &[String],
    workers: usize,
    datapath: &'static str,
    ready_file: Option<&Path>,
) -> Result<(), ServeError> {
    if let Some(path) = ready_file {
        let text = listeners.iter().map(|listener| format!("{listener}\n")).collect::<String>();
        files::replace(path, text.as_bytes())
            .map_err(|source| ServeError::ReadyFile { path: path.to_owned(), source })?;
    }
    info!(
        "ready: serving {} with {workers} worker(s) over {datapath}, data in {}",
        listeners.join(" and "),
        place.display()
    );
    Ok(())
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("the panic hook ends the process");
    }
}

/// Brings everything to the disk. The database closes when its last user lets go of it.
fn close(engine: &Arc<Engine>) -> Result<(), ServeError> {
    let synced = engine.sync_wal().map_err(ServeError::LastSync);
    engine.stop_background_work();
    synced.map(|_| ())
}
