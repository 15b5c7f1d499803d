//! A vault to measure with: `corpus DIR COUNT SEED` writes so many made notes into a folder that is not there yet.
//!
//! The same seed makes the same bytes on every machine, so all arithmetic is in whole numbers. Notes have 2.2 kB on average,
//! from 200 bytes to 30 kB, most of them small and few very long. Their words are made, 30,000 of them in four scripts, and
//! come as often as those of a language (Zipf).

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How a script makes its words, and how many notes and words it has.
struct Script {
    /// What a word is put together from.
    syllables: &'static [&'static str],
    syllables_max: u64,
    words: usize,
    between_words: &'static str,
    end: &'static str,
    /// Of a hundred notes.
    notes: u64,
}

const SCRIPTS: [Script; 4] = [
    Script {
        syllables: &[
            "ba", "ce", "di", "fo", "gu", "ha", "jer", "ki", "lo", "mun", "na", "per", "qui", "ro", "sta", "ti", "ul",
            "ver", "wen", "yx", "zo", "bré", "cham", "dor", "eth", "flu", "gran", "hö", "in", "kra", "lis", "mon",
        ],
        syllables_max: 4,
        words: 20_000,
        between_words: " ",
        end: ". ",
        notes: 70,
    },
    Script {
        syllables: &[
            "ба", "ве", "гор", "да", "же", "зи", "ко", "лу", "ми", "но", "пря", "ра", "сто", "те", "ух", "фи", "ча",
            "ше",
        ],
        syllables_max: 4,
        words: 4_000,
        between_words: " ",
        end: ". ",
        notes: 12,
    },
    Script {
        syllables: &[
            "人", "大", "山", "水", "火", "木", "金", "土", "日", "月", "本", "学", "生", "先", "年", "中", "国", "外",
            "語", "書", "見", "行", "来", "食", "電", "車", "道", "間", "時", "分", "気", "天", "空", "花", "茶", "店",
            "町", "村", "川", "海", "石", "田", "白", "赤", "青", "黒", "小", "高", "安", "新", "古", "長", "手", "足",
        ],
        syllables_max: 3,
        words: 3_000,
        between_words: "",
        end: "。",
        notes: 10,
    },
    Script {
        syllables: &[
            "का", "गि", "चु", "जे", "टो", "ता", "दि", "नु", "पे", "बो", "मा", "या", "रि", "लु", "वे", "शो", "सा", "हि",
        ],
        syllables_max: 4,
        words: 3_000,
        between_words: " ",
        end: "। ",
        notes: 8,
    },
];

/// A note is at least so long.
const BYTES_MIN: usize = 200;
/// The binary logarithm of a note's length, in 1024ths: this, and four numbers below the next on top of it.
const LENGTH_FROM: u64 = 5_910;
const LENGTH_MORE: u64 = 2_370;

const TOP_FOLDERS: u64 = 24;
const SUB_FOLDERS: u64 = 9;
const TAGS: usize = 400;

fn main() -> Result<(), Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "a program has arguments")]
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, count, seed] = arguments.as_slice() else { return Err("corpus DIR COUNT SEED".into()) };
    let (folder, count, seed) = (PathBuf::from(folder), count.parse()?, seed.parse()?);
    let began = Instant::now();
    fs::create_dir(&folder)
        .map_err(|error| format!("{}: {error}; name a folder that is not there", folder.display()))?;
    let bytes = Corpus::new(count, seed).write(&folder)?;
    println!("{count} notes, {bytes} bytes, {} ms", began.elapsed().as_millis());
    Ok(())
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        // close enough to even for ends far below 2^32
        ((self.next() >> 32) * end) >> 32
    }

    fn from(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    fn percent(&mut self, of_hundred: u64) -> bool {
        self.below(100) < of_hundred
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// Places that come the more often the earlier they are.
struct Zipf(Vec<u64>);

impl Zipf {
    fn new(places: usize) -> Self {
        let weights = (0..places as u64).map(|place| (1 << 32) / (place + 3));
        let sums = weights.scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self(sums.collect())
    }

    fn place(&self, chance: &mut Chance) -> usize {
        let all = self.0.last().copied().unwrap_or(1);
        let at = ((u128::from(chance.next()) * u128::from(all)) >> 64) as u64;
        self.0.partition_point(|sum| *sum <= at)
    }
}

/// The words of a script.
struct Words {
    words: Vec<String>,
    often: Zipf,
}

struct Corpus {
    chance: Chance,
    words: Vec<Words>,
    folders: Vec<String>,
    tags: Vec<String>,
    /// The name of each note, without folder and extension, and which script it has.
    notes: Vec<(String, usize)>,
    often_linked: Zipf,
    often_tagged: Zipf,
}

impl Corpus {
    fn new(count: usize, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let words: Vec<Words> = SCRIPTS.iter().map(|script| vocabulary(script, &mut chance)).collect();
        let latin = &words[0];
        let word = |chance: &mut Chance| chance.one(&latin.words).clone();
        let mut folders = Vec::new();
        for _ in 0..TOP_FOLDERS {
            let top = capital(&word(&mut chance));
            folders.extend((0..SUB_FOLDERS).map(|_| format!("{top}/{}", word(&mut chance))));
            folders.push(top);
        }
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..TAGS {
            let above = if tags.is_empty() || chance.percent(40) { None } else { Some(chance.one(&tags).clone()) };
            let tag = word(&mut chance);
            tags.push(above.map_or_else(|| tag.clone(), |above| format!("{above}/{tag}")));
        }
        let mut corpus = Self {
            chance,
            words,
            folders,
            tags,
            notes: Vec::new(),
            often_linked: Zipf::new(count),
            often_tagged: Zipf::new(TAGS),
        };
        for number in 0..count {
            let script = corpus.script();
            let words = corpus.chance.from(1, 4);
            let name = (0..words).map(|_| corpus.word(script)).collect::<Vec<_>>().join(" ");
            corpus.notes.push((format!("{} {number}", capital(&name)), script));
        }
        corpus
    }

    fn write(mut self, root: &Path) -> Result<u64, std::io::Error> {
        for folder in &self.folders {
            fs::create_dir_all(root.join(folder))?;
        }
        let mut bytes = 0;
        let mut text = String::new();
        for number in 0..self.notes.len() {
            text.clear();
            self.note(number, &mut text);
            let folder = self.chance.one(&self.folders);
            fs::write(root.join(folder).join(format!("{}.md", self.notes[number].0)), &text)?;
            bytes += text.len() as u64;
        }
        Ok(bytes)
    }

    fn script(&mut self) -> usize {
        let mut at = self.chance.below(100);
        let mut script = 0;
        while at >= SCRIPTS[script].notes {
            at -= SCRIPTS[script].notes;
            script += 1;
        }
        script
    }

    fn word(&mut self, script: usize) -> String {
        let words = &self.words[script];
        words.words[words.often.place(&mut self.chance)].clone()
    }

    fn tag(&mut self) -> &str {
        &self.tags[self.often_tagged.place(&mut self.chance)]
    }

    fn name(&mut self) -> &str {
        &self.notes[self.often_linked.place(&mut self.chance)].0
    }

    /// Words of a sentence, without its end.
    fn words(&mut self, script: usize, few: u64, many: u64) -> String {
        let mut sentence = String::new();
        for at in 0..self.chance.from(few, many) {
            if at > 0 {
                sentence.push_str(SCRIPTS[script].between_words);
            }
            let words = &self.words[script];
            sentence.push_str(&words.words[words.often.place(&mut self.chance)]);
        }
        sentence
    }

    fn note(&mut self, number: usize, text: &mut String) {
        let length = (LENGTH_FROM + (0..4).map(|_| self.chance.below(LENGTH_MORE)).sum::<u64>()) as usize;
        // 2 to the power of that, with a straight line between whole powers
        let length = ((1 << (length / 1_024)) * (1_024 + length % 1_024) / 1_024).max(BYTES_MIN);
        let (name, script) = self.notes[number].clone();
        if self.chance.percent(70) {
            self.properties(number, script, text);
        }
        append(text, format_args!("# {name}\n"));
        while text.len() < length {
            text.push('\n');
            let room = length - text.len().min(length);
            match self.chance.below(100) {
                0..14 => self.heading(script, text),
                14..26 => self.list(script, room, &["- "], text),
                26..36 => self.list(script, room, &["- [ ] ", "- [x] "], text),
                36..40 if room > 300 => self.code(text),
                40..44 => append(
                    text,
                    format_args!("> [!note] {}\n> {}\n", self.words(script, 2, 4), self.words(script, 5, 15)),
                ),
                44..47 if room > 300 => self.table(script, text),
                _ => self.paragraph(script, room, text),
            }
        }
    }

    fn properties(&mut self, number: usize, script: usize, text: &mut String) {
        text.push_str("---\n");
        if self.chance.percent(15) {
            append(text, format_args!("aliases:\n  - {} other {number}\n", self.words(script, 1, 3)));
        }
        if self.chance.percent(60) {
            let (one, other) = (self.tag().to_owned(), self.tag().to_owned());
            append(text, format_args!("tags: [{one}, {other}]\n"));
        }
        let status = *self.chance.one(&["draft", "active", "done", "archived"]);
        let (month, day, hour) = (self.chance.from(1, 12), self.chance.from(1, 28), self.chance.below(24));
        append(text, format_args!("status: {status}\ncreated: 2026-{month:02}-{day:02}\n"));
        if self.chance.percent(30) {
            append(text, format_args!("modified: 2026-{month:02}-{day:02}T{hour:02}:30\n"));
        }
        if self.chance.percent(30) {
            append(text, format_args!("priority: {}\nreviewed: {}\n", self.chance.from(1, 9), self.chance.percent(50)));
        }
        if self.chance.percent(20) {
            append(text, format_args!("up: \"[[{}]]\"\n", self.name()));
        }
        if self.chance.percent(1) {
            text.push_str("privacy: private\n");
        }
        text.push_str("---\n\n");
    }

    fn heading(&mut self, script: usize, text: &mut String) {
        let level = *self.chance.one(&["##", "##", "###"]);
        append(text, format_args!("{level} {}\n", self.words(script, 1, 4)));
    }

    fn paragraph(&mut self, script: usize, room: usize, text: &mut String) {
        let end = text.len() + room;
        for _ in 0..self.chance.from(1, 6) {
            let sentence = self.words(script, 4, 18);
            text.push_str(&sentence);
            if self.chance.percent(25) {
                self.link(script, text);
            }
            if self.chance.percent(5) {
                append(text, format_args!(" #{}", self.tag()));
            }
            text.push_str(SCRIPTS[script].end);
            if text.len() > end {
                break;
            }
        }
        text.truncate(text.trim_end().len());
        if self.chance.percent(6) {
            append(text, format_args!(" ^{:06x}", self.chance.below(1 << 24)));
        }
        text.push('\n');
    }

    fn link(&mut self, script: usize, text: &mut String) {
        let place = self.words(script, 1, 2);
        let kind = self.chance.below(10);
        let name = self.name();
        match kind {
            0 => append(text, format_args!(" [[{name}#{place}]]")),
            1 | 2 => append(text, format_args!(" [[{name}|{place}]]")),
            3 => append(text, format_args!(" ![[{name}]]")),
            4 => append(text, format_args!(" [{place}](<{name}.md>)")),
            _ => append(text, format_args!(" [[{name}]]")),
        }
    }

    /// A list whose items begin with one of these.
    fn list(&mut self, script: usize, room: usize, begin: &[&str], text: &mut String) {
        let end = text.len() + room;
        for at in 0..self.chance.from(1, 7) {
            let indent = if at > 0 && self.chance.percent(20) { "  " } else { "" };
            append(text, format_args!("{indent}{}{}\n", self.chance.one(begin), self.words(script, 2, 9)));
            if text.len() > end {
                break;
            }
        }
    }

    fn code(&mut self, text: &mut String) {
        let (name, value) = (self.word(0), self.word(0));
        text.push_str("```rust\n");
        for line in 0..self.chance.from(2, 8) {
            append(text, format_args!("let {name}_{line} = {value}({}); // #{value}\n", self.chance.below(1_000)));
        }
        text.push_str("```\n");
    }

    fn table(&mut self, script: usize, text: &mut String) {
        append(text, format_args!("| {} | {} |\n|---|---|\n", self.words(script, 1, 1), self.words(script, 1, 1)));
        for _ in 0..self.chance.from(2, 5) {
            append(text, format_args!("| {} | {} |\n", self.words(script, 1, 3), self.chance.below(10_000)));
        }
    }
}

fn vocabulary(script: &Script, chance: &mut Chance) -> Words {
    let word = |chance: &mut Chance| -> String {
        (0..chance.from(1, script.syllables_max)).map(|_| *chance.one(script.syllables)).collect()
    };
    let mut made = BTreeSet::new();
    let mut words = Vec::new();
    // short words come early, and so often, since they are soon all made
    while words.len() < script.words {
        let word = word(chance);
        if made.insert(word.clone()) {
            words.push(word);
        }
    }
    Words { words, often: Zipf::new(script.words) }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn append(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string does not fail");
}
