//! A shop so small that a night takes a second, over the end of a leap February; nights of it that nothing happens to, once
//! for all tests; and copies of it for what happens on purpose.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use super::calls::{self, Call, Then};
use super::oracle::{self, Tables};
use crate::shop::{recost, text};

/// The nights, with a leap day and the first of a month among them.
pub const NIGHTS: [&str; 7] = [
    "2024-02-25",
    "2024-02-26",
    "2024-02-27",
    "2024-02-28",
    "2024-02-29",
    "2024-03-01",
    "2024-03-02",
];

const PIPELINE: &str = r#"name = "Shop of faults"
[engine]
memory = "512MiB"
threads = 2
[run]
history_days = 3
device = "DEVICE"
retries = 0
[report]
after_run = false
[[sources]]
name = "clickstream"
kind = "events"
path = "exports/events/ds={date}/*.parquet"
dialect = "recost"
max_rejected = 0.2
[[sources]]
name = "catalogue"
kind = "items"
path = "exports/items/ds={date}/*.parquet"
dialect = "recost"
[[sources]]
name = "telemetry"
kind = "usage"
path = "exports/usage/ds={date}/*.parquet"
dialect = "recost"
[[sources]]
name = "cloud-bills"
kind = "charges"
path = "exports/billing/northcloud/billing_period={period}/*.parquet"
dialect = "focus"
[[models]]
id = "home-als"
family = "als"
params = { dim = 4, iterations = 2 }
[[models]]
id = "trending"
family = "popular"
[evaluation]
holdout_days = 1
[attribution]
known_models = ["similar-items"]
"#;

/// What a program that should end in seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The shop, and a folder for what is temporary.
pub struct World {
    dir: TempDir,
    temp: TempDir,
    /// Snapshots that a fault left and that were made a day old: the next run removes them.
    pub aged: Vec<String>,
    /// Seconds by which the program's clock is before this machine's, where it is to take it for another night.
    clock: Option<u64>,
}

/// Nights that nothing happened to.
pub struct Twin {
    /// A copy of the project before any night.
    start: TempDir,
    /// And after the first.
    first: TempDir,
    /// The tables after each night.
    pub tables: Vec<Tables>,
    /// How long a night took.
    pub took: Duration,
}

impl World {
    /// Nothing yet.
    pub fn empty() -> Self {
        World {
            dir: TempDir::new().unwrap(),
            temp: TempDir::new().unwrap(),
            aged: vec![],
            clock: None,
        }
    }

    /// The exports and the pipeline file.
    fn new() -> Self {
        let world = World::empty();
        let args = [
            "generate",
            "--out",
            "exports",
            "--users",
            "40",
            "--items",
            "30",
            "--events",
            "1500",
            "--days",
            "10",
            "--end",
            "2024-03-02",
        ];
        let made = recost(world.path(), &args);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let device = std::env::var("RECOST_FAULTS_DEVICE");
        let pipeline = PIPELINE.replace("DEVICE", device.as_deref().unwrap_or("cpu"));
        std::fs::write(world.file("pipeline.toml"), pipeline).unwrap();
        world
    }

    /// A copy of the project before any night.
    pub fn before_the_first() -> Self {
        let world = World::empty();
        copy(twin().start.path(), world.path());
        world
    }

    /// With what a pipeline file has that says nothing of it: retries, and a report after each run.
    pub fn as_it_is_scheduled(&self) {
        let mut pipeline = std::fs::read_to_string(self.file("pipeline.toml")).unwrap();
        for line in ["retries = 0\n", "[report]\nafter_run = false\n"] {
            assert!(pipeline.contains(line));
            pipeline = pipeline.replace(line, "");
        }
        std::fs::write(self.file("pipeline.toml"), pipeline).unwrap();
    }

    /// A copy of the project as it is after the first night.
    pub fn after_the_first() -> Self {
        let world = World::empty();
        copy(twin().first.path(), world.path());
        world
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn temp(&self) -> &Path {
        self.temp.path()
    }

    pub fn file(&self, below: &str) -> PathBuf {
        self.path().join(below)
    }

    pub fn warehouse(&self) -> PathBuf {
        self.file("warehouse")
    }

    /// The run whose tables are published.
    pub fn current(&self) -> Option<String> {
        let link = std::fs::read_link(self.file("warehouse/current")).ok()?;
        Some(link.file_name()?.to_str()?.to_string())
    }

    /// Has it be half past two after a night, when the program is started without a date.
    pub fn is_after(&mut self, night: &str) {
        let night: chrono::NaiveDate = night.parse().unwrap();
        let then = night
            .succ_opt()
            .unwrap()
            .and_hms_opt(2, 30, 0)
            .unwrap()
            .and_utc();
        let since = chrono::Utc::now() - then;
        self.clock = Some(since.num_seconds().unsigned_abs());
    }

    /// What time it is for the program.
    pub fn now(&self) -> SystemTime {
        SystemTime::now() - Duration::from_secs(self.clock.unwrap_or(0))
    }

    /// The program in the project folder, before it starts.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recost"));
        command
            .args(args)
            .current_dir(self.path())
            .env_remove("RECOST_LOG")
            .env("TMPDIR", self.temp())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.set_clock(&mut command);
        command
    }

    /// Gives a program that is to start the clock that it is to go by.
    pub fn set_clock(&self, command: &mut Command) {
        if let Some(before) = self.clock {
            calls::set_clock(command, -i64::try_from(before).unwrap());
        }
    }

    /// A night before it starts: by its date or, where the clock says which it is, as a scheduler starts it.
    fn night(&self, night: &str) -> Command {
        match self.clock {
            Some(_) => self.command(&["run", "pipeline.toml"]),
            None => self.command(&["run", "pipeline.toml", "--date", night]),
        }
    }

    /// A night in the background.
    pub fn start(&self, night: &str) -> Working {
        Working::new(self.night(night))
    }

    /// A night to a call at which something happens to it, and from there to its end.
    pub fn run_to(&self, night: &str, call: Call, then: Then<'_>) -> Output {
        self.start_to(night, call, then).end()
    }

    /// The same in the background.
    pub fn start_to(&self, night: &str, call: Call, then: Then<'_>) -> Working {
        let mut command = self.night(night);
        call.set(&mut command, then);
        Working::new(command)
    }

    /// Has two minutes go by for what a process made and had no time to take hold of, which counts as left behind after one.
    fn some_time_goes_by(&self) {
        let runs = self.warehouse().join("runs");
        for dir in [runs.as_path(), self.temp()] {
            for name in oracle::names(dir) {
                if name.ends_with(".new") || name.starts_with("recost-scratch-") {
                    let made = File::open(dir.join(name)).unwrap();
                    let before = self.now() - Duration::from_secs(120);
                    made.set_modified(before).unwrap();
                }
            }
        }
    }

    /// A night to its end.
    pub fn run(&self, night: &str) -> Output {
        self.start(night).end()
    }

    /// The same in another project's folder, of which the paths are others: what was done elsewhere may be done again.
    pub fn make_good_elsewhere(&mut self, n: usize, fault: &str) {
        self.some_time_goes_by();
        let out = self.run(NIGHTS[n]);
        let said = text(&out.stderr);
        assert!(out.status.success(), "after {fault}: {said}");
        let wanted = twin().tables[n].clone().without_own_use();
        let found = Tables::of(&self.warehouse()).without_own_use();
        oracle::same(&wanted, &found, fault);
        oracle::settled(self, fault);
    }

    /// A night as it is run again after a fault: it succeeds without help, gives the tables of the twin and leaves nothing.
    pub fn make_good(&mut self, n: usize, fault: &str) {
        self.some_time_goes_by();
        let out = self.run(NIGHTS[n]);
        let said = text(&out.stderr);
        assert!(out.status.success(), "after {fault}: {said}");
        oracle::same(&twin().tables[n], &Tables::of(&self.warehouse()), fault);
        oracle::settled(self, fault);
    }
}

/// The program at work.
pub struct Working {
    pub child: Child,
    since: Instant,
}

impl Working {
    fn new(mut command: Command) -> Self {
        Working {
            child: command.spawn().unwrap(),
            since: Instant::now(),
        }
    }

    pub fn ended(&mut self) -> bool {
        assert!(self.since.elapsed() < PATIENCE, "it does not end");
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits as long, or until it ends.
    pub fn wait(&mut self, span: Duration) {
        let since = Instant::now();
        while since.elapsed() < span && !self.ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until `there` says so, or it ends, without a pause: what is waited for may be there for microseconds.
    pub fn watch(&mut self, mut there: impl FnMut() -> bool) -> bool {
        loop {
            for _ in 0..50 {
                if there() {
                    return true;
                }
            }
            if self.ended() {
                return there();
            }
        }
    }

    pub fn signal(&mut self, name: &str) {
        let pid = self.child.id().to_string();
        // It may have ended just now.
        let _ = Command::new("kill").args([name, &pid]).output();
    }

    /// Whether SIGSTOP has stopped it.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        // After the name, which may have blanks itself: the state.
        let state = stat
            .ok()
            .and_then(|s| Some(s.rsplit_once(") ")?.1.starts_with('T')));
        state.unwrap_or(false)
    }

    /// Ends it as `kill -9` does, and gives what it said until then.
    pub fn kill(mut self) -> Output {
        let _ = self.child.kill();
        self.end()
    }

    pub fn end(self) -> Output {
        self.child.wait_with_output().unwrap()
    }
}

/// The nights that nothing happened to.
pub fn twin() -> &'static Twin {
    static TWIN: OnceLock<Twin> = OnceLock::new();
    TWIN.get_or_init(|| {
        let mut world = World::new();
        let [start, first] = [(); 2].map(|()| TempDir::new().unwrap());
        copy(world.path(), start.path());
        let (mut tables, mut took) = (vec![], Duration::MAX);
        for (n, night) in NIGHTS.iter().enumerate() {
            let since = Instant::now();
            let out = world.run(night);
            took = took.min(since.elapsed());
            assert!(out.status.success(), "{}", text(&out.stderr));
            tables.push(Tables::of(&world.warehouse()));
            oracle::settled(&mut world, "nothing");
            if n == 0 {
                copy(world.path(), first.path());
            }
        }
        Twin {
            start,
            first,
            tables,
            took,
        }
    })
}

/// Copies a folder with its links as they are, and the times of its files.
pub fn copy(from: &Path, to: &Path) {
    let from = format!("{}/.", from.display());
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", text(&copied.stderr));
}
