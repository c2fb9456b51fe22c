//! Every I/O step of a script × {the process ends, I/O error, full disk} × {what a kill leaves, what power
//! cuts leave}: what was confirmed is there, or something newer.

use std::collections::BTreeMap;

use super::*;
use crate::storage::log::tests::fault_disk::{Fault, FaultDisk};
use crate::storage::log::tests::power_cut::Keep;
use crate::storage::log::tests::random::{Random, setting};

const OPERATIONS: usize = 120;
const KEYS: usize = 9;

/// What each key may be: the last that was confirmed, and everything since.
#[derive(Clone, Default)]
struct Model {
    keys: BTreeMap<StableKey, Vec<Option<StableValue>>>,
    is_confirmed: bool,
}

impl Model {
    fn note(&mut self, key: StableKey, value: Option<StableValue>) {
        self.keys.entry(key).or_insert_with(|| vec![None]).push(value);
    }

    fn confirm(&mut self) {
        self.is_confirmed = true;
        for versions in self.keys.values_mut() {
            versions.drain(..versions.len() - 1);
        }
    }

    fn check(&self, dir: &Path, what: &str) {
        let found = Recovered::read(dir).unwrap();
        assert_ne!(found.found(), Found::Lost, "{what}: nothing was damaged");
        assert!(!self.is_confirmed || found.found() == Found::Whole, "{what}: all is gone");
        for (key, versions) in &self.keys {
            let value = found.values().get(key).copied();
            assert!(versions.contains(&value), "{what}: {key:?} is {value:?} of {versions:?}");
        }
        let known = |key: &StableKey| self.keys.contains_key(key);
        assert!(found.values().keys().all(known), "{what}: something else");
    }
}

/// Runs the script until something fails that does not pass.
fn run(dir: &Path, disk: &Arc<FaultDisk>, seed: u64) -> Model {
    let storage = storage(Arc::clone(disk) as Arc<dyn Disk>);
    let mut random = Random(seed);
    let mut model = Model::default();
    let Ok(mut store) = Recovered::read(dir).unwrap().open(&storage) else { return model };
    model.confirm();
    for n in 0..OPERATIONS {
        for _ in 0..random.below(3) {
            let key = key(random.below(KEYS) as u8, b'v');
            let value = if random.below(5) == 0 { None } else { number(n as u64) };
            store.apply([(key, value)]);
            model.note(key, value);
        }
        let done = match random.below(20) {
            0..14 => store.shared.sync().map(|()| model.confirm()).map_err(io::Error::from),
            14..18 => store.write_behind().map_err(io::Error::from),
            how => {
                let closed =
                    if how == 18 { store.close().map(|()| model.confirm()) } else { Ok(()) };
                drop(store);
                match closed.and_then(|()| Recovered::read(dir)?.open(&storage)) {
                    Ok(again) => store = again,
                    Err(_) => return model,
                }
                // What was applied and not written is gone, or found and by now on the disk.
                for (key, versions) in &mut model.keys {
                    *versions = vec![store.get(key)];
                }
                Ok(())
            }
        };
        if done.is_err() && disk.is_dead() {
            return model;
        }
    }
    model
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Checks what is in `dir`, opens it, goes on, and checks again.
fn check_and_go_on(dir: &Path, model: &Model, what: &str) {
    model.check(dir, what);
    let storage = storage(Arc::new(HastyDisk));
    let store = open(dir, &storage);
    for (key, versions) in &model.keys {
        assert!(versions.contains(&store.get(key)), "{what}: opened");
    }
    let key = key(0, b'v');
    store.apply([(key, number(9_999))]);
    store.shared.sync().unwrap();
    drop(store);
    assert_eq!(open(dir, &storage).get(&key), number(9_999), "{what}: gone on");
}

/// Runs the script with a fault, and checks all that it may leave.
fn case(at: usize, fault: Fault, seed: u64) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("votes");
    let disk = Arc::new(FaultDisk::new(&dir));
    disk.arm(at, fault);
    let model = run(&dir, &disk, seed);
    let what = |left: &str| format!("seed {seed}, step {at}, {fault:?}, {left}");
    let mut random = Random(seed ^ at as u64);
    for (n, keep) in [Keep::None, Keep::All, Keep::Some].iter().enumerate() {
        let to = home.path().join(format!("cut-{n}"));
        disk.power_cut(*keep, &mut random, &to);
        check_and_go_on(&to, &model, &what(&format!("{keep:?} left")));
    }
    // Of a failed sync nobody knows what is left but that the next process writes it again.
    let killed = home.path().join("killed");
    copy(&dir, &killed);
    check_and_go_on(&killed, &model, &what("killed"));
}

#[test]
fn whatever_happens_at_any_step_nothing_confirmed_is_forgotten() {
    let seed = setting("JACKDAW_SEED", 1);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("votes");
    let disk = Arc::new(FaultDisk::new(&dir));
    run(&dir, &disk, seed);
    let (_, journal) = disk.history();
    let mut cases = 0;
    for at in 1..=journal.len() {
        for fault in [Fault::Kill, Fault::InputOutput, Fault::NoSpace] {
            case(at, fault, seed);
            cases += 1;
        }
    }
    println!("{cases} faults, {} states", cases * 4);
    assert!(cases > 800);
}
