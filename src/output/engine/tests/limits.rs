//! How large files become, and how many are open.

use super::*;

#[test]
fn no_file_is_larger_than_its_limit_whatever_the_names() {
    let length = |number: usize| [3, 40, 1100, 7, 2900, 500][number % 6];
    let mut names: Vec<String> =
        (0..300).map(|number| format!("{number:04}{}", "n".repeat(length(number)))).collect();
    names.sort();
    for is_planned in [true, false] {
        for limit in [4000, 20_000, 200_000] {
            let (_kept, root) = work();
            let to = Destination { shard_size: Some(limit), ..to("x.safetensors") };
            assert_eq!(write_all(&to, &root, &names, is_planned).unwrap(), names.len());
            let (keys, largest) = archived(&root);
            assert!(keys == names && largest <= limit, "{limit}: {largest}");
            // Room is not wasted either: what is there fills its files to more than half.
            let files = tree(&root)
                .keys()
                .filter(|path| path.extension().is_some_and(|end| end == "safetensors"))
                .count();
            let whole: usize = names.iter().map(|name| name.len() + 130).sum();
            assert!(
                limit < 20_000 || files as u64 <= 2 * whole as u64 / limit + 2,
                "{files} files of {limit}"
            );
        }
    }
}

#[test]
fn a_single_file_that_readers_would_refuse_is_not_written() {
    let names: Vec<String> = (0..1800).map(|number| format!("{number:06}{}", "n".repeat(60_000))).collect();
    let to = to("x.safetensors");
    let (_kept, root) = work();
    // Where the names are known, nothing is done.
    let refused = write_all(&to, &root, &names, true).unwrap_err();
    let OutputError::TooMany { images: 1800, entries, .. } = refused else { panic!("{refused}") };
    assert!((1600..1700).contains(&entries) && tree(&root).is_empty(), "{entries}");
    // Where they come one by one, the file is made whole when it is full.
    let full = write_all(&to, &root, &names, false).unwrap_err();
    assert!(matches!(full, OutputError::Full { entries: found, .. } if found == entries), "{full}");
    let (keys, _) = archived(&root);
    assert_eq!(keys, names[..entries]);
    assert!(fs::read_dir(&root).unwrap().count() == 2, "{:?}", tree(&root).keys());
    // Shards take the rest.
    let shards = Destination { shard_size: Some(60_000_000), ..to };
    assert_eq!(write_all(&shards, &root, &names, true).unwrap(), names.len() - entries);
    let (keys, largest) = archived(&root);
    assert!(keys == names && largest < 100_600_000, "{largest}");
}

#[test]
fn a_file_that_holds_nothing_yet_is_made_for_what_comes() {
    for is_planned in [true, false] {
        for limit in [400, 700, 5000] {
            let short = Destination { shard_size: Some(limit), ..to("x.safetensors") };
            let scenario = Scenario { is_planned, ..scenario(short.clone()) };
            let one = [(None, "a".to_owned())];
            for fails in 0.. {
                let (_kept, root) = work();
                let disk = Disk::watched(Arc::new(Recorder::new(&root, Some(fails))));
                let failed = run(&scenario, &root, disk, &one, false).is_err();
                let longer = "b".repeat(limit as usize / 4);
                assert_eq!(write_all(&short, &root, std::slice::from_ref(&longer), is_planned).unwrap(), 1);
                let (keys, largest) = archived(&root);
                assert!(keys.contains(&longer) && largest <= limit, "{limit}: {keys:?}, {largest}");
                if !failed {
                    break;
                }
            }
        }
    }
}

#[test]
fn few_files_are_open_however_many_wait_for_their_names() {
    let to = Destination { shard_size: Some(128 + 60), ..to("x.npy") };
    let (_, _, operations) = record(&Scenario { images: 100, group: 1000, ..scenario(to) });
    let (mut open, mut most) = (BTreeSet::new(), 0);
    for operation in &operations {
        match operation {
            Operation::Create(path) if !is_manifest(path) => drop(open.insert(path.clone())),
            Operation::Sync(path) => drop(open.remove(path)),
            _ => {}
        }
        most = most.max(open.len());
    }
    assert!((1..=3).contains(&most), "{most}");
}
