//! Texts of a small profile by hand, and what the kernel writes.

use std::io::Read;

use flate2::read::GzDecoder;

use super::*;
use kernel_names::KernelNames;
use mappings::Mapping;
use record::Sample;

fn frame(name: &str, origin: Origin) -> Frame {
    Frame { name: name.to_owned(), place: None, origin }
}

/// A shard that turns and sends, and the venue, of which one sample is lost.
fn profile() -> Profile {
    let turn = Frame {
        place: Some(("src/shard.rs".to_owned(), 77)),
        ..frame("tickring::turn<u8>", Origin::Gateway)
    };
    Profile {
        frames: vec![frame("start; \"&\"", Origin::Library), turn, frame("tcp_sendmsg", Origin::Kernel)],
        stacks: vec![
            Stack { thread: 0, frames: vec![0, 1], samples: 1 },
            Stack { thread: 0, frames: vec![0, 1, 2], samples: 2 },
            Stack { thread: 1, frames: vec![0], samples: 1 },
        ],
        threads: vec![
            Thread { name: "shard-0".to_owned(), tid: 70, samples: 3, ..Thread::default() },
            Thread { name: "venue".to_owned(), tid: 71, samples: 1, lost: 1, ..Thread::default() },
        ],
        hz: 100,
        begun_unix_ns: 5,
        duration_ns: 2_000_000_000,
        kernel: KernelPart::Named,
    }
}

#[test]
fn stacks_are_folded_into_a_line_each_of_which_no_name_breaks() {
    assert_eq!(
        folded(&profile()),
        "shard-0;start: \"&\";tickring::turn<u8> 1\n\
         shard-0;start: \"&\";tickring::turn<u8>;tcp_sendmsg_[k] 2\n\
         venue;start: \"&\" 1\n"
    );
}

#[test]
fn lines_that_differ_in_the_line_of_a_file_alone_are_one() {
    let mut profile = profile();
    let again = Frame { place: Some(("src/shard.rs".to_owned(), 78)), ..profile.frames[1].clone() };
    profile.frames.push(again);
    profile.stacks.push(Stack { thread: 0, frames: vec![0, 3], samples: 4 });
    assert!(folded(&profile).starts_with("shard-0;start: \"&\";tickring::turn<u8> 5\n"));
}

#[test]
fn a_flame_graph_is_as_wide_as_samples_and_escapes_names() {
    let image = flame_graph(&profile());
    let drawn: Vec<&str> = image.lines().filter(|line| line.starts_with("<svg class=")).collect();
    let place = |part: &str| {
        let line = drawn.iter().find(|line| line.contains(part)).unwrap();
        let value =
            |name: &str| line.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap();
        (value("x").to_owned(), value("width").to_owned(), value("y").parse::<usize>().unwrap())
    };
    assert_eq!(drawn.len(), 7, "{image}");
    let place_of = |name: &str| place(&format!("<title>{name}:"));
    let (all, turn) = (place_of("all"), place_of("tickring::turn&lt;u8&gt;"));
    assert_eq!((all.0.as_str(), all.1.as_str()), ("0.0000%", "100.0000%"));
    assert_eq!((turn.0.as_str(), turn.1.as_str()), ("0.0000%", "75.0000%"));
    assert_eq!(place_of("tcp_sendmsg").1, "50.0000%");
    assert_eq!((place_of("venue").0.as_str(), place_of("venue").1.as_str()), ("75.0000%", "25.0000%"));
    assert!(all.2 < turn.2 && turn.2 < place_of("tcp_sendmsg").2, "{image}");
    assert!(image.contains("<title>start; &quot;&amp;&quot;: 3 samples, 75.00 %</title>"), "{image}");
    assert!(image.contains("4 samples of 2.0 s at 100 Hz of processor time, 1 lost, kernel named"));
    assert!(!SCRIPT.contains("]]>"), "what ends the script's element would end it early");
}

#[test]
fn frames_too_narrow_to_be_seen_are_not_drawn() {
    let mut profile = profile();
    profile.stacks[1].samples = 100_000;
    let image = flame_graph(&profile);
    assert!(image.contains("<title>tcp_sendmsg:") && !image.contains("<title>venue:"), "{image}");
}

#[test]
fn a_profile_of_nothing_has_its_texts() {
    let nothing = Profile { stacks: vec![], frames: vec![], threads: vec![], ..profile() };
    assert_eq!(folded(&nothing), "");
    assert!(flame_graph(&nothing).ends_with("</svg>\n"));
}

/// Fields of a message: number, and a number or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Result<u64, &[u8]>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("a number is too long");
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = varint(&mut bytes);
        match key & 7 {
            0 => fields.push((key >> 3, Ok(value))),
            2 => {
                let (part, rest) = bytes.split_at(usize::try_from(value).unwrap());
                fields.push((key >> 3, Err(part)));
                bytes = rest;
            }
            other => panic!("wire type {other}"),
        }
    }
    fields
}

#[test]
fn what_pprof_reads_names_all_by_numbers() {
    let (profile, mut message) = (profile(), Vec::new());
    GzDecoder::new(&pprof(&profile)[..]).read_to_end(&mut message).unwrap();
    let all = fields(&message);
    let parts = |field: u64| {
        all.iter().filter(move |(number, _)| *number == field).map(|(_, part)| part.unwrap_err())
    };
    let texts: Vec<&str> = parts(6).map(|text| std::str::from_utf8(text).unwrap()).collect();
    assert_eq!(texts[0], "");
    let text = |value: Result<u64, &[u8]>| texts[usize::try_from(value.unwrap()).unwrap()];
    let types: Vec<(&str, &str)> =
        parts(1).map(fields).map(|fields| (text(fields[0].1), text(fields[1].1))).collect();
    assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
    // Innermost first; 2 samples of 10 ms each.
    let sample = fields(parts(2).nth(1).unwrap());
    assert_eq!(sample[0], (1, Err(&[3, 2, 1][..])));
    assert_eq!(sample[1], (2, Err(&[2, 0x80, 0xda, 0xc4, 0x09][..])), "20,000,000 by seven bits");
    let label = fields(sample[2].1.unwrap_err());
    assert_eq!((text(label[0].1), text(label[1].1)), ("thread", "shard-0"));
    let location = fields(parts(4).nth(1).unwrap());
    assert_eq!(location[0], (1, Ok(2)));
    assert_eq!(fields(location[1].1.unwrap_err()), [(1, Ok(2)), (2, Ok(77))]);
    let function = fields(parts(5).nth(1).unwrap());
    assert_eq!((text(function[1].1), text(function[3].1)), ("tickring::turn<u8>", "src/shard.rs"));
    assert!(all.contains(&(10, Ok(2_000_000_000))) && all.contains(&(12, Ok(10_000_000))));
}

#[test]
fn frames_are_held_once() {
    let mut frames = Frames::default();
    let numbers: Vec<usize> =
        ["b", "a", "b"].into_iter().map(|name| frames.number(frame(name, Origin::Library))).collect();
    assert_eq!(numbers, [0, 1, 0]);
    assert_eq!(frames.into_vec(), [frame("b", Origin::Library), frame("a", Origin::Library)]);
}

#[test]
fn functions_of_the_kernel_are_found_by_any_of_their_instructions() {
    let text = "ffffffff81000100 T second\nffffffff81000000 t first\nffffffff81000050 d data\nodd\n\
                ffffffffc0000000 t far\t[module]\n";
    let names = KernelNames::read(text).unwrap();
    let find = |address| names.find(address);
    assert_eq!(find(0xffff_ffff_8100_0000), Some("first"));
    assert_eq!(find(0xffff_ffff_8100_0060), Some("first"));
    assert_eq!(find(0xffff_ffff_8100_0100), Some("second"));
    assert_eq!(find(0xffff_ffff_c000_0001), Some("far"));
    assert_eq!(find(0xffff_ffff_80ff_ffff), None);
}

#[test]
fn a_kernel_that_withholds_its_addresses_names_nothing() {
    assert!(KernelNames::read("0000000000000000 T first\n0000000000000000 T second\n").is_none());
}

#[test]
fn mappings_are_those_that_may_be_executed_and_have_a_name() {
    let text = "55d0a000-55d0b000 r--p 00000000 fd:00 12 /usr/bin/tick ring\n\
                55d0b000-55d0f000 r-xp 00001000 fd:00 12                  /usr/bin/tick ring (deleted)\n\
                7f00a000-7f00b000 rwxp 00000000 00:00 0 \n\
                7ffd0000-7ffd2000 r-xp 00000000 00:00 0                          [vdso]\n\
                odd\n";
    let found = mappings::executable(text);
    let binary = Mapping {
        start: 0x55d0_b000,
        end: 0x55d0_f000,
        offset: 0x1000,
        name: "/usr/bin/tick ring (deleted)",
    };
    let vdso = Mapping { start: 0x7ffd_0000, end: 0x7ffd_2000, offset: 0, name: "[vdso]" };
    assert_eq!(found, [binary, vdso]);
    assert_eq!((found[0].short_name(), found[1].short_name()), ("tick ring", "[vdso]"));
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A record of two frames in the kernel behind their mark, registers 1, 2, …, and 8 bytes of a stack that has room for 16.
fn sample() -> Vec<u8> {
    let kernel_mark = 0_u64.wrapping_sub(128);
    let registers: Vec<u64> = (1..).take(record::REGISTERS).collect();
    let rest = [vec![2], registers, vec![16, 0xab, 0, 8]].concat();
    words(&[vec![3, kernel_mark, 0xffff_ffff_8100_0000, 0xffff_ffff_8100_0100], rest].concat())
}

#[test]
fn a_sample_has_its_kernel_frames_registers_and_stack() {
    let bytes = sample();
    let sample = Sample::read(&bytes).unwrap();
    assert_eq!(sample.kernel().collect::<Vec<_>>(), [0xffff_ffff_8100_0000, 0xffff_ffff_8100_0100]);
    assert_eq!(sample.registers.map(|registers| registers[..3].to_vec()), Some(vec![1, 2, 3]));
    assert_eq!(sample.stack, 0xab_u64.to_ne_bytes());
    // A thread of the kernel has neither.
    let bytes = words(&[0, 0, 0]);
    let sample = Sample::read(&bytes).unwrap();
    assert_eq!((sample.kernel().count(), sample.registers, sample.stack), (0, None, &[][..]));
}

#[test]
fn a_sample_that_is_not_whole_is_none() {
    let bytes = sample();
    for length in 0..bytes.len() {
        assert_eq!(Sample::read(&bytes[..length]), None, "{length}");
    }
    let mut odd = bytes;
    let written = odd.len() - 8;
    odd[written..].copy_from_slice(&17_u64.to_ne_bytes());
    assert_eq!(Sample::read(&odd), None, "more is written than there is room");
    assert_eq!(Sample::read(&words(&[u64::MAX])), None);
    assert_eq!((record::lost(&words(&[7, 3])), record::lost(&words(&[7]))), (Some(3), None));
}
