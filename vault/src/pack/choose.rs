//! Which passages are in a pack.

use crate::index::record::Privacy;
use crate::note::Span;

use super::cut::{self, Within};
use super::similar::Sketch;
use super::{Budget, CANDIDATES_MAX, Candidate, Citation, LeftOut, Origin, Private, Request, Why, render};

/// What the rank counts against what is new (lambda of Carbonell and Goldstein, SIGIR 1998).
const RANK_SHARE: f64 = 0.7;
/// What keeps the relevance of a candidate from falling fast with its rank: a pack has dozens.
const RANK_RELEVANCE: f64 = 60.0;
/// So many passages of a section make it worth completing.
const SECTION_BEGUN: usize = 2;

/// What a pack holds, but for what is counted.
pub struct Choice {
    pub text: String,
    pub citations: Vec<Citation>,
    pub left_out: Vec<LeftOut>,
    pub privacy: Privacy,
    pub private_left_out: usize,
}

/// What was decided of a candidate; it is named by its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Open,
    Chosen,
    TooLong,
    Within(usize),
    Like(usize),
    /// It is private and none of those is wanted.
    Refused,
    BeyondRanks,
}

/// A passage that was chosen.
#[derive(Clone, Copy)]
struct Chosen {
    index: usize,
    /// How many of its bytes are shown.
    shown: usize,
    price: usize,
}

/// The nearest of what is chosen already.
#[derive(Clone, Copy)]
struct Nearest {
    share: f64,
    nearly_same: Option<usize>,
}

struct Chooser<'a> {
    request: Request<'a>,
    count: &'a dyn Fn(&str) -> usize,
    candidates: &'a [Candidate],
    /// The place of each among those that have one; the first is 1.
    ranks: Vec<Option<usize>>,
    sections: Vec<usize>,
    sketches: Vec<Sketch<'a>>,
    nearest: Vec<Nearest>,
    verdicts: Vec<Verdict>,
    /// In the order of choice.
    chosen: Vec<Chosen>,
    used: usize,
}

/// Chooses, and shows what is chosen.
pub fn choose(request: Request<'_>, count: &dyn Fn(&str) -> usize) -> Choice {
    let mut chooser = Chooser::new(request, count);
    while let Some(next) = chooser.best() {
        if chooser.take(next) {
            chooser.complete(next);
        }
    }
    chooser.end()
}

impl<'a> Chooser<'a> {
    fn new(request: Request<'a>, count: &'a dyn Fn(&str) -> usize) -> Self {
        let candidates = request.candidates;
        let is_refused = |one: &Candidate| one.privacy == Privacy::Private && request.private == Private::Refused;
        let mut places = 1..;
        // what is refused has none, so that nothing is as it is because of it
        let has_rank = |one: &Candidate| one.origin != Origin::Beside && !is_refused(one);
        let ranks: Vec<Option<usize>> =
            candidates.iter().map(|one| if has_rank(one) { places.next() } else { None }).collect();
        let verdicts = candidates.iter().zip(&ranks).map(|(one, rank)| match rank {
            Some(rank) if *rank > CANDIDATES_MAX => Verdict::BeyondRanks,
            Some(_) | None if is_refused(one) => Verdict::Refused,
            Some(_) | None => Verdict::Open,
        });
        Self {
            request,
            count,
            candidates,
            verdicts: verdicts.collect(),
            ranks,
            sections: sections(candidates),
            sketches: candidates.iter().map(Sketch::new).collect(),
            nearest: vec![Nearest { share: 0.0, nearly_same: None }; candidates.len()],
            chosen: Vec::new(),
            used: 0,
        }
    }

    /// The next to be looked at: what is named, then what has the most of rank and of what is new.
    fn best(&self) -> Option<usize> {
        let ranked = self.ranks.iter().enumerate().filter_map(|(index, rank)| Some((index, (*rank)?)));
        let open: Vec<(usize, usize)> = ranked.filter(|(index, _)| self.verdicts[*index] == Verdict::Open).collect();
        if let Some((named, _)) = open.iter().find(|(index, _)| self.candidates[*index].origin == Origin::Named) {
            return Some(*named);
        }
        let worth = |(index, rank): (usize, usize)| {
            // 1 for the first, and less as reciprocal ranks are
            let relevance = (RANK_RELEVANCE + 1.0) / (RANK_RELEVANCE + rank as f64);
            RANK_SHARE * relevance - (1.0 - RANK_SHARE) * self.nearest[index].share
        };
        let best = open.into_iter().max_by(|one, other| worth(*one).total_cmp(&worth(*other)));
        best.map(|(index, _)| index)
    }

    /// Takes a candidate if it says anything new and fits.
    fn take(&mut self, index: usize) -> bool {
        if let Some(holder) = self.chosen.iter().find(|chosen| self.holds(**chosen, index)) {
            self.verdicts[index] = Verdict::Within(holder.index);
            return false;
        }
        if let Some(like) = self.nearest[index].nearly_same
            && self.candidates[index].origin != Origin::Named
        {
            self.verdicts[index] = Verdict::Like(like);
            return false;
        }
        let whole = self.whole(index);
        // a longer passage takes the place of what it holds, unless it is cut
        let takes_place = |chosen: &&Chosen| whole.price <= self.limit() && self.holds(whole, chosen.index);
        let (held, kept): (Vec<Chosen>, Vec<Chosen>) = self.chosen.iter().partition(takes_place);
        let left = self.limit() - kept.iter().map(|chosen| chosen.price).sum::<usize>();
        let Some(chosen) = self.fitted(whole, left, kept.is_empty()) else {
            self.verdicts[index] = Verdict::TooLong;
            return false;
        };
        for small in held {
            self.remove(small.index, Verdict::Within(index));
        }
        self.add(chosen);
        true
    }

    /// Takes the rest of a section of which enough was chosen, if all of it fits.
    fn complete(&mut self, last: usize) {
        let section = self.sections[last];
        let members = (0..self.candidates.len()).filter(|index| self.sections[*index] == section);
        let (begun, rest): (Vec<usize>, Vec<usize>) =
            members.partition(|index| self.verdicts[*index] == Verdict::Chosen);
        if begun.len() < SECTION_BEGUN {
            return;
        }
        let mut wanted: Vec<Chosen> = Vec::new();
        for index in rest {
            let whole = self.whole(index);
            let takes = match self.verdicts[index] {
                Verdict::Open | Verdict::TooLong | Verdict::Like(_) => true,
                Verdict::Chosen | Verdict::Within(_) | Verdict::Refused | Verdict::BeyondRanks => false,
            };
            let mut others = self.chosen.iter().chain(&wanted);
            if takes && !others.any(|other| self.holds(*other, index) || self.holds(whole, other.index)) {
                wanted.push(whole);
            }
        }
        if wanted.iter().map(|chosen| chosen.price).sum::<usize>() <= self.limit() - self.used {
            wanted.into_iter().for_each(|chosen| self.add(chosen));
        }
    }

    fn whole(&self, index: usize) -> Chosen {
        let shown = self.candidates[index].text.len();
        Chosen { index, shown, price: self.price(index, shown) }
    }

    /// A passage, cut where it would be too long for any pack of this budget.
    fn fitted(&self, whole: Chosen, left: usize, is_first: bool) -> Option<Chosen> {
        if whole.price <= left {
            return Some(whole);
        }
        if whole.price <= self.limit() {
            return None;
        }
        let index = whole.index;
        let within = if is_first { Within::Words } else { Within::Sentences };
        let text = &self.candidates[index].text;
        let shown = cut::end(text, within, &|end| end < text.len() && self.price(index, end) <= left)?;
        Some(Chosen { index, shown, price: self.price(index, shown) })
    }

    fn limit(&self) -> usize {
        match self.request.budget {
            Budget::Tokens(limit) | Budget::Bytes(limit) => limit,
        }
    }

    fn size(&self, text: &str) -> usize {
        match self.request.budget {
            Budget::Tokens(_) => (self.count)(text),
            Budget::Bytes(_) => text.len(),
        }
    }

    fn price(&self, index: usize, shown: usize) -> usize {
        self.size(&render::piece(&self.candidates[index], shown))
    }

    fn add(&mut self, chosen: Chosen) {
        self.verdicts[chosen.index] = Verdict::Chosen;
        self.used += chosen.price;
        self.chosen.push(chosen);
        for index in 0..self.candidates.len() {
            if self.verdicts[index] != Verdict::Open {
                continue;
            }
            let likeness = self.sketches[index].likeness(&self.sketches[chosen.index]);
            let nearest = &mut self.nearest[index];
            nearest.share = nearest.share.max(likeness.share);
            if likeness.is_nearly_same {
                nearest.nearly_same.get_or_insert(chosen.index);
            }
        }
    }

    fn remove(&mut self, index: usize, verdict: Verdict) {
        let (gone, kept): (Vec<Chosen>, Vec<Chosen>) = self.chosen.iter().partition(|chosen| chosen.index == index);
        self.used -= gone.iter().map(|chosen| chosen.price).sum::<usize>();
        self.chosen = kept;
        self.verdicts[index] = verdict;
    }

    /// Whether a passage shows the whole text of a candidate, or is of the same text.
    fn holds(&self, passage: Chosen, candidate: usize) -> bool {
        let (one, other) = (&self.candidates[passage.index], &self.candidates[candidate]);
        one.digest == other.digest || one.text[..passage.shown].contains(other.text.trim())
    }

    /// Shows what was chosen, and drops the last of it while it is over the budget: a count of a whole may be above the sum.
    fn end(mut self) -> Choice {
        let (text, order) = loop {
            let order = self.in_order();
            let pieces = order.iter().map(|chosen| render::piece(&self.candidates[chosen.index], chosen.shown));
            let mut text: String = pieces.collect();
            // one end of a line is enough at the end of a text
            text.truncate(text.len().saturating_sub(1));
            match self.chosen.last() {
                Some(last) if self.size(&text) > self.limit() => self.remove(last.index, Verdict::TooLong),
                _ => break (text, order),
            }
        };
        let privacy = order.iter().map(|chosen| self.candidates[chosen.index].privacy).max().unwrap_or(Privacy::Open);
        let citations = order.iter().map(|chosen| self.citation(*chosen)).collect();
        let (left_out, private_left_out) = self.left_out(privacy);
        Choice { text, citations, left_out, privacy, private_left_out }
    }

    /// Documents as they were first chosen, passages as they stand in them.
    fn in_order(&self) -> Vec<Chosen> {
        let first = |chosen: &Chosen| {
            let path = &self.candidates[chosen.index].path;
            self.chosen.iter().position(|other| self.candidates[other.index].path == *path)
        };
        let mut order = self.chosen.clone();
        order.sort_by_cached_key(|chosen| {
            let candidate = &self.candidates[chosen.index];
            (first(chosen), candidate.order, candidate.span.start, chosen.index)
        });
        order
    }

    fn citation(&self, chosen: Chosen) -> Citation {
        let candidate = &self.candidates[chosen.index];
        let is_cut = chosen.shown < candidate.text.len();
        Citation {
            path: candidate.path.clone(),
            headings: candidate.headings.clone(),
            block: candidate.block.clone(),
            digest: candidate.digest.clone(),
            span: candidate.span.start..candidate.span.start + chosen.shown,
            first_line: candidate.line,
            last_line: render::last_line(candidate, chosen.shown),
            cut_from_bytes: is_cut.then_some(candidate.text.len()),
            rank: self.ranks[chosen.index],
            origin: candidate.origin,
        }
    }

    /// What was left out, and how many of it are private and are not named in a pack that is not.
    fn left_out(&self, privacy: Privacy) -> (Vec<LeftOut>, usize) {
        let mut left_out = Vec::new();
        let mut hidden = 0;
        for (index, candidate) in self.candidates.iter().enumerate() {
            let Some(why) = self.why(index).filter(|_| candidate.origin != Origin::Beside) else { continue };
            let Some(rank) = self.ranks[index].filter(|_| candidate.privacy <= privacy) else {
                hidden += 1;
                continue;
            };
            let (path, headings) = (candidate.path.clone(), candidate.headings.clone());
            left_out.push(LeftOut {
                path,
                headings,
                digest: candidate.digest.clone(),
                line: candidate.line,
                rank,
                why,
            });
        }
        (left_out, hidden)
    }

    fn place(&self, index: usize) -> (&str, &Span) {
        (&self.candidates[index].path, &self.candidates[index].span)
    }

    fn why(&self, index: usize) -> Option<Why> {
        let digest = |other: usize| self.candidates[other].digest.clone();
        match self.verdicts[index] {
            Verdict::Chosen => None,
            // what was found twice is not left out
            Verdict::Within(other) if self.place(other) == self.place(index) => self.why(other),
            Verdict::Open | Verdict::TooLong | Verdict::Refused => Some(Why::Budget),
            Verdict::BeyondRanks => Some(Why::Rank),
            Verdict::Within(other) | Verdict::Like(other) => match (self.verdicts[other], self.verdicts[index]) {
                (Verdict::Chosen, Verdict::Like(_)) => Some(Why::Similar { to: digest(other) }),
                (Verdict::Chosen, _) => Some(Why::Duplicate { of: digest(other) }),
                // what it was compared to was left out later, for this reason
                _ => self.why(other),
            },
        }
    }
}

/// The section of each candidate: passages of a document that follow each other below the same headings.
fn sections(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    let place = |index: &usize| (&candidates[*index].path, candidates[*index].order, candidates[*index].span.start);
    order.sort_by(|one, other| place(one).cmp(&place(other)));
    let mut sections = vec![0; candidates.len()];
    let mut section = 0;
    for pair in order.windows(2) {
        let (one, other) = (&candidates[pair[0]], &candidates[pair[1]]);
        section += usize::from(one.path != other.path || one.headings != other.headings);
        sections[pair[1]] = section;
    }
    sections
}
