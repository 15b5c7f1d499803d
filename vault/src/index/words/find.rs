//! Passages by their words, ranked by BM25 (Robertson and Zaragoza 2009) as `tantivy` computes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tantivy::collector::{Collector, FilterCollector, TopDocs};
use tantivy::query::{
    BooleanQuery, BoostQuery, DisjunctionMaxQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, RegexQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Searcher, TantivyError, Term};

use super::super::tokens::{Piece, WORD_BYTES_MAX, pieces};
use super::kin::{is_small, kin};
use super::schema::{NUMBER, PASSAGE};
use super::{IndexError, Words};

/// How much a word counts in the name of a document, and in the headings above a passage, to one in its text.
const TITLE_WEIGHT: f32 = 2.0;
const HEADING_WEIGHT: f32 = 1.2;
/// How much a part of a name counts to the whole of it.
const PART_WEIGHT: f32 = 0.4;
/// How much another form of a word counts, and a word that says little by itself.
const KIN_WEIGHT: f32 = 0.6;
const SMALL_WEIGHT: f32 = 0.05;
/// How much it counts that the words of one name, such as `hive-restore`, stand side by side.
const NAME_WEIGHT: f32 = 3.0;
/// How much a word counts that only begins like the one that is wanted, or has one letter of another.
const LIKE_WEIGHT: f32 = 0.6;
/// Most words of a text that are looked for, and most of those that nothing has for which others like them are: the first.
const RANKING_WORDS_MAX: usize = 256;
const LIKE_WORDS_MAX: usize = 8;
/// Most names of a text whose words are looked for side by side, and most words of one.
const NAMES_MAX: usize = 16;
const NAME_WORDS_MAX: usize = 16;
/// The shortest word that others are said to begin like, and to be written like, in characters.
const PREFIX_CHARS_MIN: usize = 2;
const FUZZY_CHARS_MIN: usize = 5;

/// What is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// These words, any of them.
    Words(String),
    /// These words in this order.
    Phrase(String),
}

/// A passage that was found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Found {
    /// The document's number.
    pub number: u64,
    /// Which of its passages.
    pub passage: usize,
    /// BM25, with the weights of the fields.
    pub score: f32,
}

/// The documents that may be found, by their numbers.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Allowed {
    bits: Vec<u64>,
}

impl Allowed {
    /// Whether a document may be found.
    pub fn contains(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|word| self.bits.get(word));
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Lets a document be found.
    pub fn insert(&mut self, number: u64) {
        // numbers count documents, so their bits fit
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << (number % 64);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }
}

impl FromIterator<u64> for Allowed {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Self {
        let mut allowed = Self::default();
        numbers.into_iter().for_each(|number| allowed.insert(number));
        allowed
    }
}

impl Words {
    /// The best passages for what is wanted, the best first.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn find(
        &self,
        wanted: &[Wanted],
        limit: usize,
        allowed: Option<&Arc<Allowed>>,
    ) -> Result<Vec<Found>, IndexError> {
        let searcher = self.reader.searcher();
        let query = self.ranking(&searcher, wanted).map_err(|source| self.failed("read its words", source))?;
        let best = TopDocs::with_limit(limit.max(1)).order_by_score();
        let found = match allowed {
            None => self.collected(&searcher, &*query, &best),
            Some(allowed) => {
                let allowed = Arc::clone(allowed);
                let filter = move |number: u64| allowed.contains(number);
                self.collected(&searcher, &*query, &FilterCollector::new(NUMBER.to_owned(), filter, best))
            }
        };
        found.map_err(|source| self.failed("search", source))
    }

    fn collected<C>(&self, searcher: &Searcher, query: &dyn Query, collector: &C) -> Result<Vec<Found>, TantivyError>
    where
        C: Collector<Fruit = Vec<(f32, tantivy::DocAddress)>>,
    {
        let best = searcher.search(query, collector)?;
        let places = best.into_iter().map(|(score, address)| {
            let columns = searcher.segment_reader(address.segment_ord).fast_fields();
            let number = columns.u64(NUMBER)?.first(address.doc_id).unwrap_or_default();
            let passage = columns.u64(PASSAGE)?.first(address.doc_id).unwrap_or_default();
            Ok(Found { number, passage: usize::try_from(passage).unwrap_or_default(), score })
        });
        places.collect()
    }

    fn ranking(&self, searcher: &Searcher, wanted: &[Wanted]) -> Result<Box<dyn Query>, TantivyError> {
        let mut clauses: Vec<Box<dyn Query>> = Vec::new();
        let (mut left, mut like_left) = (RANKING_WORDS_MAX, LIKE_WORDS_MAX);
        for wanted in wanted {
            let (Wanted::Words(text) | Wanted::Phrase(text)) = wanted;
            let pieces = pieces(text);
            // a word that comes again says nothing more
            let mut seen = BTreeSet::new();
            match wanted {
                Wanted::Phrase(_) => clauses.extend(self.phrase(&pieces)),
                Wanted::Words(text) => {
                    let names = text.split_whitespace().map(super::super::tokens::pieces);
                    for name in names.filter(|name| (2..=NAME_WORDS_MAX).contains(&name.len())).take(NAMES_MAX) {
                        let phrase = self.phrase(&name).into_iter();
                        clauses.extend(phrase.map(|clause| weighed(clause, NAME_WEIGHT)));
                    }
                }
            }
            for piece in pieces.iter().take(left).filter(|piece| seen.insert(*piece)) {
                self.word(searcher, piece, &mut like_left, &mut clauses)?;
            }
            left = left.saturating_sub(pieces.len());
        }
        Ok(Box::new(BooleanQuery::union(clauses)))
    }

    fn word(
        &self,
        searcher: &Searcher,
        piece: &Piece,
        like_left: &mut usize,
        clauses: &mut Vec<Box<dyn Query>>,
    ) -> Result<(), TantivyError> {
        match piece {
            Piece::Word { whole, .. } if is_small(whole) => {
                clauses.extend(
                    self.in_fields(std::slice::from_ref(whole)).into_iter().map(|clause| weighed(clause, SMALL_WEIGHT)),
                );
            }
            Piece::Word { whole, parts } => {
                let is_known = searcher.doc_freq(&Term::from_field_text(self.fields.body, whole))? > 0
                    || searcher.doc_freq(&Term::from_field_text(self.fields.title, whole))? > 0;
                let mut forms = kin(searcher, self.fields.body, whole)?;
                let has_kin = !forms.is_empty();
                forms.insert(0, whole.clone());
                if is_known || has_kin {
                    clauses.extend(self.in_fields(&forms));
                }
                if !is_known && *like_left > 0 {
                    // each walks the dictionary of each field
                    *like_left -= 1;
                    clauses.extend(self.like(whole)?);
                }
                for part in parts {
                    clauses.extend(
                        self.in_fields(std::slice::from_ref(part))
                            .into_iter()
                            .map(|clause| weighed(clause, PART_WEIGHT)),
                    );
                }
            }
            Piece::Unspaced(run) if run.len() == 1 => {
                let pattern = format!("{}.?", run[0]);
                clauses.push(Box::new(RegexQuery::from_pattern(&pattern, self.fields.body)?));
                clauses.push(weighed(Box::new(RegexQuery::from_pattern(&pattern, self.fields.title)?), TITLE_WEIGHT));
            }
            Piece::Unspaced(run) => {
                for pair in run.windows(2) {
                    clauses.extend(self.in_fields(&[String::from_iter(pair)]));
                }
            }
        }
        Ok(())
    }

    /// A word in each field; of several forms, of which the first is the one that is meant, the one that counts most.
    fn in_fields(&self, forms: &[String]) -> [Box<dyn Query>; 3] {
        let fields = self.fields;
        [(fields.body, 1.0), (fields.title, TITLE_WEIGHT), (fields.heading, HEADING_WEIGHT)].map(|(field, weight)| {
            let mut terms = forms.iter().enumerate().map(|(at, form)| {
                let term = Term::from_field_text(field, form);
                let query: Box<dyn Query> = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
                if at == 0 { query } else { weighed(query, KIN_WEIGHT) }
            });
            let query: Box<dyn Query> = match forms.len() {
                1 => terms.next().expect("there is one"),
                _ => Box::new(DisjunctionMaxQuery::new(terms.collect())),
            };
            weighed(query, weight)
        })
    }

    /// Words that begin like one that nothing has, and those with one letter of another.
    fn like(&self, word: &str) -> Result<Vec<Box<dyn Query>>, TantivyError> {
        let mut clauses: Vec<Box<dyn Query>> = Vec::new();
        let length = word.chars().count();
        for (field, weight) in [(self.fields.body, 1.0), (self.fields.title, TITLE_WEIGHT)] {
            if length >= PREFIX_CHARS_MIN {
                let begins = RegexQuery::from_pattern(&format!("{}.*", escaped(word)), field)?;
                clauses.push(weighed(Box::new(begins), weight * LIKE_WEIGHT));
            }
            if length >= FUZZY_CHARS_MIN {
                let like = FuzzyTermQuery::new(Term::from_field_text(field, word), 1, true);
                clauses.push(weighed(Box::new(like), weight * LIKE_WEIGHT));
            }
        }
        Ok(clauses)
    }

    /// The words of a phrase in their order, in the text or in the title; none for a single word.
    fn phrase(&self, pieces: &[Piece]) -> Vec<Box<dyn Query>> {
        let mut words: Vec<(usize, String)> = Vec::new();
        let mut position = 0;
        for piece in pieces {
            match piece {
                Piece::Word { whole, .. } => {
                    words.push((position, whole.clone()));
                    position += 1;
                }
                // the last character alone is a word only at the end of a run
                Piece::Unspaced(run) => {
                    words.extend(run.windows(2).enumerate().map(|(at, pair)| (position + at, String::from_iter(pair))));
                    position += run.len();
                }
            }
        }
        if words.len() < 2 {
            return Vec::new();
        }
        let in_field = |field: Field, weight: f32| {
            let terms = words.iter().map(|(position, word)| (*position, Term::from_field_text(field, word)));
            weighed(Box::new(PhraseQuery::new_with_offset(terms.collect())), weight)
        };
        vec![in_field(self.fields.body, 1.0), in_field(self.fields.title, TITLE_WEIGHT)]
    }

    /// The documents that may have a text somewhere in them: all that have it, in any case, and perhaps others. None where
    /// the words of the text say nothing about that.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn may_have(&self, text: &str) -> Result<Option<BTreeSet<u64>>, IndexError> {
        let pieces = pieces(text);
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            // what stands at the ends of the text may be a part of a longer word
            let (before, after) = (if at == 0 { ".*" } else { "" }, if at + 1 == pieces.len() { ".*" } else { "" });
            let pattern = match piece {
                // a word that was cut says nothing of its rest
                Piece::Word { whole, .. } if whole.len() + 4 > WORD_BYTES_MAX => continue,
                Piece::Word { whole, .. } => format!("{before}{}{after}", escaped(whole)),
                Piece::Unspaced(run) if run.len() == 1 => format!(".?{}.?", run[0]),
                Piece::Unspaced(run) => {
                    for pair in run.windows(2) {
                        let term = Term::from_field_text(self.fields.body, &String::from_iter(pair));
                        clauses.push((Occur::Must, Box::new(TermQuery::new(term, IndexRecordOption::Basic))));
                    }
                    continue;
                }
            };
            let query = RegexQuery::from_pattern(&pattern, self.fields.body)
                .map_err(|source| self.failed("read a pattern", source))?;
            clauses.push((Occur::Must, Box::new(query)));
        }
        // each word may stand in a passage of its own, so they are asked for one after the other
        let mut found: Option<BTreeSet<u64>> = None;
        for (_, clause) in clauses {
            let numbers = self.numbers(&*clause)?;
            found = Some(match found {
                None => numbers,
                Some(before) => before.intersection(&numbers).copied().collect(),
            });
        }
        Ok(found)
    }

    fn numbers(&self, query: &dyn Query) -> Result<BTreeSet<u64>, IndexError> {
        let searcher = self.reader.searcher();
        let found = searcher.search(query, &tantivy::collector::DocSetCollector);
        let addresses = found.map_err(|source| self.failed("search", source))?;
        let number = |address: tantivy::DocAddress| {
            let columns = searcher.segment_reader(address.segment_ord).fast_fields();
            Ok(columns.u64(NUMBER)?.first(address.doc_id).unwrap_or_default())
        };
        let numbers: Result<BTreeSet<u64>, TantivyError> = addresses.into_iter().map(number).collect();
        numbers.map_err(|source| self.failed("read numbers", source))
    }
}

fn weighed(query: Box<dyn Query>, weight: f32) -> Box<dyn Query> {
    Box::new(BoostQuery::new(query, weight))
}

/// A word as a pattern that finds just it.
fn escaped(word: &str) -> String {
    regex::escape(word)
}
